"""Figures and the laboratory of the chapter on the adversarial game."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.metrics import pairwise_distances_argmin_min
from torch import Tensor
from torch.distributions import Distribution

from tlutils.generative import AdversarialHistory
from tlutils.plotting import COLOURS, DASHES, percent_axis
from tlutils.repeats import Interval

__all__ = [
    "by_case",
    "counted",
    "flip",
    "gallery",
    "gaps",
    "history_of",
    "listed",
    "one_dimension",
    "packed",
    "ring_lab",
    "strips",
    "table",
    "unpacked",
]


def packed(array: Any, dtype: str = "float32") -> str:
    """Return an array as base64 text, to be kept in a run."""
    return base64.b64encode(np.asarray(array, dtype=dtype).tobytes()).decode()


def unpacked(text: str, *shape: int, dtype: str = "float32") -> np.ndarray:
    """Return the array that a run keeps as base64 text.

    Parameters
    ----------
    text
        Bytes of the array in base64.
    shape
        Its shape; flat where none is given.
    dtype
        As it was stored.
    """
    return np.frombuffer(base64.b64decode(text), dtype=dtype).reshape(shape or (-1,))


def by_case(results: Sequence[Mapping[str, Any]], measure: str) -> dict[str, np.ndarray]:
    """Return case → values of a measure, one per seed, in the order of the results."""
    cases = dict.fromkeys(result["case"] for result in results)
    return {case: np.array([r[measure] for r in results if r["case"] == case]) for case in cases}


def history_of(result: Mapping[str, Any], looks: str = "diversity") -> AdversarialHistory:
    """Return what the alarms need of a stored game: two packed curves, and the diversity at its looks."""
    curves = {name: unpacked(result[name]).tolist() for name in ("share_right", "generator_gradient")}
    return AdversarialHistory(**curves, watched={"diversity": result[looks]})


def table(rows: Mapping[str, Mapping[str, Interval]], formats: Mapping[str, str]) -> str:
    """Return a text table: a row per name, a column per measure, a mean with its interval in each cell.

    Parameters
    ----------
    rows
        Name → measure → interval.
    formats
        Measure → format of its numbers, in the order of the columns.
    """
    cells = {name: {m: f"{row[m]:{digits}}" for m, digits in formats.items()} for name, row in rows.items()}
    widths = {m: max(len(m), *(len(row[m]) for row in cells.values())) + 2 for m in formats}
    lines = [" " * 22 + "".join(m.rjust(width) for m, width in widths.items())]
    lines += [f"{name:22}" + "".join(row[m].rjust(widths[m]) for m in formats) for name, row in cells.items()]
    return "\n".join(lines)


def gaps(real: Tensor, images: Tensor) -> Tensor:
    """Return for each image how far it is from the real image nearest to it, by the norm over its pixels.

    Examples
    --------
    >>> gaps(torch.zeros(1, 1, 2, 2), torch.ones(3, 1, 2, 2)).tolist()
    [2.0, 2.0, 2.0]
    """
    rows, others = (part.detach().cpu().flatten(1).numpy() for part in (images, real))
    return torch.from_numpy(pairwise_distances_argmin_min(rows, others)[1]).float()


def listed(rows: Mapping[str, Any], digits: str = "") -> str:
    """Return a line per name, with its value in the format `digits`.

    Examples
    --------
    >>> print(listed({"all": 0.5}, ".1f"))
      all                       0.5
    """
    return "\n".join(f"  {name:26}{value:{digits}}" for name, value in rows.items())


def counted(games: Sequence[Sequence[str]]) -> str:
    """Return in how many games each alarm was raised, as one line of text.

    Examples
    --------
    >>> counted([["mode collapse"], [], ["mode collapse", "oscillation"]])
    'mode collapse 2, oscillation 1'
    """
    names = [name for game in games for name in game]
    return ", ".join(f"{name} {names.count(name)}" for name in dict.fromkeys(names)) or "none"


def one_dimension(
    x: Tensor, real: Distribution, generated: Distribution, scores: np.ndarray, paths: np.ndarray
) -> Figure:
    """Draw two densities, the scores of trained discriminators beside the log-ratio, and generators' paths.

    Parameters
    ----------
    x
        Positions (n,).
    real, generated
        Distributions of the two kinds of examples.
    scores
        What each trained discriminator gives (seed, n).
    paths
        Shift and scale of the generator in the whole game (seed, look, 2).
    """
    figure, axes = plt.subplots(3, 1, figsize=(5.6, 6.6), height_ratios=[1, 1.5, 1.3])
    log_p, log_q = real.log_prob(x), generated.log_prob(x)
    axes[0].plot(x, log_p.exp(), label="real, $p$")
    axes[0].plot(x, log_q.exp(), "--", label="generated, $q$")
    axes[0].set(ylabel="density", ylim=(0, None))
    axes[0].legend()
    axes[1].plot(x, scores.T, color=COLOURS["vermilion"], linewidth=1, alpha=0.7)
    axes[1].plot(x, log_p - log_q, "k--", label=r"$\log p(x)/q(x)$")
    axes[1].plot([], [], color=COLOURS["vermilion"], label="trained, five seeds")
    axes[1].set(xlabel="$x$", ylabel="score, in nats", ylim=(-5, 17))
    axes[1].legend(loc="upper right")
    rounds = np.linspace(0, 1, paths.shape[1] + 1)[1:]
    for part, (name, dash) in enumerate((("|shift|", "-"), ("|scale|", "--"))):
        axes[2].plot(
            rounds, np.abs(paths[..., part]).T, dash, color=list(COLOURS.values())[part], linewidth=1
        )
        axes[2].plot([], [], dash, color=list(COLOURS.values())[part], label=name)
    axes[2].set(xlabel="share of the training", ylabel="generator's weights", ylim=(-0.1, 1.7))
    axes[2].legend(loc="upper right")
    return figure


def flip(
    scores: np.ndarray, slopes: Mapping[str, np.ndarray], shifts: np.ndarray, pulls: Mapping[str, np.ndarray]
) -> Figure:
    """Draw how strongly two losses pull, over the score of an example and over the distance of the means.

    Parameters
    ----------
    scores
        Scores of a generated example (n,).
    slopes
        Loss → size of its derivative by the score (n,).
    shifts
        Distances between the means of real and generated examples (m,).
    pulls
        Loss → size of its derivative by the generator's mean, at the best discriminator (m,).
    """
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(4.6, 5.6))
    for (name, slope), dash in zip(slopes.items(), DASHES, strict=False):
        top.plot(scores, slope, dash, label=name)
        bottom.semilogy(shifts, pulls[name], dash, label=name)
    top.set(xlabel="score of a generated example", ylabel="gradient by the score")
    bottom.set(xlabel="distance of the means", ylabel="gradient by the mean", ylim=(1e-4, 30))
    top.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure


def ring_lab(looks: Sequence[Mapping[str, Any]], *, num_side: int = 31, reach: float = 3.0) -> dict[str, Any]:
    """Return the arguments of `widgets.explore` for samples and discriminator over the training on the ring.

    Parameters
    ----------
    looks
        One per moment: ``round``, packed ``points`` (n, 2) and ``scores`` over a square, x running slowest,
        and what was measured: ``modes``, ``good``, ``distance``.
    num_side, reach
        Points per side of that square, and its half width.
    """
    side = np.linspace(-reach, reach, num_side)
    by_round = {look["round"]: look for look in looks}

    def draw(step: int) -> Figure:
        look = by_round[step]
        figure, ax = plt.subplots(figsize=(4.6, 3.9))
        scores = unpacked(look["scores"], num_side, num_side).T
        field = 1 / (1 + np.exp(-np.clip(scores, -30, 30)))
        shade = ax.contourf(side, side, field, levels=np.linspace(0, 1, 11), cmap="PuOr", alpha=0.8)
        figure.colorbar(shade, label="$D(x)$, probability of real", ticks=[0, 0.5, 1])
        ax.scatter(*unpacked(look["points"], -1, 2).T, s=6, color="black")
        angle = 2 * np.pi * np.arange(8) / 8
        ax.scatter(
            2 * np.cos(angle), 2 * np.sin(angle), s=130, facecolors="none", edgecolors=COLOURS["green"]
        )
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="$x_1$", ylabel="$x_2$", aspect="equal")
        ax.set_title("dots: generated; rings: real modes; white: D = 0.5", fontsize="small")
        ax.grid(False)
        plt.close(figure)
        return figure

    def describe(step: int) -> str:
        look = by_round[step]
        share = 100 * look["good"]
        return (
            f"After {step} rounds: {look['modes']} of 8 modes covered, {share:.0f} % of the points good, "
            f"matching distance {look['distance']:.2f}."
        )

    return {
        "draw": draw, "describe": describe, "step": list(by_round), "dpi": 72,
        "label": "Where does the discriminator see real points, and how do the generated ones answer?",
        "names": {"step": "rounds played"}, "start": {"step": looks[-1]["round"]},
    }  # fmt: skip


def gallery(patients: Mapping[str, AdversarialHistory]) -> Figure:
    """Draw the curves of healthy and sick games, a row each: share told apart, gradient, variety.

    Parameters
    ----------
    patients
        Name → history, with diversity watched. Curves are averaged over a fiftieth of the rounds.
    """
    figure, axes = plt.subplots(
        len(patients), 3, figsize=(4.8, 1.3 * len(patients) + 0.6), sharex=True, sharey="col", squeeze=False
    )
    for row, (name, history) in zip(axes, patients.items(), strict=True):
        row[0].set_ylabel(name.replace(" ", "\n"), fontsize="small")
        window = max(1, len(history.share_right) // 50)
        smooth = [
            np.convolve(curve, np.full(window, 1 / window), mode="valid")
            for curve in (history.share_right, history.generator_gradient)
        ]
        for ax, curve, colour in zip(
            row, (*smooth, history.watched["diversity"]), ("blue", "vermilion", "green"), strict=True
        ):
            ax.plot(np.linspace(0, 1, len(curve)), curve, color=COLOURS[colour], linewidth=1.5)
        row[0].axhline(0.95, color="0.4", linestyle=":", linewidth=1)
        row[2].axhline(0.5, color="0.4", linestyle=":", linewidth=1)
        row[1].set_yscale("log")
        row[0].set(ylim=(-0.05, 1.05), xticks=[0, 1])
    for ax, label in zip(axes[0], ("told apart, %", "gradient", "diversity"), strict=True):
        ax.set_title(label, fontsize="small")
    percent_axis(axes[0, 0].yaxis)
    figure.supxlabel("share of the training", fontsize="medium")
    return figure


def strips(rows: Mapping[str, np.ndarray]) -> Figure:
    """Show one or more rows of images per name, the name above them.

    Parameters
    ----------
    rows
        Name → images (n, height, width), or several such rows (num_rows, n, height, width), values in
        [0, 255]; the same shape for every name.
    """
    *_, n, height, width = next(iter(rows.values())).shape
    blocks = {
        name: np.block([[*row] for row in images.reshape(-1, n, height, width)])
        for name, images in rows.items()
    }
    tall = sum(0.28 + 4.6 * len(block) / block.shape[1] for block in blocks.values())
    figure, axes = plt.subplots(len(blocks), 1, figsize=(4.6, tall))
    for ax, (name, block) in zip(np.atleast_1d(axes), blocks.items(), strict=True):
        ax.imshow(block, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        ax.set_title(name, fontsize="small", loc="left", pad=2)
        ax.set_axis_off()
    return figure
