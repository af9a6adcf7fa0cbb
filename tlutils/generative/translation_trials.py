"""Trials of translators: domains whose true pairs are known, and the halves of two autoencoders."""

from __future__ import annotations

import base64
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from tlutils import datasets, runs
from tlutils.domains import Domain, Labelled, as_images
from tlutils.generative.adversarial import fit_game
from tlutils.generative.networks import image_critic
from tlutils.generative.quality import frechet_distance, recognised
from tlutils.generative.translation import CycleGame, ImageBuffer, image_translator, translate
from tlutils.models import lenet
from tlutils.runtime import new_generator
from tlutils.training import fit

__all__ = ["grey_and_photo", "halves_trial", "photo_reader", "photo_trial", "repeating_network"]

NUM_TRAIN = 25000
NUM_PAIRS = 2000
NOISE = 0.03  # added to a translation before the way back
NUM_ENCODER_LAYERS = 7  # of `image_translator` with one residual block


class _ReadsGrey(nn.Module):
    """A reader of colour images that is shown grey ones."""

    def __init__(self, reader: nn.Module) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, x: Tensor) -> Tensor:
        return self.reader(x.expand(-1, 3, -1, -1))


@cache
def grey_and_photo() -> tuple[Tensor, Labelled, Tensor, Labelled]:
    """Return grey digits, other digits over photographs, and held-out pairs of both, at 16 pixels.

    Returns
    -------
    Grey images (25000, 1, 16, 16) and labelled photographs (25000, 3, 16, 16), of which no two show the same
    digit of MNIST; then 2000 of each in which the i-th of one is the i-th of the other.
    """
    used = 2 * NUM_TRAIN + NUM_PAIRS
    digits = datasets.load("mnist", "train")
    grey = as_images(digits.images[:used], size=16, channels=1)
    blended = as_images(datasets.load("photo_digits", "train").images[:used], size=16, channels=3)
    photo = Labelled(blended, torch.from_numpy(digits.labels[:used]), 10)
    train, held_out = torch.arange(NUM_TRAIN, used - NUM_PAIRS), torch.arange(used - NUM_PAIRS, used)
    return grey[:NUM_TRAIN], photo.subset(train), grey[held_out], photo.subset(held_out)


@cache
def photo_reader(num_steps: int) -> nn.Module:
    """Train a reader of digits over photographs; it takes grey images."""
    reader = lenet(in_channels=3, image_size=16, seed=0)
    fit(reader, grey_and_photo()[1], num_steps=num_steps, learning_rate=2e-3, schedule="cosine", seed=0)
    return _ReadsGrey(reader.eval())


def _as_text(images: Tensor) -> str:
    """Return images in [0, 1] as base64 text, a byte a pixel."""
    return base64.b64encode(images.mul(255).round().byte().numpy().tobytes()).decode()


