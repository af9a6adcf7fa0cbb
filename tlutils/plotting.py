"""Figures of the book. Functions take arrays and an axes, draw one thing, and return the axes.

Colours are Okabe and Ito's, which stay apart for colour-blind readers;
lines differ in marker and dash as well.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tlutils.datasets import make_shifted_toy
from tlutils.metrics import proxy_a_distance
from tlutils.repeats import Interval

__all__ = [
    "COLOURS",
    "answers",
    "bound_lab",
    "confusion",
    "drop_panels",
    "image_grid",
    "interval_bars",
    "interval_curves",
    "interval_panels",
    "label_worth",
    "measure_toy",
    "percent_axis",
    "points",
    "shift_lab",
    "shifted_toy",
    "two_sample_panels",
    "uneven_axis",
    "use_style",
    "value_matrix",
    "ways_lab",
]

# Okabe and Ito, "Color universal design" (2008); yellow is left out, too pale on white;
# in this order neighbours differ in luminance too.
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "vermilion": "#D55E00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "black": "#000000",
    "purple": "#CC79A7",
}
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":")


def use_style() -> None:
    """Set matplotlib's defaults for a chapter: sizes, colours, a light grid, a white ground."""
    plt.rcParams.update(
        {
            "axes.grid": True,
            "axes.prop_cycle": plt.cycler(color=list(COLOURS.values())),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "figure.constrained_layout.use": True,
            "figure.dpi": 110,
            "figure.facecolor": "white",
            "figure.figsize": (6.4, 3.6),
            "font.size": 10,
            "grid.alpha": 0.3,
            "legend.frameon": False,
            "lines.linewidth": 2,
            "savefig.facecolor": "white",
        }
    )


