"""Features of one network enter another through hooks: nothing changes at the start, everything is kept."""

import copy
import pickle
from collections import namedtuple

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision import models
from torchvision.models import convnext, get_model, resnet
from torchvision.models.convnext import CNBlockConfig as CNBlock
from torchvision.models.efficientnet import MBConvConfig as MBConv
from torchvision.models.regnet import BlockParams

from tlutils import extraction, model_based, pretrained, transferred_features
from tlutils.domains import Labelled
from tlutils.downloads import DatasetError
from tlutils.heads import find_heads
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


def small_swin():
    return models.SwinTransformer([4, 4], 12, [1, 1], [1, 2], [4, 4], num_classes=10)


# Small networks of torchvision's families under names that it knows, and a layer of each to take features
# from. None: the real one. AlexNet and the families that have its plan are tried below.
FAMILIES = {
    "convnext_tiny": ("features", lambda: convnext.ConvNeXt([CNBlock(8, 16, 1), CNBlock(16, None, 1)])),
    "densenet121": ("features", lambda: models.DenseNet(4, (1, 1, 1), 8)),
    "efficientnet_b0": ("features", lambda: models.EfficientNet([MBConv(1, 3, 1, 8, 8, 1, 1, 1)], 0.0)),
    "googlenet": ("inception5b", None),
    "inception_v3": ("Mixed_7c", None),
    "maxvit_t": ("blocks.1", lambda: models.MaxVit((80, 80), 8, 5, [8, 16], [1, 1], 4, 0.0)),
    "mnasnet0_5": ("layers", lambda: models.MNASNet(0.1)),
    "mobilenet_v2": ("features", lambda: models.MobileNetV2(width_mult=0.1)),
    "mobilenet_v3_small": ("features", None),
    "regnet_x_400mf": ("trunk_output", lambda: models.RegNet(BlockParams.from_init_params(4, 8, 8, 2, 8))),
    "resnet18": ("layer4", lambda: models.ResNet(resnet.BasicBlock, [1, 1, 1, 1])),
    "shufflenet_v2_x0_5": ("conv5", lambda: models.ShuffleNetV2([1, 1, 1], [8, 8, 16, 32, 64])),
    "squeezenet1_1": ("features", None),
    "swin_t": ("permute", small_swin),
    "vit_b_32": ("encoder", lambda: models.VisionTransformer(80, 16, 1, 2, 16, 16)),
}


class TestEveryFamily:
    """Any of torchvision's classifiers lends features, and any receives them."""

    @pytest.fixture(autouse=True)
    def networks(self, monkeypatch):
        """Build small networks, with random numbers."""
        real = pretrained.build
        monkeypatch.setattr(
            pretrained,
            "build",
            lambda name, variant=None: (FAMILIES[name][1] or (lambda: real(name, variant)))(),
        )
        monkeypatch.setattr(pretrained, "load", lambda name: pretrained.build(name).eval())

    @pytest.mark.parametrize(("place", "target"), [*enumerate(FAMILIES)])
    def test_by_name(self, place, target):
        source = [*FAMILIES][place - 1]
        photographs = Labelled(torch.rand(2, 3, 80, 80), torch.arange(2), 2)
        model = TransferredFeatures(
            source, target, [FAMILIES[source][0]], MAPPINGS[place % 3], num_classes=2,
            image_shape=(3, 80, 80), device="cpu",
        )  # fmt: skip
        before = copy.deepcopy(model.source.state_dict())
        history = model.fit({"train": photographs}, 1, save_best_only=False, progress=False)
        assert history.num_steps == 1
        assert all(mapping.weight.abs().max() > 0 for mapping in model.joined.mappings)
        assert all(torch.equal(t, before[name]) for name, t in model.source.state_dict().items())
        with torch.no_grad():
            assert model.eval()(photographs.x).shape == (2, 2)


def test_a_head_that_is_a_convolution_gets_a_vector_at_every_place():
    model = TransferredFeatures(
        residual_network(seed=0), get_model("squeezenet1_1", weights=None), ["backbone.pool"],
        image_shape=(3, 48, 48), device="cpu", num_classes=2,
    ).eval()  # fmt: skip
    x, [mapping] = X.new_ones(2, 3, 48, 48), model.joined.mappings
    with torch.no_grad():
        mapping.weight.normal_(generator=torch.Generator().manual_seed(1))
        added = mapping(model.source_features(x)[0])
        maps = model.target.features(x) + added[:, :, None, None]
        assert torch.allclose(model(x), model.target.classifier(maps).flatten(1), atol=1e-4)
    conv = TransferredFeatures(
        residual_network(seed=0), model.target, STAGES, "conv", image_shape=(3, 48, 48), device="cpu"
    )
    assert conv.connections[0].target == "classifier.0", "before the head, not behind it"


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_auxiliary_heads_are_left_out(name):
    with torch.device("meta"):
        fresh = transferred_features._fresh(name, 0)
    assert find_heads(fresh) == ("fc",)
    assert fresh.train()(torch.empty(2, 3, 75, 75, device="meta")).shape == (2, 1000)


