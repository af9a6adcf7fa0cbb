"""Weights for source examples, their effective number, and TrAdaBoost."""

import math
import re
import warnings

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.sparse import coo_matrix, csr_matrix, vstack
from scipy.special import softmax
from scipy.stats import variation
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import zero_one_loss
from sklearn.naive_bayes import GaussianNB
from sklearn.preprocessing import normalize
from sklearn.tree import DecisionTreeClassifier

from tlutils import density_ratio, instance_based, tabular
from tlutils.instance_based import (
    METHODS,
    SupportWarning,
    density_ratio_weights,
    effective_sample_size,
    tradaboost,
)
from tlutils.runtime import best_device

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

    @settings(max_examples=30, deadline=None)
    @given(st.lists(st.floats(0, 1e3), min_size=1, max_size=20).filter(lambda values: max(values) > 1e-3))
    def test_effective_sample_size_by_the_coefficient_of_variation(self, values):
        # Kish's form n / (1 + cv²), with the coefficient of variation as SciPy computes it.
        expected = len(values) / (1 + variation(values) ** 2)
        found = effective_sample_size(torch.tensor(values, dtype=torch.float64))
        assert found == pytest.approx(expected, rel=1e-9)


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

    def test_a_warning_where_all_weights_are_zero(self):
        # The supports are the same, but a tree learns by heart which examples are of the source.
        source, target = pair(50, 50, 2, shift=0.2)
        with pytest.warns(SupportWarning, match="'classifier' gives all 50 .*weight 0.*by heart") as caught:
            weights = density_ratio_weights(source, target, classifier=DecisionTreeClassifier())
        assert len(caught) == 1
        assert weights.tolist() == [1.0] * 50

    def test_both_warnings_where_a_narrow_kernel_never_reaches_the_target(self):
        source, target = pair(50, 50, 2, shift=100.0)
        with pytest.warns(SupportWarning) as caught:
            weights = density_ratio_weights(source, target, method="kliep", bandwidth=2.0)
        disjoint, zero = (str(one.message) for one in caught)
        assert "supports look disjoint" in disjoint
        assert "'kliep' gives all 50 source examples the weight 0" in zero
        assert weights.tolist() == [1.0] * 50

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


def with_outliers(n, num_outliers):
    source, target = pair(n, 200, 2, shift=100.0)
    source[:num_outliers] = 1000.0 * torch.arange(1, num_outliers + 1)[:, None]
    return source, target


