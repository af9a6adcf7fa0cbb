"""Each likely mistake in the exercises of the chapter `wasserstein_gan` is named."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tlutils.exercises import verdict


def says(name, answer):
    return verdict(f"wasserstein_gan/{name}", answer)


def work(places, have, want, *, gaps=True, absolute=True, up_to=True):
    difference = np.array(have) - np.array(want)
    difference = np.cumsum(difference)[:-1] if up_to else difference[:-1]
    difference = abs(difference) if absolute else difference
    return (difference * (np.diff(places) if gaps else 1)).sum()


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"gaps": False}, "gaps are missing"),
        ({"absolute": False}, "cancel"),
        ({"up_to": False}, "place by place"),
    ],
)
def test_mistakes_in_the_work_are_named(mistake, sentence):
    is_right, text = says("work", lambda *heaps: work(*heaps, **mistake))
    assert not is_right
    assert sentence in text


def test_the_work_may_not_be_a_list_or_a_guess():
    assert "expected one number" in says("work", lambda *_: [1, 2])[1]
    assert "expected 1.25" in says("work", lambda *_: 7)[1]
    assert says("work", work)[0]


def step(game, real, fake, optimizer, limit, *, sign=-1, both=False, cut=True, move=True):
    loss = sign * (game.discriminator(real).mean() - game.discriminator(fake).mean())
    optimizer.zero_grad()
    loss.backward()
    if move:
        optimizer.step()
    with torch.no_grad():
        for weight in (game if both else game.discriminator).parameters():
            if cut:
                weight.clamp_(-limit, limit)


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"sign": 1}, "The sign"),
        ({"both": True}, "critic's weights alone"),
        ({"move": False}, "not moved at all"),
    ],
)
def test_mistakes_in_a_critics_step_are_named(mistake, sentence):
    is_right, text = says("critic_step", lambda *a: step(*a, **mistake))
    assert not is_right
    assert sentence in text


def test_a_critic_that_is_not_cut_is_found():
    def hasty(game, real, fake, optimizer, limit):
        for _ in range(3):
            step(game, real, fake, optimizer, limit, cut=False)

    assert "beyond the limit" in says("critic_step", hasty)[1]
    assert says("critic_step", step)[0]


def penalty(critic, between, *, graph=True, whole=False, power=2, late=False):
    between = between.requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=graph)
    sizes = slope.norm() if whole else slope.norm(dim=1)
    if late:
        return (sizes.mean() - 1) ** 2
    return ((sizes - 1).abs() ** power).mean()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda *a: penalty(*a, graph=False), "it is a constant"),
        (lambda *a: penalty(*a, whole=True), "One norm per example"),
        (lambda *a: penalty(*a, power=1), "not squared"),
        (lambda *a: penalty(*a, late=True), "square first"),
        (lambda *a: 2 * penalty(*a), "is 16"),
        (lambda *a: penalty(*a).item(), "scalar tensor"),
        (lambda critic, x: penalty(critic, x).detach().requires_grad_(), "no gradient from it"),
    ],
)
def test_mistakes_in_a_penalty_are_named(answer, sentence):
    is_right, text = says("slope_penalty", answer)
    assert not is_right
    assert sentence in text


def factors(critic):
    return [torch.linalg.svdvals(m.weight)[0].item() for m in critic.modules() if isinstance(m, nn.Linear)]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda c: sum(factors(c)), "you add"),
        (lambda c: max(factors(c)), "one layer's factor"),
        (
            lambda c: math.prod(m.weight.norm().item() for m in c.modules() if isinstance(m, nn.Linear)),
            "Frobenius",
        ),
        (lambda _: 1.0, "multiply to"),
        (lambda _: None, "expected one number"),
    ],
)
def test_mistakes_in_a_bound_are_named(answer, sentence):
    is_right, text = says("slope_bound", answer)
    assert not is_right
    assert sentence in text


def test_right_answers_pass():
    assert says("slope_penalty", penalty)[0]
    assert says("slope_bound", lambda critic: math.prod(factors(critic)))[0]
