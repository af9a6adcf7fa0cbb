"""Shapes, costs and receptive fields agree with hand computation, with torchvision and with gradients."""

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision.models import get_model, get_model_weights

from tlutils.layer_table import Layer, check_layers, input_channels, layer_table, show_layers, smallest_image
from tlutils.models import residual_network

COUNTED = ("alexnet", "vgg16", "resnet18", "resnet50", "mobilenet_v2", "squeezenet1_1", "shufflenet_v2_x1_0")


@pytest.fixture(scope="module")
def networks():
    with torch.device("meta"):
        return {name: get_model(name, weights=None) for name in COUNTED}


@pytest.mark.parametrize("name", COUNTED)
def test_multiply_adds_and_parameters_are_those_that_torchvision_states(networks, name):
    rows = layer_table(networks[name], (3, 224, 224))
    meta = get_model_weights(name)["IMAGENET1K_V1"].meta
    assert sum(row.num_multiply_adds for row in rows) / 1e9 == pytest.approx(meta["_ops"], abs=6e-4)
    assert sum(row.num_parameters for row in rows) == meta["num_params"]


@pytest.mark.parametrize(
    ("name", "layer", "shape", "field"),
    [
        ("alexnet", "features", (256, 6, 6), 195),
        ("vgg16", "features", (512, 7, 7), 212),
        ("resnet18", "layer4", (512, 7, 7), 435),
    ],
)
def test_published_receptive_fields(networks, name, layer, shape, field):
    [row] = layer_table(networks[name], (3, 224, 224), layers=[layer])
    assert (row.shape, row.receptive_field, row.stride) == (shape, field, 32)


def test_by_hand():
    # 1 → 3 (stride 1) → 3 + 1·1 = 4, stride 2 → 4 + 2·2 = 8 → all 4×4: 8 + 3·2 = 14
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(2, 4, 3, padding=1), nn.Flatten(),
        nn.Linear(64, 5),
    )  # fmt: skip
    rows = layer_table(model, (1, 8, 8))
    assert [row.receptive_field for row in rows] == [3, 4, 8, 14, 14]
    assert [row.stride for row in rows[:3]] == [1, 2, 2]
    assert [row.num_multiply_adds for row in rows] == [64 * 2 * 9, 0, 16 * 4 * 18, 0, 320]
    assert [row.num_parameters for row in rows] == [20, 0, 76, 0, 325]


def test_the_projections_of_attention_count():
    """Of torchvision's figure for ViT-B/16 only Q Kᵀ and its product with V, of 197 tokens, are missing."""
    with torch.device("meta"):
        model = get_model("vit_b_16", weights=None)
    rows = layer_table(model, (3, 224, 224), layers=["conv_proj", "encoder", "heads"])
    found = sum(row.num_multiply_adds for row in rows) + 12 * 2 * 197**2 * 768
    assert found / 1e9 == pytest.approx(get_model_weights("vit_b_16")["IMAGENET1K_V1"].meta["_ops"], abs=6e-4)


def test_a_transformer_says_which_images_it_takes():
    with torch.device("meta"):
        model = get_model("vit_b_16", weights=None)
    with pytest.raises(ValueError, match=r"does not take images of shape \(3, 64, 64\): Wrong image height"):
        layer_table(model, (3, 64, 64))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=4))
def test_the_receptive_field_is_where_the_gradient_is_not_zero(layers):
    model = nn.Sequential(*(nn.Conv2d(1, 1, k, stride=s, bias=False) for k, s in layers)).double()
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    field = layer_table(model, (1, 300, 300))[-1].receptive_field
    x = torch.zeros(1, 1, field + 3, field + 3, dtype=torch.float64, requires_grad=True)
    model(x)[0, 0, 0, 0].backward()
    touched = x.grad[0, 0].abs().sum(dim=0) > 0
    assert touched[0]
    assert int(touched.nonzero().max()) == field - 1


def test_of_two_branches_the_wider_counts():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.narrow, self.wide = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 5, padding=2)
            self.both = nn.Identity()

        def forward(self, x):
            return self.both(self.narrow(x) + self.wide(x))

    assert [row.receptive_field for row in layer_table(Fork(), (1, 9, 9))] == [1, 5, 5]


def test_a_module_called_twice_gives_one_row_with_both_costs():
    shared = nn.Conv2d(1, 1, 3, padding=1)
    [row] = layer_table(nn.Sequential(shared, shared), (1, 4, 4), layers=["0"])
    assert row.num_multiply_adds == 2 * 16 * 9
    assert row.receptive_field == 5


def test_nothing_of_the_network_changes():
    model = residual_network(seed=0).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.backbone.stem.eval()
    layer_table(model, (3, 32, 32))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training
    assert not model.backbone.stem.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_stages_hold_what_their_layers_hold():
    model = residual_network()
    parts = [name for name, _ in model.backbone.named_children()]
    rows = layer_table(model, (3, 32, 32), layers=[f"backbone.{part}" for part in parts] + ["head"])
    assert sum(row.num_parameters for row in rows) == sum(p.numel() for p in model.parameters())
    leaves = layer_table(model, (3, 32, 32))
    assert sum(row.num_multiply_adds for row in rows) == sum(row.num_multiply_adds for row in leaves)


def test_show_layers_has_a_line_per_row():
    rows = [Layer("a", "Conv2d", (2, 3, 3), 10, 20, 5, 1), Layer("b", "Linear", (7,), 1, 2, 9, 1)]
    lines = show_layers(rows).splitlines()
    assert len(lines) == 3
    assert "2×3×3" in lines[1]
    assert lines[2].split() == ["b", "Linear", "7", "1", "2", "9"]


@pytest.mark.parametrize(
    ("layers", "error", "says"),
    [
        (["backbone.stagee1"], ValueError, "backbone.stage1"),
        ([], ValueError, "empty"),
        ("head", TypeError, r"\['head'\]"),
    ],
)
def test_unknown_layers_are_answered_with_the_nearest(layers, error, says):
    with pytest.raises(error, match=says):
        check_layers(residual_network(), layers)
    with pytest.raises(error, match=says):
        layer_table(residual_network(), (3, 32, 32), layers=layers)


def test_images_that_do_not_fit_are_named(networks):
    for shape in ((1, 224, 224), (3, 32, 32)):
        with pytest.raises(ValueError, match=re.escape(f"does not take images of shape {shape}")):
            layer_table(networks["alexnet"], shape)


def test_input_channels_are_those_of_the_first_convolution():
    assert input_channels(residual_network()) == 3
    assert input_channels(nn.Linear(2, 2)) is None


@pytest.mark.parametrize(("name", "smallest"), [("alexnet", 63), ("vgg16", 32), ("resnet18", 1)])
def test_the_smallest_image_is_the_one_that_torchvision_states(networks, name, smallest):
    assert smallest_image(networks[name]) == smallest == min(get_model_weights(name).DEFAULT.meta["min_size"])


def test_no_image_may_fit():
    assert smallest_image(nn.Sequential(nn.Flatten(), nn.Linear(7, 2))) is None
    assert smallest_image(nn.Conv2d(3, 1, 1), channels=1) is None
