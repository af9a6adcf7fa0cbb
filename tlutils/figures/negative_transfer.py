"""Figures and the laboratory of the chapter on negative transfer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from tlutils.plotting import COLOURS, MARKERS, percent_axis
from tlutils.repeats import mean_interval
from tlutils.transferability import smallest_believable_gain

__all__ = [
    "dial_lab",
    "gain_tables",
    "guard_lines",
    "off_diagonal_ranks",
    "pair_table",
    "score_panels",
    "zero_crossing",
]


def zero_crossing(levels: Sequence[float], gains: Sequence[float]) -> float:
    """Return where the line through (level, gain) first falls below 0: NaN if it starts there, else its end.

    Examples
    --------
    >>> zero_crossing([0.0, 1.0], [3.0, -1.0])
    0.75
    """
    if gains[0] <= 0:
        return float("nan")
    for left, right, high, low in zip(levels, levels[1:], gains, gains[1:], strict=False):
        if low < 0:
            return float(left + (right - left) * high / (high - low))
    return float(levels[-1])


def gain_tables(
    cases: Sequence[Mapping[str, Any]], budgets: Sequence[int]
) -> dict[str, dict[int, np.ndarray]]:
    """Return dial → labels a class → gains, one row per seed and one column per level, from stored cases."""
    found: dict[str, dict[int, dict[int, list[float]]]] = {}
    for case in cases:
        for budget, gain in zip(budgets, case["gains"], strict=True):
            by_seed = found.setdefault(case["dial"], {}).setdefault(budget, {})
            by_seed.setdefault(case["seed"], []).append(gain)
    return {
        dial: {budget: np.array([*rows.values()]) for budget, rows in by_budget.items()}
        for dial, by_budget in found.items()
    }


def off_diagonal_ranks(table: np.ndarray) -> np.ndarray:
    """Return a square table with its off-diagonal entries replaced by their ranks, and 0 on the diagonal.

    Examples
    --------
    >>> off_diagonal_ranks(np.array([[9.0, 0.7], [0.2, 9.0]])).tolist()
    [[0.0, 2.0], [1.0, 0.0]]
    """
    ranked, off = np.zeros(table.shape), ~np.eye(len(table), dtype=bool)
    ranked[off] = stats.rankdata(table[off])
    return ranked


def pair_table(cases: Sequence[Mapping[str, Any]], names: Sequence[str], key: str) -> np.ndarray:
    """Return the mean over seeds of one result as a square table, row source and column target."""
    table = np.full((len(names), len(names)), np.nan)
    for i, source in enumerate(names):
        for j, target in enumerate(names):
            values = [c["result"][key] for c in cases if (c["source"], c["target"]) == (source, target)]
            if values:
                table[i, j] = np.mean(values)
    return table


def dial_lab(levels: Sequence[float], gains: Mapping[str, Mapping[int, np.ndarray]]) -> dict[str, Any]:
    """Return the arguments with which `widgets.explore` shows gains over a dial, one slider for the budget.

    Parameters
    ----------
    levels
        Positions of the dial, from 0.
    gains
        Dial → labels a class → gains, one row per seed and one column per level.
    """
    budgets = list(next(iter(gains.values())))

    def draw(budget: int) -> Figure:
        figure, ax = plt.subplots(figsize=(5, 3.6))
        looks = zip(gains.items(), COLOURS.values(), MARKERS, cycle(("-", "--", "-.")), strict=False)
        for (dial, table), colour, marker, dash in looks:
            rows = table[budget]
            intervals = [mean_interval(column) for column in rows.T]
            ax.plot(levels, rows.mean(axis=0), color=colour, marker=marker, linestyle=dash, label=dial)
            ax.fill_between(
                levels, [i.low for i in intervals], [i.high for i in intervals], color=colour, alpha=0.15
            )
        ax.axhline(0, color="black", linewidth=1)
        ax.set(ylim=(-0.95, 0.4), xlabel="dial: how far the source is spoiled", ylabel="gain, points")
        percent_axis(ax.yaxis)
        figure.legend(loc="outside upper center", ncols=2, fontsize=9)
        return figure

    def say(budget: int) -> str:
        found = []
        for dial, table in gains.items():
            crossing = mean_interval(
                [zero_crossing(levels, row.tolist()) for row in table[budget] if row[0] > 0]
            )
            found.append(f"{dial} at {crossing:.2f}")
        start = 100 * next(iter(gains.values()))[budget][:, 0].mean()
        return (
            f"{budget} target labels a class: an unspoiled source gains {start:.0f} points; the gain reaches "
            f"zero for {', '.join(found)} (mean over seeds and 95 % interval)."
        )

    return {
        "draw": draw, "describe": say, "label": "How much spoiling does a source bear?", "dpi": 80,
        "names": {"budget": "target labels a class"}, "start": {"budget": budgets[1]}, "budget": budgets,
    }  # fmt: skip


def score_panels(scores: Mapping[str, Mapping[str, np.ndarray]], gains: Mapping[str, np.ndarray]) -> Figure:
    """Draw the measured gain over each score: one panel per score, one marker per family of domains."""
    figure, axes = plt.subplots(2, 2, figsize=(5.6, 4.6), sharey=True)
    for ax, (name, by_family) in zip(axes.flat, scores.items(), strict=True):
        for (family, values), colour, marker in zip(
            by_family.items(), COLOURS.values(), MARKERS, strict=False
        ):
            ax.scatter(values, gains[family], s=22, color=colour, marker=marker, label=family)
        ax.axhline(0, color="black", linewidth=1)
        ax.set(xlabel=name)
        percent_axis(ax.yaxis)
    for ax in axes[:, 0]:
        ax.set_ylabel("gain, points")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


def guard_lines(num_labels: Sequence[int], disagreements: Sequence[float]) -> Figure:
    """Draw the smallest gain to be believed over the number of labels, one line per share of disagreement."""
    figure, ax = plt.subplots(figsize=(5.6, 3.2))
    looks = zip(disagreements, COLOURS.values(), MARKERS, ("-", "--", "-.", ":"), strict=False)
    for share, colour, marker, dash in looks:
        ax.plot(num_labels, [smallest_believable_gain(n, share) for n in num_labels], color=colour,
                marker=marker, linestyle=dash, label=f"they disagree on {100 * share:.0f} %")  # fmt: skip
    ax.set(xscale="log", xlabel="target labels kept for judging", ylabel="smallest gain, points")
    ax.set_xticks(num_labels, num_labels)
    ax.set_xticks([], minor=True)
    percent_axis(ax.yaxis)
    ax.legend()
    return figure
