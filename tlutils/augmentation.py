"""Changes to a batch of images that leave their class alone, drawn anew each time."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["random_flip", "random_shift"]


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
