"""The checks of `what_transfers` accept what is right and say what is wrong."""

import numpy as np
import pytest
import torch
from scipy import stats

from tlutils import runs
from tlutils.exercises import verdict


def half(values, scale=1.0, ddof=1, quantile=0.975, freedom=-1):
    n = len(values)
    return scale * stats.t.ppf(quantile, n + freedom) * np.std(values, ddof=ddof) / np.sqrt(n)


def gain(change=lambda mean, width: (mean, mean - width, mean + width), **options):
    """Return an answer to the first exercise, right unless told otherwise."""

    def function(transferred, scratch):
        d = np.subtract(transferred, scratch)
        return change(d.mean(), half(d, **options))

    return function


def unpaired(a, b):
    mean, n = np.mean(a) - np.mean(b), len(a)
    width = stats.t.ppf(0.975, 2 * n - 2) * np.sqrt((np.var(a, ddof=1) + np.var(b, ddof=1)) / n)
    return mean, mean - width, mean + width


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (3, "should be a function"),
        (lambda *_: 0.1, "three numbers"),
        (lambda *_: (0.08, ..., ...), "in the place of a number"),
        (lambda a, b: gain()(b, a), "sign"),
        (gain(lambda m, w: (100 * m, 100 * (m - w), 100 * (m + w))), "in points"),
        (gain(lambda m, w: (m + 1, m + 1 - w, m + 1 + w)), "the mean of the differences"),
        (gain(lambda m, w: (m, m + w, m - w)), "order"),
        (gain(lambda m, w: (m, m - w, m + 2 * w)), "evenly"),
        (unpaired, "two separate samples"),
        (gain(scale=np.sqrt(6)), "√n is missing"),
        (gain(scale=1.96 / stats.t.ppf(0.975, 5)), "1.96"),
        (gain(ddof=0), "ddof=1"),
        (gain(quantile=0.95), "0.975"),
        (gain(freedom=0), "degrees of freedom"),
        (gain(scale=1 / stats.t.ppf(0.975, 5)), "standard error"),
        (gain(scale=3), "half width"),
        (lambda a, _: a.mean(), "stopped with AttributeError"),
    ],
)
def test_transfer_gain_says_what_is_wrong(answer, says):
    is_right, sentence = verdict("what_transfers/transfer_gain", answer)
    assert not is_right
    assert says in sentence


def test_transfer_gain_is_accepted():
    assert verdict("what_transfers/transfer_gain", gain())[0]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (19872, "two integers"),
        ((1, 2, 3), "two: (carried"),
        ((195, 19872), "swapped"),
        ((19872, 650), "ten classes"),
        ((19872, 192), "bias for each class"),
        ((19872, 7), "64 features"),
        ((19872 - 88, 195), "biases"),
        ((19872 + 195, 195), "counts the head"),
        ((19872 + 650, 195), "counts the head"),
        ((19872 + 16 * 64 * 48, 195), "two poolings"),
        ((19872 - 7 * 16 * 25, 195), "all 8 channels"),
        ((5, 195), "three layers"),
    ],
)
def test_what_is_carried_says_what_is_wrong(answer, says):
    is_right, sentence = verdict("what_transfers/what_is_carried", answer)
    assert not is_right
    assert says in sentence


def test_what_is_carried_is_accepted():
    assert verdict("what_transfers/what_is_carried", (19872, 195))[0]


def tensor(images):
    return torch.from_numpy(images).float().unsqueeze(1)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "repaired function"),
        (lambda images: images / 16, "torch.Tensor"),
        (lambda images: torch.from_numpy(images).float() / 16, "channel is missing"),
        (lambda images: torch.from_numpy(images).float().flatten(1) / 16, "expected (3, 1, 8, 8)"),
        (lambda images: torch.from_numpy(images).unsqueeze(1) / 16, "float32"),
        (lambda images: tensor(images) / tensor(images).amax((1, 2, 3), keepdim=True), "its own maximum"),
        (lambda images: tensor(images) / 255, "nearly black"),
        (tensor, "values in [0, 1]"),
        (lambda images: tensor(images) / 8 - 1, "paper is 0"),
        (lambda images: (tensor(images) / 16).square(), "no fixed multiple"),
        (lambda images: tensor(images) / images.max(), "depends on the batch"),
    ],
)
def test_prepare_says_what_is_wrong(answer, says):
    is_right, sentence = verdict("what_transfers/scale_digits", answer)
    assert not is_right
    assert says in sentence


def test_prepare_is_accepted():
    assert verdict("what_transfers/scale_digits", lambda images: tensor(images) / 16)[0]


@pytest.fixture
def stored(monkeypatch):
    """Pretend that a run found careful ≈ inverted > careless."""
    noise = [0.01, -0.01, 0.02, -0.02, 0.0, 0.01]
    level = {"scratch": 0.80, "backbone": 0.88, "inverted": 0.88, "careless": 0.75}
    seeds = [
        {"accuracy": {name: {"5": mean + shift * (name == "inverted")} for name, mean in level.items()}}
        for shift in noise
    ]
    run = runs.Run("what_transfers/gain", {"per_seed": seeds}, {}, {}, is_live=False)
    monkeypatch.setattr(runs, "load", lambda _: run)


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("careful", "best first"),
        (["careful", "inverted"], "best first"),
        (["careful", "careless", "inverted"], "'careless' before 'inverted'"),
        (["careless", "careful", "inverted"], "'careless' before 'careful'"),
    ],
)
def test_rank_sources_says_what_is_wrong(answer, says):
    is_right, sentence = verdict("what_transfers/rank_sources", answer)
    assert not is_right
    assert says in sentence


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("first_two", [["careful", "inverted"], ["inverted", "careful"]])
def test_rank_sources_takes_either_order_where_the_seeds_do_not_decide(first_two):
    assert verdict("what_transfers/rank_sources", [*first_two, "careless"])[0]


def test_rank_sources_reads_the_run_that_ships():
    is_right, sentence = verdict("what_transfers/rank_sources", ["careless", "inverted", "careful"])
    assert not is_right
    assert "10 seeds" in sentence
