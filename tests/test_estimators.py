"""The transformers behave as scikit-learn's do, and align what a pipeline is trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator

from tlutils.coral import coral_map
from tlutils.estimators import CoralTransformer

CHECKS = list(estimator_checks_generator(CoralTransformer()))


@pytest.mark.parametrize("check", [check for _, check in CHECKS], ids=lambda check: check.func.__name__)
def test_scikit_learn_s_own_checks(check):
    if "array_api" in check.func.__name__:
        return  # only where SciPy's array API is switched on before its import; the estimator takes NumPy
    assert check(CoralTransformer()) is None  # a failed check raises


def domains(seed=0, n=300):
    """Two classes along an axis that the target turns and stretches."""
    rng = np.random.default_rng(seed)
    y_source, y_target = rng.integers(0, 2, (2, n))
    spread = np.array([[1.0, 0.0], [0.0, 0.3]])
    x_source, x_target = (rng.normal(size=(n, 2)) @ spread + np.outer(2 * y - 1, [0.0, 0.6])
                          for y in (y_source, y_target))  # fmt: skip
    return x_source, y_source, x_target @ np.array([[1.0, 0.0], [0.0, 5.0]]) + 20, y_target


def test_hard_before_and_solved_after_in_a_pipeline():
    x_source, y_source, x_target, y_target = domains()
    plain = LogisticRegression().fit(x_source, y_source).score(x_target, y_target)
    aligned = make_pipeline(CoralTransformer(x_target, ridge=0), LogisticRegression())
    aligned.fit(x_source, y_source)
    assert plain < 0.7
    assert aligned.score(x_target, y_target) > 0.95


def test_no_gain_and_no_loss_where_there_is_no_shift():
    x_source, y_source, _, _ = domains()
    x_target, y_target = domains(seed=1)[:2]
    plain = LogisticRegression().fit(x_source, y_source).score(x_target, y_target)
    aligned = make_pipeline(CoralTransformer(x_target), LogisticRegression()).fit(x_source, y_source)
    assert aligned.score(x_target, y_target) == pytest.approx(plain, abs=0.02)


def test_mean_and_covariance_of_the_aligned_source_are_the_target_s():
    x_source, _, x_target, _ = domains()
    transformer = CoralTransformer(x_target, ridge=0)
    aligned = transformer.fit_transform(x_source)
    np.testing.assert_allclose(aligned.mean(axis=0), x_target.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(np.cov(aligned.T), np.cov(x_target.T), atol=1e-9)
    np.testing.assert_allclose(transformer.align(x_source), aligned)
    np.testing.assert_array_equal(transformer.transform(x_target), x_target)
    expected = coral_map(*map(torch.from_numpy, (x_source, x_target)), ridge=0)
    np.testing.assert_allclose(transformer.map_, expected)


def test_float32_is_kept_and_names_go_through():
    x_source, _, x_target, _ = domains()
    transformer = CoralTransformer(x_target)
    assert transformer.fit_transform(x_source.astype(np.float32)).dtype == np.float32
    assert transformer.get_feature_names_out(["a", "b"]).tolist() == ["a", "b"]


def test_ridge_can_be_searched_and_the_estimator_cloned():
    x_source, y_source, x_target, _ = domains(n=60)
    pipeline = make_pipeline(CoralTransformer(x_target), LogisticRegression())
    search = GridSearchCV(pipeline, {"coraltransformer__ridge": [0.1, 1.0]}, cv=2).fit(x_source, y_source)
    assert set(search.best_params_) == {"coraltransformer__ridge"}
    copied = clone(CoralTransformer(x_target, ridge=2.0))
    assert copied.ridge == 2.0
    np.testing.assert_array_equal(copied.x_target, x_target)


def test_without_a_target_nothing_moves():
    x_source = domains()[0]
    np.testing.assert_array_equal(CoralTransformer().fit_transform(x_source), x_source)


@pytest.mark.usefixtures("as_reader")
def test_bad_targets_are_refused():
    x_source = domains()[0]
    with pytest.raises(ValueError, match="X has 2 features and x_target 3; .*steps before"):
        CoralTransformer(np.zeros((4, 3))).fit(x_source)
    with pytest.raises(ValueError, match="x_target has 1 example"):
        CoralTransformer(np.zeros((1, 2))).fit(x_source)
    with pytest.raises(ValueError, match="singular"):
        CoralTransformer(x_source, ridge=0).fit(x_source[:, [0, 0]])
    with pytest.raises(ValueError, match="ridge is -1"):
        CoralTransformer(x_source, ridge=-1).fit(x_source)
