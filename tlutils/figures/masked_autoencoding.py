"""Figures and the laboratory of the chapter on masked autoencoding."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from tlutils.plotting import COLOURS, MARKERS, percent_axis
from tlutils.repeats import Interval
from tlutils.runtime import new_generator
from tlutils.vision_transformer import MaskedAutoencoder, patchify, random_masks, unpatchify

__all__ = ["accuracies", "cut_and_hide", "gains", "rebuild_lab", "rebuilt"]

GREY = 0.5


def _show(ax: Axes, image: Float[Tensor, "3 h w"]) -> None:
    ax.imshow(image.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)


def cut_and_hide(x: Float[Tensor, "n 3 h w"], mask_fraction: float, *, patch_size: int, seed: int) -> Figure:
    """Draw images, each cut into patches, and with a share of its patches hidden.

    Parameters
    ----------
    x
        A few images, one per column.
    mask_fraction, patch_size, seed
        Share of hidden patches, their side in pixels, seed of the draw.
    """
    patches = patchify(x, patch_size)
    _, masked = random_masks(len(x), patches.shape[1], mask_fraction, new_generator(seed))
    hidden = patches.scatter(1, masked[:, :, None].expand(-1, -1, patches.shape[2]), GREY)
    figure, axes = plt.subplots(3, len(x), figsize=(1.25 * len(x), 3.9), squeeze=False)
    for column, image, seen in zip(axes.T, x, unpatchify(hidden, patch_size), strict=True):
        for ax, shown in zip(column, (image, image, seen), strict=True):
            _show(ax, shown)
        for at in np.arange(0, x.shape[2] + 1, patch_size) - 0.5:
            column[1].axhline(at, color="white", linewidth=1)
            column[1].axvline(at, color="white", linewidth=1)
    for ax, name in zip(axes[:, 0], ("image", "patches", "seen"), strict=True):
        ax.set_ylabel(name)
    return figure


@torch.no_grad()
def rebuilt(
    model: MaskedAutoencoder, x: Float[Tensor, "n 3 h w"], mask_fraction: float, *, seed: int
) -> dict[str, Float[Tensor, "n 3 h w"]]:
    """Return what the encoder sees of each image, the gift, the guess and the image.

    The network guesses a patch brought to mean 0 and variance 1, so that a picture needs the mean and the
    standard deviation of the hidden patch itself. The *gift* has the mean alone: a picture without a network.
    """
    size = model.encoder.patch_size
    patches = patchify(x, size)
    visible, masked = random_masks(len(x), patches.shape[1], mask_fraction, new_generator(seed))
    hidden = masked[:, :, None].expand(-1, -1, patches.shape[2])
    # Colour by colour would be another gift: the loss normalises over all the values of a patch at once.
    mean, std = patches.mean(dim=2, keepdim=True), patches.std(dim=2, keepdim=True)
    guess = model(x, visible) * std + mean
    kinds = {"seen": torch.full_like(patches, GREY), "gift": mean.expand_as(patches), "guess": guess}
    filled = {name: patches.scatter(1, hidden, kind.gather(1, hidden)) for name, kind in kinds.items()}
    return {name: unpatchify(kind, size) for name, kind in filled.items()} | {"image": x}


def rebuild_lab(
    model: MaskedAutoencoder, pictures: Sequence[Float[Tensor, "n 3 h w"]], errors: Mapping[float, float]
) -> dict[str, Any]:
    """Return the arguments of `widgets.explore`: reconstructions over the share of hidden patches.

    Parameters
    ----------
    model
        Trained at one share, asked at all of them.
    pictures
        Sets of a few images, one set per stop of the second slider.
    errors
        Share of hidden patches → loss on held-out images.
    """
    sets = [*range(1, len(pictures) + 1)]

    @functools.cache
    def rows(share: float, number: int) -> dict[str, Tensor]:
        return rebuilt(model, pictures[number - 1], share, seed=number)

    def draw(share: float, number: int) -> Figure:
        found = rows(share, number)
        width = len(pictures[0])
        figure, axes = plt.subplots(4, width, figsize=(1.05 * width, 4.3), squeeze=False)
        for row, (name, images) in zip(axes, found.items(), strict=True):
            row[0].set_ylabel(name)
            for ax, image in zip(row, images, strict=True):
                _show(ax, image)
        plt.close(figure)
        return figure

    def describe(share: float, number: int) -> str:
        total = model.encoder.num_patches
        hidden = round(total * share)
        nearest = min(errors, key=lambda measured: abs(measured - share))
        where = "" if nearest == share else f" (measured at a share of {nearest:g})"
        return (
            f"{hidden} of {total} patches hidden, images {number}: error {errors[nearest]:.2f}{where} on the "
            "hidden patches of held-out images, where guessing each patch's mean gives 0.98."
        )

    shares = [*errors]
    return {
        "draw": draw, "describe": describe, "share": shares, "number": sets,
        "label": "How much may be hidden before nothing can be guessed?",
        "names": {"share": "share of hidden patches", "number": "images"},
        "start": {"share": 0.75 if 0.75 in shares else shares[0], "number": 1}, "dpi": 62,
    }  # fmt: skip


def accuracies(panels: Mapping[str, Mapping[str, Mapping[str, Interval]]], *, chance: float) -> Figure:
    """Draw accuracy by start, one panel per target, one group per way to use the labels.

    Parameters
    ----------
    panels
        Target → way → start → accuracy in [0, 1].
    chance
        Accuracy of guessing, drawn as a dotted line.
    """
    starts = list(dict.fromkeys(s for ways in panels.values() for found in ways.values() for s in found))
    looks = dict(zip(starts, zip(COLOURS.values(), MARKERS, strict=False), strict=False))
    figure, axes = plt.subplots(len(panels), 1, figsize=(5.6, 2.7 * len(panels)), squeeze=False)
    for ax, (target, ways) in zip(axes[:, 0], panels.items(), strict=True):
        for place, found in enumerate(ways.values()):
            for start, interval in found.items():
                at = place + 0.2 * (starts.index(start) - (len(starts) - 1) / 2)
                colour, marker = looks[start]
                ax.plot([at, at], [interval.low, interval.high], color=colour, linewidth=2)
                ax.plot(at, interval.mean, marker, color=colour, label=None if place else start)
        ax.axhline(chance, color="0.4", linestyle=":")
        ax.set_xticks(range(len(ways)), ways)
        ax.set_ylabel("test accuracy in %")
        ax.set_title(target, loc="left", fontsize="medium")
        percent_axis(ax.yaxis)
    axes[0, 0].legend(fontsize="small")
    return figure


def gains(found: Mapping[str, Interval]) -> Figure:
    """Draw paired differences in points with their intervals, first name on top, and a line at zero."""
    figure, ax = plt.subplots(figsize=(5.6, 0.5 * len(found) + 1))
    for place, (name, interval) in enumerate(found.items()):
        colour = COLOURS["blue"] if interval.low > 0 else COLOURS["vermilion"]
        colour = COLOURS["black"] if interval.low <= 0 <= interval.high else colour
        ax.plot([interval.low, interval.high], [place, place], color=colour, linewidth=3)
        ax.plot(interval.mean, place, "o", color=colour)
        ax.text(0.01, place - 0.15, name, transform=ax.get_yaxis_transform(), va="bottom", fontsize="small",
                bbox={"color": "white", "pad": 1})  # fmt: skip
    ax.axvline(0, color="black", linewidth=1, zorder=0)
    ax.spines["left"].set_visible(False)
    ax.set(xlabel="difference in points", yticks=[], ylim=(len(found) - 0.5, -0.8))
    return figure
