"""Checks of the exercises in the chapter on feature extraction."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tlutils.exercises import Wrong
from tlutils.models import residual_network
from tlutils.runtime import new_generator, seeded

# (kernel width, stride) of every layer → receptive field, by hand.
FIELDS = (
    ([(3, 1)], 3),
    ([(3, 1), (3, 1)], 5),
    ([(3, 2), (3, 1)], 7),
    ([(11, 4), (3, 2), (5, 1)], 51),
    ([(7, 2), (3, 2), (3, 1), (3, 1)], 27),
)


def _tensor(value: object, what: str) -> Tensor:
    """Return `value` if it is a tensor, or say that it is none."""
    if not isinstance(value, Tensor):
        raise Wrong(f"{what} is {type(value).__name__}; expected a tensor.")
    return value


def first_layer(caught: Callable) -> str:
    """Check a function that returns what the first layer of a network gives."""
    with seeded(0):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3)).eval()
    x = torch.rand(2, 3, 8, 8, generator=new_generator(0))
    with torch.no_grad():
        expected = model[0](x)
    found = _tensor(caught(model, x), "what you return").detach()
    if found.shape != expected.shape:
        raise Wrong(
            f"you return the shape {tuple(found.shape)}; the first layer gives {tuple(expected.shape)}."
        )
    if torch.allclose(found, expected, atol=1e-6):
        if model[0]._forward_hooks:
            raise Wrong("right values, but the hook stays on the layer: it will fire for everyone, for ever.")
        return "the first layer's own output, negative numbers included, and no hook left behind."
    if torch.allclose(found, expected.clamp(min=0), atol=1e-6):
        raise Wrong("what you return has no negative number: the ReLU behind the layer has written over it.")
    raise Wrong("that is not what the first layer gives; compare with model[0](x).")


def fixed_features(features: Callable) -> str:
    """Check a function that computes the features of a frozen network in chunks."""
    model = residual_network(seed=0).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = torch.rand(12, 3, 32, 32, generator=new_generator(0))
    whole, parts = (_tensor(features(model, x, size), "what you return") for size in (12, 5))
    for found in (whole, parts):
        if found.shape != (12, 128):
            raise Wrong(f"for 12 images you return the shape {tuple(found.shape)}; expected (12, 128).")
    if whole.requires_grad:
        raise Wrong("the features carry a gradient, and with it every activation of the network in memory.")
    if any(not torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items()):
        raise Wrong("the network has changed: its running statistics moved. A frozen network is evaluated.")
    if not torch.allclose(whole, parts, atol=1e-5):
        raise Wrong(
            "the features of an image depend on the images beside it: another chunk size, other numbers."
        )
    with torch.no_grad():
        expected = model.eval().features(x)
    if not torch.allclose(whole, expected, atol=1e-5):
        raise Wrong("constant over chunks, but not what model.features gives in evaluation mode.")
    return "one image, one vector, whatever the chunk."


def receptive_field(field: Callable) -> str:
    """Check a function from (kernel width, stride) of every layer to the receptive field."""
    for layers, expected in FIELDS:
        try:
            found = int(field(list(layers)))
        except (TypeError, ValueError):
            raise Wrong(
                f"for {layers} you return {field(list(layers))!r}; expected a whole number."
            ) from None
        if found == expected:
            continue
        by_stride = 1
        for kernel, _ in layers:
            by_stride += kernel - 1
        if found == by_stride:
            raise Wrong(f"for {layers} you return {found}: that adds k − 1 as if every stride were 1.")
        too_early, product = 1, 1
        for kernel, stride in layers:
            product *= stride
            too_early += (kernel - 1) * product
        if found == too_early:
            raise Wrong(f"for {layers} you return {found}: a layer's own stride counts for those after it.")
        last_stride_only, step = 1, 1
        for kernel, stride in layers:
            last_stride_only, step = last_stride_only + (kernel - 1) * step, stride
        if found == last_stride_only:
            raise Wrong(f"for {layers} you return {found}: all strides before a layer are multiplied.")
        added, step = 1, 1
        for kernel, stride in layers:
            added, step = added + (kernel - 1) * step, step + stride
        if found == added:
            raise Wrong(f"for {layers} you return {found}: strides are multiplied, not added.")
        raise Wrong(f"for {layers} you return {found}; expected {expected}.")
    return "AlexNet's first three layers see 51 pixels, as the table says."


def multiply_adds(count: Callable) -> str:
    """Check a function that counts the multiply-adds of a convolution."""
    for shape in ((3, 64, 11, 55), (64, 192, 5, 27), (2, 5, 1, 7)):
        channels, width, kernel, side = shape
        expected, found = channels * width * kernel**2 * side**2, count(*shape)
        if found == expected:
            continue
        mistakes = {
            channels
            * width
            * kernel**2: "those are the weights; each is used once for every place of the map.",
            channels * width * kernel * side**2: "the kernel has two sides.",
            channels * width * kernel**2 * side: "the map has two sides.",
            width * kernel**2 * side**2: "every output channel reads all input channels.",
            2 * expected: "a multiplication and its addition count as one.",
            expected + width * side**2: "a bias is added without a multiplication; it does not count.",
        }
        reason = mistakes.get(found, f"expected {expected}.")
        raise Wrong(
            f"for in={channels}, out={width}, kernel={kernel}, side={side} you return {found!r}: {reason}"
        )
    return "the first convolution of AlexNet costs 70 276 800, as the table says."
