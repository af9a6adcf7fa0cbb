"""Checks of the exercises of the chapter on domains and shift."""

from __future__ import annotations

import math
from types import CodeType

import numpy as np

from tlutils.exercises import Wrong, number

SHIFTS = {"A": "concept", "B": "covariate", "C": "none of the three", "D": "label"}
REASONS = {
    "A": "look at P(x=1): is it still 0.6?",
    "B": "look at P(y=1 | x) in both rows, and compare it with 1/4 and 2/3.",
    "C": "look for anything that has stayed: P(x), P(y | x) or P(x | y).",
    "D": "look at P(x=1 | y) in both columns, and compare it with 0.4 and 0.8.",
}


def name_the_shift(answer) -> str:
    """Judge the names given to four tables."""
    if not isinstance(answer, dict) or set(answer) != set(SHIFTS):
        raise Wrong(f"expected a dictionary with the keys A, B, C and D; received {answer!r}.")
    if open_tables := [table for table, name in answer.items() if name is ...]:
        raise Wrong(f"table {', '.join(open_tables)} has no name yet.")
    given = {table: str(name).strip().lower().removesuffix(" shift") for table, name in answer.items()}
    if unknown := set(given.values()) - set(SHIFTS.values()):
        raise Wrong(f"{unknown.pop()!r} is not one of the names {sorted(set(SHIFTS.values()))}.")
    for table, name in SHIFTS.items():
        if given[table] != name:
            raise Wrong(f"table {table} is not {given[table]!r}: {REASONS[table]}")
    return "what counts is what has stayed; in C nothing has."


def distance_from_counts(answer) -> str:
    """Judge a proxy A-distance computed from the counts of a domain classifier."""
    value = number(answer, "the answer")
    for wrong, message in {
        2
        * (1 - 2 * 160 / 1100): "you averaged over examples. The source has ten times as many, so its error "
        "counts ten times; average the error rates of the two domains.",
        1 - 2 * 0.35: "the error is right; the distance runs from 0 to 2, so a factor 2 is missing.",
        2 * (1 - 0.35): "the error is right; a coin has error 1/2 and must get distance 0: 2 (1 − 2ε).",
        0.35: "that is the error of the domain classifier; turn it into a distance.",
        0.65: "that is the balanced accuracy; put the error, 0.35, into 2 (1 − 2ε).",
        2 * (1 - 2 * 0.65): "0.65 is the accuracy averaged over the domains; the formula wants the error.",
        2 * (1 - 2 * 0.7): "0.1 and 0.6 are to be averaged, not added.",
    }.items():
        if math.isclose(value, wrong, abs_tol=5e-3):
            raise Wrong(message)
    if not math.isclose(value, 0.6, abs_tol=5e-3):
        raise Wrong(f"received {value:.3g}. Average the error rates 100/1000 and 60/100; then 2 (1 − 2ε).")
    return "0.6: far from 0 and far from 2, for a classifier that finds fewer than half of the targets."


def share_of_positives(answer) -> str:
    """Judge a class proportion estimated from the flags of a screening model."""
    value = number(answer, "the answer")
    for wrong, message in {
        0.31: "that counts the flags. 10 % of the negatives have one too, 20 % of the positives have none.",
        0.6: "that is the weight w = P_T(1) / P_S(1); multiply it by the source's share of 0.5.",
        0.31 / 0.8: "you have allowed for missed positives, not for flagged negatives.",
        0.31 - 0.1: "you have taken away false flags, not allowed for missed positives: divide by 0.8 − 0.1.",
        0.7: "that is the share of negatives.",
        (0.31 - 0.1) / 0.8: "almost: only a share 1 − q is negative; solve 0.8 q + 0.1 (1 − q) = 0.31.",
    }.items():
        if math.isclose(value, wrong, abs_tol=2e-3):
            raise Wrong(message)
    if not math.isclose(value, 0.3, abs_tol=2e-3):
        raise Wrong(f"received {value:.3g}; which q gives 0.8 q + 0.1 (1 − q) = 0.31?")
    return "at a share of 0.3, 24 % are flagged rightly and 7 % wrongly: 31 %."


def mend_the_test(answer) -> str:
    """Judge a two-sample test: the level where nothing differs, the power where something does."""
    if not callable(answer):
        raise Wrong(f"expected the function answer(x_source, x_target); received {type(answer).__name__}.")
    generator = np.random.default_rng(0)
    equal = [_p_value(answer, *generator.standard_normal((2, 60, 20))) for _ in range(60)]
    alarms = np.mean(np.array(equal) <= 0.05)
    if alarms > 0.5:
        raise Wrong(
            "on samples of one distribution p ≤ 0.05 in most trials. The rows that gave the means "
            "are still counted among the right answers."
        )
    if alarms > 0.15:
        raise Wrong(
            f"on samples of one distribution p ≤ 0.05 in {alarms:.0%} of the trials instead of 5 %. Count "
            "right answers among held-out rows, compare with as many tosses as there are held-out rows."
        )
    if "hash" in _names(answer.__code__):
        raise Wrong("the level is right, but the split still uses hash, which Python salts at every start.")
    far = [_p_value(answer, x, y + 1) for x, y in generator.standard_normal((20, 2, 60, 20))]
    if np.mean(np.array(far) <= 0.05) < 0.9:
        raise Wrong(
            f"samples that differ clearly get p = {np.median(far):.2g} in the middle of 20 trials. Is half "
            "of each sample used for training, are the tosses counted right, and is the tail the upper one?"
        )
    # Two random splits can agree by chance on one pair of samples, hardly on twenty.
    pairs = generator.standard_normal((20, 2, 60, 20))
    if any(_p_value(answer, x, y) != _p_value(answer, x, y) for x, y in pairs):
        raise Wrong("two calls with one pair of samples give different p-values; split by position.")
    return f"p ≤ 0.05 in {alarms:.0%} of the trials where nothing differs, and nearly always where it does."


def _p_value(answer, x_source: np.ndarray, x_target: np.ndarray) -> float:
    """Call the reader's test and insist on a probability."""
    value = number(answer(x_source, x_target), "the p-value")
    if not 0 <= value <= 1:
        raise Wrong(f"the test returned {value:.3g}; a p-value lies between 0 and 1.")
    return value


def _names(code: CodeType) -> set[str]:
    """Return the global names that a function uses, also inside its comprehensions."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)
