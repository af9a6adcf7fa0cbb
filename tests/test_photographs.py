"""Reading folders of photographs, the real ones included, fetching them, and what bad files lead to."""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import os
import shutil
import socket
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image
from test_checkouts import commit_files, serve
from test_downloads import Host, files_in

from tlutils import checkouts, datasets, downloads, photographs
from tlutils.downloads import DatasetError
from tlutils.photographs import PHOTOGRAPHS

SIZES = {"ants/a.jpg": (40, 30), "ants/b.png": (20, 61), "bees/c.JPEG": (33, 33)}


def encoded(width: int, height: int, mode: str = "RGB", form: str = "png", seed: int = 0) -> bytes:
    """Return a random image as the bytes of a file."""
    shape = (height, width) if mode == "L" else (height, width, len(mode))
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def tiny_files(part: str = "train") -> dict[str, bytes]:
    """Return the content of three photographs and of three files that are none."""
    more = {
        "ants/imageNotFound.gif": b"GIF89a",
        "bees/._c.jpg": b"left by an archiver",
        "bees/notes.txt": b"?",
    }
    photos = {
        name: encoded(*size, form="png" if name.endswith("png") else "jpeg") for name, size in SIZES.items()
    }
    return {f"{part}/{name}": content for name, content in (photos | more).items()}


