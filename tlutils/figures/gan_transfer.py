"""Figures and the laboratory of the chapter on transfer with GANs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor

from tlutils import plotting, runs
from tlutils.domains import Target
from tlutils.generative.quality import frechet_distance, nearest
from tlutils.models import lenet
from tlutils.plotting import COLOURS, DASHES, MARKERS
from tlutils.repeats import Interval, mean_interval, paired_interval
from tlutils.runtime import new_generator

__all__ = [
    "adaptation",
    "adaptation_lab",
    "budget_panels",
    "distance_of_real",
    "drawn_real",
    "looks_by_signal",
    "mean_line",
    "packed",
    "rank_correlation",
    "recipe_table",
    "switch_effects",
    "table",
    "unpacked",
]

STARTS = {"source": "from the source's GAN", "random": "from scratch"}


def packed(images: Float[Tensor, "n 1 h w"]) -> str:
    """Return images in [0, 1] as base64 text of their bytes, to be kept in a run."""
    return base64.b64encode(images.mul(255).round().byte().numpy().tobytes()).decode()


def unpacked(text: str, size: int = 16) -> np.ndarray:
    """Return the images (n, size, size), 0 to 255, that `packed` has packed."""
    return np.frombuffer(base64.b64decode(text), dtype=np.uint8).reshape(-1, size, size)


def table(rows: Mapping[str, Sequence[np.ndarray | None]], columns: Sequence[Any], width: int = 28) -> str:
    """Return a table of mean percentages, one row per name; None leaves a cell empty.

    Examples
    --------
    >>> print(table({"scratch": [None, np.array([0.5, 0.7])]}, [0, "all"], width=10))
                     0    all
    scratch               60.0
    """
    lines = [" " * width + "".join(f"{c!s:>7}" for c in columns)]
    for name, cells in rows.items():
        texts = ("" if cell is None else f"{100 * cell.mean():.1f}" for cell in cells)
        lines.append(f"{name:{width}}" + "".join(f"{text:>7}" for text in texts))
    return "\n".join(lines)


def drawn_real(target: Target) -> Float[Tensor, "n 1 h w"]:
    """Return as many of the target's training images as it has for validation, drawn at random.

    The first ones of an archive need not be typical: those of USPS have far more zeros than the others.
    """
    order = torch.randperm(len(target.images), generator=new_generator(0))
    return target.images[order[: len(target.validation_budget())]]


def distance_of_real(target: Target) -> float:
    """Return the Fréchet distance of `drawn_real` images from the target's validation images."""
    reader = runs.load("adversarial_game/reader").load_into(lenet(image_size=16))
    return frechet_distance(reader, target.validation_budget().x, drawn_real(target))


