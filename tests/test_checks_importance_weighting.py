"""Each likely mistake in the exercises of the chapter `importance_weighting` is named."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tlutils.exercises import verdict


def ratio(column=1, scale=lambda n, m: n / m, change=lambda w: w):
    def function(x_source, x_target):
        x = np.concatenate([x_source, x_target])
        model = LogisticRegression().fit(x, np.repeat([0, 1], [len(x_source), len(x_target)]))
        p = model.predict_proba(x_source)[:, column]
        return change(scale(len(x_source), len(x_target)) * p / (1 - p))

    return function


def resample(draw):
    def function(x, y, weights, seed):
        rows = draw(np.random.default_rng(seed), len(x), weights / weights.sum())
        return x[rows], y[rows]

    return function


def apart(x, y, weights, seed):
    generator, p = np.random.default_rng(seed), weights / weights.sum()
    return generator.choice(x, len(x), p=p), generator.choice(y, len(y), p=p)


def table(error, effective):
    return {"target error": error, "effective sample size": effective}


RIGHT = 1000 / (0.6 / 9 + 0.3 + 2.5)
WRONG = [
    ("risk_by_hand", 0.24, "expected a dictionary"),
    ("risk_by_hand", table(0.24, ...), "replace the"),
    ("risk_by_hand", table(0.1, RIGHT), "error on the source"),
    ("risk_by_hand", table(24, RIGHT), "not a percentage"),
    ("risk_by_hand", table(0.2 / 3 * 0.05 + 0.3 * 0.1 + 2.5 * 0.4, RIGHT), "in them already"),
    ("risk_by_hand", table(0.36047, RIGHT), "in them already"),
    ("risk_by_hand", table((0.05 / 3 + 0.1 + 5 * 0.4) / (1 / 3 + 1 + 5), RIGHT), "600, 300 and 100"),
    ("risk_by_hand", table(0.72, RIGHT), "sum share in the target"),
    ("risk_by_hand", table(0.24, 0.3488), "that is the share"),
    ("risk_by_hand", table(0.24, 40.11 / 25.11), "each kind counts as often"),
    ("risk_by_hand", table(0.24, 1000 / 2.8667**2), "divided by the square"),
    ("risk_by_hand", table(0.24, 1000), "over 1000 examples"),
    ("mend_the_ratio", ratio(column=0), "upside down"),
    ("mend_the_ratio", ratio(scale=lambda *_: 1), "still contain the sizes"),
    ("mend_the_ratio", ratio(scale=lambda n, m: m / n), "about 100"),
    ("mend_the_ratio", ratio(change=lambda w: w / w.sum()), "expected about 1"),
    ("mend_the_ratio", ratio(scale=lambda *_: 1, change=lambda w: w / w.mean()), "do not normalise"),
    ("mend_the_ratio", ratio(change=lambda w: w**2), "not exp"),
    ("mend_the_ratio", ratio(change=lambda w: w[:5]), "one weight each"),
    ("mend_the_ratio", ratio(change=lambda w: -w), "negative"),
    ("mend_the_resampling", apart, "no longer belong together"),
    ("mend_the_resampling", resample(lambda g, n, p: g.choice(n, n, replace=False, p=p)), "exactly once"),
    ("mend_the_resampling", resample(lambda g, n, _: g.choice(n, n)), "make up half"),
    ("mend_the_resampling", resample(lambda g, n, p: g.choice(n, 10, p=p)), "expected 200"),
    (
        "mend_the_resampling",
        resample(lambda _, n, p: np.random.default_rng(3).choice(n, n, p=p)),
        "use the seed",
    ),
]


@pytest.mark.parametrize(("name", "answer", "reason"), WRONG)
def test_mistake_is_named(name, answer, reason):
    is_right, sentence = verdict(f"importance_weighting/{name}", answer)
    assert not is_right
    assert reason in sentence, sentence


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("risk_by_hand", table(0.24, RIGHT)),
        ("mend_the_ratio", ratio()),
        ("mend_the_resampling", resample(lambda g, n, p: g.choice(n, n, p=p))),
    ],
)
def test_right_answer_passes(name, answer):
    assert verdict(f"importance_weighting/{name}", answer)[0]