def test_a_target_that_keeps_its_auxiliary_heads_is_asked_for_its_logits():
    model, outputs = pair().eval(), namedtuple("Outputs", ("logits", "aux_logits"))
    plain = model(X)
    model.target.register_forward_hook(lambda _module, _inputs, logits: outputs(logits, None))
    assert torch.equal(model(X), plain)


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_maps_with_the_channels_last_are_refused_as_source_and_passed_by_as_target(mapping):
    says = r"'features.2' gives \(4, 4, 24\).*expected \(channels, height, width\).*'permute'"
    options = {"image_shape": (3, 32, 32), "device": "cpu"}
    with pytest.raises(ValueError, match=says):
        TransferredFeatures(small_swin(), small(), ["features.2"], mapping, **options)
    model = TransferredFeatures(residual_network(seed=0), small_swin(), STAGES, mapping, **options)
    places = {"linear": ["head"], "conv": ["permute"], "layerwise": ["features.0.0"] * 2}
    assert [c.target for c in model.connections] == places[mapping]
    model.fit({"train": DATA}, 1, save_best_only=False, progress=False)


def test_layers_with_the_channels_last_cannot_be_named():
    with pytest.raises(ValueError, match=r"'features.1' gives no map.*'features.0.0', 'permute'"):
        TransferredFeatures(
            residual_network(), small_swin(), {"backbone.stage1": "features.1"}, "layerwise",
            image_shape=(3, 32, 32), device="cpu",
        )  # fmt: skip


@pytest.mark.parametrize("mapping", MAPPINGS)
def test_tokens_are_lent_as_one_vector(mapping):
    source = models.VisionTransformer(32, 8, 1, 2, 16, 16)
    model = TransferredFeatures(source, small(), ["encoder"], mapping, image_shape=(3, 32, 32), device="cpu")
    assert model.source_features(X[:2])[0].shape[:2] == (2, 17 * 16)
    model.fit({"train": DATA}, 1, save_best_only=False, progress=False)


@pytest.mark.parametrize(
    ("shape", "image", "expected"),
    [
        ((96, 16, 16), (3, 64, 64), True),
        ((16, 16, 96), (3, 64, 64), False),
        ((96, 7, 4), (3, 100, 64), True),
        ((7, 4, 96), (3, 100, 64), False),
        ((49, 64), (3, 56, 56), False),
    ],
)
def test_the_layout_is_read_from_the_shape_of_the_images(shape, image, expected):
    assert transferred_features._is_map(shape, image) is expected


def test_a_target_without_maps_takes_the_linear_mapping_alone():
    target = nn.Sequential(nn.Flatten(), nn.Linear(3072, 16), nn.ReLU(), nn.Linear(16, 10))
    options = {"image_shape": (3, 32, 32), "device": "cpu"}
    model = TransferredFeatures(residual_network(), target, STAGES, "linear", **options)
    assert model.connections[0].target == "3"
    for mapping in ("conv", "layerwise"):
        with pytest.raises(ValueError, match="use mapping='linear'"):
            TransferredFeatures(residual_network(), target, STAGES, mapping, **options)


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


def test_a_file_that_is_not_there_is_called_that(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*best\.safetensors"):
        pair().load(tmp_path / "best.safetensors")


def test_images_of_another_shape_than_it_was_connected_for():
    with pytest.raises(ValueError, match=r"received examples of shape \(3, 48, 48\); expected \(3, 32, 32\)"):
        pair()(torch.zeros(2, 3, 48, 48))


@pytest.mark.parametrize("content", [pickle.dumps({"a": 1}), b"", b"nonsense"])
def test_a_pickle_is_not_opened(tmp_path, content):
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        pair().load(tmp_path / "a.safetensors")


def test_model_based_offers_the_same_class():
    assert model_based.TransferredFeatures is TransferredFeatures
    assert transferred_features.extract_features is extraction.extract_features
