"""The checks of the chapter on the adversarial game accept what is right and name the likely mistakes."""

# ruff: noqa: ARG005

import math

import pytest
import torch
from torch.nn import functional

from tlutils.checks import adversarial_game as checks
from tlutils.exercises import Wrong


def losses(critic, real, fake, *, cut=True, cut_generator=False, flip=True):
    score = critic(fake.detach() if cut else fake)
    first = functional.softplus(-critic(real)).mean() + functional.softplus(score).mean()
    score = critic(fake.detach() if cut_generator else fake)
    return first, functional.softplus(-score if flip else score).mean()


def test_both_losses():
    assert "pulls at that player" in checks.both_losses(losses)
    for change, message in (
        ({"cut": False}, "cut the generated"),
        ({"cut_generator": True}, "never learn"),
        ({"flip": False}, "generator's loss is"),
    ):
        with pytest.raises(Wrong, match=message):
            checks.both_losses(lambda c, r, f, change=change: losses(c, r, f, **change))
    with pytest.raises(Wrong, match="two losses"):
        checks.both_losses(lambda c, r, f: losses(c, r, f)[0])
    with pytest.raises(Wrong, match="does not pull at the discriminator"):
        checks.both_losses(lambda c, r, f: (losses(c, r, f)[0].detach(), losses(c, r, f)[1]))
    with pytest.raises(Wrong, match="expected one number"):
        checks.both_losses(lambda c, r, f: (None, None))


def count(points, centres, scale, *, near=True, share=0.1):
    distance, mode = torch.cdist(points, centres).min(dim=1)
    mode = mode[distance <= 3 * scale] if near else mode
    return int((mode.bincount(minlength=len(centres)) >= max(1, share * len(points) / len(centres))).sum())


def test_modes_reached():
    assert "near enough" in checks.modes_reached(count)
    for change, message in (({"near": False}, "far away"), ({"share": 0.0}, "expected|stray")):
        with pytest.raises(Wrong, match=message):
            checks.modes_reached(lambda p, c, s, change=change: count(p, c, s, **change))
    with pytest.raises(Wrong, match="you count 7"):
        checks.modes_reached(lambda p, c, s: count(p, c, s) - 1)
    with pytest.raises(Wrong, match="expected one number"):
        checks.modes_reached(lambda p, c, s: None)


def divergence(p, q):
    m = ((p + q) / 2).clamp(min=1e-30)
    return (torch.special.xlogy(p, p / m).sum() + torch.special.xlogy(q, q / m).sum()) / 2


def test_js_divergence():
    assert "log 2" in checks.js_divergence(divergence)
    for change, message in (
        (lambda p, q: 2 * divergence(p, q), "twice"),
        (lambda p, q: divergence(p, q) / math.log(2), "bits"),
        (lambda p, q: (p * (p / q).log()).sum(), "0 log 0|you return"),
        (lambda p, q: (p - q).abs().sum(), "you return"),
        (lambda p, q: "small", "expected one number"),
    ):
        with pytest.raises(Wrong, match=message):
            checks.js_divergence(change)
