"""Checks of data, targets and settings of a training."""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tlutils import downloads
from tlutils.files import json_digest

__all__ = [
    "are_domains",
    "are_examples",
    "are_files_and_looks",
    "are_settings",
    "are_target_examples",
    "fits_in_memory",
    "has_every_class",
    "has_its_digest",
    "has_not_diverged",
    "has_the_dtype_of",
    "holds_arrays",
    "is_finite_loss",
    "is_whole",
    "leaves_no_part_empty",
]


def is_whole(name: str, value: object, least: int) -> None:
    """Refuse what is no whole number, or one below `least`.

    Raises
    ------
    TypeError, ValueError
        Says what came, and what was expected.

    Examples
    --------
    >>> is_whole("batch_size", 64, 1)
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} is {value!r}; expected a whole number of at least {least}")
    if value < least:
        raise ValueError(f"{name} is {value}; expected a whole number of at least {least}")


def are_examples(x: object, y: object, num_classes: object) -> None:
    """Refuse arrays and lists for tensors, labels that are no vector, images without a dimension of channels.

    Raises
    ------
    TypeError, ValueError
        Says what came, and how to make of it what was expected.

    Examples
    --------
    >>> are_examples(torch.zeros(3, 2), torch.tensor([0, 1, 1]), 2)
    """
    is_whole("num_classes", num_classes, 2)
    for name, value, cure in (("x", x, "torch.as_tensor(x)"), ("y", y, "torch.as_tensor(y)")):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} is a {type(value).__name__}; expected a tensor: {cure}")
    if y.ndim != 1:
        raise ValueError(f"y has shape {tuple(y.shape)}; expected one class index per example: (n,)")
    if x.ndim == 3:
        raise ValueError(
            f"x has shape {tuple(x.shape)}; expected (n, channels, height, width) or (n, num_features). Grey "
            "images get their one channel by x[:, None], signals a height of one by x[:, :, None]"
        )


def has_every_class(counts: Tensor) -> None:
    """Refuse to draw from classes of which one has no example.

    Raises
    ------
    ValueError
        Names the class.

    Examples
    --------
    >>> has_every_class(torch.tensor([3, 1]))
    """
    if counts.min() == 0:
        raise ValueError(
            f"class {int(counts.argmin())} of {len(counts)} has no example, so that none can be drawn; load "
            "more examples, or leave the class out and number the others anew"
        )


def leaves_no_part_empty(name: str, is_validation: Tensor, fraction: float) -> None:
    """Refuse a share that leaves the training or the validation part of a data set without an image.

    Raises
    ------
    ValueError
        Says which part would be empty.

    Examples
    --------
    >>> leaves_no_part_empty("toy", torch.tensor([True, False]), 0.5)
    """
    if is_validation.all() or not is_validation.any():
        raise ValueError(
            f"with validation_fraction={fraction:g} the "
            f"{'training' if is_validation.any() else 'validation'} part of {name!r} is empty: it has "
            f"{len(is_validation)} images to share out. Take a share in (0, 1), or load more images."
        )


def are_domains(source: object, target: object) -> None:
    """Refuse what is no domain, such as the name of one.

    Raises
    ------
    TypeError
        Says how to load a domain.

    Examples
    --------
    >>> from tlutils.domains import Domain
    >>> digits = Domain.from_dataset("digits8x8", size=8)
    >>> are_domains(digits, digits)
    """
    for name, value in (("source", source), ("target", target)):
        if not hasattr(value, "train") or not hasattr(value, "test"):
            raise TypeError(
                f"{name} is {value!r}; expected a Domain, such as Domain.from_dataset('usps', size=28)"
            )


def are_target_examples(x_target: object, x_source: Tensor) -> None:
    """Refuse targets that are not unlabelled examples of the source's shape; None always passes.

    Raises
    ------
    TypeError, ValueError
        Says what came, and what to pass.

    Examples
    --------
    >>> are_target_examples(torch.zeros(5, 1, 8, 8), torch.zeros(9, 1, 8, 8))
    """
    if x_target is None:
        return
    if not isinstance(x_target, Tensor) or not x_target.is_floating_point():
        raise TypeError(
            f"x_target is {getattr(x_target, 'dtype', type(x_target).__name__)}; expected unlabelled "
            "examples as a tensor of floating-point numbers, such as pair.target.images"
        )
    if x_target.layout != torch.strided:
        raise TypeError("x_target is a sparse tensor; expected a dense one: x_target.to_dense()")
    if len(x_target) == 0 or x_target.shape[1:] != x_source.shape[1:]:
        raise ValueError(
            f"x_target has shape {tuple(x_target.shape)}; expected at least one example of the source's "
            f"shape {tuple(x_source.shape[1:])}. Load both domains with the same size= and channels="
        )
    if not torch.isfinite(x_target).all():
        raise ValueError("x_target holds NaN or infinite values; expected finite numbers")
    if x_target.ndim == 4 and not 0 <= x_target.min() <= x_target.max() <= 1:
        raise ValueError(
            f"the pixels of x_target range from {x_target.min():.3g} to {x_target.max():.3g}; expected "
            "[0, 1]. Divide bytes by 255 (domains.as_images does)"
        )


def are_settings(
    num_steps: object, batch_size: object, seed: object, patience: object, validate_every: object
) -> None:
    """Refuse settings of `training.fit` that are no whole numbers or out of range.

    Raises
    ------
    TypeError, ValueError
        Names the setting.

    Examples
    --------
    >>> are_settings(10, 64, 0, None, None)
    """
    is_whole("num_steps", num_steps, 1)
    is_whole("batch_size", batch_size, 1)
    is_whole("seed", seed, 0)
    if getattr(seed, "itemsize", 8) < 8:
        raise TypeError(f"seed is {seed!r}, which overflows where seeds are multiplied; pass int(seed)")
    for name, value in (("patience", patience), ("validate_every", validate_every)):
        if value is not None:
            is_whole(name, value, 1)


def are_files_and_looks(checkpoint: object, checkpoint_every: object, validation: object) -> None:
    """Refuse a checkpoint that is no path, and validation examples that are none.

    Raises
    ------
    TypeError, ValueError
        Names the setting, and says what was expected.

    Examples
    --------
    >>> are_files_and_looks(None, 200, None)
    """
    is_whole("checkpoint_every", checkpoint_every, 1)
    if checkpoint is not None and not isinstance(checkpoint, Path):
        raise TypeError(f"checkpoint is {checkpoint!r}; expected a pathlib.Path, such as Path('training.pt')")
    if validation is not None and not hasattr(validation, "x"):
        raise TypeError(
            f"validation is a {type(validation).__name__}; expected Labelled examples, such as "
            "domain.validation"
        )


def has_the_dtype_of(model: nn.Module, x: Tensor, error: object = "dtype") -> None:
    """Refuse examples of another floating-point type than the weights, if the network failed for a type.

    Raises
    ------
    ValueError
        Says both, and what to call.

    Examples
    --------
    >>> has_the_dtype_of(nn.Linear(3, 2), torch.zeros(4, 3))
    """
    if "type" not in str(error):  # a wrong shape, say, in a network that casts for itself
        return
    for weights in [p for p in model.parameters() if p.is_floating_point() and p.dtype != x.dtype][:1]:
        raise ValueError(
            f"the examples are {x.dtype} and the network computes in {weights.dtype}; pass "
            f"x.to({weights.dtype})"
        )


def is_finite_loss(loss: Tensor, step: int, groups: Sequence[Mapping[str, Any]]) -> None:
    """Stop before a loss that is no number reaches the weights.

    Raises
    ------
    FloatingPointError
        Says at which step, and what to try; the weights, not the batch statistics, are as before the step.

    Examples
    --------
    >>> is_finite_loss(torch.tensor(0.5), 0, [{"lr": 0.1}])
    """
    if not math.isfinite(loss.item()):
        raise FloatingPointError(
            f"the loss is {loss.item()} at step {step} (learning rates "
            f"{[group['lr'] for group in groups]}). Lower the learning rate, check the inputs for extreme "
            "values, or pass mixed_precision=False. The step was not taken; but batch normalisation has "
            "seen this batch, and the step before may have spoilt the weights: build the network anew."
        )


def fits_in_memory(x: Tensor, device: torch.device) -> None:
    """Refuse data that a GPU's free memory does not hold.

    Raises
    ------
    MemoryError
        Says how much there is, and the way out.

    Examples
    --------
    >>> fits_in_memory(torch.zeros(3), torch.device("cpu"))
    """
    if device.type != "cuda" or x.device.type == "cuda":
        return
    for free in [
        # What PyTorch keeps of earlier cells for reuse is free, too.
        torch.cuda.mem_get_info(device)[0]
        + torch.cuda.memory_reserved(device)
        - torch.cuda.memory_allocated(device)
    ]:
        if x.nbytes > free:
            raise MemoryError(
                f"the {len(x)} training examples take {x.nbytes / 1e9:.2f} GB and {device} has "
                f"{free / 1e9:.2f} GB left. Train on fewer or smaller images (size=), free what earlier "
                "cells hold (restart the kernel), or pass device='cpu'."
            )


def has_not_diverged(fake: Tensor) -> None:
    """Stop a game whose generator makes NaN or infinite examples.

    Raises
    ------
    FloatingPointError
        Says what has happened, and what to try.

    Examples
    --------
    >>> has_not_diverged(torch.zeros(1, 2))
    """
    if not torch.isfinite(fake).all():
        raise FloatingPointError(
            "the generator makes NaN or infinite examples: it has diverged in its last step. Lower its "
            "learning rate, or pass mixed_precision=False."
        )


def has_its_digest(record: object) -> None:
    """Refuse the record of a stored run whose content is not what was stored.

    Raises
    ------
    ValueError
        If its ``"sha256"`` is missing or is not the digest of the rest.

    Examples
    --------
    >>> has_its_digest({"metrics": 1, "sha256": json_digest({"metrics": 1})})
    """
    if not isinstance(record, Mapping) or "sha256" not in record:
        raise ValueError("the record has no SHA-256 of its content")
    if json_digest({key: value for key, value in record.items() if key != "sha256"}) != record["sha256"]:
        raise ValueError("the record does not have its recorded SHA-256")


def holds_arrays(path: Path) -> None:
    """Refuse a prepared file of which a part does not begin as an array of its size does.

    Raises
    ------
    datasets.DatasetError
        Names the file, what was found, and what to do.
    """
    downloads.check_arrays(path)
