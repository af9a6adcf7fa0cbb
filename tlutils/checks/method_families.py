"""Checks of the exercises in the chapter on method families."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tlutils.chooser import METHODS, QUESTIONS, choose
from tlutils.exercises import Wrong


def no_labels(choose_without_labels: Callable) -> str:
    """Check the four answers against the decision table."""
    for change in QUESTIONS["change"][1]:
        found = choose_without_labels(change)
        if found is ...:
            raise Wrong("choose_without_labels returns ...; replace it by your rule.")
        right = choose(
            {"labels": "none", "source": "examples", "change": change, "model": "fixed", "task": "same"}
        )
        if found not in METHODS:
            raise Wrong(f"for {change!r} you return {found!r}; expected a key such as 'coral'.")
        if found != right:
            reason = METHODS[right].reason
            raise Wrong(f"for {change!r} you return {found!r}. Think again: {reason[0].lower()}{reason[1:]}")
    return "four changes, four different answers."


def equal_budget(mean_gain: Callable) -> str:
    """Check that both sides are read at the same budget, and seed by seed."""
    method = np.array([[50.0, 70.0, 80.0], [52.0, 74.0, 86.0]])
    baseline = np.array([[50.0, 64.0, 77.0], [51.0, 68.0, 81.0]])
    budgets = [0, 3, 10]
    for budget, right in ((10, 4.0), (3, 6.0), (0, 0.5)):
        found = mean_gain(method, baseline, budgets, budget)
        try:
            found = float(found)
        except (TypeError, ValueError):
            raise Wrong(f"you return {found!r}; expected one number.") from None
        column = budgets.index(budget)
        if math.isclose(found, right):
            continue
        if math.isclose(found, (method[:, column] - baseline[:, 0]).mean()):
            raise Wrong(
                f"with {budget} labels per class you compare with a baseline that has none: {found:.1f} "
                f"points instead of {right:.1f}."
            )
        if math.isclose(found, -right):
            raise Wrong("the sign is wrong: a gain is the method minus the baseline.")
        if math.isclose(found, (method[:, column] - baseline[:, -1]).mean()):
            raise Wrong("the baseline is read at the largest budget; take the same one on both sides.")
        raise Wrong(f"the gain at {budget} labels per class is {found:.2f}; expected {right:.2f}.")
    return "the same labels on both sides."


def pull(pulled_mean: Callable) -> str:
    """Check the closed form at its ends and in between."""
    x, source = [1.0, 2.0, 6.0], 10.0
    first = pulled_mean(x, source, 0.5)
    if first is ...:
        raise Wrong("pulled_mean returns ...; replace it by your formula.")
    for strength in (0.5, 0.0, 2.0, 1e9):
        try:
            found = float(pulled_mean(x, source, strength))
        except (TypeError, ValueError):
            raise Wrong("pulled_mean should return one number.") from None
        right = (3 + strength * source) / (1 + strength)
        if math.isclose(found, right, rel_tol=1e-6):
            continue
        mistakes = {
            (9 + strength * source)
            / (3 + strength): "the sum over the examples is divided by n in the loss.",
            3 + strength * source: "divide by 1 + λ: the weights must add up to 1.",
            (source + strength * 3) / (1 + strength): "the pull goes towards the source, not away from it.",
            (3 - strength * source) / (1 - strength): "a sign is lost: m stands beside 1 + λ.",
            (1 - strength) * 3 + strength * source: "λ is not a share: it runs from 0 to infinity.",
        }
        for wrong, reason in mistakes.items():
            if math.isclose(found, wrong, rel_tol=1e-6):
                raise Wrong(f"with λ = {strength:g} you get {found:.3f}, expected {right:.3f}: {reason}")
        raise Wrong(f"with λ = {strength:g} you get {found:.3f}; expected {right:.3f}.")
    return "the mean of the target without a pull, that of the source with an infinite one."
