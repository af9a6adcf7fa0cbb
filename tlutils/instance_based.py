"""What transfers: examples. Weights that make a source sample stand for the target, and TrAdaBoost."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tlutils import guards
from tlutils.density_ratio import domain_odds, fit_kliep, fit_ulsif, kernel_mean_matching
from tlutils.feature_based import median_bandwidth
from tlutils.kernels import BLOCK_SIZE, check_bandwidths, check_samples

__all__ = [
    "METHODS",
    "SupportWarning",
    "TransferBoost",
    "density_ratio_weights",
    "domain_odds",
    "effective_sample_size",
    "fit_kliep",
    "fit_ulsif",
    "kernel_mean_matching",
    "tradaboost",
]

SOLVERS = {
    "kmm": kernel_mean_matching,
    "kliep": fit_kliep,
    "ulsif": fit_ulsif,
}
METHODS = ("classifier", *SOLVERS)
MIN_COVERED = 0.07  # share of the target that must lie among source examples
USUAL_GAP = 0.99  # this quantile of the gaps between source examples lets no outlier set the scale
FEW_ROWS = 10  # the gaps between fewer examples say little about where the next one may lie
MAX_ERROR = 0.499  # a round of TrAdaBoost must do better than a coin
MIN_ERROR = 1e-6


class SupportWarning(UserWarning):
    """The target has examples where the source has none: no weights can make up for them."""


def effective_sample_size(weights: Float[Tensor, " n"]) -> float:
    r"""Return how many equally weighted examples would give a mean of the same variance.

    .. math:: n_{\mathrm{eff}} = \frac{(\sum_i w_i)^2}{\sum_i w_i^2}

    Parameters
    ----------
    weights
        At least 0, not all 0; their scale does not matter.

    Returns
    -------
    A number in [1, n]: n for equal weights, 1 if one example has all the weight.

    Raises
    ------
    ValueError
        If there is no weight, one is negative or not finite, or all are 0.
    TypeError
        If the weights are no tensor of floating-point numbers.

    Source
    ------
    Kong, Liu, Wong, "Sequential imputations and Bayesian missing data problems", JASA 89 (1994).

    Examples
    --------
    >>> effective_sample_size(torch.tensor([1.0, 1.0, 2.0]))  # 4² / 6
    2.66...
    """
    guards.comes_as_tensor("weights", weights)
    if not weights.is_floating_point():
        raise TypeError(f"weights hold {weights.dtype}; expected floating-point numbers: use .float()")
    if weights.ndim != 1 or len(weights) == 0:
        raise ValueError(
            f"weights have shape {tuple(weights.shape)}; expected a vector of at least one weight"
        )
    if not torch.isfinite(weights).all():
        raise ValueError("weights hold NaN or infinite values; expected finite numbers of at least 0")
    if weights.min() < 0:
        raise ValueError(
            f"the smallest weight is {weights.min().item():.3g}; expected at least 0. A density ratio is "
            "never negative: clip an estimate with .clamp(min=0)"
        )
    if weights.max() == 0:
        raise ValueError("all weights are 0; expected at least one positive weight")
    scaled = weights.double() / weights.max().double()
    return float(scaled.sum().square() / scaled.square().sum())


def density_ratio_weights(
    x_source: Float[Tensor, "n_source num_features"],
    x_target: Float[Tensor, "n_target num_features"],
    *,
    method: str = "classifier",
    bandwidth: float | int | None = None,
    ridge: float | int | None = None,
    classifier: Any = None,
) -> Float[Tensor, " n_source"]:
    r"""Estimate w(x) = P_T(x) / P_S(x) at the source examples, from two samples without labels.

    .. math:: \text{classifier:}\quad w(x) = \frac{n_S}{n_T} \frac{\hat p(T \mid x)}{\hat p(S \mid x)}
        \qquad \text{kmm:}\quad \min_{0 \le w \le B} \tfrac12 w^\top K w - \kappa^\top w + \tfrac{\rho}{2}
        \lVert w - 1 \rVert^2, \quad \kappa_i = \tfrac{n_S}{n_T} \sum_j k(x_i, x^T_j)
    .. math:: \text{kliep:}\quad \max_{\alpha \ge 0} \overline{\log w(x^T)} \ \text{ s.t. }\
        \overline{w(x^S)} = 1
        \qquad \text{ulsif:}\quad \min_\alpha \tfrac12 \overline{w(x^S)^2} - \overline{w(x^T)} +
        \tfrac{\rho}{2} \sum_c \alpha_c^2

    with a Gaussian kernel k of bandwidth σ, and :math:`w(x) = \alpha_0 + \sum_c \alpha_c k(x, c)` for the
    last two. The result is divided by its mean.

    Parameters
    ----------
    x_source, x_target
        One row per example, at least one each; same dtype and device.
    method
        "classifier", "kmm", "kliep" or "ulsif".
    bandwidth
        The σ above. By default the median distance for "kmm", and chosen by cross-validation among ¼, ½, 1, 2
        and 4 times the median for "kliep" and "ulsif".
    ridge
        The ρ above. By default 0.1 for "kmm", chosen by cross-validation for "ulsif"; for "classifier" the
        inverse of C, default 1. "kliep" has none.
    classifier
        For "classifier": a scikit-learn classifier with `predict_proba`, in place of logistic regression on
        standardised features.

    Returns
    -------
    Weights of the source examples, at least 0, mean 1; same dtype and device, no gradient.

    Raises
    ------
    ValueError
        If the method is unknown, an option is not positive or not one of its options, shapes or devices do
        not fit, a value is not finite, or all examples are equal.
    TypeError
        If the samples are no tensors of floating-point numbers of one type, or an option is no number.

    Warns
    -----
    SupportWarning
        If less than 7 % of the target examples lie as near to the source as 99 % of its examples lie to each
        other, so that the effective sample size means nothing; or if every estimated weight is 0: then equal
        weights are returned.

    Notes
    -----
    Computes in float64 on the CPU. "kmm" takes memory O(n_source²) and time O(n_source³): a second for 1000
    examples. Deviations from the papers: "kmm" is divided by its mean instead of bounding the mean, and has a
    ridge towards equal weights, without which its solution is hardly determined in few dimensions; a
    constant, not penalised, is among the basis functions of "kliep" and "ulsif", so that equal samples get
    equal weights; their centres are up to 100 target examples at equal steps; "ulsif" cuts negative values of
    w instead of negative coefficients, and is tuned by 5-fold instead of leave-one-out cross-validation.

    Source
    ------
    Bickel, Brückner, Scheffer, JMLR 10 (2009), classifier; Huang et al., NIPS 19 (2006), equation (12), kmm;
    Sugiyama et al., NIPS 20 (2007), kliep; Kanamori, Hido, Sugiyama, JMLR 10 (2009), ulsif.

    Examples
    --------
    >>> x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    >>> density_ratio_weights(x, x, method="ulsif").tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    check_samples(1, x_source=x_source, x_target=x_target)
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; expected one of {', '.join(METHODS)}")
    _check_options(method, bandwidth=bandwidth, ridge=ridge, classifier=classifier)
    bandwidth, ridge = (None if value is None else float(value) for value in (bandwidth, ridge))
    source, target = (x.detach().double().cpu() for x in (x_source, x_target))
    pooled = torch.cat([source, target])
    if (pooled == pooled[0]).all():
        raise ValueError(f"all {len(pooled)} examples are equal (zero variance); there is nothing to weigh")
    _check_support(source, target)
    if method == "classifier":
        weights = domain_odds(source, target, 1.0 if ridge is None else ridge, classifier)
    else:
        unit, centre = median_bandwidth(source, target), pooled.mean(dim=0)
        solve = SOLVERS[method]
        # In units of the median distance, so that the scale of the features does not matter.
        width = None if bandwidth is None else bandwidth / unit
        weights = solve((source - centre) / unit, (target - centre) / unit, width, ridge)
    if weights.sum() == 0:
        warnings.warn(
            f"method {method!r} gives all {len(source)} source examples the weight 0: to it, none of them "
            "looks like the target. Equal weights are returned, which adapt nothing. Use a larger bandwidth "
            "or a classifier that does not learn the examples by heart; if the supports are disjoint, "
            "collect labels in the target",
            SupportWarning,
            stacklevel=2,
        )
        weights = np.ones(len(source))
    return torch.from_numpy(weights / weights.mean()).to(x_source)


