"""Figures and the lab of the chapter on feature extraction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from tlutils import plotting
from tlutils.layer_table import Layer
from tlutils.repeats import Interval

COSTS = ("num_parameters", "num_multiply_adds")

__all__ = ["blocks", "cost_shares", "depth_panels", "gain_panels", "layer_lab"]


def blocks(rows: Sequence[Layer]) -> list[Layer]:
    """Merge the rows of a plain network up to each halving of the resolution; linear layers stay rows."""
    merged, waiting = [], []
    for row in rows:
        if row.kind == "Linear":
            merged.append(row)
        elif not any(earlier.kind == "Linear" for earlier in merged):
            waiting.append(row)
            if row.kind == "MaxPool2d":
                sizes = {field: sum(getattr(part, field) for part in waiting) for field in COSTS}
                kind = f"{sum(part.kind == 'Conv2d' for part in waiting)}×Conv2d"
                merged.append(replace(row, name=f"block {len(merged) + 1}", kind=kind, **sizes))
                waiting = []
    return merged


def cost_shares(tables: Mapping[str, Sequence[Layer]]) -> Figure:
    """Draw, one panel per network, which share of parameters and of multiply-adds lies in each part."""
    heights = [len(rows) + 1 for rows in tables.values()]
    figure, axes = plt.subplots(len(tables), 1, figsize=(5.2, 0.36 * sum(heights)), height_ratios=heights)
    for ax, (name, rows) in zip(np.atleast_1d(axes), tables.items(), strict=True):
        places = np.arange(len(rows))[::-1]
        kinds = {
            "parameters": ("num_parameters", 0.2, ""),
            "multiply-adds": ("num_multiply_adds", -0.2, "//"),
        }
        for label, (field, offset, hatch) in kinds.items():
            values = np.array([getattr(row, field) for row in rows], dtype=float)
            ax.barh(
                places + offset,
                values / values.sum(),
                height=0.4,
                label=label,
                hatch=hatch,
                edgecolor="white",
            )
        ax.set_yticks(places, [f"{row.name} ({row.receptive_field})" for row in rows])
        ax.set(xlim=(0, 1), title=name)
        plotting.percent_axis(ax.xaxis)
    axes[0].legend(loc="lower right")
    axes[-1].set_xlabel("share of the network in %")
    return figure


def depth_panels(parts: Sequence[str], curves: Mapping[str, Mapping[str, Sequence[Interval]]]) -> Figure:
    """Draw the accuracy of a probe at every part of a network: one panel per target, one line per network."""
    figure, axes = plt.subplots(len(curves), 1, figsize=(5.4, 3.0 * len(curves)), sharex=True)
    for ax, (target, lines) in zip(np.atleast_1d(axes), curves.items(), strict=True):
        plotting.interval_curves(ax, range(len(parts)), lines, xlabel="", ylabel="test accuracy in %")
        ax.set_title(target)
        ax.set_xticks(range(len(parts)), parts)
        plotting.percent_axis(ax.yaxis)
    np.atleast_1d(axes)[-1].set_xlabel("the probe reads the output of")
    return figure


def gain_panels(gains: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Draw the gain of each way over the small network alone, in points, one panel per label budget."""
    figure = plotting.interval_panels(
        {
            f"gain in points, {budget}": {way: _in_points(gain) for way, gain in ways.items()}
            for budget, ways in gains.items()
        }
    )
    return figure


def _in_points(interval: Interval) -> Interval:
    """Return an interval of fractions in points."""
    return Interval(100 * interval.mean, 100 * interval.low, 100 * interval.high, interval.n)


def layer_lab(
    image: Tensor,
    maps: Mapping[str, Tensor],
    rows: Sequence[Layer],
    accuracy: Mapping[str, tuple[float, float]],
) -> dict[str, Any]:
    """Return the arguments of `widgets.explore` for one image on its way through a network.

    Parameters
    ----------
    image
        (3, height, width), values in [0, 1].
    maps
        Part → its output for the image (channels, h, w).
    rows
        Of `layer_table`, for the same parts in the same order.
    accuracy
        Part → accuracy of a probe on the source's own task and on the other one.
    """
    parts = list(maps)
    seen = dict(zip(parts, rows, strict=True))

    def draw(part: str) -> Figure:
        figure, axes = plt.subplots(3, 3, figsize=(4.4, 4.4))
        size, field = image.shape[-1], min(seen[part].receptive_field, 2 * image.shape[-1])
        axes[0, 0].imshow(image.permute(1, 2, 0).numpy())
        corner = (size - field) / 2 - 0.5
        axes[0, 0].add_patch(
            Rectangle((corner, corner), field, field, fill=False, color="#D55E00", linewidth=3)
        )
        strongest = maps[part].flatten(1).std(dim=1).argsort(descending=True)[:8]
        for ax, channel in zip(axes.flat[1:], strongest, strict=False):
            ax.imshow(maps[part][channel].numpy(), cmap="gray")
        for ax in axes.flat:
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
        plt.close(figure)
        return figure

    def describe(part: str) -> str:
        row, (own, other) = seen[part], accuracy[part]
        channels, height, width = maps[part].shape
        return (
            f"{part}: {channels} maps of {height}×{width}; each number sees {row.receptive_field} pixels "
            f"across. A linear head on it reads {100 * own:.0f} % of CIFAR-10 and {100 * other:.0f} % of the "
            "digits."
        )

    return {
        "draw": draw, "describe": describe, "part": parts,
        "label": "What does a layer pass on, and how much of the image does it see?",
        "names": {"part": "output of"}, "start": {"part": parts[len(parts) // 2]}, "dpi": 80,
    }  # fmt: skip
