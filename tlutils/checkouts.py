"""Fetch one folder of one commit of a git repository, checked against the commit's id.

Where nobody has published checksums of the files, the id of a commit serves: it is a digest of everything
that the commit holds, and every file is compared with it here before it gets its final name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tlutils import downloads
from tlutils.downloads import DatasetError

__all__ = ["fetch_folder"]

# A stalled connection ends after a minute; nothing that the user has configured changes or runs anything.
OPTIONS = (
    "core.autocrlf=false",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=0",
    "http.lowSpeedLimit=1000",
    "http.lowSpeedTime=60",
)
NO_SPACE = ("No space left", "Disk quota exceeded", "File too large")
UNKNOWN_COMMIT = ("not our ref", "remote ref", "unadvertised object")


def fetch_folder(
    url: str, commit: str, folder: str, target: Path, num_bytes: int, files: tuple[str, ...] = ()
) -> None:
    """Fetch `folder` as it is in `commit` and put it at `target`, whole or not at all.

    Git compares every object that it receives with the id by which it asked for it. Afterwards each file is
    compared here with the id that the commit records for it. Only then is the folder moved to `target`; a
    folder that another process has put there meanwhile stays.

    Parameters
    ----------
    url
        Address of the repository, as `git fetch` takes it.
    commit
        Full id of the commit (40 hexadecimal digits).
    folder
        Path of the folder in the repository.
    target
        Where the folder is to lie; its parents are made.
    num_bytes
        About how many bytes come; with less than twice that free, nothing is begun.
    files
        Paths in `folder` of the files that are wanted; default is all of them.

    Raises
    ------
    downloads.DatasetError
        There is no git, no network, no such commit or no room, or what came is damaged.
    """
    if (git := shutil.which("git")) is None:
        raise DatasetError(
            f"git is needed to fetch {url} and is not installed. Install it (https://git-scm.com) and load "
            f"again, or put the folder {folder} of commit {commit} at {target} yourself."
        )
    temporary = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        if shutil.disk_usage(target.parent).free < 2 * num_bytes:
            raise downloads.storage_error(OSError(downloads.NO_SPACE[0], ""), target, num_bytes)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", suffix=".part", dir=target.parent))
        try:
            paths = tuple(f"{folder}/{file}" for file in files) or (f"{folder}/",)
            _check_out(git, temporary, url, commit, paths)
            _verify(git, temporary, url, commit, paths)
        except subprocess.CalledProcessError as error:
            raise _explain(error, url, commit, folder, target, num_bytes) from error
        with contextlib.suppress(FileExistsError):
            _move(temporary / folder, target)
    except OSError as error:
        raise downloads.storage_error(error, target, num_bytes) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _check_out(git: str, repository: Path, url: str, commit: str, paths: tuple[str, ...]) -> None:
    """Fetch the one commit without its history, and of its files only those at or below `paths`."""
    _run(git, repository, "init", "--quiet", "--template=")
    _run(git, repository, "remote", "add", "origin", url)
    _run(git, repository, "sparse-checkout", "set", "--no-cone", *(f"/{path}" for path in paths))
    _run(git, repository, "fetch", "--quiet", "--depth=1", "--filter=blob:none", "origin", commit)
    _run(git, repository, "checkout", "--quiet", "--detach", commit)


def _verify(git: str, repository: Path, url: str, commit: str, paths: tuple[str, ...]) -> None:
    """Compare the commit, the objects and every file with the ids.

    Raises
    ------
    downloads.DatasetError
        Something is not what the commit's id stands for.
    """
    head = _run(git, repository, "rev-parse", "HEAD^{commit}").decode().strip()
    if head != commit:
        raise DatasetError(f"{url} gave commit {head} where {commit} was asked for. Nothing was kept.")
    _run(git, repository, "fsck", "--no-progress", "--no-dangling")
    entries = _run(git, repository, "ls-tree", "-r", "-z", commit, *paths).split(b"\0")[:-1]
    if len(entries) < len(paths):
        raise DatasetError(f"Commit {commit} of {url} has not all of {', '.join(paths)}. Nothing was kept.")
    for entry in entries:
        facts, _, name = entry.partition(b"\t")
        mode, _, recorded = facts.decode().split()
        path = repository / os.fsdecode(name)
        is_same = mode.startswith("100") and not path.is_symlink() and path.is_file()
        if not is_same or _blob_id(path.read_bytes()) != recorded:
            raise DatasetError(
                f"{os.fsdecode(name)} from {url} is not what commit {commit} records. Nothing was kept: load "
                "again."
            )


def _blob_id(content: bytes) -> str:
    """Return git's id of a file with this content.

    Examples
    --------
    >>> _blob_id(b"")
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _run(git: str, repository: Path, *arguments: str) -> bytes:
    """Run git in `repository`, in English and without ever asking, and return what it prints."""
    options = [word for option in OPTIONS for word in ("-c", option)]
    # A program that git itself has started (a hook) would otherwise hand on the repository it works in.
    outer = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX")
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    environment |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    command = [git, *options, *arguments]
    return subprocess.run(command, cwd=repository, env=environment, check=True, capture_output=True).stdout


def _explain(
    error: subprocess.CalledProcessError, url: str, commit: str, folder: str, target: Path, num_bytes: int
) -> DatasetError:
    """Return the DatasetError that says why git failed and what to do."""
    said = error.stderr.decode(errors="replace").strip() or f"git ended with status {error.returncode}"
    if any(sign in said for sign in NO_SPACE):
        return downloads.storage_error(OSError(downloads.NO_SPACE[0], said), target, num_bytes)
    if any(f"{sign} {commit}" in said for sign in UNKNOWN_COMMIT):
        cause = f"{url} has no commit {commit}"
    else:
        cause = f"{folder} could not be fetched whole from {url}"
    last_lines = "".join(f"\n  {line}" for line in said.splitlines()[-5:])
    return DatasetError(
        f"{cause}. Git says:{last_lines}\nNothing was kept. Connect to the network and load again, or "
        f"put the folder {folder} of commit {commit} at {target} yourself."
    )


def _move(folder: Path, target: Path) -> None:
    """Give `folder` its final name, unless there is such a folder already."""
    if target.exists():
        raise FileExistsError(target)
    try:
        os.rename(folder, target)
    except OSError:
        if target.exists():  # another process was faster
            raise FileExistsError(target) from None
        raise


def _remove_leftovers(target: Path) -> None:
    """Remove what processes that were killed while fetching the same folder have left."""
    for leftover in target.parent.glob(f".{target.name}-*.part"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > downloads.LEFTOVER_AGE_S:
                shutil.rmtree(leftover, ignore_errors=True)
