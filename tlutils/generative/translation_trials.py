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
from tlutils.domains import Domain, as_images
from tlutils.generative.adversarial import fit_game
from tlutils.generative.networks import image_critic
from tlutils.generative.quality import frechet_distance, recognised
from tlutils.generative.translation import CycleGame, ImageBuffer, image_translator, translate
from tlutils.models import lenet
from tlutils.runtime import new_generator

__all__ = ["grey_and_photo", "halves_trial", "photo_trial", "repeating_network"]

NUM_TRAIN = 25000
NUM_PAIRS = 2000
NOISE = 0.03  # added to a translation before the way back
NUM_ENCODER_LAYERS = 7  # of `image_translator` with one residual block


@cache
def grey_and_photo() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return grey digits, other digits over photographs, and held-out pairs of both, at 16 pixels.

    Returns
    -------
    Grey (25000, 1, 16, 16) and photo (25000, 3, 16, 16), of which no two show the same digit of MNIST; then
    2000 of each in which the i-th of one is the i-th of the other.
    """
    used = 2 * NUM_TRAIN + NUM_PAIRS
    grey = as_images(datasets.load("mnist", "train").images[:used], size=16, channels=1)
    photo = as_images(datasets.load("photo_digits", "train").images[:used], size=16, channels=3)
    return grey[:NUM_TRAIN], photo[NUM_TRAIN:-NUM_PAIRS], grey[-NUM_PAIRS:], photo[-NUM_PAIRS:]


def _as_text(images: Tensor) -> str:
    """Return images in [0, 1] as base64 text, a byte a pixel."""
    return base64.b64encode(images.mul(255).round().byte().numpy().tobytes()).decode()


def photo_trial(seed: int, num_rounds: int) -> dict[str, Any]:
    """Train CycleGAN between grey digits and digits over photographs; measure it on held-out pairs.

    Returns
    -------
    Mean absolute errors a pixel: ``to photo`` and ``to grey`` against the true pairs, beside them those of
    leaving the image as it is and of the mean training image of the other domain; ``wrong pair`` of the grey
    translation against another digit, ``grey trip`` and ``photo trip`` there and back, and ``disturbed``, the
    photo's trip with noise of standard deviation 0.03 on the grey image between. And for seed 0 ``images``,
    the first ten ``grey`` and ``photo`` and of ``there``, ``here``, ``back`` and ``disturbed``, as base64
    text.
    """
    x, x_target, grey, photo = grey_and_photo()
    to_photo = image_translator(16, channels=(1, 3), seed=seed + 100)
    to_grey = image_translator(16, channels=(3, 1), seed=seed + 200)
    critics = [image_critic(16, channels=c, norm="batch", seed=seed + s) for c, s in ((3, 300), (1, 400))]
    buffers = (ImageBuffer(1600, (3, 16, 16)), ImageBuffer(1600, (1, 16, 16)))
    game = CycleGame(to_photo, to_grey, *critics, identity=0.0, buffers=buffers)
    fit_game(
        game, x, x_target=x_target, num_rounds=num_rounds, batch_size=32, learning_rate=4e-4, average=0.99,
        seed=seed,
    )  # fmt: skip
    runs.round_to_half(game.generator)
    there, here = translate(to_photo, grey), translate(to_grey, photo)
    noise = NOISE * torch.randn(here.shape, generator=new_generator(0))
    back, disturbed = translate(to_photo, here), translate(to_photo, (here + noise).clamp(0, 1))
    shown = {"grey": grey, "photo": photo, "there": there, "here": here, "back": back, "disturbed": disturbed}
    return {
        "to photo": l1_loss(there, photo).item(),
        "to photo, as it is": l1_loss(grey.expand_as(photo), photo).item(),
        "to photo, mean image": l1_loss(x_target.mean(dim=0).expand_as(photo), photo).item(),
        "to grey": l1_loss(here, grey).item(),
        "to grey, as it is": l1_loss(photo.mean(dim=1, keepdim=True), grey).item(),
        "to grey, mean image": l1_loss(x.mean(dim=0).expand_as(grey), grey).item(),
        "wrong pair": l1_loss(here, grey.roll(1, 0)).item(),
        "grey trip": l1_loss(translate(to_grey, there), grey).item(),
        "photo trip": l1_loss(back, photo).item(),
        "disturbed": l1_loss(disturbed, photo).item(),
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
