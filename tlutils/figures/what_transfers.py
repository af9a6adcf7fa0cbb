"""The figure over training steps and the laboratory of the chapter on what transfers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlutils import plotting
from tlutils.repeats import Interval, mean_interval

__all__ = ["draw_steps", "step_intervals", "steps_lab"]


def step_intervals(per_seed: Sequence[Mapping[str, Any]], start: str, budget: int) -> list[Interval]:
    """Return the mean accuracy in %, with its 95 % interval over seeds, after each number of steps.

    Parameters
    ----------
    per_seed
        At least 2 stored results, one per seed: ``["curves"][start][str(budget)]`` holds, for each number of
        steps, an accuracy in [0, 1] and the predictions for a few images.
    start
        How the students began.
    budget
        Labels per class.

    Raises
    ------
    ValueError
        If there are fewer than 2 seeds, or one has looked after fewer numbers of steps than another.

    Examples
    --------
    >>> seeds = [{"curves": {"scratch": {"5": [[accuracy, []]]}}} for accuracy in (0.25, 0.75)]
    >>> step_intervals(seeds, "scratch", 5)[0].mean
    50.0
    """
    looks = zip(*(seed["curves"][start][str(budget)] for seed in per_seed), strict=True)
    return [mean_interval([100 * accuracy for accuracy, _ in look]) for look in looks]


def draw_steps(
    ax: Axes,
    per_seed: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
    steps: Sequence[int],
    budget: int,
) -> Axes:
    """Draw the accuracy on the target in % over the number of training steps, one line per start.

    Parameters
    ----------
    ax
        Where to draw.
    per_seed, budget
        As in `step_intervals`.
    names
        Start → what the legend calls it.
    steps
        Numbers of steps after which the accuracy was measured.
    """
    curves = {name: step_intervals(per_seed, start, budget) for start, name in names.items()}
    plotting.interval_curves(ax, steps, curves, xlabel="training steps", ylabel="accuracy in %")
    plotting.uneven_axis(ax.xaxis, steps)
    ax.set_ylim(0, 100)
    return ax


def steps_lab(
    per_seed: Sequence[Mapping[str, Any]], names: Mapping[str, str], steps: Sequence[int], images: np.ndarray
) -> dict[str, Any]:
    """Return the arguments with which `widgets.explore` shows what students read after some training steps.

    Parameters
    ----------
    per_seed
        As in `step_intervals`; the answers shown are those of the first seed.
    names
        Two starts, from scratch first → what the lab calls them.
    steps
        Numbers of steps after which the accuracy was measured.
    images
        Those that the stored predictions are about, grey (10, height, width), one of each digit in the order
        0, 1, ..., 9, values in [0, 1].
    """
    budgets = [int(budget) for budget in per_seed[0]["curves"][next(iter(names))]]

    def draw(k: int, steps: int) -> Figure:
        read = {name: per_seed[0]["curves"][start][str(k)][looks[steps]][1] for start, name in names.items()}
        figure, (top, bottom) = plt.subplots(2, 1, figsize=(5.2, 4.2), height_ratios=(1, 2))
        plotting.answers(top, images, range(10), read)
        draw_steps(bottom, per_seed, names, [*looks], k)
        bottom.axvline(steps, color="black", linewidth=1)
        return figure

    def describe(k: int, steps: int) -> str:
        low, high = (step_intervals(per_seed, start, k)[looks[steps]].mean for start in names)
        return (
            f"{k} labels per class, {steps} steps: transferred {high:.0f} %, from scratch {low:.0f} % of the "
            "test digits."
        )

    looks = {number: place for place, number in enumerate(steps)}
    return {
        "draw": draw, "describe": describe, "label": "Do more steps replace labels?", "dpi": 80,
        "start": {"k": 5, "steps": 30}, "names": {"k": "labels per class", "steps": "training steps"},
        "k": budgets, "steps": [*looks],
    }  # fmt: skip
