"""Second-order alignment: covariances compared, and maps that make one equal to the other."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from tlutils import guards
from tlutils.kernels import check_samples, wide_type

__all__ = ["coral_distance", "coral_map", "deep_coral_loss", "gaussian_transport_map"]


def coral_distance(
    x_source: Float[Tensor, "n_source num_features"], x_target: Float[Tensor, "n_target num_features"]
) -> Float[Tensor, ""]:
    r"""Return the squared Frobenius distance of the two covariance matrices.

    .. math:: \lVert C_S - C_T \rVert_F^2, \qquad
        C = \frac1{n - 1} \sum_i (x_i - \bar x)(x_i - \bar x)^\top

    Parameters
    ----------
    x_source, x_target
        One row per example, at least two rows each; same dtype and device.

    Returns
    -------
    Scalar ≥ 0, same dtype and device, in the unit of the features to the fourth power; differentiable in
    both samples.

    Raises
    ------
    ValueError
        If shapes or devices do not fit, a sample has fewer than two rows or is not finite.
    TypeError
        If the samples are no tensors of floating-point numbers of one type.

    Notes
    -----
    Time O((n_source + n_target) num_features²), memory O(num_features²). Covariances are computed in float64;
    the result must fit into the dtype of the samples. Blind to the means.

    Source
    ------
    Sun, Feng, Saenko, "Return of frustratingly easy domain adaptation", AAAI (2016): the objective for the
    identity map.

    Examples
    --------
    >>> x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [4.0]])
    >>> coral_distance(x, y)  # variances 2 and 8
    tensor(36.)
    """
    _check(x_source, x_target)
    gap = _covariance(x_source) - _covariance(x_target)
    return gap.square().sum().to(x_source.dtype)


def deep_coral_loss(
    x_source: Float[Tensor, "n_source num_features"], x_target: Float[Tensor, "n_target num_features"]
) -> Float[Tensor, ""]:
    r"""Return the loss of Deep CORAL.

    .. math:: \frac1{4 d^2} \lVert C_S - C_T \rVert_F^2, \qquad
        \frac{\partial}{\partial x_i} = \frac1{d^2 (n_S - 1)} (C_S - C_T)(x_i - \bar x)

    Parameters
    ----------
    x_source, x_target
        Features of a batch of each domain, d columns; as in `coral_distance`.

    Returns
    -------
    Scalar ≥ 0, same dtype and device; differentiable in both samples.

    Raises
    ------
    ValueError
        As in `coral_distance`.
    TypeError
        As in `coral_distance`.

    Source
    ------
    Sun, Saenko, "Deep CORAL: correlation alignment for deep domain adaptation", ECCV workshops (2016); the
    gradient: own derivation, see the chapter `coral`.

    Examples
    --------
    >>> x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [4.0]])
    >>> deep_coral_loss(x, y)  # 36 / 4
    tensor(9.)
    """
    _check(x_source, x_target)
    gap = _covariance(x_source) - _covariance(x_target)
    return (gap.square().sum() / (4 * x_source.shape[1] ** 2)).to(x_source.dtype)


def coral_map(
    x_source: Float[Tensor, "n_source num_features"],
    x_target: Float[Tensor, "n_target num_features"],
    *,
    ridge: float | int = 1.0,
) -> Float[Tensor, "num_features num_features"]:
    r"""Return the matrix that whitens the source and colours it like the target.

    .. math:: A = (C_T + \lambda I)^{1/2} (C_S + \lambda I)^{-1/2},
        \qquad A\,(C_S + \lambda I)\,A^\top = C_T + \lambda I

    Apply it to rows as ``x_source @ A.T``.

    Parameters
    ----------
    x_source, x_target
        As in `coral_distance`.
    ridge
        λ above, at least 0, in squared units of the features. 1 suits features of variance 1; 0 is possible
        where the covariance of the source has full rank.

    Returns
    -------
    A, same dtype and device. No gradient flows through it.

    Raises
    ------
    ValueError
        As in `coral_distance`; if `ridge` is negative or not finite; if it is 0 (or too small to count) and
        the covariance of the source is singular; if a covariance overflows.
    TypeError
        As in `coral_distance`, or if `ridge` is no number.

    Notes
    -----
    Time O((n_source + n_target) num_features² + num_features³), memory O(num_features²); in float64. With a
    ridge the covariance of the mapped source is only near that of the target. A turns and stretches about the
    origin: give it centred features, or move the means yourself.

    Source
    ------
    Sun, Feng, Saenko, "Return of frustratingly easy domain adaptation", AAAI (2016), algorithm 1, where rows
    are multiplied from the right and λ is 1.

    Examples
    --------
    >>> x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [4.0]])
    >>> coral_map(x, y, ridge=0)  # standard deviations √2 and √8
    tensor([[2.]])
    >>> coral_map(x, y, ridge=1)  # √(9 / 3)
    tensor([[1.7321]])
    """
    _check(x_source, x_target, ridge)
    inverse_root = _power(x_source, ridge, -0.5)
    return (_power(x_target, ridge, 0.5) @ inverse_root).to(x_source)


def gaussian_transport_map(
    x_source: Float[Tensor, "n_source num_features"],
    x_target: Float[Tensor, "n_target num_features"],
    *,
    ridge: float | int = 1.0,
) -> Float[Tensor, "num_features num_features"]:
    r"""Return the matrix that carries one normal distribution into the other and moves it least.

    .. math:: T = S^{-1/2} (S^{1/2}\, R\, S^{1/2})^{1/2} S^{-1/2},
        \qquad S = C_S + \lambda I, \quad R = C_T + \lambda I, \qquad T S T = R

    Of all A with A S Aᵀ = R, among them `coral_map`, it has the smallest mean squared displacement
    E ‖A x − x‖². Apply it to rows as ``x_source @ T.T``.

    Parameters
    ----------
    x_source, x_target, ridge
        As in `coral_map`.

    Returns
    -------
    T, symmetric, same dtype and device. No gradient flows through it.

    Raises
    ------
    ValueError
        As in `coral_map`.
    TypeError
        As in `coral_map`.

    Source
    ------
    Own derivation, see the chapter `coral`; Peyré, Cuturi, "Computational optimal transport", Foundations and
    Trends in Machine Learning 11 (2019), remark on Gaussians.

    Examples
    --------
    >>> x, y = torch.tensor([[0.0], [2.0]]), torch.tensor([[0.0], [4.0]])
    >>> gaussian_transport_map(x, y, ridge=0)  # in one dimension there is one map with a positive slope
    tensor([[2.]])
    """
    _check(x_source, x_target, ridge)
    root, inverse_root = _power(x_source, ridge, 0.5), _power(x_source, ridge, -0.5)
    target = _covariance(x_target.detach())
    target = target + ridge * torch.eye(len(target), dtype=target.dtype, device=target.device)
    values, vectors = torch.linalg.eigh(root @ target @ root)
    guards.stays_in_range("product of both covariances", values)
    middle = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    found = inverse_root @ middle @ inverse_root
    return ((found + found.T) / 2).to(x_source)


def _check(x_source: Tensor, x_target: Tensor, ridge: float | int = 0) -> None:
    """Raise unless two covariances can be estimated and compared.

    Raises
    ------
    ValueError
        As `coral_map` says.
    TypeError
        As `coral_map` says.
    """
    check_samples(1, x_source=x_source, x_target=x_target)
    for name, x in (("x_source", x_source), ("x_target", x_target)):
        if len(x) < 2:
            raise ValueError(f"{name} has 1 example; expected at least 2, since one example has no spread")
    guards.is_real_number("ridge", ridge, "0 or positive, such as the mean variance of the features")
    if not 0 <= ridge < math.inf:
        raise ValueError(f"ridge is {ridge}; expected 0 or a positive number, such as the mean variance")


def _covariance(x: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """Return the covariance matrix of the rows, in float64 where the device has it."""
    x = x.to(wide_type(x.device))
    x = x - x.mean(dim=0)
    # A matrix product of an autocast region would have too few digits.
    with torch.autocast(x.device.type, enabled=False):
        return x.T @ x / (len(x) - 1)


def _power(x: Float[Tensor, "n d"], ridge: float | int, exponent: float) -> Float[Tensor, "d d"]:
    """Return a power of the covariance of the rows plus the ridge.

    Raises
    ------
    ValueError
        If the exponent is negative and the matrix is singular, or if it overflows.
    """
    values, vectors = torch.linalg.eigh(_covariance(x.detach()))
    guards.stays_in_range("covariance of a sample", values)
    values = values.clamp(min=0) + ridge
    floor = len(values) * torch.finfo(values.dtype).eps * float(values.max())
    if exponent < 0 and float(values.min()) <= floor:
        rank = int((values > floor).sum())
        raise ValueError(
            f"the covariance of x_source is singular: rank {rank} of {len(values)} with {len(x)} examples "
            f"and ridge {ridge}. Give a larger ridge, such as the mean variance of the features, or drop "
            "constant and copied features"
        )
    return (vectors * values**exponent) @ vectors.T
