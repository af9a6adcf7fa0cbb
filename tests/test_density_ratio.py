"""The four estimators against independent solutions of the problems that they state."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from tlutils import density_ratio


def samples(n, m, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), 0.8 * rng.normal(size=(m, d)) + 0.4


def rbf(a, b, bandwidth):
    """Return the kernel matrix by its definition, one pair at a time."""
    return np.array([[np.exp(-np.sum((p - q) ** 2) / (2 * bandwidth**2)) for q in b] for p in a])


SIZES = [(1, 1, 1), (2, 3, 1), (3, 2, 5), (12, 15, 2), (15, 12, 20)]


@pytest.mark.parametrize(("n", "m", "d"), SIZES)
def test_kernel_mean_matching_solves_its_quadratic_programme(n, m, d):
    source, target = samples(n, m, d)
    weights = density_ratio.kernel_mean_matching(
        torch.from_numpy(source), torch.from_numpy(target), 1.3, 1e-2
    )
    gram, kappa = rbf(source, source, 1.3), n * rbf(source, target, 1.3).mean(axis=1)

    def loss(w):
        return 0.5 * w @ gram @ w - kappa @ w + 0.005 * ((w - 1) ** 2).sum()

    def slope(w):
        return gram @ w - kappa + 0.01 * (w - 1)

    # The conditions of Karush, Kuhn and Tucker say that it is the solution.
    assert weights.min() >= 0
    assert slope(weights).min() > -1e-8
    assert abs(weights * slope(weights)).max() < 1e-8
    other = minimize(loss, np.ones(n), jac=slope, bounds=[(0, None)] * n, method="SLSQP", tol=1e-15,
                     options={"maxiter": 2000})  # fmt: skip
    assert weights == pytest.approx(other.x, abs=1e-5)


def test_kernel_mean_matching_keeps_its_upper_bound(monkeypatch):
    monkeypatch.setattr(density_ratio, "MAX_WEIGHT", 1.5)
    source, target = map(torch.from_numpy, samples(20, 20, 1))
    weights = density_ratio.kernel_mean_matching(source, target, 1.0, 1e-2)
    assert weights.max() == pytest.approx(1.5, abs=1e-9)
    assert weights.min() >= 0


@pytest.mark.parametrize(("n", "m", "d"), SIZES)
def test_kliep_solves_its_convex_programme(n, m, d):
    source, target = samples(n, m, d)
    on_source, on_target = (
        np.column_stack([np.ones(len(x)), rbf(x, target, d**0.5)]) for x in (source, target)
    )
    alpha = density_ratio.kliep(on_source, on_target)
    assert alpha.min() >= 0
    assert (on_source @ alpha).mean() == pytest.approx(1)

    def loss(a):
        return -np.log(np.maximum(on_target @ a, 1e-300)).mean()

    constraint = {"type": "eq", "fun": lambda a: (on_source @ a).mean() - 1}
    start = np.eye(m + 1)[0]
    options = {"bounds": [(0, None)] * (m + 1), "constraints": constraint, "options": {"maxiter": 1000}}
    other = minimize(loss, start, method="SLSQP", tol=1e-14, **options)
    assert loss(alpha) <= other.fun + 1e-8
    # The ratio at the target examples is unique; in many dimensions the coefficients are not.
    assert on_target @ alpha == pytest.approx(on_target @ other.x, rel=1e-2)


def test_ulsif_solves_its_normal_equations_by_hand():
    on_source, on_target = np.array([[1.0, 2.0], [1.0, 0.0]]), np.array([[1.0, 1.5]])
    # H = [[1, 1], [1, 2]], with ridge ½ on the second entry [[1, 1], [1, 2.5]]; h = (1, 1.5).
    assert density_ratio.ulsif(on_source, on_target, 0.5) == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize(("n", "m", "d"), SIZES[1:])
def test_ulsif_minimises_its_loss(n, m, d):
    source, target = samples(n, m, d)
    on_source, on_target = (np.column_stack([np.ones(len(x)), rbf(x, target, 1.0)]) for x in (source, target))
    alpha = density_ratio.ulsif(on_source, on_target, 0.1)

    def loss(a):
        return 0.5 * ((on_source @ a) ** 2).mean() - (on_target @ a).mean() + 0.05 * (a[1:] ** 2).sum()

    for direction in np.random.default_rng(1).normal(size=(20, m + 1)):
        assert loss(alpha) <= loss(alpha + 1e-3 * direction)


def test_classifier_is_scikit_learns():
    source, target = samples(40, 20, 3)
    odds = density_ratio.domain_odds(torch.from_numpy(source), torch.from_numpy(target), 2.0)
    x = np.concatenate([source, target])
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    model = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000).fit(x, np.repeat([0, 1], [40, 20]))
    assert odds == pytest.approx(2 * np.exp(model.decision_function(x[:40])), rel=1e-4)


def test_bandwidth_and_ridge_are_chosen_where_none_is_given():
    source, target = map(torch.from_numpy, samples(80, 60, 1))
    for fit in (density_ratio.fit_kliep, density_ratio.fit_ulsif):
        chosen = fit(source, target, None, None)
        tried = [fit(source, target, factor, None) for factor in density_ratio.BANDWIDTH_FACTORS]
        assert min(abs(chosen - weights).max() for weights in tried) < 1e-12
    assert len(density_ratio.fit_ulsif(source, target, None, 0.1)) == 80
