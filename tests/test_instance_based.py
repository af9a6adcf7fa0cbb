"""Weights for source examples, their effective number, and TrAdaBoost."""

import math
import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from tlutils.instance_based import (
    METHODS,
    SupportWarning,
    density_ratio_weights,
    effective_sample_size,
    tradaboost,
)

each_method = pytest.mark.parametrize("method", METHODS)


def pair(n, m, d, seed=0, shift=0.5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    source = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return source.to(dtype), (torch.randn(m, d, generator=generator, dtype=torch.float64) + shift).to(dtype)


class TestProperties:
    @each_method
    @settings(max_examples=15, deadline=None)
    @given(n=st.integers(2, 30), m=st.integers(2, 30), d=st.integers(1, 8), seed=st.integers(0, 10**6))
    def test_weights_are_at_least_zero_and_average_to_one(self, method, n, m, d, seed):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SupportWarning)  # small samples may well be apart
            weights = density_ratio_weights(*pair(n, m, d, seed), method=method)
        assert weights.shape == (n,)
        assert weights.min() >= 0
        assert weights.mean() == pytest.approx(1)
        assert 1 - 1e-9 <= effective_sample_size(weights) <= n + 1e-9

    @each_method
    @settings(max_examples=10, deadline=None)
    @given(n=st.integers(2, 30), d=st.integers(1, 40), seed=st.integers(0, 10**6))
    def test_weights_are_constant_when_domains_agree(self, method, n, d, seed):
        x, _ = pair(n, 1, d, seed)
        assert density_ratio_weights(x, x.clone(), method=method) == pytest.approx(torch.ones(n), abs=1e-6)

    @each_method
    def test_scale_and_place_do_not_matter(self, method):
        source, target = pair(30, 20, 2)
        weights = density_ratio_weights(source, target, method=method)
        moved = density_ratio_weights(1e3 * source + 7e4, 1e3 * target + 7e4, method=method)
        assert moved == pytest.approx(weights, abs=1e-4)

    @each_method
    def test_duplicated_rows_share_their_weight(self, method):
        source, target = pair(20, 25, 2)
        weights = density_ratio_weights(source.repeat(2, 1), target, method=method)
        assert weights[:20] == pytest.approx(weights[20:], abs=1e-6)

    @each_method
    @pytest.mark.parametrize("scale", [1e4, 1e-4])
    def test_float32_at_any_scale(self, method, scale):
        source, target = pair(40, 30, 3)
        exact = density_ratio_weights(source, target, method=method)
        weights = density_ratio_weights((scale * source).float(), (scale * target).float(), method=method)
        assert weights.dtype == torch.float32
        assert weights.double() == pytest.approx(exact, abs=2e-3)

    @each_method
    @pytest.mark.filterwarnings("ignore::tlutils.instance_based.SupportWarning")
    @pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 1), (1, 3, 2), (2, 1, 1), (3, 2, 1), (2, 3, 10)])
    def test_odd_sizes(self, method, n, m, d):
        weights = density_ratio_weights(*pair(n, m, d), method=method)
        assert weights.mean() == pytest.approx(1)

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=20), st.floats(1e-3, 1e3))
    def test_effective_sample_size(self, values, scale):
        weights = torch.tensor(values, dtype=torch.float64)
        found = effective_sample_size(weights)
        assert 1 - 1e-9 <= found <= len(values) + 1e-9
        assert effective_sample_size(scale * weights) == pytest.approx(found)
        assert effective_sample_size(torch.ones_like(weights)) == pytest.approx(len(values))