def boxes_apart():
    """Two cubes of ten dimensions, half an edge apart."""
    source, target = torch.rand(2, 300, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return source, target + 1.5 * torch.eye(10, dtype=torch.float64)[0]


def mostly_elsewhere(far):
    source, target = pair(200, 200, 2, shift=0.0)
    target[: round(far * 200)] += 100
    return source, target


ROW = torch.ones(1, 2, dtype=torch.float64)
# Before, none but the last set off a warning: the yardstick was the widest gap, and 1 % was enough.
APART = {
    "one outlier": (with_outliers(200, 1), 0),
    "one outlier among few": (with_outliers(50, 1), 0),
    "two outliers": (with_outliers(250, 2), 0),
    "boxes": (boxes_apart(), 2),
    "95 % of the target": (mostly_elsewhere(0.95), 5),
    "94 % of the target": (mostly_elsewhere(0.94), 6),
    "one row": ((ROW, pair(1, 20, 2)[1]), 0),
    "one row, repeated": ((ROW.repeat(30, 1), pair(1, 20, 2)[1]), 0),
    "far from the origin": (tuple(x + 1e9 for x in pair(50, 50, 2, shift=100.0)), 0),
    "few rows": (pair(5, 5, 2, shift=100.0), 0),
}


def shifted(shift, seed, n=300):
    return pair(n, n, 1, seed, shift)


class TestSupport:
    """The warning that the source has no examples where the target has some."""

    @pytest.mark.parametrize("case", APART)
    def test_disjoint_supports(self, case):
        samples, most = APART[case]
        with pytest.warns(SupportWarning) as caught:
            density_ratio_weights(*samples)
        covered, what, way_out = re.fullmatch(
            r"only (\d+) % of the target examples lie among the source examples: (.*) asked\. (.*)",
            str(caught[0].message),
        ).groups()
        assert int(covered) <= most
        assert "supports look disjoint" in what
        assert "the effective sample size does not show it" in what
        assert way_out == "Collect labels there, or align features instead"

    def test_the_effective_sample_size_does_not_show_it(self):
        with pytest.warns(SupportWarning, match="only 4 %"):
            weights = density_ratio_weights(*mostly_elsewhere(0.95))
        assert effective_sample_size(weights) > 199

    # From here on a warning would be an error.
    @pytest.mark.parametrize("d", [1, 2, 5, 20, 100])
    @pytest.mark.parametrize(("n", "m"), [(100, 100), (30, 200), (200, 10)])
    def test_silent_where_one_distribution_is_drawn_from_twice(self, d, n, m):
        for seed in range(3):
            assert len(density_ratio_weights(*pair(n, m, d, seed, shift=0.0))) == n

    @pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
    def test_silent_where_supports_overlap(self, shift):
        for seed in range(10):
            assert len(density_ratio_weights(*shifted(shift, seed))) == 300

    def test_silent_where_every_coordinate_moves_a_little(self):
        for d in (4, 16, 64):
            assert len(density_ratio_weights(*pair(300, 300, d, shift=0.5))) == 300

    def test_silent_where_nine_tenths_are_elsewhere(self):
        """That is a gap too, but weights can still stand for the rest; the docstring says 7 %."""
        assert len(density_ratio_weights(*mostly_elsewhere(0.9))) == 200

    def test_silent_where_the_target_repeats_the_one_row_of_the_source(self):
        target = torch.cat([ROW.repeat(3, 1), pair(1, 20, 2)[1]])
        for source in (ROW, ROW.repeat(30, 1)):
            assert len(density_ratio_weights(source, target)) == len(source)

    def test_silent_on_words_and_on_a_grid(self):
        """Counts have many equal rows, and equal distances."""
        rng = torch.Generator().manual_seed(0)
        source, target = torch.poisson(torch.full((2, 200, 3), 2.0, dtype=torch.float64), generator=rng)
        assert len(density_ratio_weights(source, target)) == 200

    @pytest.mark.parametrize(("n", "m", "most"), [(2, 2, 0.12), (3, 3, 0.03), (5, 5, 0.02), (10, 10, 0.02)])
    @pytest.mark.parametrize("d", [1, 3])
    def test_few_examples_of_one_distribution_seldom_set_it_off(self, n, m, d, most):
        """Before, two and two did so in a case out of five."""
        alarms = 0
        for seed in range(300):
            with warnings.catch_warnings(record=True, action="always") as caught:
                density_ratio_weights(*pair(n, m, d, seed, shift=0.0), method="kmm")
            alarms += any("look disjoint" in str(one.message) for one in caught)
        assert alarms / 300 <= most

    @pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 3), (5, 5), (10, 10)])
    def test_few_examples_that_are_apart_set_it_off(self, n, m):
        for seed in range(20):
            with pytest.warns(SupportWarning, match="only 0 %"):
                density_ratio_weights(*pair(n, m, 2, seed, shift=100.0), method="kmm")

    def test_blocks_change_nothing(self, monkeypatch):
        source, target = pair(30, 20, 2)
        whole = [instance_based._distances_to(source, *of) for of in ((source, 2), (target, 1))]
        monkeypatch.setattr(instance_based, "BLOCK_SIZE", 7)
        for of, expected in zip(((source, 2), (target, 1)), whole, strict=True):
            torch.testing.assert_close(instance_based._distances_to(source, *of), expected)
        assert whole[0] == pytest.approx(torch.cdist(source, source).fill_diagonal_(math.inf).amin(dim=1))
        assert whole[1] == pytest.approx(torch.cdist(target, source).amin(dim=1))

    @pytest.mark.parametrize(
        ("data", "domains", "num_examples", "num_components"),
        [
            ("amazon_reviews", ("books", "kitchen"), 400, 50),
            ("amazon_reviews", ("electronics", "dvd"), 400, 50),
            ("office_caltech10_surf", ("dslr", "amazon"), 250, 20),
            ("office_caltech10_surf", ("caltech10", "webcam"), 250, 20),
        ],
    )
    def test_silent_on_the_real_data_of_the_chapter(
        self, data, domains, num_examples, num_components, data_root
    ):
        assert data_root.is_dir()
        split = "train" if data == "amazon_reviews" else None
        for source, target in (domains, domains[::-1]):
            rows = [
                normalize(part.x)[np.random.default_rng(0).permutation(part.x.shape[0])[:num_examples]]
                for part in (tabular.load(data, domain, split) for domain in (source, target))
            ]
            stack = np.concatenate if isinstance(rows[0], np.ndarray) else vstack
            svd = TruncatedSVD(num_components, random_state=0).fit(stack(rows))
            x_source, x_target = (torch.from_numpy(svd.transform(x)) for x in rows)
            assert len(density_ratio_weights(x_source, x_target)) == len(x_source)


