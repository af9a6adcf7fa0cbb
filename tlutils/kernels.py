"""Sums of a Gaussian kernel over all pairs of two samples, block by block, with their gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from tlutils import guards

__all__ = [
    "BLOCK_SIZE",
    "KernelMmd2",
    "blocks",
    "centred",
    "check_bandwidths",
    "check_samples",
    "squared_distances",
    "wide_type",
]

BLOCK_SIZE = 1024  # a block of the kernel matrix, 4 MiB in float32, stays in a processor's cache
MAX_ERROR = 1e-6  # of a squared distance in units of σ²; beyond it, float32 gives way to float64


def _check_sample(name: str, x: Tensor, num_needed: int) -> None:
    """Raise unless `x` is a matrix of finite floating-point numbers with enough rows."""
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}; expected one row per example and at least one feature "
            "(flatten images with .flatten(1))"
        )
    if not x.is_floating_point():
        raise TypeError(f"{name} holds {x.dtype}; expected floating-point numbers: convert with .float()")
    if len(x) < num_needed:
        why = ": the unbiased estimate has no pair of different examples" if len(x) == 1 else ""
        raise ValueError(f"{name} has {len(x)} examples; expected at least {num_needed}{why}")
    if x.device.type != "meta" and not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x)).any(dim=1).sum())
        raise ValueError(f"{name} has NaN or infinite values in {bad} of {len(x)} rows; repair or drop them")


def check_samples(num_needed: int = 1, **samples: Tensor) -> None:
    """Raise unless the samples, given by name, can be compared: one device, dtype and number of features.

    Raises
    ------
    ValueError
        If devices or numbers of features differ, a sample is no matrix, has fewer than `num_needed` rows, or
        a value is not finite.
    TypeError
        If a sample is no tensor or does not hold floating-point numbers, or the types differ.
    """
    first, x = next(iter(samples.items()))
    for name, other in samples.items():
        guards.comes_as_tensor(name, other, "use CoralTransformer / WeightedClassifier, which take arrays")
        if other.device != x.device:
            raise ValueError(
                f"{first} is on {x.device} and {name} on {other.device}; move one of them with .to(...)"
            )
    for name, sample in samples.items():
        _check_sample(name, sample, num_needed)
    for name, other in samples.items():
        if other.shape[1] != x.shape[1]:
            raise ValueError(
                f"{first} has {x.shape[1]} features and {name} {other.shape[1]}; expected the same number"
            )
        if other.dtype != x.dtype:
            raise TypeError(f"{first} is {x.dtype} and {name} {other.dtype}; convert one of them")


def check_bandwidths(bandwidths: Sequence[float | int]) -> tuple[float, ...]:
    """Return the bandwidths as numbers.

    Raises
    ------
    TypeError
        If they are no list of numbers.
    ValueError
        If there is none, or one is not positive and finite.
    """
    guards.are_bandwidths(bandwidths)
    found = tuple(float(bandwidth) for bandwidth in bandwidths)
    if not found or not all(0 < bandwidth < math.inf for bandwidth in found):
        shown = found[0] if len(found) == 1 else [*found]
        raise ValueError(f"bandwidth is {shown}; expected positive, such as median_bandwidth(source, target)")
    return found


def wide_type(device: torch.device) -> torch.dtype:
    """Return the type for sums over many pairs; Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def centred(samples: Sequence[Tensor], unit: float) -> list[Tensor]:
    """Return the samples without their common mean, in units of `unit`, in a type that is exact enough.

    Squared distances come from ‖a‖² + ‖b‖² − 2a·b, which loses about ε·max‖a‖² to rounding. Only the
    differences of examples count, so that the mean may go; what remains decides the type.

    Raises
    ------
    ValueError
        If squared distances leave the range of the type, since `unit` is tiny beside them.
    """
    wide = wide_type(samples[0].device)
    centre = torch.cat([x.detach() for x in samples]).to(wide).mean(dim=0)
    exact = [(x.detach().to(wide) - centre) / unit for x in samples]
    largest = max(float(x.square().sum(dim=1).max()) for x in exact)
    guards.can_be_squared(largest, wide)
    is_tame = largest * torch.finfo(torch.float32).eps < MAX_ERROR
    dtype = torch.float32 if is_tame and samples[0].dtype != torch.float64 else wide
    return [x.to(dtype) for x in exact]


