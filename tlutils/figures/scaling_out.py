"""Figures and laboratories of the chapter on scaling out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlutils.cost_model import Cluster, Job, makespan, most_workers
from tlutils.plotting import COLOURS, MARKERS

__all__ = [
    "batch_panels",
    "best_workers",
    "cluster_lab",
    "duration",
    "measured_steps",
    "measured_talk",
    "speedup_curves",
    "sweep_curve",
    "waiting_lab",
]

WORKERS = tuple(2**k for k in range(11))


def measured_steps(rounds: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int, int], float]:
    """Return (network, global batch, processes) → seconds a step: the shortest of the rounds.

    Other programs of the machine can make a step longer, never shorter.
    """
    found: dict[tuple[str, int, int], float] = {}
    for measured in rounds:
        for network, batch, seconds in measured["steps"]:
            key = (network, batch, measured["num_processes"])
            found[key] = min(seconds, found.get(key, float("inf")))
    return found


def measured_talk(rounds: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Return bytes → seconds of an all-reduce between two processes: the shortest of the rounds."""
    found: dict[int, float] = {}
    for measured in rounds:
        for size, seconds in measured["all_reduces"]:
            found[size] = min(seconds, found.get(size, float("inf")))
    return found


def speedup_curves(
    measured: Mapping[str, Mapping[int, float]], model: Mapping[str, Mapping[int, float]]
) -> Axes:
    """Draw how many times as fast two processes are, against the global batch: measured, and by the model."""
    ax = plt.subplots(figsize=(5.6, 3.4))[1]
    for (name, curve), colour, marker in zip(measured.items(), COLOURS.values(), MARKERS, strict=False):
        ax.plot([*curve], [*curve.values()], marker, color=colour, label=f"{name}, measured")
        ax.plot([*model[name]], [*model[name].values()], "--", color=colour, label=f"{name}, model")
    ax.axhline(1, color="black", linewidth=1)
    ax.axhline(2, color="black", linewidth=1, linestyle=":")
    ax.set(
        xscale="log", xlabel="global batch (examples)", ylabel="speed-up by a second process", ylim=(0, 2.3)
    )
    sizes = sorted({size for curve in measured.values() for size in curve})
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.minorticks_off()
    ax.legend(fontsize=8, loc="lower right")
    return ax


