"""Each likely mistake in the exercises of the chapter `gan_transfer` is named."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from tlutils.exercises import verdict


def says(name, answer):
    return verdict(f"gan_transfer/{name}", answer)


def step(encoder, generator, optimizer, n, random, *, fresh=False, evaluation=True, move=True, vandal=False):
    if evaluation:
        generator.eval()
    z = generator.noise(n, random)
    with torch.no_grad():
        x = generator(z)
        if vandal:
            generator.layers[0].weight.add_(0.1)
    loss = functional.mse_loss(encoder(x), generator.noise(n, random) if fresh else z)
    optimizer.zero_grad()
    loss.backward()
    if move:
        optimizer.step()


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"fresh": True}, "not the noise from which"),
        ({"evaluation": False}, "running mean and variance"),
        ({"move": False}, "have not moved"),
        ({"vandal": True}, "only the encoder learns"),
    ],
)
def test_mistakes_in_the_encoders_step_are_named(mistake, sentence):
    is_right, text = says("encoder_step", lambda *arguments: step(*arguments, **mistake))
    assert not is_right
    assert sentence in text


def test_an_encoder_that_learns_slowly_is_told_so():
    def slow(encoder, generator, optimizer, n, random):
        optimizer.param_groups[0]["lr"] = 2e-3
        step(encoder, generator, optimizer, n, random)

    assert "still" in says("encoder_step", slow)[1]


def test_the_right_step_passes():
    assert says("encoder_step", step)[0]


def paint(translator, x, y, size, *, parted=False, mode=False, graph=False, back=True, half=False):
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    translator.train(mode)
    with torch.set_grad_enabled(graph):
        painted = torch.cat([translator(part) for part in x[order].split(size)])
    translator.train(back)
    if half:
        return painted[:20], y[order][:20]
    return painted, y if parted else y[order]


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        ({"parted": True}, "parted"),
        ({"mode": True}, "changed the translator"),
        ({"graph": True}, "no_grad"),
        ({"back": False}, "as it was"),
        ({"half": True}, "missing"),
    ],
)
def test_mistakes_in_painting_are_named(mistake, sentence):
    is_right, text = says("painted_set", lambda *arguments: paint(*arguments, **mistake))
    assert not is_right
    assert sentence in text


def test_the_right_painting_passes_and_a_list_does_not():
    assert says("painted_set", paint)[0]
    assert "expected the painted" in says("painted_set", lambda *_: [1])[1]


def saved(budgets, reference, accuracy, *, scale=np.log, back=np.exp, stop=True):
    if stop and accuracy > max(reference):
        return math.inf
    return float(back(np.interp(accuracy, reference, scale(budgets))))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda *a: saved(*a, scale=np.array, back=float), "logarithm"),
        (lambda *a: saved(*a, stop=False), "not measured"),
        (lambda *a: saved(*a) + 1, "expected 10"),
        (lambda *_: "ten", "expected one number"),
    ],
)
def test_mistakes_in_counting_are_named(answer, sentence):
    is_right, text = says("labels_saved", answer)
    assert not is_right
    assert sentence in text


def test_the_right_count_passes():
    assert says("labels_saved", saved)[0]
