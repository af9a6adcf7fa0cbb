"""Checks of the exercises in the chapter on negative transfer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tlutils.exercises import Wrong

P_VALUE = 0.10505676269531250  # P[B ≥ 11], B ~ Binomial(16, 1/2)


def mend_the_gain(gain_of: Callable) -> str:
    """Check a measured gain with a source that helps and one that harms."""
    rng = np.random.default_rng(0)

    def draw(n: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(n, 30))
        return x, (x[:, :3].sum(axis=1) > 0).astype(int)

    source, few, test = draw(500), draw(12), draw(2000)
    helpful = float(gain_of(source, few, test))
    harmful = float(gain_of((source[0], 1 - source[1]), few, test))
    if helpful == harmful == 0:
        raise Wrong(
            "a good source and one with all labels swapped both gain exactly 0: the two models are one."
        )
    if abs(helpful) > 1 or abs(harmful) > 1:
        raise Wrong("a gain is a difference of two fractions, between −1 and 1.")
    if helpful < -0.1 and harmful > 0.1:
        raise Wrong("a good source loses and a bad one gains: the sign is turned round.")
    if harmful == 0 or helpful == 0:
        raise Wrong(
            f"a good source gains {helpful:.2f} and a swapped one {harmful:.2f}; neither should be 0."
        )
    if not (helpful > 0.1 and harmful < -0.3):
        raise Wrong(
            f"a good source gains {helpful:.2f} and a swapped one {harmful:.2f}; expected well above 0 and "
            "well below it. Which data does each model see?"
        )
    if float(gain_of(few, source, test)) < -0.1:  # the small set as source, 500 target labels
        raise Wrong("12 good source examples beside 500 target labels cost much: does 'both' see the latter?")
    return f"a good source gains {100 * helpful:.0f} points, one with its labels swapped {100 * harmful:.0f}."


def judge(answer: object) -> str:
    """Check McNemar's test on 11 wins and 5 losses."""
    if not isinstance(answer, dict) or set(answer) != {"examples that count", "p-value", "believed"}:
        raise Wrong("expected a dictionary with 'examples that count', 'p-value' and 'believed'.")
    if any(value is ... for value in answer.values()):
        raise Wrong("replace the ... by your answers.")
    count, p = int(answer["examples that count"]), float(answer["p-value"])
    if count in (6, 100):
        raise Wrong(
            f"not {count}: the examples on which exactly one model is right, wins and losses together."
        )
    if count != 16:
        raise Wrong(f"not {count}: (81 − 70) + (75 − 70).")
    if math.isclose(p, 2 * P_VALUE, abs_tol=2e-3):
        raise Wrong("that is the two-sided p-value; the question is whether the transferred model is better.")
    if math.isclose(p, 0.0384, abs_tol=2e-3):
        raise Wrong("that is P[B ≥ 12], or P[B > 11]: `sf(k)` is the probability of more than k.")
    if not math.isclose(p, P_VALUE, abs_tol=2e-3):
        raise Wrong(
            f"the p-value is not {p:.3f}; it is P[B ≥ 11] for 16 tosses of a coin, to three decimals."
        )
    if not isinstance(answer["believed"], bool | np.bool_):
        raise Wrong("'believed' should be True or False.")
    if answer["believed"]:
        raise Wrong("p is above 0.05: a coin does as well in one case of ten.")
    return "16 examples count, p = 0.105, and six points on a hundred examples are not believed."


def crossing_of(function: Callable) -> str:
    """Check the zero crossing of a gain curve."""
    found = function([0.0, 1.0], [3.0, -1.0])
    if found is ...:
        raise Wrong("replace the ... by the level.")
    if math.isclose(float(found), 0.25):
        raise Wrong(
            "from (0, 3) to (1, −1) the crossing is at 0.75, not 0.25: which of the two ends is nearer 0?"
        )
    if not math.isclose(float(found), 0.75):
        raise Wrong(f"from (0, 3) to (1, −1) the crossing is at 0.75; you return {float(found):.3f}.")
    if not math.isclose(float(function([0.0, 0.2, 0.6, 1.0], [2.0, 1.0, -1.0, -3.0])), 0.4):
        raise Wrong("right on two points; but levels need not be one apart, and the crossing may come later.")
    if not math.isclose(float(function([0.0, 0.5, 1.0, 1.5], [1.0, -1.0, 1.0, -1.0])), 0.25):
        raise Wrong("the curve +1, −1, +1, −1 first crosses at 0.25; you return a later crossing.")
    if not all(math.isnan(float(function([0.0, 1.0], [gain, -2.0]))) for gain in (-1.0, 0.0)):
        raise Wrong(
            "a curve that starts at 0 or below has no crossing from positive to negative: return nan."
        )
    end = function([0.0, 2.0], [2.0, 1.0])
    if end is None or not math.isclose(float(end), 2.0):
        raise Wrong("a curve that never falls below 0 should return the last level.")
    return "found by linear interpolation, also at the ends."
