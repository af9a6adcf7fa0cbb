"""Fetching and storing: every way in which it can go wrong is done here, on this machine alone."""

from __future__ import annotations

import dataclasses
import errno
import http.server
import io
import os
import pickle
import signal
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tlutils import datasets, downloads
from tlutils.catalogue import REGISTRY, DataFile
from tlutils.downloads import DatasetError


class Host:
    """A host on loopback that serves `folder` in several moods: the first part of an address says which."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked, self.stalled, self.go_on = folder, [], threading.Event(), threading.Event()
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                host.answer(self)

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def url(self, mood: str) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/{mood}"

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        mood, _, path = request.path.lstrip("/").partition("/")
        self.asked.append((mood, path))
        if mood == "forbidden":
            request.send_error(403)
            return
        content = (self.folder / path).read_bytes()
        if mood == "damaged":
            content = content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content[: len(content) // 2] if mood in ("half", "stall") else content)
        if mood == "stall":
            request.wfile.flush()
            self.stalled.set()
            self.go_on.wait(60)

    def close(self) -> None:
        self.go_on.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path / "served")
    yield host
    host.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a place for a data folder that is not there yet."""
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def forget_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_notices_given", set())


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def run_python(script: str, *args: object, **options: object) -> subprocess.Popen:
    """Start Python on `script`, in which `info` is the first argument unpickled and registered as MNIST."""
    prologue = """
        import pickle, sys
        from tlutils import datasets, downloads
        from tlutils.catalogue import REGISTRY
        REGISTRY["mnist"] = pickle.load(open(sys.argv[1], "rb"))
    """
    code = textwrap.dedent(prologue) + textwrap.dedent(script)
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def saved(info: object, tmp_path: Path) -> Path:
    path = tmp_path / "info.pickle"
    path.write_bytes(pickle.dumps(info))
    return path


class TestDownload:
    def test_official_source_first_and_notice_once(self, host, tmp_path, data, tiny_mnist, capsys):
        info = tiny_mnist(tmp_path / "served", hosts=(host.url("official"), host.url("mirror")))
        images = datasets.load("mnist", root=data)
        said = capsys.readouterr().out
        assert len(images) == 30
        assert {mood for mood, _ in host.asked} == {"official"}
        for part in ("MNIST", f"{info.num_bytes / 1e6:.1f} MB", info.licence):
            assert part in said
        (data / "prepared/mnist.npz").unlink()
        (data / info.files[0].path).unlink()
        datasets.load("mnist", root=data)
        assert capsys.readouterr().out == ""

    def test_progress_is_shown(self, host, tmp_path, data, tiny_mnist, capsys):
        tiny_mnist(tmp_path / "served", hosts=(host.url("official"),))
        datasets.load("mnist", root=data)
        assert "100%" in capsys.readouterr().err

    def test_403_leads_to_the_mirror(self, host, tmp_path, data, tiny_mnist):
        tiny_mnist(tmp_path / "served", hosts=(host.url("forbidden"), host.url("mirror")))
        assert len(datasets.load("mnist", root=data)) == 30
        # Asked once, the host that refuses is left alone while the mirror answers.
        assert [mood for mood, _ in host.asked] == ["forbidden", *["mirror"] * 4]

    @pytest.mark.parametrize(
        ("mood", "reason"), [("forbidden", "403"), ("half", "incomplete"), ("damaged", "damaged")]
    )
    def test_no_host_has_it(self, host, tmp_path, data, tiny_mnist, mood, reason):
        info = tiny_mnist(tmp_path / "served", hosts=(host.url(mood), host.url(mood)))
        with pytest.raises(DatasetError) as caught:
            datasets.load("mnist", root=data)
        message = str(caught.value)
        for part in (info.files[0].path, str(data), "TLUTILS_DATA"):
            assert part in message
        assert message.lower().count(reason) >= 2  # once for each address
        assert files_in(data) == set()

    @pytest.mark.parametrize("mood", ["half", "damaged"])
    def test_bad_copy_leads_to_the_mirror(self, host, tmp_path, data, tiny_mnist, mood):
        info = tiny_mnist(tmp_path / "served", hosts=(host.url(mood), host.url("mirror")))
        datasets.load("mnist", root=data)
        for file in info.files:
            assert (data / file.path).read_bytes() == (tmp_path / "served" / file.path).read_bytes()

    def test_no_network(self, tmp_path, data, tiny_mnist):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            port = closed.getsockname()[1]
        tiny_mnist(tmp_path / "served", hosts=(f"http://127.0.0.1:{port}",))
        with pytest.raises(DatasetError, match=r"(?s)could not be downloaded.*refused.*TLUTILS_DATA"):
            datasets.load("mnist", root=data)
        assert files_in(data) == set()

    def test_read_only_folder_is_not_written_to(self, host, tmp_path, data, tiny_mnist, monkeypatch):
        monkeypatch.setenv("TLUTILS_CACHE", str(tmp_path / "cache"))
        tiny_mnist(tmp_path / "served", hosts=(host.url("official"),))
        data.mkdir(mode=0o555)
        assert len(datasets.load("mnist", root=data)) == 30
        assert files_in(data) == set()

    def test_full_disk(self, host, tmp_path, data, tiny_mnist):
        info = tiny_mnist(tmp_path / "served", hosts=(host.url("official"),))
        script = """
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
            try:
                datasets.load("mnist", root=sys.argv[2])
            except downloads.DatasetError as error:
                print(error)
        """
        process = run_python(script, saved(info, tmp_path), data)
        out, err = process.communicate(timeout=120)
        for part in ("no space left", str(data), "TLUTILS_DATA"):
            assert part in out, err
        assert files_in(data) == set()

    def test_kill_9_leaves_no_half_file(self, host, tmp_path, data, tiny_mnist):
        info = tiny_mnist(tmp_path / "served", hosts=(host.url("stall"),))
        process = run_python('datasets.load("mnist", root=sys.argv[2])', saved(info, tmp_path), data)
        assert host.stalled.wait(120)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
        process.communicate()
        assert all(not (data / file.path).exists() for file in info.files)
        host.go_on.set()
        tiny_mnist(tmp_path / "served", hosts=(host.url("official"),))
        assert len(datasets.load("mnist", root=data)) == 30


