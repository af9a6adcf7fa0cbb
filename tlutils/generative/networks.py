"""Generators, discriminators and critics for images of 16 to 64 pixels, all made of the same few blocks."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from tlutils import guards
from tlutils.models import Classifier
from tlutils.runtime import seeded

__all__ = [
    "Critic",
    "FromImage",
    "Generator",
    "ToImage",
    "dcgan_start",
    "down_block",
    "image_critic",
    "image_generator",
    "point_critic",
    "point_generator",
    "up_block",
]

NORMS = ("batch", "none")
CRITIC_NORMS = ("batch", "none", "spectral")


class Generator(nn.Module):
    """Turn noise into examples: x = layers(z) with z ~ N(0, I).

    Parameters
    ----------
    layers
        Maps noise (n, num_latent) to examples (n, ...).
    num_latent
        Length of the noise vector.

    Examples
    --------
    >>> Generator(nn.Linear(3, 2), num_latent=3).noise(4, torch.Generator()).shape
    torch.Size([4, 3])
    """

    def __init__(self, layers: nn.Module, num_latent: int) -> None:
        super().__init__()
        self.layers = layers
        self.num_latent = num_latent

    def noise(self, num_examples: int, random: torch.Generator) -> Float[Tensor, "n num_latent"]:
        """Draw z ~ N(0, I) on the CPU, so that a seed gives the same noise whatever the device."""
        return torch.randn(num_examples, self.num_latent, generator=random)

    def forward(self, z: Float[Tensor, "n num_latent"]) -> Float[Tensor, "n ..."]:
        guards.has_noise_length(z, self.num_latent)
        return self.layers(z)


class Critic(Classifier):
    """Give one score per example; high for real ones.

    A discriminator's score is the log-odds of "real", a critic's is any real number: neither ends in a
    sigmoid. The part before the last layer is the `backbone`, whose features can be used for other tasks.

    Parameters
    ----------
    backbone
        Maps examples to features (n, num_features).
    head
        Maps features to (n, 1).

    Examples
    --------
    >>> Critic(nn.Flatten(), nn.Linear(4, 1))(torch.zeros(3, 1, 2, 2)).shape
    torch.Size([3])
    """

    def forward(self, x: Tensor) -> Float[Tensor, " n"]:
        guards.network_takes("the critic", self.backbone, "the examples", x)
        return super().forward(x).squeeze(1)


class ToImage(nn.Module):
    """End of a generator: tanh, moved from [-1, 1] to the range [0, 1] that images have in this book."""

    def forward(self, x: Tensor) -> Tensor:
        return (torch.tanh(x) + 1) / 2


class FromImage(nn.Module):
    """Start of a critic: move pixels from [0, 1] to [-1, 1].

    Raises
    ------
    ValueError
        When called with images of another shape.
    """

    def __init__(self, channels: int, image_size: int) -> None:
        super().__init__()
        self.shape = (channels, image_size, image_size)

    def forward(self, x: Tensor) -> Tensor:
        guards.is_image_of(x, self.shape)
        if tuple(x.shape[1:]) != self.shape:
            raise ValueError(
                f"the critic was built for images of shape {self.shape}, channels first, and got "
                f"{tuple(x.shape[1:])}. Load the domain with that size= and channels=, or build it for these."
            )
        return 2 * x - 1


def up_block(in_channels: int, out_channels: int, norm: str = "batch") -> list[nn.Module]:
    """Return DCGAN's step up: a transposed convolution that doubles the size, normalisation, ReLU."""
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=norm == "none")
    ]
    if norm == "batch":
        layers.append(nn.BatchNorm2d(out_channels))
    return [*layers, nn.ReLU()]


def down_block(in_channels: int, out_channels: int, norm: str = "none") -> list[nn.Module]:
    """Return DCGAN's step down: a convolution that halves the size, normalisation, leaky ReLU (0.2)."""
    convolution: nn.Module = nn.Conv2d(
        in_channels, out_channels, 4, stride=2, padding=1, bias=norm != "batch"
    )
    if norm == "spectral":
        convolution = spectral_norm(convolution)
    layers = [convolution]
    if norm == "batch":
        layers.append(nn.BatchNorm2d(out_channels))
    return [*layers, nn.LeakyReLU(0.2)]


def _num_doublings(image_size: int) -> int:
    """Return how often a start of 4 to 7 pixels must be doubled to give `image_size`.

    >>> [_num_doublings(size) for size in (16, 28, 32, 64)]
    [2, 2, 3, 4]
    """
    count = int(math.log2(image_size / 4)) if image_size >= 16 else 0
    if not 16 <= image_size <= 64 or image_size % 2**count:
        sizes = [start * 2**k for k in (2, 3, 4) for start in (4, 5, 6, 7) if start * 2**k <= 64]
        raise ValueError(f"image_size is {image_size}; expected a size reached by doubling: {sorted(sizes)}")
    return count


def _check(channels: int, width: int, norm: str, norms: Sequence[str]) -> None:
    """Raise ValueError unless the arguments make a network."""
    if channels not in (1, 3) or width < 1:
        raise ValueError(f"got {channels=}, {width=}; expected 1 or 3 channels and a width of at least 1")
    if norm not in norms:
        raise ValueError(f"norm is {norm!r}; expected one of {tuple(norms)}")


