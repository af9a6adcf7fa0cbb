"""Checks of the exercises in the chapter that carries a network from MNIST to Fashion-MNIST."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional

from tlutils.domains import Labelled, TestSet
from tlutils.exercises import Wrong
from tlutils.runtime import new_generator


def copying_loss(function: Callable) -> str:
    """Check that pictures are compared with the pictures that went in, in logits, averaged over pixels."""
    generator = new_generator(0)
    decoded = torch.randn(6, 1, 4, 4, generator=generator).requires_grad_()
    images = torch.rand(6, 1, 4, 4, generator=generator)
    labels = torch.tensor([0, 1, 1, 0, 1, 0])
    try:
        found = function(decoded, images, labels)
    except ValueError as error:
        raise Wrong(f"it does not run: {error}") from error
    if found is ... or not isinstance(found, torch.Tensor) or found.ndim:
        raise Wrong("return one number, the loss, as a tensor.")
    if not found.requires_grad:
        raise Wrong("no gradient flows: the loss must be computed from `decoded` as it is.")
    spread = labels.float().view(-1, 1, 1, 1).expand_as(decoded)
    binary = functional.binary_cross_entropy_with_logits
    for target, reduction in ((spread, "mean"), (spread, "sum")):
        if math.isclose(found.item(), binary(decoded, target, reduction=reduction).item(), rel_tol=1e-4):
            raise Wrong("every pixel is asked to be the label: a 1 is learnt as a white picture.")
    wanted = binary(decoded, images).item()
    if math.isclose(
        found.item(), functional.binary_cross_entropy(images, decoded.sigmoid()).item(), rel_tol=1e-4
    ):
        raise Wrong("prediction and target have changed places.")
    if math.isclose(found.item(), binary(decoded.sigmoid(), images).item(), rel_tol=1e-4):
        raise Wrong("the sigmoid is taken twice: this loss takes it by itself.")
    if math.isclose(found.item(), 16 * wanted, rel_tol=1e-4) or math.isclose(
        found.item(), 96 * wanted, rel_tol=1e-4
    ):
        raise Wrong("right but for its size: take the mean over images and pixels.")
    if not math.isclose(found.item(), wanted, rel_tol=1e-4):
        raise Wrong(f"for a small example you give {found.item():.4f}, and {wanted:.4f} is right.")
    return "each pixel is compared with the pixel that went in; no label is read."


def make_schedule(function: Callable) -> str:
    """Check that the rate falls to a tenth at half and to a hundredth at three quarters of the epochs."""
    for num_epochs in (8, 20):
        found = _rates(function, num_epochs)
        if math.isclose(found[1], found[0] / 10, rel_tol=1e-6):
            done = found[0] / sum(found)
            raise Wrong(
                f"the rate is a tenth after one epoch; {done:.0%} of the sum of all rates is in the first."
            )
        wanted = [1.0] * (num_epochs // 2) + [0.1] * (num_epochs // 4) + [0.01] * (num_epochs // 4)
        if not all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(found, wanted, strict=True)):
            falls = [
                i for i in range(1, num_epochs) if not math.isclose(found[i], found[i - 1], rel_tol=1e-6)
            ]
            raise Wrong(
                f"of {num_epochs} epochs, the rate changes before epochs {falls} (from 0) and ends at "
                f"{found[-1]:.2g}; expected {[num_epochs // 2, 3 * num_epochs // 4]} and 0.01."
            )
    return "half of the epochs at the full rate, and two tenfold drops where learning has slowed down."


def _rates(function: Callable, num_epochs: int) -> list[float]:
    """Return the rate in each epoch, as the schedule sets it, for an initial rate of 1."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = function(optimizer, num_epochs)
    if not isinstance(schedule, torch.optim.lr_scheduler.LRScheduler):
        raise Wrong(f"return a schedule of torch.optim.lr_scheduler; you return {schedule!r}.")
    found = []
    for _ in range(num_epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def final_score(function: Callable) -> str:
    """Check that a network is measured on the target's test part, and on nothing else."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1]]))  # class 1 for every image
    shares = {
        "source": {"train": 0.9, "validation": 0.8, "test": 0.7},
        "target": {"train": 0.6, "validation": 0.5, "test": 0.4},
    }
    domains = {name: _domain(parts) for name, parts in shares.items()}
    found = function(model, domains["source"], domains["target"])
    if isinstance(found, torch.Tensor) and found.ndim == 0:
        found = found.item()
    if not isinstance(found, int | float):
        raise Wrong(f"return one number, the accuracy; you return {type(found).__name__}.")
    if found > 1:
        raise Wrong(f"an accuracy is a share between 0 and 1; you return {found:.4g}.")
    for name, parts in shares.items():
        for part, share in parts.items():
            if math.isclose(found, share, abs_tol=1e-6) and (name, part) != ("target", "test"):
                raise Wrong(f"that is the accuracy on the {name}'s {part} part.")
    if not math.isclose(found, 0.4, abs_tol=1e-6):
        raise Wrong(f"you return {found:.3f}; 4 of the 10 test images of the target are read rightly.")
    return "measured on clothes that no training and no choice has seen."


def _domain(shares: dict[str, float]) -> SimpleNamespace:
    """Return parts of ten images each, of which the given share has class 1."""
    x = torch.ones(10, 1, 2, 2)
    labels = {part: (torch.arange(10) < round(10 * share)).long() for part, share in shares.items()}
    return SimpleNamespace(
        train=Labelled(x, labels["train"], 2),
        validation=Labelled(x, labels["validation"], 2),
        test=TestSet(x, labels["test"], 2),
    )


def code_size(function: Callable) -> str:
    """Check how many numbers an encoder leaves per pixel of a square grey image."""
    found = function(28, 32, 2)
    if found is ...:
        raise Wrong("replace the ... by the ratio.")
    if found == 1568:
        raise Wrong("those are the numbers in the code; divide by the pixels.")
    if math.isclose(found, 0.5, rel_tol=1e-9):
        raise Wrong("that is one over it: more numbers leave than enter.")
    if math.isclose(found, 32 / 4, rel_tol=1e-9):
        raise Wrong(
            "each halving takes height and width: two of them leave one number in sixteen per channel."
        )
    if not math.isclose(found, 2.0, rel_tol=1e-9):
        raise Wrong(
            f"for 28 pixels, 32 channels, 2 halvings you return {found:.4g}; count 32×7×7 over 28×28."
        )
    if not math.isclose(function(32, 4, 3), 4 / 64, rel_tol=1e-9):
        raise Wrong("right for the printed encoder, not for 4 channels after 3 halvings: that is 1/16.")
    return "two numbers per pixel: the printed encoder has no bottleneck, a copy needs no insight."