def test_the_estimators_behind_the_weights_can_be_had_from_here():
    for name in ("domain_odds", "fit_kliep", "fit_ulsif", "kernel_mean_matching"):
        assert name in instance_based.__all__
        assert getattr(instance_based, name) is getattr(density_ratio, name)


class Fixed:
    """A classifier with given answers, to follow the arithmetic by hand."""

    def __init__(self, answers):
        self.answers, self.seen = np.array(answers), []

    def fit(self, _x, _y, sample_weight):
        self.seen.append(sample_weight)
        return self

    def predict(self, x):
        return self.answers[: len(x)]


def boosting_scores(seed, d, num_target, shift):
    """Return accuracy on the target, of its labels alone and boosted with 300 of a source with its rule."""
    rng = np.random.default_rng(seed)
    x_source, x_target, x_test = (rng.normal(size=(n, d)) for n in (300, num_target, 1000))
    x_source[:, 1:] += shift  # the rule asks for the first feature only
    parts = [(x, (x[:, 0] > 0).astype(int)) for x in (x_source, x_target, x_test)]
    boosted = tradaboost(*parts[0], *parts[1], make_estimator=LogisticRegression)
    alone = LogisticRegression().fit(*parts[1]).score(*parts[2])
    return alone, (boosted.predict(x_test) == parts[2][1]).mean()


