"""DCGAN's networks with one rule broken: the broken rule is broken, the others hold."""

import pytest
import torch
from torch import nn

from tlutils.generative.rules import RULES, dcgan


def has(network, kind):
    return any(isinstance(layer, kind) for layer in network.modules())


@pytest.mark.parametrize("rule", RULES)
def test_every_variant_makes_and_judges_images(rule):
    generator, critic = dcgan(rule, width=4, seed=1)
    images = generator(torch.randn(3, 64, generator=torch.Generator().manual_seed(0)))
    assert images.shape == (3, 1, 16, 16)
    assert critic(images).shape == (3,)
    assert has(generator, nn.BatchNorm2d) == (rule not in ("no norm in G", "no norm at all"))
    assert has(critic, nn.BatchNorm2d) == (rule not in ("no norm in D", "no norm at all"))
    assert has(critic, nn.MaxPool2d) == (rule == "pooling, copying")
    assert has(generator, nn.ConvTranspose2d) == (rule != "pooling, copying")
    assert has(critic, nn.LeakyReLU) == (rule != "ReLU in D")


def test_the_same_seed_starts_alike():
    for rule in ("pooling, copying", "PyTorch's start"):
        first, second = (dcgan(rule, width=4, seed=3)[0].state_dict() for _ in range(2))
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_starts_differ_where_they_should():
    def spread(rule):
        (layer,) = [m for m in dcgan(rule)[0].modules() if isinstance(m, nn.Linear)]
        return layer.weight.std().item()

    assert spread("all the rules") == pytest.approx(0.02, rel=0.02)
    assert spread("PyTorch's start") > 0.05


def test_images_without_tanh_have_no_bounds():
    noise = 50 * torch.randn(20, 64, generator=torch.Generator().manual_seed(0))
    for rule, bounded in (("all the rules", True), ("no tanh", False)):
        generator, _ = dcgan(rule, width=4)
        with torch.no_grad():
            generator.layers[-2].weight.mul_(100)
            images = generator(noise)
        assert (images.min() >= 0 and images.max() <= 1) == bounded


def test_an_unknown_rule():
    with pytest.raises(ValueError, match="expected one of"):
        dcgan("no rules")