def squared_distances(a: Float[Tensor, "n d"], b: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Return ‖aᵢ − bⱼ‖² without an n × m × d array."""
    norms_a, norms_b = a.square().sum(dim=1, keepdim=True), b.square().sum(dim=1)
    return torch.addmm(norms_b, a, b.T, alpha=-2).add_(norms_a).clamp_(min=0)


def blocks(num_rows: int, block_size: int) -> Iterator[slice]:
    """Yield slices that cut `num_rows` rows into blocks."""
    for start in range(0, num_rows, block_size):
        yield slice(start, min(start + block_size, num_rows))


def _pair_sum(
    a: Tensor, b: Tensor, weight: float, bandwidths: Sequence[float], block_size: int, gradients: list[Tensor]
) -> Tensor:
    """Return `weight` times the sum of k(aᵢ, bⱼ) over all i and j, or over i ≠ j where `b` is `a`.

    `gradients`, where it is not empty, holds the two arrays to which the derivatives by `a` and by `b` are
    added: ∂k(a, b)/∂a = s (b − a) with the slope s = k(a, b)/σ².
    """
    is_same = a is b
    total = a.new_zeros((), dtype=wide_type(a.device))
    for rows in blocks(len(a), block_size):
        for columns in blocks(len(b), block_size):
            if is_same and columns.start < rows.start:
                continue  # k(a, b) = k(b, a): the block beyond the diagonal counts twice instead
            share = weight / len(bandwidths) * (2 if is_same and columns.start > rows.start else 1)
            squares = squared_distances(a[rows], b[columns])
            if is_same and columns.start == rows.start:
                squares.fill_diagonal_(math.inf)  # k = 0: an example is not its own pair
            slopes = torch.zeros_like(squares) if gradients else None
            for bandwidth in bandwidths:
                kernel = torch.mul(squares, -0.5 / bandwidth**2).exp_()
                total += kernel.sum(dtype=total.dtype) * share
                if slopes is not None:
                    slopes.add_(kernel, alpha=share / bandwidth**2)
            if slopes is not None:
                gradients[0][rows] += slopes @ b[columns] - slopes.sum(dim=1)[:, None] * a[rows]
                gradients[1][columns] += slopes.T @ a[rows] - slopes.sum(dim=0)[:, None] * b[columns]
    return total


class KernelMmd2(torch.autograd.Function):
    """The squared MMD block by block, with its gradient found in the same pass.

    Automatic differentiation would keep every block until the backward pass, and so the whole kernel matrix;
    the gradient is no larger than the samples.
    """

    @staticmethod
    def forward(ctx, x_source, x_target, bandwidths, is_unbiased, block_size):
        """Return the estimate and keep its gradient by both samples."""
        unit = min(bandwidths)
        scaled = [bandwidth / unit for bandwidth in bandwidths]
        # The matrix products of an autocast region have too few digits for a difference of near equals.
        with torch.autocast(x_source.device.type, enabled=False):
            x, y = centred([x_source, x_target], unit)
            n, m = len(x), len(y)
            by_x, by_y = torch.zeros_like(x), torch.zeros_like(y)
            weights = (1 / (n * (n - 1)), 1 / (m * (m - 1))) if is_unbiased else (1 / n**2, 1 / m**2)
            total = x.new_zeros((), dtype=wide_type(x.device))
            parts = (
                (x, x, weights[0], by_x, by_x),
                (y, y, weights[1], by_y, by_y),
                (x, y, -2 / (n * m), by_x, by_y),
            )
            for a, b, weight, by_a, by_b in parts:
                gradients = [by_a, by_b] if any(ctx.needs_input_grad[:2]) else []
                total += _pair_sum(a, b, weight, scaled, block_size, gradients)
            if not is_unbiased:
                total += 1 / n + 1 / m  # k(x, x) = 1 for n of the n² pairs, and for m of the m²
        ctx.save_for_backward((by_x / unit).to(x_source.dtype), (by_y / unit).to(x_source.dtype))
        return total.to(x_source.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, by_result):
        """Scale the gradient that was kept."""
        by_source, by_target = ctx.saved_tensors
        return by_result * by_source, by_result * by_target, None, None, None