def adaptation(runs: Mapping[Any, Sequence[Mapping[str, Any]]], floor: float) -> Figure:
    """Draw the Fréchet distance over the rounds, a panel per number of target images, a line per start.

    Parameters
    ----------
    runs
        Number of images → results with ``start``, ``rounds`` and ``frechet``, one per seed and start.
    floor
        The distance of real target images.
    """
    figure, axes = plt.subplots(1, len(runs), figsize=(6.4, 3.0), sharey=True, squeeze=False)
    for ax, (num_images, results) in zip(axes[0], runs.items(), strict=True):
        for (start, name), colour, marker, dash in zip(
            STARTS.items(), COLOURS.values(), MARKERS, DASHES, strict=False
        ):
            curves = np.array([r["frechet"] for r in results if r["start"] == start])
            rounds = next(r["rounds"] for r in results if r["start"] == start)
            ax.plot(rounds, curves.mean(axis=0), dash, marker=marker, color=colour, label=name)
            ax.fill_between(rounds, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.15)
        ax.axhline(floor, color="black", linestyle=":", linewidth=1)
        ax.set_title(f"{num_images} images", fontsize=10)
        ax.set(yscale="log", xlabel="rounds")
    axes[0, 0].set_ylabel("Fréchet distance")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def adaptation_lab(runs: Mapping[Any, Mapping[str, Any]], images: Float[Tensor, "n 1 h w"]) -> dict[str, Any]:
    """Return the arguments of `widgets.explore`: digits drawn while a GAN is adapted, by images and rounds.

    Parameters
    ----------
    runs
        Number of images, or "all" → what a run has measured, with ``films`` of seed 0 by start, one strip for
        each of the ``rounds``.
    images
        All target images; of these seed 0 draws the ones that a run has trained on.
    """
    order = torch.randperm(len(images), generator=new_generator(0))
    trained_on = {
        len(images) if n == "all" else n: images[order[: len(images) if n == "all" else n]] for n in runs
    }
    found = dict(zip(trained_on, runs.values(), strict=True))
    rounds = next(iter(found.values()))["results"][0]["rounds"]

    def strip(images: int, start: str, round: int) -> np.ndarray:
        return unpacked(found[images]["films"][start][rounds.index(round)])[:10]

    def draw(images: int, round: int) -> Figure:
        rows = {name: strip(images, start, round) for start, name in STARTS.items()}
        drawn = torch.from_numpy(rows[STARTS["source"]].copy()).float()[:, None] / 255
        x = trained_on[images]
        rows["nearest training image of the first row"] = 255 * x[nearest(x, drawn), 0].numpy()
        figure, axes = plt.subplots(len(rows), 1, figsize=(6.4, 3.0))
        for ax, (name, row) in zip(axes, rows.items(), strict=True):
            ax.imshow(np.concatenate(row, axis=1), cmap="gray", vmin=0, vmax=255)
            ax.set_axis_off()
            ax.set_title(name, fontsize=10, loc="left")
        return figure

    def describe(images: int, round: int) -> str:
        ends = {start: [] for start in STARTS}
        for result in found[images]["results"]:
            ends[result["start"]].append(result["frechet"][rounds.index(round)])
        means = "; ".join(f"{STARTS[start]} {np.mean(values):.0f}" for start, values in ends.items())
        grey = " A generator that has learnt nothing paints grey." if round == 0 else ""
        where = f"{images} target images, round {round}."
        return f"{where} Fréchet distance, three seeds: {means}. Drawn by seed 0.{grey}"

    return {
        "draw": draw,
        "describe": describe,
        "label": "What do few target images do to a generator?",
        "names": {"images": "target images", "round": "rounds of training"},
        "start": {"images": next(iter(found)), "round": rounds[-1]},
        "images": [*found],
        "round": rounds,
    }


def budget_panels(budgets: Sequence[Any], groups: Mapping[str, Mapping[str, Sequence[Interval]]]) -> Figure:
    """Draw accuracy against labels per class, one panel per group of ways, the panels one above the other.

    Parameters
    ----------
    budgets
        Labels per class, evenly spaced on the axis.
    groups
        Title of a panel → name of a way → its accuracy at each budget.
    """
    figure, axes = plt.subplots(len(groups), 1, figsize=(6.4, 2.8 * len(groups)), sharey=True, squeeze=False)
    places = range(len(budgets))
    for ax, (title, curves) in zip(axes.flat, groups.items(), strict=True):
        plotting.interval_curves(ax, places, curves, xlabel="labels per class", ylabel="test accuracy in %")
        ax.set_xticks(places, budgets)
        ax.set_title(title, fontsize=10)
        plotting.percent_axis(ax.yaxis)
    return figure


