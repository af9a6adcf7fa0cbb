"""Checks of the exercises in the chapter on parameter-efficient tuning."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tlutils.exercises import Wrong
from tlutils.models import Classifier
from tlutils.runtime import new_generator


def lora_start(start: Callable) -> str:
    """Check the first values of A and B: the update must be zero, and must be able to leave zero."""
    a, b = start(6, 4, 2, new_generator(0))
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        raise Wrong("return two tensors, A and B.")
    if a.shape != (2, 6) or b.shape != (4, 2):
        raise Wrong(f"A is {tuple(a.shape)} and B {tuple(b.shape)}; expected (2, 6) and (4, 2).")
    if (b @ a).count_nonzero():
        raise Wrong("B A is not zero: the network is changed before it has seen an example.")
    if not (a.count_nonzero() or b.count_nonzero()):
        raise Wrong("both are zero: each one's gradient is a product with the other, so neither ever moves.")
    if b.count_nonzero():
        raise Wrong("A is zero and B random: it works, but the usual choice is the other way round.")
    if a.count_nonzero() < a.numel() or torch.linalg.matrix_rank(a) < 2:
        raise Wrong("the rows of A must be drawn apart, or the update cannot reach rank r.")
    return "the output is unchanged, and B has a gradient at the first step."


def merged_weight(merge: Callable) -> str:
    """Check a merged weight: the right scale, and a weight that is left as it was."""
    weight, a, b = (
        torch.randn(*s, generator=new_generator(i)) for i, s in enumerate([(4, 6), (2, 6), (4, 2)])
    )
    before = weight.clone()
    found = merge(weight, a, b, 8.0)
    if not isinstance(found, Tensor) or found.shape != (4, 6):
        raise Wrong(f"expected a tensor (4, 6), like the weight; found {getattr(found, 'shape', found)}.")
    if torch.allclose(found, before + b @ a, atol=1e-5):
        raise Wrong("that is W + B A: the forward pass has a factor more.")
    if torch.allclose(found, before + 8 * b @ a, atol=1e-5):
        raise Wrong("α is there; r, the number of rows of A, is missing.")
    if torch.allclose(found, 4 * b @ a, atol=1e-5):
        raise Wrong("that is the update alone: add it to the weight.")
    if torch.allclose(found, before + 8 / 6 * b @ a, atol=1e-5):
        raise Wrong("you divide by 6, the number of inputs; r is the number of rows of A.")
    if torch.allclose(found, before + 8 / 4 * b @ a, atol=1e-5):
        raise Wrong("you divide by 4, the number of rows of B; r is the number of rows of A.")
    if not torch.allclose(found, before + 4 * b @ a, atol=1e-5):
        raise Wrong("this is not W + (α/r) B A.")
    if not torch.equal(weight, before):
        raise Wrong(
            "the value is right, but the weight handed in has changed: call it twice and it is merged twice."
        )
    return "scaled as in the forward pass, and the source's weight is as it was."


def _network() -> Classifier:
    torch_generator = new_generator(0)
    backbone = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    model = Classifier(backbone, nn.Linear(4, 2))
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=torch_generator)
    return model


def only_biases(prepare: Callable) -> str:
    """Check what is trainable: the biases and the head; and that no statistic moves in training."""
    model = prepare(_network())
    if not isinstance(model, nn.Module):
        raise Wrong(f"return the model; found {type(model).__name__}.")
    opened = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    wanted = {"backbone.0.bias", "backbone.1.bias", "head.weight", "head.bias"}
    if extra := sorted(opened - wanted):
        raise Wrong(f"these are trained as well: {', '.join(extra)}. Who has ever switched them off?")
    if missing := sorted(wanted - opened):
        raise Wrong(f"these should be trained and are not: {', '.join(missing)}.")
    before = model.backbone[1].running_mean.clone()
    model.train()
    model(torch.rand(8, 3, 6, 6, generator=new_generator(1)))
    if not torch.equal(before, model.backbone[1].running_mean):
        raise Wrong(
            "the parameters are right, but a batch moves the running mean of the normalisation layer."
        )
    return "the biases and the head are trained, everything else is still, the statistics too."


def largest_rank(largest: Callable) -> str:
    """Check the largest rank at which LoRA trains fewer numbers than the weight has."""
    for num_in, num_out, expected in ((1152, 128, 115), (16, 16, 7), (2, 2, 0), (100, 1, 0), (6, 3, 1)):
        found = largest(num_in, num_out)
        if isinstance(found, bool) or not isinstance(found, int):
            raise Wrong(f"expected a whole number (int), found {found!r}.")
        if found == expected:
            continue
        if found == num_in * num_out // (num_in + num_out):
            raise Wrong(
                f"for {num_in} inputs and {num_out} outputs rank {found} trains just as many numbers as the "
                "weight has; it should be fewer."
            )
        size = found * (num_in + num_out)
        advice = "One more would still save." if found < expected else "That saves nothing."
        raise Wrong(
            f"for {num_in} inputs and {num_out} outputs you say {found}: LoRA has {size} numbers, the weight "
            f"{num_in * num_out}. {advice}"
        )
    return "r (in + out) < in · out, and the largest such r."
