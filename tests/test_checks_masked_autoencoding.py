"""Each likely mistake in the exercises of the chapter `masked_autoencoding` is named."""

import pytest
import torch

from tlutils.exercises import verdict


def says_of(name, answer):
    is_right, sentence = verdict(f"masked_autoencoding/{name}", answer)
    assert not is_right
    return sentence


def error(guess, target):
    return (guess - target).square().mean(dim=2)


def rest(masked):
    return torch.stack([torch.tensor([i for i in range(8) if i not in row]) for row in masked.tolist()])


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda *_: 1.0, "expected a tensor"),
        (lambda g, t, _: error(g, t).mean(), "over all patches"),
        (lambda g, t, m: error(g, t).gather(1, rest(m)).mean(), "visible patches"),
        (lambda g, t, m: error(g, t).gather(1, m).sum() / 24, "number of all patches"),
        (lambda g, t, m: error(g, t).gather(1, m).sum(), "a sum"),
        (lambda g, t, m: (g - t).abs().mean(dim=2).gather(1, m).mean(), "not the mean squared error"),
    ],
)
def test_mistakes_in_a_loss_are_named(answer, says):
    assert says in says_of("hidden_loss", answer)


def shuffled(n, length, k, generator):
    return torch.rand(n, length, generator=generator).argsort(dim=1)[:, :k]


def global_draw(n, length, k, generator):
    torch.rand(1, generator=generator)
    return torch.rand(n, length).argsort(dim=1)[:, :k]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda n, length, k, g: shuffled(n, length, k, g).T, "expected a tensor"),
        (lambda n, length, k, g: shuffled(n, length, k, g) + 1, "numbered from 0"),
        (lambda n, length, k, g: torch.randint(length, (n, k), generator=g), "twice"),
        (lambda n, length, k, g: shuffled(1, length, k, g).expand(n, -1), "one mask"),
        (global_draw, "not all drawn"),
        (
            lambda n, length, k, _: shuffled(n, length, k, torch.Generator().manual_seed(5)),
            "another generator gives the same",
        ),
        (lambda n, length, k, g: shuffled(n, length // 2, k, g), "never visible"),
    ],
)
def test_mistakes_in_a_draw_are_named(answer, says):
    assert says in says_of("own_masks", answer)


def appended(encoded, order, mask_token):
    hidden = order.shape[1] - encoded.shape[1]
    return torch.cat([encoded, mask_token.expand(len(encoded), hidden, -1)], dim=1)


def taken(tokens, order):
    return tokens.gather(1, order[:, :, None].expand(-1, -1, tokens.shape[2]))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda e, *_: e, "expected a tensor"),
        (appended, "order of the shuffle"),
        (lambda e, o, m: taken(appended(e, o, m), o), "done again"),
        (lambda e, o, m: appended(e, o, m).flip(1), "should lie at"),
    ],
)
def test_mistakes_in_the_order_are_named(answer, says):
    assert says in says_of("in_order", answer)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda t, p, _: t + p, "expected a tensor"),
        (lambda t, _, v: taken(t, v), "bag of patches"),
        (lambda t, p, v: taken(t, v) + p[: v.shape[1]], "position k"),
        (lambda t, p, v: taken(t, v) + 2 * p[v], "added once"),
    ],
)
def test_mistakes_in_positions_are_named(answer, says):
    assert says in says_of("placed_tokens", answer)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("hidden_loss", lambda g, t, m: error(g, t).gather(1, m).mean()),
        ("own_masks", shuffled),
        ("in_order", lambda e, o, m: taken(appended(e, o, m), o.argsort(dim=1))),
        ("placed_tokens", lambda t, p, v: taken(t + p, v)),
    ],
)
def test_right_answers_pass(name, answer):
    is_right, _ = verdict(f"masked_autoencoding/{name}", answer)
    assert is_right
