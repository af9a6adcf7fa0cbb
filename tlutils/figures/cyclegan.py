"""Figures and the laboratory of the chapter on translation without pairs."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from tlutils.domains import Labelled
from tlutils.generative.game import Game
from tlutils.generative.translation import translate
from tlutils.plotting import COLOURS, MARKERS
from tlutils.repeats import mean_interval

__all__ = [
    "Film",
    "film_lab",
    "matrices",
    "pack",
    "photo_rows",
    "sheet",
    "swaps",
    "table",
    "turned_blobs",
    "unpack",
]

CLASS_COLOURS = ("blue", "vermilion")


def pack(images: Tensor) -> str:
    """Return images in [0, 1] as base64 text, a byte a pixel, to be kept in a run.

    Examples
    --------
    >>> unpack(pack(torch.tensor([0.0, 1.0])), 2).tolist()
    [0.0, 1.0]
    """
    return base64.b64encode(images.mul(255).round().byte().numpy().tobytes()).decode()


def unpack(text: str, *shape: int) -> Tensor:
    """Return the images that `pack` has written, in the given shape; one entry of it may be -1."""
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8).reshape(shape).float() / 255


class Film:
    """Watch a cycle game: keep the translation and the round trip of one digit of each class.

    Parameters
    ----------
    examples
        Source images; the first of each class is filmed.
    """

    def __init__(self, examples: Labelled) -> None:
        first = [int((examples.y == label).nonzero()[0]) for label in range(examples.num_classes)]
        self.x = examples.x[first]
        self.frames: list[str] = []

    def __call__(self, game: Game) -> dict[str, float]:
        """Keep a frame: the translations, then the images that came back."""
        there = translate(game.generator["to_target"], self.x)
        self.frames.append(pack(torch.cat([there, translate(game.generator["to_source"], there)])))
        return {}


def _framed(images: Tensor) -> np.ndarray:
    """Return images (rows, columns, 3, h, w) as one picture (H, W, 3) with lines between them."""
    rows, columns, _, height, width = images.shape
    sheet = torch.full((rows, columns, 3, height + 1, width + 1), 0.6)
    sheet[..., :height, :width] = images
    return sheet.permute(0, 3, 1, 4, 2).reshape(rows * (height + 1), -1, 3).numpy()


def sheet(rows: Mapping[str, Tensor], *, xlabel: str = "", columns: Sequence[str] | None = None) -> Figure:
    """Show rows of images below each other, with the name of each row beside it.

    Parameters
    ----------
    rows
        Name → images (n, 1 or 3, h, w) in [0, 1], the same number and size in every row.
    xlabel
        What the columns are.
    columns
        Name of each column; by default 0, 1, 2, ..., and none if empty.
    """
    images = torch.stack([images.expand(-1, 3, -1, -1) for images in rows.values()])
    step = images.shape[-1] + 1
    figure, ax = plt.subplots(figsize=(6.4, 0.52 * len(rows) + 0.5))
    ax.imshow(_framed(images), interpolation="nearest")
    names = [str(number) for number in range(images.shape[1])] if columns is None else columns
    ax.set_xticks([step * (i + 0.5) for i in range(len(names))], names)
    ax.set_yticks([step * (i + 0.5) for i in range(len(rows))], list(rows))
    ax.tick_params(length=0)
    ax.set_xlabel(xlabel)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    return figure


def photo_rows(without: Mapping[str, str], semantic: Mapping[str, str]) -> dict[str, Tensor]:
    """Return rows for `sheet` from the images that two of `translation_trials.photo_trial` keep.

    Parameters
    ----------
    without, semantic
        Images of a training without and of one with a semantic loss.
    """

    def grey(text: str) -> Tensor:
        return unpack(text, 10, 1, 16, 16)

    def colour(text: str) -> Tensor:
        return unpack(text, 10, 3, 16, 16)

    return {
        "photo": colour(without["photo"]),
        "true grey": grey(without["grey"]),
        "no semantic\nloss": grey(without["here"]),
        "semantic\nloss": grey(semantic["here"]),
        "true grey\nto photo": colour(semantic["there"]),
    }


def turned_blobs(panels: Mapping[str, tuple[Tensor, Tensor, Tensor]]) -> Figure:
    """Draw for each panel where points of two classes lie before and after translation.

    Parameters
    ----------
    panels
        Name → points before (n, 2), points after (n, 2), classes 0 or 1 (n,).
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(6.4, 3.6), sharey=True, squeeze=False)
    for ax, (name, (before, after, y)) in zip(axes[0], panels.items(), strict=True):
        for label, (colour, marker) in enumerate(zip(CLASS_COLOURS, MARKERS, strict=False)):
            here, there = before[y == label], after[y == label]
            shape = {"s": 14, "marker": marker, "edgecolors": COLOURS[colour]}
            ax.scatter(*here.T, facecolors="none", label=f"source, class {label}", **shape)
            ax.scatter(*there.T, facecolors=COLOURS[colour], label=f"translated, class {label}", **shape)
            ends = (there.mean(0).tolist(), here.mean(0).tolist())
            ax.annotate("", *ends, arrowprops={"arrowstyle": "->", "linewidth": 1.5})
        ax.set(xlabel=f"$x_1$\n{name}", aspect="equal", xlim=(-1.7, 1.7), ylim=(-1.7, 1.7))
    axes[0][0].set_ylabel("$x_2$")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=8)
    return figure


