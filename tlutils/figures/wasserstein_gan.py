"""Figures and the laboratory of the chapter on the Wasserstein GAN."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor, nn

from tlutils.figures.adversarial_game import gaps
from tlutils.generative.mixtures import grid, grid_centres, modes_covered
from tlutils.generative.quality import class_shares, frechet_distance, precision_recall
from tlutils.generative.transport import distance_of_points
from tlutils.models import Classifier
from tlutils.plotting import COLOURS, DASHES, MARKERS, interval_bars
from tlutils.repeats import Interval
from tlutils.runtime import new_generator

__all__ = [
    "curves_and_seconds",
    "depth",
    "estimates",
    "gaps",
    "grid_references",
    "grid_samples",
    "modes",
    "painted",
    "plan_in_plane",
    "plan_of_piles",
    "quality_line",
    "saturation_lab",
    "seconds_per_round",
    "share_at_limit",
    "two_views",
]


def saturation_lab(divergence: Any, shifts: Sequence[float], thicknesses: Sequence[float]) -> dict[str, Any]:
    """Return the arguments of `widgets.explore` for two lines, one shifted: both distances and their slopes.

    Parameters
    ----------
    divergence
        Maps (shift, thickness) to the Jensen-Shannon divergence in nats and its derivative by the shift.
    shifts
        From 0 up.
    thicknesses
        Standard deviations of the lines' cross-section.
    """
    fine = np.linspace(0, max(shifts), 81)

    def draw(shift: float, thickness: float) -> Figure:
        figure, (top, left) = plt.subplots(1, 2, figsize=(6.4, 2.7), gridspec_kw={"width_ratios": [2, 3]})
        t = np.linspace(-1.2, max(shifts) + 1.2, 400)
        for centre, colour, dash in ((0.0, "blue", "-"), (shift, "vermilion", "--")):
            height = np.exp(-((t - centre) ** 2) / (2 * thickness**2))
            top.plot(t, height, dash, color=COLOURS[colour])
        top.set(xlabel="position", ylabel="density (scaled)", yticks=[])
        curve = np.array([divergence(s, thickness)[0] for s in fine])
        left.plot(fine, fine, color=COLOURS["green"], label="earth mover")
        left.plot(fine, curve, "--", color=COLOURS["purple"], label="Jensen–Shannon")
        left.plot(shift, shift, "o", color=COLOURS["green"])
        left.plot(shift, divergence(shift, thickness)[0], "s", color=COLOURS["purple"])
        left.axhline(math.log(2), color="0.5", linewidth=1, linestyle=":", label="log 2")
        left.set(xlabel="shift", ylabel="distance", ylim=(-0.05, 2.05))
        left.legend(fontsize="x-small", loc="upper left")
        plt.close(figure)
        return figure

    def describe(shift: float, thickness: float) -> str:
        value, slope = divergence(shift, thickness)
        mover = "with a kink at 0" if shift == 0 else "slope 1"
        return (
            f"Shift {shift:g}, thickness {thickness:g}: Jensen–Shannon {value:.3f} of at most 0.693, slope "
            f"{abs(slope):.3f}; earth mover {shift:g}, {mover}."
        )

    return {
        "draw": draw, "describe": describe, "shift": list(shifts), "thickness": list(thicknesses),
        "label": "Which distance tells the right line where to go?",
        "names": {"shift": "shift of the right line", "thickness": "thickness of both lines"},
        "start": {"shift": shifts[len(shifts) * 3 // 4], "thickness": thicknesses[0]}, "dpi": 80,
    }  # fmt: skip


def plan_of_piles(
    places: Sequence[float],
    have: Sequence[float],
    want: Sequence[float],
    moves: Sequence[tuple[float, float, float]],
) -> Figure:
    """Draw piles, holes and the moves between them, and below the two distribution functions.

    Parameters
    ----------
    places
        Positions on the line.
    have, want
        Mass at each place before and after.
    moves
        (from, to, mass) of the plan.
    """
    figure, (above, below) = plt.subplots(2, 1, figsize=(6.0, 3.8), sharex=True)
    above.bar(np.array(places) - 0.09, have, width=0.16, color=COLOURS["blue"], label="piles P")
    above.bar(np.array(places) + 0.09, want, width=0.16, color=COLOURS["orange"], label="holes Q", hatch="//")
    for number, (start, end, mass) in enumerate(moves):
        height = 0.62 + 0.14 * number
        above.annotate(
            "", (end, height), (start, height), arrowprops={"arrowstyle": "->", "color": COLOURS["black"]}
        )
        above.text((start + end) / 2, height + 0.02, f"{mass:g}", ha="center", fontsize="small")
    above.set(ylabel="mass", ylim=(0, 0.9 + 0.14 * len(moves)))
    above.legend(fontsize="small", loc="upper left", ncols=2)
    ends = [min(places) - 0.4, *places, max(places) + 0.4]
    sums = [[0, *np.cumsum(mass), 1] for mass in (have, want)]
    for heights, colour, dash, label in zip(sums, ("blue", "orange"), DASHES, "PQ", strict=False):
        below.step(ends, heights, where="post", color=COLOURS[colour], linestyle=dash, label=f"$F_{label}$")
    below.fill_between(ends, *sums, step="post", color=COLOURS["green"], alpha=0.25, label="area = work")
    below.set(xlabel="position", ylabel="mass up to here")
    below.legend(fontsize="small", loc="lower right")
    return figure


def plan_in_plane(
    piles: Float[Tensor, "n 2"], holes: Float[Tensor, "m 2"], plan: Float[Tensor, "n m"]
) -> Figure:
    """Draw piles, holes, and a line for each move between them, as wide as its mass.

    Parameters
    ----------
    piles, holes
        Places in the plane from which mass goes, and to which.
    plan
        How much goes from pile i to hole j.
    """
    figure, ax = plt.subplots(figsize=(6.0, 3.6))
    for i, j in (plan > 1e-9).nonzero().tolist():
        ends = torch.stack([piles[i], holes[j]]).T.tolist()
        ax.plot(*ends, color="0.5", linewidth=40 * plan[i, j].item(), solid_capstyle="round", zorder=1)
    for places, colour, marker, name in ((piles, "blue", "o", "pile"), (holes, "orange", "s", "hole")):
        label = f"{name}, 1/{len(places)} each"
        ax.scatter(*places.T.tolist(), s=60, color=COLOURS[colour], marker=marker, label=label, zorder=2)
    ax.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    ax.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, 1.18), ncols=2)
    return figure


def depth(results: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the gradient by layer, and how large the weights are, for deep critics.

    Parameters
    ----------
    results
        One per method and seed: ``method``, ``slopes`` (one per hidden layer) and ``weights`` (shares of all
        weights by their size, in equal bins from 0 to the largest).
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.8, 3.3))
    methods = list(dict.fromkeys(result["method"] for result in results))
    for method, colour, marker, dash in zip(
        methods, COLOURS.values(), MARKERS, (*DASHES, "-", "--"), strict=False
    ):
        mine = [result for result in results if result["method"] == method]
        slopes = np.log10(np.maximum([result["slopes"] for result in mine], 1e-30))
        layers = np.arange(1, slopes.shape[1] + 1)
        left.plot(layers, slopes.mean(axis=0), dash, marker=marker, markersize=4, color=colour, label=method)
        left.fill_between(layers, slopes.min(axis=0), slopes.max(axis=0), color=colour, alpha=0.15)
        shares = np.mean([result["weights"] for result in mine], axis=0)
        centres = (np.arange(len(shares)) + 0.5) / len(shares)
        right.plot(centres, 100 * shares, dash, color=colour, label=method)
    left.set(xlabel="hidden layer (1 is next to the points)", ylabel="gradient's size, power of ten")
    right.set(xlabel="size of a weight, over the largest", ylabel="share of the weights in %")
    left.legend(fontsize="x-small")
    return figure


def share_at_limit(critic: nn.Module, limit: float) -> float:
    """Return the share of the weights that a cut to [-limit, limit] would leave within a twentieth of it.

    Examples
    --------
    >>> layer = nn.Linear(2, 1)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 0.5]]))
    >>> share_at_limit(layer, limit=1.0)
    0.5
    """
    weights = [p.detach().flatten() for name, p in critic.named_parameters() if name.endswith("weight")]
    return (torch.cat(weights).abs() > 0.95 * limit).float().mean().item()


def estimates(results: Sequence[Mapping[str, Any]], toys: Sequence[str], methods: Sequence[str]) -> Figure:
    """Draw each critic's estimate over the exact distance, against its steps; a band spans the seeds."""
    rows = math.ceil(len(toys) / 2)
    figure, axes = plt.subplots(rows, 2, figsize=(5.6, 2.5 * rows), sharex=True, sharey=True)
    for ax, toy in zip(axes.flat, toys, strict=False):
        for method, colour, marker, dash in zip(methods, COLOURS.values(), MARKERS, DASHES, strict=False):
            mine = [r for r in results if (r["toy"], r["method"]) == (toy, method)]
            steps = [look[0] for look in mine[0]["looks"]]
            shares = np.array([[look[1] / r["exact"] for look in r["looks"]] for r in mine])
            ax.plot(steps, shares.mean(axis=0), dash, marker=marker, markersize=3, color=colour, label=method)
            ax.fill_between(steps, shares.min(axis=0), shares.max(axis=0), color=colour, alpha=0.15)
        ax.axhline(1, color="0.4", linewidth=1, linestyle=":")
        ax.set_title("grid, cloud" if toy == "grid" else f"shift {toy}", fontsize="medium")
        ax.set(ylim=(0.1, 40), yscale="log")
        ax.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    figure.supxlabel("critic's steps", fontsize="medium")
    figure.supylabel("estimate / exact distance", fontsize="medium")
    axes.flat[0].legend(fontsize="small", loc="upper center", ncols=2)
    return figure


