"""Checks of the exercises in the chapter `what_transfers`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy import stats

from tlutils import runs
from tlutils.exercises import Wrong
from tlutils.models import lenet, num_parameters
from tlutils.repeats import Interval, paired_interval

NUM_TARGET_CLASSES = 3
SOURCES = ("careful", "inverted", "careless")


def transfer_gain(answer: Any) -> str:
    """Judge ``gain(transferred, scratch) -> (mean, low, high)``, a paired 95 % interval."""
    if not callable(answer):
        raise Wrong(f"the answer is {answer!r}; it should be a function of two lists.")
    scratch = np.array([0.58, 0.66, 0.61, 0.70, 0.55, 0.64])
    transferred = scratch + np.array([0.06, 0.10, 0.08, 0.05, 0.11, 0.08])
    found = answer(transferred.tolist(), scratch.tolist())
    if isinstance(found, tuple) and ... in found:
        raise Wrong(
            "the function still returns ... in the place of a number; the ends of the interval are due."
        )
    try:
        mean, low, high = (float(value) for value in found)
    except (TypeError, ValueError) as error:
        raise Wrong(
            f"the function returned {found!r}; it should return three numbers: mean, low, high."
        ) from error
    right = paired_interval(transferred, scratch)
    if np.allclose([mean, low, high], right[:3], atol=1e-6):
        return (
            f"the differences of these six pairs have mean {100 * right.mean:.1f} points and interval "
            f"[{100 * right.low:.1f}, {100 * right.high:.1f}]: all above 0."
        )
    _check_mean(mean, right)
    if low > high:
        raise Wrong("low is above high; return them in the order mean, low, high.")
    if not np.isclose(high - mean, mean - low):
        raise Wrong(f"the interval [{low:.4f}, {high:.4f}] does not lie evenly around its mean {mean:.4f}.")
    for half, message in _wrong_half_widths(transferred, scratch):
        if np.isclose(high - mean, half, rtol=1e-3):
            raise Wrong(message)
    raise Wrong(
        f"the mean is right, but the half width is {high - mean:.4f}; it should be "
        "t · s / √n with s the standard deviation of the differences."
    )


def _check_mean(mean: float, right: Interval) -> None:
    """Raise Wrong if the mean is not that of transferred − scratch."""
    if np.isclose(mean, right.mean):
        return
    if np.isclose(mean, -right.mean):
        raise Wrong("the sign is turned: a gain is transferred − scratch, positive when the transfer helps.")
    if np.isclose(mean, 100 * right.mean):
        raise Wrong("the result is in points; accuracies are fractions in the code, so return fractions.")
    raise Wrong(f"the mean of the differences is {right.mean:.4f}, the function returned {mean:.4f}.")


def _wrong_half_widths(a: np.ndarray, b: np.ndarray) -> list[tuple[float, str]]:
    """Return half widths that come out of usual mistakes, each with what to say about it."""
    n, d = len(a), a - b
    t, s = float(stats.t.ppf(0.975, n - 1)), float(d.std(ddof=1))
    pooled = float(np.sqrt(a.var(ddof=1) / n + b.var(ddof=1) / n))
    unpaired = (
        "this is the interval for two separate samples. Seed i gave both numbers of pair i: take the "
        "differences first, then one standard deviation."
    )
    return [
        (t * pooled, unpaired),
        (float(stats.t.ppf(0.975, 2 * n - 2)) * pooled, unpaired),
        (1.96 * pooled, unpaired),
        (t * s, "√n is missing: this is the spread of single pairs, not the uncertainty of their mean."),
        (1.96 * s / np.sqrt(n), "1.96 is for many pairs; with n take t with n − 1 degrees of freedom."),
        (t * d.std() / np.sqrt(n), "the standard deviation divides by n − 1 here: pass ddof=1."),
        (float(stats.t.ppf(0.95, n - 1)) * s / np.sqrt(n),
         "0.95 leaves 5 % on each side, a 90 % interval; take the quantile 0.975."),
        (float(stats.t.ppf(0.975, n)) * s / np.sqrt(n), "the degrees of freedom are n − 1, not n."),
        (s / np.sqrt(n), "this is the standard error; multiply it by the quantile t."),
    ]  # fmt: skip


def what_is_carried(answer: Any) -> str:
    """Judge (parameters carried, parameters that start anew) for a target of three classes."""
    model = lenet(NUM_TARGET_CLASSES, image_size=16, widths=(8, 16), num_features=64)
    carried, new = num_parameters(model.backbone), num_parameters(model.head)
    try:
        given = tuple(int(value) for value in answer)
    except (TypeError, ValueError) as error:
        raise Wrong(f"the answer is {answer!r}; it should be two integers: (carried, new).") from error
    if given == (carried, new):
        share = carried / (carried + new)
        return f"{carried} numbers are carried and {new} start anew: {100 * share:.1f} % of it is teacher."
    if given == (new, carried):
        raise Wrong("the two are swapped: the backbone is carried, the head starts anew.")
    if len(given) != 2:
        raise Wrong(f"the answer has {len(given)} numbers; it should have two: (carried, new).")
    _check_new(given[1], new)
    biases = 8 + 16 + 64
    if given[0] == carried - biases:
        raise Wrong(f"the biases of the backbone are missing: {biases} of them.")
    if given[0] in (carried + new, carried + 650):
        raise Wrong("the first number counts the head too; a new head is not carried.")
    if given[0] == carried + 16 * 64 * (8 * 8 - 4 * 4):
        raise Wrong("there are two poolings: 16×16 becomes 8×8 and then 4×4 before it is flattened.")
    if given[0] == carried - 7 * 16 * 25:
        raise Wrong("a filter of the second convolution sees all 8 channels: 16 · 8 · 25 weights.")
    raise Wrong(
        f"the head is right, but the backbone has not {given[0]} parameters. Add up its three layers."
    )


def _check_new(given: int, new: int) -> None:
    """Raise Wrong if the size of the new head is not right."""
    if given == new:
        return
    if given == 650:
        raise Wrong("650 is the head of the teacher, for ten classes; this target has three.")
    if given == new - NUM_TARGET_CLASSES:
        raise Wrong("the head has a bias for each class too.")
    raise Wrong(
        f"the head has not {given} parameters: it turns 64 features into {NUM_TARGET_CLASSES} logits."
    )


def scale_digits(answer: Any) -> str:
    """Judge ``scale_digits(images)``: (n, 8, 8) with values 0 … 16 to float32 (n, 1, 8, 8) in [0, 1]."""
    if not callable(answer):
        raise Wrong(f"the answer is {answer!r}; it should be the repaired function.")
    images = np.zeros((3, 8, 8))
    images[0, 2:6, 3:5], images[1, 1:7, 4], images[2, 4, 1:7] = 16.0, 12.0, 8.0
    x = answer(images.copy())
    if not isinstance(x, torch.Tensor):
        raise Wrong(f"the function returned {type(x).__name__}; it should return a torch.Tensor.")
    if tuple(x.shape) == (3, 8, 8):
        raise Wrong("the channel is missing: the network takes (n, 1, 8, 8), the result is (n, 8, 8).")
    if tuple(x.shape) != (3, 1, 8, 8):
        raise Wrong(f"3 images gave the shape {tuple(x.shape)}; expected (3, 1, 8, 8).")
    if x.dtype != torch.float32:
        raise Wrong(f"the result is {x.dtype}; the weights are torch.float32, so call .float().")
    _check_scale(answer, images, x)
    return "ink is 1, paper is 0, in every batch alike: the scale on which the teacher learned."


def _check_scale(prepare_images: Callable, images: np.ndarray, x: torch.Tensor) -> None:
    """Raise Wrong unless the grey levels 0 … 16 were mapped to [0, 1] by one fixed factor."""
    brightest = x.amax(dim=(1, 2, 3))
    if torch.allclose(brightest, torch.ones(3)):
        raise Wrong("each image was divided by its own maximum: a faint stroke now looks like a bold one.")
    if x.max() < 0.1:
        raise Wrong(
            f"the brightest pixel is {float(x.max()):.2f}, so the digits are nearly black. These grey levels "
            "end at 16, not at 255."
        )
    if x.max() > 1.01:
        raise Wrong(f"the brightest pixel is {float(x.max()):g}; the teacher learned on values in [0, 1].")
    if x.min() < 0:
        raise Wrong(f"the darkest pixel is {float(x.min()):g}; paper is 0 on the teacher's scale.")
    expected = torch.from_numpy(images).float()[:, None] / 16
    if not torch.allclose(x, expected, atol=1e-3):
        raise Wrong("the values are in [0, 1] but no fixed multiple of the grey levels; divide by 16.")
    faint = prepare_images(images[2:].copy())
    if not torch.allclose(faint, expected[2:], atol=1e-3):
        raise Wrong(
            "the scale depends on the batch: an image of greatest value 8 came out at "
            f"{float(faint.max()):g} alone and at 0.5 in company. Divide by the fixed 16."
        )


def rank_sources(answer: Any) -> str:
    """Judge an order of the three sources, best first, by the measured gain at 5 labels per class."""
    if isinstance(answer, str) or not isinstance(answer, list | tuple) or sorted(answer) != sorted(SOURCES):
        raise Wrong(f"the answer is {answer!r}; it should be a list of {', '.join(SOURCES)}, best first.")
    accuracies = _accuracies_at_5()
    gains = {name: paired_interval(values, accuracies["scratch"]) for name, values in accuracies.items()}
    said = "; ".join(
        f"{name} {100 * gains[name].mean:+.1f}" for name in sorted(SOURCES, key=lambda s: -gains[s].mean)
    )
    for better, worse in itertools.pairwise(answer):
        difference = paired_interval(accuracies[worse], accuracies[better])
        if difference.low > 0:
            raise Wrong(
                f"you put {better!r} before {worse!r}, but over {difference.n} seeds the student of "
                f"{worse!r} is {100 * difference.mean:.1f} points better, interval "
                f"[{100 * difference.low:.1f}, {100 * difference.high:.1f}]. Which strokes, edges and grey "
                f"levels that handwriting has does a filter meet in {worse!r}?"
            )
    return f"the measured gains over scratch at 5 labels per class, in points: {said}."


def _accuracies_at_5() -> dict[str, list[float]]:
    """Return from the stored run the accuracy of each seed at 5 labels per class, by source."""
    per_seed = runs.load("what_transfers/gain").metrics["per_seed"]
    starts = {"careful": "backbone", **{name: name for name in ("scratch", *SOURCES[1:])}}
    return {name: [seed["accuracy"][start]["5"] for seed in per_seed] for name, start in starts.items()}