def swaps(results: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw by the angle how many trainings of ten exchanged the classes, without and with a semantic loss.

    Parameters
    ----------
    results
        Each with ``angle`` in degrees, ``kept``, the share of points that kept their class, and ``semantic``,
        the value of that loss, 0 in a training without it.
    """
    figure, ax = plt.subplots(figsize=(5.6, 2.8))
    angles = sorted({result["angle"] for result in results})
    for offset, weight, colour, name in ((-0.2, False, "blue", "without"), (0.2, True, "vermilion", "with")):
        shares = [
            [
                result["kept"] < 0.5
                for result in results
                if (result["angle"], result["semantic"] > 0) == (a, weight)
            ]
            for a in angles
        ]
        style = {"color": COLOURS[colour], "hatch": "" if weight else "//", "edgecolor": "white"}
        heights = [sum(swapped) for swapped in shares]
        bars = ax.bar(np.arange(len(angles)) + offset, heights, 0.36, label=f"{name} semantic loss", **style)
        ax.bar_label(bars, fontsize=9)
    ax.set_xticks(range(len(angles)), [f"{angle}°" for angle in angles])
    ax.set(xlabel="turn from source to target", ylabel="swapped trainings", ylim=(0, 12.5))
    ax.legend(loc="upper left", ncols=2, fontsize=8)
    return figure


def matrices(panels: Mapping[str, np.ndarray]) -> Figure:
    """Draw class × class matrices side by side: row, the class; column, what a reader sees; percent of a row.

    Parameters
    ----------
    panels
        Name → counts (10, 10).
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(6.4, 2.9), sharey=True)
    for ax, (name, counts) in zip(axes, panels.items(), strict=True):
        counts = np.asarray(counts, dtype=float)
        shares = 100 * counts / counts.sum(axis=1, keepdims=True)
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=100)
        for row, column in np.argwhere(shares >= 2.5):
            colour = "white" if shares[row, column] > 50 else "black"
            text = f"{shares[row, column]:.0f}"
            ax.text(column, row, text, ha="center", va="center", color=colour, fontsize=7)
        ax.set_xticks(range(len(counts)))
        ax.set_yticks(range(len(counts)))
        ax.tick_params(labelsize=7, length=0)
        ax.set_xlabel(f"class seen\n{name}", fontsize=9)
        ax.grid(False)
    axes[0].set_ylabel("class of the digit")
    return figure


def table(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], columns: Mapping[str, tuple[str, float, str]]
) -> str:
    """Return a table as text: for each row the mean over its trainings and half the width of its interval.

    Parameters
    ----------
    rows
        Name → what each training measured.
    columns
        Heading → key, factor, format of a number.
    """
    lines = [f"{'':20}" + "".join(f"{heading:>14}" for heading in columns)]
    for name, results in rows.items():
        line = f"{name:20}"
        for key, factor, form in columns.values():
            found = mean_interval([factor * result[key] for result in results])
            line += f"{found.mean:>7{form}} ± {found.high - found.mean:<4{form}}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def film_lab(
    x: Tensor, films: Mapping[str, Mapping[str, Any]], numbers: Sequence[int] = ()
) -> dict[str, Any]:
    """Return the arguments of `widgets.explore` for ten digits over training: there, and back again.

    Parameters
    ----------
    x
        Ten source images (10, 1, h, w), one of each class.
    films
        Name of a training → ``film``, as `Film` keeps it, ``film_rounds``, and ``second``, the share of
        held-out digits that kept their class at the end.
    numbers
        Rounds to be shown, of those that were filmed; by default all.
    """
    rounds = next(iter(films.values()))["film_rounds"]

    def frame(left_out: str, number: int) -> Tensor:
        return unpack(films[left_out]["film"][rounds.index(number)], 2, *x.shape)

    def draw(left_out: str, number: int) -> Figure:
        there, back = frame(left_out, number)
        return sheet({"source": x, "translated": there, "back again": back}, xlabel="class of the source")

    def describe(left_out: str, number: int) -> str:
        back = frame(left_out, number)[1]
        error = (back - x).abs().mean().item()
        kept = 100 * films[left_out]["second"]
        return (
            f"Left out: {left_out}. After {number} rounds the round trip of these ten digits is off by "
            f"{error:.3f} a pixel. After the last round {kept:.0f} % of held-out digits keep their class."
        )

    return {
        "draw": draw,
        "describe": describe,
        "label": "When does the style arrive, when does the way back open, and which digits have changed?",
        "names": {"left_out": "left out of the losses", "number": "rounds of training"},
        "start": {"left_out": next(iter(films)), "number": rounds[-1]},
        "left_out": list(films),
        "number": list(numbers) or rounds,
        "dpi": 80,
    }
