"""Checks of samples and labels that estimators and scores are given."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "are_bandwidths",
    "are_class_indices",
    "can_be_squared",
    "come_as_table",
    "comes_as_tensor",
    "have_distances",
    "is_generator",
    "is_positive_precision",
    "is_read_as_images",
    "is_real_number",
    "not_only_zeros",
    "stays_in_range",
]

READ_ELSEWHERE = {
    "amazon_reviews": "tabular.load('amazon_reviews', 'books')",
    "office_caltech10_surf": "tabular.load('office_caltech10_surf', 'amazon')",
    "office_caltech10_googlenet": "tabular.load('office_caltech10_googlenet', 'amazon')",
    "office_caltech10": "photographs.load('office_caltech10', 'amazon')",
    "hymenoptera": "photographs.load('hymenoptera', 'train')",
}


def comes_as_tensor(name: str, value: object, instead: str = "") -> None:
    """Refuse what is no dense tensor, such as an array, a list or a table.

    Parameters
    ----------
    name
        Of the argument, for the message.
    value
        What came.
    instead
        What else the caller may do, for the end of the message.

    Raises
    ------
    TypeError
        Says what came, and how it becomes a tensor.

    Examples
    --------
    >>> comes_as_tensor("x_target", torch.zeros(3, 2))
    """
    for end in [f", or {instead}" if instead else ""]:
        if isinstance(value, Tensor) and value.layout != torch.strided:
            raise TypeError(f"{name} is a sparse tensor; expected a dense one: {name}.to_dense()")
        if isinstance(value, np.ndarray):
            raise TypeError(f"{name} is a numpy.ndarray; expected a tensor: torch.from_numpy({name}){end}")
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name} is of type {type(value).__module__.split('.')[0]}.{type(value).__name__}; expected "
                f"a tensor: torch.tensor(...) of a list, torch.from_numpy(...) of an array{end}"
            )


def is_real_number(name: str, value: object, such_as: str) -> None:
    """Refuse what is no single real number, such as None or a string; tensors of one entry pass.

    Raises
    ------
    TypeError
        Says what came and what was expected.

    Examples
    --------
    >>> is_real_number("ridge", 0.1, "0 or a positive number")
    """
    if isinstance(value, Tensor):
        if value.numel() == 1 and not value.is_complex():
            return
        raise TypeError(f"{name} is a tensor of shape {tuple(value.shape)}; expected one number, {such_as}")
    if not isinstance(value, numbers.Real) and not (
        isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "biuf"
    ):
        raise TypeError(f"{name} is {value!r}; expected a number, {such_as}")


def are_bandwidths(bandwidths: object) -> None:
    """Refuse what is no collection of numbers; their signs are left to the caller.

    An iterator, which can be read only once, is not looked into.

    Raises
    ------
    TypeError
        Says what came, and how to write it.

    Examples
    --------
    >>> are_bandwidths([0.5, 1, 2])
    """
    if (
        isinstance(bandwidths, str)
        or not isinstance(bandwidths, Iterable)
        or getattr(bandwidths, "ndim", 1) == 0
    ):
        raise TypeError(
            f"bandwidths is {bandwidths!r}; expected a list of numbers, such as [0.5, 1.0, 2.0], in the "
            "units of the features; mmd2 takes a single one"
        )
    for bandwidth in () if isinstance(bandwidths, Iterator) else bandwidths:
        is_real_number("bandwidth", bandwidth, "such as median_bandwidth(source, target)")


def have_distances(pooled: Tensor, distances: Tensor) -> None:
    """Refuse distances between the rows of `pooled` that over- or underflow.

    Raises
    ------
    ValueError
        Says what happened, and how to rescale the features.

    Examples
    --------
    >>> have_distances(torch.tensor([[0.0], [2.0]]), torch.tensor([2.0]))
    """
    if not torch.isfinite(distances).all():
        raise ValueError(
            f"the examples reach {float(pooled.abs().max()):.3g}, and the squares of their distances "
            "overflow; rescale the features first, for example x / 1e100, and the bandwidth with them"
        )
    if distances.max() == 0 and (pooled != pooled[0]).any():
        raise ValueError(
            "the examples differ by so little that the squares of their distances underflow to 0; rescale "
            "the features first, for example x * 1e100, and the bandwidth with them"
        )


def can_be_squared(largest: float, dtype: torch.dtype) -> None:
    """Refuse examples whose squared distances in units of the bandwidth leave the range of `dtype`.

    Raises
    ------
    ValueError
        Says how large they are.

    Examples
    --------
    >>> can_be_squared(4.0, torch.float64)
    """
    if not largest < torch.finfo(dtype).max / 8:
        raise ValueError(
            f"measured in bandwidths, the squared examples reach {largest:.3g}, and their distances overflow "
            f"{dtype}. Give a bandwidth in the units of the features: median_bandwidth(source, target)"
        )


def stays_in_range(what: str, values: Tensor) -> None:
    """Refuse a result that over- or underflowed on the way.

    Raises
    ------
    ValueError
        Says how to rescale the features.

    Examples
    --------
    >>> stays_in_range("covariance of x_source", torch.tensor([1.0, 2.0]))
    """
    if not torch.isfinite(values).all():
        raise ValueError(
            f"the {what} overflows {values.dtype}: the features are too large; divide both samples by their "
            "largest absolute value first"
        )


def is_generator(generator: object) -> None:
    """Refuse what is no generator of random numbers on the CPU, such as a seed.

    Raises
    ------
    TypeError
        Says what came, and how to make one.
    ValueError
        It is a generator of another device.

    Examples
    --------
    >>> is_generator(torch.Generator())
    """
    if not isinstance(generator, torch.Generator):
        raise TypeError(
            f"generator is {generator!r}; expected a torch.Generator: torch.Generator().manual_seed(0)"
        )
    if generator.device.type != "cpu":
        raise ValueError(
            f"generator draws on {generator.device}; expected one on the CPU: "
            "torch.Generator().manual_seed(0)"
        )


def come_as_table(name: str, x: object, dtype: object) -> None:
    """Refuse what scikit-learn cannot read as finite numbers of `dtype`, one row per example; None passes.

    Raises
    ------
    ValueError
        There is no row, an entry is not finite or no number, or the shape is wrong; names the argument.
    TypeError
        It is a sparse matrix, or a tensor that NumPy cannot read.

    Examples
    --------
    >>> come_as_table("x_target", [[0.0, 1.0]], np.float64)
    """
    from sklearn.utils.validation import check_array  # only the estimators need it

    if x is None:
        return
    if isinstance(x, Tensor) and (x.requires_grad or x.device.type != "cpu" or x.dtype == torch.bfloat16):
        raise TypeError(
            f"{name} is a tensor that NumPy cannot read (device {x.device}, {x.dtype}, with"
            f"{'' if x.requires_grad else 'out'} gradient); give {name}.detach().float().cpu().numpy()"
        )
    try:
        for found in [check_array(x, dtype=dtype, ensure_min_samples=0, input_name=name)]:
            if len(found) == 0:
                raise ValueError(
                    f"{name} has 0 examples; expected at least 1, better hundreds: unlabelled examples of "
                    "the target. Is a filter too strict?"
                )
    except ValueError as error:
        if str(error).startswith(f"{name} has 0 examples"):
            raise
        raise ValueError(
            f"{name} is no table of finite numbers with one row per example; repair or drop what is in the "
            f"way. scikit-learn says: {error}"
        ) from error


def are_class_indices(labels: object, values: Tensor, name: str) -> None:
    """Refuse labels that cannot be used as indices, or lie on another device than `values`.

    Parameters
    ----------
    labels
        One class index per row.
    values
        What belongs to the rows.
    name
        What `values` are, for the message.

    Raises
    ------
    TypeError
        They are no tensor, or not of a type that can be an index: floats, booleans, bytes.
    ValueError
        They lie on another device.

    Examples
    --------
    >>> are_class_indices(torch.tensor([0, 1]), torch.eye(2), "features")
    """
    comes_as_tensor("labels", labels)
    if labels.dtype not in (torch.int64, torch.int32):
        raise TypeError(
            f"labels hold {labels.dtype}; expected class indices, 0, 1, …, as torch.int64: use .long()"
        )
    if labels.device != values.device:
        raise ValueError(
            f"labels are on {labels.device} and {name} on {values.device}; move one of them with .to(...)"
        )


def not_only_zeros(name: str, values: Tensor) -> None:
    """Refuse values that are all 0, or so small that their squares are.

    Raises
    ------
    ValueError
        Says what to look for.

    Examples
    --------
    >>> not_only_zeros("features", torch.eye(2))
    """
    if values.double().square().max() == 0:
        raise ValueError(
            f"the largest of the {name} is {float(values.abs().max()):.3g}, and its square 0: they say "
            "nothing about the labels. Has the network died? If they are only small, divide by .abs().max()"
        )


def is_positive_precision(alpha: float, beta: float) -> None:
    """Refuse a fixed-point iteration of the log evidence that has left the positive numbers.

    Raises
    ------
    ValueError
        Says why that happens, and that the scale of the features may be changed.

    Examples
    --------
    >>> is_positive_precision(1.0, 2.0)
    """
    if not (0 < alpha < math.inf and 0 < beta < math.inf):
        raise ValueError(
            f"the steps towards the largest evidence ended at α = {alpha:.3g} and β = {beta:.3g}: the "
            "features are too large for them. Divide by features.abs().max(): the evidence stays the same"
        )


def is_read_as_images(name: object) -> None:
    """Refuse the name of a data set that another module reads.

    Raises
    ------
    ValueError
        Says the call that reads it.

    Examples
    --------
    >>> is_read_as_images("mnist")
    """
    for known, call in READ_ELSEWHERE.items():
        if isinstance(name, str) and name.lower().replace("-", "_") == known:
            raise ValueError(
                f"{name!r} is no data set of equally large images, which `datasets` reads; load it with "
                f"{call}, after `from tlutils import {call.split('.')[0]}`"
            )