def modes(intervals: Mapping[str, Interval], runs: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the modes covered: one dot a seed, and the interval of the mean."""
    figure, ax = plt.subplots(figsize=(6.0, 2.4))
    interval_bars(ax, intervals, xlabel="modes covered, of 25")
    for row, values in enumerate(reversed(list(runs.values()))):
        ax.plot(values, np.full(len(values), row - 0.22), "|", color="0.35", markersize=7)
    ax.set_xlim(0, 25.5)
    return figure


def grid_samples(samples: Mapping[str, np.ndarray], centres: np.ndarray) -> Figure:
    """Draw generated points over the centres of the modes, one panel per method."""
    rows = math.ceil(len(samples) / 2)
    figure, axes = plt.subplots(rows, 2, figsize=(5.2, 2.6 * rows), sharex=True, sharey=True)
    for ax, (name, points) in zip(axes.flat, samples.items(), strict=False):
        for centre in centres:  # of the radius within which a point counts
            ax.add_patch(plt.Circle(tuple(centre), 0.3, fill=False, color=COLOURS["orange"], linewidth=1.2))
        ax.plot(*points.T, ".", color=COLOURS["blue"], markersize=3)
        ax.set_title(name, fontsize="medium")
        ax.set(xlim=(-5.5, 5.5), ylim=(-5.5, 5.5), aspect="equal", xticks=[-4, 0, 4], yticks=[-4, 0, 4])
    return figure


def grid_references(num_seeds: int) -> dict[str, np.ndarray]:
    """Return what real points and plain noise get by the measures of the grid.

    Parameters
    ----------
    num_seeds
        Draws of each.

    Returns
    -------
    For fresh real points, for an even spread over the square from -4 to 4 and for one normal cloud of the
    grid's variance: a row per draw with the spots covered by 2500 points, the share of points near a spot,
    and the exact distance of the first 500 from 500 real ones.

    Examples
    --------
    >>> int(grid_references(1)["real points"][0, 0])
    25
    """
    found: dict[str, list[tuple[float, ...]]] = {"real points": [], "even spread": [], "one cloud": []}
    for seed in range(num_seeds):
        random = new_generator(seed)
        draws = (
            grid(2500, seed=seed),
            8 * torch.rand(2500, 2, generator=random) - 4,
            math.sqrt(8) * torch.randn(2500, 2, generator=random),
        )
        held_out = grid(500, seed=1000 + seed)
        for rows, points in zip(found.values(), draws, strict=True):
            cover = modes_covered(points, grid_centres(), scale=0.1)
            rows.append((cover.num_covered, cover.good_share, distance_of_points(held_out, points[:500])))
    return {name: np.array(rows) for name, rows in found.items()}


def quality_line(
    name: str, reader: Classifier, real: Float[Tensor, "n ..."], fake: Float[Tensor, "m ..."]
) -> tuple[str, dict[str, float]]:
    """Return a line of text on a set of images, and the numbers in it.

    Parameters
    ----------
    name
        What the images are.
    reader
        The classifier in whose features they are judged.
    real, fake
        Images to judge by, and those to be judged.
    """
    precision, recall = precision_recall(reader, real, fake)
    shares = class_shares(reader, fake)
    found = {
        "frechet": frechet_distance(reader, real, fake), "precision": precision, "recall": recall,
        "rarest": shares.min().item(), "commonest": shares.max().item(),
    }  # fmt: skip
    text = (
        f"{name:15} Fréchet {found['frechet']:.0f}, precision {precision:.2f}, recall {recall:.2f}, "
        f"classes from {100 * found['rarest']:.0f} to {100 * found['commonest']:.0f} %"
    )
    return text, found


def two_views(
    curves: Mapping[str, Sequence[Mapping[str, float]]], seconds: Mapping[str, float], floor: float
) -> Figure:
    """Draw Fréchet distances against generator updates and against processor time.

    Parameters
    ----------
    curves
        Game → one curve per seed: round → Fréchet distance.
    seconds
        Game → processor seconds a round.
    floor
        The distance of real images from other real ones.
    """
    figure, axes = plt.subplots(1, 2, figsize=(6.8, 3.0), sharey=True)
    for (name, mine), colour, marker, dash in zip(
        curves.items(), COLOURS.values(), MARKERS, DASHES, strict=False
    ):
        rounds = np.array([int(r) for r in mine[0]])
        values = np.array([[curve[str(r)] for r in rounds] for curve in mine])
        for ax, x in zip(axes, (rounds, rounds * seconds[name]), strict=True):
            ax.plot(x, values.mean(axis=0), dash, marker=marker, color=colour, label=name)
            ax.fill_between(x, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    for ax, label in zip(axes, ("updates of the generator", "processor seconds"), strict=True):
        ax.axhline(floor, color="0.4", linewidth=1, linestyle=":", label="other real digits")
        ax.set(xlabel=label, yscale="log")
    axes[0].set_ylabel("Fréchet distance")
    axes[0].legend(fontsize="small")
    return figure


def curves_and_seconds(
    metrics: Mapping[tuple[str, int], Mapping[str, Any]],
) -> tuple[dict[str, list[dict[str, float]]], dict[str, float]]:
    """Return for each game its curves, one per seed, and its mean processor seconds a round.

    Parameters
    ----------
    metrics
        (game, seed) → what `seconds_per_round` takes, and ``frechet``, one value per look.
    """
    games: dict[str, list[Mapping[str, Any]]] = {}
    for (name, _), found in metrics.items():
        games.setdefault(name, []).append(found)
    curves = {
        name: [{str(r): f for r, f in zip(m["rounds"], m["frechet"], strict=True)} for m in mine]
        for name, mine in games.items()
    }
    seconds = {name: float(np.mean([seconds_per_round(m) for m in mine])) for name, mine in games.items()}
    return curves, seconds


def seconds_per_round(metrics: Mapping[str, Any]) -> float:
    """Return the processor seconds of a round, without those spent on looking.

    Parameters
    ----------
    metrics
        ``start`` of the training, and for each look its ``rounds`` and when it ``began`` and ``ended``.

    Examples
    --------
    >>> seconds_per_round({"start": 1.0, "rounds": [2, 4], "began": [3.0, 10.0], "ended": [8.0, 11.0]})
    1.0
    """
    starts = [metrics["start"], *metrics["ended"][:-1]]
    worked = sum(began - start for start, began in zip(starts, metrics["began"], strict=True))
    return worked / metrics["rounds"][-1]


def painted(rows: Mapping[str, np.ndarray]) -> Figure:
    """Show rows of images (n, height, width), one name per row."""
    figure, axes = plt.subplots(len(rows), 1, figsize=(6.4, 0.78 * len(rows)))
    for ax, (name, images) in zip(np.atleast_1d(axes), rows.items(), strict=True):
        ax.imshow(np.hstack(list(images)), cmap="gray_r", vmin=0, vmax=1)
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize="small")
        ax.set(xticks=[], yticks=[])
        ax.grid(visible=False)
    return figure
