"""Scores that say before any training whether a source model suits a target. Pure functions of tensors."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from scipy import special
from torch import Tensor

from tlutils import guards

__all__ = ["h_score", "leep", "log_evidence", "smallest_believable_gain"]

MAX_STEPS = 100
TOLERANCE = 1e-9


def _check(name: str, values: Tensor, labels: Tensor) -> None:
    """Raise unless `values` is a finite matrix of floats with one row per label, and labels start at 0."""
    guards.comes_as_tensor(name, values)
    guards.are_class_indices(labels, values, name)
    if values.ndim != 2 or labels.ndim != 1 or len(values) != len(labels):
        raise ValueError(
            f"{name} have shape {tuple(values.shape)} and labels {tuple(labels.shape)}; expected one row "
            "per label"
        )
    if len(labels) < 2 or values.shape[1] == 0:
        raise ValueError(
            f"received {len(labels)} examples with {values.shape[1]} {name}; expected at least 2 and 1"
        )
    if not values.is_floating_point():
        raise TypeError(f"{name} hold {values.dtype}; expected floating-point numbers: use .float()")
    if not torch.isfinite(values).all():
        raise ValueError(f"{name} hold NaN or infinite values")
    if labels.min() < 0:
        raise ValueError(f"the smallest label is {int(labels.min())}; expected class indices from 0")
    if len(labels.unique()) < 2:
        raise ValueError("all labels are of one class; expected at least two classes")


def leep(probabilities: Float[Tensor, "n num_source_classes"], labels: Int[Tensor, " n"]) -> float:
    r"""Return the log expected empirical prediction: how well source classes foretell target classes.

    .. math:: \mathrm{LEEP} = \frac1n \sum_i \log \sum_z \hat P(y_i \mid z)\, p_i(z), \qquad
        \hat P(y, z) = \frac1n \sum_{i : y_i = y} p_i(z)

    Parameters
    ----------
    probabilities
        For each labelled target example the source model's probability of each *source* class; rows sum to 1.
    labels
        Target class of each example.

    Returns
    -------
    At most 0; larger is better. It is minus the entropy of the labels if the source model says nothing.

    Raises
    ------
    ValueError
        If shapes or devices do not fit, a row does not sum to 1, a value is not finite, or there is only one
        class.
    TypeError
        If the probabilities are no tensor of floating-point numbers, or the labels none of int64 or int32.

    Source
    ------
    Nguyen, Hassner, Seeger, Archambeau, "LEEP: a new measure to evaluate transferability of learned
    representations", ICML (2020), equation (2).

    Examples
    --------
    >>> leep(torch.eye(2), torch.tensor([0, 1]))  # the source model knows the answer
    0.0
    >>> leep(torch.full((2, 2), 0.5), torch.tensor([0, 1]))  # it says nothing: log ½
    -0.69314...
    """
    _check("probabilities", probabilities, labels)
    p = probabilities.double()
    if p.min() < 0 or (p.sum(dim=1) - 1).abs().max() > 1e-3:
        raise ValueError(
            "a row of probabilities does not sum to 1, or has a negative entry; use .softmax(dim=1)"
        )
    joint = torch.zeros(int(labels.max()) + 1, p.shape[1], dtype=p.dtype, device=p.device)
    joint.index_add_(0, labels, p)
    given = joint / joint.sum(dim=0).clamp(min=torch.finfo(p.dtype).tiny)
    return float((given[labels] * p).sum(dim=1).log().mean())


def h_score(features: Float[Tensor, "n num_features"], labels: Int[Tensor, " n"]) -> float:
    r"""Return how much of the spread of the features lies between the classes.

    .. math:: \mathcal H = \operatorname{tr}\bigl( \operatorname{cov}(\phi)^{+}\,
        \operatorname{cov}(\mathbb E[\phi \mid y]) \bigr)

    Parameters
    ----------
    features
        Of labelled target examples, from a source model.
    labels
        Their classes.

    Returns
    -------
    From 0 to min(number of classes - 1, rank of the features); larger is better.

    Raises
    ------
    ValueError
        If shapes or devices do not fit, a value is not finite, there is only one class, or no feature varies.
    TypeError
        If the features are no tensor of floating-point numbers, or the labels none of int64 or int32.

    Notes
    -----
    With fewer examples than features the classes can be told apart in the sample whatever the features are,
    and the score is at its maximum: use it with several examples per feature.

    Source
    ------
    Bao et al., "An information-theoretic approach to transferability in task transfer learning", ICIP (2019),
    definition 2.

    Examples
    --------
    >>> h_score(torch.tensor([[0.0], [0.0], [1.0], [1.0]]), torch.tensor([0, 0, 1, 1]))
    1.0
    >>> h_score(torch.tensor([[0.0], [1.0], [0.0], [1.0]]), torch.tensor([0, 0, 1, 1]))
    0.0
    """
    _check("features", features, labels)
    x = features.double() - features.double().mean(dim=0)
    if x.abs().max() == 0:
        raise ValueError("no feature varies; there is nothing to score")
    counts = torch.bincount(labels).clamp(min=1).to(x)
    means = torch.zeros(len(counts), x.shape[1], dtype=x.dtype, device=x.device).index_add_(0, labels, x)
    between = (means / counts[:, None])[labels]
    # tr(pinv(X'X) B'B) with X = USV': the part of B'B in the directions of X, each divided by its spread.
    _, s, v = torch.linalg.svd(x, full_matrices=False)
    kept = s > s.max() * max(x.shape) * torch.finfo(x.dtype).eps
    return float(((between @ v[kept].T) / s[kept]).square().sum())


def log_evidence(features: Float[Tensor, "n num_features"], labels: Int[Tensor, " n"]) -> float:
    r"""Return LogME: the log evidence of a Bayesian linear model from features to labels, per example.

    For each class, y is 1 for its examples and 0 for the others, :math:`y \sim N(\Phi w, \beta^{-1} I)` and
    :math:`w \sim N(0, \alpha^{-1} I)`; with :math:`A = \alpha I + \beta \Phi^\top \Phi` and
    :math:`m = \beta A^{-1} \Phi^\top y`

    .. math:: \mathcal L = \tfrac n2 \log \beta + \tfrac d2 \log \alpha - \tfrac n2 \log 2\pi
        - \tfrac \beta2 \lVert \Phi m - y \rVert^2 - \tfrac \alpha2 m^\top m - \tfrac12 \log |A|

    is maximised over α and β; returned is the mean of L / n over the classes.

    Parameters
    ----------
    features
        Of labelled target examples, from a source model.
    labels
        Their classes.

    Returns
    -------
    Larger is better; comparable for one target only.

    Raises
    ------
    ValueError
        If shapes or devices do not fit, a value is not finite, there is only one class, or the features are
        all 0 or too large.
    TypeError
        If the features are no tensor of floating-point numbers, or the labels none of int64 or int32.

    Notes
    -----
    There is no intercept, as in the paper. One singular value decomposition serves all classes. The paper's
    fixed-point steps end at a local maximum of the evidence; on a few small random samples it lay up to 0.04
    below the largest one.

    Source
    ------
    You, Liu, Wang, Long, "LogME: practical assessment of pre-trained models for transfer learning", ICML
    (2021), equation (2) and algorithm 1.

    Examples
    --------
    >>> features, labels = torch.eye(2).repeat(4, 1), torch.tensor([0, 1] * 4)
    >>> log_evidence(features, labels) > log_evidence(features.flip(0)[[0, 0, 1, 1] * 2], labels)
    True
    """
    _check("features", features, labels)
    guards.not_only_zeros("features", features)
    u, s, _ = torch.linalg.svd(features.double(), full_matrices=False)
    values = [_evidence(u, s, (labels == c).double(), features.shape[1]) for c in labels.unique()]
    return sum(values) / len(values)


def _evidence(u: Tensor, s: Tensor, y: Tensor, num_features: int) -> float:
    """Return the largest log evidence per example for one vector y, by fixed-point steps on α and β."""
    n, squares, z = len(y), s.square(), u.T @ y
    outside = max(float(y.square().sum() - z.square().sum()), 0.0)  # what no weights can explain
    alpha, beta, best = 1.0, 1.0, -math.inf
    for _ in range(MAX_STEPS):
        guards.is_positive_precision(alpha, beta)
        spread = alpha + beta * squares
        m_squared = float((beta * s * z / spread).square().sum())
        residual = float((alpha * z / spread).square().sum()) + outside
        log_det = float(spread.log().sum()) + (num_features - len(s)) * math.log(alpha)
        value = 0.5 * (n * math.log(beta) + num_features * math.log(alpha) - n * math.log(2 * math.pi)
                       - beta * residual - alpha * m_squared - log_det) / n  # fmt: skip
        if value - best < TOLERANCE:
            return max(value, best)
        best = value
        gamma = float((beta * squares / spread).sum())
        alpha = min(gamma / max(m_squared, 1e-12), 1e12)
        beta = min((n - gamma) / max(residual, 1e-12), 1e12)
    return best


def smallest_believable_gain(
    num_labels: int, disagreement: float | int, *, confidence: float = 0.95
) -> float:
    r"""Return the gain in accuracy that two models must show on labelled examples before it is believed.

    Only examples on which exactly one of the two is right count, k of n of them; if neither model is better,
    the first is the right one in Binomial(k, 1/2) of them (McNemar's test, exact and one-sided):

    .. math:: g = \frac{2b - k}{n}, \qquad b = \min\{b : P[B \ge b] \le 1 - c\}, \quad
        B \sim \text{Binomial}(k, \tfrac12)

    Parameters
    ----------
    num_labels
        n, labelled target examples that trained and tuned neither model; at least 1.
    disagreement
        k / n: share of the examples on which exactly one of the two models is right, in (0, 1].
    confidence
        c, in [1/2, 1).

    Returns
    -------
    The gain as a fraction; infinity if so few examples can show none.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Source
    ------
    McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
    Psychometrika 12 (1947), in its exact form.

    Examples
    --------
    >>> smallest_believable_gain(20, 0.25)  # k = 5: all five (2⁻⁵ = 0.03), so 5 / 20
    0.25
    >>> smallest_believable_gain(16, 0.25)  # k = 4: not even four of four (0.06)
    inf
    """
    if num_labels < 1:
        raise ValueError(f"num_labels is {num_labels}; expected at least 1")
    if not 0 < disagreement <= 1:
        raise ValueError(f"disagreement is {disagreement}; expected a share in (0, 1]")
    if not 0.5 <= confidence < 1:
        raise ValueError(f"confidence is {confidence}; expected a number in [0.5, 1), such as 0.95")
    k = max(round(num_labels * disagreement), 1)
    for wins in range(k // 2 + 1, k + 1):
        if special.bdtrc(wins - 1, k, 0.5) <= 1 - confidence:
            return (2 * wins - k) / num_labels
    return math.inf
