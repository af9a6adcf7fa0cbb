"""Each likely mistake in the exercises of the chapter `cyclegan` is named."""

import pytest
import torch
from torch.nn.functional import l1_loss

from tlutils.exercises import verdict


def says(name, answer):
    return verdict(f"cyclegan/{name}", answer)


def right_trip(G, F, x, x_target):
    return l1_loss(F(G(x)), x) + l1_loss(G(F(x_target)), x_target)


def right_weakest(y, seen):
    shares = {c: (seen[y == c] == c).double().mean().item() for c in y.unique().tolist()}
    worst = min(shares, key=shares.get)
    return worst, shares[worst]


def right_exchange(store, fake, coins, places):
    shown = fake.clone()
    for number, place in enumerate(places):
        if coins[number]:
            shown[number] = store[place]
            store[place] = fake[number]
    return shown


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda p, q: sum(abs(a - b) for a, b in zip(p, q, strict=True)), "counted twice"),
        (lambda p, q: sum(b - a for a, b in zip(p, q, strict=True)), "gains and losses cancel"),
        (lambda *_: 7, "expected 0"),
        (lambda *_: [1, 2], "expected one number"),
    ],
)
def test_mistakes_in_the_forced_share_are_named(answer, sentence):
    is_right, text = says("forced", answer)
    assert not is_right
    assert sentence in text


def test_the_largest_change_is_not_their_sum():
    assert (
        "several classes may gain"
        in says("forced", lambda p, q: max(abs(a - b) for a, b in zip(p, q, strict=True)))[1]
    )
    assert says("forced", lambda p, q: sum(max(0.0, b - a) for a, b in zip(p, q, strict=True)))[0]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            lambda G, F, x, t: l1_loss(F(G(x)), x) + l1_loss(F(F(t)), t),
            "Which of the two terms is wrong",
        ),
        (lambda G, F, x, _: l1_loss(F(G(x)), x), "only the source images"),
        (lambda G, F, _, t: l1_loss(G(F(t)), t), "only the target images"),
        (lambda G, F, x, t: l1_loss(F(G(x).detach()), x) + l1_loss(G(F(t)), t), "but G does not hear"),
        (lambda G, F, x, t: l1_loss(F(G(x)), x) + l1_loss(G(F(t).detach()), t), "but F does not hear"),
        (lambda G, F, x, t: right_trip(G, F, x, t).detach(), "no gradient at all"),
        (lambda G, F, x, t: 2 * right_trip(G, F, x, t), "expected 55"),
        (lambda *_: 55.0, "expected one tensor"),
        (lambda G, F, x, t: (F(G(x)) - t[:4] + G(F(t)) - x).abs().mean(), "different size"),
    ],
)
def test_mistakes_in_the_round_trip_are_named(answer, sentence):
    is_right, text = says("round_trip", answer)
    assert not is_right
    assert sentence in text


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda *_: 0.5, "two things"),
        (lambda *_: ("a", 1.0), "a class and a share"),
        (lambda *_: (5, 0.0), "has no examples here"),
        (lambda y, _: (int(y[0]), float("nan")), "divided by zero"),
        (lambda *_: (0, 0.75), "within a class"),
        (lambda *_: (1, 0.25), "its share is 0.500"),
    ],
)
def test_mistakes_in_the_weakest_class_are_named(answer, sentence):
    is_right, text = says("weakest", answer)
    assert not is_right
    assert sentence in text


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda *_: None, "as many images as came in"),
        (lambda _, fake, *__: fake.clone(), "the store should hold"),
        (lambda _, fake, *__: fake.zero_(), "work on a copy"),
        (lambda *arguments: right_exchange(*arguments) * 2, "expected"),
    ],
)
def test_mistakes_in_the_store_are_named(answer, sentence):
    is_right, text = says("exchange", answer)
    assert not is_right
    assert sentence in text


def test_a_view_of_the_store_and_coins_the_wrong_way_are_named():
    def view(store, fake, coins, places):
        right_exchange(store, fake, coins, places)
        return fake.clone()

    def reversed_coins(store, fake, coins, places):
        before = store.clone()
        right_exchange(store, fake, coins, places)
        return torch.where(coins.unsqueeze(1), fake, before[places])

    assert "where a coin says swap" in says("exchange", view)[1]
    assert "wrong way round" in says("exchange", reversed_coins)[1]


def test_right_answers_are_praised():
    assert says("round_trip", right_trip)[0]
    assert says("weakest", right_weakest)[0]
    assert says("exchange", right_exchange)[0]
