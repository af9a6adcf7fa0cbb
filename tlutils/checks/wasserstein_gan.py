"""Checks of the exercises in the chapter on the Wasserstein GAN."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tlutils.exercises import Wrong, number
from tlutils.generative import Game, point_critic, point_generator
from tlutils.runtime import new_generator


def _sums(masses: Sequence[float]) -> list[float]:
    return [sum(masses[: n + 1]) for n in range(len(masses))]


def work(distance: Callable[[Sequence[float], Sequence[float], Sequence[float]], object]) -> str:
    """Check the earth mover's distance of two heaps at given places; the places are not evenly spaced."""
    cases = [
        ([0.0, 1.0, 2.0, 3.0, 4.0], [0.5, 0.25, 0, 0.25, 0], [0, 0.25, 0.5, 0, 0.25], 1.25),
        ([0.0, 10.0], [1.0, 0.0], [0.0, 1.0], 10.0),
        ([-1.0, 0.0, 5.0], [0.2, 0.6, 0.2], [0.4, 0.2, 0.4], 1.2),
    ]
    for places, have, want, right in cases:
        found = number(distance(places, have, want), "the distance")
        if math.isclose(found, right, abs_tol=1e-6):
            continue
        gaps = [b - a for a, b in itertools.pairwise(places)]
        differences = [p - q for p, q in zip(_sums(have), _sums(want), strict=True)]
        mistakes = {
            "the gaps are missing: each difference counts as long as the way to the next place.": sum(
                map(abs, differences)
            ),
            "what flows right and what flows left cancel: take the absolute value of each difference.": abs(
                sum(d * gap for d, gap in zip(differences, gaps, strict=False))
            ),
            "that compares the masses place by place; compare what lies *up to* each place.": sum(
                abs(p - q) * gap for p, q, gap in zip(have, want, gaps, strict=False)
            ),
        }
        for reason, wrong in mistakes.items():
            if math.isclose(abs(found), wrong, abs_tol=1e-6):
                raise Wrong(reason)
        raise Wrong(f"for {have} and {want} at {places} you return {found:.4g}; expected {right:g}.")
    return "the area between the two distribution functions, and the work of the cheapest plan."


def critic_step(step: Callable) -> str:
    """Check a step of a clipped critic: it must widen the gap, and leave the generator alone."""
    game = Game(point_generator(seed=0), point_critic(num_layers=1, seed=1))
    random = new_generator(0)
    real = torch.randn(64, 2, generator=random) + 2
    fake = torch.randn(64, 2, generator=random)
    before = [weight.detach().clone() for weight in game.generator.parameters()]

    def gap() -> float:
        with torch.no_grad():
            return (game.discriminator(real).mean() - game.discriminator(fake).mean()).item()

    with torch.no_grad():
        for weight in game.discriminator.parameters():
            weight.clamp_(-0.05, 0.05)
    start = gap()
    optimizer = torch.optim.SGD(game.discriminator.parameters(), lr=0.3)
    for _ in range(20):
        step(game, real, fake, optimizer, 0.1)
    moved = [not torch.equal(a, b) for a, b in zip(before, game.generator.parameters(), strict=True)]
    if any(moved):
        raise Wrong("the generator's weights have changed: cut the critic's weights alone.")
    end = gap()
    if not math.isfinite(end):
        raise Wrong(f"after 20 steps the gap is {end}: nothing holds the weights within the limit.")
    if end < start - 1e-9:
        raise Wrong(
            f"after 20 steps the gap real minus fake has fallen from {start:.1g} to {end:.1g}: an optimiser "
            "goes *down* a loss. The sign."
        )
    largest = max(weight.abs().max().item() for weight in game.discriminator.parameters())
    if largest > 0.1 + 1e-6:
        raise Wrong(f"the critic has a weight of {largest:.3g}, beyond the limit of 0.1.")
    if not end > start:
        raise Wrong("the critic has not moved at all: is there a backward and a step?")
    return "the gap widens, the critic stays within the limit, and nobody has touched the generator."


def slope_penalty(penalty: Callable[[nn.Module, Tensor], Tensor]) -> str:
    """Check a gradient penalty: its value per example, and that the critic feels it."""
    steep = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Flatten(0))
    with torch.no_grad():
        steep[0].weight.copy_(torch.tensor([[3.0, 4.0]]))
    between = torch.randn(6, 2, generator=new_generator(0))
    found = penalty(steep, between.clone())
    if not isinstance(found, Tensor) or found.ndim != 0:
        raise Wrong(f"the penalty is {found!r}; it is added to a loss, so return a scalar tensor.")
    value = found.item()
    if math.isclose(value, (5 * math.sqrt(6) - 1) ** 2, rel_tol=1e-4):
        raise Wrong(
            "one norm over the whole batch: with six examples of slope 5 it is 12.2. One norm per example."
        )
    if math.isclose(value, 4.0, rel_tol=1e-4):
        raise Wrong("the distance of the slope from 1 is not squared.")
    if not math.isclose(value, 16.0, rel_tol=1e-4):
        raise Wrong(f"for a critic of slope 5 everywhere you return {value:.4g}; (5 − 1)² is 16.")
    critic = point_critic(2, width=8, seed=0)
    loss = penalty(critic, between.clone())
    if not loss.requires_grad:
        raise Wrong(
            "the value is right, but it is a constant: no gradient reaches the critic's weights. "
            "Look at what `torch.autograd.grad` keeps."
        )
    loss.backward()
    if all(weight.grad is None or not weight.grad.any() for weight in critic.parameters()):
        raise Wrong("the value is right, but the critic's weights get no gradient from it.")
    mixed = nn.Sequential(nn.Linear(2, 1, bias=False), nn.ReLU(), nn.Flatten(0))
    with torch.no_grad():
        mixed[0].weight.copy_(torch.tensor([[3.0, 4.0]]))
    if not math.isclose(penalty(mixed, torch.tensor([[1.0, 1.0], [-1.0, -1.0]])).item(), 8.5, rel_tol=1e-4):
        raise Wrong("slopes of 5 and 0 cost (16 + 1) / 2 = 8.5 on average: square first, then take the mean.")
    return "16 where the slope is 5, and the critic feels it."


def slope_bound(bound: Callable[[nn.Module], object]) -> str:
    """Check the bound of a network's slope by the singular values of its matrices."""
    for critic in (point_critic(2, width=16, seed=0), point_critic(3, width=8, num_layers=4, seed=1)):
        found = number(bound(critic), "the bound")
        weights = [m.weight.detach() for m in critic.modules() if isinstance(m, nn.Linear)]
        largest = [torch.linalg.matrix_norm(weight, 2).item() for weight in weights]
        right = math.prod(largest)
        if math.isclose(found, right, rel_tol=1e-3):
            continue
        mistakes = {
            "you add the layers' factors; stretching by 2 and then by 3 is stretching by 6.": sum(largest),
            "those are Frobenius norms, the root of *all* squared singular values; take the largest one.": (
                math.prod(weight.norm().item() for weight in weights)
            ),
            "that is one layer's factor; every layer stretches what the one before has stretched.": max(
                largest
            ),
        }
        for reason, wrong in mistakes.items():
            if math.isclose(found, wrong, rel_tol=1e-3):
                raise Wrong(reason)
        raise Wrong(f"you return {found:.4g}; the largest singular values multiply to {right:.4g}.")
    return "no two points can differ more in score than this times their distance."
