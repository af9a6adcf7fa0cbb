"""Checks of the exercises in the chapter on the adversarial game."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tlutils.exercises import Wrong, number
from tlutils.generative.losses import discriminator_loss, non_saturating_loss
from tlutils.generative.mixtures import ring, ring_centres
from tlutils.runtime import new_generator


def _plain(value: object) -> object:
    """Return a tensor without its history, anything else as it is."""
    return value.detach() if isinstance(value, Tensor) else value


def _pull(loss: Tensor, on: list[Tensor]) -> float:
    """Return the size of a loss's gradient on some tensors, 0 where it does not depend on them."""
    if not loss.requires_grad:
        return 0.0
    found = torch.autograd.grad(loss, on, retain_graph=True, allow_unused=True)
    return sum(part.abs().sum().item() for part in found if part is not None)


def both_losses(losses: Callable) -> str:
    """Check the losses of the two players: their values, and on whom each of them pulls."""
    random = new_generator(0)
    real, noise = torch.randn(2, 6, 2, generator=random)
    critic, generator = nn.Linear(2, 1), nn.Linear(2, 2)
    with torch.no_grad():
        for layer in (critic, generator):
            for weight in layer.parameters():
                weight.copy_(torch.randn(weight.shape, generator=random))
    fake = generator(noise)
    found = losses(lambda x: critic(x).squeeze(1), real, fake)
    if not isinstance(found, tuple) or len(found) != 2:
        raise Wrong("expected two losses, the discriminator's and the generator's, separated by a comma.")
    wanted = (
        discriminator_loss(critic(real).squeeze(1), critic(fake).squeeze(1)).item(),
        non_saturating_loss(critic(fake).squeeze(1)).item(),
    )
    for name, value, right in zip(("discriminator", "generator"), found, wanted, strict=True):
        if not math.isclose(number(_plain(value), f"the {name}'s loss"), right, rel_tol=1e-4):
            raise Wrong(f"the {name}'s loss is {_plain(value):.4f}; expected {right:.4f}.")
    players = [[*critic.parameters()], [*generator.parameters()]]
    if _pull(found[0], players[1]) > 0:
        raise Wrong(
            "the discriminator's loss pulls at the generator: in its turn, cut the generated examples off."
        )
    if _pull(found[0], players[0]) == 0:
        raise Wrong("the discriminator's loss does not pull at the discriminator.")
    if _pull(found[1], players[1]) == 0:
        raise Wrong(
            "the values are right, but the generator's loss does not pull at the generator: it will never "
            "learn anything."
        )
    return "each player's loss pulls at that player, and the discriminator's at nobody else."


def modes_reached(count: Callable) -> str:
    """Check a count of covered modes on points at which the likely mistakes part ways."""
    centres = ring_centres()
    cases = {
        "800 real points": (ring(800, seed=0), 8),
        "800 points spread evenly over the square": (
            6 * torch.rand(800, 2, generator=new_generator(1)) - 3,
            None,
        ),
        "800 points at the origin": (torch.zeros(800, 2), 0),
        "400 points at each of two centres": (centres[:2].repeat(400, 1), 2),
        "799 points at one centre and one at another": (
            torch.cat([centres[:1].repeat(799, 1), centres[1:2]]),
            1,
        ),
    }
    for name, (points, right) in cases.items():
        found = number(count(points, centres, 0.1), "the count")
        if right is None:  # about 6 of 800 fall into a circle of radius 0.3; 10 are needed
            distance, mode = torch.cdist(points, centres).min(dim=1)
            right = int((mode[distance <= 0.3].bincount(minlength=8) >= 10).sum())
        if found == right:
            continue
        if "origin" in name or "square" in name:
            raise Wrong(
                f"for {name} you count {found:.0f}, expected {right}: a nearest centre can be far away, "
                "and a few near points are not yet a tenth of the fair share."
            )
        if "one at another" in name:
            raise Wrong("a single stray point covers no mode: ask for a tenth of the fair share.")
        raise Wrong(f"for {name} you count {found:.0f}; expected {right}.")
    return "near enough, and often enough: only then a mode counts."


def js_divergence(divergence: Callable) -> str:
    """Check the Jensen–Shannon divergence of two discrete distributions."""
    cases = [
        ([0.5, 0.5], [0.5, 0.5], 0.0),
        ([1.0, 0.0], [0.0, 1.0], math.log(2)),
        ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], math.log(2)),  # m is 0 at the last
        ([0.75, 0.25, 0.0], [0.0, 0.25, 0.75], 0.75 * math.log(2)),
        ([0.9, 0.1], [0.4, 0.6], None),
    ]
    for p, q, right in cases:
        if right is None:
            right = sum(
                a * math.log(2 * a / (a + b)) / 2 + b * math.log(2 * b / (a + b)) / 2
                for a, b in zip(p, q, strict=True)
            )
        tensors = [torch.tensor(values, dtype=torch.float64) for values in (p, q)]
        answer = divergence(*tensors)
        if isinstance(answer, float | Tensor) and not torch.isfinite(torch.as_tensor(answer)).all():
            raise Wrong(
                f"for {p} and {q} you return {answer}: 0 log 0 counts as 0 (torch.xlogy), and where m is 0, "
                "keep 0 / 0 out."
            )
        found = number(answer, "the divergence")
        if math.isclose(found, right, abs_tol=1e-6):
            continue
        if math.isclose(found, 2 * right, abs_tol=1e-6):
            raise Wrong("twice too much: JS is the *mean* of the two divergences from m.")
        if math.isclose(found, right / math.log(2), abs_tol=1e-6):
            raise Wrong("that is in bits; take the natural logarithm.")
        raise Wrong(f"for {p} and {q} you return {found:.4f}; expected {right:.4f}.")
    return "0 for equal distributions, log 2 for disjoint ones, however far apart they are."
