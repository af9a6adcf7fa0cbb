"""Checks of the exercises in the chapter on deep alignment."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tlutils.exercises import Wrong, number
from tlutils.models import lenet
from tlutils.runtime import new_generator


def pulled_term(term: Callable) -> str:
    """Check a loss term: it must have the right value, and pull at the backbone through both batches."""
    model = lenet(image_size=16, seed=0)
    x, x_target = torch.rand(2, 6, 1, 16, 16, generator=new_generator(0))
    found = term(model, x, x_target)
    if not isinstance(found, Tensor) or found.ndim != 0:
        raise Wrong(f"the term returns {type(found).__name__}; `fit` adds it to a loss, so return a scalar.")
    source, target = (model.features(batch).mean(dim=0) for batch in (x, x_target))
    expected = (source - target).square().sum()
    if not torch.isclose(found, expected, rtol=1e-4):
        raise Wrong(f"the value is {found.item():.4f}; the squared distance of the means is {expected:.4f}.")
    if not found.requires_grad:
        raise Wrong("the value is right, but it carries no gradient: the network never feels it.")
    weights = list(model.backbone.parameters())
    wanted = torch.autograd.grad(expected, weights, retain_graph=True)
    pulls = torch.autograd.grad(found, weights, retain_graph=True, allow_unused=True)
    if any(pull is None for pull in pulls):
        raise Wrong("the value asks for a gradient, but none reaches the backbone: both batches are cut off.")
    if all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(pulls, wanted, strict=True)):
        return "right value, and both batches pull at the backbone."
    for side, name in (((source.detach() - target), "target"), ((source - target.detach()), "source")):
        lone = torch.autograd.grad(side.square().sum(), weights, retain_graph=True)
        if all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(pulls, lone, strict=True)):
            raise Wrong(f"only the {name} batch pulls: the features of the other one are still cut off.")
    raise Wrong("the value is right, but its gradient is not that of the squared distance of the means.")


def covariance_of(covariance: Callable) -> str:
    """Check a covariance matrix of features, one row per example; name the axis that was taken wrongly."""
    for n, d in ((7, 3), (4, 4)):
        x = torch.randn(n, d, generator=new_generator(n), dtype=torch.float64) + torch.arange(d)
        found, expected = covariance(x), torch.cov(x.T)
        if not isinstance(found, Tensor):
            raise Wrong(f"you return {type(found).__name__}; expected a matrix.")
        if found.shape != (d, d):
            raise Wrong(
                f"for {n} examples of {d} features you return {tuple(found.shape)}; expected ({d}, {d}): a "
                "covariance is between features, not between examples."
            )
        if torch.allclose(found, expected):
            continue
        rows = x - x.mean(dim=1, keepdim=True)
        mistakes = {
            "centred over the wrong axis: each *feature* must have mean 0 over the examples.": rows,
            "not centred at all: subtract each feature's mean.": x,
        }
        for reason, part in mistakes.items():
            if any(torch.allclose(found, part.T @ part / k) for k in (n, n - 1)):
                raise Wrong(reason)
        if torch.allclose(found, expected * (n - 1) / n):
            raise Wrong(f"divided by {n}; an unbiased covariance of {n} examples divides by {n - 1}.")
        raise Wrong(
            f"not the covariance: the first entry is {found[0, 0]:.3f}, expected {expected[0, 0]:.3f}."
        )
    return "each feature is centred over the examples; torch.cov says the same."


def _look(step: int, source: float, information: float, test: float) -> dict[str, float]:
    return {"step": step, "source accuracy": source, "information": information, "test": test}


def honest_step(choose: Callable[[Sequence[dict[str, float]]], object]) -> str:
    """Check a rule that stops without target labels, on looks at which the likely mistakes part ways."""
    looks = [
        _look(100, 0.99, 1.2, 0.70),
        _look(200, 0.985, 1.9, 0.85),
        _look(300, 0.975, 2.0, 0.90),
        _look(400, 0.60, 2.3, 0.20),
        _look(500, 0.982, 1.8, 0.95),
    ]
    found = number(choose(looks), "the chosen step")
    reasons = {
        100: "that is the look with the best source accuracy; it says nothing about the target.",
        300: "its source accuracy is 1.5 points below the best; only one point is allowed.",
        400: "the most information, but this network has forgotten the source: sure and wrong.",
        500: "that is the best look on the *test* labels, which no rule may read.",
    }
    if found in reasons:
        raise Wrong(f"step {found:.0f}: {reasons[int(found)]}")
    if found != 200:
        raise Wrong(f"you return {found:g}; expected the step of one of the looks: 200.")
    shuffled = [*looks[::-1], _look(600, 0.981, 1.95, 0.1)]
    if number(choose(shuffled), "the chosen step") != 600:
        raise Wrong("right once, but not when the looks come in another order and a better one is added.")
    return "step 200: the most information among the networks that still know the source."


def least_error(bound: Callable) -> str:
    """Check the least error of a perfect alignment between two label distributions."""
    cases = [
        ([0.5, 0.5], [0.9, 0.1], 0.4),
        ([0.2, 0.3, 0.5], [0.2, 0.3, 0.5], 0.0),
        ([0.25] * 4, [1, 0, 0, 0], 0.75),
        ([0.4, 0.4, 0.1, 0.1], [0.1, 0.1, 0.4, 0.4], 0.6),
    ]
    for p_source, p_target, right in cases:
        p, q = (torch.tensor(values, dtype=torch.float64) for values in (p_source, p_target))
        found = number(bound(p, q), "the bound")
        if math.isclose(found, right, abs_tol=1e-9):
            continue
        if math.isclose(found, 2 * right, abs_tol=1e-9):
            raise Wrong(
                f"{found:.2f} is twice too much: what one class gets too often, another gets too rarely."
            )
        if math.isclose(found, 0, abs_tol=1e-9):
            raise Wrong(
                "surplus and lack cancel: both distributions sum to 1. Keep the positive parts alone."
            )
        raise Wrong(f"for {p_source} and {p_target} you return {found:.3f}; expected {right:.3f}.")
    return "the total variation distance of the two label distributions."
