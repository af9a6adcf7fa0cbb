"""Backbones, heads, and the exchange of a head."""

import copy

import pytest
import torch
from torch import nn

from tlutils.models import (
    Classifier,
    MirrorAverage,
    ResidualBlock,
    Standardise,
    lenet,
    num_parameters,
    replace_head,
    residual_network,
)
from tlutils.runtime import new_generator


def test_lenet_parameters_add_up():
    # By hand: 5·5·1·16+16, 5·5·16·32+32, 32·7·7·128+128, 128·10+10.
    assert num_parameters(lenet()) == 416 + 12832 + 200832 + 1290


def test_batch_norm_replaces_biases_by_scale_and_shift():
    plain, normed = lenet(), lenet(batch_norm=True)
    # Two numbers per channel instead of one bias.
    assert num_parameters(normed) == num_parameters(plain) + 16 + 32


@pytest.mark.parametrize("image_size", [8, 16, 28, 32])
@pytest.mark.parametrize("channels", [1, 3])
def test_logits_are_the_head_of_the_features(image_size, channels):
    model = lenet(7, in_channels=channels, image_size=image_size).eval()
    x = torch.rand(3, channels, image_size, image_size)
    assert model(x).shape == (3, 7)
    assert torch.equal(model(x), model.head(model.features(x)))


def test_initial_weights_are_a_function_of_the_seed():
    first, same, other = (lenet(seed=seed).head.weight for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_building_a_network_does_not_move_the_global_generator():
    before = torch.get_rng_state()
    replace_head(lenet(), 3)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("kwargs", "message"), [
    ({"num_classes": 1}, "num_classes is 1"),
    ({"image_size": 30}, "image_size is 30"),
    ({"image_size": 0}, "image_size is 0"),
])  # fmt: skip
def test_lenet_refuses_impossible_shapes(kwargs, message):
    with pytest.raises(ValueError, match=message):
        lenet(**kwargs)


def test_new_head_keeps_the_backbone_and_can_learn():
    model = lenet()
    for parameter in model.parameters():
        parameter.requires_grad = False
    backbone = copy.deepcopy(model.backbone.state_dict())
    replace_head(model, 4, seed=1)
    assert model.head.out_features == 4
    assert all(parameter.requires_grad for parameter in model.head.parameters())
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())
    assert all(torch.equal(backbone[key], value) for key, value in model.backbone.state_dict().items())


def test_new_head_keeps_dtype():
    assert replace_head(lenet().double(), 3).head.weight.dtype == torch.float64


def test_replace_head_refuses_what_it_cannot_do():
    with pytest.raises(TypeError, match="Sequential"):
        replace_head(nn.Sequential(nn.Linear(2, 2)), 3)
    with pytest.raises(TypeError, match="head is nn.Linear"):
        replace_head(Classifier(nn.Flatten(), nn.Sequential(nn.Linear(2, 2))), 3)
    with pytest.raises(ValueError, match="num_classes is 1"):
        replace_head(lenet(), 1)


def test_trainable_parameters_are_counted_apart():
    model = nn.Linear(3, 2)
    model.bias.requires_grad = False
    assert (num_parameters(model), num_parameters(model, trainable_only=True)) == (8, 6)


def test_pooling_before_relu_is_pooling_after_it():
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    pool = nn.MaxPool2d(2)
    before, after = torch.relu(pool(x)), pool(torch.relu(x))
    assert torch.equal(before, after)
    gradients = [torch.autograd.grad((y * y.detach()).sum(), x)[0] for y in (before, after)]
    assert torch.equal(*gradients)


def test_residual_network_parameters_add_up():
    # By hand: 3·3·3·16 + 2·16; per stage 9·a·b + 9·b·b + a·b and three norms of 2·b; 128·10 + 10.
    stages = sum(9 * a * b + 9 * b * b + a * b + 6 * b for a, b in ((16, 32), (32, 64), (64, 128)))
    assert num_parameters(residual_network()) == 432 + 32 + stages + 1290


@pytest.mark.parametrize("size", [8, 28, 32, 65])
def test_each_stage_halves_the_resolution(size):
    model = residual_network(4).eval()
    x = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    assert model(x).shape == (2, 4)
    for stage in (model.backbone.stage1, model.backbone.stage2, model.backbone.stage3):
        shapes = []
        handle = stage.register_forward_hook(
            lambda _m, i, o, s=shapes: s.extend([i[0].shape[-1], o.shape[-1]])
        )
        model(x)
        handle.remove()
        assert shapes[1] == (shapes[0] + 1) // 2


def test_a_block_of_zeros_passes_its_input_on():
    block = ResidualBlock(3, 3).eval()
    nn.init.zeros_(block.norm2.weight)
    x = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(block(x), x)


def test_the_input_scale_travels_with_the_weights():
    model = residual_network(mean=(0.5,) * 3, std=(0.25,) * 3)
    other = residual_network()
    other.load_state_dict(model.state_dict())
    assert other.backbone.standardise.mean.flatten().tolist() == [0.5] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "at least 2 classes"),
        ({"widths": ()}, "at least one stage"),
        ({"mean": (0.5,)}, "as many positive std as means"),
        ({"std": (0.2, 0.2, 0.0)}, "as many positive std as means"),
    ],
)
def test_residual_network_refuses_what_makes_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        residual_network(**arguments)
    if "std" in arguments:
        with pytest.raises(ValueError, match=message):
            Standardise(arguments["std"], arguments["std"])


def test_mirror_average_answers_the_same_for_an_image_and_its_mirror_image():
    model, x = (
        residual_network(3, mean=(0.5,), std=(0.5,), seed=1).eval(),
        torch.rand(5, 1, 12, 10, generator=new_generator(0)),
    )
    with torch.no_grad():
        found, mirrored = MirrorAverage(model)(x), MirrorAverage(model)(x.flip(-1))
        assert torch.allclose(found, mirrored, atol=1e-6)
        assert torch.allclose(found, torch.stack([model(x), model(x.flip(-1))]).mean(dim=0), atol=1e-6)


def test_mirror_average_changes_nothing_for_symmetric_images():
    model = lenet(seed=2).eval()
    x = torch.rand(4, 1, 28, 14, generator=new_generator(0))
    x = torch.cat([x, x.flip(-1)], dim=-1)
    with torch.no_grad():
        assert torch.allclose(MirrorAverage(model)(x), model(x), atol=1e-6)
