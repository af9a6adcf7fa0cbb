"""Checks of the exercises in the chapter on importance weighting."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tlutils.exercises import Wrong


def risk_by_hand(answer: object) -> str:
    """Check the target risk and the effective sample size of a table of three kinds."""
    if not isinstance(answer, dict) or set(answer) != {"target error", "effective sample size"}:
        raise Wrong("expected a dictionary with 'target error' and 'effective sample size'.")
    if any(value is ... for value in answer.values()):
        raise Wrong("replace the ... by your answers.")
    error, effective = (float(answer[key]) for key in ("target error", "effective sample size"))
    mistakes = {
        0.1: "0.10 is the error on the source; weight each kind by its share in the target.",
        1.0333: "you multiplied the shares of the target by the weights, which are in them already.",
        0.3605: "you multiplied the shares of the target by the weights, which are in them already.",
        0.3342: "each kind counts as often as it occurs in the source: 600, 300 and 100 times.",
    }
    for wrong, reason in mistakes.items():
        if math.isclose(error, wrong, abs_tol=1e-3):
            raise Wrong(f"the target error is not {error:.2f}: {reason}")
    if math.isclose(error, 24, abs_tol=0.1):
        raise Wrong("the target error is a fraction in [0, 1], not a percentage.")
    if not math.isclose(error, 0.24, abs_tol=1e-3):
        raise Wrong(
            f"the target error is not {error:.3f}; sum share in the target times error over the kinds."
        )
    if math.isclose(effective, 1000 / 2.8667**2, rel_tol=1e-2):
        raise Wrong("you divided by the square of Σw²; the formula is (Σw)² / Σw².")
    if math.isclose(effective, 0.3488, rel_tol=1e-2):
        raise Wrong("that is the share of effective examples; how many are there of 1000?")
    if math.isclose(effective, 40.11 / 25.11, rel_tol=2e-1):
        raise Wrong("each kind counts as often as it occurs: 600 times 1/3, 300 times 1, 100 times 5.")
    if not math.isclose(effective, 1000 / (0.6 / 9 + 0.3 + 2.5), rel_tol=2e-3):
        raise Wrong(
            f"the effective sample size is not {effective:.1f}; it is (Σw)² / Σw² over 1000 examples."
        )
    return "0.24, from as many effective examples as 349 unweighted ones."


def mend_the_ratio(ratio: Callable) -> str:
    """Check a density ratio by a domain classifier: its direction, and its scale."""
    rng = np.random.default_rng(0)
    x_source, x_target = rng.normal(size=(2000, 1)), rng.normal(size=(2000, 1)) + 1
    found = np.asarray(ratio(x_source, x_target), dtype=np.float64)
    if found.shape != (2000,):
        raise Wrong(f"for 2000 source examples you return shape {found.shape}; expected one weight each.")
    if not np.isfinite(found).all() or found.min() < 0:
        raise Wrong("some weights are negative or not finite.")
    if np.corrcoef(found, x_source[:, 0])[0, 1] < 0:
        raise Wrong(
            "the target lies to the right of the source, and yet examples on the left get the larger "
            "weights: the ratio is upside down. Which column of `predict_proba` belongs to the target?"
        )
    if math.isclose(found.mean(), 1, abs_tol=1e-9):
        raise Wrong("the mean of your weights is exactly 1: do not normalise them, it hides their scale.")
    many = rng.normal(size=(20_000, 1))
    scale = float(np.mean(ratio(x_source, many)))
    if math.isclose(scale, 10, rel_tol=0.1):
        raise Wrong(
            "with ten times as many target examples from the same distribution the weights are about 10: the "
            "odds of the classifier still contain the sizes of the two samples."
        )
    if math.isclose(scale, 100, rel_tol=0.1):
        raise Wrong(
            "with ten times as many target examples the weights are about 100: the sizes are upside down."
        )
    if not math.isclose(scale, 1, rel_tol=0.1):
        raise Wrong(f"for two samples of one distribution the mean weight is {scale:.2f}; expected about 1.")
    truth = np.exp(x_source[:, 0] - 0.5)
    if np.abs(found / truth - 1).mean() > 0.3:
        raise Wrong(
            "the weights rise to the right, but they are not exp(x − ½), the ratio of the two Gaussians."
        )
    return "the odds of the target, with the sizes of the samples taken out."


def mend_the_resampling(resample: Callable) -> str:
    """Check resampling: pairs stay together, frequencies follow the weights."""
    x = np.arange(200)
    y, weights = x % 7, np.where(x < 20, 9.0, 1.0)
    rows, labels = (np.asarray(part) for part in resample(x, y, weights, 0))
    if len(rows) != 200 or len(labels) != 200:
        raise Wrong(f"you return {len(rows)} examples and {len(labels)} labels; expected 200 of each.")
    if not np.array_equal(rows % 7, labels):
        raise Wrong(
            "examples and labels no longer belong together: draw row numbers once and use them for both."
        )
    if len(np.unique(rows)) == 200:
        raise Wrong("every example appears exactly once: without replacement nothing has been weighted.")
    share = np.mean([(np.asarray(resample(x, y, weights, seed)[0]) < 20).mean() for seed in range(100)])
    if not math.isclose(share, 0.5, abs_tol=0.03):
        raise Wrong(
            f"20 of 200 examples have weight 9 and should make up half of the sample; they make up "
            f"{share:.2f}."
        )
    if np.array_equal(rows, np.asarray(resample(x, y, weights, 1)[0])):
        raise Wrong("two seeds give the same sample; use the seed.")
    return "one draw of row numbers, with replacement, serves examples and labels."