def percent_axis(axis) -> None:
    """Show the fractions on `axis` as percentages."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g}"))


def uneven_axis(axis, values: Sequence[float]) -> None:
    """Spread `values` that grow like 0, 1, 3, 10, 30 evenly along `axis`, and mark only them."""
    axis.axes.set(**{f"{axis.axis_name}scale": "symlog"})
    axis.set_ticks(values, [f"{value:g}" for value in values])
    axis.set_ticks([], minor=True)


def interval_curves(
    ax: Axes, x: Sequence[float], curves: Mapping[str, Sequence[Interval]], *, xlabel: str, ylabel: str
) -> Axes:
    """Draw one line per name over `x`, with its confidence band.

    Parameters
    ----------
    ax
        Where to draw.
    x
        Positions, as many as each curve has intervals.
    curves
        Name → intervals. Up to 7 curves can be told apart.
    xlabel, ylabel
        With the unit.
    """
    for (name, intervals), colour, marker, dash in zip(
        curves.items(), cycle(COLOURS.values()), cycle(MARKERS), cycle(DASHES)
    ):
        means, lows, highs, _ = zip(*intervals, strict=True)
        ax.plot(x, means, label=name, color=colour, marker=marker, linestyle=dash)
        ax.fill_between(x, lows, highs, color=colour, alpha=0.15, linewidth=0)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend()
    return ax


def interval_bars(ax: Axes, intervals: Mapping[str, Interval], *, xlabel: str) -> Axes:
    """Draw one horizontal point with its interval per name, first name on top."""
    positions = np.arange(len(intervals))[::-1]
    for position, interval, colour in zip(
        positions, intervals.values(), cycle(COLOURS.values()), strict=False
    ):
        ax.plot([interval.low, interval.high], [position, position], color=colour, linewidth=3)
        ax.plot(interval.mean, position, marker="o", color=colour)
    ax.set_yticks(positions, list(intervals))
    ax.set(xlabel=xlabel)
    ax.margins(y=0.2)
    return ax


def image_grid(rows: Mapping[str, np.ndarray]):
    """Show one row of images per name and return the figure.

    Parameters
    ----------
    rows
        Name → images (n, channels, height, width) or (n, height, width), values in [0, 1] or 0 … 255.
        Every row has the same n.
    """
    columns = max(len(images) for images in rows.values())
    figure, axes = plt.subplots(len(rows), columns, figsize=(6.4, 0.72 * len(rows)), squeeze=False)
    for (name, images), row in zip(rows.items(), axes, strict=True):
        for axis in row:
            axis.set_axis_off()
        for image, axis in zip(np.asarray(images), row, strict=False):
            image = np.moveaxis(image, 0, -1).squeeze() if image.ndim == 3 else image
            axis.imshow(image, cmap="gray", vmin=0, vmax=1 if image.max() <= 1 else 255)
        row[0].text(-0.15, 0.5, name, ha="right", va="center", transform=row[0].transAxes)
    return figure


def answers(ax: Axes, images: np.ndarray, labels: Sequence[int], rows: Mapping[str, Sequence[int]]) -> Axes:
    """Show images in one row, and below them what each model says they are, wrong answers in brackets.

    Parameters
    ----------
    ax
        Where to draw; its own axes are hidden.
    images
        Grey images (n, height, width) with values in [0, 1].
    labels
        The n right answers.
    rows
        Name of a model → its n answers.
    """
    ax.imshow(
        np.concatenate(list(images), axis=1), cmap="gray", vmin=0, vmax=1, extent=(0, len(images), 0, 1)
    )
    for row, (name, given) in enumerate(rows.items()):
        height = -0.4 - 0.7 * row
        ax.text(-0.2, height, name, ha="right", va="center")
        for column, (label, answer) in enumerate(zip(labels, given, strict=True)):
            text, colour = (
                (f"{answer}", "black") if answer == label else (f"({answer})", COLOURS["vermilion"])
            )
            ax.text(column + 0.5, height, text, ha="center", va="center", color=colour)
    ax.set(xlim=(-3, len(images)), ylim=(-0.1 - 0.7 * len(rows), 1))
    ax.set_axis_off()
    return ax


def confusion(ax: Axes, matrix: np.ndarray, class_names: Sequence[str]) -> Axes:
    """Draw a confusion matrix, rows normalised to 1, with the count in each cell that is not empty."""
    matrix = np.asarray(matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.argwhere(matrix > 0):
        colour = "white" if shares[row, column] > 0.5 else "black"
        ax.text(column, row, matrix[row, column], ha="center", va="center", color=colour, fontsize=7)
    ax.set_xticks(range(len(class_names)), class_names)
    ax.set_yticks(range(len(class_names)), class_names)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.grid(False)
    return ax


def points(ax: Axes, x: np.ndarray, y: np.ndarray, *, label: str, filled: bool = True) -> Axes:
    """Scatter two-dimensional points, class by colour and marker; open markers for a second domain."""
    for index, (colour, marker) in enumerate(zip(COLOURS.values(), MARKERS, strict=True)):
        chosen = np.asarray(x)[np.asarray(y) == index]
        if len(chosen):
            face = colour if filled else "none"
            ax.scatter(*chosen.T, s=14, marker=marker, facecolors=face, edgecolors=colour, alpha=0.7,
                       label=f"{label}, class {index}")  # fmt: skip
    ax.set(xlabel="$x_1$", ylabel="$x_2$")
    return ax


def value_matrix(
    values: np.ndarray, names: Sequence[str], *, vmax: float, xlabel: str, ylabel: str, digits: int = 2
) -> Axes:
    """Draw a square table of numbers from 0 to `vmax` as shades with the number in each cell."""
    values = np.asarray(values)
    _, ax = plt.subplots(figsize=(4.8, 4.2))
    ax.imshow(values, cmap="Blues", vmin=0, vmax=vmax)
    for (row, column), value in np.ndenumerate(values):
        text = f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")  # + 0.0: no "−0.00"
        ax.text(column, row, text, ha="center", va="center", color="white" if value > vmax / 2 else "black")
    ax.set_xticks(range(len(names)), names, rotation=30, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.grid(False)
    return ax


def interval_panels(panels: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Draw one panel of intervals below the other; keys are the labels of the horizontal axes."""
    heights = [len(intervals) + 1.5 for intervals in panels.values()]
    figure, axes = plt.subplots(len(panels), 1, figsize=(5.6, 0.5 * sum(heights)), height_ratios=heights)
    for ax, (xlabel, intervals) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        interval_bars(ax, intervals, xlabel=xlabel)
        ax.axvline(0, color="black", linewidth=1)
    return figure


