"""The exercises of the chapter on domains and shift: right answers pass, likely mistakes are named."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

from tlutils.exercises import verdict

CHAPTER = "domains_and_shift"
RIGHT_NAMES = {"A": "concept", "B": "covariate", "C": "none of the three", "D": "label"}


def judge(exercise, answer):
    return verdict(f"{CHAPTER}/{exercise}", answer)


def make_test(split="position", counted="held out", tail="upper", tosses="held out"):
    """Return a two-sample test with one thing done in one way."""
    generator = np.random.default_rng(0)  # its draws differ from call to call, not from test to test

    def answer(x_source, x_target):
        x = np.concatenate([x_source, x_target])
        is_target = np.arange(len(x)) >= len(x_source)
        is_train = generator.random(len(x)) < 0.5 if split == "random" else np.arange(len(x)) % 2 == 0
        means = [x[is_train & (is_target == side)].mean(axis=0) for side in (False, True)]
        answers = (x - (means[0] + means[1]) / 2) @ (means[1] - means[0]) > 0
        rows = ~is_train if counted == "held out" else np.ones(len(x), bool)
        right = (answers == is_target)[rows].sum()
        n = rows.sum() if tosses == "held out" else len(x)
        return stats.binom.sf(right - 1, n, 0.5) if tail == "upper" else stats.binom.cdf(right, n, 0.5)

    return answer


def make_hash_test():
    """Return a test that is right but for its split by a salted hash."""

    def answer(x_source, x_target):
        x = np.concatenate([x_source, x_target])
        is_target = np.arange(len(x)) >= len(x_source)
        is_train = np.array([hash(row.tobytes()) % 2 == 0 for row in x])
        means = [x[is_train & (is_target == side)].mean(axis=0) for side in (False, True)]
        answers = (x - (means[0] + means[1]) / 2) @ (means[1] - means[0]) > 0
        right = (answers == is_target)[~is_train].sum()
        return stats.binom.sf(right - 1, (~is_train).sum(), 0.5)

    return answer


@pytest.mark.parametrize(
    ("exercise", "answer"),
    [
        ("name_the_shift", RIGHT_NAMES),
        ("name_the_shift", {key: f"{name.upper()} " for key, name in RIGHT_NAMES.items()}),
        ("name_the_shift", RIGHT_NAMES | {"B": "covariate shift"}),
        ("distance_from_counts", 0.6),
        ("share_of_positives", 0.3),
        ("mend_the_test", make_test()),
    ],
)
def test_right_answers_pass(exercise, answer):
    is_right, sentence = judge(exercise, answer)
    assert is_right, sentence


@pytest.mark.parametrize(
    ("exercise", "answer", "says"),
    [
        ("name_the_shift", dict.fromkeys("ABCD", ...), "no name yet"),
        ("name_the_shift", ["concept"], "keys A, B, C and D"),
        ("name_the_shift", RIGHT_NAMES | {"A": "domain"}, "not one of the names"),
        ("name_the_shift", RIGHT_NAMES | {"A": "label"}, "P\\(x=1\\)"),
        ("name_the_shift", RIGHT_NAMES | {"B": "label"}, "1/4 and 2/3"),
        ("name_the_shift", RIGHT_NAMES | {"C": "concept"}, "anything that has stayed"),
        ("name_the_shift", RIGHT_NAMES | {"D": "covariate"}, "0.4 and 0.8"),
        ("distance_from_counts", 2 * (1 - 2 * 160 / 1100), "averaged over examples"),
        ("distance_from_counts", 0.3, "factor 2"),
        ("distance_from_counts", 1.3, "a coin has error 1/2"),
        ("distance_from_counts", 0.35, "turn it into a distance"),
        ("distance_from_counts", 0.65, "balanced accuracy"),
        ("distance_from_counts", -0.6, "wants the error"),
        ("distance_from_counts", -0.8, "not added"),
        ("distance_from_counts", 5, "100/1000 and 60/100"),
        ("distance_from_counts", "far", "expected one number"),
        ("distance_from_counts", float("nan"), "finite"),
        ("share_of_positives", 0.31, "counts the flags"),
        ("share_of_positives", 0.6, "that is the weight"),
        ("share_of_positives", 0.3875, "missed positives, not for flagged"),
        ("share_of_positives", 0.21, "divide by"),
        ("share_of_positives", 0.7, "share of negatives"),
        ("share_of_positives", 0.2625, "only a share 1 − q is negative"),
        ("share_of_positives", 0.5, "which q"),
        ("mend_the_test", 0.05, "expected the function"),
        ("mend_the_test", make_test(counted="all", tosses="all"), "still counted"),
        ("mend_the_test", make_hash_test(), "salts"),
        ("mend_the_test", make_test(tail="lower"), "upper one"),
        ("mend_the_test", make_test(tosses="all"), "upper one"),
        ("mend_the_test", make_test(split="random"), "different p-values"),
        ("mend_the_test", lambda x, y: 2.0, "between 0 and 1"),  # noqa: ARG005
        ("mend_the_test", lambda x, y: None, "expected one number"),  # noqa: ARG005
        ("mend_the_test", lambda x: 0.5, "TypeError"),  # noqa: ARG005
    ],
)
def test_likely_mistakes_are_named(exercise, answer, says):
    is_right, sentence = judge(exercise, answer)
    assert not is_right
    assert re.search(says, sentence), sentence
