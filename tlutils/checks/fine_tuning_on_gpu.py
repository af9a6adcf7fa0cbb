"""Checks of the exercises in the chapter on fine-tuning on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral

import torch
from torch import Tensor, nn
from torch.nn import functional

from tlutils.exercises import Wrong
from tlutils.runtime import new_generator
from tlutils.training_memory import memory_bill


def _network() -> nn.Module:
    """Return a small network with fixed weights."""
    model = nn.Linear(3, 2)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[0.5, -1.0, 0.25], [0.0, 1.0, -0.5]]))
        model.bias.zero_()
    return model


def gradient_in_parts(function: Callable) -> str:
    """Check gradient accumulation; name a forgotten weight, a gradient wiped out, and unequal parts."""
    x = torch.randn(7, 3, generator=new_generator(0))
    y = torch.tensor([0, 1, 1, 0, 1, 0, 0])
    whole = _network()
    functional.cross_entropy(whole(x), y).backward()
    expected = whole.weight.grad
    for num_parts in (1, 7, 3):
        model = _network()
        model.weight.grad = torch.ones_like(model.weight)  # left by an earlier step
        function(model, x, y, num_parts)
        found = model.weight.grad
        if found is None:
            raise Wrong("the network has no gradient afterwards; call backward() on the loss of each part.")
        if torch.allclose(found, expected, atol=1e-6):
            continue
        last = _network()
        part_x, part_y = x.tensor_split(num_parts)[-1], y.tensor_split(num_parts)[-1]
        functional.cross_entropy(last(part_x), part_y).backward()
        ratios = {
            "still contains what an earlier step left: clear the gradients once, before the loop.": [
                expected + 1
            ],
            "is that of the last part alone: something wipes the gradient out between the parts.": [
                last.weight.grad, last.weight.grad / num_parts, last.weight.grad * len(part_x) / len(x),
            ],
            f"is {num_parts} times too large: the losses are added, and each is already a mean.": [
                _sum_of_parts(x, y, num_parts)
            ],
            "weights all parts alike, and with 7 examples in 3 parts they are not equally large.": [
                _sum_of_parts(x, y, num_parts) / num_parts
            ],
        }  # fmt: skip
        for reason, candidates in ratios.items():
            if any(torch.allclose(found, candidate, atol=1e-6) for candidate in candidates):
                raise Wrong(f"with {num_parts} parts the gradient {reason}")
        raise Wrong(
            f"with {num_parts} parts the gradient begins with {found[0, 0]:.4f}; that of the whole batch "
            f"with {expected[0, 0]:.4f}."
        )
    return "the same gradient in 1, 3 and 7 parts."


def _sum_of_parts(x: Tensor, y: Tensor, num_parts: int) -> Tensor:
    """Return the sum of the gradients of the mean losses of all parts."""
    model = _network()
    for part_x, part_y in zip(x.tensor_split(num_parts), y.tensor_split(num_parts), strict=True):
        functional.cross_entropy(model(part_x), part_y).backward()
    return model.weight.grad


def best_epoch(function: Callable) -> str:
    """Check which epoch is kept; name a choice by training or by test accuracy."""
    looks = [
        {"train": 0.70, "validation": 0.61, "loss": 0.52, "test": 0.60},
        {"train": 0.85, "validation": 0.71, "loss": 0.60, "test": 0.70},
        {"train": 0.95, "validation": 0.71, "loss": 0.55, "test": 0.72},
        {"train": 0.97, "validation": 0.65, "loss": 0.71, "test": 0.74},
        {"train": 0.99, "validation": 0.67, "loss": 0.80, "test": 0.68},
    ]
    found = function(looks)
    reasons = {
        0: "the one with the lowest validation *loss*; the accuracy decides first, the loss only a tie.",
        4: "the one with the best *training* accuracy, which the listing of the first section "
        "keeps: it learned by heart.",
        3: "the one with the best *test* accuracy: the test must not choose.",
        1: "the first of two with equal validation accuracy; let the lower validation loss decide.",
    }
    if isinstance(found, Integral) and found in reasons:
        raise Wrong(f"you keep epoch {found}, {reasons[found]}")
    if found != 2:
        raise Wrong(f"you return {found!r}; expected the index of one of the {len(looks)} epochs.")
    if function([looks[i] for i in (0, 2, 1, 3, 4)]) != 1:
        raise Wrong("of two with equal validation accuracy you keep the later; let the lower loss decide.")
    return "chosen by validation accuracy, ties by validation loss; the test was not asked."


def bytes_per_parameter(function: Callable) -> str:
    """Check the fixed part of the memory bill; name what was forgotten."""
    model = nn.Linear(10, 4, bias=False)  # 40 parameters
    for optimizer in ("sgd", "momentum", "adamw"):
        found = function(40, optimizer)
        if not isinstance(found, int | float):
            raise Wrong(f"{optimizer}: you return {type(found).__name__}; expected a number of bytes.")
        bill = memory_bill(model, (10,), 1, optimizer=optimizer)
        expected = bill.total - bill.activations
        if found == expected:
            continue
        if found == bill.weights + bill.gradients:
            raise Wrong(f"{optimizer}: weights and gradients are there; what does the optimiser remember?")
        if bill.weights + bill.gradients < found < expected:
            raise Wrong(f"{optimizer}: {found} bytes for 40 parameters; it remembers more than that.")
        if found == expected - bill.weights:
            raise Wrong(f"{optimizer}: {found} bytes for 40 parameters; weights or gradients are missing.")
        if 4 * found == expected:
            raise Wrong(f"{optimizer}: {found} numbers, but asked for bytes: a float32 has 4.")
        raise Wrong(f"{optimizer}: you return {found!r} for 40 parameters; expected {expected} bytes.")
    return "8 bytes per parameter with SGD, 12 with momentum, 16 with AdamW."