def two_sample_panels(
    alarms: np.ndarray, sizes: np.ndarray, p_values: np.ndarray, distances: np.ndarray
) -> Figure:
    """Draw how a two-sample test behaves where nothing differs, and as its sample grows where something does.

    Parameters
    ----------
    alarms
        p-values (repetition, 2) of one domain against itself: held out, and on the training half.
    sizes
        Numbers of held-out examples (n,).
    p_values, distances
        Results (seed, n) at these sizes.
    """
    figure, (top, below) = plt.subplots(2, 1, figsize=(5.2, 6))
    for column, (label, style) in enumerate([("held-out half", "-"), ("training half (wrong)", "--")]):
        sorted_p = np.sort(alarms[:, column])
        shares = np.arange(1, len(sorted_p) + 1) / len(sorted_p)
        top.step([0, *sorted_p, 1], [0, *shares, 1], style, where="post", label=label)
    top.plot([0, 1], [0, 1], ":", color="black", label="share = level")
    top.set(xlabel="level", ylabel="share of p-values below it")
    top.legend()
    below.loglog(sizes, np.maximum(p_values, 1e-300).T, "o-", color=COLOURS["blue"], alpha=0.5)
    below.set(xlabel="held-out images", ylabel="p-value (circles)", yticks=[1, 1e-50, 1e-100, 1e-150, 1e-200])
    size = below.twinx()
    size.plot(sizes, distances.T, "s--", color=COLOURS["vermilion"], alpha=0.5)
    size.set(ylim=(0, 2), ylabel="proxy A-distance (squares)")
    size.grid(False)
    return figure


def drop_panels(distances: Mapping[str, np.ndarray], drop: np.ndarray, names: Sequence[str]) -> Figure:
    """Scatter `drop` (source, target) against each of the `distances`, colour and marker by source."""
    figure, axes = plt.subplots(len(distances), 1, figsize=(5.2, 3.2 * len(distances)), sharey=True)
    for ax, (key, between) in zip(np.atleast_1d(axes), distances.items(), strict=True):
        for row, (name, colour, marker) in enumerate(zip(names, COLOURS.values(), MARKERS, strict=False)):
            others = np.arange(len(names)) != row
            ax.scatter(between[row, others], drop[row, others], color=colour, marker=marker, label=name)
        ax.set(xlabel=f"proxy A-distance in {key}", ylabel="drop, in points")
        percent_axis(ax.yaxis)
    np.atleast_1d(axes)[0].legend(fontsize=8)
    return figure


SHIFT_LABS = {
    "covariate": (
        "What does a shift of P(x) do to a line that fitted the source?",
        "target mean minus source mean", (0.0, 0.5, 1.0, 1.5, 2.0, 3.0), 2.0, 1.0,
    ),
    "label": (
        "What does a shift of P(y) do to the fixed line, and what does it leave on the table?",
        "log-odds of class 1 in the target", (-3.0, -1.5, 0.0, 1.5, 3.0), 3.0, 1.0,
    ),
    "concept": (
        "Can a discrepancy that looks at x alone see the rule turn?",
        "turn of the rule, in degrees", (0.0, 45.0, 90.0, 135.0, 180.0), 180.0, math.pi / 180,
    ),
}  # fmt: skip


@functools.cache
def measure_toy(kind: str, shift: float) -> tuple[Any, dict[str, float]]:
    """Fit a line to the source of a toy and measure it on fresh points of source and target.

    Returns
    -------
    The line (a scikit-learn logistic regression), and: its error on the source; on the target; the target
    error of a line fitted to labelled target points; half the proxy A-distance for a linear domain
    classifier, in [0, 1].
    """
    from sklearn.linear_model import LogisticRegression

    toy, fresh = (make_shifted_toy(kind, shift, num_examples=2000, seed=seed) for seed in (0, 1))
    line = LogisticRegression().fit(toy.x_source.numpy(), toy.y_source.numpy())
    reference = LogisticRegression().fit(toy.x_target.numpy(), toy.y_target.numpy())
    is_target = torch.arange(2).repeat_interleave(len(toy.x_source))
    train, held_out = (torch.cat([part.x_source, part.x_target]).numpy() for part in (toy, fresh))
    answers = LogisticRegression().fit(train, is_target.numpy()).predict(held_out)
    target = fresh.x_target.numpy(), fresh.y_target.numpy()
    return line, {
        "source error": 1 - line.score(fresh.x_source.numpy(), fresh.y_source.numpy()),
        "target error": 1 - line.score(*target),
        "reference error": 1 - reference.score(*target),
        "discrepancy": max(proxy_a_distance(torch.from_numpy(answers), is_target), 0) / 2,
    }


