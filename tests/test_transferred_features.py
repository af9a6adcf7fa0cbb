"""Features of one network enter another through hooks: nothing changes at the start, everything is kept."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import get_model

from tlutils import extraction, model_based, pretrained, transferred_features
from tlutils.domains import Labelled
from tlutils.downloads import DatasetError
from tlutils.models import num_parameters, residual_network
from tlutils.training import evaluate
from tlutils.transferred_features import MAPPINGS, TransferredFeatures

STAGES = ["backbone.stage1", "backbone.stage2"]
X = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))
DATA = Labelled(X, torch.arange(40) % 10, 10)


def small(seed=1):
    return residual_network(stem_width=8, widths=(16, 32, 64), seed=seed)


def pair(mapping="linear", layers=STAGES, **options):
    options = {"image_shape": (3, 32, 32), "device": "cpu", **options}
    return TransferredFeatures(residual_network(seed=0), small(), layers, mapping, **options)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_at_the_start_it_is_the_target_alone(mapping):
    with torch.no_grad():
        assert torch.equal(pair(mapping).eval()(X), small().eval()(X))


@pytest.mark.parametrize(
    ("mapping", "places", "num"),
    [
        ("linear", [(("backbone.stage1", "backbone.stage2"), "head")], (32 * 16 + 64 * 16 + 1) * 64),
        ("conv", [(("backbone.stage1", "backbone.stage2"), "backbone.stage3")], (32 + 64 + 1) * 64),
        ("layerwise", [(("backbone.stage1",), "backbone.stage1"), (("backbone.stage2",), "backbone.stage2")],
         33 * 16 + 65 * 32),
    ],
)  # fmt: skip
def test_what_enters_where(mapping, places, num):
    model = pair(mapping)
    assert [(c.sources, c.target) for c in model.connections] == places
    assert sum(c.num_parameters for c in model.connections) == num
    assert num_parameters(model.joined) == num_parameters(small()) + num


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_the_source_is_felt_after_training_and_never_changed(mapping):
    model = pair(mapping)
    before = copy.deepcopy(model.source.state_dict())
    model.fit({"train": DATA, "val": DATA}, 3, progress=False, learning_rate=3e-3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.source.state_dict().items())
    assert any(mapping_.weight.abs().max() > 0 for mapping_ in model.joined.mappings)
    with torch.no_grad():
        with_source = model.eval()(X)
        with extraction.catching(model.source, ["backbone.stage1"]):
            model.source.backbone.stem[0].weight.zero_()
        assert not torch.allclose(model(X), with_source)


def test_linear_by_hand():
    model = pair("linear", ["backbone.pool"]).eval()
    with torch.no_grad():
        model.joined.mappings[0].weight.normal_(generator=torch.Generator().manual_seed(1))
        z = model.source.features(X)
        z = (z - z.mean(1, keepdim=True)) / (z.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
        expected = model.target.head(model.target.features(X) + z @ model.joined.mappings[0].weight.T)
        assert torch.allclose(model(X), expected, atol=1e-4)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_stored_features_give_what_running_the_source_gives(mapping):
    model = pair(mapping)
    rows = model._rows(DATA, batch_size=16)
    with torch.no_grad():
        for part in model.joined.mappings:
            nn.init.normal_(part.weight, std=0.1)
        model.eval()
        assert torch.allclose(model.joined(rows.x), model(X), atol=1e-4)


def test_the_source_runs_once_per_image_however_many_epochs():
    model, seen = pair(), []
    model.source.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    model.fit({"train": DATA, "val": DATA}, 5, progress=False)
    assert sum(seen) == 80
    seen.clear()
    model.fit({"train": DATA}, 2, progress=False, save_best_only=False, augment=lambda x: x.flip(3))
    assert sum(seen) == 80, "with changed images the source runs in every epoch"


def test_the_best_weights_are_kept_saved_and_reloaded(tmp_path):
    model, held_out = pair("conv"), DATA.subset(torch.arange(20))
    history = model.fit(
        {"train": DATA, "val": held_out}, 12, save_to=tmp_path / "best.safetensors", progress=False,
        learning_rate=5e-3,
    )  # fmt: skip
    assert len(history.validation_accuracy) == 12
    assert evaluate(model, held_out).accuracy == max(history.validation_accuracy)
    again = pair("conv").load(tmp_path / "best.safetensors")
    with torch.no_grad():
        assert torch.allclose(again.eval()(X), model.eval()(X), atol=1e-5)
    state = model.joined.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.joined.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"]


def test_without_choice_the_last_weights_stay():
    history = pair().fit({"train": DATA}, 2, save_best_only=False, progress=False)
    assert history.best_step is None
    assert history.num_steps == 2


@pytest.mark.parametrize("augment", [None, lambda x: x])
def test_without_choice_validation_is_recorded_all_the_same(augment):
    options = {"save_best_only": False, "progress": False, "augment": augment, "learning_rate": 0.05}
    alone, watched = pair(), pair()
    alone.fit({"train": DATA}, 4, **options)
    held_out = DATA.subset(torch.arange(20))

    history = watched.fit({"train": DATA, "val": held_out}, 4, **options)

    assert len(history.validation_accuracy) == 4
    assert evaluate(watched, held_out).accuracy == history.validation_accuracy[-1]
    state = alone.joined.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in watched.joined.state_dict().items())


def test_loaders_serve_as_data():
    loader = DataLoader(TensorDataset(X, DATA.y), batch_size=16)
    a, b = (pair().fit({"train": data, "val": data}, 2, progress=False).train_loss for data in (loader, DATA))
    assert a == b


def test_progress_is_shown(capsys):
    pair().fit({"train": DATA, "val": DATA}, 1)
    assert "100%" in capsys.readouterr().err


def test_layers_of_the_target_can_be_named():
    model = pair("layerwise", {"backbone.stage1": "backbone.stage3"})
    assert model.connections[0].target == "backbone.stage3"
    assert model.connections[0].num_parameters == 33 * 64


def test_no_hook_and_no_mode_is_left_behind():
    model = pair("layerwise").train()
    model(X[:4])
    assert not model.source.training
    assert model.target.training
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_gradients_reach_target_and_mapping_and_not_the_source():
    model = pair("layerwise")
    for part in model.joined.mappings:
        nn.init.normal_(part.weight)
    model(X[:4]).sum().backward()
    assert all(p.grad is not None for p in model.joined.parameters())
    assert all(p.grad is None for p in model.source.parameters())


class TestFromAlexNetIntoResNet:
    """The pair that the sources print."""

    @pytest.fixture(autouse=True)
    def weights(self, monkeypatch):
        """Stand in for the download: the real network with random numbers."""
        asked = []
        monkeypatch.setattr(
            pretrained, "load", lambda name: asked.append(name) or get_model(name, weights=None).eval()
        )
        return asked

    def test_by_name(self, weights):
        model = TransferredFeatures(
            "alexnet", "resnet18", layers=["features"], mapping="linear", device="cpu"
        )
        assert weights == ["alexnet"], "the source's weights are loaded, the target's are not"
        assert str(model.connections[0]) == "features → input of fc (2097664 parameters)"
        assert model.target.fc.out_features == 1000
        photographs = Labelled(torch.rand(4, 3, 224, 224), torch.arange(4) % 2, 1000)
        model.fit(
            {"train": photographs, "val": photographs}, num_epochs=1, save_best_only=True, progress=False
        )

    @pytest.mark.parametrize("names", [("resnet18", "alexnet"), ("mobilenet_v3_small", "resnet18")])
    def test_other_pairs(self, names):
        for mapping in MAPPINGS:
            source = "layer4" if names[0] == "resnet18" else "features"
            model = TransferredFeatures(
                *names, [source], mapping, num_classes=2, image_shape=(3, 96, 96), device="cpu"
            )
            assert model(torch.rand(2, 3, 96, 96)).shape == (2, 2)

    def test_images_are_scaled_as_the_weights_expect(self):
        model = TransferredFeatures("alexnet", small(), ["avgpool"], image_shape=(3, 64, 64), device="cpu")
        x = torch.rand(2, 3, 64, 64)
        mean, std = (
            torch.tensor(v).view(3, 1, 1) for v in (pretrained.IMAGENET_MEAN, pretrained.IMAGENET_STD)
        )
        found = extraction.extract_features(model.source, (x - mean) / std, ["avgpool"])["avgpool"]
        flat = torch.nn.functional.adaptive_avg_pool2d(
            torch.nn.functional.layer_norm(found, found.shape[1:]), 4
        )
        assert torch.allclose(model.source_features(x)[0], flat.flatten(1), atol=1e-5)

    def test_images_below_the_minimum_are_told_the_minimum(self):
        with pytest.raises(ValueError, match="AlexNet does not take .*smallest it takes are 63×63"):
            TransferredFeatures("alexnet", "resnet18", ["features"], image_shape=(3, 32, 32), device="cpu")

    @pytest.mark.usefixtures("as_reader")
    def test_grey_images_are_refused(self):
        with pytest.raises(ValueError, match="takes images of 3 channels and received grey"):
            TransferredFeatures("alexnet", "resnet18", ["features"], image_shape=(1, 224, 224), device="cpu")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"layers": ["backbone.stag2"]}, ValueError, "backbone.stage2"),
        ({"layers": "backbone.stage2"}, TypeError, r"\['backbone.stage2'\]"),
        ({"layers": []}, ValueError, "empty"),
        ({"mapping": "dense"}, ValueError, "linear.*conv.*layerwise"),
        ({"layers": {"backbone.stage1": "head"}, "mapping": "layerwise"}, ValueError, "gives no map"),
        (
            {"layers": {"backbone.stage1": "backbone.stag1"}, "mapping": "layerwise"},
            ValueError,
            "backbone.stage1",
        ),
        ({"layers": {"backbone.stage1": "backbone.stage1"}}, ValueError, "only mapping='layerwise'"),
        ({"image_shape": (1, 32, 32)}, ValueError, "received grey"),
        ({"num_classes": 1}, ValueError, "at least 2 classes"),
    ],
)
def test_mistakes_are_named(options, error, says):
    with pytest.raises(error, match=says):
        pair(**options)


def test_one_network_cannot_be_both():
    model = residual_network()
    with pytest.raises(ValueError, match="deepcopy"):
        TransferredFeatures(model, model, STAGES, image_shape=(3, 32, 32))


def test_a_gpu_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match="sees 0 GPUs"):
        pair(device="cuda")


def test_names_that_torchvision_has_not_and_weights_that_cannot_be_had(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="alexnet"):
        TransferredFeatures("alexnett", "resnet18", ["features"])
    monkeypatch.setenv("TLUTILS_DATA", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(DatasetError, match="TLUTILS_DATA"):
        TransferredFeatures("alexnet", "resnet18", ["features"])


@pytest.mark.parametrize(
    ("data", "epochs", "error", "says"),
    [
        ({"train": DATA}, 1, ValueError, "expected 'train', and 'val'"),
        ({"val": DATA}, 1, ValueError, "expected 'train'"),
        ({"train": DATA, "valid": DATA}, 1, ValueError, r"\['valid'\]"),
        ({"train": DATA, "val": DATA}, 0, ValueError, "num_epochs is 0"),
        ({"train": [3], "val": DATA}, 1, TypeError, "expected Labelled or batches"),
        ({"train": Labelled(X, DATA.y, 12), "val": DATA}, 1, ValueError, "12 classes"),
    ],
)
def test_data_that_make_no_training_are_named(data, epochs, error, says):
    with pytest.raises(error, match=says):
        pair().fit(data, epochs, progress=False)


def test_a_file_of_other_weights_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    pair("conv").save(path)
    with pytest.raises(ValueError, match="another connections"):
        pair("linear").load(path)
    other = TransferredFeatures(residual_network(seed=5), small(), STAGES, "conv", image_shape=(3, 32, 32))
    with pytest.raises(ValueError, match="another source"):
        other.load(path)
    head = TransferredFeatures(
        residual_network(seed=0), small(), STAGES, "conv", num_classes=3, image_shape=(3, 32, 32)
    )
    with pytest.raises(ValueError, match="another target"):
        head.load(path)


@pytest.mark.parametrize("content", [pickle.dumps({"a": 1}), b"", b"nonsense"])
def test_a_pickle_is_not_opened(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        pair().load(tmp_path / "a.safetensors")


def test_model_based_offers_the_same_class():
    assert model_based.TransferredFeatures is TransferredFeatures
    assert transferred_features.extract_features is extraction.extract_features
