"""Reading every data set, the real ones included, and what bad files and bad arguments lead to."""

from __future__ import annotations

import bz2
import dataclasses
import gzip
import hashlib
import pickle
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torchvision

from conftest import describe_files
from tlutils import datasets
from tlutils.catalogue import REGISTRY, DatasetInfo
from tlutils.datasets import DatasetError

SPLITS = ("train", "test")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for prepared files, so that every run of the tests prepares them anew."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def real(data_root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., datasets.ImageSet]:
    """Return `load` on the real data."""
    monkeypatch.setenv("TLUTILS_DATA", str(data_root))
    monkeypatch.setenv("TLUTILS_CACHE", str(cache))
    return datasets.load


def counts(images: datasets.ImageSet) -> list[int]:
    return np.bincount(images.labels, minlength=10).tolist()


class TestRealData:
    """Figures from ../shared/data/README.md, which has them from the publications."""

    @pytest.mark.parametrize(
        ("name", "shape", "mean", "std"),
        [
            ("mnist", (60_000, 28, 28, 1), 0.1307, 0.3081),
            ("fashion_mnist", (60_000, 28, 28, 1), 0.2860, 0.3530),
            ("usps", (7_291, 16, 16, 1), 0.2469, 0.2989),
        ],
    )
    def test_mean_and_deviation_are_the_published_ones(self, real, name, shape, mean, std):
        images = real(name).images
        assert images.shape == shape
        assert images.mean() / 255 == pytest.approx(mean, abs=5e-5)
        assert images.std() / 255 == pytest.approx(std, abs=5e-5)

    def test_class_counts_are_the_published_ones(self, real):
        assert counts(real("usps")) == [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644]
        assert counts(real("usps", "test")) == [359, 264, 198, 166, 200, 160, 170, 147, 166, 177]
        assert counts(real("mnist")) == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        for split, n in (("train", 6000), ("test", 1000)):
            assert counts(real("fashion_mnist", split)) == [n] * 10
        for split, n in (("train", 1500), ("test", 500)):
            assert counts(real("cifar10", split)) == [n] * 10

    def test_same_as_torchvision(self, real, data_root):
        ours, theirs = real("usps", "test"), torchvision.datasets.USPS(data_root, train=False)
        assert np.array_equal(ours.images[..., 0], theirs.data)
        assert ours.labels.tolist() == theirs.targets

    def test_cifar10_is_the_subset_chosen_by_content(self, real):
        for split, sha256 in REGISTRY["cifar10"].digests:
            images = real("cifar10", split)
            assert images.sha256 == sha256
            number = datasets.SUBSET_PER_CLASS[split]
            again, labels = datasets.choose_by_content(images.images, images.labels, number)
            assert np.array_equal(again, images.images)
            assert np.array_equal(labels, images.labels)

    def test_a_prepared_set_is_read_without_the_originals(self, data_root, tmp_path, monkeypatch):
        for file in REGISTRY["usps"].files:
            (tmp_path / file.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data_root / file.path, tmp_path / file.path)
        first = datasets.load("usps", "test", root=tmp_path)
        for file in REGISTRY["usps"].files:
            (tmp_path / file.path).unlink()
        monkeypatch.setitem(datasets.READERS, "usps", None)
        assert datasets.load("usps", "test", root=tmp_path).sha256 == first.sha256

    def test_photo_digits_are_mnist(self, real):
        photo, mnist = real("photo_digits", "test"), real("mnist", "test")
        assert photo.images.shape == (10_000, 28, 28, 3)
        assert np.array_equal(photo.labels, mnist.labels)
        assert photo.sha256 == real("photo_digits", "test").sha256
        assert photo.sha256 != real("photo_digits", "test", seed=1).sha256


class TestWithoutFiles:
    def test_digits8x8_are_split_by_content(self):
        train, test = (datasets.load("digits8x8", split) for split in SPLITS)
        assert (len(train), len(test)) == (1202, 595)
        assert (train.images.min(), train.images.max()) == (0, 255)
        ours = {image.tobytes() for image in test.images}
        assert ours.isdisjoint(image.tobytes() for image in train.images)

    def test_validation_part_of_digits8x8_is_not_empty(self):
        # A split by the same digest as that of the test part would leave nothing below the threshold.
        from tlutils.domains import digest_split

        share = digest_split(datasets.load("digits8x8").images, 0.1).mean()
        assert 0.07 < share < 0.13

    def test_rendered_digits(self):
        images = datasets.load("rendered_digits", num_images=200, seed=3)
        assert images.images.shape == (200, 28, 28, 1)
        assert counts(images) == [20] * 10
        assert len(datasets.load("rendered_digits", "test", num_images=7)) == 7

    @pytest.mark.slow
    def test_default_sizes_of_rendered_digits(self):
        assert [len(datasets.load("rendered_digits", split)) for split in SPLITS] == [10_000, 2_000]

    def test_train_and_test_and_seeds_differ(self):
        sets = [
            datasets.load("rendered_digits", split, num_images=50, seed=seed)
            for split in SPLITS
            for seed in (0, 1)
        ]
        assert len({image.tobytes() for images in sets for image in images.images}) == 200

    def test_same_in_every_process(self):
        script = (
            "from tlutils import datasets as d; "
            "print(d.load('rendered_digits', num_images=60, seed=5).sha256, d.load('digits8x8').sha256)"
        )
        out = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout
        here = datasets.load("rendered_digits", num_images=60, seed=5), datasets.load("digits8x8")
        assert out.split() == [images.sha256 for images in here]