def shifted_toy(kind: str, shift: float) -> Figure:
    """Draw a toy: source, target, the line fitted to the source, the target's own boundary, four bars."""
    line, bars = measure_toy(kind, shift)
    toy = make_shifted_toy(kind, shift, num_examples=150)
    figure, (ax, below) = plt.subplots(2, 1, figsize=(4.6, 5), height_ratios=[3, 1.1])
    ax.scatter(*toy.x_source.T, s=9, color="0.75", label="source")
    for label, (colour, marker) in enumerate([("blue", "o"), ("vermilion", "^")]):
        chosen = toy.x_target[toy.y_target == label]
        ax.scatter(*chosen.T, s=16, color=COLOURS[colour], marker=marker, label=f"target, class {label}")
    u, v = np.meshgrid(np.linspace(-5, 5, 81), np.linspace(-4, 4, 81))
    grid = np.stack([u.ravel(), v.ravel()], axis=1)
    truth = toy.target.class_probability(torch.from_numpy(grid)).reshape(u.shape)
    ax.contour(u, v, line.decision_function(grid).reshape(u.shape), levels=[0], colors="black")
    ax.contour(u, v, truth, levels=[0.5], colors="black", linestyles="dashed")
    ax.plot([], [], "k-", label="line fitted to the source")
    ax.plot([], [], "k--", label="target's own boundary")
    ax.set(xlim=(-5, 5), ylim=(-4, 4), xlabel="$x_1$", ylabel="$x_2$")
    figure.legend(loc="outside upper center", fontsize=8, ncols=2)
    colours = [COLOURS[name] for name in ("black", "vermilion", "green", "sky")]
    patches = below.barh([*bars], [*bars.values()], color=colours)
    below.bar_label(patches, [f"{value:.2f}" for value in bars.values()], padding=3, fontsize=9)
    below.set(xlim=(0, 1.15))
    below.invert_yaxis()
    return figure


def shift_lab(kind: str) -> dict[str, Any]:
    """Return the arguments with which `widgets.explore` shows a toy: "covariate", "label" or "concept".

    Raises
    ------
    KeyError
        If there is no laboratory for this kind of shift.
    """
    question, name, shifts, start, unit = SHIFT_LABS[kind]

    def say(shift: float) -> str:
        bars = measure_toy(kind, shift * unit)[1]
        return f"{name}: {shift:g}. " + ", ".join(f"{key} {value:.2f}" for key, value in bars.items()) + "."

    return {
        "draw": lambda shift: shifted_toy(kind, shift * unit), "describe": say, "label": question, "dpi": 72,
        "names": {"shift": name}, "start": {"shift": start}, "shift": list(shifts),
    }  # fmt: skip


def bound_lab(terms: Callable[[float, str], Sequence[float]]) -> dict[str, Any]:
    """Return the arguments with which `widgets.explore` shows a bound on the target error in one dimension.

    Parameters
    ----------
    terms
        ``terms(shift, labels)`` gives source error, half the divergence, joint error and target error, for a
        source with classes centred at ±1 (standard deviation 0.5) and a target moved right by `shift`, with
        the labels "kept" or "swapped".
    """

    def draw(shift: float, labels: str) -> Figure:
        figure, (top, below) = plt.subplots(2, 1, figsize=(4.6, 4.2))
        x = np.linspace(-3, 5, 300)
        for name, moved, style, colour in [("source", 0, "-", "blue"), ("target", shift, "--", "vermilion")]:
            y = sum(np.exp(-2 * (x - moved - centre) ** 2) for centre in (-1, 1))
            top.plot(x, y, style, color=COLOURS[colour], label=name)
        top.axvline(0, color="black", linewidth=1)
        top.set(xlabel="$x$; $f$ cuts at 0", ylabel="density", yticks=[])
        top.legend()
        *parts, target = terms(shift, labels)
        names, start = ("source error", "half divergence", "λ*"), 0.0
        for name, value, colour in zip(names, parts, ("blue", "sky", "orange"), strict=True):
            below.barh("bound", value, left=start, color=COLOURS[colour], edgecolor="black", label=name)
            start += value
        below.barh("target error", target, color=COLOURS["vermilion"], edgecolor="black")
        below.axvline(1, color="black", linestyle="dashed")
        below.set(xlim=(0, 1.3), xlabel="error; beyond the dashed line nothing is said")
        below.invert_yaxis()
        figure.legend(*below.get_legend_handles_labels(), fontsize=8, ncols=3, loc="outside lower center")
        return figure

    def say(shift: float, labels: str) -> str:
        *parts, target = terms(shift, labels)
        verdict = "vacuous" if sum(parts) >= 1 else "not vacuous"
        total = f"{' + '.join(f'{part:.2f}' for part in parts)} = {sum(parts):.2f}"
        return f"Moved by {shift:g}, labels {labels}: bound {total}, {verdict}; target error {target:.2f}."

    return {
        "draw": draw, "describe": say, "label": "When does the bound say something, and how close is it?",
        "names": {"shift": "target moved right by", "labels": "target labels"}, "dpi": 72,
        "start": {"shift": 0.5, "labels": "kept"},
        "shift": [0.0, 0.25, 0.5, 1.0, 2.0], "labels": ["kept", "swapped"],
    }  # fmt: skip


