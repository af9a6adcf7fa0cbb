"""Figures and laboratory of the chapter that carries a network from MNIST to Fashion-MNIST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tlutils.figures.cifar_to_digits import by_seed, ladder
from tlutils.plotting import image_grid

__all__ = ["by_seed", "from_hex", "ladder", "neck_lab"]


def from_hex(text: str, size: int = 28) -> np.ndarray:
    """Return the square grey pictures that `text` holds with two hexadecimal digits per pixel, as uint8.

    Raises
    ------
    ValueError
        If the pixels do not make whole pictures of `size`×`size`.

    Examples
    --------
    >>> from_hex("00ff0a80", size=2).tolist()
    [[[0, 255], [10, 128]]]
    """
    pixels = np.frombuffer(bytes.fromhex(text), np.uint8)
    if len(pixels) == 0 or len(pixels) % size**2:
        raise ValueError(f"received {len(pixels)} pixels; expected a positive multiple of {size}×{size}")
    return pixels.reshape(-1, size, size)


def neck_lab(
    originals: Mapping[str, np.ndarray],
    found: Mapping[int, Mapping[str, Mapping[str, Any]]],
    *,
    start: int,
) -> dict[str, Any]:
    """Return the arguments with which `widgets.explore` shows pictures and their copies by width of the neck.

    Parameters
    ----------
    originals
        Name of a domain → grey pictures (n, height, width), uint8.
    found
        Numbers in the neck → name of a domain → ``"copies"``, pictures like the originals as `from_hex` reads
        them, and ``"error"``, their mean squared error, pixels in [0, 1].
    start
        The width to show first.
    """

    def draw(width: int) -> Figure:
        rows = {}
        for name, pictures in originals.items():
            rows |= {name: pictures, f"{name} copied": from_hex(found[width][name]["copies"])}
        return image_grid(rows)

    def say(width: int) -> str:
        errors = " and ".join(f"{one['error']:.3f} on {name}" for name, one in found[width].items())
        return f"{width} numbers for 784 pixels: mean squared error {errors}."

    return {
        "draw": draw, "describe": say, "label": "What passes through the neck?", "dpi": 80,
        "names": {"width": "numbers in the neck"}, "start": {"width": start}, "width": list(found),
    }  # fmt: skip
