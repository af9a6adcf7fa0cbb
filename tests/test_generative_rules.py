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
    assert has(generator, nn.LeakyReLU) == (rule == "leaky ReLU in G")
    assert has(generator, nn.ReLU) == (rule != "leaky ReLU in G")
    num_linear = [sum(isinstance(m, nn.Linear) for m in network.modules()) for network in (generator, critic)]
    assert num_linear == ([2, 2] if rule == "dense layers" else [1, 1])


def kinds(network):
    return [type(m).__name__ for m in network.modules() if not [*m.children()]]


def test_dense_layers_are_added_at_the_narrow_ends_and_nothing_else_differs():
    added = ["Flatten", "Linear", "Unflatten", "BatchNorm2d"]
    wide, plain = dcgan("dense layers", seed=2), dcgan(seed=2)
    for network, reference, at, last in zip(wide, plain, (4, 6), ("ReLU", "LeakyReLU"), strict=True):
        layers = kinds(reference)
        assert kinds(network) == [*layers[:at], *added, last, *layers[at:]]
        weights = {tuple(w.shape): w for w in network.parameters() if w.dim() > 1}
        new = weights.pop((512, 512))
        assert new.std().item() == pytest.approx(0.02, rel=0.02)
        assert new.numel() > 4 * sum(w.numel() for w in reference.parameters())
        assert all(torch.equal(weights[tuple(w.shape)], w) for w in reference.parameters() if w.dim() > 1)


def test_with_a_leak_in_the_generator_nothing_else_differs():
    leaky, plain = dcgan("leaky ReLU in G", seed=2), dcgan(seed=2)
    assert kinds(leaky[0]) == ["LeakyReLU" if name == "ReLU" else name for name in kinds(plain[0])]
    assert {m.negative_slope for m in leaky[0].modules() if isinstance(m, nn.LeakyReLU)} == {0.2}
    assert str(leaky[1]) == str(plain[1])
    for network, reference in zip(leaky, plain, strict=True):
        assert all(
            torch.equal(a, b) for a, b in zip(network.parameters(), reference.parameters(), strict=True)
        )


def test_the_same_seed_starts_alike():
    for rule in ("pooling, copying", "dense layers", "PyTorch's start"):
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