def batch_panels(panels: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Axes]:
    """Draw test accuracy against the batch, one panel for each starting rate and one line for each rule."""
    figure, axes = plt.subplots(1, len(panels), figsize=(6.4, 3.4), sharey=True)
    for ax, (title, cases) in zip(axes, panels.items(), strict=True):
        sizes = sorted({case["batch"] for case in cases})
        for rule, colour, marker, dash in zip(
            dict.fromkeys(case["rule"] for case in cases), COLOURS.values(), MARKERS, ("-", "--", "-."),
            strict=False,
        ):  # fmt: skip
            rows = [[100 * c["test"] for c in cases if (c["rule"], c["batch"]) == (rule, n)] for n in sizes]
            ax.plot(sizes, np.mean(rows, axis=1), dash, color=colour, label=rule)
            for size, row in zip(sizes, rows, strict=True):
                ax.plot([size] * len(row), row, marker, color=colour, markersize=4)
        ax.set(xscale="log", xlabel="batch (examples)", title=title, ylim=(0, 100))
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.minorticks_off()
    axes[0].set_ylabel("test accuracy (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    return list(axes)


def sweep_curve(durations: Sequence[float], job: Job, cluster: Cluster, workers: Sequence[int]) -> Axes:
    """Draw the speed-up of a sweep of independent tasks and of one shared training, against the workers."""
    ax = plt.subplots(figsize=(5.6, 3.4))[1]
    tasks = [sum(durations) / makespan(durations, p) for p in workers]
    shared = [job.seconds(cluster, 1) / job.seconds(cluster, p) for p in workers]
    ax.plot(workers, workers, ":", color="black", linewidth=1, label="ideal")
    ax.plot(workers, tasks, "-o", color=COLOURS["blue"], label=f"{len(durations)} independent tasks")
    ax.plot(workers, shared, "--s", color=COLOURS["vermilion"], label="one training, shared out")
    ax.set(xscale="log", yscale="log", xlabel="workers", ylabel="speed-up")
    ax.set_xticks(workers, [str(p) for p in workers])
    ax.set_yticks([1, 4, 16, 64], ["1", "4", "16", "64"])
    ax.minorticks_off()
    ax.legend(fontsize=8)
    return ax


def duration(seconds: float) -> str:
    """Return a duration in the unit that a person would take.

    Examples
    --------
    >>> duration(30), duration(5400), duration(200000)
    ('30 s', '1.5 h', '56 h')
    """
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return (
                f"{seconds / length:.2g} {unit}"
                if seconds < 100 * length
                else f"{seconds / length:.0f} {unit}"
            )
    return f"{seconds:.2g} s"


def _grow(job: Job, num_workers: int) -> Job:
    """Return the job with a share per worker that stays that of eight workers: weak scaling."""
    return dataclasses.replace(job, global_batch_size=max(1, job.global_batch_size // 8) * num_workers)


def cluster_lab(
    job: Job, cluster: Cluster, throughputs: Sequence[float], bandwidths: Sequence[float]
) -> dict[str, Any]:
    """Return the arguments with which `widgets.explore` shows time and money on other clusters.

    Parameters
    ----------
    job
        The training to be shared out.
    cluster
        Gives latency and price.
    throughputs
        Sustained TFLOP/s of a GPU.
    bandwidths
        GB/s between two GPUs.
    """

    def at(throughput: float, bandwidth: float) -> Cluster:
        return dataclasses.replace(cluster, flops=throughput * 1e12, bandwidth=bandwidth * 1e9)

    def draw(throughput: float, bandwidth: float) -> Figure:
        here = at(throughput, bandwidth)
        figure, axes = plt.subplots(1, 2, figsize=(6.2, 3.0))
        for ax, name in zip(axes, ("seconds", "money"), strict=True):
            scale = 3600 if name == "seconds" else 1
            for label, jobs, style, colour in (
                ("batch fixed", dict.fromkeys(WORKERS, job), "-o", COLOURS["blue"]),
                ("batch grows", {p: _grow(job, p) for p in WORKERS}, "--s", COLOURS["orange"]),
            ):
                values = [getattr(jobs[p], name)(here, p) / scale for p in WORKERS]
                ax.plot(WORKERS, values, style, color=colour, markersize=4, label=label)
            ax.axvline(most_workers(job, here), color="black", linewidth=1, linestyle=":")
            ax.set(xscale="log", yscale="log", xlabel="GPUs")
            ax.set_xticks([1, 8, 64, 512], ["1", "8", "64", "512"])
            ax.minorticks_off()
        axes[0].set_ylabel("hours")
        axes[1].set_ylabel("dollars")
        axes[0].legend(fontsize=8)
        return figure

    def describe(throughput: float, bandwidth: float) -> str:
        here = at(throughput, bandwidth)
        costs = "; ".join(
            f"{p} GPU{'s' * (p > 1)}: {duration(job.seconds(here, p))}, {job.money(here, p):.0f} dollars"
            for p in (1, 8, 64)
        )
        crossing = most_workers(job, here)
        return (
            f"At {throughput:g} TFLOP/s a GPU and {bandwidth:g} GB/s between GPUs, batch fixed: {costs}. "
            f"From {int(crossing) + 1} GPUs on a step talks longer than it computes."
        )

    return {
        "draw": draw, "describe": describe, "label": "From how many GPUs on does communication dominate?",
        "throughput": list(throughputs), "bandwidth": list(bandwidths),
        "names": {"throughput": "sustained TFLOP/s of a GPU", "bandwidth": "GB/s between GPUs"},
        "start": {"throughput": cluster.flops / 1e12, "bandwidth": cluster.bandwidth / 1e9}, "dpi": 80,
    }  # fmt: skip


def best_workers(job: Job, cluster: Cluster, waiting: float) -> tuple[int, float]:
    """Return the number of GPUs at which GPUs and waiting together cost least, and that cost.

    Parameters
    ----------
    job, cluster
        What is trained where.
    waiting
        What an hour until the result is worth to those who wait.
    """
    costs = {p: job.money(cluster, p) + waiting * job.seconds(cluster, p) / 3600 for p in WORKERS}
    best = min(costs, key=costs.__getitem__)
    return best, costs[best]


def waiting_lab(
    job: Job, cluster: Cluster, prices: Sequence[float], waits: Sequence[float]
) -> dict[str, Any]:
    """Return the arguments with which `widgets.explore` shows which number of GPUs costs least in all.

    Parameters
    ----------
    job, cluster
        What is trained where.
    prices
        Dollars per GPU and hour.
    waits
        Dollars that an hour of waiting is worth.
    """

    def draw(price: float, waiting: float) -> Figure:
        here = dataclasses.replace(cluster, price=price)
        figure, ax = plt.subplots(figsize=(5.2, 3.2))
        gpus = np.array([job.money(here, p) for p in WORKERS])
        hours = np.array([job.seconds(here, p) / 3600 for p in WORKERS])
        ax.plot(WORKERS, gpus, "--s", color=COLOURS["orange"], markersize=4, label="GPUs")
        if waiting > 0:
            ax.plot(WORKERS, waiting * hours, "-.^", color=COLOURS["green"], markersize=4, label="waiting")
        ax.plot(WORKERS, gpus + waiting * hours, "-o", color=COLOURS["blue"], markersize=4, label="together")
        best, cost = best_workers(job, here, waiting)
        ax.plot([best], [cost], "o", color="black", markersize=10, fillstyle="none")
        ax.set(xscale="log", yscale="log", xlabel="GPUs", ylabel="dollars")
        ax.set_xticks([1, 8, 64, 512], ["1", "8", "64", "512"])
        ax.minorticks_off()
        ax.legend(fontsize=8)
        return figure

    def describe(price: float, waiting: float) -> str:
        here = dataclasses.replace(cluster, price=price)
        best, cost = best_workers(job, here, waiting)
        return (
            f"At {price:g} dollars a GPU and hour, and {waiting:g} dollars for an hour of waiting, {best} "
            f"GPU{'s cost' if best > 1 else ' costs'} least: {cost:.0f} dollars in all, done after "
            f"{duration(job.seconds(here, best))}."
        )

    return {
        "draw": draw, "describe": describe, "label": "How many GPUs are worth their money?",
        "price": list(prices), "waiting": list(waits),
        "names": {"price": "dollars per GPU and hour", "waiting": "dollars an hour of waiting is worth"},
        "start": {"price": cluster.price, "waiting": waits[len(waits) // 2]}, "dpi": 80,
    }  # fmt: skip
