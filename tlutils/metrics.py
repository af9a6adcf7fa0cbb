"""Measures of a classifier and of the gap between two domains. Pure functions of tensors."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

__all__ = ["accuracy", "confusion_matrix"]


def _check_pair(predictions: Tensor, labels: Tensor) -> None:
    """Raise ValueError unless both are one-dimensional, equally long and not empty."""
    if predictions.shape != labels.shape or predictions.ndim != 1:
        raise ValueError(
            f"predictions have shape {tuple(predictions.shape)} and labels {tuple(labels.shape)}; "
            "expected two vectors of one length (class indices, not logits: use logits.argmax(dim=1))"
        )
    if len(labels) == 0:
        raise ValueError("received 0 predictions; expected at least one")


def accuracy(predictions: Int[Tensor, " n"], labels: Int[Tensor, " n"]) -> float:
    """Return the share of predictions that equal their label, in [0, 1].

    Raises
    ------
    ValueError
        If the shapes differ or there is nothing to compare.

    Examples
    --------
    >>> accuracy(torch.tensor([0, 1, 1, 2]), torch.tensor([0, 1, 2, 2]))
    0.75
    """
    _check_pair(predictions, labels)
    return (predictions == labels).double().mean().item()


def confusion_matrix(
    predictions: Int[Tensor, " n"], labels: Int[Tensor, " n"], num_classes: int
) -> Int[Tensor, "num_classes num_classes"]:
    """Count examples by true class (row) and predicted class (column).

    Raises
    ------
    ValueError
        If the shapes differ, there is nothing to count, or an index is not in 0 … num_classes − 1.

    Examples
    --------
    >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), num_classes=2).tolist()
    [[1, 1], [0, 1]]
    """
    _check_pair(predictions, labels)
    largest = max(int(predictions.max()), int(labels.max()))
    if largest >= num_classes or min(int(predictions.min()), int(labels.min())) < 0:
        raise ValueError(f"class index {largest} found; expected 0 to {num_classes - 1}")
    counts = torch.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return counts.view(num_classes, num_classes)
