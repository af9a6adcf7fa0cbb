"""Measures against values computed by hand, their properties, independent implementations, and errors."""

from __future__ import annotations

import ast
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn import metrics as reference

import chapters
from tlutils.metrics import (
    accuracy,
    classifier_two_sample_test,
    confusion_matrix,
    correlation_over_domains,
    estimate_label_shift,
    proxy_a_distance,
)


def ints(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


class TestAccuracyAndConfusion:
    def test_by_hand(self):
        assert accuracy(ints(0, 1, 1, 2), ints(0, 1, 2, 2)) == 0.75

    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
    @settings(max_examples=30, deadline=None)
    def test_confusion_agrees_with_scikit_learn(self, pairs):
        predictions, labels = (ints(*column) for column in zip(*pairs, strict=True))
        expected = reference.confusion_matrix(labels, predictions, labels=range(4))
        assert confusion_matrix(predictions, labels, 4).tolist() == expected.tolist()
        assert accuracy(predictions, labels) == pytest.approx(np.trace(expected) / len(pairs))

    @pytest.mark.usefixtures("as_reader")
    def test_logits_in_place_of_indices(self):
        with pytest.raises(ValueError, match="argmax"):
            accuracy(torch.zeros(4, 3, dtype=torch.int64), ints(0, 1, 2, 0))

    def test_nothing_to_compare(self):
        with pytest.raises(ValueError, match="0 predictions"):
            accuracy(ints(), ints())

    def test_class_out_of_range(self):
        with pytest.raises(ValueError, match="expected 0 to 1"):
            confusion_matrix(ints(0, 2), ints(0, 1), num_classes=2)


class TestProxyADistance:
    def test_by_hand(self):
        # Source: 1 of 4 wrong, target: 0 of 2 wrong; ε = (1/4 + 0) / 2 = 1/8; 2 (1 − 2/8) = 1.5.
        assert proxy_a_distance(ints(0, 0, 0, 1, 1, 1), ints(0, 0, 0, 0, 1, 1)) == 1.5

    @pytest.mark.parametrize(
        ("predictions", "expected"), [((0, 0, 1, 1), 2), ((0, 1, 0, 1), 0), ((1, 1, 0, 0), -2)]
    )
    def test_perfect_coin_and_always_wrong(self, predictions, expected):
        assert proxy_a_distance(ints(*predictions), ints(0, 0, 1, 1)) == expected

    def test_size_of_a_sample_does_not_matter(self):
        predictions, domains = ints(0, 0, 1, 1, 0), ints(0, 0, 0, 1, 1)
        doubled = torch.cat([predictions, predictions[:3]]), torch.cat([domains, domains[:3]])
        assert proxy_a_distance(*doubled) == pytest.approx(proxy_a_distance(predictions, domains))

    def test_a_constant_answer_tells_nothing_whatever_the_sizes(self):
        assert proxy_a_distance(torch.ones(10, dtype=torch.int64), ints(*[0] * 2, *[1] * 8)) == 0

    @given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=50))
    @settings(max_examples=50, deadline=None)
    def test_agrees_with_balanced_accuracy_and_is_symmetric(self, pairs):
        predictions, domains = (ints(*column) for column in zip(*pairs, strict=True))
        if len(domains.unique()) < 2:
            return
        found = proxy_a_distance(predictions, domains)
        balanced = reference.balanced_accuracy_score(domains, predictions)
        assert found == pytest.approx(2 * (2 * balanced - 1))
        assert proxy_a_distance(1 - predictions, 1 - domains) == pytest.approx(found)
        assert -2 <= found <= 2

    def test_one_domain(self):
        with pytest.raises(ValueError, match="3 source and 0 target"):
            proxy_a_distance(ints(0, 0, 1), ints(0, 0, 0))

    def test_class_labels_in_place_of_domains(self):
        with pytest.raises(ValueError, match=r"0 \(source\) and 1 \(target\)"):
            proxy_a_distance(ints(0, 3), ints(0, 1))

    @pytest.mark.usefixtures("as_reader")
    def test_shapes(self):
        with pytest.raises(ValueError, match="two vectors of one length"):
            proxy_a_distance(ints(0, 1, 1), ints(0, 1))


