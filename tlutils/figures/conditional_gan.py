"""Figures and the laboratories of the chapter on conditional GANs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from tlutils.domains import Labelled
from tlutils.figures.adversarial_game import gaps
from tlutils.generative.game import generate
from tlutils.generative.networks import Generator
from tlutils.generative.quality import nearest, recognised
from tlutils.models import Classifier
from tlutils.plotting import COLOURS, DASHES, MARKERS, interval_curves, percent_axis
from tlutils.repeats import Interval, mean_interval

__all__ = [
    "beside_nearest",
    "budget_lab",
    "budget_table",
    "budgets",
    "content_share",
    "nearest_gaps",
    "obedience",
    "patience_lines",
    "sample_rows",
    "surest",
    "walk_lab",
    "walk_readings",
    "way_table",
]

COLUMNS = ("recognised", "worst class", "Fréchet", "precision", "recall", "diversity")


def _sheet(images: Tensor) -> np.ndarray:
    """Return a grid of images (rows, columns, h, w) as one picture with thin lines between them."""
    rows, columns, height, width = images.shape
    framed = torch.full((rows, columns, height + 1, width + 1), 0.35)
    framed[..., :height, :width] = images
    return framed.permute(0, 2, 1, 3).reshape(rows * (height + 1), -1).numpy()


def sample_rows(rows: Mapping[str, Tensor]) -> Figure:
    """Show ten images a row, one per class, in one sheet with the name of each row beside it.

    Parameters
    ----------
    rows
        Name → images (10, 1, h, w) with values in [0, 1]; a blank name continues the row above.
    """
    figure, ax = plt.subplots(figsize=(6.4, 0.52 * len(rows) + 0.3))
    images = torch.stack([images.squeeze(1) for images in rows.values()])
    ax.imshow(_sheet(images), cmap="gray", vmin=0, vmax=1)
    step = images.shape[-1] + 1
    ax.set_yticks([step * (i + 0.5) for i in range(len(rows))], [name.strip() for name in rows])
    ax.set_xticks([step * (i + 0.5) for i in range(10)], [str(i) for i in range(10)])
    ax.tick_params(length=0)
    ax.grid(False)
    ax.set_xlabel("class asked for")
    return figure


def beside_nearest(samples: Mapping[str, Tensor], real: Tensor) -> dict[str, Tensor]:
    """Return rows for `sample_rows`: each row of samples, and under it what each of them is nearest to.

    Parameters
    ----------
    samples
        Name → images (10, n, 1, h, w), n samples per class; they make n pairs of rows.
    real
        Images (m, 1, h, w) among which the nearest is looked for, by pixels.
    """
    rows: dict[str, Tensor] = {}
    for name, images in samples.items():
        for number, drawn in enumerate(images.unbind(dim=1)):
            blank = " " * (len(rows) + 1)
            rows[blank if number else name] = drawn
            rows["nearest to it" + blank] = real[nearest(real, drawn)]
    return rows


def nearest_gaps(real: Tensor, sets: Mapping[str, Tensor]) -> dict[str, tuple[float, float, float]]:
    """Return of each set's distances to its nearest real images the mean, the 10 % quantile and the least."""
    found = {name: gaps(real, images) for name, images in sets.items()}
    return {
        name: (round(gap.mean().item(), 2), round(gap.quantile(0.1).item(), 2), round(gap.min().item(), 2))
        for name, gap in found.items()
    }


def patience_lines(
    before: Mapping[int, Sequence[Mapping[str, Any]]],
    later: Mapping[int, Sequence[Mapping[str, Any]]],
    gains: Mapping[int, Interval],
    late: Mapping[int, Interval],
) -> str:
    """Return per budget what longer training changed: the share recognised and the gain; and the distance.

    Parameters
    ----------
    before, later
        Labels per class → one result per seed, with ``recognised`` and ``distance``.
    gains, late
        Labels per class → gain in points, before and later.
    """
    lines = []
    for k, results in later.items():
        shares = [100 * np.mean([r["recognised"] for r in some]) for some in (before[k], results)]
        distance = np.mean([r["distance"] for r in results])
        lines += [
            f"{k} labels per class: recognised {shares[0]:.0f} % → {shares[1]:.0f} %, "
            f"gain {gains[k]:+.1f} → {late[k]:+.1f} points",
            f"   mean distance to the nearest image given, over that of new digits: {distance:.2f}",
        ]
    return "\n".join(lines)


