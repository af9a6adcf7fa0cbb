"""Checks of the exercises in the chapter on CORAL."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tlutils.coral import coral_map, deep_coral_loss
from tlutils.exercises import Wrong
from tlutils.runtime import new_generator


def _samples(n: int = 9, m: int = 12) -> tuple[Tensor, Tensor]:
    """Return two samples of three correlated features, with different means and covariances."""
    generator = new_generator(0)
    x, y, mixing = (torch.randn(k, 3, generator=generator, dtype=torch.float64) for k in (n, m, 3))
    return x + 1, y @ mixing - 2


def _tensor(found: object, like: Tensor, what: str) -> Tensor:
    """Return `found` if it is a tensor of the right shape, or say that it is not."""
    if not isinstance(found, Tensor) or found.shape != like.shape:
        shown = tuple(found.shape) if isinstance(found, Tensor) else repr(found)
        raise Wrong(f"{what} is {shown}; expected a tensor of shape {tuple(like.shape)}.")
    return found


def wrong_axis(covariance: Callable) -> str:
    """Check a covariance matrix, and name the axis or the divisor that is wrong."""
    x, _ = _samples()
    right = torch.cov(x.T)
    found = _tensor(covariance(x), right, "your covariance")
    moved = covariance(x + torch.tensor([5.0, 0.0, 0.0], dtype=torch.float64))
    if torch.allclose(found, right) and torch.allclose(moved, right):
        return "a constant added to a feature changes nothing, and the matrix equals that of torch.cov."
    if torch.allclose(found, x.T @ x / (len(x) - 1)):
        raise Wrong("nothing is subtracted: these are second moments about the origin.")
    if torch.allclose(found * (len(x) - 1), right * (len(x) - 1) ** 2):
        raise Wrong("the sum is right; divide it by n − 1.")
    if torch.allclose(found * len(x), right * (len(x) - 1)):
        raise Wrong("divided by n; one degree of freedom went into the mean, so divide by n − 1.")
    if not torch.allclose(moved, found):
        raise Wrong(
            "with 5 added to the first feature the result changes: what is subtracted is not the mean of "
            "each feature over the examples."
        )
    raise Wrong(f"the first variance is {found[0, 0]:.4f}; expected {right[0, 0]:.4f}.")


def extra_root(loss: Callable) -> str:
    """Check the Deep CORAL loss, its value and its gradient near the minimum."""
    x, y = _samples()
    right = deep_coral_loss(x, y)
    found = loss(x, y)
    if not isinstance(found, Tensor) or found.ndim != 0:
        raise Wrong(f"you return {found!r}; expected a tensor with one number, and its gradient.")
    d = x.shape[1]
    norm = (right * 4 * d**2).sqrt()
    mistakes = [
        (norm / (4 * d**2), "the norm is not squared, or a root is taken of its square."),
        (right.sqrt(), "the root is taken of the whole loss."),
        (right * 4, "the 4 is missing below the line."),
        (right * d, "divided by d, not by d²."),
        (right * 4 * d**2, "this is the squared norm; divide it by 4 d²."),
        (right / d**2, "divided by d² twice: a mean over the entries, and once more."),
    ]
    if not torch.isclose(found, right):
        reasons = [reason for value, reason in mistakes if torch.isclose(found, value)]
        raise Wrong(
            f"the loss is {found:.4f}, expected {right:.4f}: {(reasons or ['compare the formula.'])[0]}"
        )
    probe = x.clone().requires_grad_()
    value = loss(probe, x)
    if not value.requires_grad:
        raise Wrong("the value is right, but it has no gradient: return the tensor itself.")
    (gradient,) = torch.autograd.grad(value, probe)
    if not torch.isfinite(gradient).all() or gradient.abs().max() > 1e-9:
        raise Wrong("the value is right, but at equal covariances the gradient is not 0.")
    return "the squared norm over 4 d²; its gradient vanishes with the gap."


def wrong_order(align: Callable) -> str:
    """Check rows that are whitened and coloured, with correlated features."""
    x, y = _samples()
    right = x @ coral_map(x, y, ridge=0.5).T
    found = _tensor(align(x, y, 0.5), right, "the aligned source")
    if torch.allclose(found, right):
        return "whitened with the source first, coloured with the target second."
    mapped = coral_map(x, y, ridge=0.5)
    swapped = x @ coral_map(y, x, ridge=0.5)
    mistakes = [
        (x @ mapped, "the map stands untransposed on the right: for rows it is x @ A.T."),
        (
            x @ coral_map(y, x, ridge=0.5).T,
            "source and target have changed places: this colours like the source.",
        ),
        (swapped, "source and target have changed places: this colours like the source."),
        (x @ coral_map(x, y, ridge=0.0).T, "the ridge is not used."),
    ]
    for wrong, reason in mistakes:
        if torch.allclose(found, wrong):
            raise Wrong(reason)
    gap = (torch.cov(align(x, y, 1e-9).T) - torch.cov(y.T)).abs().max()
    raise Wrong(
        f"without a ridge an entry of the covariance is still {gap:.2f} away from that of the target."
    )


def both_moments(align_both: Callable) -> str:
    """Check that mean and covariance of the result are those of the target."""
    x, y = _samples()
    given = align_both(x, y)
    if given is ...:
        raise Wrong("align_both returns ...; replace it by your formula.")
    found = _tensor(given, x, "the aligned source")
    A, centre_x, centre_y = coral_map(x, y, ridge=0), x.mean(dim=0), y.mean(dim=0)
    if torch.allclose(found, (x - centre_x) @ A.T + centre_y):
        return "mean and covariance are those of the target."
    mistakes = [
        (x @ A.T, "the covariance fits, the mean is where the map happened to take it."),
        (x @ A.T + centre_y, "the mean of the source was not taken away before the map."),
        ((x - centre_x) @ A.T, "the mean is 0: add that of the target."),
        (
            x @ A.T - centre_x + centre_y,
            "the mean of the source is taken away after the map, when it has moved.",
        ),
        ((x - centre_x) @ A + centre_y, "for rows the map is x @ A.T."),
    ]
    for wrong, reason in mistakes:
        if torch.allclose(found, wrong):
            raise Wrong(reason)
    if not torch.allclose(torch.cov(found.T), torch.cov(y.T)):
        raise Wrong("the covariance of the result is not that of the target.")
    raise Wrong("the covariance fits; the mean, or the order of the rows, does not.")
