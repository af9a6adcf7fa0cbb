"""Checks of the exercises in the chapter `fine_tuning`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from tlutils.exercises import Wrong
from tlutils.models import Classifier, lenet


def _function(answer: Any, arguments: str) -> Any:
    """Return the answer if it can be called; raise `Wrong` if not."""
    if not callable(answer):
        raise Wrong(f"the answer is {answer!r}; it should be a function of {arguments}.")
    return answer


def _number(found: Any, meaning: str) -> float:
    """Return what a function gave as a number; raise `Wrong` if it is none."""
    try:
        return float(found)
    except (TypeError, ValueError) as error:
        raise Wrong(f"the function returned {found!r}; it should return {meaning}.") from error


def head_only(answer: Any) -> str:
    """Judge ``head_only(model, num_classes)``: a trainable new head on a backbone that stays as it is."""
    model = lenet(10, image_size=8, widths=(4, 4), num_features=8, batch_norm=True, seed=0)
    old_head = model.head
    found = _function(answer, "a model and a number of classes")(model, 3)
    if not isinstance(found, Classifier):
        raise Wrong(f"the function returned {type(found).__name__}; it should return the Classifier.")
    if found.head is old_head or getattr(found.head, "out_features", None) != 3:
        raise Wrong("the head does not answer with num_classes logits; models.replace_head makes a new one.")
    if not all(parameter.requires_grad for parameter in found.head.parameters()):
        raise Wrong("the new head cannot learn: its parameters have requires_grad=False. Which came first?")
    if any(parameter.requires_grad for parameter in found.backbone.parameters()):
        raise Wrong("the backbone still learns: some of its parameters have requires_grad=True.")
    before = {name: tensor.clone() for name, tensor in found.backbone.state_dict().items()}
    with torch.no_grad():
        found.train()(torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(0)) + 1)
    moved = [
        name for name, tensor in found.backbone.state_dict().items() if not torch.equal(before[name], tensor)
    ]
    if moved:
        raise Wrong(
            f"after one batch in training mode {len(moved)} buffers of the backbone have moved, {moved[0]} "
            "among them. requires_grad=False does not hold statistics; what does?"
        )
    return (
        "only the new head can learn, and a batch in training mode leaves the backbone bit for bit as it was."
    )


def rates_by_depth(answer: Any) -> str:
    """Judge ``rates_by_depth(parts, top, factor)``: each layer's rate is that above it over `factor`."""
    parts, top, factor = ["first", "second", "hidden", "head"], 0.01, 2.0
    found = _function(answer, "parts, top and factor")(list(parts), top, factor)
    if not isinstance(found, Mapping) or set(found) != set(parts):
        raise Wrong(f"the function returned {found!r}; it should return a dict with the keys {parts}.")
    rates = [_number(found[part], "numbers") for part in parts]
    right = [top / factor**depth for depth in (3, 2, 1, 0)]
    if np.allclose(rates, right):
        return f"from the input to the head: {', '.join(f'{rate:g}' for rate in rates)}."
    if np.allclose(rates, right[::-1]):
        raise Wrong("the first layer has the largest rate; parts run from the input to the output.")
    if np.allclose(rates, np.divide(right, factor)):
        raise Wrong(f"the last layer has {rates[-1]:g} and should have top itself: its depth is 0, not 1.")
    if np.allclose(rates, [top / (factor * depth or 1) for depth in (3, 2, 1, 0)]):
        raise Wrong("the rates fall like factor · depth; dividing again in each layer gives factor ** depth.")
    raise Wrong(
        f"for top {top} and factor {factor} the rates are {rates}; the last should be {top}, and each other "
        f"one the next divided by {factor}."
    )


def softmax_floor(answer: Any) -> str:
    """Judge ``softmax_floor(num_classes)``: the lowest cross-entropy of probabilities taken for logits."""
    function = _function(answer, "the number of classes")
    found = {classes: _number(function(classes), "one number") for classes in (2, 10, 1000)}
    right = {classes: math.log(1 + (classes - 1) / math.e) for classes in found}
    if all(math.isclose(found[classes], right[classes], rel_tol=1e-3) for classes in found):
        return f"for ten classes no network can get below {right[10]:.3f}, however good it is."
    if abs(found[10]) < 1e-6:
        raise Wrong("0 is the floor of logits, which may grow without end; probabilities stop at 1.")
    if math.isclose(found[10], math.log(10), rel_tol=1e-3):
        raise Wrong("log C is the loss of a network that knows nothing; this one is sure and right.")
    if math.isclose(found[10], math.log(math.e + 9), rel_tol=1e-3):
        raise Wrong(
            "the logarithm of the sum is there; the logit of the true class, 1, is still to be subtracted."
        )
    if math.isclose(found[10], right[10] / math.log(2), rel_tol=1e-3):
        raise Wrong("this is the floor in bits; nats are asked for, the natural logarithm.")
    if math.isclose(found[10], math.log(1 + 10 / math.e), rel_tol=1e-3):
        raise Wrong("of ten classes nine are wrong: count C − 1 of them.")
    wrong = next(c for c in found if not math.isclose(found[c], right[c], rel_tol=1e-3))
    raise Wrong(
        f"for {wrong} classes you have {found[wrong]:.4f}. Put a 1 at the true class, 0 elsewhere, and "
        "compute."
    )


def reported_accuracy(answer: Any) -> str:
    """Judge ``reported_accuracy(validation, test)``: the test accuracy at the best validation accuracy."""
    function = _function(answer, "two lists")
    validation, test = [0.90, 0.94, 0.93, 0.94, 0.92], [0.88, 0.91, 0.95, 0.90, 0.89]
    found = _number(function(list(validation), list(test)), "one accuracy")
    if math.isclose(found, 0.91):
        return "0.91, where the largest of the five would have been 0.95: it was never yours to report."
    if math.isclose(found, 0.95):
        raise Wrong("0.95 is the largest test accuracy: the test part still chooses the epoch.")
    if math.isclose(found, 0.94):
        raise Wrong(
            "0.94 is a validation accuracy; it chose the epoch, so it flatters as well. Report the test."
        )
    if math.isclose(found, 0.90):
        raise Wrong("0.90 belongs to the later of two equal validation accuracies; take the earlier epoch.")
    if math.isclose(found, test[-1]):
        raise Wrong("0.89 is the last epoch; honest, but here the best one by validation is asked for.")
    raise Wrong(f"you have {found:.4f}; the second epoch is the best by validation.")
