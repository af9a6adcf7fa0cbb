"""Each likely mistake in the exercises of the chapter `scaling_out` is named."""

# ruff: noqa: ARG001, ARG005

import pytest
import torch

from tlutils.distributed import rank_batch
from tlutils.exercises import verdict


def right_share(n, batch, step, seed, rank, size):
    return rank_batch(n, batch, step, seed=seed, rank=rank, size=size)


def blind_share(n, batch, step, seed, rank, size):
    return rank_batch(n, batch // size, step, seed=seed, rank=0, size=1)


def own_shuffle(n, batch, step, seed, rank, size):
    own = rank_batch(n // size, batch // size, step, seed=seed + rank, rank=0, size=1)
    return own * size + rank


def frozen_epoch(n, batch, step, seed, rank, size):
    return rank_batch(n, batch, 0, seed=seed, rank=rank, size=size)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (blind_share, "have the same example"),
        (lambda *a: right_share(*a).tolist(), "expected a tensor"),
        (lambda n, b, step, seed, rank, size: right_share(n, b, step, seed, 0, 1), "in equal parts"),
        (frozen_epoch, "8 of them"),
        (own_shuffle, "other examples than one process"),
    ],
)
def test_mistakes_in_a_share_are_named(answer, says):
    is_right, sentence = verdict("scaling_out/own_share", answer)
    assert not is_right
    assert says in sentence


def deadlock(rank, loss, average, write):
    if rank == 0:
        write(average(loss))


def everyone(rank, loss, average, write):
    write(average(loss))


def own_loss(rank, loss, average, write):
    average(loss)
    if rank == 0:
        write(loss)


def constant(rank, loss, average, write):
    mean = average(1.0)
    if rank == 0:
        write(mean)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (deadlock, "rank 1 never calls average"),
        (everyone, "ranks that write are [0, 1]"),
        (own_loss, "its own loss"),
        (constant, "its own loss to average, once"),
    ],
)
def test_mistakes_in_who_writes_are_named(answer, says):
    is_right, sentence = verdict("scaling_out/only_rank_zero", answer)
    assert not is_right
    assert says in sentence


def ramp(start):
    def rate(step, base_rate, base_batch, batch, warmup_steps):
        full = base_rate * batch / base_batch
        low = base_rate if start is None else start * full
        return low + (full - low) * min(1, step / warmup_steps)

    return rate


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (ramp(1.0), "there is no warm-up"),
        (ramp(0.0), "starts at 0"),
        (
            lambda step, warmup_steps, **_: 3.2 * min(1.0, (step + 1) / warmup_steps),
            "a tenth of the full",
        ),
        (lambda step, base_rate, **_: base_rate + 0.31 * step, "goes on rising"),
        (lambda *_, **__: None, "expected a number"),
        (lambda step, base_rate, **_: base_rate, "at step 5"),
    ],
)
def test_mistakes_in_a_rate_are_named(answer, says):
    is_right, sentence = verdict("scaling_out/warm_rate", answer)
    assert not is_right
    assert says in sentence


@pytest.mark.parametrize(
    ("factor", "says"),
    [
        (4, "travels twice"),
        (2, "4 bytes"),
        (1, "4 bytes, and travels twice"),
        (64, "not bits"),
        (9, "need 2e+09"),
    ],
)
def test_mistakes_in_a_bandwidth_are_named(factor, says):
    is_right, sentence = verdict("scaling_out/needed_bandwidth", lambda n, s: factor * n / s)
    assert not is_right
    assert says in sentence


def test_a_bandwidth_is_a_number():
    assert not verdict("scaling_out/needed_bandwidth", lambda *_: torch.zeros(2))[0]


def test_right_answers_pass():
    def finish(rank, loss, average, write):
        mean = average(loss)
        if rank == 0:
            write(mean)

    answers = {"own_share": right_share, "only_rank_zero": finish, "warm_rate": ramp(None),
               "needed_bandwidth": lambda n, s: 8 * n / s}  # fmt: skip
    for name, answer in answers.items():
        assert verdict(f"scaling_out/{name}", answer)[0]
