"""Solvers behind `instance_based.density_ratio_weights`: four ways to estimate a ratio of two densities.

All of them take samples in float64 on the CPU, in units of a typical distance, and return weights of the
source examples that are not yet divided by their mean.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlutils.kernels import squared_distances

__all__ = ["domain_odds", "fit_kliep", "fit_ulsif", "kernel_mean_matching", "kliep", "ulsif"]

MAX_WEIGHT = 1000.0  # of one example in kernel mean matching
KMM_RIDGE = 0.1  # chosen on Gaussians in 1 to 10 dimensions, where the true ratio is known
NUM_CENTRES = 100  # of the kernels in KLIEP and uLSIF
NUM_FOLDS = 5
BANDWIDTH_FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)  # times the median, tried by cross-validation
RIDGES = (1e-3, 1e-2, 1e-1, 1.0)  # tried by cross-validation for uLSIF


def domain_odds(source: Tensor, target: Tensor, ridge: float, classifier: Any = None) -> np.ndarray:
    """Return the odds of the target, as a classifier of the domain gives them, times n_S / n_T.

    By default the classifier is logistic regression on standardised features with C = 1 / `ridge`.
    """
    from sklearn.base import clone  # here: readers of the other methods need not wait for its import
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if classifier is None:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1 / ridge, max_iter=5000, tol=1e-8))
    x, is_target = torch.cat([source, target]).numpy(), np.repeat([0, 1], [len(source), len(target)])
    p_target = clone(classifier).fit(x, is_target).predict_proba(source.numpy())[:, 1]
    return len(source) / len(target) * p_target / np.maximum(1 - p_target, 1e-12)


def _gaussian(a: Tensor, b: Tensor, bandwidth: float) -> np.ndarray:
    """Return the kernel matrix of two samples."""
    return torch.exp(-squared_distances(a, b) / (2 * bandwidth**2)).numpy()


def kernel_mean_matching(
    source: Tensor, target: Tensor, bandwidth: float | None, ridge: float | None
) -> np.ndarray:
    """Return the weights whose mean embedding is nearest to the target's, with a ridge towards 1.

    The quadratic programme is written as non-negative least squares, for which SciPy has an exact active-set
    solver; only if a weight exceeds MAX_WEIGHT is the slower one with upper bounds needed.
    """
    from scipy.linalg import solve_triangular
    from scipy.optimize import lsq_linear, nnls

    bandwidth, ridge = bandwidth or 1.0, KMM_RIDGE if ridge is None else ridge
    gram = _gaussian(source, source, bandwidth) + ridge * np.eye(len(source))
    kappa = len(source) * _gaussian(source, target, bandwidth).mean(axis=1) + ridge
    # ½ w'Gw - κ'w = ½ ‖L'w - L⁻¹κ‖² + const with G = K + ρI = LL'.
    factor = np.linalg.cholesky(gram)
    right = solve_triangular(factor, kappa, lower=True)
    weights = nnls(factor.T, right, maxiter=30 * len(source))[0]
    if weights.max() > MAX_WEIGHT:
        weights = lsq_linear(factor.T, right, bounds=(0, MAX_WEIGHT), method="bvls").x
    return weights


def _basis(x: Tensor, centres: Tensor, bandwidth: float) -> np.ndarray:
    """Return the constant and the Gaussians around the centres, one column each."""
    return np.column_stack([np.ones(len(x)), _gaussian(x, centres, bandwidth)])


def kliep(basis_source: np.ndarray, basis_target: np.ndarray) -> np.ndarray:
    """Return the coefficients that maximise the mean log ratio on the target; the mean on the source is 1."""
    from scipy.optimize import minimize

    mean = np.maximum(basis_source.mean(axis=0), 1e-12)  # a basis function beyond the source is not free

    # In β = α · mean the constraint is Σβ = 1. Without it, minimise Σβ - mean log(Φβ): along the ray of any β
    # the minimum has Σβ = 1, so that both problems have one solution.
    scaled = basis_target / mean

    def loss(beta: np.ndarray) -> tuple[float, np.ndarray]:
        ratio = np.maximum(scaled @ beta, 1e-290)
        return beta.sum() - np.log(ratio).mean(), 1 - (scaled / ratio[:, None]).mean(axis=0)

    start = np.eye(len(mean))[0]  # equal weights
    options = {"maxiter": 1000, "ftol": 1e-12, "gtol": 1e-8}
    found = minimize(
        loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(mean), options=options
    )
    return found.x / found.x.sum() / mean


def ulsif(basis_source: np.ndarray, basis_target: np.ndarray, ridge: float) -> np.ndarray:
    """Return the coefficients of least squares; the first basis function, the constant, has no ridge."""
    gram = basis_source.T @ basis_source / len(basis_source)
    penalty = np.full(len(gram), ridge)
    penalty[0] = 0
    return np.linalg.solve(gram + np.diag(penalty), basis_target.mean(axis=0))


def _centres(target: Tensor) -> Tensor:
    """Return up to NUM_CENTRES target examples at equal steps."""
    return target[:: math.ceil(len(target) / NUM_CENTRES)]


def _folds(n: int) -> list[np.ndarray]:
    """Return masks of the examples held out in turn; neighbours in the file go to different folds."""
    num_folds = min(NUM_FOLDS, n)
    return [np.arange(n) % num_folds == fold for fold in range(num_folds)]


def fit_kliep(source: Tensor, target: Tensor, bandwidth: float | None, _ridge: None) -> np.ndarray:
    """Return KLIEP's weights, with the bandwidth of the largest held-out likelihood."""
    centres = _centres(target)

    def held_out(factor: float) -> float:
        on_source, on_target = _basis(source, centres, factor), _basis(target, centres, factor)
        found = [np.log(np.maximum(on_target[fold] @ kliep(on_source, on_target[~fold]), 1e-12)).mean()
                 for fold in _folds(len(target))]  # fmt: skip
        return float(np.mean(found))

    if bandwidth is None:
        bandwidth = max(BANDWIDTH_FACTORS, key=held_out) if len(target) > 1 else 1.0
    on_source = _basis(source, centres, bandwidth)
    return on_source @ kliep(on_source, _basis(target, centres, bandwidth))


def fit_ulsif(source: Tensor, target: Tensor, bandwidth: float | None, ridge: float | None) -> np.ndarray:
    """Return uLSIF's weights, with the bandwidth and ridge of the smallest held-out squared error."""
    centres = _centres(target)

    def held_out(pair: tuple[float, float]) -> float:
        on_source, on_target = _basis(source, centres, pair[0]), _basis(target, centres, pair[0])
        found = []
        for a, b in zip(_folds(len(source)), _folds(len(target)), strict=False):
            alpha = ulsif(on_source[~a], on_target[~b], pair[1])
            found.append(0.5 * ((on_source[a] @ alpha) ** 2).mean() - (on_target[b] @ alpha).mean())
        return float(np.mean(found))

    widths = BANDWIDTH_FACTORS if bandwidth is None else (bandwidth,)
    pairs = [(width, strength) for width in widths for strength in (RIDGES if ridge is None else (ridge,))]
    if len(pairs) > 1:
        is_small = min(len(source), len(target)) < 2
        width, strength = (1.0, 0.1) if is_small else min(pairs, key=held_out)
        bandwidth, ridge = (width if bandwidth is None else bandwidth), (strength if ridge is None else ridge)
    on_source = _basis(source, centres, bandwidth)
    return np.maximum(on_source @ ulsif(on_source, _basis(target, centres, bandwidth), ridge), 0)
