"""Figures of the book. Functions take arrays and an axes, draw one thing, and return the axes.

Colours are Okabe and Ito's, which stay apart for colour-blind readers;
lines differ in marker and dash as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from tlutils.repeats import Interval

__all__ = [
    "COLOURS",
    "answers",
    "confusion",
    "image_grid",
    "interval_bars",
    "interval_curves",
    "percent_axis",
    "points",
    "uneven_axis",
    "use_style",
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
