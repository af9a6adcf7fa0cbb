"""Checks of the exercises in the chapter on conditional GANs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tlutils.exercises import Wrong, number
from tlutils.runtime import new_generator


def map_bias(bias: Callable[[Tensor, int], Tensor]) -> str:
    """Check the number that a constant class map adds to each output channel of a convolution."""
    weight = torch.randn(6, 11, 4, 4, generator=new_generator(0), dtype=torch.float64)
    for y in (0, 3, 9):
        found = bias(weight, y)
        if not isinstance(found, Tensor) or found.shape != (6,):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise Wrong(f"for 6 output channels you return {shape}; expected one number for each: (6,).")
        maps = torch.zeros(1, 11, 4, 4, dtype=torch.float64)
        maps[:, 1 + y] = 1
        if torch.allclose(found, functional.conv2d(maps, weight).flatten()):
            continue
        if torch.allclose(found, weight[:, y].sum((1, 2))):
            raise Wrong(
                f"that is channel {y}; channel 0 is the image, so the map of class {y} is one further."
            )
        if torch.allclose(found, weight[:, 1 + y].mean((1, 2))):
            raise Wrong("that is the mean over the window; a convolution sums.")
        if torch.allclose(found, weight[:, 1:].sum((1, 2, 3))):
            raise Wrong("you add all ten maps; nine of them are zero.")
        raise Wrong(
            f"for class {y} not what the convolution gives; put a map of ones through it and compare."
        )
    return "concatenation at the input is a bias that depends on the class."


def order_loss(loss: Callable[..., Tensor]) -> str:
    """Check a generator's loss: its examples are judged under the classes for which they were drawn."""
    weight, noise = torch.ones((), requires_grad=True), torch.zeros(60, 1)
    asked: list[Tensor] = []
    told: list[Tensor] = []

    def generator(z: Tensor, y: Tensor) -> Tensor:
        asked.append(y.clone())
        return weight * (y + 1 + z[:, 0])

    def critic(x: Tensor, y: Tensor) -> Tensor:
        told.append(y.clone())
        return 0.1 * x - y

    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = loss(generator, critic, noise)
    if (len(asked), len(told)) != (1, 1):
        raise Wrong(
            f"the generator was asked {len(asked)} and the critic {len(told)} times; expected once each."
        )
    if len(asked[0]) != 60 or len(told[0]) != 60:
        raise Wrong(f"{len(asked[0])} classes were drawn for 60 noise vectors; expected one each.")
    if not torch.equal(asked[0], told[0]):
        raise Wrong("the critic is told other classes than were ordered: obeying is never rewarded.")
    if len(asked[0].unique()) < 10:
        raise Wrong(
            f"only the classes {asked[0].unique().tolist()} are ordered; the others are never learnt."
        )
    expected = functional.softplus(asked[0] - 0.1 * (asked[0] + 1)).mean()
    if not isinstance(found, Tensor) or not torch.isclose(found, expected):
        raise Wrong("the classes are right, the loss is not: the generator minimises `non_saturating_loss`.")
    if not found.requires_grad:
        raise Wrong("no gradient reaches the generator: it cannot learn from this loss.")
    return "an image is judged as what was ordered."


def within_diversity(measure: Callable[[Tensor, Tensor, int], Any]) -> str:
    """Check a mean distance within classes, averaged over classes of different size."""
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0], [10.0, 0.0], [10.0, 1.0], [10.0, 3.0]]).reshape(5, 1, 1, 2)
    y = torch.tensor([0, 0, 1, 1, 1])
    found = number(measure(x, y, 2), "the diversity")
    distances = torch.cdist(x.flatten(1), x.flatten(1))
    mistakes = {
        torch.pdist(x.flatten(1)).mean().item(): "pairs of two classes do not count.",
        (5 + 1 + 2 + 3) / 4: "that is the mean over the pairs; average within each class first.",
        (distances[:2, :2].mean() + distances[2:, 2:].mean()).item() / 2: "an example's distance 0 to itself "
        "does not count.",
        5 + 2: "that is the sum over the classes; average.",
    }  # fmt: skip
    for wrong, reason in mistakes.items():
        if abs(found - wrong) < 1e-4:
            raise Wrong(f"you return {found:.3f}: {reason}")
    if abs(found - 3.5) > 1e-4:
        raise Wrong(f"for classes with the distances 5 and (1, 2, 3) you return {found:.3f}; expected 3.5.")
    order = torch.tensor([2, 0, 4, 1, 3])
    if abs(number(measure(x[order], y[order], 2), "the diversity") - 3.5) > 1e-4:
        raise Wrong("it changes when the examples are shuffled; pick each class by its index in y.")
    return "5 within one class, 2 on average within the other: 3.5."


def _trial(seed: int, arm: str, gan_labels: int, accuracy: float) -> dict[str, Any]:
    return {"seed": seed, "arm": arm, "gan labels": gan_labels, "labels": 10, "accuracy": accuracy}


def fair_gain(gain: Callable[[list[dict[str, Any]]], Any]) -> str:
    """Check a mean paired gain: GANs that saw too much are left out, and so are seeds without a partner."""
    rows = [
        _trial(0, "plain", 0, 0.80), _trial(0, "gan", 10, 0.82), _trial(0, "gan", 50_000, 0.95),
        _trial(1, "plain", 0, 0.70), _trial(1, "gan", 10, 0.69),
        _trial(2, "plain", 0, 0.40), _trial(2, "gan", 50_000, 0.96),
    ]  # fmt: skip
    found = number(gain([dict(row) for row in rows]), "the gain")
    mistakes = {
        0.5 / 100: "that is a fraction; points are hundredths.",
        100 * ((0.82 + 0.69) / 2 - (0.8 + 0.7 + 0.4) / 3): "seed 2 has a plain trial but no fair GAN trial; "
        "leave both out.",
        -0.5: "that is plain minus GAN.",
    }  # fmt: skip
    for wrong, reason in mistakes.items():
        if abs(found - wrong) < 1e-6:
            raise Wrong(f"you return {found:.3f}: {reason}")
    if found > 10:
        raise Wrong(f"you return {found:.1f}: a GAN that saw 50 000 labels is still in.")
    if abs(found - 0.5) > 1e-6:
        raise Wrong(f"you return {found:.3f}; seed 0 gains 2 points, seed 1 loses 1: expected 0.5.")
    return "among the fair trials half a point is left."
