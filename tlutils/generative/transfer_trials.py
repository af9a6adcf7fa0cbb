"""Trials of what crosses from MNIST to USPS with a GAN: fixed features, and painted digits."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tlutils import guards, runs
from tlutils.augmentation import random_affine
from tlutils.domains import Domain, DomainPair, Labelled
from tlutils.generative.networks import image_critic, image_generator
from tlutils.generative.transfer import information
from tlutils.generative.translation import image_translator, translate
from tlutils.models import Classifier, lenet
from tlutils.training import evaluate, fit

__all__ = [
    "by_rule",
    "kinds_of_features",
    "linear_head",
    "paint",
    "painted_digits",
    "painted_trial",
    "probe_trial",
]

NUM_LOOKS = 10
NUM_HELD_OUT = 2000


@cache
def _pair(target: str = "usps") -> DomainPair:
    """Return MNIST and another set of digits at 16×16."""
    return DomainPair(Domain.from_dataset("mnist", size=16), Domain.from_dataset(target, size=16))


def linear_head(z: Float[Tensor, "n d"], y: Int[Tensor, " n"], *, ridge: float = 0.1) -> nn.Linear:
    r"""Fit a linear head of ten classes by least squares, on one-hot classes and centred features.

    .. math:: W = Y^\top (Z Z^\top + \rho \bar k I)^{-1} Z

    with :math:`\bar k` the mean squared length of the centred features Z.

    Parameters
    ----------
    z
        Features.
    y
        Classes 0 to 9.
    ridge
        ρ above, positive.

    Raises
    ------
    ValueError
        If `ridge` is not positive or there are not as many classes as features.

    Examples
    --------
    >>> head = linear_head(torch.tensor([[0.0], [1.0]]), torch.tensor([3, 7]), ridge=1e-6)
    >>> head(torch.tensor([[0.1], [0.8]])).argmax(dim=1).tolist()
    [3, 7]
    """
    if not ridge > 0 or len(z) != len(y):
        raise ValueError(
            f"got {ridge=}, {len(z)} examples, {len(y)} classes; expected ridge > 0, one class each"
        )
    wanted = nn.functional.one_hot(y, 10).double()
    z = z.detach().double()
    centre, level = z.mean(dim=0), wanted.mean(dim=0)
    similar = (z - centre) @ (z - centre).T
    damped = similar + ridge * similar.diagonal().mean() * torch.eye(len(z), dtype=torch.float64)
    weight = torch.linalg.solve(damped, wanted - level).T @ (z - centre)
    head = nn.Linear(z.shape[1], 10).requires_grad_(False)
    head.weight.copy_(weight)
    head.bias.copy_(level - weight @ centre)
    return head


def kinds_of_features(generator: nn.Module, critic: Classifier, *, seed: int) -> dict[str, nn.Module]:
    """Return networks whose fixed outputs are tried as features of 16×16 images.

    The noise encoder, a generator's first four layers, gets 8×8 thumbnails, standardised by target images.
    `seed` is that of the two random networks, of a GAN's start.
    """
    pool, flat = nn.AvgPool2d(2), nn.Flatten()
    thumbnail = nn.Sequential(pool, flat, nn.BatchNorm1d(64, affine=False, momentum=None))
    thumbnail.train()(_pair().target.images)  # one pass sets mean and variance
    return {
        "256 pixels": flat,
        "thumbnail": thumbnail,
        "noise encoder": nn.Sequential(thumbnail, generator.layers[:4], flat),
        "random noise encoder": nn.Sequential(thumbnail, image_generator(16, seed=seed).layers[:4], flat),
        "critic": critic.backbone,
        "random critic": image_critic(16, seed=seed).backbone,
    }


@torch.no_grad()
def probe_trial(backbone: nn.Module, budget: int, seed: int) -> float:
    """Return the accuracy on USPS's test part of a linear head on fixed features, from a budget of labels."""
    labels = _pair().target.label_budget(budget, seed=seed)
    head = linear_head(backbone.cpu().eval()(labels.x), labels.y)  # `evaluate` has left parts on a GPU
    return evaluate(Classifier(backbone, head), _pair().target.test).accuracy


def paint(painter: str, x: Float[Tensor, "n 1 16 16"]) -> Float[Tensor, "n 1 16 16"]:
    """Return MNIST digits as a stored translator of the chapter on CycleGANs paints them.

    Parameters
    ----------
    painter
        Name of its run, such as ``"cyclegan/semantic_0"``.
    x
        Digits in [0, 1].

    Raises
    ------
    RunError
        If no such run is stored.
    ValueError
        If there is no digit, or the digits are of another size.
    """
    return translate(runs.load(painter).load_into(image_translator(16), "to_target"), x)


