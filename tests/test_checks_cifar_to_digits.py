"""Each likely mistake in the exercises of the chapter `cifar_to_digits` is named."""

import pytest
import torch

from tlutils.augmentation import random_flip, random_shift
from tlutils.exercises import verdict
from tlutils.models import CIFAR10_MEAN, CIFAR10_STD
from tlutils.normalisation import reestimate_statistics


def averaged_in(model, x):
    model.train()
    with torch.no_grad():
        model(x)
    return model.eval()


def only_evaluated(model, x):
    with torch.no_grad():
        model.eval()(x)
    return model


def other_images(model, x):
    return reestimate_statistics(model, 1 - x)


def moved(model, x):
    with torch.no_grad():
        model.head.weight += 1
    return reestimate_statistics(model, x)


def only_the_first(model, x):
    model.backbone.stem[1].momentum = 1.0
    model.train()
    with torch.no_grad():
        model(x)
    return model.eval()


def left_training(model, x):
    return reestimate_statistics(model, x).train()


def fractions(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2) / 255


def standardised(images):
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (CIFAR10_MEAN, CIFAR10_STD))
    return (fractions(images) - mean) / std


def geometric(num_epochs, factor):
    return 1 / sum(factor**epoch for epoch in range(num_epochs))


WRONG = [
    ("vary", lambda _: ..., "replace the"),
    ("vary", lambda x: x[:1], "has shape"),
    ("vary", lambda x: random_shift(random_flip(x), 2), "mirror images"),
    ("vary", lambda x: x, "keep the shift"),
    ("vary", lambda x: random_shift(x.flip(-2), 2), "upside down"),
    ("vary", lambda x: 1 - random_shift(x, 2), "ink"),
    ("adapt", lambda *_: ..., "return the network"),
    ("adapt", averaged_in, "10 % of the way"),
    ("adapt", only_evaluated, "the source's still"),
    ("adapt", moved, "head.weight has changed"),
    ("adapt", other_images, "not those of x"),
    ("adapt", left_training, "in training mode"),
    ("adapt", only_the_first, "every layer keeps statistics"),
    ("for_network", lambda _: ..., "replace the"),
    ("for_network", standardised, "a second time"),
    ("for_network", lambda images: 255 * fractions(images), "go up to 255"),
    ("for_network", lambda images: fractions(images).transpose(1, 3), "channels before height"),
    ("for_network", lambda images: fractions(images) / 2, "neither the bytes"),
    ("share_of_first_epoch", lambda *_: ..., "replace the"),
    ("share_of_first_epoch", lambda epochs, _: 1 / epochs, "constant rate"),
    ("share_of_first_epoch", lambda n, f: (1 - f**n) / (1 - f), "divide the first rate"),
    ("share_of_first_epoch", lambda *_: 0.5, "you return 0.5000"),
    ("share_of_first_epoch", lambda n, _: 0.9 / (1 - 0.1**n), "4/7"),
]


@pytest.mark.parametrize(("name", "answer", "reason"), WRONG)
def test_mistake_is_named(name, answer, reason):
    is_right, sentence = verdict(f"cifar_to_digits/{name}", answer)
    assert not is_right
    assert reason in sentence, sentence


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("vary", lambda x: random_shift(x, 2)),
        ("adapt", reestimate_statistics),
        ("for_network", fractions),
        ("share_of_first_epoch", geometric),
    ],
)
def test_right_answer_passes(name, answer):
    is_right, sentence = verdict(f"cifar_to_digits/{name}", answer)
    assert is_right, sentence