class TestClassifierTwoSampleTest:
    def test_by_hand(self):
        # Three right of four: P[B ≥ 3] = (4 + 1) / 16.
        found = classifier_two_sample_test(ints(0, 0, 1, 0), ints(0, 0, 1, 1))
        assert found == (0.75, pytest.approx(5 / 16), 4)

    def test_none_right(self):
        assert classifier_two_sample_test(ints(1, 0), ints(0, 1)).p_value == 1

    @given(st.integers(1, 300), st.data())
    @settings(max_examples=50, deadline=None)
    def test_agrees_with_scipy(self, half, data):
        right = data.draw(st.integers(0, 2 * half))
        domains = torch.arange(2).repeat_interleave(half)
        predictions = torch.where(torch.arange(2 * half) < right, domains, 1 - domains)
        expected = stats.binomtest(right, 2 * half, 0.5, alternative="greater").pvalue
        assert classifier_two_sample_test(predictions, domains).p_value == pytest.approx(expected)

    @pytest.mark.parametrize("q", [0.02, 0.3, 0.5, 0.9])
    @pytest.mark.parametrize("half", [10, 100])
    def test_false_alarms_stay_below_the_level(self, q, half):
        """Exact distribution of the right answers under the null: Bin(m, 1 − q) + Bin(m, q)."""
        counts = np.arange(half + 1)
        exact = np.convolve(stats.binom.pmf(counts, half, 1 - q), stats.binom.pmf(counts, half, q))
        domains = torch.arange(2).repeat_interleave(half)
        p_values = np.array([
            classifier_two_sample_test(
                torch.where(torch.arange(2 * half) < right, domains, 1 - domains), domains
            ).p_value
            for right in range(2 * half + 1)
        ])  # fmt: skip
        for level in (0.01, 0.05, 0.1):
            assert exact[p_values <= level].sum() <= level

    def test_thousands_of_examples_give_a_tiny_p_value_not_an_error(self):
        domains = torch.arange(2).repeat_interleave(20_000)
        assert 0 <= classifier_two_sample_test(domains, domains).p_value < 1e-300

    def test_unequal_samples(self):
        with pytest.raises(ValueError, match="Draw as many"):
            classifier_two_sample_test(ints(0, 0, 1), ints(0, 0, 1))