def photo_trial(semantic: float, seed: int, num_rounds: int) -> dict[str, Any]:
    """Train CycleGAN between digits over photographs and grey digits; measure it on held-out pairs.

    Parameters
    ----------
    semantic
        Weight of the semantic loss; its reader knows the labels of the photographs, the source.
    seed
        Seed of the weights and of the shuffles.
    num_rounds
        Rounds of training.

    Returns
    -------
    Mean absolute errors a pixel: ``to photo`` and ``to grey`` against the true pairs, beside them those of
    leaving the image as it is and of the mean training image of the other domain; ``wrong pair`` of the grey
    translation against another digit, ``grey trip`` and ``photo trip`` there and back, and ``disturbed``, the
    photo's trip with noise of standard deviation 0.03 on the grey image between. ``kept``, the share of grey
    translations in which a reader of MNIST sees the class. And for seed 0 ``images``, the first ten ``grey``
    and ``photo`` and of ``there``, ``here``, ``back`` and ``disturbed``, as base64 text.
    """
    x_grey, x_photo, grey, held_out = grey_and_photo()
    photo = held_out.x
    to_grey = image_translator(16, channels=(3, 1), seed=seed + 100)
    to_photo = image_translator(16, channels=(1, 3), seed=seed + 200)
    critics = [image_critic(16, channels=c, norm="batch", seed=seed + s) for c, s in ((1, 300), (3, 400))]
    buffers = (ImageBuffer(1600, (1, 16, 16)), ImageBuffer(1600, (3, 16, 16)))
    reader = photo_reader(min(800, num_rounds)) if semantic else None
    game = CycleGame(
        to_grey, to_photo, *critics, identity=0.0, semantic=semantic, reader=reader, buffers=buffers
    )
    fit_game(
        game, x_photo.x, y=x_photo.y, x_target=x_grey, num_rounds=num_rounds, batch_size=32,
        learning_rate=4e-4, average=0.99, seed=seed,
    )  # fmt: skip
    runs.round_to_half(game.generator)
    there, here = translate(to_photo, grey), translate(to_grey, photo)
    noise = NOISE * torch.randn(here.shape, generator=new_generator(0))
    back, disturbed = translate(to_photo, here), translate(to_photo, (here + noise).clamp(0, 1))
    shown = {"grey": grey, "photo": photo, "there": there, "here": here, "back": back, "disturbed": disturbed}
    plain = runs.load("adversarial_game/reader").load_into(lenet(image_size=16))
    return {
        "to photo": l1_loss(there, photo).item(),
        "to photo, as it is": l1_loss(grey.expand_as(photo), photo).item(),
        "to photo, mean image": l1_loss(x_photo.x.mean(dim=0).expand_as(photo), photo).item(),
        "to grey": l1_loss(here, grey).item(),
        "to grey, as it is": l1_loss(photo.mean(dim=1, keepdim=True), grey).item(),
        "to grey, mean image": l1_loss(x_grey.mean(dim=0).expand_as(grey), grey).item(),
        "wrong pair": l1_loss(here, grey.roll(1, 0)).item(),
        "grey trip": l1_loss(translate(to_grey, there), grey).item(),
        "photo trip": l1_loss(back, photo).item(),
        "disturbed": l1_loss(disturbed, photo).item(),
        "kept": recognised(plain, here, held_out.y),
        "images": {name: _as_text(images[:10]) for name, images in shown.items()} if seed == 0 else {},
    }


def repeating_network(x: Float[Tensor, "n c h w"], seed: int, num_steps: int) -> nn.Sequential:
    """Train an autoencoder, with the layers of a translator, to repeat its images by squared error."""
    network, random = image_translator(16, seed=seed), new_generator(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(num_steps):
        batch = x[torch.randint(len(x), (64,), generator=random)]
        optimizer.zero_grad()
        mse_loss(network(batch), batch).backward()
        optimizer.step()
    return network


def halves_trial(seed: int, num_rounds: int) -> dict[str, float]:
    """Put the encoder of MNIST's autoencoder before the decoder of USPS's.

    Returns
    -------
    ``own``, the error a pixel of MNIST's autoencoder on MNIST; ``second`` and ``measure``, the shares of
    translated digits in which the two judges of the chapter "CycleGAN" see the old class; ``frechet``, the
    distance to USPS.
    """
    mnist, usps = (Domain.from_dataset(name, size=16) for name in ("mnist", "usps"))
    ours = repeating_network(mnist.train.x, seed, num_rounds)
    theirs = repeating_network(usps.train.x, 50 + seed, num_rounds)
    crossed = nn.Sequential(*ours[:NUM_ENCODER_LAYERS], *theirs[NUM_ENCODER_LAYERS:])
    source = mnist.validation.subset(torch.arange(2000))
    there, judges = translate(crossed, source.x), runs.load("cyclegan/readers")
    found = {"own": l1_loss(translate(ours, source.x), source.x).item()}
    for name in ("second", "measure"):
        reader = judges.load_into(lenet(image_size=16, dropout=0.3), name).eval()
        found[name] = recognised(reader, there, source.y)
    plain = runs.load("adversarial_game/reader").load_into(lenet(image_size=16))
    return found | {"frechet": frechet_distance(plain, usps.test.x[:2000], there)}