class TestAgainstTheTruth:
    @each_method
    def test_weights_follow_the_true_ratio(self, method):
        # N(0, 1) and N(1/2, 1): log w = x/2 - 1/8, which a linear domain classifier can say exactly.
        source, target = pair(600, 600, 1)
        truth = torch.exp(source[:, 0] / 2 - 1 / 8)
        weights = density_ratio_weights(source, target, method=method)
        assert np.corrcoef(weights, truth)[0, 1] > 0.9
        assert effective_sample_size(weights) / 600 == pytest.approx(math.exp(-1 / 4), abs=0.1)

    @each_method
    def test_hard_before_solved_after(self, method):
        source, target = pair(600, 600, 1, shift=1.0)
        weights = density_ratio_weights(source, target, method=method)
        before, after = source.mean() - target.mean(), (weights[:, None] * source).mean() - target.mean()
        assert abs(after) < 0.2 < abs(before)

    @each_method
    def test_no_gain_where_there_is_no_shift(self, method):
        source, target = pair(600, 600, 1, shift=0.0)
        assert effective_sample_size(density_ratio_weights(source, target, method=method)) > 0.9 * 600

    def test_another_classifier(self):
        # A target twice as narrow needs a quadratic classifier: naive Bayes with one variance per domain.
        source, target = pair(600, 600, 1, shift=0.0)
        weights = density_ratio_weights(source, target / 2, classifier=GaussianNB())
        truth = 2 * torch.exp(-1.5 * source[:, 0] ** 2)
        assert np.corrcoef(weights, truth)[0, 1] > 0.98


class TestBadInput:
    @pytest.mark.usefixtures("as_reader")
    @pytest.mark.parametrize(
        ("source", "target", "error", "message"),
        [
            (torch.ones(3, 2), torch.ones(3, 1), ValueError, "x_source has 2 features and x_target 1"),
            (torch.ones(0, 2), torch.ones(3, 2), ValueError, "x_source has 0 examples; expected at least 1"),
            (torch.ones(3, 2), torch.ones(0, 2), ValueError, "x_target has 0 examples"),
            (torch.full((3, 2), math.nan), torch.ones(3, 2), ValueError, "NaN or infinite values in 3 of 3"),
            (torch.ones(3, 2), torch.full((3, 2), math.inf), ValueError, "x_target has NaN or infinite"),
            (torch.ones(3, 2), torch.ones(4, 2), ValueError, "all 7 examples are equal .zero variance"),
            (torch.ones(3, 2).long(), torch.ones(3, 2), TypeError, r"torch.int64.*convert with \.float"),
            (torch.ones(3, 2), torch.ones(3, 2).double(), TypeError, "convert one of them"),
            (torch.ones(3, 2), torch.ones(3, 2, device="meta"), ValueError, "is on cpu and x_target on meta"),
            (torch.ones(3), torch.ones(3, 2), ValueError, "expected one row per example"),
        ],
    )
    def test_samples(self, source, target, error, message):
        for method in METHODS:
            with pytest.raises(error, match=message):
                density_ratio_weights(source, target, method=method)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"method": "svm"}, "method is 'svm'; expected one of classifier, kmm, kliep, ulsif"),
            ({"bandwidth": 1.0}, "'classifier' has no option 'bandwidth'; it takes ridge and classifier"),
            ({"method": "kliep", "ridge": 1.0}, "'kliep' has no option 'ridge'"),
            ({"method": "kmm", "classifier": GaussianNB()}, "'kmm' has no option 'classifier'"),
            ({"method": "kmm", "bandwidth": 0.0}, "bandwidth is 0.0; expected positive"),
            ({"method": "ulsif", "bandwidth": -1.0}, "bandwidth is -1.0; expected positive"),
            ({"method": "ulsif", "ridge": 0.0}, "ridge is 0.0; expected a positive number"),
        ],
    )
    def test_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            density_ratio_weights(*pair(5, 5, 1), **options)

    @each_method
    def test_disjoint_supports_give_a_warning_that_says_what_it_means(self, method):
        source, target = pair(50, 50, 2, shift=100.0)
        with pytest.warns(SupportWarning, match="0 % of the target.*supports look disjoint.*no weights can"):
            weights = density_ratio_weights(source, target, method=method)
        assert weights.mean() == pytest.approx(1)

    @pytest.mark.parametrize("d", [1, 5, 100])
    def test_no_warning_where_one_distribution_is_drawn_from_twice(self, d):
        weights = density_ratio_weights(*pair(100, 100, d, shift=0.0))  # a warning would be an error
        assert weights.mean() == pytest.approx(1)

    @pytest.mark.usefixtures("as_reader")
    @pytest.mark.parametrize(
        ("weights", "error", "message"),
        [
            (torch.tensor([1.0, -0.5]), ValueError, "smallest weight is -0.5; expected at least 0.*clip"),
            (torch.tensor([0.0, 0.0]), ValueError, "all weights are 0"),
            (torch.tensor([]), ValueError, "at least one weight"),
            (torch.ones(2, 2), ValueError, r"shape \(2, 2\); expected a vector"),
            (torch.tensor([1.0, math.nan]), ValueError, "NaN or infinite"),
            (torch.tensor([1, 2]), TypeError, r"torch.int64.*use \.float"),
        ],
    )
    def test_weights(self, weights, error, message):
        with pytest.raises(error, match=message):
            effective_sample_size(weights)


