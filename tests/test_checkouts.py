"""Fetching a folder of a commit: every way in which it can go wrong, done to a repository on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tlutils import checkouts, downloads
from tlutils.checkouts import fetch_folder
from tlutils.downloads import DatasetError

CONTENT = {
    "images/a/1.bin": b"\x00one\r\n" * 99,
    "images/b/2 \xe9.bin": b"two\n",
    "other/large.bin": b"x" * 9999,
}


def git(folder: Path, *arguments: str) -> str:
    """Run git in a repository that a test has made."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit_files(folder: Path, files: dict[str, bytes]) -> str:
    """Write files, commit everything, and return the id of the commit."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=more")
    return git(folder, "rev-parse", "HEAD")


def serve(folder: Path) -> None:
    """Make an empty repository that gives single commits and leaves out files, as GitHub does."""
    folder.mkdir()
    git(folder, "init", "--quiet")
    git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(folder, "config", "uploadpack.allowFilter", "true")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "origin"
    serve(folder)
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "data/set/images"


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def use_fake_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Put a program named git in front of the real one; `$REAL` is the real one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").write_text(f"#!/bin/sh\nREAL={shutil.which('git')}\n{script}\n")
    (folder / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


class TestRight:
    @pytest.mark.parametrize("can_filter", ["true", "false"])
    def test_the_commit_and_folder_that_were_asked_for(self, origin, target, can_filter):
        git(origin, "config", "uploadpack.allowFilter", can_filter)
        commit = commit_files(origin, CONTENT)
        commit_files(origin, {"images/a/1.bin": b"newer", "images/c/3.bin": b"3"})

        fetch_folder(origin.as_uri(), commit, "images", target, 1000)

        found = {p.relative_to(target).as_posix(): p.read_bytes() for p in target.rglob("*") if p.is_file()}
        assert found == {"a/1.bin": CONTENT["images/a/1.bin"], "b/2 \xe9.bin": b"two\n"}
        assert left_in(target.parent) == ["images"]

    def test_files_outside_the_folder_are_not_fetched(self, origin, target, monkeypatch):
        commit = commit_files(origin, CONTENT)
        missing = []

        def look(git_path: str, repository: Path, *_: str) -> None:
            listed = checkouts._run(git_path, repository, "rev-list", "--objects", "--missing=print", commit)
            missing.extend(line for line in listed.decode().splitlines() if line.startswith("?"))

        monkeypatch.setattr(checkouts, "_verify", look)
        fetch_folder(origin.as_uri(), commit, "images", target, 1000)
        assert missing == [f"?{checkouts._blob_id(CONTENT['other/large.bin'])}"]

    def test_single_files(self, origin, target):
        commit = commit_files(origin, CONTENT | {"images/b/2.bin": b"2"})
        fetch_folder(origin.as_uri(), commit, "images", target, 1000, ("b/2.bin",))
        assert [path.name for path in target.rglob("*") if path.is_file()] == ["2.bin"]
        missing = r"has not all of images/a/1.bin, images/none|could not be fetched"
        with pytest.raises(DatasetError, match=missing):
            fetch_folder(origin.as_uri(), commit, "images", target.with_name("x"), 9, ("a/1.bin", "none"))
        assert left_in(target.parent) == ["images"]

    def test_a_hook_of_another_repository_may_call_it(self, origin, target, tmp_path, monkeypatch):
        commit = commit_files(origin, CONTENT)
        serve(tmp_path / "outer")
        monkeypatch.setenv("GIT_DIR", str(tmp_path / "outer/.git"))
        monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "outer/.git/index"))
        fetch_folder(origin.as_uri(), commit, "images", target, 1000)
        assert left_in(target) == ["a", "b"]
        assert not (tmp_path / "outer/.git/index").exists()

    def test_line_ends_stay_whatever_the_user_has_configured(self, origin, target, tmp_path, monkeypatch):
        (tmp_path / "gitconfig").write_text("[core]\n\tautocrlf = true\n")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
        git(origin, "config", "core.autocrlf", "false")
        commit = commit_files(origin, {"images/a.txt": b"1\n2\n"})
        fetch_folder(origin.as_uri(), commit, "images", target, 1000)
        assert (target / "a.txt").read_bytes() == b"1\n2\n"

    def test_what_another_process_has_put_there_stays(self, origin, target, monkeypatch):
        commit, verify = commit_files(origin, CONTENT), checkouts._verify

        def lose_the_race(*arguments: object) -> None:
            verify(*arguments)
            target.mkdir()
            (target / "theirs").touch()

        monkeypatch.setattr(checkouts, "_verify", lose_the_race)
        fetch_folder(origin.as_uri(), commit, "images", target, 1000)
        assert left_in(target) == ["theirs"]
        assert left_in(target.parent) == ["images"]


class TestWrong:
    def assert_refused(self, url: str, commit: str, target: Path, message: str) -> None:
        with pytest.raises(DatasetError, match=message):
            fetch_folder(url, commit, "images", target, 1000)
        assert left_in(target.parent) == []

    def test_unknown_commit(self, origin, target):
        commit_files(origin, CONTENT)
        self.assert_refused(
            origin.as_uri(), "0123456789" * 4, target, r"(?s)has no commit 0123456789.*yourself"
        )

    def test_another_commit_than_asked_for(self, origin, target, monkeypatch):
        first = commit_files(origin, CONTENT)
        second = commit_files(origin, {"images/a/1.bin": b"newer"})
        check_out = checkouts._check_out

        def give_another(git_path: str, folder: Path, url: str, _: str, paths: tuple[str, ...]) -> None:
            check_out(git_path, folder, url, second, paths)

        monkeypatch.setattr(checkouts, "_check_out", give_another)
        self.assert_refused(
            origin.as_uri(), first, target, f"gave commit {second} where {first} was asked for"
        )

    def test_no_such_folder(self, origin, target):
        commit = commit_files(origin, {"other/1.bin": b"1"})
        self.assert_refused(origin.as_uri(), commit, target, "has not all of images/|could not be fetched")

    @pytest.mark.parametrize("how", ["truncated", "flipped", "exchanged", "gone"])
    def test_damaged_object(self, origin, target, how):
        commit = commit_files(origin, CONTENT)
        stored = origin / ".git/objects"
        objects = {name: checkouts._blob_id(content) for name, content in CONTENT.items()}
        path, other = (
            stored / i[:2] / i[2:] for i in (objects["images/a/1.bin"], objects["other/large.bin"])
        )
        content = path.read_bytes()
        path.chmod(0o644)
        if how == "gone":
            path.unlink()
        elif how == "exchanged":  # a sound object, but not the one of that id
            path.write_bytes(other.read_bytes())
        else:
            middle = len(content) // 2
            flipped = content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
            path.write_bytes(content[:middle] if how == "truncated" else flipped)
        self.assert_refused(
            origin.as_uri(), commit, target, r"(?s)could not be fetched whole.*Git says.*load again"
        )

    def test_file_that_checkout_has_changed(self, origin, target):
        # Attributes of the repository itself make git write other bytes than the commit records.
        commit = commit_files(origin, {".gitattributes": b"*.txt text eol=crlf\n", "images/a.txt": b"1\n2\n"})
        self.assert_refused(origin.as_uri(), commit, target, "images/a.txt from .* is not what commit")

    def test_link_out_of_the_folder(self, origin, target):
        (origin / "images").mkdir()
        (origin / "images/a").symlink_to("/etc/passwd")
        commit = commit_files(origin, {"images/b": b""})
        self.assert_refused(origin.as_uri(), commit, target, "images/a from .* is not what commit")

    def test_git_is_not_installed(self, origin, target, tmp_path, monkeypatch):
        commit = commit_files(origin, CONTENT)
        monkeypatch.setenv("PATH", str(tmp_path))
        self.assert_refused(origin.as_uri(), commit, target, "git is needed .* not installed. Install it")

    def test_no_network(self, target):
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}/a.git"
        self.assert_refused(
            url, "0" * 40, target, r"(?s)could not be fetched whole.*connect.*Connect to the network"
        )

    def test_too_little_room_to_begin(self, origin, target, monkeypatch):
        commit = commit_files(origin, CONTENT)
        usage = shutil._ntuple_diskusage(10**6, 10**6 - 1999, 1999)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
        self.assert_refused(origin.as_uri(), commit, target, r"no space left for images .*TLUTILS_DATA")

    def test_disk_full_on_the_way(self, target, tmp_path, monkeypatch):
        use_fake_git(
            tmp_path, monkeypatch, "echo 'fatal: write error: No space left on device' >&2; exit 128"
        )
        self.assert_refused(
            "https://example.org/a.git", "0" * 40, target, r"no space left for images .*TLUTILS_DATA"
        )

    def test_git_that_dies_without_a_word(self, target, tmp_path, monkeypatch):
        use_fake_git(tmp_path, monkeypatch, "exit 3")
        self.assert_refused("https://example.org/a.git", "0" * 40, target, "git ended with status 3")

    def test_parent_that_cannot_be_made(self, origin, tmp_path):
        commit = commit_files(origin, CONTENT)
        (tmp_path / "file").touch()
        with pytest.raises(DatasetError, match="cannot be written"):
            fetch_folder(origin.as_uri(), commit, "images", tmp_path / "file/images", 1000)


class TestInterrupted:
    def test_by_the_user(self, origin, target, monkeypatch):
        commit = commit_files(origin, CONTENT)

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(checkouts, "_verify", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch_folder(origin.as_uri(), commit, "images", target, 1000)
        assert left_in(target.parent) == []

    def test_killed(self, origin, target):
        commit = commit_files(origin, CONTENT)
        # Killed at the worst moment: every file is checked out, and the folder does not have its name yet.
        script = (
            "import os, signal, sys, pathlib; from tlutils import checkouts\n"
            "checkouts._move = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
            "checkouts.fetch_folder(*sys.argv[1:4], pathlib.Path(sys.argv[4]), 1000)\n"
        )
        arguments = [origin.as_uri(), commit, "images", str(target)]
        killed = subprocess.run([sys.executable, "-c", script, *arguments], check=False)
        assert killed.returncode == -signal.SIGKILL
        [leftover] = left_in(target.parent)
        assert leftover.endswith(".part")

        fetch_folder(origin.as_uri(), commit, "images", target, 1000)
        assert left_in(target.parent) == [leftover, "images"]  # it might belong to a process still at work
        old = time.time() - 2 * downloads.LEFTOVER_AGE_S
        os.utime(target.parent / leftover, (old, old))
        shutil.rmtree(target)
        fetch_folder(origin.as_uri(), commit, "images", target, 1000)
        assert left_in(target.parent) == ["images"]


def test_blob_id_is_that_of_git(tmp_path: Path) -> None:
    check: Callable[[bytes], str] = checkouts._blob_id
    for content in CONTENT.values():
        (tmp_path / "file").write_bytes(content)
        assert check(content) == git(tmp_path, "hash-object", "file")
