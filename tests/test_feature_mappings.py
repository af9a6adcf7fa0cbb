"""Features find their place in another network, and start by changing nothing."""

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from tlutils.feature_mappings import Connection, maps_of, nearest_map, prepare, zero_mapping
from tlutils.models import residual_network


def features(*shape, seed=0):
    return 7 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + 3


def test_maps_come_in_the_order_in_which_they_are_finished():
    maps, calls = maps_of(residual_network(), torch.zeros(1, 3, 32, 32))
    stages = [name for name in maps if name in ("backbone.stem", "backbone.stage1", "backbone.stage3")]
    assert stages == ["backbone.stem", "backbone.stage1", "backbone.stage3"]
    assert list(maps)[-1] == "backbone.stage3"
    assert maps["backbone.stage3"] == (128, 4, 4)
    assert set(calls.values()) == {1}


def test_layers_that_are_called_twice_are_counted():
    _, calls = maps_of(get_model("resnet18", weights=None), torch.zeros(1, 3, 64, 64))
    assert calls["layer1.0.relu"] == 2
    assert calls["layer1.0"] == 1


def test_a_network_without_maps_is_refused():
    with pytest.raises(ValueError, match="no map larger than 1×1"):
        maps_of(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize(("side", "expected"), [(32, "a"), (17, "b"), (16, "b"), (10, "c"), (1, "c")])
def test_the_nearest_map_is_nearest_by_ratio_and_last(side, expected):
    maps = {"first": (1, 32, 32), "a": (2, 32, 32), "b": (4, 16, 16), "c": (8, 8, 8), "twice": (8, 8, 8)}
    calls = {"first": 1, "a": 1, "b": 1, "c": 1, "twice": 2}
    assert nearest_map(torch.zeros(1, 5, side, side), maps, calls) == expected


def test_a_vector_goes_to_the_smallest_map():
    assert nearest_map(torch.zeros(1, 5), {"a": (1, 8, 8), "b": (1, 2, 2)}, {"a": 1, "b": 1}) == "b"


def test_prepared_vectors_are_standardised_per_image_and_joined():
    x, y = features(3, 5, 8, 8), features(3, 7, seed=1)
    vector = prepare([x, y], (64,))
    assert vector.shape == (3, 5 * 16 + 7)
    assert torch.allclose(vector[:, -7:].mean(dim=1), torch.zeros(3), atol=1e-5)
    assert torch.allclose(vector[:, -7:].var(dim=1, correction=0), torch.ones(3), atol=1e-3)
    first = (x[0, 0] - x[0].mean()) / x[0].std(correction=0)
    assert vector[0, 0].item() == pytest.approx(first[:2, :2].mean().item(), abs=1e-4)


@pytest.mark.parametrize("side", [2, 4, 8])
def test_prepared_maps_have_the_size_of_the_place(side):
    maps = prepare([features(3, 5, 4, 4), features(3, 7, seed=1)], (64, side, side))
    assert maps.shape == (3, 12, side, side)
    assert torch.allclose(maps[:, 5:, 0, 0], maps[:, 5:, -1, -1]), "a vector is the same everywhere"


def test_other_images_change_nothing_for_one_image():
    x = features(4, 5, 8, 8)
    assert torch.allclose(prepare([x], (64,))[:1], prepare([x[:1]], (64,)), atol=1e-6)


def test_a_mapping_starts_at_zero_and_has_the_size_of_both_ends():
    linear = zero_mapping(torch.zeros(1, 20), (64,))
    conv = zero_mapping(torch.zeros(1, 20, 4, 4), (64, 4, 4))
    assert sum(p.numel() for p in linear.parameters()) == sum(p.numel() for p in conv.parameters()) == 64 * 21
    assert conv(features(2, 20, 4, 4)).abs().max() == 0
    assert linear(features(2, 20)).shape == (2, 64)


def test_a_connection_reads_as_a_sentence():
    text = str(Connection(("a", "b"), "fc", "vector", 12))
    assert text == "a + b → input of fc (12 parameters)"
    assert "output of layer4" in str(Connection(("a",), "layer4", "map", 12))
