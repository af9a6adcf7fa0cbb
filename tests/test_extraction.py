"""Features through hooks are those of a forward pass by hand, whatever the chunks, the mode and the cache."""

import pytest
import torch
from torch import nn
from torchvision.models import get_model

from tlutils import extraction, model_based
from tlutils.extraction import (
    catching,
    checked_device,
    extract_features,
    in_evaluation,
    network_digest,
    run_network,
)
from tlutils.models import lenet, residual_network

X = torch.rand(7, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network():
    return residual_network(seed=3).eval()


def test_hooks_give_what_a_forward_pass_by_hand_gives(network):
    names = ["standardise", "stem", "stage1", "stage2", "stage3", "pool"]
    found = extract_features(network, X, [f"backbone.{name}" for name in names])
    with torch.no_grad():
        z = X
        for name in names:
            z = network.backbone.get_submodule(name)(z)
            assert torch.equal(found[f"backbone.{name}"], z)
        assert torch.equal(found["backbone.pool"], network.features(X))


def test_an_in_place_relu_does_not_reach_what_was_caught():
    model = get_model("alexnet", weights=None).eval()
    x = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before = model.features[0](x)
    assert before.min() < 0
    assert torch.equal(extract_features(model, x, ["features.0"])["features.0"], before)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_chunks_change_nothing(network, batch_size):
    whole = extract_features(network, X, ["backbone.stage2"])["backbone.stage2"]
    part = extract_features(network, X, ["backbone.stage2"], batch_size=batch_size)["backbone.stage2"]
    assert torch.allclose(part, whole, atol=1e-6)


def test_cells_are_averages_of_the_map(network):
    maps = extract_features(network, X, ["backbone.stage1"])["backbone.stage1"]  # 32 × 16 × 16
    cells = extract_features(network, X, ["backbone.stage1"], cells=4)["backbone.stage1"]
    assert cells.shape == (7, 32 * 16)
    assert cells[2, 5 * 16 + 4 + 1].item() == pytest.approx(maps[2, 5, 4:8, 4:8].mean().item(), abs=1e-6)
    pooled = extract_features(network, X, ["backbone.pool"], cells=4)["backbone.pool"]
    assert pooled.shape == (7, 128), "vectors pass"


def test_mode_numbers_and_gradients_stay():
    model = residual_network(seed=1).train()
    model.backbone.stage1.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = extract_features(model, X, ["backbone.stage2"])["backbone.stage2"]
    assert not found.requires_grad
    assert model.training
    assert not model.backbone.stage1.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_module_called_twice_gives_its_last_output():
    model = get_model("resnet18", weights=None).eval()
    x = torch.rand(1, 3, 64, 64)
    found = extract_features(model, x, ["layer1.0.relu", "layer1.0"])
    assert torch.equal(found["layer1.0.relu"], found["layer1.0"])


def test_the_cache_answers_until_something_changes(network, tmp_path, monkeypatch):
    calls = []
    original = extraction.run_network
    monkeypatch.setattr(extraction, "run_network", lambda m, x: calls.append(len(x)) or original(m, x))

    def extract(model=network, x=X, **options):
        return extract_features(model, x, ["backbone.pool"], cache=tmp_path, **options)["backbone.pool"]

    first = extract()
    assert torch.equal(extract(), first)
    assert calls == [7], "the second answer came from the file"
    extract(x=X.flip(0))
    extract(cells=2)
    other = residual_network(seed=3).eval()
    with torch.no_grad():
        other.backbone.stem[0].weight[0, 0, 0, 0] += 1e-3
    assert not torch.equal(extract(other), first)
    assert len(calls) == 4
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(extract(), first)
    assert len(calls) == 5, "a damaged file is computed anew"


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ({"layers": ["backbone.stage9"]}, ValueError, "backbone.stage"),
        ({"layers": "head"}, TypeError, "expected a list"),
        ({"layers": []}, ValueError, "empty"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"cells": 0}, ValueError, "cells=0"),
        ({"x": X[:, :1]}, ValueError, "takes images of 3 channels and received grey"),
        ({"x": X[:, :, :, :0]}, ValueError, "does not take images of shape"),
        ({"device": "gpu"}, ValueError, "expected such as 'cpu', 'cuda'"),
    ],
)
def test_mistakes_are_named(network, arguments, error, says):
    arguments = {"x": X, "layers": ["head"], **arguments}
    with pytest.raises(error, match=says):
        extract_features(network, **arguments)


def test_images_below_the_minimum_are_told_the_minimum():
    with pytest.raises(ValueError, match="smallest it takes are 63×63"):
        extract_features(get_model("alexnet", weights=None), torch.rand(1, 3, 32, 32), ["features"])


def test_a_layer_that_is_never_called_is_named():
    model = nn.Sequential(nn.Linear(2, 2))
    model.add_module("spare", nn.Linear(2, 2))
    model.forward = lambda x: model[0](x)
    with pytest.raises(ValueError, match="never calls"):
        extract_features(model, torch.zeros(1, 2), ["spare"])


def test_a_layer_without_one_tensor_is_named():
    class Two(nn.Module):
        def forward(self, x):
            return x, x

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.two = Two()

        def forward(self, x):
            return self.two(x)[0]

    with pytest.raises(TypeError, match="'two'"):
        extract_features(Net(), torch.zeros(1, 2), ["two"])


def test_a_gpu_that_is_not_there_is_said(network, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match="sees 0 GPUs"):
        extract_features(network, X, ["head"], device="cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match="mps"):
        checked_device("mps")
    assert checked_device("cpu") == torch.device("cpu")
    assert checked_device(None).type in ("cpu", "cuda", "mps", "xpu")


def test_out_of_memory_says_a_batch_size():
    class Full(nn.Module):
        def forward(self, _x):
            raise torch.OutOfMemoryError

    with pytest.raises(MemoryError, match="batch_size=4"):
        run_network(Full(), torch.zeros(8, 2))


def test_the_digest_sees_numbers_structure_and_arguments(network):
    assert network_digest(network) == network_digest(residual_network(seed=3))
    assert network_digest(network) != network_digest(residual_network(seed=4))
    assert network_digest(network, X) != network_digest(network, X + 0.1)
    assert network_digest(lenet()) != network_digest(lenet(dropout=0.5))


def test_catching_fills_on_every_pass_and_lets_go(network):
    with in_evaluation(network), catching(network, ["head"]) as caught:
        network(X[:2])
        assert caught["head"].shape == (2, 10)
        network(X[:3])
        assert caught["head"].shape == (3, 10)
    assert not network.head._forward_hooks


def test_model_based_offers_the_same_function():
    assert model_based.extract_features is extract_features
