"""The transformers behave as scikit-learn's do, and align what a pipeline is trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from tlutils.coral import coral_map
from tlutils.estimators import CoralTransformer

# Every check that did not pass, with what scikit-learn says of it.
NOT_PASSED = {
    # Runs only where SciPy's array API is switched on before SciPy is imported. The transformer takes NumPy.
    "check_array_api_input": "SCIPY_ARRAY_API is not set: not checking array_api input",
}


def test_scikit_learn_s_own_checks(monkeypatch):
    monkeypatch.delenv("SCIPY_ARRAY_API", raising=False)
    results = check_estimator(CoralTransformer(), on_skip=None, on_fail=None)
    others = {r["check_name"]: str(r["exception"]) for r in results if r["status"] != "passed"}
    assert others == NOT_PASSED
    assert len(results) > 40


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


@pytest.mark.parametrize(
    ("scale", "offset"),
    [(1e4, 0.0), (1e-4, 0.0), (1e-4, 100.0), (1e4, 100.0)],
)
def test_float32_at_any_scale(scale, offset):
    x_source, _, x_target, _ = domains()
    source, target = (((x + offset) * scale).astype(np.float32) for x in (x_source, x_target))
    found, exact = (
        CoralTransformer(target.astype(dtype), ridge=0.1 * scale**2).fit_transform(source.astype(dtype))
        for dtype in (np.float32, np.float64)
    )
    np.testing.assert_allclose(found, exact, rtol=1e-6, atol=1e-5 * scale)


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