class Fixed:
    """A classifier with given answers, to follow the arithmetic by hand."""

    def __init__(self, answers):
        self.answers, self.seen = np.array(answers), []

    def fit(self, _x, _y, sample_weight):
        self.seen.append(sample_weight)
        return self

    def predict(self, x):
        return self.answers[: len(x)]


class TestTrAdaBoost:
    def test_weights_by_hand(self):
        # Source: the second answer is wrong. Target: the first of two is wrong, so ε = ½ in round 1 → 0.499.
        x = np.zeros((2, 1))
        boosted = tradaboost(x, np.array([0, 1]), x, np.array([1, 0]), num_rounds=2,
                             make_estimator=lambda: Fixed([0, 0, 0, 0]))  # fmt: skip
        beta = 1 / (1 + math.sqrt(2 * math.log(2) / 2))
        assert boosted.betas[0] == pytest.approx(0.499 / 0.501)
        up = 0.501 / 0.499
        total = 1 + beta + up + 1
        assert boosted.source_weights[0] == pytest.approx([1 / 4, 1 / 4])
        assert boosted.source_weights[1] == pytest.approx([1 / total, beta / total])

    def test_vote_counts_the_second_half_only(self):
        answers = iter([[0, 1, 0, 1], [0, 1, 0, 1], [1, 0, 1, 0], [1, 0, 1, 0]])
        x, y = np.arange(2.0)[:, None], np.array([0, 1])
        boosted = tradaboost(x, y, x, y, num_rounds=4, make_estimator=lambda: Fixed(next(answers)))
        assert boosted.betas == pytest.approx([1e-6, 1e-6, 0.499 / 0.501, 0.499 / 0.501], rel=1e-3)
        assert boosted.predict(x).tolist() == [1, 0]  # the later rounds, although they are wrong

    def test_source_examples_that_disagree_with_the_target_lose_weight(self):
        rng = np.random.default_rng(0)
        x_source, x_target = rng.normal(size=(300, 2)), rng.normal(size=(60, 2))
        y_source, y_target = (x_source[:, 0] > 0).astype(int), (x_target[:, 1] > 0).astype(int)
        boosted = tradaboost(x_source, y_source, x_target, y_target, make_estimator=LogisticRegression)
        assert boosted.source_weights[-1].sum() < 0.8 * boosted.source_weights[0].sum()
        agrees = (x_source[:, 1] > 0) == y_source
        assert boosted.source_weights[-1][agrees].mean() > 2 * boosted.source_weights[-1][~agrees].mean()

    def test_sparse_rows(self):
        rng = np.random.default_rng(0)
        x = rng.integers(0, 2, (40, 5)).astype(float)
        y = x[:, 0].astype(int)
        dense, sparse = (
            tradaboost(part, y, part[:10], y[:10], make_estimator=LogisticRegression, num_rounds=3).predict(
                part
            )
            for part in (x, csr_matrix(x))
        )
        assert np.array_equal(dense, sparse)
        assert np.array_equal(dense, y)

    def test_bad_input(self):
        x, y = np.zeros((2, 1)), np.array([0, 1])
        with pytest.raises(ValueError, match=r"y_source holds \[0, 2\]; expected both classes, 0 and 1"):
            tradaboost(x, 2 * y, x, y, make_estimator=LogisticRegression)
        with pytest.raises(ValueError, match=r"y_target holds \[0\]"):
            tradaboost(x, y, x, 0 * y, make_estimator=LogisticRegression)
        with pytest.raises(ValueError, match="num_rounds is 1; expected at least 2"):
            tradaboost(x, y, x, y, make_estimator=LogisticRegression, num_rounds=1)
