"""Figures, tables and the laboratory of the chapter on parameter-efficient tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tlutils.plotting import COLOURS, MARKERS, image_grid, percent_axis
from tlutils.repeats import Interval, mean_interval, paired_interval

__all__ = [
    "accuracy_by_size",
    "difference_table",
    "kept_and_won",
    "kept_table",
    "per_seed",
    "rank_table",
    "statistics_table",
    "storage_lab",
    "target_and_source",
    "three_looks",
    "trial_table",
]

Results = Sequence[Mapping[str, Any]]  # one dict per training: its case, and what was measured


def per_seed(results: Results, key: str = "target accuracy", **wanted: Any) -> list[float]:
    """Return `key` of every result that has all the `wanted` values, in order."""
    return [result[key] for result in results if wanted.items() <= result.items()]


def trial_table(results: Results) -> str:
    """Return validation accuracy / source accuracy of all trials as text, the best on validation starred."""
    rows: dict[tuple[str, str, str], list[Mapping[str, Any]]] = {}
    for result in results:
        rows.setdefault((result["target"], result["statistics"], result["method"]), []).append(result)
    lines = []
    for (target, statistics, method), row in sorted(rows.items()):
        key = "strength" if any(result["strength"] for result in row) else "rate"
        row.sort(key=lambda r: r[key])
        chosen = max(row, key=lambda r: r["target accuracy"])  # of equals, the first
        shown = "".join(
            f"{r[key]:>6g} {100 * r['target accuracy']:4.1f}/{100 * r['source accuracy']:2.0f}"
            + ("*" if r is chosen else " ")
            for r in row
        )
        lines.append(f"{target:7}{statistics:7}{method:8} {shown}")
    return "\n".join(lines)


def difference_table(
    settings: Mapping[str, Results],
    methods: Sequence[str],
    reference: str,
    costs: Mapping[str, Mapping[str, float]] | None = None,
) -> str:
    """Return accuracies in percent and, in points, paired differences from `reference`, as text.

    `costs`, label → method → number, stand in columns of their own beside the accuracies.
    """
    costs = costs or {}
    widths = {name: max(len(name) + 2, 8) for name in costs}
    heads = "".join(f"{name:>22}" for name in settings) + "".join(f"{n:>{w}}" for n, w in widths.items())
    lines = [f"{'accuracy in %':15}{heads}"]
    for method in methods:
        means = [mean_interval(per_seed(results, method=method)).mean for results in settings.values()]
        beside = "".join(f"{found[method]:{widths[name]}.2f}" for name, found in costs.items())
        lines.append(f"{method:15}" + "".join(f"{100 * mean:22.1f}" for mean in means) + beside)
    lines.append(f"points against {reference}")
    for method in (name for name in methods if name != reference):
        pairs = [[100 * np.array(per_seed(results, method=m)) for m in (method, reference)]
                 for results in settings.values()]  # fmt: skip
        lines.append(f"{method:15}" + "".join(f"{paired_interval(*pair):.1f}".rjust(22) for pair in pairs))
    return "\n".join(lines)


def target_and_source(
    results: Results, methods: Sequence[str], **wanted: Any
) -> dict[tuple[str, str], tuple[Interval, Interval]]:
    """Return (method, statistics) → intervals of target and source accuracy, in the order of `methods`."""
    found = {}
    for statistics in ("held", "moving"):
        for method in methods:
            here = {"method": method, "statistics": statistics, **wanted}
            pair = [per_seed(results, f"{side} accuracy", **here) for side in ("target", "source")]
            if pair[0]:
                found[method, statistics] = (mean_interval(pair[0]), mean_interval(pair[1]))
    return found


def kept_table(panels: Mapping[str, Mapping[tuple[str, str], tuple[Interval, Interval]]]) -> str:
    """Return target and source accuracy in percent, as text."""
    lines = [f"{'in %':25}{'target':>8}{'source':>8}"]
    for name, methods in panels.items():
        for (method, statistics), (target, source) in methods.items():
            lines.append(f"{name:7}{method:10}{statistics:8}{100 * target.mean:8.1f}{100 * source.mean:8.1f}")
    return "\n".join(lines)


def statistics_table(held: Results, moving: Results) -> str:
    """Return, as text, what moving statistics change: target accuracy, paired difference, source accuracy.

    Every (target, method) of `moving` is compared with the same one of `held`, seed by seed.
    """
    lines = [f"{'in %':16}{'target held':>12}{'moving':>8}{'difference':>20}{'source held':>13}{'moving':>8}"]
    for target, method in dict.fromkeys((r["target"], r["method"]) for r in moving):
        here = {"target": target, "method": method}
        target_pair, source_pair = (
            [np.array(per_seed(results, f"{side} accuracy", **here)) for results in (held, moving)]
            for side in ("target", "source")
        )
        difference = f"{paired_interval(*(100 * values for values in reversed(target_pair))):.1f}"
        # The mean first, as in the other tables: a tie such as 61.95 must not be rounded both ways.
        means = [100 * values.mean() for values in (*target_pair, *source_pair)]
        lines.append(
            f"{target:8}{method:8}{means[0]:12.1f}{means[1]:8.1f}{difference:>20}{means[2]:13.1f}{means[3]:8.1f}"
        )
    return "\n".join(lines)


def rank_table(results: Results) -> str:
    """Return target accuracy in percent with its interval over seeds, by rank (lines) and rate (columns)."""
    rates = sorted({r["rate"] for r in results})
    lines = [f"{'in %':7}" + "".join(f"rate {rate:g}".rjust(20) for rate in rates)]
    for rank in sorted({r["rank"] for r in results}):
        cells = [[100 * v for v in per_seed(results, rank=rank, rate=rate)] for rate in rates]
        lines.append(f"r = {rank:<3}" + "".join(f"{mean_interval(cell):.1f}".rjust(20) for cell in cells))
    return "\n".join(lines)


def three_looks(rows: Mapping[str, np.ndarray]) -> Figure:
    """Show one row of images per domain; images (n, channels, height, width) with values in [0, 1]."""
    figure = image_grid(rows)
    figure.set_dpi(72)
    return figure


def _style(place: int) -> dict[str, Any]:
    return {"color": [*COLOURS.values()][place], "marker": MARKERS[place]}


def accuracy_by_size(panels: Mapping[str, Mapping[str, Interval]], sizes: Mapping[str, int]) -> Figure:
    """Draw accuracy against the number of trained parameters, one panel below the other.

    Parameters
    ----------
    panels
        Label of a panel → method → interval of its accuracy.
    sizes
        Method → trained parameters. Equal sizes are drawn side by side.
    """
    figure, axes = plt.subplots(len(panels), 1, figsize=(5.2, 2.3 * len(panels)), sharex=True)
    for ax, (label, methods) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        taken: list[int] = []
        for place, (method, found) in enumerate(methods.items()):
            x = sizes[method] * 1.25 ** taken.count(sizes[method])
            taken.append(sizes[method])
            style = _style(place)
            ax.plot([x, x], [found.low, found.high], color=style["color"], linewidth=2)
            ax.plot(x, found.mean, linestyle="none", markersize=8, label=method, **style)
        ax.set(xscale="log", ylabel="accuracy in %")
        ax.set_title(label, fontsize="medium", loc="left")
        percent_axis(ax.yaxis)
    np.atleast_1d(axes)[-1].set_xlabel("trained parameters")
    handles, names = np.atleast_1d(axes)[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, fontsize="small")
    return figure


def kept_and_won(
    panels: Mapping[str, Mapping[tuple[str, str], tuple[Interval, Interval]]], before: float
) -> Figure:
    """Draw what is left of the source against what was reached on the target.

    Parameters
    ----------
    panels
        Label of a panel → (method, "held" or "moving") → intervals of target and source accuracy. Open
        markers stand for moving statistics.
    before
        Source accuracy before tuning, drawn as a dotted line.
    """
    figure, axes = plt.subplots(len(panels), 1, figsize=(5.2, 2.9 * len(panels)))
    colours = dict.fromkeys(method for methods in panels.values() for method, _ in methods)
    places = {method: place for place, method in enumerate(colours)}
    for ax, (label, methods) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        for (method, statistics), (target, source) in methods.items():
            style = _style(places[method])
            ax.plot([target.low, target.high], [source.mean] * 2, color=style["color"], linewidth=1.5)
            ax.plot([target.mean] * 2, [source.low, source.high], color=style["color"], linewidth=1.5)
            ax.plot(
                target.mean, source.mean, linestyle="none", markersize=8, **style,
                markerfacecolor=style["color"] if statistics == "held" else "white",
                label=method if statistics == "held" else None,
            )  # fmt: skip
        ax.axhline(before, color="0.4", linewidth=1, linestyle=":")
        ax.set(ylabel="source accuracy in %")
        ax.set_title(label, fontsize="medium", loc="left")
        percent_axis(ax.xaxis)
        percent_axis(ax.yaxis)
    np.atleast_1d(axes)[-1].set_xlabel("target accuracy in %")
    handles, names = np.atleast_1d(axes)[0].get_legend_handles_labels()
    if any(statistics == "moving" for methods in panels.values() for _, statistics in methods):
        handles.append(Line2D([], [], linestyle="none", marker="o", color="0.3", markerfacecolor="white"))
        names.append("statistics moving")
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize="small")
    return figure


def storage_lab(
    accuracies: Mapping[str, Mapping[str, Interval]],
    files: Mapping[str, int],
    base: int,
    whole: Sequence[str],
) -> dict[str, Any]:
    """Return the arguments of `widgets.explore` for accuracy against what has to be kept for many tasks.

    Parameters
    ----------
    accuracies
        Target → method → interval of its accuracy.
    files
        Method → bytes of one task's file.
    base
        Bytes of the source network, kept once.
    whole
        Methods whose file is a whole network, so that the source network is not needed.
    """
    tasks = (1, 3, 10, 30, 100, 300)

    def total(method: str, number: int) -> float:
        return (number * files[method] + (0 if method in whole else base)) / 1e6

    top = max(total(method, tasks[-1]) for method in files)

    def draw(number: int, target: str) -> Figure:
        figure, ax = plt.subplots(figsize=(4.8, 3.4))
        for place, (method, found) in enumerate(accuracies[target].items()):
            x, style = total(method, number), _style(place)
            ax.plot([x, x], [found.low, found.high], color=style["color"], linewidth=2)
            ax.plot(x, found.mean, linestyle="none", markersize=8, label=method, **style)
        values = [bound for found in accuracies[target].values() for bound in (found.low, found.high)]
        ax.set(xscale="log", xlim=(base / 1e6 / 2, 2 * top), ylim=(min(values) - 0.03, max(values) + 0.03))
        ax.set(xlabel="kept for all tasks together, MB", ylabel="accuracy in %")
        percent_axis(ax.yaxis)
        ax.legend(fontsize="x-small", ncols=2)
        plt.close(figure)
        return figure

    def describe(number: int, target: str) -> str:
        few, full = total("LoRA", number), total("all", number)
        gap = 100 * (accuracies[target]["LoRA"].mean - accuracies[target]["all"].mean)
        tasks_text = "one task" if number == 1 else f"{number} tasks"
        return (
            f"{tasks_text}: LoRA keeps {few:.1f} MB, tuning everything {full:.1f} MB; on this target LoRA is "
            f"{abs(gap):.1f} points {'above' if gap >= 0 else 'below'} it."
        )

    return {
        "draw": draw, "describe": describe, "number": list(tasks), "target": list(accuracies),
        "label": "One source network, many tasks: what has to be kept, and what does it reach?",
        "names": {"number": "number of tasks", "target": "target"},
        "start": {"number": 30, "target": next(iter(accuracies))}, "dpi": 80,
    }  # fmt: skip