def as_in_the_paper(source, target, x_test, num_rounds):
    """Return β and the source weights of each round, and the vote on `x_test`, by another path.

    Weights are logarithms, raised or lowered one example at a time; scikit-learn computes the weighted error.
    """
    n, (x, y) = len(source[1]), (np.concatenate(parts) for parts in zip(source, target, strict=True))
    logs, betas, history, votes = np.zeros(len(y)), [], [], []
    for _ in range(num_rounds):
        weights = softmax(logs)
        model = GaussianNB().fit(x, y, sample_weight=weights)
        error = zero_one_loss(target[1], model.predict(target[0]), sample_weight=weights[n:])
        error = min(max(error, 1e-6), 0.499)
        for i, answer in enumerate(model.predict(x)):
            if answer != y[i] and i < n:
                logs[i] -= math.log(1 + math.sqrt(2 * math.log(n) / num_rounds))
            elif answer != y[i]:
                logs[i] += math.log((1 - error) / error)
        betas.append(error / (1 - error))
        history.append(weights[:n])
        votes.append(model.predict(x_test))
    later = range(num_rounds // 2, num_rounds)  # the products of the paper over the last ⌈N/2⌉ rounds
    one = np.prod([betas[t] ** -votes[t].astype(float) for t in later], axis=0)
    return betas, history, one >= np.prod([betas[t] ** -0.5 for t in later])


class TestTrAdaBoost:
    @pytest.mark.parametrize("num_rounds", [5, 8])
    @pytest.mark.parametrize(
        ("n", "m", "d", "copies"), [(2, 2, 1, 1), (3, 3, 5, 1), (60, 15, 2, 1), (20, 6, 2, 2)]
    )
    def test_is_the_algorithm_of_the_paper(self, n, m, d, copies, num_rounds):
        rng = np.random.default_rng(0)
        labels = [np.arange(size) % 2 for size in (n, m)]
        parts = [(rng.normal(size=(len(y), d)) + y[:, None], y) for y in labels]
        source, target = ([part.repeat(copies, axis=0) for part in domain] for domain in parts)
        x_test = rng.normal(size=(50, d)) + 0.5
        boosted = tradaboost(*source, *target, make_estimator=GaussianNB, num_rounds=num_rounds)
        betas, history, answers = as_in_the_paper(source, target, x_test, num_rounds)
        assert boosted.betas == pytest.approx(betas, rel=1e-6)
        assert boosted.source_weights == pytest.approx(np.array(history), rel=1e-6)
        assert np.array_equal(boosted.predict(x_test), answers)

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

    def test_hard_before_and_solved_with_a_source_that_agrees(self):
        # Ten labels in 20 dimensions are too few; 300 of a shifted source follow the same rule.
        scores = np.array([boosting_scores(seed, d=20, num_target=10, shift=0.5) for seed in range(5)])
        alone, boosted = scores.mean(axis=0)
        assert alone < 0.8
        assert boosted > 0.9

    def test_no_gain_where_there_is_no_shift_and_no_want_of_labels(self):
        scores = np.array([boosting_scores(seed, d=2, num_target=300, shift=0.0) for seed in range(5)])
        alone, boosted = scores.mean(axis=0)
        assert alone > 0.95
        assert boosted == pytest.approx(alone, abs=0.01)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
    def test_tensors_give_what_arrays_give(self, dtype):
        x_source, x_target = pair(40, 12, 3, dtype=dtype)
        y_source, y_target = (x_source[:, 0] > 0).long(), (x_target[:, 0] > 0.5).long()
        options = {"make_estimator": LogisticRegression, "num_rounds": 4}
        found = tradaboost(x_source.requires_grad_(), y_source, x_target, y_target, **options)
        widened = torch.float32 if dtype == torch.bfloat16 else dtype
        arrays = (part.detach().to(widened).numpy() for part in (x_source, x_target))
        expected = tradaboost(next(arrays), y_source.numpy(), next(arrays), y_target.numpy(), **options)
        assert np.array_equal(found.source_weights, expected.source_weights)
        x_test, _ = pair(200, 1, 3, seed=1, dtype=dtype)
        answers = expected.predict(x_test.to(widened).numpy())
        assert 20 < answers.sum() < 180
        for tensor in (x_test, x_test.clone().requires_grad_()):
            assert np.array_equal(found.predict(tensor), answers)

    @pytest.mark.gpu
    @pytest.mark.skipif(best_device().type == "cpu", reason="needs an accelerator")
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_predicts_where_it_was_trained(self, dtype):
        x_source, x_target = pair(40, 12, 3, dtype=dtype)
        y = (x_source[:, 0] > 0).long(), (x_target[:, 0] > 0.5).long()
        near, far = (
            tradaboost(x_source.to(d), y[0].to(d), x_target.to(d), y[1].to(d), num_rounds=4,
                       make_estimator=LogisticRegression)
            for d in ("cpu", best_device())
        )  # fmt: skip
        assert np.array_equal(far.predict(x_source.to(best_device())), near.predict(x_source))

    def test_predicts_rows_of_every_kind_that_it_can_be_trained_on(self):
        x, _ = pair(40, 12, 3)
        y = (x[:, 0] > 0).long()
        boosted = tradaboost(x, y, x[:12], y[:12], make_estimator=LogisticRegression, num_rounds=4)
        answers = boosted.predict(x.numpy())
        assert 5 < answers.sum() < 35
        for rows in (x, x.tolist(), csr_matrix(x.numpy()), coo_matrix(x.numpy())):
            assert np.array_equal(boosted.predict(rows), answers)

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

    @pytest.mark.usefixtures("as_reader")
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"y_source": [0, 2, 0]}, r"y_source holds \[0, 2\]; expected both classes, 0 and 1: recode"),
            ({"y_target": [0, 0, 0]}, r"y_target holds \[0\]; .* label examples of the missing class"),
            ({"num_rounds": 1}, "num_rounds is 1; expected at least 2"),
            ({"x_source": np.ones((3, 1))}, "x_source has 1 features and x_target 2; .* by the same columns"),
            ({"x_source": np.full((3, 2), math.nan)}, "x_source has 6 NaN or infinite values; repair or"),
            ({"x_target": torch.full((3, 2), math.nan)}, "x_target has 6 NaN or infinite values"),
            ({"x_target": csr_matrix([[1, 0], [0, math.inf], [0, 1]])}, "x_target has 1 NaN or infinite"),
            ({"y_source": [0, 1]}, r"x_source has 3 rows and y_source shape \(2,\); expected one label"),
            ({"y_target": [[0], [1], [0]]}, r"x_target has 3 rows and y_target shape \(3, 1\)"),
            ({"x_source": np.ones((1, 2)), "y_source": [1]}, "source has 1 labelled examples; .* at least 2"),
            ({"x_target": np.ones((0, 2)), "y_target": []}, "target has 0 labelled .* one of each class"),
            ({"x_source": np.ones(3)}, r"x_source has shape \(3,\); expected one row per example"),
            ({"x_source": torch.ones(3, 2, 2)}, r"shape \(3, 2, 2\).*flatten images with .reshape"),
            ({"x_target": np.ones((3, 0))}, r"x_target has shape \(3, 0\); .* at least one feature"),
        ],
    )
    def test_bad_input(self, change, message):
        x, y = np.eye(3, 2), np.array([0, 1, 0])
        arguments = {"x_source": x, "y_source": y, "x_target": x, "y_target": y} | change
        with pytest.raises(ValueError, match=message):
            tradaboost(**arguments, make_estimator=LogisticRegression)

    def test_text_is_no_number(self):
        x, y = np.array([["a"], ["b"]]), np.array([0, 1])
        with pytest.raises(TypeError, match="x_source holds <U1; expected numbers: encode text"):
            tradaboost(x, y, x, y, make_estimator=LogisticRegression)
