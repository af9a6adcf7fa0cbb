"""What transfers: features. Measures of how far two sets of features are apart, and maps between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tlutils import guards
from tlutils.coral import coral_distance, coral_map, deep_coral_loss, gaussian_transport_map
from tlutils.kernels import (
    BLOCK_SIZE,
    KernelMmd2,
    blocks,
    centred,
    check_bandwidths,
    check_samples,
    squared_distances,
    wide_type,
)

__all__ = [
    "MmdTest",
    "coral_distance",
    "coral_map",
    "deep_coral_loss",
    "gaussian_transport_map",
    "median_bandwidth",
    "mmd2",
    "mmd_test",
    "multi_kernel_mmd2",
    "witness",
]


class MmdTest(NamedTuple):
    """The result of a permutation test.

    Attributes
    ----------
    mmd2
        The unbiased estimate of the squared MMD of the two samples.
    p_value
        Probability, if both samples come from one distribution, of an estimate at least this large; in
        [1 / (num_permutations + 1), 1].
    null
        The estimates after each permutation, float64, on the CPU.
    """

    mmd2: float
    p_value: float
    null: Float[Tensor, " num_permutations"]


def mmd2(
    x_source: Float[Tensor, "n_source num_features"],
    x_target: Float[Tensor, "n_target num_features"],
    *,
    bandwidth: float | int,
    is_unbiased: bool = True,
    block_size: int = BLOCK_SIZE,
) -> Float[Tensor, ""]:
    r"""Estimate the squared maximum mean discrepancy of two samples with a Gaussian kernel.

    .. math:: \widehat{\mathrm{MMD}}{}^2 = \operatorname*{mean}_{i \ne j} k(x_i, x_j)
        + \operatorname*{mean}_{i \ne j} k(y_i, y_j) - 2 \operatorname*{mean}_{i, j} k(x_i, y_j),
        \qquad k(x, x') = \exp\Bigl(-\frac{\lVert x - x' \rVert^2}{2\sigma^2}\Bigr)

    Here x are source and y target examples. The biased estimate takes the pairs i = j into the two means.

    Parameters
    ----------
    x_source, x_target
        One row per example, at least two rows each (one when biased); same dtype and device.
    bandwidth
        The σ above, positive, in the units of the features. See `median_bandwidth`.
    is_unbiased
        Leave out the pairs of an example with itself. The estimate can then be negative: its mean over
        samples of one distribution is 0.
    block_size
        Rows and columns of the kernel matrix that are computed at a time, at least 1.

    Returns
    -------
    Scalar, same dtype and device as the inputs, dimensionless; differentiable in both samples, once.

    Raises
    ------
    ValueError
        If shapes or devices do not fit, a sample is too small or not finite, `bandwidth` or `block_size` is
        not positive, or the samples lie more than about 1e153 bandwidths apart.
    TypeError
        If the samples are no tensors of floating-point numbers of one type, `bandwidth` is no number, or
        `block_size` is no whole number.

    Notes
    -----
    Time O((n_source + n_target)² num_features); memory O(block_size² + the size of the samples), also with a
    gradient. The examples are centred first, distances are computed in float32 where that is exact to about
    1e-6 of σ² and in float64 elsewhere (many dimensions with a narrow kernel, outliers), and sums in float64.
    The biased estimate is never negative; its mean is positive even for two samples of one distribution.

    Source
    ------
    Gretton et al., "A kernel two-sample test", JMLR 13 (2012) 723-773: Lemma 6 and equation (3), unbiased;
    equation (5), biased.

    Examples
    --------
    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]])
    >>> mmd2(x, y, bandwidth=1.0)  # 2e^(-1/2) - (e^(-1/2) + 2e^(-2) + e^(-9/2)) / 2
    tensor(0.7689)
    >>> mmd2(x, y, bandwidth=1.0, is_unbiased=False)
    tensor(1.1624)
    """
    return _estimate(x_source, x_target, [bandwidth], is_unbiased, block_size)


def multi_kernel_mmd2(
    x_source: Float[Tensor, "n_source num_features"],
    x_target: Float[Tensor, "n_target num_features"],
    *,
    bandwidths: Sequence[float | int],
    is_unbiased: bool = True,
    block_size: int = BLOCK_SIZE,
) -> Float[Tensor, ""]:
    r"""Estimate the squared maximum mean discrepancy with the mean of several Gaussian kernels.

    .. math:: k(x, x') = \frac1U \sum_{u=1}^{U} \exp\Bigl(-\frac{\lVert x - x' \rVert^2}{2\sigma_u^2}\Bigr)

    Parameters
    ----------
    x_source, x_target, is_unbiased, block_size
        As in `mmd2`.
    bandwidths
        The σ above, positive. A common choice is the median times ¼, ½, 1, 2 and 4.

    Returns
    -------
    The mean of `mmd2` over the bandwidths; the distances are computed once for all of them.

    Raises
    ------
    ValueError
        As in `mmd2`, or if there is no bandwidth.
    TypeError
        As in `mmd2`.

    Notes
    -----
    A mean of kernels is a kernel, and it is characteristic because one of them is. Long et al. choose the
    weights of the kernels by a quadratic programme; here, as in most programmes since, they are equal.

    Source
    ------
    Long, Cao, Wang, Jordan, "Learning transferable features with deep adaptation networks", ICML (2015),
    section 3.

    Examples
    --------
    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]])
    >>> mmd2(x, y, bandwidth=1), mmd2(x, y, bandwidth=2), multi_kernel_mmd2(x, y, bandwidths=[1, 2])
    (tensor(0.7689), tensor(0.5549), tensor(0.6619))
    """
    return _estimate(x_source, x_target, bandwidths, is_unbiased, block_size)


def _estimate(
    x_source: Tensor, x_target: Tensor, bandwidths: Sequence[float], is_unbiased: bool, block_size: int
) -> Tensor:
    """Check the arguments and estimate."""
    check_samples(2 if is_unbiased else 1, x_source=x_source, x_target=x_target)
    found = check_bandwidths(bandwidths)
    guards.is_whole("block_size", block_size, 0)
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}; expected at least 1, such as {BLOCK_SIZE}")
    return KernelMmd2.apply(x_source, x_target, found, is_unbiased, block_size)


def median_bandwidth(
    x_source: Float[Tensor, "n_source num_features"],
    x_target: Float[Tensor, "n_target num_features"],
    *,
    num_examples: int = 1000,
) -> float:
    r"""Return the median distance between two examples of the pooled sample: the median heuristic for σ.

    .. math:: \sigma = \operatorname{median}\{\lVert z_i - z_j \rVert : i < j,\ z_i \ne z_j\}

    Parameters
    ----------
    x_source, x_target
        One row per example, at least one each.
    num_examples
        Of a larger sample at most so many rows, at equal steps, are used; at least 1.

    Returns
    -------
    A positive number in the units of the features. No gradient flows through it.

    Raises
    ------
    ValueError
        If all distances are zero, one overflows, `num_examples` is below 1, or the samples do not fit (as in
        `mmd2`).
    TypeError
        As in `mmd2`, or if `num_examples` is no whole number.

    Notes
    -----
    Pairs at distance zero, which copies of an example make, tell nothing about scale and are left out. The
    pooled sample does not know which example came from where, so that a permutation test stays exact with
    this σ as long as every row is used (up to `num_examples` per domain; beyond that nearly). With a σ that
    was chosen because the two samples then differ most, it does not.

    Source
    ------
    Gretton et al., "A kernel two-sample test", JMLR 13 (2012), use it without a derivation: it is a rule
    of thumb. See the chapter `mmd` for a case in which it fails.

    Examples
    --------
    >>> median_bandwidth(torch.tensor([[0.0], [1.0]]), torch.tensor([[5.0]]))  # distances 1, 4, 5
    4.0
    """
    check_samples(1, x_source=x_source, x_target=x_target)
    guards.is_whole("num_examples", num_examples, 0)
    if num_examples < 1:
        raise ValueError(f"num_examples is {num_examples}; expected at least 1")
    chosen = [x.detach()[:: math.ceil(len(x) / num_examples)] for x in (x_source, x_target)]
    pooled = torch.cat(chosen)
    # Differences rather than matrix products: copies of an example are at distance zero exactly.
    distances = torch.pdist(pooled.to(wide_type(pooled.device)))
    guards.have_distances(pooled, distances)
    distances = distances[distances > 0]
    if len(distances) == 0:
        raise ValueError(
            f"all distances between the {len(pooled)} examples are zero: they are copies of one example and "
            "set no scale. Are the features constant? Otherwise give a bandwidth yourself"
        )
    return float(distances.quantile(0.5))


def witness(
    points: Float[Tensor, "num_points num_features"],
    x_source: Float[Tensor, "n_source num_features"],
    x_target: Float[Tensor, "n_target num_features"],
    *,
    bandwidth: float | int,
    block_size: int = BLOCK_SIZE,
) -> Float[Tensor, " num_points"]:
    r"""Return the witness function at `points`: where source examples are denser than target examples.

    .. math:: f(t) = \frac1{n_S} \sum_i k(x_i, t) - \frac1{n_T} \sum_j k(y_j, t)

    Divided by the biased estimate of the MMD it is the function of norm 1 whose means over the two samples
    differ most.

    Parameters
    ----------
    points
        Where to evaluate, one row per point.
    x_source, x_target, bandwidth
        As in `mmd2`, at least one row each.
    block_size
        Points that are computed at a time, at least 1.

    Returns
    -------
    Values in [-1, 1], same dtype and device; positive where the source is denser. No gradient.

    Raises
    ------
    ValueError
        As in `mmd2`.
    TypeError
        As in `mmd2`.

    Source
    ------
    Gretton et al., "A kernel two-sample test", JMLR 13 (2012), who introduce it.

    Examples
    --------
    >>> witness(torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0]]), torch.tensor([[2.0]]), bandwidth=1.0)
    tensor([ 0.8647, -0.8647])
    """
    check_samples(1, x_source=x_source, x_target=x_target, points=points)
    (unit,) = check_bandwidths([bandwidth])
    guards.is_whole("block_size", block_size, 0)
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}; expected at least 1, such as {BLOCK_SIZE}")
    z, x, y = centred([points, x_source, x_target], unit)
    means = [
        torch.cat(
            [
                squared_distances(z[rows], a).mul_(-0.5).exp_().mean(dim=1)
                for rows in blocks(len(z), block_size)
            ]
        )
        for a in (x, y)
    ]
    return (means[0] - means[1]).to(points.dtype)


def mmd_test(
    x_source: Float[Tensor, "n_source num_features"],
    x_target: Float[Tensor, "n_target num_features"],
    *,
    bandwidth: float | int,
    generator: torch.Generator,
    num_permutations: int = 999,
) -> MmdTest:
    r"""Test by permutation whether two samples can come from one distribution.

    .. math:: p = \frac{1 + \#\{b : T_b \ge T\}}{1 + B}, \qquad T = \widehat{\mathrm{MMD}}{}^2

    T_b is the estimate after dealing the pooled examples anew into two samples of the same sizes.

    Parameters
    ----------
    x_source, x_target, bandwidth
        As in `mmd2`, at least two rows each.
    generator
        Draws the permutations, on the CPU. Take the one from which the data were drawn, or one with another
        seed: with the same seed the permutations would depend on the data.
    num_permutations
        B above, at least 1. The smallest p-value that can come out is 1 / (B + 1).

    Raises
    ------
    ValueError
        As in `mmd2`, if `num_permutations` is below 1, or the generator is not on the CPU.
    TypeError
        As in `mmd2`, or if `generator` is no generator or `num_permutations` no whole number.

    Notes
    -----
    Exact for any sample size: if both samples come from one distribution, P(p ≤ α) ≤ α. The `bandwidth` must
    not have been chosen by looking at which example comes from where; `median_bandwidth` of the same samples
    may be used (see there). Time O(N² (num_features + num_permutations)), N = n_source + n_target; memory
    O(N · num_permutations).

    Source
    ------
    Phipson, Smyth, "Permutation p-values should never be zero", Statistical Applications in Genetics and
    Molecular Biology 9 (2010), for the p-value; the sums over permutations are derived in the chapter `mmd`.

    Examples
    --------
    >>> x = torch.arange(10.0)[:, None]
    >>> mmd_test(x, x + 20, bandwidth=10.0, generator=torch.Generator().manual_seed(0)).p_value
    0.001
    """
    check_samples(2, x_source=x_source, x_target=x_target)
    (unit,) = check_bandwidths([bandwidth])
    guards.is_whole("num_permutations", num_permutations, 0)
    guards.is_generator(generator)
    if num_permutations < 1:
        raise ValueError(f"num_permutations is {num_permutations}; expected at least 1, better 999")
    n, m = len(x_source), len(x_target)
    pooled = torch.cat(centred([x_source, x_target], unit))
    # Column 0 deals the examples as they came; the others deal them anew.
    order = torch.rand(num_permutations, n + m, generator=generator, dtype=torch.float64).argsort(dim=1)
    is_source = torch.zeros(n + m, num_permutations + 1, dtype=torch.bool)
    is_source[:n, 0] = True
    is_source[:, 1:].T.scatter_(1, order[:, :n], True)
    estimates = _dealt_mmd2(pooled, is_source.to(pooled.device), n, m).cpu()
    # Equal splits must compare equal in spite of rounding.
    num_as_large = int((estimates[1:] >= estimates[0] - 1e-12).sum())
    return MmdTest(float(estimates[0]), (1 + num_as_large) / (1 + num_permutations), estimates[1:])


def _dealt_mmd2(
    pooled: Float[Tensor, "total num_features"], is_source: Bool[Tensor, "total num_deals"], n: int, m: int
) -> Float[Tensor, " num_deals"]:
    """Return the unbiased estimate (σ = 1) for every way to deal the pooled examples into two samples.

    With s the 0-1 column of a deal and K the kernel matrix with an empty diagonal, the sums over pairs are
    sᵀKs within the source, sᵀK1 − sᵀKs across, and the rest of 1ᵀK1 within the target.
    """
    deals = is_source.to(wide_type(pooled.device))
    within, touching, total = deals.new_zeros(deals.shape[1]), deals.new_zeros(deals.shape[1]), 0.0
    for rows in blocks(len(pooled), BLOCK_SIZE):
        kernel = squared_distances(pooled[rows], pooled).mul_(-0.5).exp_().to(deals.dtype)
        kernel[:, rows].fill_diagonal_(0)
        within += (deals[rows] * (kernel @ deals)).sum(dim=0)
        touching += kernel.sum(dim=1) @ deals[rows]
        total += float(kernel.sum())
    across = touching - within
    return within / (n * (n - 1)) + (total - within - 2 * across) / (m * (m - 1)) - 2 * across / (n * m)