@torch.no_grad()
def surest(reader: Classifier, labelled: Labelled) -> Tensor:
    """Return for each class the image of which the reader is surest: (num_classes, 1, h, w)."""
    sure = reader(labelled.x).log_softmax(dim=1)
    rows = [
        torch.where(labelled.y == c, sure[:, c], -torch.inf).argmax() for c in range(labelled.num_classes)
    ]
    return labelled.x[torch.stack(rows)]


def way_table(
    trained: Mapping[str, Sequence[Mapping[str, Any]]],
    single: Mapping[str, Mapping[str, Any]],
    columns: Sequence[str] = COLUMNS,
) -> str:
    """Return a table of what was measured: mean and half of the 95 % interval over seeds, or one value.

    Parameters
    ----------
    trained
        Way → one result per seed.
    single
        Name → one result.
    columns
        What is shown of each result; Fréchet distances, ``"Fréchet"`` and ``"pooled"``, with one digit.
    """
    lines = [" " * 19 + "".join(f"{name:>12}" for name in columns)]
    digits = {name: 1 if name in ("Fréchet", "pooled") else 3 for name in columns}
    for way, results in trained.items():
        found = {name: mean_interval([result[name] for result in results]) for name in columns}
        cells = [
            f"{c.mean:.{digits[name]}f} ±{c.mean - c.low:.{min(digits[name], 2)}f}"
            for name, c in found.items()
        ]
        lines.append(f"{way:19}" + "".join(f"{cell:>12}" for cell in cells))
    for name, result in single.items():
        cells = [f"{result[column]:.{digits[column]}f}" for column in columns]
        lines.append(f"{name:19}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


def budget_table(
    accuracy: Mapping[str, Mapping[int, np.ndarray]], gains: Mapping[str, Mapping[int, Interval]]
) -> str:
    """Return a table, one row per budget, of mean accuracies in % and gains in points with intervals.

    Parameters
    ----------
    accuracy
        Arm → labels per class → one accuracy per seed.
    gains
        Name of the difference → labels per class → interval.
    """
    names = [*accuracy, *gains]
    widths = [max(len(name), 6 if name in accuracy else 20) + 2 for name in names]
    lines = ["labels" + "".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True))]
    for k in next(iter(accuracy.values())):
        cells = [f"{100 * row[k].mean():.1f} %" for row in accuracy.values()]
        cells += [f"{row[k].mean:+.1f} [{row[k].low:+.1f}, {row[k].high:+.1f}]" for row in gains.values()]
        lines.append(f"{k:6}" + "".join(f"{c:>{width}}" for c, width in zip(cells, widths, strict=True)))
    return "\n".join(lines)


def obedience(curves: Mapping[str, tuple[Sequence[int], Sequence[Sequence[float]]]]) -> Figure:
    """Draw the share of samples that are recognised as the class asked for, over training.

    Parameters
    ----------
    curves
        Name → (rounds, one list of shares per seed).
    """
    figure, ax = plt.subplots()
    for (name, (rounds, shares)), colour, marker, dash in zip(
        curves.items(), COLOURS.values(), MARKERS, [*DASHES, *DASHES], strict=False
    ):
        intervals = [
            mean_interval(values) if len(shares) > 1 else None for values in zip(*shares, strict=True)
        ]
        ax.plot(rounds, np.mean(shares, axis=0), label=name, color=colour, marker=marker, linestyle=dash)
        if len(shares) > 1:
            ax.fill_between(
                rounds, [i.low for i in intervals], [min(i.high, 1.0) for i in intervals],
                color=colour, alpha=0.15, linewidth=0,
            )  # fmt: skip
    ax.axhline(0.1, color="0.4", linestyle=":", label="chance")
    ax.set(xlabel="round", ylabel="recognised as the class asked for, %", ylim=(0, 1.02))
    percent_axis(ax.yaxis)
    ax.legend(fontsize="small")
    return figure