@pytest.fixture
def tiny_svhn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Write a small SVHN in its official format, make `load` take it, and return the training images."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
    labels = np.array([10, *range(1, 10), 10, 1], dtype=np.uint8)  # 10 stands for the digit 0
    for name, n in (("train_32x32.mat", 12), ("test_32x32.mat", 4)):
        mat = {"X": images[:n].transpose(1, 2, 3, 0), "y": labels[:n, None]}
        scipy.io.savemat(tmp_path / name, mat)
    info = dataclasses.replace(REGISTRY["svhn"], num_train=12, num_test=4)
    monkeypatch.setitem(REGISTRY, "svhn", describe_files(info, tmp_path))
    return images


def test_svhn(tiny_svhn, tmp_path):
    train = datasets.load("svhn", root=tmp_path)
    assert np.array_equal(train.images, tiny_svhn)
    assert train.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert len(datasets.load("svhn", "test", root=tmp_path)) == 4


@pytest.fixture
def tiny_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Write a small CIFAR-10 in its official format, make `load` take it, and return the expected subsets."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "made/cifar-10-batches-py"
    folder.mkdir(parents=True)
    whole: dict[str, list[tuple[bytes, int]]] = {"train": [], "test": []}
    checksums = {}
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"]:
        images = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
        labels = rng.permutation(np.arange(40) % 10).tolist()
        batch = {"data": images.transpose(0, 3, 1, 2).reshape(40, -1), "labels": labels}
        batch = {"label_names": list(REGISTRY["cifar10"].class_names)} if name == "batches.meta" else batch
        (folder / name).write_bytes(pickle.dumps(batch))
        checksums[name] = hashlib.md5((folder / name).read_bytes(), usedforsecurity=False).hexdigest()
        if name != "batches.meta":
            pairs = zip((image.tobytes() for image in images), labels, strict=True)
            whole["test" if name == "test_batch" else "train"] += pairs
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder, folder.name)
    reader = torchvision.datasets.CIFAR10
    for attribute in ("train_list", "test_list"):
        monkeypatch.setattr(reader, attribute, [[n, checksums[n]] for n, _ in getattr(reader, attribute)])
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": checksums["batches.meta"]})
    monkeypatch.setattr(datasets, "SUBSET_PER_CLASS", {"train": 3, "test": 2})
    subsets = {split: subset_by_the_letter(whole[split], n) for split, n in (("train", 3), ("test", 2))}
    digests = tuple((split, sha256_by_the_letter(*subset)) for split, subset in subsets.items())
    info = dataclasses.replace(REGISTRY["cifar10"], num_train=30, num_test=20, digests=digests)
    monkeypatch.setitem(REGISTRY, "cifar10", describe_files(info, tmp_path))
    return subsets