def _first(data: Labelled, n: int) -> Labelled:
    """Return the first n examples, or all where there are fewer."""
    return data.subset(torch.arange(min(n, len(data))))


@lru_cache(maxsize=2)
def painted_digits(painters: tuple[str, ...], num_digits: int) -> tuple[Labelled, Labelled]:
    """Return so many training digits of MNIST and 2000 held-out ones, painted; each keeps its label.

    The painters (names of runs, see `paint`) take digits in turn.
    """
    source, painted = _pair().source, []
    for data in (_first(source.train, num_digits), _first(source.validation, NUM_HELD_OUT)):
        x = data.x.clone()
        for turn, painter in enumerate(painters):
            x[turn :: len(painters)] = paint(painter, data.x[turn :: len(painters)])
        painted.append(Labelled(x, data.y, 10))
    return tuple(painted)


def _still(x: Tensor) -> Tensor:
    """Leave each image as it is."""
    return x


def _moved(x: Tensor) -> Tensor:
    """Zoom, stretch, slant and move each image by a little, anew at each step."""
    return random_affine(x, zoom=(0.9, 1.1), stretch=0.1, slant=0.15, shift=0.1)


def painted_trial(
    digits: str,
    moves: bool,
    painters: Sequence[str],
    seed: int,
    num_steps: int,
    *,
    weight: float = 0.0,
    target: str = "usps",
) -> dict[str, Any]:
    """Train a reader of painted or original digits and look at it ten times.

    Parameters
    ----------
    digits
        ``"painted"``, ``"original"`` or ``"both"``.
    moves
        Whether training digits are zoomed, stretched, slanted and moved at random.
    painters
        Names of the runs of one or more translators, see `paint`; digits take them in turn.
    seed
        Of the classifier and its training.
    num_steps
        Steps of 64 digits.
    weight
        Factor of a loss term, the negative information of a batch of 64 unlabelled target images (moved as
        the training digits are); at least 0.
    target
        The data set that the painters paint like.

    Returns
    -------
    ``looks``: the ``step``, the accuracy on ``held out`` digits of the kind (painted, or original where only
    these are trained on), the ``information`` on unlabelled target images, and the truth, ``test``: of a
    target that is to be reported, no choice may read it.

    Raises
    ------
    ValueError
        If `digits` is none of the three, there is no painter, or `weight` is negative.
    """
    if digits not in ("painted", "original", "both"):
        raise ValueError(f"digits is {digits!r}; expected 'painted', 'original' or 'both'")
    if not painters:
        raise ValueError("painters is empty; expected the name of at least one translator's run")
    guards.is_loss_weight("weight", weight)
    pair, move = _pair(target), _moved if moves else _still
    if digits == "original":
        train, held_out = pair.source.train, _first(pair.source.validation, NUM_HELD_OUT)
    else:
        train, held_out = painted_digits(tuple(painters), 64 * num_steps)
    if digits == "both":
        train = Labelled(torch.cat([train.x, pair.source.train.x[: len(train)]]), train.y.repeat(2), 10)
    looks, steps = [], itertools.count()

    def look(model: nn.Module, step: int) -> None:
        seen = {"held out": evaluate(model, held_out).accuracy}
        seen["information"] = information(model, pair.target.images[:NUM_HELD_OUT])
        looks.append({"step": step, **seen, "test": evaluate(model, pair.target.test).accuracy})

    def term(model: nn.Module, x: Tensor, x_target: Tensor) -> Tensor:
        if (step := next(steps)) and step % max(1, num_steps // NUM_LOOKS) == 0:
            look(model, step)
        if weight == 0:
            return torch.zeros((), device=x.device)
        p = model(move(x_target)).softmax(dim=1).clamp(min=1e-6)
        entropy = torch.special.entr
        return weight * (entropy(p).sum(dim=1).mean() - entropy(p.mean(dim=0)).sum())

    model = lenet(image_size=16, batch_norm=True, seed=seed)
    fit(
        model, train, num_steps=num_steps, learning_rate=2e-3, weight_decay=0.01, schedule="cosine",
        augment=move, loss_term=term, x_target=pair.target.images, seed=seed, mixed_precision=False,
    )  # fmt: skip
    look(model, num_steps)
    return {"looks": looks}


def by_rule(looks: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """Return the look with the most information among those within a point of the best on held-out digits.

    Raises
    ------
    ValueError
        If there is no look.

    Examples
    --------
    >>> looks = [{"held out": 0.90, "information": 2.2}, {"held out": 0.99, "information": 2.1}]
    >>> by_rule(looks)["information"]
    2.1
    """
    if not looks:
        raise ValueError("there are no looks to choose from")
    enough = max(look["held out"] for look in looks) - 0.01
    return max((look for look in looks if look["held out"] >= enough), key=lambda look: look["information"])