def budgets(accuracy: Mapping[str, Mapping[int, np.ndarray]], gains: Mapping[int, Interval]) -> Figure:
    """Draw accuracy per arm, and the paired gain of one over another, against labels per class.

    Parameters
    ----------
    accuracy
        Arm → labels per class → one accuracy per seed.
    gains
        Labels per class → gain in points.
    """
    figure, (left, right) = plt.subplots(2, 1, figsize=(5.2, 6.0), sharex=True, height_ratios=(3, 2))
    places = range(len(gains))
    lines = {arm: [mean_interval(values) for values in row.values()] for arm, row in accuracy.items()}
    interval_curves(left, places, lines, xlabel="", ylabel="test accuracy in %")
    percent_axis(left.yaxis)
    means = [gain.mean for gain in gains.values()]
    ends = [
        [gain.mean - gain.low for gain in gains.values()],
        [gain.high - gain.mean for gain in gains.values()],
    ]
    right.errorbar(places, means, yerr=ends, fmt="o", color=COLOURS["orange"], capsize=3)
    right.axhline(0, color="0.4", linestyle=":")
    right.set_xticks(places, [str(k) for k in gains])
    right.set(xlabel="labels per class", ylabel="own samples minus\naugmentation, points")
    return figure


def content_share(generator: Generator, *, num_contents: int, seed: int, num_classes: int = 10) -> float:
    """Return how much of what differs in ink within a class is decided by the noise, whatever the class.

    Parameters
    ----------
    generator
        Maps noise and classes to images.
    num_contents
        Noise vectors; each is drawn in every class.
    seed
        Seed of the noise.
    num_classes
        Number of classes.

    Returns
    -------
    Of the variance of the mean pixel within the classes, the share that the mean over classes keeps: 1 if a
    noise vector adds as much ink to every class, about 1 / num_classes if classes use it independently.
    """
    y = torch.arange(num_classes)
    images = torch.stack([
        generate(generator, num_contents, seed=seed, y=y[c].expand(num_contents)) for c in y
    ])  # fmt: skip
    ink = images.flatten(2).mean(dim=2)
    ink = ink - ink.mean(dim=1, keepdim=True)
    return (ink.mean(dim=0).square().mean() / ink.square().mean()).item()


def walk_lab(walk: Callable[[float, str], Tensor], reader: Classifier, real: Tensor) -> dict[str, Any]:
    """Return the arguments of `widgets.explore` for a grid of classes by contents that walks.

    Parameters
    ----------
    walk
        Maps a position in [0, 1] and ``"noise"`` or ``"class"`` to images (10, 8, h, w).
    reader
        Says how many images of the grid show the class of their row.
    real
        Training images (n, 1, h, w), to the nearest of which the distance of each image is taken.
    """

    def draw(position: float, what: str) -> Figure:
        figure, ax = plt.subplots(figsize=(3.9, 4.7))
        ax.imshow(_sheet(walk(position, what)), cmap="gray", vmin=0, vmax=1)
        ax.set_yticks([17 * (i + 0.5) for i in range(10)], [str(i) for i in range(10)])
        ax.set_xticks([])
        ax.tick_params(length=0)
        ax.grid(False)
        ax.set(xlabel="eight contents (noise vectors)", ylabel="class at the start")
        plt.close(figure)
        return figure

    def describe(position: float, what: str) -> str:
        images, rows = walk(position, what).reshape(80, 1, 16, 16), torch.arange(10).repeat_interleave(8)
        first, (far, _, _) = recognised(reader, images, rows), nearest_gaps(real, {"": images})[""]
        away = f"From the nearest training image they are {far:.1f} away on average."
        if what == "noise":
            return (
                f"{100 * position:.0f} % of the way from one noise to another: "
                f"{100 * first:.0f} % of the images are read as the class of their row. {away}"
            )
        second = recognised(reader, images, (rows + 1) % 10)
        return (
            f"{100 * position:.0f} % of the way to the next class: {100 * first:.0f} % are still read as the "
            f"class of their row, {100 * second:.0f} % as the next one, the rest as something else. {away}"
        )

    return {
        "draw": draw, "describe": describe,
        "position": [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0], "what": ["noise", "class"],
        "label": "What changes when the noise walks, and what when the class does?",
        "names": {"position": "position on the walk", "what": "what walks"},
        "start": {"position": 0.5, "what": "class"}, "dpi": 70,
    }  # fmt: skip


