"""Trials of critics on points: what they estimate, how deep ones pass gradients on, which modes they find."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlutils.generative.adversarial import alternate, fit_game
from tlutils.generative.critics import FixedPoints, HingeGame
from tlutils.generative.game import Batch, ClippedGame, Game, PenaltyGame, WassersteinGame, generate
from tlutils.generative.mixtures import grid, grid_centres, modes_covered
from tlutils.generative.networks import Critic, point_critic, point_generator
from tlutils.generative.transport import distance_of_points
from tlutils.runtime import new_generator

__all__ = [
    "depth_trial",
    "estimate_trial",
    "grid_trial",
    "named_critic",
    "named_game",
    "slopes_by_layer",
    "steepest_slope",
    "train_critic",
    "two_heaps",
]

NUM_LOOKS = 10


def named_game(method: str, generator: nn.Module, critic: Critic) -> Game:
    """Return the game that a short name stands for.

    Parameters
    ----------
    method
        ``"non-saturating"``, ``"hinge"``, ``"spectral"`` (the gap, for a critic with spectral normalisation),
        ``"clipped LIMIT"`` or ``"penalty WEIGHT"``, such as ``"clipped 0.1"``.
    generator, critic
        The players.

    Raises
    ------
    ValueError
        If nothing has that name.

    Examples
    --------
    >>> named_game("clipped 0.1", point_generator(), point_critic()).limit
    0.1
    """
    kind, _, number = method.partition(" ")
    if kind == "clipped":
        return ClippedGame(generator, critic, limit=float(number))
    if kind == "penalty":
        return PenaltyGame(generator, critic, weight=float(number))
    rules = {"spectral": WassersteinGame, "hinge": HingeGame, "non-saturating": Game}
    if kind not in rules:
        raise ValueError(f"no game is called {method!r}; expected clipped, penalty or one of {[*rules]}")
    return rules[kind](generator, critic)


def named_critic(method: str, *, num_layers: int = 3, seed: int = 0) -> Critic:
    """Return the critic of points that goes with a method: normalised for the spectral ones.

    Examples
    --------
    >>> sum(p.numel() for p in named_critic("penalty 10").parameters())  # 2·64 + 2·64² + 64, and biases
    8577
    """
    norm = "spectral" if method.startswith(("spectral", "hinge")) else "none"
    return point_critic(2, width=64, num_layers=num_layers, norm=norm, seed=100 + seed)


def train_critic(
    game: Game,
    x: Float[Tensor, "n 2"],
    num_steps: int,
    seed: int,
    look: Callable[[int], None] | None = None,
) -> None:
    """Let the critic alone move, by Adam on batches of 128; call `look` with each step's number after it."""
    random = new_generator(seed)
    optimizer = torch.optim.Adam(game.discriminator.parameters(), lr=1e-3, betas=(0.5, 0.9))
    for step in range(1, num_steps + 1):
        batch = Batch(x[torch.randint(len(x), (128,), generator=random)])
        optimizer.zero_grad()
        game.discriminator_turn(batch, random).loss.backward()
        optimizer.step()
        game.after_discriminator()
        if look is not None:
            look(step)


def two_heaps(toy: str, seed: int, n: int = 500) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n 2"]]:
    """Return real and fake points: a cloud and its twin shifted by `toy`, or the grid and one wide cloud.

    Examples
    --------
    >>> x, y = two_heaps("4", seed=0)
    >>> round((y - x).mean(dim=0)[0].item())
    4
    """
    cloud, twin = torch.randn(2, n, 2, generator=new_generator(seed))
    if toy == "grid":
        return grid(n, seed=seed), math.sqrt(8) * cloud  # the grid's variance is 8 on each axis
    return cloud, twin + torch.tensor([float(toy), 0.0])


def steepest_slope(critic: Critic, x: Float[Tensor, "n 2"], y: Float[Tensor, "m 2"], seed: int = 0) -> float:
    """Return the largest slope found at 2000 points between real and fake ones."""
    random = new_generator(seed)
    a, b = (points[torch.randint(len(points), (2000,), generator=random)] for points in (x, y))
    between = (a + torch.rand(2000, 1, generator=random) * (b - a)).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between)
    return slope.norm(dim=1).max().item()


