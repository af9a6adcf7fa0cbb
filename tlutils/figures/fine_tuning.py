"""Figures of the chapter on fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from tlutils import plotting
from tlutils.repeats import Interval

__all__ = ["budget_curves", "gain_bars", "gradient_lengths", "side_by_side"]


def budget_curves(
    budgets: Sequence[Any], curves: Mapping[str, Sequence[Interval]], source_only: float
) -> Figure:
    """Draw accuracy against label budgets, evenly spaced, above a line for the source network alone.

    Parameters
    ----------
    budgets
        Labels per class, as they shall stand on the axis.
    curves
        Name of a way → its accuracy at each budget, in [0, 1].
    source_only
        Accuracy without any target label, in [0, 1].
    """
    figure, ax = plt.subplots()
    places = range(1, len(budgets) + 1)
    plotting.interval_curves(ax, places, curves, xlabel="labels per class", ylabel="test accuracy in %")
    ax.axhline(source_only, color="gray", linewidth=1)
    ax.set_xticks(places, budgets)
    plotting.percent_axis(ax.yaxis)
    return figure


def gain_bars(intervals: Mapping[str, Interval], *, xlabel: str, height: float) -> Figure:
    """Draw one row per named interval of fractions, in points, and a line at zero; `height` in inches."""
    figure, ax = plt.subplots(figsize=(6.4, height))
    plotting.interval_bars(ax, intervals, xlabel=xlabel).axvline(0, color="black")
    plotting.percent_axis(ax.xaxis)
    return figure


def side_by_side(matrices: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Figure:
    """Draw one confusion matrix of counts per name, one above the other, so that a telephone shows them."""
    figure, axes = plt.subplots(len(matrices), 1, figsize=(4.4, 4.1 * len(matrices)), squeeze=False)
    for ax, (name, matrix) in zip(axes.flat, matrices.items(), strict=True):
        plotting.confusion(ax, matrix, class_names).set_title(name)
    return figure


def gradient_lengths(losses: Mapping[str, Callable[[Tensor, Tensor], Tensor]]) -> Figure:
    """Draw how long the gradient of each loss is when one rival has the negative of the true class's logit.

    Parameters
    ----------
    losses
        Name → mean loss of ten logits per example (n, 10) and true classes (n,).
    """
    margins = torch.linspace(-12, 12, 49)
    figure, ax = plt.subplots()
    for (name, loss_of), style in zip(losses.items(), ("-", ":", "--", "-."), strict=False):
        logits = functional.pad(torch.stack([margins, -margins], dim=1), (0, 8)).requires_grad_()
        (len(margins) * loss_of(logits, torch.zeros(len(margins), dtype=torch.int64))).backward()
        ax.plot(margins, logits.grad.norm(dim=1), style, label=name)
    ax.set(xlabel="logit of the true class (a rival has its negative, the others 0)")
    ax.set_ylabel("length of the gradient")
    ax.legend()
    return figure
