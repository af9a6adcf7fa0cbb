"""Scores of transferability against direct computation and in cases that can be seen."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.optimize import minimize
from scipy.stats import binomtest, f_oneway, multivariate_normal
from sklearn.linear_model import BayesianRidge
from sklearn.metrics import log_loss
from sklearn.naive_bayes import CategoricalNB

from tlutils import transferability
from tlutils.transferability import h_score, leep, log_evidence, smallest_believable_gain


def draw(n, d, num_classes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % num_classes
    return torch.randn(n, d, generator=generator, dtype=torch.float64), labels


def entropy(labels):
    p = torch.bincount(labels).double() / len(labels)
    return float(-(p * p.log()).sum())


class TestLeep:
    def test_by_hand(self):
        # Joint: class 0 gets (0.9 + 0.5, 0.1 + 0.5) / 3, class 1 gets (0.2, 0.8) / 3.
        p, y = (
            torch.tensor([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]], dtype=torch.float64),
            torch.tensor([0, 0, 1]),
        )
        zero, one = np.array([1.4 / 1.6, 0.6 / 1.4]), np.array([0.2 / 1.6, 0.8 / 1.4])
        expected = (
            math.log(zero @ [0.9, 0.1]) + math.log(zero @ [0.5, 0.5]) + math.log(one @ [0.2, 0.8])
        ) / 3
        assert leep(p, y) == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize(("n", "d", "classes"), [(2, 2, 2), (3, 1, 2), (3, 5, 3), (40, 4, 3)])
    @pytest.mark.parametrize("copies", [1, 2])
    def test_is_the_log_loss_of_scikit_learns_counts(self, n, d, classes, copies):
        x, y = (part.repeat_interleave(copies, dim=0) for part in draw(n, d, classes))
        p = x.softmax(dim=1)
        # Each example counts once for every source class z, with the weight p(z): naive Bayes with z as its
        # only feature gives P(y | z).
        z = np.arange(d)[:, None]
        counts = CategoricalNB(alpha=1e-12)
        counts.fit(np.tile(z, (len(y), 1)), y.repeat_interleave(d).numpy(), sample_weight=p.flatten().numpy())
        assert leep(p, y) == pytest.approx(-log_loss(y, p.numpy() @ counts.predict_proba(z)), abs=1e-9)

    @settings(max_examples=30, deadline=None)
    @given(n=st.integers(4, 40), classes=st.integers(2, 4), seed=st.integers(0, 10**6))
    def test_lies_between_minus_the_entropy_and_zero(self, n, classes, seed):
        x, y = draw(n, 3, classes, seed)
        assert -entropy(y) - 1e-9 <= leep(x.softmax(dim=1), y) <= 0

    def test_order_of_source_classes_does_not_matter(self):
        x, y = draw(20, 4, 3)
        p = x.softmax(dim=1)
        assert leep(p[:, [2, 0, 3, 1]], y) == pytest.approx(leep(p, y))


class TestHScore:
    def test_by_hand(self):
        # The mean is 3/2, and the squares about it sum to 5; the class means 1 and 2 give 4 · ¼.
        x, y = torch.tensor([[0.0], [2.0], [1.0], [3.0]]), torch.tensor([0, 0, 1, 1])
        assert h_score(x, y) == pytest.approx(1 / 5, abs=1e-12)

    def test_one_feature_is_analysis_of_variance(self):
        x, y = draw(30, 1, 3)
        # F = (H / 2) / ((1 - H) / 27) for three classes of 30 examples.
        ratio = f_oneway(*(x[y == c, 0] for c in range(3))).statistic * 2 / 27
        assert h_score(x, y) == pytest.approx(ratio / (1 + ratio), abs=1e-12)

    @pytest.mark.parametrize(("n", "d"), [(30, 1), (30, 4), (12, 20)])
    def test_is_its_definition(self, n, d):
        x, y = draw(n, d, 3)
        means = torch.stack([x[y == c].mean(dim=0) for c in range(3)])[y]
        expected = np.trace(
            np.linalg.pinv(np.cov(x.T).reshape(d, d), rcond=1e-12) @ np.cov(means.T).reshape(d, d)
        )
        assert h_score(x, y) == pytest.approx(expected, abs=1e-6)

    @settings(max_examples=20, deadline=None)
    @given(seed=st.integers(0, 10**6))
    def test_does_not_depend_on_a_linear_map(self, seed):
        x, y = draw(40, 3, 4, seed)
        mixing, _ = draw(3, 3, 2, seed + 1)
        mixing = mixing + 5 * torch.eye(3)
        assert h_score(x @ mixing + 2, y) == pytest.approx(h_score(x, y), rel=1e-6)
        assert 0 <= h_score(x, y) <= 3

    def test_a_constant_feature_changes_nothing(self):
        x, y = draw(40, 3, 4)
        assert h_score(torch.cat([x, torch.ones(40, 1)], dim=1), y) == pytest.approx(h_score(x, y))


class TestLogEvidence:
    @pytest.mark.parametrize(
        ("features", "labels", "expected"),
        [
            # y = (1, 0) or (0, 1) ~ N(0, v I) with v = 1/β + 1/α: largest for v = ‖y‖² / 2 = ½, which leaves
            # log N = -log(2πv) - ‖y‖² / 2v = -log π - 1 for two examples.
            (torch.eye(2), [0, 1], -(math.log(math.pi) + 1) / 2),
            # y = (1, 1, 0, 0) has the part 2 / √4 = 1 along the feature, variance 1/β + 4/α, and squares that
            # sum to 1 in three directions of variance 1/β: largest for 1/β = 1/3 and 1/β + 4/α = 1.
            (torch.ones(4, 1), [0, 0, 1, 1], -(4 * math.log(2 * math.pi) - 3 * math.log(3) + 4) / 8),
        ],
    )
    def test_by_hand(self, features, labels, expected):
        assert log_evidence(features, torch.tensor(labels)) == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize(("n", "d"), [(30, 3), (10, 15), (6, 1)])
    def test_is_the_largest_density_of_the_labels(self, n, d):
        x, labels = draw(n, d, 2, seed=3)
        x[:, 0] += 2 * labels

        def negative(log_parameters, y):
            alpha, beta = np.exp(log_parameters)
            return -multivariate_normal.logpdf(y, cov=np.eye(n) / beta + (x @ x.T).numpy() / alpha)

        best = [-min(minimize(negative, start, args=((labels == c).double().numpy(),), method="Nelder-Mead",
                              options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 4000}).fun
                     for start in ([0, 0], [2, 2])) / n
                for c in (0, 1)]  # fmt: skip
        assert log_evidence(x, labels) == pytest.approx(np.mean(best), abs=1e-6)

    @pytest.mark.parametrize(
        ("n", "d", "copies"), [(30, 4, 1), (40, 20, 1), (8, 3, 2), (3, 2, 1), (6, 1, 1), (10, 15, 1)]
    )
    def test_is_scikit_learns_evidence(self, n, d, copies, monkeypatch):
        x, labels = draw(n, d, 2)
        x[:, 0] += 2 * labels
        x, labels = (part.repeat_interleave(copies, dim=0) for part in (x, labels))
        options = {"alpha_1": 0, "alpha_2": 0, "lambda_1": 0, "lambda_2": 0, "tol": 1e-14, "max_iter": 3000}
        model = BayesianRidge(**options, compute_score=True, fit_intercept=False)
        scores = [model.fit(x, (labels == c).double()).scores_[-1] / len(labels) for c in (0, 1)]
        assert log_evidence(x, labels) == pytest.approx(np.mean(scores), abs=1e-5)
        # Towards an infinite α or β the steps creep, and stop early: after 100, or where one adds 1e-9.
        monkeypatch.setattr(transferability, "MAX_STEPS", 3000)
        monkeypatch.setattr(transferability, "TOLERANCE", 1e-14)
        assert log_evidence(x, labels) == pytest.approx(np.mean(scores), abs=1e-6)

    def test_useful_features_score_higher_than_noise(self):
        x, labels = draw(100, 5, 4)
        useful = x.clone()
        useful[torch.arange(100), labels] += 3
        for score in (log_evidence, h_score):
            assert score(useful, labels) > score(x, labels)


class TestBelievableGain:
    @pytest.mark.parametrize(("n", "share"), [(50, 0.2), (200, 0.1), (1000, 0.3)])
    def test_two_equal_models_seldom_pass(self, n, share):
        k, rng = round(n * share), np.random.default_rng(0)
        wins = rng.binomial(k, 0.5, size=20_000)
        alarms = ((2 * wins - k) / n >= smallest_believable_gain(n, share) - 1e-12).mean()
        assert 0.01 < alarms < 0.055

    @pytest.mark.parametrize(("n", "share"), [(1, 1.0), (16, 0.25), (20, 0.25), (50, 0.2), (200, 0.1)])
    def test_is_the_smallest_gain_that_scipys_test_believes(self, n, share):
        k = round(n * share)
        p_values = [binomtest(wins, k, alternative="greater").pvalue for wins in range(k + 1)]
        gains = [(2 * wins - k) / n for wins, p in enumerate(p_values) if p <= 0.05]
        assert smallest_believable_gain(n, share) == pytest.approx(min(gains, default=math.inf), abs=1e-12)

    def test_falls_with_the_root_of_the_number(self):
        few, many = (smallest_believable_gain(n, 0.2) for n in (500, 50_000))
        assert few / many == pytest.approx(10, rel=0.15)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((0, 0.1), "num_labels is 0"),
            ((10, 0.0), "disagreement is 0.0"),
            ((10, 1.5), "disagreement is 1.5"),
        ],
    )
    def test_bad_input(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            smallest_believable_gain(*arguments)
        with pytest.raises(ValueError, match="confidence is 1.0"):
            smallest_believable_gain(10, 0.1, confidence=1.0)
        with pytest.raises(ValueError, match=r"confidence is 0.2; expected a number in \[0.5, 1\)"):
            smallest_believable_gain(10, 0.1, confidence=0.2)


class TestBadInput:
    @pytest.mark.usefixtures("as_reader")
    @pytest.mark.parametrize("score", [leep, h_score, log_evidence])
    @pytest.mark.parametrize(
        ("values", "labels", "error", "message"),
        [
            (torch.ones(3, 2), torch.tensor([0, 1]), ValueError, "expected one row per label"),
            (torch.ones(3), torch.tensor([0, 1, 1]), ValueError, "expected one row per label"),
            (torch.ones(1, 2), torch.tensor([0]), ValueError, "received 1 examples"),
            (torch.ones(2, 2).long(), torch.tensor([0, 1]), TypeError, r"torch.int64.*\.float"),
            (torch.full((2, 2), math.nan), torch.tensor([0, 1]), ValueError, "NaN or infinite"),
            (torch.eye(2), torch.tensor([0, -1]), ValueError, "smallest label is -1"),
            (torch.eye(2), torch.tensor([1, 1]), ValueError, "all labels are of one class"),
        ],
    )
    def test_message(self, score, values, labels, error, message):
        with pytest.raises(error, match=message):
            score(values, labels)

    def test_probabilities(self):
        for p in (torch.ones(2, 2), torch.tensor([[1.5, -0.5], [0.5, 0.5]])):
            with pytest.raises(ValueError, match=r"does not sum to 1.*softmax"):
                leep(p, torch.tensor([0, 1]))

    def test_constant_features(self):
        with pytest.raises(ValueError, match="no feature varies"):
            h_score(torch.ones(4, 2), torch.tensor([0, 1, 0, 1]))