def write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that makes `load` expect three ants and bees, or change what is known of a set."""

    def change(name: str = "hymenoptera", **fields: object) -> None:
        fields = {"parts": (("train", 3), ("val", 3)), "class_names": ("ants", "bees")} | fields
        monkeypatch.setitem(PHOTOGRAPHS, name, dataclasses.replace(PHOTOGRAPHS[name], **fields))

    return change


@pytest.fixture
def folder(data: Path, tiny: Callable) -> Path:
    """Return a data folder with the three photographs."""
    tiny()
    write(data / "hymenoptera_data", tiny_files())
    return data


class TestRealData:
    @pytest.fixture(autouse=True)
    def real(self, data_root, tmp_path, monkeypatch):
        monkeypatch.setenv("TLUTILS_DATA", str(data_root))
        monkeypatch.setenv("TLUTILS_CACHE", str(tmp_path))

    def test_every_part_of_every_set(self):
        for name in photographs.available():
            for part, num_images in photographs.describe(name).parts:
                photos = photographs.load(name, part, size=16)
                assert photos.images.shape == (num_images, 16, 16, 3)
                assert np.unique(photos.labels).tolist() == [*range(len(photos.class_names))]
                assert (np.diff(photos.labels) >= 0).all()
                assert len(set(photos.paths)) == len(photos) == num_images

    def test_class_counts_are_those_of_the_descriptors(self):
        from tlutils import tabular

        for domain in tabular.domain_names("office_caltech10_surf"):
            photos = photographs.load("office_caltech10", domain, size=16)
            described = tabular.load("office_caltech10_surf", domain)
            assert photos.class_names == described.class_names
            assert np.bincount(photos.labels).tolist() == np.bincount(described.y).tolist()

    def test_ants_and_bees_are_those_of_the_tutorial(self):
        counts = [
            np.bincount(photographs.load("hymenoptera", p, size=16).labels).tolist() for p in ("train", "val")
        ]
        assert counts == [[123, 121], [70, 83]]

    def test_grey_photographs_become_rgb(self):
        photos = photographs.load("office_caltech10", "caltech10", size=16)
        is_grey = (photos.images == photos.images[..., :1]).all(axis=(1, 2, 3))
        assert is_grey.sum() >= 4

    def test_class_of_a_path_is_its_label(self):
        photos = photographs.load("hymenoptera", "val", size=16)
        assert [photos.class_names[label] for label in photos.labels] == [
            p.split("/")[0] for p in photos.paths
        ]


class TestSquares:
    @pytest.mark.parametrize("size", [1, 7, 24, 33, 40, 50, 61])
    def test_as_torchvision_does_it(self, folder, size):
        from torchvision.transforms import CenterCrop, Compose, Resize

        photos = photographs.load("hymenoptera", "train", size=size, root=folder)
        reference = torchvision.datasets.ImageFolder(
            folder / "hymenoptera_data/train",
            transform=Compose([Resize(size), CenterCrop(size), np.asarray]),
            is_valid_file=lambda path: path.endswith(tuple(SIZES)),
        )
        assert reference.classes == list(photos.class_names)
        assert [label for _, label in reference] == photos.labels.tolist()
        np.testing.assert_array_equal(np.stack([image for image, _ in reference]), photos.images)

    def test_by_hand(self):
        # 4 by 2 pixels at size 2: nothing is resized, the middle two columns stay.
        pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "png")
        assert photographs.square(stream.getvalue(), 2).tolist() == pixels[:, 1:3].tolist()

    @pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
    def test_every_mode_becomes_rgb(self, mode):
        square = photographs.square(encoded(9, 12, mode), 8)
        assert square.shape == (8, 8, 3)
        assert square.dtype == np.uint8
        if mode in ("L", "LA"):
            assert (square == square[..., :1]).all()

    def test_what_comes_back(self, folder):
        photos = photographs.load("hymenoptera", "train", size=8, root=folder)
        assert photos.name == "hymenoptera/train"
        assert isinstance(photos, datasets.ImageSet)
        assert photos.paths == ("ants/a.jpg", "ants/b.png", "bees/c.JPEG")
        assert photos.labels.tolist() == [0, 0, 1]
        assert photos.labels.dtype == np.int64
        assert len(photos) == 3
        assert photos.sha256 == downloads.sha256(photos.images, photos.labels)

    def test_reduced_copy_serves_and_originals_come_first(self, folder):
        write(folder / "hymenoptera_256", {f"train/{name}": encoded(5, 5) for name in SIZES})
        original = photographs.load("hymenoptera", "train", size=8, root=folder)
        shutil.rmtree(folder / "prepared")
        shutil.rmtree(folder / "hymenoptera_data")
        reduced = photographs.load("hymenoptera", "train", size=8, root=folder)
        assert reduced.paths == original.paths
        assert reduced.sha256 != original.sha256
        assert "reduced" in photographs.describe("hymenoptera").note


class TestPreparedFile:
    def test_later_loads_need_only_it(self, folder):
        first = photographs.load("hymenoptera", "train", size=8, root=folder)
        shutil.rmtree(folder / "hymenoptera_data")
        again = photographs.load("hymenoptera", "train", size=8, root=folder)
        assert (again.sha256, again.paths) == (first.sha256, first.paths)
        assert files_in(folder) == {"prepared/hymenoptera-train-8.npz"}

    @pytest.mark.parametrize("how", ["truncated", "empty", "other size", "other labels"])
    def test_damaged_one_is_made_again(self, folder, how):
        first = photographs.load("hymenoptera", "train", size=8, root=folder)
        path = folder / "prepared/hymenoptera-train-8.npz"
        if how == "other size":
            photographs.load("hymenoptera", "train", size=9, root=folder)
            shutil.copy(folder / "prepared/hymenoptera-train-9.npz", path)
        elif how == "other labels":
            arrays = dict(np.load(path)) | {"labels": np.zeros(3, dtype=np.int64)}
            downloads.write_prepared(path, arrays)
        else:
            path.write_bytes(path.read_bytes()[:100] if how == "truncated" else b"")
        with pytest.warns(UserWarning, match=r"is damaged .* made again"):
            again = photographs.load("hymenoptera", "train", size=8, root=folder)
        assert again.sha256 == first.sha256
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            photographs.load("hymenoptera", "train", size=8, root=folder)

    def test_full_disk(self, folder, monkeypatch):
        def no_space(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        before = files_in(folder)
        monkeypatch.setattr(os, "fsync", no_space)
        with pytest.raises(DatasetError, match="no space left"):
            photographs.load("hymenoptera", "train", size=8, root=folder)
        assert files_in(folder) == before

    def test_read_only_folder_is_not_written_to(self, folder, tmp_path, monkeypatch):
        monkeypatch.setenv("TLUTILS_CACHE", str(tmp_path / "cache"))
        before = files_in(folder)
        folder.chmod(0o555)
        photographs.load("hymenoptera", "train", size=8, root=folder)
        assert files_in(folder) == before
        assert {Path(name).name for name in files_in(tmp_path / "cache")} == {"hymenoptera-train-8.npz"}


class TestBadArguments:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("hymenptera", "train"), "no set of photographs 'hymenptera'. Did you mean 'hymenoptera'"),
            (("office_caltech10", "amazn"), "office_caltech10 has no part 'amazn'. Did you mean 'amazon'"),
            (("hymenoptera", "test"), "no part 'test'. There are: train, val"),
        ],
    )
    def test_unknown_name_or_part(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            photographs.load(*arguments)

    @pytest.mark.usefixtures("as_reader")
    @pytest.mark.parametrize("size", [0, -3, 2.5, "224", True, None])
    def test_size(self, folder, size):
        with pytest.raises(ValueError, match=r"size is .* expected a number of pixels"):
            photographs.load("hymenoptera", "train", size=size, root=folder)


class TestBadFiles:
    @pytest.mark.parametrize("how", ["gone", "no photographs in it"])
    def test_empty_class_folder(self, folder, how):
        shutil.rmtree(folder / "hymenoptera_data/train/bees")
        if how != "gone":
            write(folder, {"hymenoptera_data/train/bees/notes.txt": b"?"})
        with pytest.raises(DatasetError, match=r"train has no photographs in the class folder bees\. Put"):
            photographs.load("hymenoptera", "train", root=folder)

    def test_unknown_class_folder(self, folder):
        write(folder, {"hymenoptera_data/train/wasps/d.png": encoded(5, 5)})
        with pytest.raises(DatasetError, match="class folders that hymenoptera has not: wasps"):
            photographs.load("hymenoptera", "train", root=folder)

    @pytest.mark.parametrize(
        ("change", "count"), [("less", "2 photographs .1 ants, 1 bees."), ("more", "4 photographs")]
    )
    def test_wrong_count(self, folder, change, count):
        if change == "less":
            (folder / "hymenoptera_data/train/ants/a.jpg").unlink()
        else:
            write(folder, {"hymenoptera_data/train/bees/d.png": encoded(5, 5)})
        with pytest.raises(DatasetError, match=f"{count}.* where 3 were published"):
            photographs.load("hymenoptera", "train", root=folder)
        assert not (folder / "prepared").exists()

    @pytest.mark.parametrize("how", ["empty", "truncated", "text"])
    def test_unreadable_photograph_is_named(self, folder, how):
        path = folder / "hymenoptera_data/train/ants/a.jpg"
        path.write_bytes({"empty": b"", "truncated": path.read_bytes()[:300], "text": b"<html>" * 50}[how])
        with pytest.raises(DatasetError, match=r"ants/a\.jpg is no readable image.*skip_unreadable=True"):
            photographs.load("hymenoptera", "train", size=8, root=folder)
        assert not (folder / "prepared").exists()

        with pytest.warns(UserWarning, match=r"ants/a\.jpg is no readable image .*; it is left out"):
            photos = photographs.load("hymenoptera", "train", size=8, skip_unreadable=True, root=folder)
        assert photos.paths == ("ants/b.png", "bees/c.JPEG")
        assert photos.labels.tolist() == [0, 1]
        assert photos.images[0].any()
        assert not (folder / "prepared").exists(), "an incomplete result is not kept"

    def test_class_without_a_readable_photograph(self, folder):
        (folder / "hymenoptera_data/train/bees/c.JPEG").write_bytes(b"")
        with (
            pytest.warns(UserWarning, match="left out"),
            pytest.raises(DatasetError, match="no readable image in the class folder bees"),
        ):
            photographs.load("hymenoptera", "train", size=8, skip_unreadable=True, root=folder)


def make_archive(path: Path) -> tuple[str, int]:
    """Write an archive with both parts, and return its checksum and size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (tiny_files("train") | tiny_files("val")).items():
            archive.writestr(f"hymenoptera_data/{name}", content)
    return hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size