def _check_options(method: str, **options: object) -> None:
    """Raise for an option that `method` does not have, or that is no number or not positive."""
    allowed = {"classifier": ("ridge", "classifier"), "kmm": ("bandwidth", "ridge"), "kliep": ("bandwidth",),
               "ulsif": ("bandwidth", "ridge")}[method]  # fmt: skip
    for name, value in options.items():
        if value is not None and name not in allowed:
            raise ValueError(f"method {method!r} has no option {name!r}; it takes {' and '.join(allowed)}")
        if value is not None and name != "classifier":
            guards.is_real_number(name, value, "positive, or None for the default")
    if options["bandwidth"] is not None:
        check_bandwidths([options["bandwidth"]])
    if options["ridge"] is not None and not 0 < options["ridge"] < math.inf:
        raise ValueError(f"ridge is {options['ridge']}; expected a positive number")


def _check_support(source: Tensor, target: Tensor) -> None:
    """Warn if hardly any target example lies as near to a source example as these lie to each other.

    Among fewer than FEW_ROWS source examples the yardstick is three times their widest gap: with their widest
    gap alone, equal samples of two or three examples would set off a false alarm in a case out of five.
    """
    # A copy would be its own nearest neighbour, and a common offset would cost the distances digits.
    source, target = (x - source.median(dim=0).values for x in (source.unique(dim=0), target))
    if len(source) == 1:
        is_covered = (target == source).all(dim=1)
    else:
        gaps = _distances_to(source, source, 2)
        few = len(source) < FEW_ROWS
        within = 3 * gaps.max() if few else gaps.quantile(USUAL_GAP, interpolation="lower")
        is_covered = _distances_to(source, target, 1) <= within
    covered = float(is_covered.double().mean())
    if covered < MIN_COVERED:
        warnings.warn(
            f"only {100 * covered:.0f} % of the target examples lie among the source examples: the supports "
            "look disjoint. Where the source has no examples, no weights can replace them, and the effective "
            "sample size does not show it; a model weighted so has never seen what it will be asked. Collect "
            "labels there, or align features instead",
            SupportWarning,
            stacklevel=3,
        )


