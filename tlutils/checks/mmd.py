"""Checks of the exercises in the chapter on the maximum mean discrepancy."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from tlutils.exercises import Wrong, number
from tlutils.feature_based import mmd2
from tlutils.runtime import new_generator


def _samples(n: int, m: int, shift: float = 0.5) -> tuple[Tensor, Tensor]:
    generator = new_generator(0)
    x = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return x, torch.randn(m, 2, generator=generator, dtype=torch.float64) + shift


def _is_close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)


def squared_distance(kernel: Callable) -> str:
    """Check a Gaussian kernel with bandwidth, by values that can be computed by hand."""
    a, b = torch.zeros(1, 1, dtype=torch.float64), torch.full((1, 1), 3.0, dtype=torch.float64)
    found = kernel(a, b, 2.0)
    if not isinstance(found, Tensor) or found.shape != (1, 1):
        raise Wrong(f"for one row against one row you return {found!r}; expected a tensor of shape (1, 1).")
    value = found.item()
    mistakes = {
        math.exp(-3 / 8): "the distance 3 is not squared: this is a Laplacian kernel.",
        math.exp(-3 / 4): "the distance 3 is not squared: this is a Laplacian kernel.",
        math.exp(-3 / 2): "the distance 3 is not squared: this is a Laplacian kernel.",
        math.exp(-9 / 4): "the 2 is missing, or σ is not squared: the exponent is −‖x − x'‖²/(2σ²).",
        math.exp(-9 / 2): "the bandwidth is not squared, and the 2 is missing below the line.",
        math.exp(-81 / 8): "the distance has been squared twice.",
        math.exp(9 / 8): "the sign of the exponent is wrong: a kernel falls with the distance.",
    }
    for wrong, reason in mistakes.items():
        if _is_close(value, wrong):
            raise Wrong(f"k(0, 3) with σ = 2 is {value:.4f}, expected {math.exp(-9 / 8):.4f}: {reason}")
    if not _is_close(value, math.exp(-9 / 8)):
        raise Wrong(f"k(0, 3) with σ = 2 is {value:.4f}; expected exp(−9/8) = {math.exp(-9 / 8):.4f}.")
    x, y = _samples(4, 3)
    expected = torch.exp(-torch.cdist(x, y).square() / (2 * 0.7**2))
    if kernel(x, y, 0.7).shape != expected.shape or not torch.allclose(kernel(x, y, 0.7), expected):
        raise Wrong("right for two numbers, but not for 4 against 3 points of the plane with σ = 0.7.")
    return "k(0, 3) with σ = 2 is exp(−9/8): squared distance over 2σ²."


def self_pairs(estimate: Callable) -> str:
    """Check an unbiased estimate, and name the pairs that are wrongly in or out."""
    for n, m in ((20, 20), (7, 12)):
        x, y = _samples(n, m)
        xx, yy, xy = (torch.exp(-torch.cdist(a, b).square() / 2) for a, b in ((x, x), (y, y), (x, y)))
        found = number(estimate(x, y, 1.0), "your estimate")
        right = mmd2(x, y, bandwidth=1.0).item()
        if _is_close(found, right):
            continue
        if _is_close(found, right + 1 / (n - 1) + 1 / (m - 1)):
            raise Wrong(
                f"with {n} and {m} examples you are {found - right:.3f} too high: n² terms are summed, the n "
                "pairs of an example with itself among them, and divided by n(n − 1)."
            )
        if _is_close(found, mmd2(x, y, bandwidth=1.0, is_unbiased=False).item()):
            raise Wrong("this is the biased estimate: the pairs with itself are in, divided by n².")
        if n == m and _is_close(found, right + 2 * xy.mean().item() - 2 * _off_diagonal(xy)):
            raise Wrong(
                "you left out the pairs (xᵢ, yᵢ) too. They are two different examples, and belong in."
            )
        within = (xx.sum() - n) / n**2 + (yy.sum() - m) / m**2
        if _is_close(found, (within - 2 * xy.mean()).item()):
            raise Wrong(
                "the pairs with itself are out of the sum, but you still divide by n²; n(n − 1) are left."
            )
        if _is_close(found, right + xy.mean().item()):
            raise Wrong("the mean across the domains counts once; it belongs in twice.")
        if _is_close(found, abs(right)) or _is_close(found, max(right, 0)):
            raise Wrong("an unbiased estimate may be negative; do not cut it off.")
        raise Wrong(f"with {n} and {m} examples you get {found:.4f}; expected {right:.4f}.")
    return "unbiased: only pairs of different examples, n(n − 1) and m(m − 1) of them within the domains."


def _off_diagonal(matrix: Tensor) -> float:
    n = len(matrix)
    return ((matrix.sum() - matrix.trace()) / (n * (n - 1))).item()


def no_gradient(alignment_loss: Callable) -> str:
    """Check that a loss gives the parameters the gradient through source and target."""
    x, y = _samples(12, 10)
    model = nn.Linear(2, 2, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.2], [-0.3, 0.8]]))
        model.bias.zero_()
    loss = alignment_loss(model, x, y, 1.0)
    if not isinstance(loss, Tensor):
        raise Wrong(
            f"you return a {type(loss).__name__}, which has no gradient; return the tensor, without .item()."
        )
    right = mmd2(model(x), model(y), bandwidth=1.0)
    if not _is_close(loss.item(), right.item()):
        raise Wrong(f"the value is {loss.item():.4f}; expected mmd2 of the features, {right.item():.4f}.")
    if not loss.requires_grad:
        raise Wrong(
            "the value is right, but loss.requires_grad is False: nothing connects it to the parameters."
        )
    wanted = torch.autograd.grad(right, model.weight)[0]
    given = torch.autograd.grad(loss, model.weight, allow_unused=True)[0]
    if given is None:
        raise Wrong("the loss has a gradient, but not by the parameters of the model.")
    halves = {
        "target": mmd2(model(x), model(y).detach(), bandwidth=1.0),
        "source": mmd2(model(x).detach(), model(y), bandwidth=1.0),
    }
    for name, half in halves.items():
        if torch.allclose(given, torch.autograd.grad(half, model.weight)[0]):
            raise Wrong(
                f"the {name} features are cut off from the parameters; the gradient needs both sides."
            )
    if not torch.allclose(given, wanted):
        raise Wrong(
            "the value is right, but the gradient is not that of the MMD between the two feature sets."
        )
    return "the gradient reaches the parameters, through the source features and through the target features."


def negative_values(noise_floor: Callable) -> str:
    """Check a mean over splits for cut, skipped or mirrored negative values."""
    x, num_splits = _samples(30, 1)[0], 40
    generator = new_generator(9)
    halves = [x[torch.randperm(len(x), generator=generator)].chunk(2) for _ in range(num_splits)]
    values = [mmd2(one, other, bandwidth=1.0).item() for one, other in halves]
    positive = [value for value in values if value > 0]
    found = number(noise_floor(x, 1.0, num_splits, new_generator(9)), "the mean")
    num_negative = num_splits - len(positive)
    mistakes = {
        sum(positive) / num_splits: f"{num_negative} of {num_splits} estimates are negative and count as 0.",
        sum(positive) / len(positive): f"the {num_negative} negative estimates of {num_splits} are left out.",
        sum(map(abs, values)) / num_splits: f"{num_negative} of {num_splits} estimates lost their sign.",
        sum(mmd2(one, other, bandwidth=1.0, is_unbiased=False).item() for one, other in halves)
        / num_splits: "this is the biased estimate; it is never negative because it is too large.",
        max(sum(values) / num_splits, 0.0): "the mean itself is cut off at 0.",
        sum(values): "this is the sum, not the mean.",
    }
    right = sum(values) / num_splits
    if _is_close(found, right):
        return (
            f"{num_negative} of {num_splits} estimates are negative, and their mean is {right:.4f}: near 0."
        )
    for wrong, reason in mistakes.items():
        if _is_close(found, wrong):
            raise Wrong(f"the mean is {found:.4f}, expected {right:.4f}: {reason}")
    raise Wrong(
        f"the mean is {found:.4f}; expected {right:.4f}. Draw one permutation per split "
        "from the generator, and cut "
        "it into two halves, as the program that was handed in does."
    )


def permutation_p_value(p_value: Callable) -> str:
    """Check a permutation p-value at its edges: the largest, ties, the smallest."""
    null = torch.tensor([0.1, 0.2, 0.2, 0.3])
    largest = p_value(0.9, null)
    if largest is ...:
        raise Wrong("your function returns ...; replace it by your formula.")
    largest = number(largest, "the p-value")
    if largest == 0:
        raise Wrong("an observed value above all 4 others gives p = 0. It is one of 5 deals itself: p = 1/5.")
    if _is_close(largest, 1 / 4):
        raise Wrong("p = 1/4 for the largest of 5 values: the observed deal counts below the line too.")
    if _is_close(largest, 1.0):
        raise Wrong(
            "a value above all others gives p = 1; count the permutations that are at least as large."
        )
    if not _is_close(largest, 1 / 5):
        raise Wrong(f"an observed value above all 4 others gives p = {largest:.3f}; expected 1/5.")
    tie = number(p_value(torch.tensor(0.2), null), "the p-value")
    if _is_close(tie, 2 / 5):
        raise Wrong(
            "two of the four equal the observed 0.2, and one is larger: ties count, p = 4/5, not 2/5."
        )
    if not _is_close(tie, 4 / 5):
        raise Wrong(f"for 0.2 among 0.1, 0.2, 0.2, 0.3 you return {tie:.3f}; expected (1 + 3)/(1 + 4).")
    if not _is_close(number(p_value(0.0, null), "the p-value"), 1.0):
        raise Wrong("an observed value below all others must give p = 1.")
    return "1/5 for the largest of five, never 0, and ties count against you."
