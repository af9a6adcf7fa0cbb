"""Each likely mistake in the exercises of the chapter `conditional_gan` is named."""

import pytest
import torch

from tlutils.exercises import verdict
from tlutils.generative import non_saturating_loss


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda w, y: w[:, 1 + y], "expected one number for each"),
        (lambda _w, _y: 3.0, "you return float"),
        (lambda w, y: w[:, y].sum((1, 2)), "channel 0 is the image"),
        (lambda w, y: w[:, 1 + y].mean((1, 2)), "a convolution sums"),
        (lambda w, _y: w[:, 1:].sum((1, 2, 3)), "nine of them are zero"),
        (lambda w, y: -w[:, 1 + y].sum((1, 2)), "put a map of ones"),
    ],
)
def test_mistakes_about_the_map_are_named(answer, says):
    is_right, sentence = verdict("conditional_gan/map_bias", answer)
    assert not is_right
    assert says in sentence


def classes(noise):
    return torch.randint(10, (len(noise),))


def once(generator, critic, noise):
    y = classes(noise)
    return non_saturating_loss(critic(generator(noise, y), y))


def twice(generator, critic, noise):
    return non_saturating_loss(critic(generator(noise, classes(noise)), classes(noise)))


def one_class(generator, critic, noise):
    y = torch.full((len(noise),), 3)
    return non_saturating_loss(critic(generator(noise, y), y))


def too_few(generator, critic, noise):
    return once(generator, critic, noise[:10])


def flipped(generator, critic, noise):
    y = classes(noise)
    return non_saturating_loss(-critic(generator(noise, y), y))


def detached(generator, critic, noise):
    return once(generator, critic, noise).detach()


def repeated(generator, critic, noise):
    generator(noise, classes(noise))
    return once(generator, critic, noise)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (twice, "obeying is never rewarded"),
        (one_class, "only the classes [3] are ordered"),
        (too_few, "10 classes were drawn for 60"),
        (flipped, "the generator minimises"),
        (detached, "no gradient reaches"),
        (repeated, "expected once each"),
    ],
)
def test_mistakes_in_the_order_are_named(answer, says):
    is_right, sentence = verdict("conditional_gan/order_loss", answer)
    assert not is_right
    assert says in sentence


def test_one_draw_of_classes_is_right():
    assert verdict("conditional_gan/order_loss", once)[0]


def with_itself(x, y, num_classes):
    parts = [x[y == c].flatten(1) for c in range(num_classes)]
    return torch.stack([torch.cdist(part, part).mean() for part in parts]).mean()


def per_class(x, y, num_classes):
    return [torch.pdist(x[y == c].flatten(1)) for c in range(num_classes)]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda *_: "much", "expected one number"),
        (lambda x, _y, _c: torch.pdist(x.flatten(1)).mean(), "pairs of two classes"),
        (lambda *a: torch.cat(per_class(*a)).mean(), "average within each class first"),
        (with_itself, "to itself"),
        (lambda *a: sum(d.mean() for d in per_class(*a)), "the sum over the classes"),
        (lambda *_: 1.0, "expected 3.5"),
        (lambda x, _y, _n: (torch.pdist(x[:2].flatten(1)).mean() + torch.pdist(x[2:].flatten(1)).mean()) / 2,
         "when the examples are shuffled"),
    ],
)  # fmt: skip
def test_mistakes_about_diversity_are_named(answer, says):
    is_right, sentence = verdict("conditional_gan/within_diversity", answer)
    assert not is_right
    assert says in sentence


def mean_gain(rows, *, fair=True, pairs=True, factor=100):
    kept = [r for r in rows if not fair or r["gan labels"] <= r["labels"]]
    plain, gan = ({r["seed"]: r["accuracy"] for r in kept if r["arm"] == arm} for arm in ("plain", "gan"))
    if pairs:
        return (
            factor
            * sum(gan[s] - plain[s] for s in plain.keys() & gan.keys())
            / len(plain.keys() & gan.keys())
        )
    return factor * (sum(gan.values()) / len(gan) - sum(plain.values()) / len(plain))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda _: None, "expected one number"),
        (lambda rows: mean_gain(rows, factor=1), "points are hundredths"),
        (lambda rows: mean_gain(rows, pairs=False), "leave both out"),
        (lambda rows: mean_gain(rows, factor=-100), "plain minus GAN"),
        (lambda rows: mean_gain(rows, fair=False), "saw 50 000 labels"),
        (lambda _: 3.0, "expected 0.5"),
    ],
)
def test_mistakes_about_fairness_are_named(answer, says):
    is_right, sentence = verdict("conditional_gan/fair_gain", answer)
    assert not is_right
    assert says in sentence
