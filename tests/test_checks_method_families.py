"""Each likely mistake in the exercises of the chapter `method_families` is named; right answers pass."""

import numpy as np
import pytest

from tlutils.exercises import verdict

RULE = {"appearance": "coral", "inputs": "weighting", "proportions": "label_shift", "rule": "labels_first"}


def at(method, budgets, budget):
    return method[:, budgets.index(budget)]


WRONG = [
    ("no_labels", lambda _: ..., "replace it"),
    ("no_labels", lambda _: "CORAL", "expected a key"),
    ("no_labels", lambda _: "coral", "Think again"),
    ("no_labels", lambda change: (RULE | {"rule": "weighting"})[change], "unlabelled examples say nothing"),
    ("no_labels", lambda change: (RULE | {"proportions": "coral"})[change], "no feature need be touched"),
    ("equal_budget", lambda m, b, n, k: (at(m, n, k) - b[:, 0]).mean(), "a baseline that has none"),
    ("equal_budget", lambda m, b, n, k: (at(b, n, k) - at(m, n, k)).mean(), "sign"),
    ("equal_budget", lambda *_: 7.0, "expected 4.00"),
    ("equal_budget", lambda m, b, n, k: (at(m, n, k) - b[:, -1]).mean(), "largest budget"),
    ("equal_budget", lambda *_: None, "one number"),
    ("pull", lambda *_: ..., "replace it"),
    ("pull", lambda *_: None, "one number"),
    ("pull", lambda x, s, p: (sum(x) + p * s) / (len(x) + p), "divided by n"),
    ("pull", lambda x, s, p: np.mean(x) + p * s, "add up to 1"),
    ("pull", lambda x, s, p: (s + p * np.mean(x)) / (1 + p), "towards the source"),
    ("pull", lambda x, s, p: (np.mean(x) - p * s) / (1 - p), "a sign is lost"),
    ("pull", lambda x, s, p: (1 - p) * np.mean(x) + p * s if p != 0.5 else (3 + 5) / 1.5, "not a share"),
    ("pull", lambda x, *_: np.mean(x), "expected 5.333"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "diagnosis"), WRONG)
def test_a_mistake_is_named(name, answer, diagnosis):
    is_right, sentence = verdict(f"method_families/{name}", answer)
    assert not is_right
    assert diagnosis in sentence


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("no_labels", RULE.get),
        ("equal_budget", lambda m, b, n, k: np.mean(at(m, n, k)) - np.mean(at(b, n, k))),
        ("pull", lambda x, s, p: np.mean(x) + p / (1 + p) * (s - np.mean(x))),
    ],
)
def test_a_right_answer_passes(name, answer):
    is_right, sentence = verdict(f"method_families/{name}", answer)
    assert is_right, sentence
