"""Weights from a stand-in for torchvision's host on this machine, in every state in which they can come."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import os
import pickle
import threading

import pytest
import torch
from torchvision.models import get_model, list_models

from tlutils import downloads, pretrained
from tlutils.downloads import DatasetError

NAME = "squeezenet1_1"


class Host:
    """Serve one file; the first part of the address says in which mood."""

    def __init__(self, content: bytes) -> None:
        host = self
        self.asked: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mood = self.path.split("/")[1]
                host.asked.append(mood)
                if mood in ("403", "404"):
                    self.send_error(int(mood))
                    return
                body = content[:-1] + bytes([content[-1] ^ 1]) if mood == "damaged" else content
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if mood == "half" else body)

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def network():
    return get_model(NAME, weights=None).eval()


@pytest.fixture
def served(network, tmp_path, monkeypatch):
    """Return a function that lets `pretrained` take its weights from a host in some mood."""
    torch.save(network.state_dict(), tmp_path / "served.pth")
    content = (tmp_path / "served.pth").read_bytes()
    digest, host, describe = hashlib.sha256(content).hexdigest()[:8], Host(content), pretrained.describe
    monkeypatch.setattr(pretrained, "_notices_given", set())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def serve(mood: str, address: str | None = None) -> Host:
        url = f"{address or host.address}/{mood}/{NAME}-{digest}.pth"
        info = dataclasses.replace(describe(NAME), url=url, digest=digest, num_bytes=len(content))
        monkeypatch.setattr(pretrained, "describe", lambda *_: info)
        return host

    yield serve
    host.server.shutdown()
    host.server.server_close()


def test_the_weights_arrive_once_and_are_those_that_were_served(served, network, tmp_path, capsys):
    host = served("good")
    loaded = pretrained.load(NAME, root=tmp_path / "data")
    said = capsys.readouterr().out
    assert all(torch.equal(t, network.state_dict()[name]) for name, t in loaded.state_dict().items())
    assert not loaded.training
    assert all(part in said for part in ("MB", "127.0.0.1", "terms: torchvision is BSD"))
    pretrained.load(NAME, root=tmp_path / "data")
    assert host.asked == ["good"], "the second time nothing is fetched"
    assert capsys.readouterr().out == ""
    [file] = (tmp_path / "data/pretrained").iterdir()
    assert file.name.startswith(NAME)


@pytest.mark.parametrize(
    ("mood", "says"),
    [
        ("403", "refuses it \\(403"),
        ("404", "refuses it \\(404"),
        ("damaged", "SHA-256 is .* should begin with"),
        ("half", "interrupted"),
    ],
)
def test_a_host_that_fails_is_named_and_leaves_nothing(served, tmp_path, mood, says):
    served(mood)
    with pytest.raises(DatasetError, match=says) as caught:
        pretrained.fetch(NAME, root=tmp_path / "data")
    assert "TLUTILS_DATA" in str(caught.value), "says what to do"
    assert not [path for path in (tmp_path / "data").rglob("*") if path.is_file()]


def test_no_network_is_said(served, tmp_path):
    served("good", address="http://127.0.0.1:9")
    with pytest.raises(DatasetError, match="no connection"):
        pretrained.fetch(NAME, root=tmp_path / "data")


def test_a_folder_that_cannot_be_written_is_said(served, tmp_path):
    served("good")
    (tmp_path / "data").write_text("a file where the folder should be")
    with pytest.raises(DatasetError, match="cannot be written"):
        pretrained.fetch(NAME, root=tmp_path / "data")


def test_a_file_cut_short_on_the_disk_is_not_loaded(served, tmp_path):
    served("good")
    path = pretrained.fetch(NAME, root=tmp_path / "data")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetError, match=r"damaged or incomplete .*should begin with"):
        pretrained.load(NAME, root=tmp_path / "data")


def test_weights_that_torch_has_fetched_already_serve(served, tmp_path):
    host = served("good")
    path = pretrained.fetch(NAME, root=tmp_path / "elsewhere")
    checkpoints = tmp_path / "torch/hub/checkpoints"
    checkpoints.mkdir(parents=True)
    path.rename(checkpoints / path.name)
    assert pretrained.fetch(NAME, root=tmp_path / "data") == checkpoints / path.name
    assert host.asked == ["good"]


class Code:
    """What runs a command when it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("it_ran",))