def walk_readings(
    walk: Callable[..., Tensor], reader: Classifier, drawers: Sequence[Generator]
) -> tuple[np.ndarray, np.ndarray]:
    """Return what is read on the walks of each generator.

    Parameters
    ----------
    walk
        As for `walk_lab`, with a generator as third argument.
    reader
        Reads the images.
    drawers
        The generators.

    Returns
    -------
    Shares read as the row's class at nine positions of the noise walk, (generators, 9); and halfway on the
    class walk, read as the row's class and as the next one, (generators, 2).
    """
    rows = torch.arange(10).repeat_interleave(8)

    def share(position: float, what: str, shift: int, drawer: Generator) -> float:
        return recognised(
            reader, walk(position, what, drawer).flatten(0, 1).unsqueeze(1), (rows + shift) % 10
        )

    kept = [[share(t / 8, "noise", 0, drawer) for t in range(9)] for drawer in drawers]
    half = [[share(0.5, "class", shift, drawer) for shift in (0, 1)] for drawer in drawers]
    return np.array(kept), np.array(half)


def budget_lab(
    results: Mapping[str, Sequence[Mapping[str, Any]]], given: Mapping[str, Labelled]
) -> dict[str, Any]:
    """Return the arguments of `widgets.explore` for what a GAN makes of few labelled images.

    Parameters
    ----------
    results
        Labels per class, in words → one result per seed, each with ``recognised`` and ``distance``; the
        first also with ``samples``, four per class, as numbers from 0 to 15.
    given
        The same words → the labelled images that the GAN of the first seed saw.
    """
    names = ("given", "samples", "nearest\ngiven")

    def rows(k: str) -> Tensor:
        samples = torch.tensor(results[k][0]["samples"]).reshape(10, 4, 1, 16, 16)[:, :2] / 15
        seen = [given[k].x[given[k].y == c] for c in range(10)]
        first = torch.stack([x[torch.arange(2) % len(x)] for x in seen])
        near = torch.stack([x[nearest(x, drawn)] for x, drawn in zip(seen, samples, strict=True)])
        return torch.stack([first, samples, near]).squeeze(3).transpose(1, 2).reshape(6, 10, 16, 16)

    def draw(k: str) -> Figure:
        figure, ax = plt.subplots(figsize=(5.0, 3.2))
        ax.imshow(_sheet(rows(k)), cmap="gray", vmin=0, vmax=1)
        ax.set_yticks([17 * (2 * i + 1) for i in range(3)], names)
        ax.set_xticks([17 * (i + 0.5) for i in range(10)], [str(i) for i in range(10)])
        ax.tick_params(length=0)
        ax.grid(False)
        plt.close(figure)
        return figure

    def describe(k: str) -> str:
        found = {name: np.mean([r[name] for r in results[k]]) for name in ("recognised", "distance")}
        return (
            f"Labelled images per class: {k}. {100 * found['recognised']:.0f} % of the samples are "
            f"recognised as the class asked for; they lie {found['distance']:.2f} times as far from the "
            "nearest image given as a new real digit does."
        )

    return {
        "draw": draw, "describe": describe, "k": list(results),
        "label": "What does a conditional GAN make of few labelled images?",
        "names": {"k": "labelled images per class"}, "start": {"k": next(iter(results))}, "dpi": 80,
    }  # fmt: skip
