"""Figures and the laboratory of the chapter on importance weighting."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from tlutils.datasets import make_shifted_toy
from tlutils.instance_based import effective_sample_size
from tlutils.plotting import COLOURS, interval_bars, interval_curves, percent_axis
from tlutils.repeats import Interval

__all__ = ["accuracy_curves", "curve_panels", "gain_panels", "measure_weighting", "weighting_lab"]

NUM_SEEDS = 10
NUM_EXAMPLES = 300
NAMES = {
    "equal": "equal weights",
    "classifier": "domain classifier",
    "kmm": "KMM",
    "kliep": "KLIEP",
    "ulsif": "uLSIF",
}


def curve_panels(
    x: Sequence[int], panels: Mapping[str, Mapping[str, list[Interval]]], *, xlabel: str, ylabel: str
) -> Figure:
    """Draw one panel of curves with intervals per name over evenly spaced x, and a dotted line at 1."""
    figure, axes = plt.subplots(len(panels), 1, figsize=(5.2, 2.1 * len(panels)), sharex=True, squeeze=False)
    axes = axes[:, 0]
    for ax, (title, curves) in zip(axes, panels.items(), strict=True):
        interval_curves(ax, range(len(x)), {NAMES.get(name, name): curve for name, curve in curves.items()},
                        xlabel="", ylabel=ylabel)  # fmt: skip
        ax.get_legend().remove()
        ax.set_title(title, fontsize="medium")
        ax.set_xticks(range(len(x)), x)
        ax.axhline(1, color="black", linestyle="dotted", linewidth=1)
    axes[-1].set_xlabel(xlabel)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2)
    return figure


def accuracy_curves(x: Sequence[int], curves: Mapping[str, list[Interval]], *, xlabel: str) -> Figure:
    """Draw target accuracy with its interval over x on a logarithmic axis, one curve per name."""
    figure, ax = plt.subplots(figsize=(5.2, 3.2))
    interval_curves(ax, x, curves, xlabel=xlabel, ylabel="target accuracy in %")
    ax.set(xscale="log")
    ax.set_xticks(x, x)
    ax.set_xticks([], minor=True)
    percent_axis(ax.yaxis)
    return figure


def gain_panels(panels: Mapping[str, Mapping[str, Interval]], *, xlabel: str) -> Figure:
    """Draw intervals of gains, in points, one panel per data set and one line per method."""
    figure, axes = plt.subplots(len(panels), 1, figsize=(5.6, 1.9 * len(panels)), sharex=True, squeeze=False)
    axes = axes[:, 0]
    for ax, (title, intervals) in zip(axes, panels.items(), strict=True):
        interval_bars(
            ax, {NAMES.get(name, name): interval for name, interval in intervals.items()}, xlabel=""
        )
        ax.axvline(0, color="black", linewidth=1)
        ax.set_title(title, fontsize="medium")
    axes[-1].set_xlabel(xlabel)
    return figure


@functools.cache
def measure_weighting(shift: float) -> dict[str, float]:
    """Return what true weights do to a line on the curved toy, as means over seeds."""
    rows = [list(_one_toy(shift, seed)[1].values()) for seed in range(NUM_SEEDS)]
    return dict(zip(_one_toy(shift, 0)[1], np.mean(rows, axis=0).tolist(), strict=True))


@functools.cache
def _one_toy(shift: float, seed: int) -> tuple[Any, dict[str, float]]:
    """Return toy, weights and both lines for one seed, and what is measured on them."""
    from sklearn.linear_model import LogisticRegression

    toy = make_shifted_toy("covariate", shift, num_examples=NUM_EXAMPLES, seed=seed)
    fresh = make_shifted_toy("covariate", shift, num_examples=2000, seed=1000 + seed)
    weights = (toy.target.density(toy.x_source) / toy.source.density(toy.x_source)).double()
    weights = weights / weights.mean()
    x, y = toy.x_source.numpy(), toy.y_source.numpy()
    plain, weighted = LogisticRegression().fit(x, y), LogisticRegression().fit(x, y, weights.numpy())
    test = fresh.x_target.numpy(), fresh.y_target.numpy()
    return (toy, weights, plain, weighted), {
        "error unweighted": 1 - plain.score(*test),
        "error weighted": 1 - weighted.score(*test),
        "effective share": effective_sample_size(weights) / NUM_EXAMPLES,
        "largest weight": float(weights.max()),
    }


def _draw(shift: float) -> Figure:
    """Draw the source, each point as large as its weight, both lines, the boundary, and three bars."""
    (toy, weights, plain, weighted), _ = _one_toy(shift, 0)
    figure, (ax, below) = plt.subplots(2, 1, figsize=(4.6, 4.8), height_ratios=[3, 1])
    ax.scatter(*toy.x_target[:150].T, s=6, color="0.8", label="target, no labels")
    for label, (colour, marker) in enumerate([("blue", "o"), ("vermilion", "^")]):
        chosen = (toy.y_source == label).numpy()
        size = 12 * np.minimum(weights.numpy()[chosen], 40) + 0.5
        ax.scatter(*toy.x_source[chosen].T, s=size, color=COLOURS[colour], marker=marker, alpha=0.5)
    u, v = np.meshgrid(np.linspace(-5, 5, 81), np.linspace(-4, 4, 81))
    grid = np.stack([u.ravel(), v.ravel()], axis=1)
    truth = toy.target.class_probability(torch.from_numpy(grid)).reshape(u.shape)
    for model, style, name in ((plain, "dotted", "line, unweighted"), (weighted, "solid", "line, weighted")):
        ax.contour(u, v, model.decision_function(grid).reshape(u.shape), levels=[0], colors="black",
                   linestyles=style)  # fmt: skip
        ax.plot([], [], color="black", linestyle=style, label=name)
    ax.contour(u, v, truth, levels=[0.5], colors=COLOURS["green"], linestyles="dashed")
    ax.plot([], [], color=COLOURS["green"], linestyle="dashed", label="true boundary")
    ax.set(xlim=(-5, 5), ylim=(-4, 4), xlabel="$x_1$", ylabel="$x_2$")
    figure.legend(loc="outside upper center", fontsize=8, ncols=2)
    found = measure_weighting(shift)
    bars = {key: found[key] for key in ("error unweighted", "error weighted", "effective share")}
    patches = below.barh([*bars], [*bars.values()], color=[COLOURS[c] for c in ("black", "vermilion", "sky")])
    below.bar_label(patches, [f"{value:.2f}" for value in bars.values()], padding=3, fontsize=9)
    below.set(xlim=(0, 1.15))
    below.invert_yaxis()
    return figure


def _say(shift: float) -> str:
    """Say what the figure shows, as means over the seeds."""
    found = measure_weighting(shift)
    return (
        f"Shift {shift:g}: the {NUM_EXAMPLES} source examples are worth "
        f"{NUM_EXAMPLES * found['effective share']:.0f}, the largest weight is "
        f"{found['largest weight']:.0f}; target error {found['error unweighted']:.2f} unweighted, "
        f"{found['error weighted']:.2f} weighted "
        f"(means over {NUM_SEEDS} seeds)."
    )


def weighting_lab() -> dict[str, Any]:
    """Return the arguments with which `widgets.explore` shows weights, effective number and errors."""
    return {
        "draw": _draw, "describe": _say, "label": "How far does the weight of evidence carry?", "dpi": 72,
        "names": {"shift": "shift of the target, in standard deviations"}, "start": {"shift": 1.0},
        "shift": [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5],
    }  # fmt: skip