def estimate_trial(method: str, toy: str, seed: int, num_rounds: int) -> dict[str, Any]:
    """Train a critic alone between two heaps; hold its gap against their exact distance.

    Returns
    -------
    ``exact``, the earth mover's distance of the heaps, and ``looks``, at ten moments the step, the critic's
    gap over all points and the steepest slope found.
    """
    x, y = two_heaps(toy, seed)
    critic, looks = named_critic(method, seed=seed), []
    game = named_game(method, FixedPoints(y), critic)

    def look(step: int) -> None:
        if step % max(1, num_rounds // NUM_LOOKS) == 0:
            with torch.no_grad():
                gap = (critic(x).mean() - critic(y).mean()).item()
            looks.append([step, round(gap, 5), round(steepest_slope(critic, x, y), 4)])

    train_critic(game, x, num_rounds, seed, look)
    return {"exact": round(distance_of_points(x, y), 5), "looks": looks}


def slopes_by_layer(critic: Critic, x: Float[Tensor, "n 2"]) -> list[float]:
    """Return the mean size of the score's gradient at the output of each hidden layer.

    Examples
    --------
    >>> critic = point_critic(2, width=1, num_layers=1)
    >>> with torch.no_grad():
    ...     _ = [weight.fill_(1.0) for weight in critic.parameters()], critic.head.weight.fill_(3.0)
    >>> slopes_by_layer(critic, torch.ones(4, 2))
    [3.0]
    """
    h, outputs = x.clone().requires_grad_(), []
    for layer in critic.backbone:
        h = layer(h)
        if isinstance(layer, nn.ReLU):
            outputs.append(h)
    gradients = torch.autograd.grad(critic.head(h).sum(), outputs)
    return [g.norm(dim=1).mean().item() for g in gradients]


def depth_trial(method: str, seed: int, num_rounds: int) -> dict[str, Any]:
    """Train a critic of ten hidden layers between the grid and the grid plus noise.

    Returns
    -------
    ``slopes``, as `slopes_by_layer` gives them, and ``weights``, the share of all weights by their size over
    the largest, in 20 bins.
    """
    x = grid(2000, seed=seed)
    critic = named_critic(method, num_layers=10, seed=seed)
    game = named_game(method, FixedPoints(x + torch.randn(2000, 2, generator=new_generator(seed))), critic)
    train_critic(game, x, num_rounds, seed)
    weights = torch.cat([p.detach().flatten() for n, p in critic.named_parameters() if n.endswith("weight")])
    counts = np.histogram(weights.abs() / weights.abs().max(), bins=20, range=(0, 1))[0]
    return {"slopes": slopes_by_layer(critic, x[:500]), "weights": (counts / counts.sum()).round(4).tolist()}


def grid_trial(method: str, seed: int, num_rounds: int) -> dict[str, Any]:
    """Play a game on 25 Gaussians, five critic's steps a round.

    Returns
    -------
    At ten moments (``rounds``, ``watched``) and for the averaged generator at the end: ``modes`` covered,
    share of ``good`` points, exact ``distance`` of 500 points from 500 held-out ones, and the critic's
    ``gap``; and for seed 0 400 ``points``, in fiftieths.
    """
    x, held_out = grid(10000, seed=seed), grid(500, seed=1000 + seed)
    generator = point_generator(2, 2, width=64, num_layers=3, seed=seed)
    game = named_game(method, generator, named_critic(method, seed=seed))

    def watch(game: Game) -> dict[str, float]:
        drawn = generate(game.generator, 2500, seed=1)
        found = modes_covered(drawn, grid_centres(), scale=0.1)
        device = next(game.parameters()).device
        with torch.no_grad():
            real, fake = (game.discriminator(points.to(device)).mean() for points in (held_out, drawn))
        measured = {"distance": distance_of_points(held_out, drawn[:500]), "gap": (real - fake).item()}
        return {"modes": found.num_covered, "good": found.good_share, **measured}

    history = fit_game(
        game, x, num_rounds=num_rounds, turns=alternate(5), batch_size=128, learning_rate=1e-3,
        betas=(0.5, 0.9), average=0.99, watch=watch, watch_every=max(1, num_rounds // NUM_LOOKS), seed=seed,
    )  # fmt: skip
    final = watch(game)  # with the averaged generator
    points = generate(game.generator, 400, seed=2).mul(50).round().int().tolist() if seed == 0 else []
    watched = {name: [round(v, 4) for v in values] for name, values in history.watched.items()}
    return {"rounds": history.watched_rounds, "watched": watched, "points": points, **final}