def _distances_to(source: Tensor, x: Tensor, rank: int) -> Tensor:
    """Return how far the source example lies that is the nearest, or the `rank`-th nearest, to each row."""
    nearest = [torch.cdist(rows, source).topk(rank, largest=False).values for rows in x.split(BLOCK_SIZE)]
    return torch.cat(nearest)[:, -1]


class TransferBoost(NamedTuple):
    """The result of TrAdaBoost.

    Attributes
    ----------
    estimators
        The classifiers of all rounds.
    betas
        β of each round: ε / (1 - ε), with ε its weighted error on the target.
    source_weights
        Weights of the source examples in each round, one row per round; with those of the target they sum
        to 1.
    """

    estimators: list[Any]
    betas: list[float]
    source_weights: Float[np.ndarray, "num_rounds n_source"]

    def predict(self, x: Any) -> Int[np.ndarray, " n"]:
        """Return class 0 or 1 for each row, by the weighted vote of the second half of the rounds.

        Takes what `tradaboost` takes: arrays, sparse matrices of SciPy, or tensors of any type on any device.
        """
        x = _as_features(x)
        later = range(len(self.betas) // 2, len(self.betas))
        votes = [-math.log(self.betas[i]) * (self.estimators[i].predict(x) - 0.5) for i in later]
        return (np.sum(votes, axis=0) >= 0).astype(np.int64)


def tradaboost(
    x_source: Any,
    y_source: Int[np.ndarray, " n_source"] | Int[Tensor, " n_source"],
    x_target: Any,
    y_target: Int[np.ndarray, " n_target"] | Int[Tensor, " n_target"],
    *,
    make_estimator: Callable[[], Any],
    num_rounds: int = 20,
) -> TransferBoost:
    r"""Boost a classifier on many source and few target labels; wrong source examples lose weight.

    In each round :math:`\epsilon` is the weighted error on the *target* examples, and with h = 1 for a wrong
    answer, 0 for a right one,

    .. math:: w_i \leftarrow w_i \beta^{h_i} \ \text{(source)}, \quad w_j \leftarrow w_j \beta_t^{-h_j}\
        \text{(target)}, \qquad \beta = \frac{1}{1 + \sqrt{2 \ln n_S / N}}, \quad \beta_t =
        \frac{\epsilon}{1 - \epsilon}

    Parameters
    ----------
    x_source, x_target
        Rows of features: arrays, sparse matrices of SciPy, or tensors on any device. The classifiers get
        arrays of the same type (float32 for bfloat16, which NumPy lacks) or CSR matrices.
    y_source, y_target
        0 or 1, both classes in each domain; arrays or tensors.
    make_estimator
        Returns a new classifier with `fit(x, y, sample_weight=...)` and `predict`.
    num_rounds
        N above, at least 2.

    Returns
    -------
    The classifiers and their vote, `.predict(x)`, in NumPy. It takes what `x_target` may be, and hands it to
    the classifiers in the form in which they were trained.

    Raises
    ------
    ValueError
        If a domain has no matrix of features, not one label per row, fewer than 2 examples, or a value that
        is not finite; if the numbers of features differ, labels are not 0 and 1, a class is missing, or
        `num_rounds` is below 2.
    TypeError
        If the features are not numbers.

    Notes
    -----
    Weights of source examples only fall: what looked useless in the first rounds never comes back. An error
    of ½ or more, which the paper excludes, is taken as 0.499, and an error of 0 as 1e-6. The last ⌈N/2⌉
    rounds vote. The documentation of the library adapt gives β_t = ε / (1 - ε), as here; its code divides by
    2 - ε.

    Source
    ------
    Dai, Yang, Xue, Yu, "Boosting for transfer learning", ICML (2007), figure 1.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> x, y = np.arange(8.0)[:, None], np.repeat([0, 1], 4)
    >>> boosted = tradaboost(x, y, x, y, make_estimator=DecisionTreeClassifier, num_rounds=2)
    >>> boosted.predict(x).tolist()
    [0, 0, 0, 0, 1, 1, 1, 1]
    """
    x_source, y_source = _as_arrays("source", x_source, y_source)
    x_target, y_target = _as_arrays("target", x_target, y_target)
    if x_source.shape[1] != x_target.shape[1]:
        raise ValueError(
            f"x_source has {x_source.shape[1]} features and x_target {x_target.shape[1]}; expected the same "
            "number: describe both domains by the same columns"
        )
    if num_rounds < 2:
        raise ValueError(f"num_rounds is {num_rounds}; expected at least 2")
    n_source = len(y_source)
    x, y = _stack(x_source, x_target), np.concatenate([y_source, y_target])
    weights, beta = np.ones(len(y)), 1 / (1 + math.sqrt(2 * math.log(n_source) / num_rounds))
    estimators, betas, history = [], [], []
    for _ in range(num_rounds):
        weights /= weights.sum()
        history.append(weights[:n_source].copy())
        estimator = make_estimator().fit(x, y, sample_weight=weights * len(y))
        wrong = (estimator.predict(x) != y).astype(np.float64)
        on_target = weights[n_source:]
        error = float(np.clip(on_target @ wrong[n_source:] / on_target.sum(), MIN_ERROR, MAX_ERROR))
        estimators.append(estimator)
        betas.append(error / (1 - error))
        weights[:n_source] *= beta ** wrong[:n_source]
        weights[n_source:] *= betas[-1] ** -wrong[n_source:]
    return TransferBoost(estimators, betas, np.array(history))


def _as_arrays(domain: str, x: Any, y: Any) -> tuple[Any, np.ndarray]:
    """Return the rows of a domain, an array or a CSR matrix, and their labels; raise unless they fit."""
    from scipy.sparse import issparse

    x, y = _as_features(x), np.asarray(_on_cpu(y) if isinstance(y, Tensor) else y)
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(
            f"x_{domain} has shape {x.shape}; expected one row per example and at least one feature (flatten "
            "images with .reshape(len(x), -1))"
        )
    if x.dtype.kind not in "biuf":
        raise TypeError(f"x_{domain} holds {x.dtype}; expected numbers: encode text and categories first")
    if y.shape != x.shape[:1]:
        raise ValueError(
            f"x_{domain} has {x.shape[0]} rows and y_{domain} shape {y.shape}; expected one label per row"
        )
    if len(y) < 2:
        raise ValueError(
            f"the {domain} has {len(y)} labelled examples; expected at least 2, one of each class: label more"
        )
    num_bad = np.count_nonzero(~np.isfinite(x.data if issparse(x) else x))
    if num_bad:
        raise ValueError(f"x_{domain} has {num_bad} NaN or infinite values; repair or drop their rows")
    if set(np.unique(y)) != {0, 1}:
        raise ValueError(
            f"y_{domain} holds {np.unique(y).tolist()}; expected both classes, 0 and 1: recode the labels, "
            "or label examples of the missing class"
        )
    return x, y


def _as_features(x: Any) -> Any:
    """Return rows of features as a classifier gets them: an array or a CSR matrix."""
    from scipy.sparse import issparse

    x = _on_cpu(x) if isinstance(x, Tensor) else x
    return x.tocsr() if issparse(x) else np.asarray(x)


def _on_cpu(x: Tensor) -> np.ndarray:
    """Return a tensor as an array; NumPy has no bfloat16."""
    return (x.float() if x.dtype == torch.bfloat16 else x).detach().cpu().numpy()


def _stack(first: Any, second: Any) -> Any:
    """Return the rows of two arrays or sparse matrices, one after the other."""
    from scipy.sparse import issparse, vstack

    if issparse(first) or issparse(second):
        return vstack([first, second]).tocsr()
    return np.concatenate([first, second])
