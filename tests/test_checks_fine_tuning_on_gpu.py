"""Each likely mistake in the exercises of the chapter `fine_tuning_on_gpu` is named."""

import numpy as np
import pytest
from torch.nn import functional

from tlutils.exercises import verdict
from tlutils.lean_gradients import accumulate_gradients

NUMBERS = {"sgd": 2, "momentum": 3, "adamw": 4}


def parts_of(x, y, num_parts):
    return zip(x.tensor_split(num_parts), y.tensor_split(num_parts), strict=True)


def summed(model, x, y, num_parts):
    model.zero_grad()
    for part_x, part_y in parts_of(x, y, num_parts):
        functional.cross_entropy(model(part_x), part_y).backward()


def alike(model, x, y, num_parts):
    model.zero_grad()
    for part_x, part_y in parts_of(x, y, num_parts):
        (functional.cross_entropy(model(part_x), part_y) / num_parts).backward()


def wiped(model, x, y, num_parts):
    for part_x, part_y in parts_of(x, y, num_parts):
        model.zero_grad()
        (functional.cross_entropy(model(part_x), part_y) / num_parts).backward()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda model, *_: model.zero_grad(), "no gradient afterwards"),
        (accumulate_gradients, "an earlier step left"),
        (summed, "7 times too large"),
        (wiped, "last part alone"),
        (alike, "not equally large"),
        (lambda m, x, y, n: accumulate_gradients(m, 2 * x, y, n), "begins with"),
    ],
)
def test_mistakes_in_an_accumulation_are_named(answer, says):
    is_right, sentence = verdict("fine_tuning_on_gpu/gradient_in_parts", answer)
    assert not is_right
    assert says in sentence


def test_the_right_accumulation_passes():
    def answer(model, x, y, num_parts):
        model.zero_grad()
        accumulate_gradients(model, x, y, num_parts)

    assert verdict("fine_tuning_on_gpu/gradient_in_parts", answer)[0]


def by(*keys):
    return lambda looks: max(range(len(looks)), key=lambda i: tuple(looks[i][key] for key in keys))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (by("train"), "learned by heart"),
        (by("test"), "must not choose"),
        (lambda looks: np.argmax([look["train"] for look in looks]), "learned by heart"),
        (lambda looks: min(range(len(looks)), key=lambda i: looks[i]["loss"]), "lowest validation *loss*"),
        (by("validation"), "lower validation loss"),
        (lambda looks: sorted(range(len(looks)), key=lambda i: looks[i]["validation"])[-1], "keep the later"),
        (lambda looks: looks[2], "expected the index"),
    ],
)
def test_mistakes_in_a_choice_are_named(answer, says):
    is_right, sentence = verdict("fine_tuning_on_gpu/best_epoch", answer)
    assert not is_right
    assert says in sentence


def test_the_right_choice_passes():
    def answer(looks):
        return max(range(len(looks)), key=lambda i: (looks[i]["validation"], -looks[i]["loss"]))

    assert verdict("fine_tuning_on_gpu/best_epoch", answer)[0]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda *_: ..., "expected a number of bytes"),
        (lambda n, o: 4 * n * (NUMBERS[o] - 1), "missing"),
        (lambda n, o: n * NUMBERS[o], "asked for bytes"),
        (lambda n, _: 8 * n, "what does the optimiser remember"),
        (lambda n, _: 5 * n, "expected 320 bytes"),
        (
            lambda n, o: 4 * n * (NUMBERS[o] - (o == "adamw")),
            "480 bytes for 40 parameters; it remembers",
        ),
    ],
)
def test_mistakes_in_a_bill_are_named(answer, says):
    is_right, sentence = verdict("fine_tuning_on_gpu/bytes_per_parameter", answer)
    assert not is_right
    assert says in sentence


def test_the_right_bill_passes():
    assert verdict("fine_tuning_on_gpu/bytes_per_parameter", lambda n, o: 4 * n * NUMBERS[o])[0]