def label_worth(
    sizes: Sequence[float], scratch: Sequence[Interval], worths: Mapping[int, tuple[float, float]]
) -> Figure:
    """Draw accuracy from scratch over labels per class; arrows lead there from transferred networks.

    Parameters
    ----------
    sizes
        Labels per class.
    scratch
        Accuracy from scratch at each of them.
    worths
        Labels per class after transfer → (accuracy, labels per class from scratch that reach it).
    """
    figure, ax = plt.subplots(figsize=(5.6, 3.8))
    interval_curves(
        ax, sizes, {"random start": scratch}, xlabel="labels per class", ylabel="test accuracy in %"
    )
    places = [max(k, 0.5) for k in worths]
    heights, ends = zip(*worths.values(), strict=True)
    ax.plot(places, heights, "s", color=COLOURS["orange"], label="everything loaded")
    for place, height, end in zip(places, heights, ends, strict=True):
        ax.annotate("", (end, height), (place, height), arrowprops={"arrowstyle": "->"})
    ax.set_xscale("log")
    ticks = {0.5: "0", 1: "1", 5: "5", 10: "10", 50: "50", 200: "200", max(sizes): "all"}
    ax.set_xticks(list(ticks), ticks.values())
    ax.minorticks_off()
    ax.legend(loc="lower right")
    percent_axis(ax.yaxis)
    return figure


def ways_lab(
    places: Mapping[tuple[Any, str], tuple[float, float]], confusions: Mapping[tuple[Any, str], np.ndarray]
) -> dict[str, Any]:
    """Return the arguments for `widgets.explore`: what each way to fine-tune learns, and what it forgets.

    Parameters
    ----------
    places
        (labels per class, way) → accuracy on the source and on the target, in [0, 1].
    confusions
        (labels per class, way) → confusion matrix on the target; only these can be chosen on the sliders.
    """
    ways = list(dict.fromkeys(way for _, way in places))
    budgets, chosen = (list(dict.fromkeys(keys)) for keys in zip(*confusions, strict=True))

    def draw(labels: Any, way: str) -> Figure:
        figure, (left, right) = plt.subplots(1, 2, figsize=(7.4, 3.7))
        for name, marker, colour in zip(ways, "os^DvPX*", [*COLOURS.values(), "gray"], strict=False):
            left.plot(*places[labels, name], marker, color=colour, label=name, linestyle="none")
        left.plot(*places[labels, way], "o", color="black", markersize=15, fillstyle="none")
        left.set(xlabel="accuracy on the source in %: remembered", xlim=(0, 1.04))
        left.set(ylabel="accuracy on the target in %: learned")
        left.legend(fontsize=7)
        percent_axis(left.xaxis)
        percent_axis(left.yaxis)
        confusion(right, confusions[labels, way], [str(c) for c in range(len(confusions[labels, way]))])
        return figure

    def describe(labels: Any, way: str) -> str:
        remembered, learned = (100 * value for value in places[labels, way])
        found = f"{learned:.1f} % on the target, {remembered:.1f} % on the source."
        return f"{way}, {labels} labels per class: {found}"

    names = {"labels": "labels per class", "way": "way"}
    return {"draw": draw, "describe": describe, "names": names, "labels": budgets, "way": chosen}
