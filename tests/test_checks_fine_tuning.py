"""The checks of `fine_tuning` accept what is right and say what is wrong."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tlutils.exercises import verdict
from tlutils.model_based import freeze
from tlutils.models import replace_head


def right_head(model, num_classes):
    return replace_head(freeze(model).train(), num_classes)


def frozen_head(model, num_classes):
    return freeze(replace_head(model, num_classes))


def trainable_backbone(model, num_classes):
    return replace_head(model, num_classes)


def drifting(model, num_classes):
    model.requires_grad_(False)
    return replace_head(model, num_classes)


def old_head(model, _):
    freeze(model.backbone)
    return model


def by_depth(power=lambda depth: 2.0**depth, shift=0, turn=reversed):
    return lambda parts, top, _: {part: top / power(d + shift) for d, part in enumerate(turn(parts))}


@pytest.mark.parametrize(
    ("name", "answer", "says"),
    [
        ("head_only", 3, "should be a function"),
        ("head_only", lambda *_: None, "should return the Classifier"),
        ("head_only", old_head, "num_classes logits"),
        ("head_only", frozen_head, "cannot learn"),
        ("head_only", trainable_backbone, "backbone still learns"),
        ("head_only", drifting, "buffers of the backbone have moved"),
        ("rates_by_depth", lambda *_: [1], "should return a dict"),
        ("rates_by_depth", lambda parts, *_: dict.fromkeys(parts), "should return numbers"),
        ("rates_by_depth", by_depth(turn=list), "first layer has the largest"),
        ("rates_by_depth", by_depth(shift=1), "depth is 0, not 1"),
        ("rates_by_depth", by_depth(lambda depth: 2 * depth or 1), "factor · depth"),
        ("rates_by_depth", by_depth(lambda _: 1), "the last should be"),
        ("softmax_floor", lambda _: "low", "one number"),
        ("softmax_floor", lambda _: np.log(1 + 9 / np.e), "for 2 classes you have 1.4612"),
        ("softmax_floor", lambda _: 0.0, "floor of logits"),
        ("softmax_floor", np.log, "knows nothing"),
        ("softmax_floor", lambda c: np.log(np.e + c - 1), "still to be subtracted"),
        ("softmax_floor", lambda c: np.log2(1 + (c - 1) / np.e), "bits"),
        ("softmax_floor", lambda c: np.log(1 + c / np.e), "nine are wrong"),
        ("softmax_floor", lambda c: c, "Put a 1"),
        ("reported_accuracy", lambda _, test: max(test), "still chooses"),
        ("reported_accuracy", lambda validation, _: max(validation), "validation accuracy"),
        ("reported_accuracy", lambda v, t: t[len(v) - 1 - np.argmax(v[::-1])], "the earlier"),
        ("reported_accuracy", lambda _, test: test[-1], "last epoch"),
        ("reported_accuracy", lambda *_: 0.5, "second epoch"),
        ("reported_accuracy", lambda *_: None, "one accuracy"),
    ],
)
def test_a_wrong_answer_is_told_why(name, answer, says):
    is_right, sentence = verdict(f"fine_tuning/{name}", answer)
    assert not is_right
    assert says in sentence


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("head_only", right_head),
        ("rates_by_depth", by_depth()),
        ("softmax_floor", lambda c: functional.cross_entropy(torch.eye(c), torch.arange(c)).item()),
        ("reported_accuracy", lambda v, t: t[int(np.argmax(v))]),
    ],
)
def test_a_right_answer_is_accepted(name, answer):
    is_right, sentence = verdict(f"fine_tuning/{name}", answer)
    assert is_right, sentence