def looks_by_signal(
    looks: Mapping[str, Sequence[Mapping[str, float]]], signal: str, *, xlabel: str, chosen: Mapping[str, Any]
) -> Figure:
    """Draw the truth against what can be seen without target labels, one point per look.

    Parameters
    ----------
    looks
        Name of a candidate → its looks, each with `signal` and ``test``.
    signal
        The key that goes on the horizontal axis.
    xlabel
        Its name and unit.
    chosen
        Name of a candidate → the looks that the rule has chosen from it, ringed.
    """
    figure, ax = plt.subplots(figsize=(6.4, 3.8))
    for (name, found), colour, marker in zip(looks.items(), COLOURS.values(), MARKERS, strict=False):
        ax.plot(
            [look[signal] for look in found],
            [look["test"] for look in found],
            marker,
            color=colour,
            label=name,
            alpha=0.6,
            markersize=5,
        )
        for look in chosen.get(name, ()):
            ax.plot(look[signal], look["test"], "o", mfc="none", mec="black", markersize=11)
    ax.set(xlabel=xlabel, ylabel="test accuracy in %")
    plotting.percent_axis(ax.yaxis)
    ax.legend(fontsize=9)
    return figure


def rank_correlation(looks: Sequence[Mapping[str, float]], signal: str) -> float:
    """Return the rank correlation of a signal with the truth over looks.

    Examples
    --------
    >>> rank_correlation([{"s": 1.0, "test": 0.5}, {"s": 5.0, "test": 0.6}, {"s": 2.0, "test": 0.9}], "s")
    0.5
    """
    found = stats.spearmanr(*([look[key] for look in looks] for key in (signal, "test")))
    return float(np.round(found.statistic, 6))


def recipe_table(found: Mapping[tuple[str, int, str, float], Sequence[float]]) -> str:
    """Return a table of recipes, best first: four switches, the mean percentage with its interval.

    Parameters
    ----------
    found
        For each recipe (digits, whether they move, ``"one"`` or ``"all"`` painters, weight of the
        information) the accuracies of its seeds, from 0 to 1.

    Examples
    --------
    >>> print(recipe_table({("both", 0, "one", 0.0): [0.8, 0.8], ("painted", 1, "all", 0.1): [0.9, 0.9]}))
    digits   moved  painters  information
    painted  yes    all       0.1          90.0 [90.0, 90.0]
    both     no     one       0            80.0 [80.0, 80.0]
    """
    lines = [f"{'digits':9}{'moved':7}{'painters':10}information"]
    for recipe in sorted(found, key=lambda recipe: -np.mean(found[recipe])):
        digits, moves, who, weight = recipe
        share = mean_interval(100 * np.asarray(found[recipe]))
        lines.append(f"{digits:9}{'yes' if moves else 'no':7}{who:10}{weight:<13g}{share:.1f}")
    return "\n".join(lines)


def switch_effects(found: Mapping[tuple[str, int, str, float], Sequence[float]]) -> str:
    """Return what each of the four switches of a recipe changes, in points, the other three averaged over.

    Parameters
    ----------
    found
        As in `recipe_table`, for every combination of two values per switch; seeds in the same order.

    Examples
    --------
    >>> import itertools
    >>> seeds = {r: [0.5 + 0.1 * r[3]] * 2 for r in itertools.product("ab", (0, 1), ("one", "all"), (0, 1))}
    >>> print(switch_effects(seeds).splitlines()[-1])
    information, 1 for 0     +10.0 [+10.0, +10.0]
    """
    lines = []
    for place, name in enumerate(("digits", "moved", "painters", "information")):
        first, second = dict.fromkeys(recipe[place] for recipe in found)
        means = [
            np.mean([values for recipe, values in found.items() if recipe[place] == value], axis=0)
            for value in (second, first)
        ]
        change = paired_interval(*(100 * mean for mean in means))
        lines.append(f"{f'{name}, {second} for {first}':24} {change:+.1f}")
    return "\n".join(lines)


def mean_line(name: str, values: Sequence[float]) -> str:
    """Return a name with the mean percentage and its interval.

    Examples
    --------
    >>> mean_line("ours", [0.95, 0.96, 0.97])
    'ours                     96.0 [93.5, 98.5]'
    """
    return f"{name:24} {mean_interval(100 * np.asarray(values)):.1f}"
