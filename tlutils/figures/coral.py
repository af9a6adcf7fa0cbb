"""Figures of the chapter on CORAL."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import Image
from matplotlib.figure import Figure

from tlutils.plotting import COLOURS

__all__ = ["class_clouds", "pair_arrows", "photograph_sheet"]


def class_clouds(
    panels: Mapping[str, tuple[Any, Any]], *, background: Any = None, line: Any = None, size: float = 2.2
) -> Figure:
    """Scatter one panel of two classes in the plane per name, on equal axes.

    Parameters
    ----------
    panels
        Title → points (n, 2) and labels 0 or 1.
    background
        Points that are drawn in grey behind each panel.
    line
        A scikit-learn classifier of the plane whose boundary is drawn in each panel.
    size
        Height in inches.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(6.4, size), sharex=True, sharey=True)
    for ax, (title, (x, y)) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        if background is not None:
            ax.scatter(*np.asarray(background).T, s=5, color="0.75")
        for label, colour, marker in ((0, "blue", "o"), (1, "vermilion", "^")):
            chosen = np.asarray(x)[np.asarray(y) == label]
            ax.scatter(*chosen.T, s=7, color=COLOURS[colour], marker=marker, label=f"class {label}")
        ax.set_title(title, fontsize="medium")
        ax.set(xlabel="$x_1$", aspect="equal")
    first = np.atleast_1d(axes)[0]
    first.set_ylabel("$x_2$")
    if line is not None:
        limits = first.get_xlim(), first.get_ylim()
        u, v = np.meshgrid(*(np.linspace(*limit, 60) for limit in limits))
        heights = line.decision_function(np.stack([u.ravel(), v.ravel()], axis=1)).reshape(u.shape)
        for ax in np.atleast_1d(axes):
            ax.contour(u, v, heights, levels=[0], colors="black")
    figure.legend(*first.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def pair_arrows(
    names: Sequence[str],
    panels: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
) -> Figure:
    """Draw one row per pair of domains: an arrow from the value before to the value after, per panel.

    Parameters
    ----------
    names
        One per row, the first on top.
    panels
        Title → values before and after, one of each per row.
    xlabel
        With the unit.
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(6.4, 0.29 * len(names) + 0.9), sharey=True)
    rows = np.arange(len(names))[::-1]
    arrow = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0}  # the tip is the value
    for ax, (title, (before, after)) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        for row, start, end in zip(rows, before, after, strict=True):
            colour = COLOURS["blue"] if end >= start else COLOURS["vermilion"]
            ax.plot(start, row, "o", color=colour, fillstyle="none", markersize=5)
            ax.annotate("", (end, row), (start, row), arrowprops=arrow | {"color": colour})
        ax.set_title(title, fontsize="medium")
        ax.set(xlabel=xlabel)
        ax.set_xlim(min(*before, *after) - 4, max(*before, *after) + 4)
    np.atleast_1d(axes)[0].set_yticks(rows, names)
    return figure


def photograph_sheet(rows: Mapping[str, np.ndarray], columns: Sequence[str], *, quality: int = 75) -> Image:
    """Show photographs in rows and columns with names, as one JPEG, a fifth of the size of a PNG.

    Parameters
    ----------
    rows
        Name → RGB images (n, height, width, 3) in [0, 255], one for each column.
    columns
        The names of the columns.
    quality
        Of the JPEG, up to 95.
    """
    width = 6.4
    figure, axes = plt.subplots(
        len(rows), len(columns), figsize=(width, 0.3 + 0.9 * width * len(rows) / len(columns))
    )
    axes = np.reshape(axes, (len(rows), len(columns)))
    for row, (name, images) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(row, images, strict=True):
            ax.imshow(image)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        row[0].set_ylabel(name)
    for ax, name in zip(axes[0], columns, strict=True):
        ax.set_title(name, fontsize="medium")
    stream = io.BytesIO()
    figure.savefig(stream, format="jpeg", dpi=110, pil_kwargs={"quality": quality, "optimize": True})
    plt.close(figure)
    return Image(stream.getvalue(), format="jpeg")
