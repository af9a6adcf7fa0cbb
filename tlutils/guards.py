"""Checks of what came in. They stop with a message or do nothing.

They are called as statements by themselves, ``guards.name(...)``, and `provenance` leaves such statements out
of a code digest: a check that passed has touched no number, so that a new one makes no stored run stale.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tlutils.extraction import checked_device

__all__ = ["has_channels", "has_device", "not_all_zero"]


def has_device(device: torch.device | str | None) -> None:
    """Refuse a device that is not there; None, the best there is, always passes.

    Raises
    ------
    ValueError
        A GPU is asked for where there is none, or the name means nothing.

    Examples
    --------
    >>> has_device("cpu")
    """
    checked_device(device)


def has_channels(x: Tensor, num_channels: int) -> None:
    """Refuse images with another number of channels.

    Broadcasting would let grey images pass where three channels are expected: all three get the grey one, and
    the network answers about images that nobody showed it.

    Parameters
    ----------
    x
        Images (..., channels, height, width).
    num_channels
        What the network expects, at least 1.

    Raises
    ------
    ValueError
        Says both numbers and how to load the right images.

    Examples
    --------
    >>> has_channels(torch.zeros(2, 3, 8, 8), 3)
    """
    if x.ndim >= 3 and x.shape[-3] == num_channels:
        return
    raise ValueError(
        f"received {'grey images' if x.ndim >= 3 and x.shape[-3] == 1 else 'an input'} of shape "
        f"{tuple(x.shape)}; expected (n, {num_channels}, height, width). Load the domain with "
        f"channels={num_channels}"
    )


def not_all_zero(what: str, weights: dict[str, float]) -> None:
    """Refuse weights that switch everything off.

    Raises
    ------
    ValueError
        If every weight is 0; names them.

    Examples
    --------
    >>> not_all_zero("losses", {"cycle": 10.0, "identity": 0.0})
    """
    if not any(weights.values()):
        raise ValueError(f"all {what} have weight 0 ({', '.join(weights)}); give one a positive weight")
