"""Measures of a classifier and of the gap between two domains. Pure functions of tensors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy import special
from torch import Tensor

__all__ = [
    "Correlation",
    "LabelShift",
    "TwoSampleTest",
    "accuracy",
    "classifier_two_sample_test",
    "confusion_matrix",
    "correlation_over_domains",
    "estimate_label_shift",
    "proxy_a_distance",
]

MAX_CONDITION = 1e8  # beyond it, a confusion matrix of counts is singular up to rounding


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


class TwoSampleTest(NamedTuple):
    """The result of a classifier two-sample test.

    Attributes
    ----------
    accuracy
        Share of held-out examples whose domain was named rightly, in [0, 1].
    p_value
        Probability, if both domains are one distribution, of an accuracy at least this high; in [0, 1].
    num_examples
        Held-out examples of both domains together.
    """

    accuracy: float
    p_value: float
    num_examples: int


class LabelShift(NamedTuple):
    """Estimated class proportions of a target without labels.

    Attributes
    ----------
    weights
        Estimate of w(y) = P_T(y) / P_S(y), at least 0; their mean under the source's proportions is 1.
    target_prior
        Estimate of P_T(y), at least 0, sum 1.
    raw_weights
        The solution of the linear system before negative entries are set to 0. An entry far below 0 is a sign
        that the shift is not a label shift.
    condition_number
        Of the confusion matrix: the factor by which it can magnify sampling noise.
    """

    weights: Float[Tensor, " num_classes"]
    target_prior: Float[Tensor, " num_classes"]
    raw_weights: Float[Tensor, " num_classes"]
    condition_number: float


def _check_domains(predictions: Tensor, domains: Tensor) -> Tensor:
    """Return how many examples come from the source (0) and the target (1); raise unless both are there."""
    _check_pair(predictions, domains)
    found = torch.cat([predictions, domains]).unique().tolist()
    if not set(found) <= {0, 1}:
        raise ValueError(f"found the values {found}; expected 0 (source) and 1 (target) alone")
    counts = torch.bincount(domains, minlength=2)
    if counts.min() == 0:
        raise ValueError(
            f"received {int(counts[0])} source and {int(counts[1])} target examples; expected some of each"
        )
    return counts


def proxy_a_distance(predictions: Int[Tensor, " n"], domains: Int[Tensor, " n"]) -> float:
    r"""Return how far apart two domains are for a classifier that was trained to tell them apart.

    .. math:: \hat d_{\mathcal A} = 2 (1 - 2 \hat\epsilon), \qquad
        \hat\epsilon = \tfrac12 \bigl( \hat P_S[g(x) = 1] + \hat P_T[g(x) = 0] \bigr)

    The error is averaged over the two domains rather than over the examples, so the domains may have samples
    of different size.

    Parameters
    ----------
    predictions
        The domain that the classifier g names for each held-out example: 0 source, 1 target.
    domains
        The domain from which the example comes.

    Returns
    -------
    A number in [-2, 2]: 0 where the classifier does no better than a coin, 2 where it is never wrong. Values
    a little below 0 are chance; they are not cut off, so that a mean over seeds stays unbiased.

    Raises
    ------
    ValueError
        If the shapes differ, a value is neither 0 nor 1, or one domain has no example.

    Notes
    -----
    Use examples on which g was not trained: an error measured on its own training examples is too small and
    the distance too large.

    Source
    ------
    Ben-David, Blitzer, Crammer, Pereira, "Analysis of representations for domain adaptation", NIPS 19 (2006);
    with the error averaged over domains as in Lemma 2 of Ben-David et al., Machine Learning 79 (2010).

    Examples
    --------
    >>> proxy_a_distance(torch.tensor([0, 0, 0, 1, 1, 1]), torch.tensor([0, 0, 0, 0, 1, 1]))  # ε = 1/8
    1.5
    """
    counts = _check_domains(predictions, domains)
    wrong = torch.bincount(domains[predictions != domains], minlength=2)
    return float(2 - 2 * (wrong.double() / counts).sum())


def classifier_two_sample_test(predictions: Int[Tensor, " n"], domains: Int[Tensor, " n"]) -> TwoSampleTest:
    r"""Test whether source and target can be one distribution, given a domain classifier's held-out answers.

    If they are one, no classifier beats a coin on examples that it has not seen, and the number of right
    answers is Binomial(n, 1/2):

    .. math:: p = P[B \ge k], \qquad B \sim \text{Binomial}(n, \tfrac12), \quad k = \#\{i : g(x_i) = d_i\}

    Parameters
    ----------
    predictions
        The domain that the classifier g names for each held-out example: 0 source, 1 target.
    domains
        The domain from which the example comes, as many 0 as 1.

    Raises
    ------
    ValueError
        If the shapes differ, a value is neither 0 nor 1, or the domains have samples of different size.

    Notes
    -----
    With n/2 examples of each domain the number of right answers is, under the null hypothesis, a sum of
    n independent trials whose probabilities are 1 − q for the source and q for the target, q = P[g(x) = 1].
    Its mean is n/2, and Hoeffding (1956) shows that P(S ≥ k) lies below that of Binomial(n, 1/2) for k > n/2.
    So a p-value below 1/2 is never too small: the test is exact where q = 1/2 and cautious elsewhere. The
    examples must not have been used to train g, and g must not have been chosen by its accuracy on them.

    Source
    ------
    Lopez-Paz, Oquab, "Revisiting classifier two-sample tests", ICLR (2017), who approximate the binomial by a
    normal distribution; Hoeffding, "On the distribution of the number of successes in independent trials",
    Annals of Mathematical Statistics 27 (1956).

    Examples
    --------
    >>> test = classifier_two_sample_test(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1, 1]))
    >>> test.accuracy, test.p_value  # four right answers out of four: 1/2⁴
    (1.0, 0.0625)
    """
    counts = _check_domains(predictions, domains)
    if counts[0] != counts[1]:
        raise ValueError(
            f"received {int(counts[0])} source and {int(counts[1])} target examples; a coin's accuracy is "
            "1/2 only for samples of equal size. Draw as many from the larger as there are in the smaller"
        )
    right = int((predictions == domains).sum())
    p_value = float(special.bdtrc(right - 1, len(domains), 0.5)) if right else 1.0
    return TwoSampleTest(right / len(domains), p_value, len(domains))


def estimate_label_shift(
    predictions_source: Int[Tensor, " n_source"],
    labels_source: Int[Tensor, " n_source"],
    predictions_target: Int[Tensor, " n_target"],
    num_classes: int,
) -> LabelShift:
    r"""Estimate a target's class proportions from predictions alone (black box shift estimation, BBSE).

    Under label shift P(x | y) stays, so P(ŷ = i | y = j) stays too, and the unknown proportions solve

    .. math:: C w = \mu, \qquad C_{ij} = \hat P_S[\hat y = i, y = j], \quad \mu_i = \hat P_T[\hat y = i],
        \quad w_j = P_T(y = j) / P_S(y = j)

    Negative entries of w are set to 0 and the rest is scaled so that the proportions sum to 1.

    Parameters
    ----------
    predictions_source, labels_source
        The classifier's answers and the truth on source examples that it was not trained on.
    predictions_target
        Its answers on the target.
    num_classes
        At least 2; every class must occur in `labels_source`.

    Raises
    ------
    ValueError
        If shapes or indices are wrong, a class has no source example, or the confusion matrix cannot be
        inverted (a class that is never predicted, say).

    Notes
    -----
    The classifier may be weak or badly calibrated, as long as its confusion matrix can be inverted. The
    estimate is meaningless if P(x | y) differs between the domains; nothing in the numbers need show it.

    Source
    ------
    Lipton, Wang, Smola, "Detecting and correcting for label shift with black box predictors", ICML (2018).

    Examples
    --------
    >>> y, predicted = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), torch.tensor([0, 0, 0, 1, 1, 1, 1, 0])
    >>> estimate_label_shift(predicted, y, torch.tensor([0, 0, 0, 1, 1, 1, 1, 1]), 2).target_prior.tolist()
    [0.25, 0.75]
    """
    _check_pair(predictions_target, predictions_target)
    counts = confusion_matrix(predictions_source, labels_source, num_classes).double()
    if predictions_target.min() < 0 or predictions_target.max() >= num_classes:
        raise ValueError(
            f"predictions_target holds {int(predictions_target.min())} to {int(predictions_target.max())}; "
            f"expected class indices 0 to {num_classes - 1}"
        )
    if (counts.sum(dim=1) == 0).any():
        missing = int((counts.sum(dim=1) == 0).nonzero()[0])
        raise ValueError(f"class {missing} has no source example; its proportion cannot be estimated")
    joint = (counts / counts.sum()).T  # row: predicted class, column: true class
    condition = float(torch.linalg.cond(joint))
    if condition > MAX_CONDITION:
        raise ValueError(
            "the confusion matrix cannot be inverted: two classes look alike to the classifier, or one is "
            "never predicted. Merge these classes or use a better classifier"
        )
    mu = torch.bincount(predictions_target, minlength=num_classes).double() / len(predictions_target)
    raw = torch.linalg.solve(joint, mu)
    prior = raw.clamp(min=0) * joint.sum(dim=0)
    prior = prior / prior.sum()
    return LabelShift(prior / joint.sum(dim=0), prior, raw, condition)


class Correlation(NamedTuple):
    """Pearson's correlation with its interval.

    Attributes
    ----------
    r, low, high
        In [-1, 1].
    """

    r: float
    low: float
    high: float


def correlation_over_domains(
    distance: Float[np.ndarray, "n n"],
    loss: Float[np.ndarray, "n n"],
    *,
    num_draws: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Correlation:
    """Return Pearson's r over ordered pairs of different domains, with an interval from resampled domains.

    Pairs that share a domain are not independent, so whole domains are drawn with replacement, and of the
    domains drawn all pairs of different ones are kept (a bootstrap over rows and columns).

    Parameters
    ----------
    distance, loss
        One number for each ordered pair (row source, column target); the diagonal is not used.
    num_draws
        Resamplings, at least 1.
    confidence
        In (0, 1).
    seed
        Seed of the resampling.

    Raises
    ------
    ValueError
        If the tables are not square, not of one size or smaller than 3, or an entry off the diagonal is not
        finite.

    Notes
    -----
    With few domains the interval is rough. Draws that leave fewer than 3 domains, or no variation, give no
    correlation and are left out.

    Source
    ------
    Own construction: the percentile bootstrap of Efron, Annals of Statistics 7 (1979), applied to domains.

    Examples
    --------
    >>> distance = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 3.0], [2.0, 3.0, 0.0]])
    >>> round(correlation_over_domains(distance, 2 * distance + 1).r, 6)
    1.0
    """
    n = len(distance)
    if distance.shape != (n, n) or loss.shape != (n, n) or n < 3:
        raise ValueError(
            f"received tables of shape {distance.shape} and {loss.shape}; expected two of (n, n), n ≥ 3"
        )
    apart = ~np.eye(n, dtype=bool)
    if not (np.isfinite(distance[apart]).all() and np.isfinite(loss[apart]).all()):
        raise ValueError(
            "an entry off the diagonal is NaN or infinite; leave out domains that were not compared"
        )
    draws = []
    for chosen in np.random.default_rng(seed).integers(0, n, (num_draws, n)):
        part = np.ix_(chosen, chosen)
        kept = apart[part]
        x, y = distance[part][kept], loss[part][kept]
        if len(np.unique(chosen)) >= 3 and np.ptp(x) > 0 and np.ptp(y) > 0:
            draws.append(np.corrcoef(x, y)[0, 1])
    tail = 50 * (1 - confidence)
    low, high = np.percentile(draws, [tail, 100 - tail])
    return Correlation(float(np.corrcoef(distance[apart], loss[apart])[0, 1]), float(low), float(high))
