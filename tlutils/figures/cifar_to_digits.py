"""Figures and laboratories of the chapter that carries a network from CIFAR-10 to digits in colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from tlutils.plotting import COLOURS, DASHES, MARKERS, interval_curves, percent_axis
from tlutils.repeats import Interval, mean_interval, paired_interval

__all__ = ["by_seed", "digit_lab", "ladder", "scale_lab"]


def by_seed(results: Sequence[Mapping[str, Any]], key: str = "accuracy", **wanted: object) -> np.ndarray:
    """Return one result per seed, in the order of the seeds, of the cases that agree with `wanted`.

    Raises
    ------
    ValueError
        If no case agrees, or one seed occurs twice.

    Examples
    --------
    >>> by_seed([{"seed": 1, "way": "a", "accuracy": 0.5}, {"seed": 0, "way": "a", "accuracy": 0.2}])
    array([0.2, 0.5])
    """
    found = {r["seed"]: r[key] for r in results if all(r.get(k) == v for k, v in wanted.items())}
    num_cases = sum(all(r.get(k) == v for k, v in wanted.items()) for r in results)
    if not found or num_cases != len(found):
        raise ValueError(
            f"{num_cases} cases agree with {wanted}, of {len(found)} seeds; expected one per seed"
        )
    return np.array([found[seed] for seed in sorted(found)])


def ladder(
    budgets: Sequence[int | str],
    accuracies: Mapping[str, Mapping[int | str, np.ndarray]],
    *,
    base: str = "scratch",
    mark: float | None = None,
) -> Figure:
    """Draw accuracy over the budget, and below it the paired gain over `base`.

    Parameters
    ----------
    budgets
        Labels per class (or a word, such as "all"), drawn at equal steps.
    accuracies
        Way → budget → one accuracy per seed, in [0, 1].
    base
        The way that the others are compared with.
    mark
        An accuracy to be marked by a dotted line.
    """
    figure, axes = plt.subplots(2, 1, figsize=(5.6, 6.2), sharex=True)
    places = range(len(budgets))
    lines = {way: [mean_interval(found[k]) for k in budgets] for way, found in accuracies.items()}
    gains = {
        way: [paired_interval(found[k], accuracies[base][k]) for k in budgets]
        for way, found in accuracies.items()
        if way != base
    }
    interval_curves(axes[0], places, lines, xlabel="", ylabel="test accuracy in %")
    interval_curves(axes[1], places, gains, xlabel="labels per class", ylabel=f"points above {base}")
    if mark is not None:
        axes[0].axhline(mark, color="black", linewidth=1, linestyle=":")
        axes[0].text(0, mark, f"{100 * mark:.2f} %", va="bottom", fontsize="small")
    axes[1].axhline(0, color="black", linewidth=1)
    axes[1].set_xticks(places, budgets)
    for ax in axes:
        percent_axis(ax.yaxis)
        ax.legend(fontsize="small")
    return figure


def digit_lab(budgets: Sequence[int], recalls: Mapping[str, Mapping[int, np.ndarray]]) -> dict[str, Any]:
    """Return the arguments with which `widgets.explore` shows how much of each digit is read.

    Parameters
    ----------
    budgets
        Labels per class, one position of the slider each.
    recalls
        Way → budget → recall in [0, 1], one row per seed and one column per digit.
    """

    def draw(budget: int) -> Figure:
        figure, ax = plt.subplots(figsize=(5, 3.4))
        looks = zip(recalls.items(), COLOURS.values(), MARKERS, DASHES, strict=False)
        for (way, found), colour, marker, dash in looks:
            ax.plot(range(10), found[budget].mean(axis=0), dash, color=colour, marker=marker, label=way)
        ax.set(xlabel="digit", ylabel="read rightly, in %", ylim=(0, 1))
        ax.set_xticks(range(10))
        percent_axis(ax.yaxis)
        figure.legend(loc="outside upper center", ncols=3, fontsize=9)
        return figure

    def say(budget: int) -> str:
        found = {way: recall[budget].mean(axis=0) for way, recall in recalls.items()}
        return f"{budget} label{'s' * (budget > 1)} per class. " + " ".join(
            f"{way}: best at {values.argmax()} ({100 * values.max():.0f} %), "
            f"worst at {values.argmin()} ({100 * values.min():.0f} %)."
            for way, values in found.items()
        )

    return {
        "draw": draw, "describe": say, "label": "Which digits does each way read?", "dpi": 80,
        "names": {"budget": "labels per class"}, "start": {"budget": budgets[1]}, "budget": list(budgets),
    }  # fmt: skip


def scale_lab(
    budgets: Sequence[int], accuracies: Mapping[tuple[str, str], Mapping[int, Interval]], *, start: str
) -> dict[str, Any]:
    """Return the arguments with which `widgets.explore` shows a frozen network under a wrong input scale.

    Parameters
    ----------
    budgets
        Labels per class.
    accuracies
        (statistics, scale) → budget → accuracy with its interval. For every scale there are the statistics
        "source" and "re-estimated".
    start
        The scale to show first.
    """
    scales = list(dict.fromkeys(scale for _, scale in accuracies))

    def draw(scale: str) -> Figure:
        figure, ax = plt.subplots(figsize=(5, 3.2))
        for name, colour, offset in (("source", "vermilion", -0.2), ("re-estimated", "blue", 0.2)):
            found = [accuracies[name, scale][k] for k in budgets]
            errors = [[i.mean - i.low for i in found], [i.high - i.mean for i in found]]
            ax.bar(np.arange(len(budgets)) + offset, [i.mean for i in found], 0.38, yerr=errors,
                   color=COLOURS[colour], hatch="" if offset < 0 else "//", edgecolor="white",
                   label=f"statistics: {name}")  # fmt: skip
        ax.axhline(0.1, color="black", linewidth=1, linestyle=":")
        top = max(i.high for found in accuracies.values() for i in found.values())
        ax.set(xlabel="labels per class", ylabel="test accuracy in %", ylim=(0, 1.05 * top))
        ax.set_xticks(range(len(budgets)), budgets)
        percent_axis(ax.yaxis)
        figure.legend(loc="outside upper center", ncols=2, fontsize=9)
        return figure

    def say(scale: str) -> str:
        held, new = (accuracies[name, scale][budgets[-1]].mean for name in ("source", "re-estimated"))
        return (
            f"Input scale: {scale}. With {budgets[-1]} labels per class the frozen network reads "
            f"{100 * held:.0f} % with the source's statistics and {100 * new:.0f} % with re-estimated ones."
        )

    return {
        "draw": draw, "describe": say, "label": "What does a wrong input scale cost?", "dpi": 80,
        "names": {"scale": "input scale"}, "start": {"scale": start}, "scale": scales,
    }  # fmt: skip