class TestPreparedFile:
    def test_full_disk(self, tmp_path, data, tiny_mnist):
        info = tiny_mnist(data, num_train=200, num_test=50)
        before = files_in(data)
        # Room for the unpacked training images (157 kB), not for both splits in one file (196 kB).
        script = """
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (180_000, 180_000))
            try:
                datasets.load("mnist", root=sys.argv[2])
            except downloads.DatasetError as error:
                print(error)
        """
        out, err = run_python(script, saved(info, tmp_path), data).communicate(timeout=120)
        for part in ("no space left for mnist.npz (0.2 MB)", "TLUTILS_CACHE"):
            assert part in out, err
        assert files_in(data) == before

    def test_full_disk_keeps_what_was_there(self, data, monkeypatch):
        path = downloads.prepared_path(data, "mnist")
        downloads.write_prepared(path, {"a": np.arange(3)})

        def no_space(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", no_space)
        with pytest.raises(DatasetError, match="no space left"):
            downloads.write_prepared(path, {"a": np.arange(5)})
        assert np.load(path)["a"].tolist() == [0, 1, 2]
        assert files_in(data) == {"prepared/mnist.npz"}

    def test_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").write_text("not a folder")
        with pytest.raises(DatasetError, match="cannot be written"):
            downloads.write_prepared(tmp_path / "file/prepared/mnist.npz", {"a": np.arange(3)})

    def test_two_processes_at_once(self, tmp_path, data, tiny_mnist):
        info = tiny_mnist(data, num_train=2000)
        # Both are forked after the imports, so that they really prepare at the same time.
        script = """
            import os, torchvision
            for child in range(2):
                if os.fork() == 0:
                    print(datasets.load("mnist", root=sys.argv[2]).sha256, flush=True)
                    os._exit(0)
            sys.exit(max(os.wait()[1] for _ in range(2)))
        """
        process = run_python(script, saved(info, tmp_path), data)
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert out.split() == [datasets.load("mnist", root=data).sha256] * 2
        assert files_in(data) == {"prepared/mnist.npz", *(file.path for file in info.files)}

    def test_kill_9(self, tmp_path, data, tiny_mnist):
        info = tiny_mnist(data)
        # Killed at the worst moment: all is written, and the file does not have its name yet.
        script = """
            import os, signal
            os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
            datasets.load("mnist", root=sys.argv[2])
        """
        process = run_python(script, saved(info, tmp_path), data)
        process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL
        assert not (data / "prepared/mnist.npz").exists()
        [leftover] = (data / "prepared").iterdir()
        assert len(datasets.load("mnist", root=data)) == 30
        assert leftover.exists()  # it might belong to a process that is still at work
        old = time.time() - 2 * downloads.LEFTOVER_AGE_S
        os.utime(leftover, (old, old))
        (data / "prepared/mnist.npz").unlink()
        datasets.load("mnist", root=data)
        assert [path.name for path in (data / "prepared").iterdir()] == ["mnist.npz"]

    @pytest.mark.parametrize("mask", [0x01, 0x10, 0x80, 0xFF])
    def test_any_single_wrong_byte_is_damage_or_changes_nothing(self, data, monkeypatch, mask):
        info = dataclasses.replace(REGISTRY["mnist"], num_train=3, num_test=2, image_shape=(2, 2, 1))
        monkeypatch.setitem(REGISTRY, "mnist", info)
        images, path = (
            np.arange(12, dtype=np.uint8).reshape(3, 2, 2, 1),
            downloads.prepared_path(data, "mnist"),
        )
        downloads.write_prepared(path, {"train_images": images, "train_labels": np.arange(3)})
        whole, refused = path.read_bytes(), 0
        for place in range(len(whole)):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
            try:
                found = datasets.load("mnist", root=data)
            except DatasetError:
                refused += 1
            else:
                assert np.array_equal(found.images, images), place
                assert found.labels.tolist() == [0, 1, 2], place
        assert refused > len(whole) / 2

    def test_everyone_may_read_it(self, data, tiny_mnist):
        tiny_mnist(data)
        datasets.load("mnist", root=data)
        assert (data / "prepared/mnist.npz").stat().st_mode & 0o777 == 0o644


class TestFolders:
    def test_root_then_variable_then_cache(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TLUTILS_DATA", str(tmp_path / "variable"))
        assert downloads.data_folder(tmp_path / "root") == tmp_path / "root"
        assert downloads.data_folder() == tmp_path / "variable"
        monkeypatch.delenv("TLUTILS_DATA")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        assert downloads.data_folder() == tmp_path / "cache/tlutils"

    def test_read_only_by_its_mode(self, tmp_path):
        folder = tmp_path / "shelf"
        folder.mkdir(mode=0o555)
        assert not downloads.is_writable(folder)
        assert not downloads.is_writable(folder / "not/there")
        assert downloads.is_writable(tmp_path / "not/there")

    def test_two_read_only_folders_do_not_mix(self, tmp_path, monkeypatch):
        monkeypatch.setenv("TLUTILS_CACHE", str(tmp_path / "cache"))
        for name in ("a", "b"):
            (tmp_path / name).mkdir(mode=0o555)
        first, second = (downloads.search_folders(tmp_path / name) for name in ("a", "b"))
        assert first[0] == tmp_path / "a"
        assert first[1].parent == tmp_path / "cache"
        assert first[1] != second[1]

    def test_writable_folder_is_the_only_one(self, tmp_path):
        assert downloads.search_folders(tmp_path) == (tmp_path,)


class TestStaging:
    def test_no_room_for_temporary_files(self, data, tiny_mnist, monkeypatch):
        tiny_mnist(data)

        def no_folder(*_: object, **__: object) -> None:
            raise FileNotFoundError("No usable temporary directory found")

        monkeypatch.setattr(downloads.tempfile, "TemporaryDirectory", no_folder)
        with pytest.raises(DatasetError, match="TMPDIR"):
            datasets.load("mnist", root=data)

    def test_full_disk_is_not_blamed_on_the_file(self, data, tiny_mnist, monkeypatch):
        tiny_mnist(data)

        def no_space(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(downloads.shutil, "copyfileobj", no_space)
        with pytest.raises(DatasetError, match="no space left"):
            datasets.load("mnist", root=data)

    def test_originals_are_never_changed(self, data, tiny_mnist):
        info = tiny_mnist(data)
        before = {file: (data / file.path).read_bytes() for file in info.files}
        datasets.load("mnist", root=data)
        assert before == {file: (data / file.path).read_bytes() for file in info.files}
        assert files_in(data) == {"prepared/mnist.npz", *(file.path for file in info.files)}


def stage_archive(folder: Path, *members: tarfile.TarInfo) -> set[str]:
    """Stage an archive with these members, 3 bytes each, and return which files came out."""
    path = folder / "some.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for member in members:
            member.size = 3 if member.isfile() else 0
            archive.addfile(member, io.BytesIO(b"abc"))
    with downloads.staged({DataFile(path.name, "", 0, (), is_checked=False): path}) as staged:
        return {p.relative_to(staged).as_posix() for p in staged.rglob("*") if p.is_file()}


@pytest.fixture(params=["filters", "no filters"])
def either_tarfile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unpack as Python 3.11.4 and later do, and as those before do, which have no filters."""
    if request.param == "no filters":
        older = SimpleNamespace(open=tarfile.open, TarError=tarfile.TarError, TarFile=tarfile.TarFile)
        monkeypatch.setattr(downloads, "tarfile", older)


def member(name: str, kind: bytes = tarfile.REGTYPE, **options: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type = kind
    for option, value in options.items():
        setattr(made, option, value)
    return made


# Python 3.12 and 3.13 warn where no filter is given.
@pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")
@pytest.mark.usefixtures("either_tarfile")
class TestUnpacking:
    def test_files_and_folders(self, tmp_path):
        folder = member("a", tarfile.DIRTYPE, mode=0o755)
        assert stage_archive(tmp_path, folder, member("a/b"), member("./c")) == {"a/b", "c"}

    @pytest.mark.parametrize("bad", [
        member("../b"), member("a/../../b"), member("b", tarfile.FIFOTYPE), member("b", tarfile.CHRTYPE),
        member("b", tarfile.SYMTYPE, linkname="/etc"), member("b", tarfile.LNKTYPE, linkname="../a"),
    ], ids=lambda bad: f"{bad.name} {bad.type.decode()}")  # fmt: skip
    def test_anything_else_is_refused(self, tmp_path, bad):
        with pytest.raises(DatasetError, match=r"some\.tar\.gz is damaged or incomplete \(.*b.*\)"):
            stage_archive(tmp_path, member("a"), bad)
        assert {path.name for path in tmp_path.iterdir()} == {"some.tar.gz"}


def test_without_filters_an_absolute_place_is_refused(tmp_path, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter", raising=False)
    with pytest.raises(DatasetError, match="'/b' in it is no file or folder below the archive's own"):
        stage_archive(tmp_path, member("/b"))


def test_verify_names_what_is_wrong(tmp_path: Path) -> None:
    info = REGISTRY["usps"]
    images = np.zeros((7291, 16, 16, 1), dtype=np.uint8)
    labels = np.zeros(7291, dtype=np.int64)
    downloads.verify(tmp_path, info, "train", images, labels)
    wrong: list[tuple[Callable[[], tuple[np.ndarray, np.ndarray]], str]] = [
        (lambda: (images[:-1], labels), "train images are uint8"),
        (lambda: (images.astype(np.float32), labels), "train images are float32"),
        (lambda: (images, labels[:-1]), "train labels are int64"),
        (lambda: (images, labels.astype(np.int32)), "train labels are int32"),
        (lambda: (images, labels - 1), "go from -1 to -1"),
        (lambda: (images, labels + 10), "go from 10 to 10"),
    ]
    for make, message in wrong:
        with pytest.raises(DatasetError, match=message):
            downloads.verify(tmp_path, info, "train", *make())
