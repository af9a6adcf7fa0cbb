"""Each likely mistake in the exercises of the chapter `feature_extraction` is named."""

import pytest
import torch

from tlutils.checks.feature_extraction import FIELDS
from tlutils.exercises import verdict


def caught(model, x, *, copy=True, remove=True, layer=0):
    found = []
    handle = model[layer].register_forward_hook(
        lambda _m, _i, out: found.append(out.clone() if copy else out)
    )
    model(x)
    if remove:
        handle.remove()
    return found[0]


def features(model, x, size, *, evaluate=True, grad=False, freeze=True):
    model.train(not evaluate)
    before = {name: t.clone() for name, t in model.state_dict().items()}
    with torch.set_grad_enabled(grad):
        found = torch.cat([model.features(part) for part in x.split(size)])
    if freeze:
        model.load_state_dict(before)
    return found


def field(layers, *, early=False, strides=True):
    seen, product = 1, 1
    for kernel, stride in layers:
        product *= stride if early else 1
        seen += (kernel - 1) * (product if strides else 1)
        product *= 1 if early else stride
    return seen


def strides_added(layers):
    size, step = 1, 1
    for kernel, stride in layers:
        size, step = size + (kernel - 1) * step, step + stride
    return size


def last_stride_alone(layers):
    seen, step = 1, 1
    for kernel, stride in layers:
        seen, step = seen + (kernel - 1) * step, stride
    return seen


@pytest.mark.parametrize(
    ("name", "answer", "says"),
    [
        ("first_layer", lambda m, x: caught(m, x, copy=False), "written over"),
        ("first_layer", lambda m, x: caught(m, x, remove=False), "stays on the layer"),
        ("first_layer", lambda m, x: caught(m, x, layer=2), "shape"),
        ("first_layer", lambda m, x: 2 * caught(m, x), "not what the first layer gives"),
        ("first_layer", lambda _m, _x: None, "NoneType"),
        (
            "fixed_features",
            lambda m, x, n: features(m, x, n, evaluate=False, freeze=False),
            "statistics moved",
        ),
        ("fixed_features", lambda m, x, n: features(m, x, n, evaluate=False), "images beside it"),
        ("fixed_features", lambda m, x, n: features(m, x, n, grad=True), "carry a gradient"),
        ("fixed_features", lambda m, x, n: features(m, x, n)[:n], "(12, 128)"),
        ("fixed_features", lambda m, x, n: 2 * features(m, x, n), "not what model.features gives"),
        ("fixed_features", lambda m, x, n: features(m, x, n).tolist(), "list"),
        ("receptive_field", lambda layers: field(layers, strides=False), "every stride were 1"),
        ("receptive_field", lambda layers: field(layers, early=True), "for those after it"),
        ("receptive_field", last_stride_alone, "all strides before a layer"),
        ("receptive_field", strides_added, "multiplied, not added"),
        ("receptive_field", lambda layers: 99, "expected 3"),  # noqa: ARG005
        ("receptive_field", lambda layers: None, "whole number"),  # noqa: ARG005
        ("multiply_adds", lambda i, o, k, s: i * o * k**2, "those are the weights"),  # noqa: ARG005
        ("multiply_adds", lambda i, o, k, s: i * o * k * s**2, "kernel has two sides"),
        ("multiply_adds", lambda i, o, k, s: i * o * k**2 * s, "map has two sides"),
        ("multiply_adds", lambda i, o, k, s: o * k**2 * s**2, "all input channels"),  # noqa: ARG005
        ("multiply_adds", lambda i, o, k, s: (i * k**2 + 1) * o * s**2, "a bias"),
        ("multiply_adds", lambda i, o, k, s: 2 * i * o * k**2 * s**2, "count as one"),
        ("multiply_adds", lambda i, o, k, s: None, "expected 70276800"),  # noqa: ARG005
    ],
)
def test_mistakes_are_named(name, answer, says):
    is_right, sentence = verdict(f"feature_extraction/{name}", answer)
    assert not is_right
    assert says in sentence


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("first_layer", caught),
        ("fixed_features", features),
        ("receptive_field", field),
        ("multiply_adds", lambda i, o, k, s: i * o * k**2 * s**2),
    ],
)
def test_right_answers_pass(name, answer):
    is_right, sentence = verdict(f"feature_extraction/{name}", answer)
    assert is_right, sentence


def test_fields_follow_the_recurrence():
    assert all(field(layers) == expected for layers, expected in FIELDS)
