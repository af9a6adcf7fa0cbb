"""Each likely mistake in the exercises of the chapter `mnist_to_fashion` is named."""

import pytest
import torch
from torch.nn import functional
from torch.optim import lr_scheduler

from tlutils.exercises import verdict
from tlutils.training import evaluate

loss = functional.binary_cross_entropy_with_logits


def as_pictures(labels, decoded):
    return labels.float().view(-1, 1, 1, 1).expand_as(decoded)


def at_half_and_three_quarters(optimizer, num_epochs):
    return lr_scheduler.MultiStepLR(optimizer, [num_epochs // 2, 3 * num_epochs // 4], gamma=0.1)


WRONG = [
    ("copying_loss", lambda *_: ..., "return one number"),
    ("copying_loss", lambda d, _, y: functional.binary_cross_entropy(d, y.float()), "does not run"),
    ("copying_loss", lambda d, _, y: loss(d, as_pictures(y, d)), "asked to be the label"),
    ("copying_loss", lambda d, x, _: loss(d.detach(), x), "no gradient"),
    ("copying_loss", lambda d, x, _: loss(d.sigmoid(), x), "twice"),
    ("copying_loss", lambda d, x, _: functional.binary_cross_entropy(x, d.sigmoid()), "changed places"),
    ("copying_loss", lambda d, x, _: loss(d, x, reduction="sum"), "but for its size"),
    ("copying_loss", lambda d, x, _: (d - x).square().mean(), "is right"),
    ("make_schedule", lambda *_: ..., "return a schedule"),
    ("make_schedule", lambda o, _: lr_scheduler.StepLR(o, 1, gamma=0.1), "after one epoch"),
    ("make_schedule", lambda o, _: lr_scheduler.MultiStepLR(o, [4, 6], gamma=0.1), "of 20 epochs"),
    ("make_schedule", lambda o, n: lr_scheduler.StepLR(o, n // 2, gamma=0.1), "of 8 epochs"),
    ("final_score", lambda *_: ..., "return one number"),
    ("final_score", lambda m, s, _: evaluate(m, s.test).accuracy, "the source's test"),
    ("final_score", lambda m, _, t: evaluate(m, t.train).accuracy, "the target's train"),
    ("final_score", lambda m, _, t: evaluate(m, t.validation).accuracy, "the target's validation"),
    ("final_score", lambda m, _, t: 100 * evaluate(m, t.test).accuracy, "between 0 and 1"),
    ("final_score", lambda *_: 0.1234, "4 of the 10"),
    ("code_size", lambda *_: ..., "replace the"),
    ("code_size", lambda size, channels, halvings: channels * (size // 2**halvings) ** 2, "divide by"),
    ("code_size", lambda _, channels, halvings: 4**halvings / channels, "one over it"),
    ("code_size", lambda _, channels, halvings: channels / 2**halvings, "height and width"),
    ("code_size", lambda *_: 3.0, "32×7×7"),
    ("code_size", lambda *_: 2.0, "1/16"),
]


@pytest.mark.parametrize(("name", "answer", "reason"), WRONG)
def test_mistake_is_named(name, answer, reason):
    is_right, sentence = verdict(f"mnist_to_fashion/{name}", answer)
    assert not is_right
    assert reason in sentence, sentence


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("copying_loss", lambda decoded, images, _: loss(decoded, images)),
        ("copying_loss", lambda d, x, _: functional.binary_cross_entropy(torch.sigmoid(d), x)),
        ("make_schedule", at_half_and_three_quarters),
        ("final_score", lambda model, _, target: evaluate(model, target.test).accuracy),
        ("code_size", lambda _, channels, halvings: channels / 4**halvings),
    ],
)
def test_right_answer_passes(name, answer):
    is_right, sentence = verdict(f"mnist_to_fashion/{name}", answer)
    assert is_right, sentence
