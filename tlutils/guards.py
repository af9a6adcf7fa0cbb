"""Checks of what came in. They stop with a message or do nothing.

They are called as statements by themselves, ``guards.name(...)``, and `provenance` leaves such statements out
of a code digest: a check that passed has touched no number, so that a new one makes no stored run stale.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from tlutils.extraction import checked_device

__all__ = [
    "can_be_split",
    "has_channels",
    "has_device",
    "has_shape",
    "is_file",
    "is_no_string",
    "is_on_the_device_of",
    "not_all_zero",
]


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


def has_shape(x: Tensor, shape: Sequence[int]) -> None:
    """Refuse a batch of images of another shape than a network was connected for.

    Parameters
    ----------
    x
        A batch (n, ...).
    shape
        What every example must have, such as (channels, height, width).

    Raises
    ------
    ValueError
        Says both shapes.

    Examples
    --------
    >>> has_shape(torch.zeros(2, 3, 8, 8), (3, 8, 8))
    """
    if tuple(x.shape[1:]) != tuple(shape):
        raise ValueError(
            f"received examples of shape {tuple(x.shape[1:])}; expected {tuple(shape)}. Resize them, or "
            "build the network for this shape."
        )


def can_be_split(num_examples: int, num_parts: int) -> None:
    """Refuse to cut a batch into more parts than it has examples: the loss of an empty part is no number.

    Raises
    ------
    ValueError
        If `num_parts` is larger than `num_examples`.

    Examples
    --------
    >>> can_be_split(8, 4)
    """
    if num_parts > num_examples:
        raise ValueError(f"num_parts is {num_parts} for {num_examples} examples; expected at most so many")


def is_file(path: str | os.PathLike) -> None:
    """Refuse a path where no file is.

    Raises
    ------
    FileNotFoundError
        Names the path.

    Examples
    --------
    >>> is_file(__file__)
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}; expected what a training has saved. Is the path right?")


def is_no_string(name: str, names: Sequence[str] | None) -> None:
    """Refuse one string where a list of names is expected: its letters would be taken for names.

    Raises
    ------
    TypeError
        Says how to write it.

    Examples
    --------
    >>> is_no_string("only", ["backbone"])
    """
    if isinstance(names, str):
        raise TypeError(f"{name} is the string {names!r}; expected a list of names, [{names!r}]")


def is_on_the_device_of(x: Tensor, model: nn.Module) -> None:
    """Refuse examples that are not where the network is.

    Raises
    ------
    ValueError
        Says both devices.

    Examples
    --------
    >>> is_on_the_device_of(torch.zeros(2, 3), nn.Linear(3, 1))
    """
    for parameter in model.parameters():
        if parameter.device != x.device:
            raise ValueError(
                f"the examples are on {x.device} and the network on {parameter.device}; move one of them, "
                f"for example x.to({str(parameter.device)!r})"
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