def exact_examples(confusion: np.ndarray, counts: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return predictions and labels whose confusion is exactly `confusion` (rows sum to 1) times `counts`."""
    predictions, labels = [], []
    for label, row in enumerate(confusion):
        for predicted, share in enumerate(row):
            number = round(share * counts[label])
            predictions += [predicted] * number
            labels += [label] * number
    return torch.tensor(predictions), torch.tensor(labels)


class TestEstimateLabelShift:
    def test_by_hand(self):
        # C = [[3/8, 1/8], [1/8, 3/8]], μ = (3/8, 5/8): w = (1/2, 3/2), prior (1/4, 3/4).
        y, predicted = ints(0, 0, 0, 0, 1, 1, 1, 1), ints(0, 0, 0, 1, 1, 1, 1, 0)
        found = estimate_label_shift(predicted, y, ints(0, 0, 0, 1, 1, 1, 1, 1), 2)
        assert found.weights.tolist() == pytest.approx([0.5, 1.5])
        assert found.target_prior.tolist() == pytest.approx([0.25, 0.75])
        assert found.condition_number == pytest.approx(2)

    @pytest.mark.parametrize("target", [(600, 300, 100), (0, 500, 500), (100, 100, 800)])
    def test_exact_under_label_shift(self, target):
        confusion = np.array([[0.8, 0.1, 0.1], [0.2, 0.6, 0.2], [0.1, 0.3, 0.6]])
        source = exact_examples(confusion, np.array([100, 300, 200]))
        predictions, labels = exact_examples(confusion, np.array(target))
        found = estimate_label_shift(*source, predictions, 3)
        assert found.target_prior.tolist() == pytest.approx(np.array(target) / 1000, abs=1e-12)
        assert len(labels) == 1000
        expected = np.array(target) / 1000 / (np.array([100, 300, 200]) / 600)
        assert found.weights.tolist() == pytest.approx(expected, abs=1e-12)

    def test_no_shift_gives_weights_of_one(self):
        source = exact_examples(np.array([[0.9, 0.1], [0.3, 0.7]]), np.array([100, 50]))
        assert estimate_label_shift(*source, source[0], 2).weights.tolist() == pytest.approx([1, 1])

    def test_agrees_with_constrained_least_squares(self):
        """Where no entry is cut off, the estimate is the least-squares solution over proportions."""
        generator = np.random.default_rng(0)
        labels = generator.integers(0, 4, 3000)
        confuse = np.full((4, 4), 0.1) + 0.6 * np.eye(4)
        predicted = np.array([generator.choice(4, p=confuse[label]) for label in labels])
        target = generator.choice(4, p=[0.4, 0.3, 0.2, 0.1], size=2000)
        on_target = np.array([generator.choice(4, p=confuse[label]) for label in target])
        found = estimate_label_shift(*map(torch.from_numpy, (predicted, labels, on_target)), 4)
        rates = reference.confusion_matrix(labels, predicted, normalize="true").T
        expected, _ = optimize.nnls(rates, np.bincount(on_target, minlength=4) / 2000)
        assert found.target_prior.numpy() == pytest.approx(expected, abs=1e-10)
        assert found.target_prior.numpy() == pytest.approx([0.4, 0.3, 0.2, 0.1], abs=0.05)

    def test_negative_entries_are_cut_off_and_reported(self):
        source = exact_examples(np.array([[0.7, 0.3], [0.3, 0.7]]), np.array([100, 100]))
        found = estimate_label_shift(*source, ints(0, 0, 0, 0, 1), 2)  # μ = (0.8, 0.2) cannot arise
        assert found.raw_weights.min() < 0
        assert found.weights.tolist() == pytest.approx([2, 0])
        assert found.target_prior.tolist() == pytest.approx([1, 0])

    def test_class_without_source_example(self):
        with pytest.raises(ValueError, match="class 2 has no source example"):
            estimate_label_shift(ints(0, 1), ints(0, 1), ints(0, 1), 3)

    def test_class_never_predicted(self):
        with pytest.raises(ValueError, match="cannot be inverted"):
            estimate_label_shift(ints(0, 0), ints(0, 1), ints(0, 1), 2)

    def test_prediction_out_of_range(self):
        with pytest.raises(ValueError, match="expected class indices 0 to 1"):
            estimate_label_shift(ints(0, 1), ints(0, 1), ints(0, 5), 2)

    def test_no_target(self):
        with pytest.raises(ValueError, match="0 predictions"):
            estimate_label_shift(ints(0, 1), ints(0, 1), ints(), 2)


class TestCorrelationOverDomains:
    def table(self, seed: int, n: int = 6) -> np.ndarray:
        return np.random.default_rng(seed).random((n, n))

    def test_by_hand(self):
        # Off the diagonal: x = 1, 2, 1, 3, 2, 3 and y = 3, 2, 3, 1, 2, 1, that is y = 4 - x.
        x = np.array([[9.0, 1, 2], [1, 9, 3], [2, 3, 9]])
        found = correlation_over_domains(x, 4 - x)
        assert found == (pytest.approx(-1), pytest.approx(-1), pytest.approx(-1))

    def test_agrees_with_scipy_and_ignores_the_diagonal(self):
        x, y = self.table(0), self.table(1)
        apart = ~np.eye(6, dtype=bool)
        expected = stats.pearsonr(x[apart], y[apart]).statistic
        assert correlation_over_domains(x, y).r == pytest.approx(expected)
        assert correlation_over_domains(x + 5 * np.eye(6), y) == pytest.approx(correlation_over_domains(x, y))

    def test_names_of_the_domains_do_not_matter(self):
        x, y, order = self.table(0), self.table(1), np.random.default_rng(2).permutation(6)
        swapped = correlation_over_domains(x[np.ix_(order, order)], y[np.ix_(order, order)])
        assert swapped.r == pytest.approx(correlation_over_domains(x, y).r)

    def test_interval_holds_r_and_is_wider_than_that_of_independent_pairs(self):
        """One odd domain makes a correlation of which a bootstrap over pairs is too sure."""
        n = 8
        odd = np.zeros((n, n))
        odd[0] = odd[:, 0] = 3
        x, y = odd + self.table(0, n), odd + self.table(1, n)
        found = correlation_over_domains(x, y)
        apart = ~np.eye(n, dtype=bool)
        pairs = stats.pearsonr(x[apart], y[apart]).confidence_interval()
        assert found.low < found.r <= found.high
        assert found.high - found.low > 3 * (pairs.high - pairs.low)

    @pytest.mark.usefixtures("as_reader")
    @pytest.mark.parametrize(("x", "y"), [((2, 2), (2, 2)), ((3, 4), (3, 4)), ((4, 4), (3, 3))])
    def test_shapes(self, x, y):
        with pytest.raises(ValueError, match="expected two of"):
            correlation_over_domains(np.zeros(x), np.zeros(y))

    def test_missing_pairs(self):
        x = self.table(0)
        x[1, 2] = np.nan
        with pytest.raises(ValueError, match="not compared"):
            correlation_over_domains(x, self.table(1))


@pytest.fixture(scope="module")
def shown():
    """The definitions that the chapter shows, run on their own."""
    path = next(path for path in chapters.PATHS if path.stem == "domains_and_shift")
    namespace = {"math": math, "np": np, "torch": torch}
    for cell in chapters.tagged(path, "definition"):
        for node in ast.parse(cell["source"]).body:
            if isinstance(node, ast.FunctionDef):
                exec(compile(ast.Module([node], []), path.name, "exec"), namespace)
    return namespace


class TestDefinitionsShownInTheChapter:
    @pytest.mark.parametrize("seed", range(3))
    def test_p_value_and_distance(self, shown, seed):
        domains = torch.arange(2).repeat_interleave(50)
        predictions = torch.from_numpy(np.random.default_rng(seed).integers(0, 2, 100))
        found = classifier_two_sample_test(predictions, domains)
        right = int((predictions == domains).sum())
        assert shown["p_value"](right, 100) == pytest.approx(found.p_value)
        assert shown["distance_between"](predictions, domains) == pytest.approx(
            proxy_a_distance(predictions, domains)
        )

    def test_label_shift(self, shown):
        source = exact_examples(np.array([[0.8, 0.2], [0.3, 0.7]]), np.array([100, 50]))
        target = ints(0, 0, 0, 1, 1)
        found = estimate_label_shift(*source, target, 2)
        confusion = confusion_matrix(*source, 2).numpy()
        weights = shown["solve_label_shift"](confusion, np.array([0.6, 0.4]))
        assert weights == pytest.approx(found.raw_weights.numpy())
