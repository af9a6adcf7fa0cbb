"""Figures of the chapter on the maximum mean discrepancy."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlutils.plotting import COLOURS

__all__ = ["clouds", "curve_over_samples", "height_map"]


def clouds(samples: Mapping[str, np.ndarray], *, columns: int, background: np.ndarray | None = None):
    """Scatter one panel of two-dimensional points per name, on equal axes, and return figure and axes.

    `background`, grey, is drawn in every panel behind the points.
    """
    rows = -(-len(samples) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(6.4, 2.3 * rows), sharex=True, sharey=True, squeeze=False
    )
    for ax, (name, x), colour in zip(axes.flat, samples.items(), cycle(COLOURS.values()), strict=False):
        if background is not None:
            ax.scatter(*np.asarray(background).T, s=4, color="0.65")
            colour = COLOURS["blue"]
        ax.scatter(*np.asarray(x).T, s=7, color=colour)
        ax.set_title(name, fontsize="medium")
        ax.set_aspect("equal")
    for ax in axes[-1]:
        ax.set_xlabel("$x_1$")
    for ax in axes[:, 0]:
        ax.set_ylabel("$x_2$")
    return figure, axes


def height_map(
    line: np.ndarray, height: np.ndarray, samples: Mapping[str, np.ndarray], *, label: str
) -> Axes:
    """Draw `height` over the square grid line × line, zero in white, with up to three samples on top."""
    height = np.asarray(height)
    figure, ax = plt.subplots(figsize=(4.6, 4.0))
    levels = np.linspace(-1, 1, 11) * np.abs(height).max()
    filled = ax.contourf(line, line, height, levels=levels, cmap="PuOr_r")
    looks = (
        {"color": "white", "edgecolors": "black", "linewidths": 0.6, "s": 11},
        {"color": "black", "marker": "x", "s": 12},
        {"color": COLOURS["blue"], "marker": "^", "s": 11},
    )
    for (name, x), look in zip(samples.items(), looks, strict=False):
        ax.scatter(*np.asarray(x).T, label=name, **({"linewidths": 0.8} | look))
    ax.set(xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
    ax.grid(False)
    figure.colorbar(filled, label=label, format="%.2f")
    figure.legend(loc="outside upper center", ncols=3)
    return ax


def curve_over_samples(
    x: np.ndarray, y: np.ndarray, samples: Mapping[str, np.ndarray], *, ylabel: str
) -> Figure:
    """Draw a curve with values in [-1, 1] above a row of ticks for each sample; return the figure."""
    x, (figure, ax) = np.ravel(x), plt.subplots(figsize=(5.2, 2.6))
    ax.plot(x, np.ravel(y), color=COLOURS["black"], linewidth=1.2)
    for i, ((name, sample), colour) in enumerate(
        zip(samples.items(), ("blue", "vermilion", "green"), strict=False)
    ):
        height = -1.3 - 0.3 * i
        ax.plot(np.ravel(sample), np.full(len(sample), height), "|", color=COLOURS[colour], label=name)
        ax.text(x.max(), height - 0.07, name, ha="right", color=COLOURS[colour], fontsize=8)
    ax.set(xlabel="$x$", ylabel=ylabel, yticks=[-1, 0, 1], xlim=(x.min(), x.max()))
    ax.set_ylim(-1.3 - 0.3 * len(samples), 1.15)
    return figure