def dcgan_start(network: nn.Module) -> nn.Module:
    """Draw the weights as DCGAN does, in place: N(0, 0.02²), scales of batch normalisation N(1, 0.02²).

    Source
    ------
    Radford, Metz, Chintala, "Unsupervised representation learning with deep convolutional generative
    adversarial networks", ICLR 2016.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
    return network


def image_generator(
    image_size: int = 16,
    *,
    channels: int = 1,
    num_latent: int = 64,
    width: int = 32,
    norm: str = "batch",
    seed: int = 0,
) -> Generator:
    """Return DCGAN's generator: a linear layer to 4 to 7 pixels, then doublings up to the image.

    Parameters
    ----------
    image_size
        Height and width, from 16 to 64, reached by doubling (16, 28, 32, 64, ...).
    channels
        1 or 3.
    num_latent
        Length of the noise vector.
    width
        Channels before the last doubling; each doubling before it has twice as many.
    norm
        ``"batch"`` or ``"none"``.
    seed
        Seed of the initial weights.

    Returns
    -------
    Maps noise (n, num_latent) to images (n, channels, image_size, image_size) in [0, 1].

    Raises
    ------
    ValueError
        If the size cannot be reached by doubling, or an argument is out of its range.

    Source
    ------
    Radford, Metz, Chintala, ICLR 2016, with fewer channels.

    Examples
    --------
    >>> image_generator(16)(torch.zeros(2, 64)).shape
    torch.Size([2, 1, 16, 16])
    """
    guards.is_square_size(image_size)
    _check(channels, width, norm, NORMS)
    doublings = _num_doublings(image_size)
    start = image_size // 2**doublings
    widths = [width * 2**k for k in reversed(range(doublings))]
    with seeded(seed):
        layers: list[nn.Module] = [
            nn.Linear(num_latent, widths[0] * start**2, bias=norm == "none"),
            nn.Unflatten(1, (widths[0], start, start)),
        ]
        layers += [nn.BatchNorm2d(widths[0])] if norm == "batch" else []
        layers += [nn.ReLU()]
        for narrow in pairwise(widths):
            layers += up_block(*narrow, norm=norm)
        layers += [nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1), ToImage()]
        return dcgan_start(Generator(nn.Sequential(*layers), num_latent))


def image_critic(
    image_size: int = 16, *, channels: int = 1, width: int = 32, norm: str = "none", seed: int = 0
) -> Critic:
    """Return DCGAN's discriminator: halvings down to 4 to 7 pixels, then one linear score.

    Parameters
    ----------
    image_size
        Height and width, as for `image_generator`.
    channels
        1 or 3.
    width
        Channels after the first halving; each one after it has twice as many.
    norm
        ``"batch"`` (not after the first convolution), ``"none"`` or ``"spectral"`` (on every layer).
    seed
        Seed of the initial weights.

    Returns
    -------
    Maps images (n, channels, image_size, image_size) in [0, 1] to scores (n,), not probabilities.

    Raises
    ------
    ValueError
        If the size cannot be reached by doubling, or an argument is out of its range; and when images of
        another shape are passed to the critic.

    Source
    ------
    Radford, Metz, Chintala, ICLR 2016; spectral normalisation: Miyato, Kataoka, Koyama,
    Yoshida, ICLR 2018.

    Examples
    --------
    >>> critic = image_critic(16)
    >>> critic(torch.zeros(2, 1, 16, 16)).shape, critic.features(torch.zeros(2, 1, 16, 16)).shape
    (torch.Size([2]), torch.Size([2, 1024]))
    """
    guards.is_square_size(image_size)
    _check(channels, width, norm, CRITIC_NORMS)
    doublings = _num_doublings(image_size)
    widths = [channels, *(width * 2**k for k in range(doublings))]
    with seeded(seed):
        blocks = OrderedDict[str, nn.Module](standardise=FromImage(channels, image_size))
        for number, pair in enumerate(pairwise(widths), start=1):
            block_norm = "none" if norm == "batch" and number == 1 else norm
            blocks[f"down{number}"] = nn.Sequential(*down_block(*pair, norm=block_norm))
        blocks["flatten"] = nn.Flatten()
        head = nn.Linear(widths[-1] * (image_size // 2**doublings) ** 2, 1)
        critic = Critic(nn.Sequential(blocks), spectral_norm(head) if norm == "spectral" else head)
        return critic if norm == "spectral" else dcgan_start(critic)


def _hidden_layers(num_inputs: int, width: int, num_layers: int, norm: str = "none") -> list[nn.Module]:
    """Return `num_layers` linear layers of `width` with ReLU."""
    layers: list[nn.Module] = []
    for inputs in [num_inputs, *[width] * (num_layers - 1)]:
        linear = nn.Linear(inputs, width)
        layers += [spectral_norm(linear) if norm == "spectral" else linear, nn.ReLU()]
    return layers


def point_generator(
    num_latent: int = 2, num_outputs: int = 2, *, width: int = 64, num_layers: int = 2, seed: int = 0
) -> Generator:
    """Return a generator of points: `num_layers` hidden layers with ReLU, then `num_outputs` coordinates.

    Examples
    --------
    >>> point_generator(2, 2)(torch.zeros(5, 2)).shape
    torch.Size([5, 2])
    """
    with seeded(seed):
        layers = [*_hidden_layers(num_latent, width, num_layers), nn.Linear(width, num_outputs)]
        return Generator(nn.Sequential(*layers), num_latent)


def point_critic(
    num_inputs: int = 2, *, width: int = 64, num_layers: int = 2, norm: str = "none", seed: int = 0
) -> Critic:
    """Return a critic of points: `num_layers` hidden layers with ReLU, then one score.

    Raises
    ------
    ValueError
        If `norm` is neither ``"none"`` nor ``"spectral"``.

    Examples
    --------
    >>> point_critic(2)(torch.zeros(5, 2)).shape
    torch.Size([5])
    """
    _check(1, width, norm, ("none", "spectral"))
    with seeded(seed):
        backbone = nn.Sequential(*_hidden_layers(num_inputs, width, num_layers, norm))
        head = nn.Linear(width, 1)
        return Critic(backbone, spectral_norm(head) if norm == "spectral" else head)
