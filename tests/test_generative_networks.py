"""Generators and critics: shapes, ranges, the rules of DCGAN, and what they refuse."""

import numpy as np
import pytest
import torch
from torch import nn

from tlutils.generative import Critic, Generator, image_critic, image_generator, point_critic, point_generator
from tlutils.models import num_parameters
from tlutils.runtime import new_generator


def train_with_power_iterations(network, x, num_passes=300):
    """Let spectral normalisation's power iteration settle: it takes one step per pass in training mode."""
    network.train()
    with torch.no_grad():
        for _ in range(num_passes):
            network(x)


class TestImageGenerator:
    @pytest.mark.parametrize("size", [16, 20, 24, 28, 32, 48, 64])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_images_of_every_size_in_range(self, size, channels):
        images = image_generator(size, channels=channels, width=4)(
            torch.randn(3, 64, generator=new_generator(0))
        )
        assert images.shape == (3, channels, size, size)
        assert images.min() >= 0
        assert images.max() <= 1

    @pytest.mark.parametrize("size", [8, 15, 17, 30, 65, 128])
    def test_a_size_that_doubling_does_not_reach(self, size):
        with pytest.raises(ValueError, match=rf"image_size is {size}; expected a size reached by doubling"):
            image_generator(size)
        with pytest.raises(ValueError, match=rf"image_size is {size}"):
            image_critic(size)

    @pytest.mark.parametrize(("options", "message"), [
        ({"channels": 2}, "1 or 3 channels"), ({"width": 0}, "width of at least 1"),
        ({"norm": "layer"}, "expected one of"), ({"norm": "spectral"}, "expected one of"),
    ])  # fmt: skip
    def test_refuses(self, options, message):
        with pytest.raises(ValueError, match=message):
            image_generator(16, **options)

    def test_a_seed_gives_the_same_weights(self):
        one, two, other = (image_generator(16, width=4, seed=seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(one[key], two[key]) for key in one)
        assert not torch.equal(one["layers.0.weight"], other["layers.0.weight"])

    def test_weights_start_as_in_dcgan(self):
        weights = image_generator(16, width=32).layers[4].weight
        assert isinstance(image_generator(16).layers[4], nn.ConvTranspose2d)
        assert weights.std().item() == pytest.approx(0.02, rel=0.05)

    def test_parameters_counted_by_hand(self):
        # z (64) to 8 channels of 4x4, batch norm (2 per channel), to 4 channels (4x4 kernels), batch norm,
        # to one channel with bias.
        by_hand = 64 * 8 * 16 + 2 * 8 + 8 * 4 * 16 + 2 * 4 + 4 * 1 * 16 + 1
        assert num_parameters(image_generator(16, width=4)) == by_hand

    def test_noise_depends_on_the_seed_alone(self):
        generator = point_generator(num_latent=3)
        assert torch.equal(generator.noise(2, new_generator(5)), generator.noise(2, new_generator(5)))
        assert not torch.equal(generator.noise(2, new_generator(5)), generator.noise(2, new_generator(6)))


class TestImageCritic:
    @pytest.mark.parametrize("size", [16, 28, 32, 64])
    @pytest.mark.parametrize("norm", ["none", "batch", "spectral"])
    def test_one_unbounded_score_per_image(self, size, norm):
        images = torch.rand(4, 3, size, size, generator=new_generator(0))
        critic = image_critic(size, channels=3, width=4, norm=norm)
        assert critic(images).shape == (4,)
        assert critic.features(images).shape == (4, critic.head.in_features)

    def test_images_of_another_shape(self):
        with pytest.raises(ValueError, match=r"built for images of shape \(1, 16, 16\).* got \(3, 16, 16\)"):
            image_critic(16)(torch.zeros(2, 3, 16, 16))
        with pytest.raises(ValueError, match=r"got \(1, 28, 28\)"):
            image_critic(16)(torch.zeros(2, 1, 28, 28))

    def test_no_batch_norm_after_the_first_convolution(self):
        first, second = (
            getattr(image_critic(16, norm="batch").backbone, name) for name in ("down1", "down2")
        )
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in first)
        assert any(isinstance(layer, nn.BatchNorm2d) for layer in second)

    def test_spectral_norm_agrees_with_the_largest_singular_value(self):
        critic = image_critic(16, width=4, norm="spectral")
        train_with_power_iterations(critic, torch.rand(2, 1, 16, 16, generator=new_generator(0)))
        critic.eval()
        for layer in (critic.backbone.down1[0], critic.backbone.down2[0], critic.head):
            matrix = layer.weight.detach().flatten(1).numpy()
            assert np.linalg.svd(matrix, compute_uv=False)[0] == pytest.approx(1.0, abs=0.01)


class TestPoints:
    def test_points_and_scores(self):
        points = point_generator(3, 5, width=8, num_layers=3)(torch.zeros(7, 3))
        assert points.shape == (7, 5)
        assert point_critic(5, width=8)(points).shape == (7,)

    def test_spectral_norm_bounds_the_slope_by_one(self):
        critic = point_critic(2, width=16, num_layers=2, norm="spectral")
        x = torch.randn(200, 2, generator=new_generator(0)).requires_grad_()
        train_with_power_iterations(critic, x.detach())
        critic.eval()
        (slope,) = torch.autograd.grad(critic(x).sum(), x)
        assert slope.norm(dim=1).max() <= 1.01

    def test_unknown_norm(self):
        with pytest.raises(ValueError, match="norm is 'batch'; expected one of"):
            point_critic(2, norm="batch")


def test_any_module_can_be_a_generator_or_a_critic():
    assert Generator(nn.Linear(2, 3), 2)(torch.zeros(4, 2)).shape == (4, 3)
    assert Critic(nn.Identity(), nn.Linear(3, 1))(torch.zeros(4, 3)).shape == (4,)
