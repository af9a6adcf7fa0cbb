"""Each likely mistake in the exercises of the chapter `mmd` is named; right answers in other words pass."""

import math
import re

import pytest
import torch

from tlutils.exercises import verdict
from tlutils.feature_based import mmd2

CDIST = torch.cdist


def sums(x, y, bandwidth):
    def k(a, b):
        return torch.exp(-CDIST(a, b).square() / (2 * bandwidth**2))

    return k(x, x), k(y, y), k(x, y), len(x), len(y)


def unbiased(x, y, bandwidth):
    xx, yy, xy, n, m = sums(x, y, bandwidth)
    return (xx.sum() - n) / (n * (n - 1)) + (yy.sum() - m) / (m * (m - 1)) - 2 * xy.mean()


def without_own(x, y, bandwidth, power):
    xx, yy, xy, n, m = sums(x, y, bandwidth)
    pairs = (n * (n - 1), m * (m - 1)) if power == 1 else (n**2, m**2)
    return (xx.sum() - n) / pairs[0] + (yy.sum() - m) / pairs[1], xy


def without_equal_numbers(x, y, bandwidth):
    within, xy = without_own(x, y, bandwidth, 1)
    n = min(len(x), len(y))
    return within - 2 * (xy.sum() - xy.diag().sum()) / (xy.numel() - n)


def with_own(x, y, bandwidth):
    xx, yy, xy, n, m = sums(x, y, bandwidth)
    return xx.sum() / (n * (n - 1)) + yy.sum() / (m * (m - 1)) - 2 * xy.mean()


def splits(x, bandwidth, num_splits, generator, value=lambda v: v, **options):
    halves = [x[torch.randperm(len(x), generator=generator)].chunk(2) for _ in range(num_splits)]
    values = [mmd2(*pair, bandwidth=bandwidth, **options).item() for pair in halves]
    kept = [value(v) for v in values if value(v) is not None]
    return sum(kept) / len(kept)


WRONG = [
    ("squared_distance", lambda a, b, s: torch.exp(-CDIST(a, b) / (2 * s**2)), "Laplacian"),
    ("squared_distance", lambda a, b, s: torch.exp(-CDIST(a, b) / s), "Laplacian"),
    ("squared_distance", lambda a, b, s: torch.exp(-CDIST(a, b).square() / s**2), "the 2 is missing"),
    ("squared_distance", lambda a, b, s: torch.exp(-CDIST(a, b).square() / s), "bandwidth is not squared"),
    ("squared_distance", lambda a, b, s: torch.exp(-CDIST(a, b).square() / (2 * s)), "σ is not squared"),
    ("squared_distance", lambda a, b, s: torch.exp(-CDIST(a, b) ** 4 / (2 * s**2)), "squared twice"),
    ("squared_distance", lambda a, b, s: torch.exp(CDIST(a, b) ** 2 / (2 * s**2)), "sign"),
    ("squared_distance", lambda a, b, s: 1 / (1 + CDIST(a, b) ** 2 / (2 * s**2)), "expected exp"),
    ("squared_distance", lambda *_: math.exp(-9 / 8), "shape"),
    ("squared_distance", lambda a, b, _: torch.exp(-CDIST(a, b) ** 2 / 8), "σ = 0.7"),
    ("self_pairs", with_own, "pairs of an example with itself"),
    ("self_pairs", lambda x, y, s: mmd2(x, y, bandwidth=s, is_unbiased=False), "biased"),
    ("self_pairs", without_equal_numbers, "two different examples"),
    ("self_pairs", lambda x, y, s: without_own(x, y, s, 2)[0] - 2 * sums(x, y, s)[2].mean(), "divide by n²"),
    ("self_pairs", lambda x, y, s: unbiased(x, y, s) + sums(x, y, s)[2].mean(), "twice"),
    ("self_pairs", lambda x, y, s: unbiased(x, y, 2 * s), "expected"),
    ("self_pairs", lambda *_: None, "one number"),
    ("no_gradient", lambda f, x, y, s: mmd2(f(x), f(y), bandwidth=s).item(), r"\.item\(\)"),
    ("no_gradient", lambda f, x, y, s: mmd2(f(x), f(y), bandwidth=s).detach(), "requires_grad is False"),
    ("no_gradient", lambda f, x, y, s: mmd2(f(x), f(y).detach(), bandwidth=s), "target features are cut off"),
    ("no_gradient", lambda f, x, y, s: mmd2(f(x).detach(), f(y), bandwidth=s), "source features are cut off"),
    ("no_gradient", lambda f, x, y, s: mmd2(f(x), f(y), bandwidth=2 * s), "expected mmd2"),
    ("no_gradient", lambda f, x, y, s: mmd2(f(x).detach().requires_grad_(), f(y).detach(), bandwidth=s),
     "not by the parameters"),
    ("negative_values", lambda *args: splits(*args, value=lambda v: max(v, 0)), "count as 0"),
    ("negative_values", lambda *args: splits(*args, value=lambda v: v if v > 0 else None), "left out"),
    ("negative_values", lambda *args: splits(*args, value=abs), "lost their sign"),
    ("negative_values", lambda *args: splits(*args, is_unbiased=False), "biased"),
    ("negative_values", lambda *args: splits(*args) * args[2], "the sum"),
    ("negative_values", lambda *args: max(splits(*args), 0.0), "cut off at 0"),
    ("negative_values", lambda x, s, n, g: splits(x, 3 * s, n, g), "as the program"),
    ("permutation_p_value", lambda *_: ..., "your formula"),
    ("permutation_p_value", lambda t, null: (null > t).float().mean(), "p = 0"),
    ("permutation_p_value", lambda t, null: (1 + (null >= t).sum()) / len(null), "below the line"),
    ("permutation_p_value", lambda t, null: (1 + (null <= t).sum()) / (1 + len(null)), "p = 1;"),
    ("permutation_p_value", lambda t, null: (1 + (null > t).sum()) / (1 + len(null)), "ties"),
    ("permutation_p_value", lambda *_: 0.5, "expected 1/5"),
    ("permutation_p_value", lambda *_: 0.2, "expected"),
    ("permutation_p_value", lambda *_: "small", "one number"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "message"), WRONG)
def test_likely_mistakes_are_named(name, answer, message):
    is_right, sentence = verdict(f"mmd/{name}", answer)
    assert not is_right
    assert re.search(message, sentence), sentence


@pytest.mark.parametrize(("name", "answer"), [
    ("squared_distance", lambda a, b, s: torch.exp(-0.5 * ((a[:, None] - b[None]) / s).square().sum(2))),
    ("self_pairs", unbiased),
    ("self_pairs", lambda x, y, s: mmd2(x, y, bandwidth=s).item()),
    ("no_gradient", lambda f, x, y, s: unbiased(f(x), f(y), s)),
    ("negative_values", splits),
    ("permutation_p_value", lambda t, null: ((null >= t).sum() + 1) / (len(null) + 1)),
])  # fmt: skip
def test_right_answers_in_other_words_pass(name, answer):
    is_right, sentence = verdict(f"mmd/{name}", answer)
    assert is_right, sentence
