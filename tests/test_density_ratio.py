"""The four estimators by hand, and against independent solutions of the problems that they state."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear, minimize
from sklearn.linear_model import LogisticRegression, Ridge

from tlutils import density_ratio


def samples(n, m, d, copies=1):
    """Draw n and m rows; each row comes `copies` times."""
    rng = np.random.default_rng(0)
    source, target = rng.normal(size=(n, d)), 0.8 * rng.normal(size=(m, d)) + 0.4
    return source.repeat(copies, axis=0), target.repeat(copies, axis=0)


def rbf(a, b, bandwidth):
    """Return the kernel matrix by its definition, one pair at a time."""
    return np.array([[np.exp(-np.sum((p - q) ** 2) / (2 * bandwidth**2)) for q in b] for p in a])


def bases(source, target, bandwidth):
    """Return the constant and the kernels around the target examples, at the source and at the target."""
    return [np.column_stack([np.ones(len(x)), rbf(x, target, bandwidth)]) for x in (source, target)]


# One, two and three rows, one feature, more features than rows, and every row twice.
SIZES = [(1, 1, 1, 1), (2, 3, 1, 1), (3, 2, 5, 1), (12, 15, 2, 1), (15, 12, 20, 1), (8, 6, 2, 2)]
each_size = pytest.mark.parametrize(("n", "m", "d", "copies"), SIZES)


@pytest.mark.parametrize(
    ("target", "ridge", "weights"),
    [
        # κ = 2 (1, ½) + ½ (1, 1) = (5/2, 3/2); K + ½I = [[3/2, ½], [½, 3/2]] takes (3/2, ½) to it.
        (0.0, 1 / 2, [3 / 2, 1 / 2]),
        # κ = 2 (½, 1/16) + ¼ (1, 1) = (5/4, 3/8). The solution without bounds has w₂ < 0; with w₂ = 0 it is
        # w₁ = κ₁ / (1 + ¼) = 1, and the slope at w₂ is ½ - 3/8 > 0.
        (-1.0, 1 / 4, [1.0, 0.0]),
    ],
)
def test_kernel_mean_matching_by_hand(target, ridge, weights):
    # With this bandwidth k(x, x') = 2^-(x - x')²: two source examples at 0 and 1 have K = [[1, ½], [½, 1]].
    source, target = torch.tensor([[0.0], [1.0]]).double(), torch.tensor([[target]]).double()
    found = density_ratio.kernel_mean_matching(source, target, 1 / math.sqrt(2 * math.log(2)), ridge)
    assert found == pytest.approx(weights, abs=1e-12)


@each_size
def test_kernel_mean_matching_solves_its_quadratic_programme(n, m, d, copies):
    source, target = samples(n, m, d, copies)
    weights = density_ratio.kernel_mean_matching(
        torch.from_numpy(source), torch.from_numpy(target), 1.3, 1e-2
    )
    gram = rbf(source, source, 1.3) + 1e-2 * np.eye(len(source))
    kappa = len(source) * rbf(source, target, 1.3).mean(axis=1) + 1e-2
    # The conditions of Karush, Kuhn and Tucker say that it is the solution.
    slope = gram @ weights - kappa
    assert weights.min() >= 0
    assert slope.min() > -1e-10
    assert abs(weights * slope).max() < 1e-10
    # SciPy's solver for bounds on both sides, with the symmetric root in place of Cholesky's.
    values, vectors = np.linalg.eigh(gram)
    root = vectors * np.sqrt(values) @ vectors.T
    other = lsq_linear(root, np.linalg.solve(root, kappa), bounds=(0, np.inf), method="bvls", tol=1e-14)
    assert weights == pytest.approx(other.x, abs=1e-6)


def test_kernel_mean_matching_keeps_its_upper_bound(monkeypatch):
    monkeypatch.setattr(density_ratio, "MAX_WEIGHT", 1.5)
    source, target = samples(20, 20, 1)
    weights = density_ratio.kernel_mean_matching(
        torch.from_numpy(source), torch.from_numpy(target), 1.0, 1e-2
    )
    assert weights.max() == pytest.approx(1.5, abs=1e-9)
    assert weights.min() >= 0
    slope = rbf(source, source, 1.0) @ weights - 20 * rbf(source, target, 1.0).mean(axis=1)
    slope += 1e-2 * (weights - 1)
    assert slope[weights < 1.5 - 1e-9].min() > -1e-8
    assert slope[weights > 1e-9].max() < 1e-8


@pytest.mark.parametrize(
    ("on_target", "alpha"),
    [
        # The means on the source are 1 and ½, so α₀ = 1 - α₁/2. On the target the ratio is 1 + α₁/2 and
        # 1 - α₁/4; the product is largest where ½ (1 - α₁/4) = ¼ (1 + α₁/2), at α₁ = 1.
        ([[1.0, 1.0], [1.0, 0.25]], [0.5, 1.0]),
        # Here it is 1 and 1 - α₁/2, largest at the bound α₁ = 0.
        ([[1.0, 0.5], [1.0, 0.0]], [1.0, 0.0]),
    ],
)
def test_kliep_by_hand(on_target, alpha):
    on_source = np.array([[1.0, 1.0], [1.0, 0.0]])
    assert density_ratio.kliep(on_source, np.array(on_target)) == pytest.approx(alpha, abs=1e-6)


@each_size
def test_kliep_solves_its_convex_programme(n, m, d, copies):
    on_source, on_target = bases(*samples(n, m, d, copies), d**0.5)
    alpha = density_ratio.kliep(on_source, on_target)
    assert alpha.min() >= 0
    assert (on_source @ alpha).mean() == pytest.approx(1, abs=1e-12)
    # Its conditions of optimality, in β = α · mean, which sums to 1. By concavity the mean log ratio lies no
    # farther below its maximum than the largest slope lies above 1, whatever solver found it.
    mean, ratio = on_source.mean(axis=0), on_target @ alpha
    slope = (on_target / mean / ratio[:, None]).mean(axis=0)
    assert slope.max() < 1 + 1e-8

    def loss(beta):
        ratio = on_target / mean @ beta
        return -np.log(ratio).mean(), -(on_target / mean / ratio[:, None]).mean(axis=0)

    constraint = {"type": "eq", "fun": lambda beta: beta.sum() - 1, "jac": np.ones_like}
    options = {"constraints": constraint, "bounds": [(0, None)] * len(mean), "tol": 1e-16}
    other = minimize(loss, np.full(len(mean), 1 / len(mean)), jac=True, method="SLSQP", **options)
    beta = other.x / other.x.sum()  # SLSQP meets the constraint to 1e-8 only
    assert -np.log(ratio).mean() == pytest.approx(loss(beta)[0], abs=1e-9)
    # The ratio at the target examples is unique; the coefficients are not where rows are copies.
    assert ratio == pytest.approx(on_target / mean @ beta, rel=1e-6)


def test_ulsif_solves_its_normal_equations_by_hand():
    on_source, on_target = np.array([[1.0, 2.0], [1.0, 0.0]]), np.array([[1.0, 1.5]])
    # H = [[1, 1], [1, 2]], with ridge ½ on the second entry [[1, 1], [1, 2.5]]; h = (1, 1.5).
    assert density_ratio.ulsif(on_source, on_target, 0.5) == pytest.approx([2 / 3, 1 / 3], abs=1e-12)


@each_size
def test_ulsif_is_a_least_squares_problem(n, m, d, copies):
    on_source, on_target = bases(*samples(n, m, d, copies), 1.0)
    alpha = density_ratio.ulsif(on_source, on_target, 0.1)
    # ½ mean (Φα)² - h'α + ½ρ ‖α‖² is ½ ‖Aα - b‖² + const with A'b = h, for the rows Φ / √n and √ρ I.
    penalty = np.sqrt(0.1) * np.eye(len(alpha))[1:]
    rows = np.concatenate([on_source / np.sqrt(len(on_source)), penalty])
    right = np.linalg.lstsq(rows.T, on_target.mean(axis=0))[0]
    assert alpha == pytest.approx(np.linalg.lstsq(rows, right)[0], abs=1e-9)


@pytest.mark.parametrize(("n", "m", "d", "copies"), [(20, 2, 1, 1), (30, 5, 3, 1), (25, 3, 8, 2)])
def test_ulsif_is_scikit_learns_ridge_regression(n, m, d, copies):
    on_source, on_target = bases(*samples(n, m, d, copies), 1.0)
    # With answers y for which mean Φy = h, ridge regression with an intercept has the same equations.
    answers = len(on_source) * np.linalg.lstsq(on_source.T, on_target.mean(axis=0))[0]
    model = Ridge(alpha=0.1 * len(on_source), tol=1e-12).fit(on_source[:, 1:], answers)
    ratio = on_source @ density_ratio.ulsif(on_source, on_target, 0.1)
    assert ratio == pytest.approx(model.predict(on_source[:, 1:]), abs=1e-6)


def test_classifier_by_hand():
    # Standardised, the examples lie at -1 (two of the source, one of the target) and at 1 (the other way
    # round). By symmetry there is no intercept, and the slope w solves C (4 - 2eʷ) / (1 + eʷ) = w. With
    # C = 2.5 ln 1.5 that is w = ln 1.5, and the odds at ±1 are e^±w. (Without a ridge eʷ is 2, the ratio of
    # the counts.)
    source, target = np.array([[0.0], [0.0], [1.0]]), np.array([[0.0], [1.0], [1.0]])
    ridge = 1 / (2.5 * math.log(1.5))
    odds = density_ratio.domain_odds(torch.from_numpy(source), torch.from_numpy(target), ridge)
    assert odds == pytest.approx([2 / 3, 2 / 3, 3 / 2], abs=1e-6)


@pytest.mark.parametrize(("n", "m", "d", "copies"), [*SIZES, (40, 20, 3, 1)])
def test_classifier_is_scikit_learns(n, m, d, copies):
    source, target = samples(n, m, d, copies)
    odds = density_ratio.domain_odds(torch.from_numpy(source), torch.from_numpy(target), 2.0)
    x, is_target = np.concatenate([source, target]), np.repeat([0, 1], [len(source), len(target)])
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    # By Newton's method to the last digits; ours stops L-BFGS at a slope of 1e-8.
    model = LogisticRegression(C=0.5, solver="newton-cholesky", tol=1e-12, max_iter=100).fit(x, is_target)
    expected = n / m * np.exp(model.decision_function(x[: len(source)]))
    assert odds == pytest.approx(expected, rel=1e-6)


def test_bandwidth_and_ridge_are_chosen_where_none_is_given():
    source, target = map(torch.from_numpy, samples(80, 60, 1))
    for fit in (density_ratio.fit_kliep, density_ratio.fit_ulsif):
        chosen = fit(source, target, None, None)
        tried = [fit(source, target, factor, None) for factor in density_ratio.BANDWIDTH_FACTORS]
        assert min(abs(chosen - weights).max() for weights in tried) < 1e-12
    assert len(density_ratio.fit_ulsif(source, target, None, 0.1)) == 80
