"""DCGAN's rules, each of which can be broken by itself."""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import nn

from tlutils.generative.networks import Critic, Generator, dcgan_start, image_critic, image_generator
from tlutils.runtime import seeded

__all__ = ["RULES", "dcgan", "swapped"]

RULES = (
    "all the rules",
    "no norm in G",
    "no norm in D",
    "no norm at all",
    "pooling, copying",
    "dense layers",
    "leaky ReLU in G",
    "ReLU in D",
    "no tanh",
    "PyTorch's start",
)


def swapped(network: nn.Module, kind: type[nn.Module], make: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """Replace every layer of one kind, in place, by what `make` returns for it; return the network.

    Examples
    --------
    >>> swapped(nn.Sequential(nn.LeakyReLU(0.2)), nn.LeakyReLU, lambda layer: nn.ReLU())
    Sequential(
      (0): ReLU()
    )
    """
    for parent in [*network.modules()]:
        for name, child in [*parent.named_children()]:
            if isinstance(child, kind):
                setattr(parent, name, make(child))
    return network


def _pool_down(layer: nn.Conv2d) -> nn.Module:
    return nn.Sequential(nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1), nn.MaxPool2d(2))


def _copy_up(layer: nn.ConvTranspose2d) -> nn.Module:
    return nn.Sequential(
        nn.Upsample(scale_factor=2), nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=1)
    )


def _dense(shape: tuple[int, int, int], activation: nn.Module) -> nn.Module:
    """Return a hidden fully connected layer between features of a shape, normalised by channel.

    >>> len(_dense((2, 4, 4), nn.ReLU())[1].weight)
    32
    """
    size = math.prod(shape)
    linear, norm = nn.Linear(size, size, bias=False), nn.BatchNorm2d(shape[0])
    return dcgan_start(nn.Sequential(nn.Flatten(), linear, nn.Unflatten(1, shape), norm, activation))


def dcgan(broken: str = "all the rules", *, width: int = 16, seed: int = 0) -> tuple[Generator, Critic]:
    """Return DCGAN's two networks for grey images of 16 × 16 pixels, with one of its rules broken.

    Parameters
    ----------
    broken
        One of `RULES`: ``"no norm in G"``, ``"no norm in D"``, ``"no norm at all"`` leave out batch
        normalisation; ``"pooling, copying"`` has 3 × 3 convolutions with maximum pooling and with copied
        pixels in place of strided ones; ``"dense layers"`` has a hidden fully connected layer where each
        network is narrowest; ``"leaky ReLU in G"`` and ``"ReLU in D"`` give each the other's activation;
        ``"no tanh"`` gives unbounded pixels; ``"PyTorch's start"`` draws the weights as PyTorch does by
        default.
    width
        Channels next to the image.
    seed
        Seed of the initial weights.

    Raises
    ------
    ValueError
        If there is no such rule.

    Source
    ------
    Radford, Metz, Chintala, "Unsupervised representation learning with deep convolutional generative
    adversarial networks", ICLR 2016, sections 3 and 4.

    Examples
    --------
    >>> generator, critic = dcgan("no norm at all")
    >>> any(isinstance(layer, nn.BatchNorm2d) for layer in [*generator.modules(), *critic.modules()])
    False
    >>> sum(isinstance(layer, nn.Linear) for layer in dcgan("dense layers")[0].modules())
    2
    """
    if broken not in RULES:
        raise ValueError(f"broken is {broken!r}; expected one of {RULES}")
    norms = ["none" if broken in ("no norm at all", f"no norm in {name}") else "batch" for name in "GD"]
    generator = image_generator(16, width=width, norm=norms[0], seed=seed)
    critic = image_critic(16, width=width, norm=norms[1], seed=1000 + seed)
    with seeded(seed):
        if broken == "pooling, copying":
            dcgan_start(swapped(generator, nn.ConvTranspose2d, _copy_up))
            dcgan_start(swapped(critic, nn.Conv2d, _pool_down))
        elif broken == "dense layers":
            shape = (2 * width, 4, 4)  # where both networks are narrowest
            generator.layers.insert(4, _dense(shape, nn.ReLU()))
            critic.backbone.down2.append(_dense(shape, nn.LeakyReLU(0.2)))
        elif broken == "leaky ReLU in G":
            swapped(generator, nn.ReLU, lambda _: nn.LeakyReLU(0.2))
        elif broken == "ReLU in D":
            swapped(critic, nn.LeakyReLU, lambda _: nn.ReLU())
        elif broken == "no tanh":
            generator.layers[-1] = nn.Identity()
        elif broken == "PyTorch's start":
            for layer in [*generator.modules(), *critic.modules()]:
                if hasattr(layer, "reset_parameters"):
                    layer.reset_parameters()
    return generator, critic
