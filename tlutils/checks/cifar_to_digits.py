"""Checks of the exercises in the chapter that carries a network from CIFAR-10 to digits in colour."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from tlutils.exercises import Wrong
from tlutils.models import CIFAR10_MEAN, CIFAR10_STD, residual_network
from tlutils.normalisation import reestimate_statistics
from tlutils.runtime import new_generator, seeded


def vary(function: Callable) -> str:
    """Check that digits are moved, and never mirrored."""
    x = torch.zeros(400, 3, 32, 32)
    x[:, :, 8:24, 14:16] = 1.0  # an L in the middle: its foot points to the right
    x[:, :, 22:24, 14:22] = 1.0
    with seeded(0):
        found = function(x.clone())
    if found is ...:
        raise Wrong("replace the ... by the changed images.")
    if getattr(found, "shape", None) != x.shape:
        raise Wrong(
            f"400 images of 3×32×32 went in; what came out has shape {getattr(found, 'shape', None)}."
        )
    mirrored = torch.tensor([_foot(image) < 0 for image in found])
    if mirrored.any():
        raise Wrong(f"{int(mirrored.sum())} of 400 L's came out with their foot to the left: mirror images.")
    if torch.equal(found, x):
        raise Wrong("nothing is mirrored, but nothing is moved either: keep the shift.")
    if not torch.allclose(found.sum(dim=(1, 2, 3)), x.sum(dim=(1, 2, 3))):
        raise Wrong("the images are not only moved: they have lost or gained ink.")
    if (found[:, 0].sum(dim=2).argmax(dim=1) < 16).any():
        raise Wrong("some L's came out upside down: that does not keep the label of a digit either.")
    return "moved, and mirrored never: a 2 stays a 2."


def _foot(image: torch.Tensor) -> float:
    """Return how far the ink of an L reaches to the right of its upright, minus how far to the left."""
    columns = image[0].sum(dim=0)
    upright, inked = int(columns.argmax()), columns.nonzero().flatten()
    return float((inked.max() - upright) - (upright - inked.min()))


def adapt(function: Callable) -> str:
    """Check that running statistics become those of the target, and that nothing else changes."""
    model = residual_network().eval()
    x = 0.2 * torch.rand(64, 3, 32, 32, generator=new_generator(0))
    before = copy.deepcopy(model.state_dict())
    found = function(model, x)
    if found is ... or not isinstance(found, nn.Module):
        raise Wrong(f"return the network; you return {found!r}.")
    layer = found.backbone.stem[1]
    with torch.no_grad():
        target = found.backbone.stem[0](found.backbone.standardise(x)).mean(dim=(0, 2, 3))
    for name, parameter in found.named_parameters():
        if not torch.equal(parameter, before[name]):
            raise Wrong(f"{name} has changed; only the running statistics should.")
    old = before["backbone.stem.1.running_mean"]
    if torch.equal(layer.running_mean, old):
        raise Wrong("the statistics are the source's still. In evaluation mode no batch is averaged in.")
    way = float((layer.running_mean - old).norm() / (target - old).norm())
    if way < 0.99:
        raise Wrong(
            f"the statistics have gone {100 * way:.0f} % of the way to the target. What is `momentum`?"
        )
    if not torch.allclose(layer.running_mean, target, atol=1e-3):
        raise Wrong("the statistics have changed, but they are not those of x.")
    wanted = reestimate_statistics(residual_network().eval(), x, batch_size=len(x)).state_dict()
    for name, value in found.named_buffers():
        if name.endswith("running_mean") and not torch.allclose(value, wanted[name], atol=0.05):
            raise Wrong(f"{name} is not the target's yet: every layer keeps statistics, not only the first.")
    if found.training:
        raise Wrong("the network is in training mode: it would go on changing its statistics.")
    return "all statistics are the target's, no parameter has moved, and not one label was used."


def for_network(function: Callable) -> str:
    """Check that images are standardised once, by the network itself."""
    images = np.arange(2 * 32 * 32 * 3, dtype=np.int64).reshape(2, 32, 32, 3).astype(np.uint8)
    found = function(images)
    if found is ...:
        raise Wrong("replace the ... by the images.")
    wanted = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    if tuple(found.shape) != tuple(wanted.shape):
        raise Wrong(
            f"expected {tuple(wanted.shape)}, channels before height and width; got {tuple(found.shape)}."
        )
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CIFAR10_MEAN, CIFAR10_STD))
    if torch.allclose(found.double(), ((wanted - mean) / std).double(), atol=1e-4):
        raise Wrong("your images are standardised already; the network will do it a second time.")
    if not found.is_floating_point() or found.max() > 1.01:
        raise Wrong(f"your pixels go up to {float(found.max()):.0f}; the network expects 0 to 1.")
    if not torch.allclose(found.double(), wanted.double(), atol=1e-4):
        raise Wrong("your pixels are neither the bytes over 255 nor a standardised form of them.")
    return "pixels in [0, 1]; the rest is the network's own business."


def share_of_first_epoch(function: Callable) -> str:
    """Check the share of all steps' rates that falls into the first epoch."""
    found = function(10, 0.1)
    if found is ...:
        raise Wrong("replace the ... by the share.")
    if math.isclose(found, 0.1, abs_tol=1e-6):
        raise Wrong("0.1 would be the share at a constant rate over ten epochs.")
    if math.isclose(found, 1 - 0.1**10, rel_tol=1e-12) or math.isclose(found, (1 - 0.1**10) / 0.9):
        raise Wrong("that is the sum of all rates, or part of it; divide the first rate by that sum.")
    if not math.isclose(found, 0.9 / (1 - 0.1**10), rel_tol=1e-9):
        raise Wrong(f"for ten epochs and a factor of 0.1 you return {found:.4f}; add up 1 + 0.1 + 0.01 + ….")
    if not math.isclose(function(3, 0.5), 4 / 7, rel_tol=1e-9):
        raise Wrong("right for a factor of 0.1 only: with 0.5 and three epochs it is 4/7.")
    return "nine tenths of the sum of all rates are spent in the first epoch."