class TestArchive:
    @pytest.fixture
    def host(self, tmp_path):
        host = Host(tmp_path / "served")
        self.digest, self.size = make_archive(tmp_path / "served/hymenoptera_data.zip")
        yield host
        host.close()

    def aim(self, tiny: Callable, host: Host, mood: str) -> None:
        address = f"{host.url(mood)}/hymenoptera_data.zip"
        tiny(address=address, digest=self.digest, num_bytes=self.size)

    def test_is_fetched_once_after_saying_so(self, host, tiny, data, capsys):
        self.aim(tiny, host, "official")
        train = photographs.load("hymenoptera", "train", size=8, root=data)
        said = capsys.readouterr().out
        assert "Hymenoptera (ants and bees): downloading about 0 MB into" in said
        assert "source: https://pytorch.org" in said
        assert "terms: none stated" in said
        val = photographs.load("hymenoptera", "val", size=8, root=data)
        assert train.paths == val.paths == tuple(SIZES)
        assert len(host.asked) == 1
        names = {"hymenoptera_data.zip", "prepared/hymenoptera-train-8.npz", "prepared/hymenoptera-val-8.npz"}
        assert files_in(data) == names

    def test_reads_as_the_unpacked_folder_does(self, host, tiny, data, folder):
        unpacked = photographs.load("hymenoptera", "train", size=8, root=folder)
        write(folder / "hymenoptera_data", tiny_files("val"))
        mark = photographs.fingerprint("hymenoptera", root=folder)
        shutil.rmtree(data)
        self.aim(tiny, host, "official")
        assert photographs.load("hymenoptera", "train", size=8, root=data).sha256 == unpacked.sha256
        assert photographs.fingerprint("hymenoptera", root=data) == mark

    @pytest.mark.parametrize("mood", ["forbidden", "half", "damaged"])
    def test_that_cannot_be_had(self, host, tiny, data, mood):
        self.aim(tiny, host, mood)
        with pytest.raises(DatasetError, match=r"(?s)could not be downloaded.*SHA-256.*TLUTILS_DATA"):
            photographs.load("hymenoptera", "train", root=data)
        assert files_in(data) == set()

    def test_no_network(self, tiny, data):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        tiny(address=f"http://127.0.0.1:{port}/hymenoptera_data.zip")
        with pytest.raises(
            DatasetError, match=r"(?s)could not be downloaded.*refused.*Connect to the network"
        ):
            photographs.load("hymenoptera", "train", root=data)
        assert files_in(data) == set()

    @pytest.mark.parametrize("how", ["truncated", "flipped"])
    def test_that_lies_there_damaged(self, host, tiny, data, tmp_path, how):
        self.aim(tiny, host, "official")
        content = (tmp_path / "served/hymenoptera_data.zip").read_bytes()
        flipped = content[:99] + bytes([content[99] ^ 1]) + content[100:]
        write(data, {"hymenoptera_data.zip": content[:99] if how == "truncated" else flipped})
        with pytest.raises(DatasetError, match=r"its SHA-256 is .* and should be .*Delete it and load again"):
            photographs.load("hymenoptera", "train", root=data)

    def test_that_is_none(self, tiny, data):
        write(data, {"hymenoptera_data.zip": b"<html>"})
        tiny(digest=hashlib.sha256(b"<html>").hexdigest())
        with pytest.raises(DatasetError, match="not a zip file"):
            photographs.load("hymenoptera", "train", root=data)

    def test_full_disk(self, host, tiny, data, monkeypatch):
        import pooch

        def no_space(*_: object, **__: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.aim(tiny, host, "official")
        monkeypatch.setattr(pooch, "retrieve", no_space)
        with pytest.raises(DatasetError, match="no space left for hymenoptera_data.zip"):
            photographs.load("hymenoptera", "train", root=data)


class TestRepository:
    def test_is_fetched_once_for_all_parts(self, tiny, data, tmp_path, capsys):
        origin = tmp_path / "origin"
        serve(origin)
        parts = tiny_files("amazon") | tiny_files("dslr")
        commit = commit_files(origin, {f"images/{name}": content for name, content in parts.items()})
        tiny(
            "office_caltech10",
            parts=(("amazon", 3), ("dslr", 3)),
            address=origin.as_uri(),
            digest=commit,
            num_bytes=10**6,
        )
        photos = photographs.load("office_caltech10", "amazon", size=8, root=data)
        assert photos.paths == tuple(SIZES)
        said = capsys.readouterr().out
        for part in ("downloading about 1 MB", "github.com/redhat12345", "no licence file"):
            assert part in said
        shutil.rmtree(origin)
        assert len(photographs.load("office_caltech10", "dslr", size=8, root=data)) == 3
        assert capsys.readouterr().out == ""

    def test_that_cannot_be_had(self, tiny, data, tmp_path):
        tiny("office_caltech10", parts=(("amazon", 3),), address=(tmp_path / "none").as_uri())
        with pytest.raises(DatasetError, match=r"(?s)could not be fetched whole .*Nothing was kept"):
            photographs.load("office_caltech10", "amazon", root=data)
        assert files_in(data) == set()

    def test_asks_for_the_images_of_the_fixed_commit(self, data, monkeypatch):
        asked = []
        monkeypatch.setattr(checkouts, "fetch_folder", lambda *arguments: asked.append(arguments))
        with pytest.raises(DatasetError, match="no photographs in the class folder backpack or bike"):
            photographs.load("office_caltech10", "webcam", root=data)
        url = "https://github.com/redhat12345/OfficeCaltechDomainAdaptation"
        commit = "74f70487e1b975d1af05bb9a2ecfbf14a7000080"
        assert asked == [(url, commit, "images", data / "office_caltech10/images", 60_000_000)]


class TestFingerprint:
    @pytest.fixture
    def both(self, folder):
        write(folder / "hymenoptera_data", tiny_files("val"))
        return folder

    def test_by_hand(self, both):
        digest = hashlib.sha256()
        for part in ("train", "val"):
            for name in SIZES:
                content = tiny_files(part)[f"{part}/{name}"]
                digest.update(f"{part}/{name} {hashlib.sha256(content).hexdigest()}\n".encode())
        assert photographs.fingerprint("hymenoptera", root=both) == digest.hexdigest()

    def test_sees_one_bit_and_a_new_name(self, both):
        marks = [photographs.fingerprint("hymenoptera", root=both)]
        path = both / "hymenoptera_data/val/ants/a.jpg"
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        marks.append(photographs.fingerprint("hymenoptera", root=both))
        path.write_bytes(content)
        path.rename(path.with_name("z.jpg"))
        marks.append(photographs.fingerprint("hymenoptera", root=both))
        assert len(set(marks)) == 3