def subset_by_the_letter(whole: list[tuple[bytes, int]], num_per_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Apply the rule of ../shared/data/README.md in plain Python."""
    kept = []
    for label in range(10):
        of_class = [pair for pair in whole if pair[1] == label]
        kept += sorted(of_class, key=lambda pair: hashlib.sha256(pair[0]).digest())[:num_per_class]
    kept.sort(key=lambda pair: hashlib.sha256(pair[0]).digest())
    images = np.frombuffer(b"".join(image for image, _ in kept), np.uint8).reshape(-1, 32, 32, 3)
    return images, np.array([label for _, label in kept], dtype=np.int64)


def sha256_by_the_letter(images: np.ndarray, labels: np.ndarray) -> str:
    return hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()


class TestCifar10:
    @pytest.mark.parametrize("form", ["archive", "folder"])
    def test_subset_of_the_original(self, tiny_cifar10, tmp_path, form):
        if form == "folder":  # what torchvision leaves behind serves as well
            (tmp_path / "cifar-10-python.tar.gz").unlink()
            (tmp_path / "made/cifar-10-batches-py").rename(tmp_path / "cifar-10-batches-py")
        for split, (images, labels) in tiny_cifar10.items():
            loaded = datasets.load("cifar10", split, root=tmp_path)
            assert np.array_equal(loaded.images, images)
            assert np.array_equal(loaded.labels, labels)

    @pytest.mark.usefixtures("tiny_cifar10")
    def test_digest_is_compared_when_the_subset_is_made(self, tmp_path, monkeypatch):
        wrong = dataclasses.replace(REGISTRY["cifar10"], digests=(("train", "0" * 64),))
        monkeypatch.setitem(REGISTRY, "cifar10", wrong)
        with pytest.raises(DatasetError, match=f"should be {'0' * 64}"):
            datasets.load("cifar10", root=tmp_path)
        assert not (tmp_path / "prepared").exists()

    def test_digest_is_compared_when_a_file_is_adopted(self, tiny_cifar10, tmp_path):
        images, labels = tiny_cifar10["train"]
        changed = images.copy()
        changed[0, 0, 0, 0] ^= 1
        (tmp_path / "prepared").mkdir()
        (tmp_path / "cifar-10-python.tar.gz").unlink()
        np.savez(tmp_path / "prepared/cifar10.npz", train_images=changed, train_labels=labels)
        with pytest.raises(DatasetError, match=r"SHA-256 of the train part.*Delete it"):
            datasets.load("cifar10", root=tmp_path)

    def test_choice_does_not_depend_on_the_order(self):
        rng = np.random.default_rng(1)
        images = rng.integers(0, 256, (50, 4, 4, 3), dtype=np.uint8)
        labels = np.arange(50) % 5
        order = rng.permutation(50)
        kept = datasets.choose_by_content(images, labels, 4)
        for a, b in zip(kept, datasets.choose_by_content(images[order], labels[order], 4), strict=True):
            assert np.array_equal(a, b)
        assert np.bincount(kept[1]).tolist() == [4] * 5


class TestDamagedFiles:
    def damage(self, path: Path, how: str) -> None:
        content = path.read_bytes()
        if how == "truncated":
            path.write_bytes(content[: len(content) // 2])
        else:
            middle = len(content) // 2
            path.write_bytes(content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :])

    @pytest.mark.parametrize("how", ["truncated", "flipped"])
    def test_original(self, tiny_mnist, tmp_path, how):
        path = tmp_path / tiny_mnist(tmp_path).files[0].path
        self.damage(path, how)
        with pytest.raises(DatasetError, match=r"md5 is .* should be .*Delete it and load again") as caught:
            datasets.load("mnist", root=tmp_path)
        assert str(path) in str(caught.value)
        assert not (tmp_path / "prepared").exists()

    def test_unpacked_original_serves(self, tiny_mnist, tmp_path):
        for file in tiny_mnist(tmp_path).files:
            (tmp_path / file.unpacked).write_bytes(gzip.decompress((tmp_path / file.path).read_bytes()))
            (tmp_path / file.path).unlink()
        assert len(datasets.load("mnist", root=tmp_path)) == 30

    def test_unpacked_original_truncated(self, tiny_mnist, tmp_path):
        file = tiny_mnist(tmp_path).files[0]
        content = gzip.decompress((tmp_path / file.path).read_bytes())
        (tmp_path / file.unpacked).write_bytes(content[:-100])
        (tmp_path / file.path).unlink()
        with pytest.raises(DatasetError, match=r"(?s)cannot be read from .*damaged or incomplete: delete it"):
            datasets.load("mnist", root=tmp_path)

    @pytest.fixture
    def tiny_usps(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DatasetInfo:
        rng = np.random.default_rng(0)
        for name, n in (("usps.bz2", 30), ("usps.t.bz2", 10)):
            values = rng.uniform(-1, 1, (n, 256)).round(6)
            rows = (" ".join(f"{j + 1}:{v}" for j, v in enumerate(row)) for row in values)
            lines = "".join(f"{i % 10 + 1} {row}\n" for i, row in enumerate(rows))
            (tmp_path / name).write_bytes(bz2.compress(lines.encode()))
        info = dataclasses.replace(REGISTRY["usps"], num_train=30, num_test=10)
        monkeypatch.setitem(REGISTRY, "usps", info)  # with the official checksums, which these files lack
        return info

    @pytest.mark.usefixtures("tiny_usps")
    def test_usps_with_another_checksum_serves(self, tmp_path):
        assert datasets.load("usps", root=tmp_path).labels.tolist() == [*range(10)] * 3

    @pytest.mark.parametrize("how", ["truncated", "flipped"])
    @pytest.mark.usefixtures("tiny_usps")
    def test_usps(self, tmp_path, how):
        self.damage(tmp_path / "usps.bz2", how)
        with pytest.raises(DatasetError, match=r"usps\.bz2.*delete it and load again"):
            datasets.load("usps", root=tmp_path)

    @pytest.mark.usefixtures("tiny_usps")
    def test_lines_missing(self, tmp_path):
        lines = bz2.decompress((tmp_path / "usps.bz2").read_bytes()).splitlines(keepends=True)
        (tmp_path / "usps.bz2").write_bytes(bz2.compress(b"".join(lines[:-1])))
        with pytest.raises(DatasetError, match=r"uint8 \(29, 16, 16, 1\), not uint8 \(30, 16, 16, 1\)"):
            datasets.load("usps", root=tmp_path)
        assert not (tmp_path / "prepared").exists()

    @pytest.mark.usefixtures("tiny_cifar10")
    def test_archive(self, tmp_path, monkeypatch):
        self.damage(tmp_path / "cifar-10-python.tar.gz", "truncated")
        monkeypatch.setitem(REGISTRY, "cifar10", describe_files(REGISTRY["cifar10"], tmp_path))
        with pytest.raises(DatasetError, match="Delete it and load again"):
            datasets.load("cifar10", root=tmp_path)

    @pytest.mark.parametrize("how", ["truncated", "flipped"])
    def test_prepared_is_made_again(self, tiny_mnist, tmp_path, how):
        tiny_mnist(tmp_path)
        before = datasets.load("mnist", root=tmp_path)
        self.damage(tmp_path / "prepared/mnist.npz", how)
        with pytest.warns(UserWarning, match=r"mnist\.npz is damaged.*made again"):
            after = datasets.load("mnist", root=tmp_path)
        assert after.sha256 == before.sha256 == datasets.load("mnist", root=tmp_path).sha256

    @pytest.mark.parametrize("how", ["truncated", "flipped"])
    def test_prepared_without_originals(self, tiny_mnist, tmp_path, how):
        info = tiny_mnist(tmp_path)
        datasets.load("mnist", root=tmp_path)
        for file in info.files:
            (tmp_path / file.path).unlink()
        self.damage(tmp_path / "prepared/mnist.npz", how)
        with pytest.raises(DatasetError, match=r"mnist\.npz is damaged or incomplete.*Delete it"):
            datasets.load("mnist", root=tmp_path)

    def test_prepared_of_something_else(self, tmp_path):
        (tmp_path / "prepared").mkdir()
        np.savez(tmp_path / "prepared/svhn.npz", images=np.zeros(3))
        with pytest.raises(DatasetError, match="train_images"):
            datasets.load("svhn", root=tmp_path)


class TestBadArguments:
    @pytest.mark.parametrize(
        ("name", "nearest"), [("minst", "'mnist'"), ("CIFAR-10", "'cifar10'"), ("fashion", "'fashion_mnist'")]
    )
    def test_unknown_name(self, name, nearest):
        for function in (datasets.load, datasets.describe):
            with pytest.raises(ValueError, match=f"{name}.*Did you mean.*{nearest}.*There are: mnist, "):
                function(name)

    def test_unknown_name_without_a_near_one(self):
        with pytest.raises(ValueError, match=r"'\?\?\?'\. There are: "):
            datasets.load("???")

    def test_unknown_split(self):
        with pytest.raises(ValueError, match="split is 'validation'; expected 'train' or 'test'"):
            datasets.load("digits8x8", "validation")

    @pytest.mark.parametrize("name", ["mnist", "digits8x8", "rendered_digits"])
    def test_unknown_option(self, name):
        with pytest.raises(TypeError, match=f"{name} has no option 'colour'; it takes"):
            datasets.load(name, colour=True)

    @pytest.mark.usefixtures("as_reader")
    @pytest.mark.parametrize("option", [{"num_images": 0}, {"num_images": 2.5}, {"seed": -1}, {"seed": None}])
    def test_option_out_of_range(self, option):
        [(name, value)] = option.items()
        with pytest.raises(ValueError, match=f"{name} is {value}; expected an integer"):
            datasets.load("rendered_digits", **option)


def test_available_and_describe():
    assert datasets.available() == (
        "mnist", "fashion_mnist", "usps", "svhn", "cifar10", "digits8x8", "rendered_digits", "photo_digits",
    )  # fmt: skip
    assert {*datasets.READERS, *datasets.MAKERS} == set(datasets.available())
    assert datasets.describe("cifar10").class_names[6] == "frog"


def test_sha256_of_an_image_set():
    images = np.arange(8, dtype=np.uint8).reshape(2, 2, 2, 1)
    labels = np.array([1, 0])
    one = datasets.ImageSet("one", images, labels, ("a", "b"))
    assert len(one) == 2
    assert one.sha256 == hashlib.sha256(bytes(range(8)) + bytes([1, *[0] * 15])).hexdigest()


def test_import_is_light():
    script = "import sys, tlutils.datasets; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert {"torchvision", "sklearn", "matplotlib", "pooch", "requests"}.isdisjoint(modules.split())
