"""Each likely mistake in the exercises of the chapter `parameter_efficient_tuning` is named."""

import pytest
import torch

from tlutils.exercises import verdict
from tlutils.model_based import freeze


def drawn(num_in, num_out, rank, generator):
    return torch.rand(rank, num_in, generator=generator), torch.zeros(num_out, rank)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda *_: (1, 2), "two tensors"),
        (lambda i, o, r, g: drawn(o, i, r, g), "expected (2, 6)"),
        (lambda i, o, r, g: (torch.rand(r, i, generator=g), torch.rand(o, r, generator=g)), "not zero"),
        (lambda i, o, r, _: (torch.zeros(r, i), torch.zeros(o, r)), "both are zero"),
        (lambda i, o, r, g: (torch.zeros(r, i), torch.rand(o, r, generator=g)), "other way round"),
        (lambda i, o, r, _: (torch.ones(r, i), torch.zeros(o, r)), "drawn apart"),
    ],
)
def test_mistakes_in_a_start_are_named(answer, says):
    is_right, sentence = verdict("parameter_efficient_tuning/lora_start", answer)
    assert not is_right
    assert says in sentence


def merged_in_place(weight, a, b, alpha):
    weight += alpha / len(a) * b @ a
    return weight


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda w, a, *_: a @ w.T, "expected a tensor (4, 6)"),
        (lambda w, a, b, _: w + b @ a, "a factor more"),
        (lambda w, a, b, alpha: w + alpha * b @ a, "is missing"),
        (lambda _, a, b, alpha: alpha / len(a) * b @ a, "the update alone"),
        (lambda w, a, b, alpha: w + alpha / a.shape[1] * b @ a, "the number of rows of A"),
        (lambda w, a, b, alpha: w + alpha / len(b) * b @ a, "the number of rows of B"),
        (lambda w, a, b, alpha: w - alpha / len(a) * b @ a, "not W +"),
        (merged_in_place, "merged twice"),
    ],
)
def test_mistakes_in_a_merge_are_named(answer, says):
    is_right, sentence = verdict("parameter_efficient_tuning/merged_weight", answer)
    assert not is_right
    assert says in sentence


def opened(model, start, *, wanted=("bias",)):
    start(model)
    for name, parameter in model.named_parameters():
        if name.endswith(wanted) or name.startswith("head"):
            parameter.requires_grad_(True)
    return model


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda model: opened(model, freeze) and None, "return the model"),
        (lambda model: opened(model, lambda _: None), "backbone.0.weight, backbone.1.weight"),
        (lambda model: opened(model, freeze, wanted=("nothing",)), "and are not: backbone.0.bias"),
        (lambda model: opened(model, lambda m: m.requires_grad_(False)), "running mean"),
    ],
)
def test_mistakes_in_opening_the_biases_are_named(answer, says):
    is_right, sentence = verdict("parameter_efficient_tuning/only_biases", answer)
    assert not is_right
    assert says in sentence


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda i, o: i * o / (i + o), "whole number"),
        (lambda i, o: i * o // (i + o), "just as many"),
        (min, "saves nothing"),
        (lambda i, o: (i * o - 1) // (i + o) - 1, "One more"),
    ],
)
def test_mistakes_in_a_rank_are_named(answer, says):
    is_right, sentence = verdict("parameter_efficient_tuning/largest_rank", answer)
    assert not is_right
    assert says in sentence


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("lora_start", drawn),
        ("merged_weight", lambda w, a, b, alpha: w + alpha / len(a) * b @ a),
        ("only_biases", lambda model: opened(model, freeze)),
        ("largest_rank", lambda i, o: (i * o - 1) // (i + o)),
    ],
)
def test_right_answers_pass(name, answer):
    assert verdict(f"parameter_efficient_tuning/{name}", answer)[0]
