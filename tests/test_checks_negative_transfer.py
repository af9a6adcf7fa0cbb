"""Each likely mistake in the exercises of the chapter `negative_transfer` is named."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.linear_model import LogisticRegression

from tlutils.checks.negative_transfer import P_VALUE
from tlutils.exercises import verdict
from tlutils.figures.negative_transfer import zero_crossing


def gain(change=lambda g: g, use=lambda source, few: (source, few)):
    def function(source, few, test):
        source, alone = use(source, few)
        pooled = [np.concatenate(parts) for parts in zip(source, few, strict=True)]
        models = [LogisticRegression(max_iter=1000).fit(*part) for part in (pooled, alone)]
        return change(models[0].score(*test) - models[1].score(*test))

    return function


def one_estimator(source, few, test):
    train = LogisticRegression(max_iter=1000).fit
    alone = train(*few)
    both = train(*[np.concatenate(parts) for parts in zip(source, few, strict=True)])
    return both.score(*test) - alone.score(*test)


def source_alone(source, few, test):
    both, alone = (LogisticRegression(max_iter=1000).fit(*part) for part in (source, few))
    return both.score(*test) - alone.score(*test)


def verdicts(count, p, believed):
    return {"examples that count": count, "p-value": p, "believed": believed}


def turned(levels, gains):
    return levels[0] + (levels[1] - levels[0]) * -gains[1] / (gains[0] - gains[1])


def two_points(_, gains):
    return gains[0] / (gains[0] - gains[1])


def last(levels, gains):
    found = [levels[i] + (levels[i + 1] - levels[i]) * gains[i] / (gains[i] - gains[i + 1])
             for i in range(len(levels) - 1) if gains[i] > 0 > gains[i + 1]]  # fmt: skip
    return found[-1] if found else float("nan")


def without_nan(levels, gains):
    return levels[0] if gains[0] <= 0 else zero_crossing(levels, gains)


def without_end(levels, gains):
    return zero_crossing(levels, gains) if min(gains) < 0 else math.nan


WRONG = [
    ("mend_the_gain", one_estimator, "the two models are one"),
    ("mend_the_gain", gain(lambda g: -g), "turned round"),
    ("mend_the_gain", gain(lambda g: 100 * g), "between −1 and 1"),
    ("mend_the_gain", gain(use=lambda source, _: (source, source)), "Which data does each model see"),
    ("mend_the_gain", gain(lambda g: max(g, 0)), "neither should be 0"),
    ("mend_the_gain", source_alone, "does 'both' see the latter"),
    ("judge", verdicts(16, P_VALUE, "no"), "True or False"),
    ("judge", 0.1, "expected a dictionary"),
    ("judge", verdicts(16, ..., False), "replace the"),
    ("judge", verdicts(6, P_VALUE, False), "exactly one model is right"),
    ("judge", verdicts(15, P_VALUE, False), "81 − 70"),
    ("judge", verdicts(16, 2 * P_VALUE, False), "two-sided"),
    ("judge", verdicts(16, stats.binom.sf(11, 16, 0.5), False), "more than k"),
    ("judge", verdicts(16, 0.5, False), "16 tosses"),
    ("judge", verdicts(16, P_VALUE, True), "above 0.05"),
    ("crossing_of", lambda *_: ..., "replace the"),
    ("crossing_of", turned, "nearer 0"),
    ("crossing_of", lambda *_: 0.5, "you return 0.500"),
    ("crossing_of", two_points, "need not be one apart"),
    ("crossing_of", last, "later crossing"),
    ("crossing_of", without_nan, "return nan"),
    ("crossing_of", without_end, "last level"),
]


@pytest.mark.parametrize(("name", "answer", "reason"), WRONG)
def test_mistake_is_named(name, answer, reason):
    is_right, sentence = verdict(f"negative_transfer/{name}", answer)
    assert not is_right
    assert reason in sentence, sentence


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("mend_the_gain", gain()),
        ("judge", verdicts(16, stats.binom.sf(10, 16, 0.5), False)),
        ("crossing_of", zero_crossing),
    ],
)
def test_right_answer_passes(name, answer):
    assert verdict(f"negative_transfer/{name}", answer)[0]
