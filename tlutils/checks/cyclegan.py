"""Checks of the exercises in the chapter on CycleGAN."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tlutils.exercises import Wrong
from tlutils.runtime import new_generator


def forced(change: Callable[[Sequence[float], Sequence[float]], object]) -> str:
    """Check the share of examples that must change their class."""
    cases = [
        ([0.5, 0.5], [0.5, 0.5], 0.0),
        ([0.5, 0.5], [0.9, 0.1], 0.4),
        ([0.2, 0.3, 0.5], [0.5, 0.3, 0.2], 0.3),
        ([0.1, 0.1, 0.4, 0.4], [0.3, 0.2, 0.3, 0.2], 0.3),
    ]
    for here, there, right in cases:
        found = change(list(here), list(there))
        try:
            found = float(found)
        except (TypeError, ValueError):
            raise Wrong(f"`forced` returns {found!r}; expected one number.") from None
        if math.isclose(found, right, abs_tol=1e-9):
            continue
        pairs = list(zip(here, there, strict=True))
        mistakes = {
            "each change is counted twice, where it leaves and where it arrives.": sum(
                abs(p - q) for p, q in pairs
            ),
            "gains and losses cancel: add up the gains alone.": sum(q - p for p, q in pairs),
            "that is the largest change of one class; several classes may gain.": max(
                abs(p - q) for p, q in pairs
            ),
        }
        for reason, wrong in mistakes.items():
            if not math.isclose(wrong, right, abs_tol=1e-9) and math.isclose(abs(found), wrong, abs_tol=1e-9):
                raise Wrong(reason)
        raise Wrong(f"from {here} to {there} you return {found:.4g}; expected {right:g}.")
    return "half the distance of the two rows of shares, and no training can do with fewer changes."


class _Adds(nn.Module):
    """A translator that adds one number."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))

    def forward(self, x: Tensor) -> Tensor:
        return self.by * x


def round_trip(loss: Callable[[nn.Module, nn.Module, Tensor, Tensor], Tensor]) -> str:
    """Check the cycle loss: its two terms, and that both translators hear of both."""
    to_target, to_source = _Adds(2.0), _Adds(3.0)
    x_source, x_target = torch.full((4, 1), 1.0), torch.full((6, 1), 10.0)
    try:
        found = loss(to_target, to_source, x_source, x_target)
    except RuntimeError as error:
        raise Wrong(f"the loss cannot be computed for two batches of different size ({error}).") from error
    if not isinstance(found, Tensor) or found.numel() != 1:
        raise Wrong(f"`round_trip` returns {found!r}; expected one tensor without axes.")
    right = (2 * 3 - 1) * 1.0 + (2 * 3 - 1) * 10.0
    wrong = {
        (2 * 3 - 1) * 1.0: "only the source images make the round trip; the target images do, too.",
        (2 * 3 - 1) * 10.0: "only the target images make the round trip; the source images do, too.",
    }
    value = found.item()
    if not math.isclose(value, right, rel_tol=1e-5):
        for number, reason in wrong.items():
            if math.isclose(value, number, rel_tol=1e-5):
                raise Wrong(reason)
        raise Wrong(
            f"with G doubling and F tripling, images 1 and 10, you return {value:g}; expected {right:g}. "
            "Which of the two terms is wrong?"
        )
    if not found.requires_grad:
        raise Wrong("the value is right, but it has no gradient at all.")
    found.backward()
    # Each factor's gradient is the other factor times the images, once for 1 and once for 10.
    for name, translator, wanted in (("G", to_target, 33.0), ("F", to_source, 22.0)):
        gradient = translator.by.grad
        if gradient is None or not math.isclose(gradient.item(), wanted, rel_tol=1e-5):
            raise Wrong(
                f"the value is right, but {name} does not hear of both terms: its gradient is cut off."
            )
    return "both ways, and both translators learn from both."


def weakest(find: Callable[[Tensor, Tensor], object]) -> str:
    """Check the class with the smallest share of survivors."""
    cases = [
        (torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([0, 0, 0, 1, 1, 0]), (1, 0.5)),
        (torch.tensor([3, 3, 7, 7, 7, 7, 7, 7]), torch.tensor([3, 7, 7, 7, 7, 7, 3, 3]), (3, 0.5)),
        (torch.tensor([2, 2, 2, 9]), torch.tensor([9, 2, 2, 9]), (2, 2 / 3)),
    ]
    for y, seen, (label, share) in cases:
        found = find(y.clone(), seen.clone())
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise Wrong(f"`weakest` returns {found!r}; expected two things, a class and a share.")
        try:
            got_label, got_share = int(found[0]), float(found[1])
        except (TypeError, ValueError):
            raise Wrong(f"`weakest` returns {found!r}; expected a class and a share.") from None
        if math.isnan(got_share):
            raise Wrong("the share is not a number: a class without examples was divided by zero.")
        if got_label not in y:
            raise Wrong(f"class {got_label} has no examples here; only classes that occur can lose any.")
        if got_label != label:
            raise Wrong(
                f"for classes {y.tolist()} seen as {seen.tolist()} you name class {got_label}; a share "
                "counts within a class, by the number of digits that went in."
            )
        if not math.isclose(got_share, share, rel_tol=1e-4):
            raise Wrong(
                f"class {label} is right, its share is {share:.3f}; you return {got_share:.3f}. "
                "Divide by the number of digits of that class that went in."
            )
    return "rows of the matrix, not columns, and not the mean of all."


def exchange(show: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]) -> str:
    """Check the store of earlier translations: what is shown, and what is kept."""
    random = new_generator(0)
    store, fake = torch.arange(5.0).unsqueeze(1), 10 + torch.arange(4.0).unsqueeze(1)
    coins, places = torch.tensor([True, False, True, True]), torch.randperm(5, generator=random)[:4]
    before, given = store.clone(), fake.clone()
    shown = show(store, fake, coins, places)
    if not isinstance(shown, Tensor) or shown.shape != fake.shape:
        raise Wrong(f"what is shown is {shown!r}; expected as many images as came in.")
    if not torch.equal(fake, given):
        raise Wrong("the new images themselves were changed; work on a copy of them.")
    kept = before.clone()
    kept[places[coins]] = given[coins]
    if not torch.equal(store, kept):
        raise Wrong(
            f"the store should hold {kept.flatten().tolist()} now; it holds {store.flatten().tolist()}."
        )
    expected = torch.where(coins.unsqueeze(1), before[places], given)
    if torch.equal(shown, expected):
        return "old ones are shown, and new ones take their places."
    if torch.equal(shown, given):
        raise Wrong("shown are the new images only; where a coin says swap, an old one was expected.")
    if torch.equal(shown, torch.where(coins.unsqueeze(1), given, before[places])):
        raise Wrong("the coins are read the wrong way round: True means swap.")
    raise Wrong(f"shown are {shown.flatten().tolist()}; expected {expected.flatten().tolist()}.")
