"""Each likely mistake in the exercises of the chapter `coral` is named; right answers in other words pass."""

import pytest
import torch

from tlutils.coral import coral_map, deep_coral_loss
from tlutils.exercises import verdict


def centred(x):
    return x - x.mean(dim=0)


def gap(x, y):
    return torch.cov(x.T) - torch.cov(y.T)


def no_gradient(x, y):
    return torch.tensor(deep_coral_loss(x, y).item(), dtype=x.dtype)


def rooted_and_squared(x, y):
    return (gap(x, y).square().sum().sqrt() / 6) ** 2


def affine(x, y):
    return centred(x) @ coral_map(x, y, ridge=0).T + y.mean(dim=0)


def across(x):
    x = x - x.mean(dim=1, keepdim=True)
    return x.T @ x / (len(x) - 1)


def moved_late(x, y):
    return x @ coral_map(x, y, ridge=0).T - x.mean(dim=0) + y.mean(dim=0)


WRONG = [
    ("wrong_axis", across, "mean of each feature"),
    ("wrong_axis", lambda x: x.T @ x / (len(x) - 1), "nothing is subtracted"),
    ("wrong_axis", lambda x: centred(x).T @ centred(x) / len(x), "n − 1"),
    ("wrong_axis", lambda x: centred(x).T @ centred(x), "divide it by n − 1"),
    ("wrong_axis", lambda x: 3 * torch.cov(x.T), "the first variance is"),
    ("wrong_axis", lambda x: torch.cov(x), "shape"),
    ("wrong_axis", lambda _: None, "None"),
    ("extra_root", lambda x, y: gap(x, y).norm() / 36, "not squared"),
    ("extra_root", lambda x, y: deep_coral_loss(x, y).sqrt(), "the whole loss"),
    ("extra_root", lambda x, y: gap(x, y).square().sum() / 9, "the 4 is missing"),
    ("extra_root", lambda x, y: gap(x, y).square().sum() / 12, "not by d²"),
    ("extra_root", lambda x, y: gap(x, y).square().sum(), "divide it by 4 d²"),
    ("extra_root", lambda x, y: gap(x, y).square().mean() / 36, "twice"),
    ("extra_root", lambda x, y: gap(x, y).square().sum(), "squared norm"),
    ("extra_root", lambda x, _: x.sum(), "compare the formula"),
    ("extra_root", lambda x, y: deep_coral_loss(x, y).item(), "expected a tensor"),
    ("extra_root", no_gradient, "no gradient"),
    ("extra_root", rooted_and_squared, "the gradient is not 0"),
    ("wrong_order", lambda x, y, r: x @ coral_map(x, y, ridge=r), "untransposed"),
    ("wrong_order", lambda x, y, r: x @ coral_map(y, x, ridge=r).T, "changed places"),
    ("wrong_order", lambda x, y, r: x @ coral_map(y, x, ridge=r), "changed places"),
    ("wrong_order", lambda x, y, _: x @ coral_map(x, y, ridge=0).T, "ridge is not used"),
    ("wrong_order", lambda x, y, r: 2 * x @ coral_map(x, y, ridge=r).T, "still"),
    ("wrong_order", lambda x, *_: x.T, "shape"),
    ("both_moments", lambda *_: ..., "replace it"),
    ("both_moments", lambda x, y: x @ coral_map(x, y, ridge=0).T, "happened to take it"),
    ("both_moments", lambda x, y: x @ coral_map(x, y, ridge=0).T + y.mean(dim=0), "before the map"),
    ("both_moments", lambda x, y: centred(x) @ coral_map(x, y, ridge=0).T, "add that of the target"),
    ("both_moments", lambda x, y: moved_late(x, y), "after the map"),
    ("both_moments", lambda x, y: centred(x) @ coral_map(x, y, ridge=0) + y.mean(dim=0), "x @ A.T"),
    ("both_moments", lambda x, y: centred(x) + y.mean(dim=0), "covariance of the result"),
    ("both_moments", lambda x, y: affine(x, y).flip(0), "order of the rows"),
    ("both_moments", lambda x, _: x[0], "shape"),
]  # fmt: skip
RIGHT = [
    ("wrong_axis", lambda x: torch.cov(x.T)),
    ("wrong_axis", lambda x: sum(torch.outer(row, row) for row in centred(x)) / (len(x) - 1)),
    ("extra_root", deep_coral_loss),
    ("extra_root", lambda x, y: gap(x, y).square().mean() / 4),
    ("wrong_order", lambda x, y, r: (coral_map(x, y, ridge=r) @ x.T).T),
    ("both_moments", affine),
]


@pytest.mark.parametrize(("name", "answer", "diagnosis"), WRONG)
def test_a_mistake_is_named(name, answer, diagnosis):
    is_right, sentence = verdict(f"coral/{name}", answer)
    assert not is_right
    assert diagnosis in sentence


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_a_right_answer_passes(name, answer):
    is_right, sentence = verdict(f"coral/{name}", answer)
    assert is_right, sentence
