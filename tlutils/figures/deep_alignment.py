"""Figures and the laboratory of the chapter on deep alignment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from tlutils.plotting import COLOURS, DASHES, interval_curves, percent_axis
from tlutils.repeats import Interval

__all__ = ["curves", "feature_lab", "onto_plane", "thinned", "thinned_accuracy"]


def curves(seen: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Draw the curves of several trainings side by side: distance, source accuracy, information, test.

    Parameters
    ----------
    seen
        Name → ``distances`` (one per step) and ``looks`` (dicts with ``step`` and the criteria).
    """
    figure, axes = plt.subplots(3, len(seen), figsize=(6.4, 5.6), sharex=True, sharey="row")
    for column, (name, run) in zip(axes.T, seen.items(), strict=True):
        column[0].set_title(name, fontsize="medium")
        window = max(1, len(run["distances"]) // 40)
        smooth = np.convolve(run["distances"], np.full(window, 1 / window), mode="valid")
        column[0].plot(np.arange(len(smooth)) + window / 2, smooth, color=COLOURS["green"])
        steps = [look["step"] for look in run["looks"]]
        for key, colour, dash in (("source accuracy", "blue", DASHES[0]), ("test", "vermilion", DASHES[1])):
            label = {"source accuracy": "source", "test": "target (report)"}[key]
            column[1].plot(
                steps, [look[key] for look in run["looks"]], dash, color=COLOURS[colour], label=label
            )
        column[2].plot(steps, [look["information"] for look in run["looks"]], color=COLOURS["purple"])
        column[2].axhline(np.log(10), color="0.5", linewidth=1, linestyle=":")
        column[2].set_xlabel("step")
    for ax, label in zip(axes[:, 0], ("distance", "accuracy in %", "information in nats"), strict=True):
        ax.set_ylabel(label)
    percent_axis(axes[1, 0].yaxis)
    axes[1, 0].legend(fontsize="x-small", loc="lower right")
    return figure


def thinned(
    shares: Sequence[float], lines: Mapping[str, Sequence[Interval]], limit: Sequence[float]
) -> Figure:
    """Draw accuracy against the share of classes that is left, with the limit of perfect alignment.

    Parameters
    ----------
    shares
        From 1 (all) to 0 (missing), drawn at equal steps.
    lines
        Name → one interval per share.
    limit
        The accuracy that no perfect alignment can exceed, one per share.
    """
    figure, ax = plt.subplots()
    places = range(len(shares))
    interval_curves(ax, places, lines, xlabel="share of the digits 5 to 9 left in the target", ylabel="")
    ax.plot(places, limit, color="0.4", linestyle=":", label="limit of perfect alignment")
    ax.set_xticks(places, [f"{share:g}" for share in shares])
    ax.set_ylabel("test accuracy in %")
    percent_axis(ax.yaxis)
    ax.legend()
    return figure


def thinned_accuracy(results: Sequence[Mapping[str, Any]], share: float, trade_off: float) -> np.ndarray:
    """Return the accuracy per seed on a test part in which the digits 5 to 9 weigh `share`.

    Parameters
    ----------
    results
        One dict per training: ``share``, ``trade_off``, and the ``confusion`` on the whole test part (true
        class × predicted class, counts).
    share
        From 0 to 1. A network without a pull (`trade_off` 0) has seen no target and was trained once, as
        share 1.
    trade_off
        That of the trainings asked for.
    """
    weight, wanted = np.repeat([1.0, share], 5), (share if trade_off else 1.0, trade_off)
    found = [r["confusion"] for r in results if (r["share"], r["trade_off"]) == wanted]
    return np.array([weight @ np.diag(t) / (weight @ np.sum(t, axis=1)) for t in found])


def onto_plane(clouds: Sequence[Sequence[Tensor]], labels: Tensor, *, num_shown: int = 150) -> list[Any]:
    """Bring the features of all looks into one plane, fitted once, on the source features of all looks.

    Parameters
    ----------
    clouds
        One pair per look: source features (n, d) and target features (m, d).
    labels
        Of the source examples, (n,); the same in every look.
    num_shown
        How many points of each cloud are returned, at most.

    Returns
    -------
    list
        Look → [source points, target points], each a list of [x, y], rounded to two digits.
    """
    pooled = torch.cat([source for source, _ in clouds]).numpy()
    plane = LinearDiscriminantAnalysis(n_components=2).fit(pooled, labels.repeat(len(clouds)).numpy())
    return [
        [np.round(plane.transform(part[:num_shown].numpy()), 2).tolist() for part in look] for look in clouds
    ]


def _means(points: np.ndarray, labels: np.ndarray) -> dict[int, np.ndarray]:
    return {int(c): points[labels == c].mean(axis=0) for c in np.unique(labels)}


def _scatter(ax: Axes, run: Mapping[str, Any], look: int) -> None:
    """Draw source points, target points, and lines from each target class to its source class."""
    source, target = (np.array(part) for part in run["clouds"][look])
    y_source, y_target = (np.array(run["labels"][side]) for side in ("source", "target"))
    ax.scatter(*source.T, s=7, color="0.65", label="source")
    ax.scatter(*target.T, s=9, color=COLOURS["vermilion"], marker="^", alpha=0.5, label="target")
    homes, there = _means(source, y_source), _means(target, y_target)
    for label in sorted(homes.keys() & there.keys()):
        ax.plot(*np.array([homes[label], there[label]]).T, color=COLOURS["vermilion"], linewidth=2)
    for label, (x, y) in homes.items():
        circle = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": COLOURS["blue"]}
        ax.text(x, y, str(label), ha="center", va="center", fontsize=8, color="black", bbox=circle)


def _mean_gap(run: Mapping[str, Any], look: int) -> float:
    """Return the mean length of the lines, in units of the mean distance between two source classes."""
    source, target = (np.array(part) for part in run["clouds"][look])
    homes = _means(source, np.array(run["labels"]["source"]))
    there = _means(target, np.array(run["labels"]["target"]))
    shared = sorted(homes.keys() & there.keys())
    gaps = [np.linalg.norm(homes[label] - there[label]) for label in shared]
    apart = [np.linalg.norm(homes[a] - homes[b]) for a in shared for b in shared if a < b]
    return float(np.mean(gaps) / max(np.mean(apart), 1e-9))


def feature_lab(seen: Mapping[str, Mapping[str, Any]], *, every: int = 2) -> dict[str, Any]:
    """Return the arguments of `widgets.explore` for features before, during and after alignment.

    Parameters
    ----------
    seen
        Name → ``clouds`` (look → source and target points of the plane), ``labels`` and ``looks``.
    every
        Take each so-manieth look.
    """
    steps = [look["step"] for look in next(iter(seen.values()))["looks"]]
    limits = {}
    for name, run in seen.items():
        points = np.concatenate([np.array(part) for look in run["clouds"] for part in look])
        limits[name] = (points.min(axis=0), points.max(axis=0))

    def draw(step: int, training: str) -> Figure:
        figure, ax = plt.subplots(figsize=(4.6, 4.0))
        _scatter(ax, seen[training], steps.index(step))
        low, high = limits[training]
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        ax.set(xlabel="first discriminant", ylabel="second discriminant")
        ax.legend(loc="upper right", fontsize="x-small", markerscale=1.5)
        plt.close(figure)
        return figure

    def describe(step: int, training: str) -> str:
        run, place = seen[training], steps.index(step)
        look = run["looks"][place]
        return (
            f"{training}, step {step}: the lines are {_mean_gap(run, place):.2f} times as long as the source "
            f"classes are apart; source {100 * look['source accuracy']:.0f} % right, target "
            f"{100 * look['test']:.0f} %."
        )

    return {
        "draw": draw, "describe": describe, "step": steps[::every], "training": list(seen),
        "label": "Do the target's classes move to where the source's classes are?",
        "names": {"step": "step of the alignment", "training": "training"},
        "start": {"step": steps[::every][-1], "training": next(iter(seen))}, "dpi": 80,
    }  # fmt: skip
