"""Changes to a batch of images that leave their class alone, drawn anew each time."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["random_affine", "random_flip", "random_shift"]


def random_affine(
    x: Float[Tensor, "n channels h w"],
    *,
    zoom: tuple[float, float] = (0.8, 1.5),
    stretch: float = 0.15,
    slant: float = 0.3,
    shift: float = 0.15,
) -> Float[Tensor, "n channels h w"]:
    """Zoom, stretch, slant and move each image by its own random amounts; what comes in is black.

    Parameters
    ----------
    x
        Images, of any float dtype and on any device.
    zoom
        Smallest and largest factor of size, both positive, drawn evenly on a logarithmic scale.
    stretch
        Largest change of width against height, as a logarithm, at least 0.
    slant
        Largest sideways shift per unit of height, at least 0.
    shift
        Largest move in each direction, as a share of half the image, at least 0.

    Raises
    ------
    ValueError
        If the zoom is not positive and rising, or another amount is negative.

    Notes
    -----
    Draws from torch's global generator, which `training.fit` seeds and restores.

    Examples
    --------
    >>> x = torch.rand(2, 1, 8, 8)
    >>> still = random_affine(x, zoom=(1.0, 1.0), stretch=0.0, slant=0.0, shift=0.0)
    >>> torch.allclose(still, x, atol=1e-6)
    True
    """
    if not 0 < zoom[0] <= zoom[1] or min(stretch, slant, shift) < 0:
        raise ValueError(
            f"got {zoom=}, {stretch=}, {slant=}, {shift=}; expected 0 < smallest zoom <= largest zoom and no "
            "negative amount"
        )
    low, high = (math.log(factor) for factor in zoom)
    u = 2 * torch.rand(len(x), 5) - 1
    size = torch.exp((low + high) / 2 + (high - low) / 2 * u[:, 0])
    aspect = torch.exp(stretch * u[:, 1])
    matrix = torch.zeros(len(x), 2, 3)  # from a pixel's place in the new image to its place in the old one
    matrix[:, 0, 0], matrix[:, 1, 1] = 1 / (size * aspect), aspect / size
    matrix[:, 0, 1], matrix[:, :, 2] = slant * u[:, 2], shift * u[:, 3:]
    places = nn.functional.affine_grid(matrix.to(x), [*x.shape], align_corners=False)
    return nn.functional.grid_sample(x, places, align_corners=False)


def random_flip(x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n channels h w"]:
    """Mirror about half of the images left to right.

    Objects stay what they are in a mirror; digits and letters do not, so never use this on them.

    Parameters
    ----------
    x
        Images, of any float dtype and on any device.

    Notes
    -----
    Draws from torch's global generator, which `training.fit` seeds and restores.

    Examples
    --------
    >>> random_flip(torch.ones(2, 1, 1, 2)).shape
    torch.Size([2, 1, 1, 2])
    """
    is_flipped = (torch.rand(len(x)) < 0.5).to(x.device)
    return torch.where(is_flipped[:, None, None, None], x.flip(-1), x)


def random_shift(x: Float[Tensor, "n channels h w"], num_pixels: int) -> Float[Tensor, "n channels h w"]:
    """Move each image by up to `num_pixels` in each direction; what comes in at the border is black.

    Parameters
    ----------
    x
        Images, of any float dtype and on any device.
    num_pixels
        The largest shift, at least 1.

    Raises
    ------
    ValueError
        If `num_pixels` is below 1.

    Notes
    -----
    Draws from torch's global generator, which `training.fit` seeds and restores.

    Examples
    --------
    >>> random_shift(torch.ones(2, 1, 4, 4), 1).shape
    torch.Size([2, 1, 4, 4])
    """
    if num_pixels < 1:
        raise ValueError(f"num_pixels is {num_pixels}; expected at least 1")
    n, _, height, width = x.shape
    padded = nn.functional.pad(x, [num_pixels] * 4)
    corner = torch.randint(2 * num_pixels + 1, (2, n, 1))
    rows = (corner[0] + torch.arange(height)).to(x.device)
    columns = (corner[1] + torch.arange(width)).to(x.device)
    image = torch.arange(n, device=x.device)[:, None, None]
    # Indices on both sides of the slice put the channels last; they go back where they were.
    return padded[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