@pytest.mark.parametrize("name", ["evil.pth", "evil.pkl", "evil.safetensors"])
def test_a_pickle_with_code_is_refused_and_not_run(network, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(pickle.dumps({"weight": Code()}, protocol=2))
    with pytest.raises(DatasetError, match="refused.*safetensors"):
        pretrained.load_file(network, tmp_path / name)
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_truncated_file_is_called_damaged(network, tmp_path, is_zip):
    torch.save(network.state_dict(), tmp_path / "a.pth", _use_new_zipfile_serialization=is_zip)
    content = (tmp_path / "a.pth").read_bytes()
    for size in (len(content) // 2, 10, 0):
        (tmp_path / "a.pth").write_bytes(content[:size])
        with pytest.raises(DatasetError, match="damaged or incomplete"):
            pretrained.load_file(network, tmp_path / "a.pth")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["numbers.pth", "numbers.safetensors"])
def test_a_pickle_of_any_protocol_is_refused_and_not_called_damaged(network, tmp_path, name, protocol):
    (tmp_path / name).write_bytes(pickle.dumps({"weight": [1.0, 2.0], "note": "no tensor"}, protocol))
    with pytest.raises(DatasetError, match="refused"):
        pretrained.load_file(network, tmp_path / name)


@pytest.mark.parametrize("is_zip", [True, False])
def test_what_torch_saves_is_refused_under_the_name_of_safetensors(network, tmp_path, is_zip):
    torch.save(network.state_dict(), tmp_path / "a.safetensors", _use_new_zipfile_serialization=is_zip)
    with pytest.raises(DatasetError, match=r"refused.*under another name.*\.pth"):
        pretrained.load_file(network, tmp_path / "a.safetensors")


def test_code_in_the_format_before_torch_1_6_is_refused(network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = {"weight": torch.ones(3), "more": Code()}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(DatasetError, match="refused"):
        pretrained.load_file(network, tmp_path / "a.pth")
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize("size", [ord("."), 640, ord("(")])  # of the header: bytes that could begin a pickle
def test_a_damaged_header_is_not_taken_for_a_pickle(network, tmp_path, size):
    (tmp_path / "a.safetensors").write_bytes(size.to_bytes(8, "little") + b"{" * size)
    with pytest.raises(DatasetError, match="damaged"):
        pretrained.load_file(network, tmp_path / "a.safetensors")


def test_safetensors_and_their_ends(network, tmp_path):
    from safetensors.torch import save_file

    other = get_model(NAME, weights=None)
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    pretrained.load_file(other, tmp_path / "a.safetensors")
    assert all(torch.equal(t, network.state_dict()[name]) for name, t in other.state_dict().items())
    content = (tmp_path / "a.safetensors").read_bytes()
    (tmp_path / "a.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(DatasetError, match="damaged"):
        pretrained.load_file(other, tmp_path / "a.safetensors")


def test_the_file_of_another_network_changes_nothing(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "a.pth")
    other = get_model("resnet18", weights=None)
    before = other.fc.weight.clone()
    with pytest.raises(ValueError, match=r"another network than ResNet: 102 missing .*load_matching"):
        pretrained.load_file(other, tmp_path / "a.pth")
    assert torch.equal(other.fc.weight, before)
    torch.save(get_model(NAME, weights=None, num_classes=3).state_dict(), tmp_path / "a.pth")
    with pytest.raises(ValueError, match="of another shape"):
        pretrained.load_file(network, tmp_path / "a.pth")


@pytest.mark.parametrize(("content", "says"), [([1, 2], "list"), ({"a": 1}, "dict")])
def test_what_is_no_state_dict_is_refused(network, tmp_path, content, says):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(DatasetError, match=says):
        pretrained.load_file(network, tmp_path / "a.pth")


def test_a_missing_file_is_said(network, tmp_path):
    with pytest.raises(DatasetError, match="there is no file"):
        pretrained.load_file(network, tmp_path / "a.pth")


def test_names_in_old_files_of_densenet_are_understood(tmp_path):
    model = get_model("densenet121", weights=None)
    old = {
        name.replace("norm1", "norm.1").replace("conv2", "conv.2"): t
        for name, t in model.state_dict().items()
    }
    old = {name: t for name, t in old.items() if not name.endswith("num_batches_tracked")}
    assert any("norm.1" in name for name in old)
    torch.save(old, tmp_path / "a.pth")
    other = pretrained.load_file(pretrained.build("densenet121"), tmp_path / "a.pth")
    assert all(torch.equal(t, model.state_dict()[name]) for name, t in other.state_dict().items())


def test_every_classifier_is_described_with_a_digest():
    import torchvision

    assert set(pretrained.available()) == set(list_models(module=torchvision.models))
    for name in pretrained.available():
        info = pretrained.describe(name)
        assert info.url.startswith("https://download.pytorch.org/")
        assert len(info.digest) >= 8
        assert set(info.digest) <= set("0123456789abcdef")
        assert info.digest in info.file
    assert pretrained.describe("vgg16").num_bytes == pytest.approx(553.4e6, rel=1e-3)
    assert "NC" in pretrained.describe("vit_b_16", "IMAGENET1K_SWAG_E2E_V1").licence


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="resnet18"):
        pretrained.describe("resnet-18")
    with pytest.raises(ValueError, match="IMAGENET1K_V1"):
        pretrained.describe("alexnet", "V7")


def test_auxiliary_heads_are_built_as_the_weights_want_them():
    with torch.device("meta"):
        assert pretrained.build("googlenet").aux1 is not None


def test_the_data_folder_is_respected(served, tmp_path, monkeypatch):
    served("good")
    monkeypatch.setenv("TLUTILS_DATA", str(tmp_path / "chosen"))
    assert pretrained.fetch(NAME).parent == tmp_path / "chosen/pretrained"
    assert downloads.data_folder() == tmp_path / "chosen"


def test_a_network_whose_parts_have_versions_loads_its_own_file(tmp_path):
    network = get_model("mnasnet0_5", weights=None)
    torch.save(network.state_dict(), tmp_path / "a.pth")
    other = pretrained.load_file(get_model("mnasnet0_5", weights=None), tmp_path / "a.pth")
    assert all(torch.equal(t, network.state_dict()[name]) for name, t in other.state_dict().items())


def test_the_names_in_published_files_of_vision_transformers_are_known(tmp_path):
    from torchvision.models import VisionTransformer

    network, other = (VisionTransformer(32, 8, 1, 2, 16, 16) for _ in range(2))
    state = network.state_dict()
    old = {
        name.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2."): tensor
        for name, tensor in state.items()
    }
    assert set(old) != set(state)
    torch.save(old, tmp_path / "a.pth")
    pretrained.load_file(other, tmp_path / "a.pth")
    assert all(torch.equal(t, state[name]) for name, t in other.state_dict().items())


@pytest.mark.parametrize(
    ("name", "variant"), [("vit_h_14", None), ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1"), ("vit_b_16", None)]
)
def test_a_transformer_is_built_for_the_images_of_its_weights(name, variant):
    with torch.device("meta"):
        network = pretrained.build(name, variant)
    info = pretrained.describe(name, variant)
    assert sum(p.numel() for p in network.parameters()) == info.num_parameters
    assert network.image_size == info.smallest_side


def test_images_are_scaled_as_the_weights_expect():
    assert (pretrained.describe("resnet18").mean, pretrained.describe("resnet18").std) == (
        pretrained.IMAGENET_MEAN,
        pretrained.IMAGENET_STD,
    )
    assert pretrained.describe("efficientnet_v2_l").mean == (0.5, 0.5, 0.5)
