"""Fetch original data files, and keep the prepared form that every later load reads.

Three rules hold for everything here. A file has its final name only when it is complete: it is written under
a temporary name in the same folder and then renamed, so neither a crash nor a second process can leave half a
file that looks whole. What is downloaded must have the published checksum. What is already there is never
changed.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import math
import os
import shutil
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tlutils.catalogue import DataFile, DatasetInfo

CONNECT_TIMEOUT_S = 20
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LEFTOVER_AGE_S = 3600  # an unfinished prepared file this old belongs to a process that died

_notices_given: set[str] = set()


class DatasetError(RuntimeError):
    """Data that are missing, damaged, or cannot be fetched or stored; the message says what to do."""


def data_folder(root: str | os.PathLike | None = None) -> Path:
    """Return the folder of the data: `root`, else `TLUTILS_DATA`, else the user's cache folder."""
    if root is None:
        root = os.environ.get("TLUTILS_DATA") or _user_cache()
    return Path(root).expanduser()


def search_folders(root: str | os.PathLike | None = None) -> tuple[Path, ...]:
    """Return the folders to look for data in, in order; the last one is where new files are written.

    That is the data folder alone, or, if nothing may be written there, also a folder of its own in
    `TLUTILS_CACHE` (else the user's cache folder), so that a shared read-only collection serves everyone.
    """
    folder = data_folder(root)
    if is_writable(folder):
        return (folder,)
    mark = hashlib.blake2b(str(folder.resolve()).encode(), digest_size=4).hexdigest()
    cache = Path(os.environ.get("TLUTILS_CACHE") or _user_cache()).expanduser()
    return (folder, cache / f"beside-{mark}")


def is_writable(folder: Path) -> bool:
    """Tell whether `folder`, or the nearest folder above it that exists, may be written into.

    A folder whose mode has no write bit at all counts as read-only for every user, the administrator
    included.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK)


def locate(file: DataFile, folders: tuple[Path, ...]) -> Path | None:
    """Return where `file`, or else its unpacked form, lies in the first folder that has it, or None."""
    for folder in folders:
        for relative in filter(None, (file.path, file.unpacked)):
            if (folder / relative).exists():
                return folder / relative
    return None


def fetch(info: DatasetInfo, folders: tuple[Path, ...]) -> dict[DataFile, Path]:
    """Return where each original file of `info` lies; missing ones are downloaded into the last folder.

    Raises
    ------
    DatasetError
        A file can be had from none of its addresses, or cannot be stored.
    """
    found = {file: locate(file, folders) for file in info.files}
    missing = [file for file, path in found.items() if path is None]
    if missing:
        _give_notice(info, missing, folders[-1])
    refusing: set[str] = set()
    for file in missing:
        found[file] = _download(file, folders[-1], refusing)
    return found


def _give_notice(info: DatasetInfo, missing: list[DataFile], folder: Path) -> None:
    """Say once per process what is about to be downloaded, how large it is and on which terms."""
    if info.name not in _notices_given:
        _notices_given.add(info.name)
        size = sum(file.num_bytes for file in missing) / 1e6
        print(f"{info.title}: downloading {size:.1f} MB into {folder}")
        print(f"  source: {info.url}\n  terms: {info.licence}")


def _download(file: DataFile, folder: Path, refusing: set[str]) -> Path:
    """Download one file from the first of its addresses that gives it with the right checksum.

    An address that fails is added to `refusing`, so that for the next file it is tried last: waiting once
    for a host that does not answer is enough.
    """
    import pooch  # here, because it is not needed when the data are there
    import requests

    target, failures = folder / file.path, []
    for url in sorted(file.urls, key=lambda url: _place(url) in refusing):
        downloader = pooch.HTTPDownloader(progressbar=True, chunk_size=1 << 16, timeout=CONNECT_TIMEOUT_S)
        try:
            # pooch writes under a temporary name, compares the checksum, and only then renames.
            pooch.retrieve(url, f"md5:{file.md5}", target.name, target.parent, downloader=downloader)
            return target
        except requests.exceptions.RequestException as error:
            failures.append(f"  {url}: {error}")
        except ValueError as error:  # pooch's way to say that the checksum is wrong
            failures.append(f"  {url}: what came is damaged or incomplete ({error})")
        except OSError as error:
            raise storage_error(error, target, file.num_bytes) from error
        refusing.add(_place(url))
    raise DatasetError(
        "\n".join([f"{file.path} could not be downloaded:", *failures])
        + f"\nConnect to the network and load again, or put the file (md5 {file.md5}) at {target}, or set "
        "the environment variable TLUTILS_DATA to a folder that has it."
    )


def _place(url: str) -> str:
    """Return an address without its last part, which is the name of a file."""
    return url.rpartition("/")[0]


def storage_error(error: OSError, path: Path, num_bytes: int) -> DatasetError:
    """Return the DatasetError to raise when `path` cannot be written; a full disk is named as such."""
    if error.errno in NO_SPACE:
        cause = f"no space left for {path.name} ({num_bytes / 1e6:.1f} MB) in {path.parent}: free some"
    else:
        cause = f"{path.name} cannot be written in {path.parent} ({error}): make the folder writable"
    return DatasetError(
        f"{cause}, or set TLUTILS_DATA (or TLUTILS_CACHE) to another folder. Nothing was left behind."
    )


@contextlib.contextmanager
def staged(found: dict[DataFile, Path]) -> Iterator[Path]:
    """Give a temporary folder in which the files of `found` lie unpacked, as torchvision expects them.

    torchvision itself unpacks beside the archive; a read-only data folder does not allow that, and a reader's
    data folder need not hold everything twice.

    Raises
    ------
    DatasetError
        An archive has a wrong checksum, or cannot be unpacked.
    """
    for file, path in found.items():
        _check(file, path)
    try:
        temporary = tempfile.TemporaryDirectory(prefix="tlutils-")
    except OSError as error:  # what a full disk makes of it
        raise DatasetError(
            f"There is no room for temporary files ({error}). Free some, or set TMPDIR."
        ) from error
    with temporary as folder:
        for file, path in found.items():
            try:
                _stage(file, path, Path(folder))
            except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
                if getattr(error, "errno", None) in NO_SPACE:
                    raise storage_error(error, Path(folder) / path.name, file.num_bytes) from error
                raise damaged(path, error) from error
        yield Path(folder)


def damaged(path: Path, cause: object) -> DatasetError:
    """Return the DatasetError to raise when `path` is truncated or corrupted."""
    return DatasetError(f"{path} is damaged or incomplete ({cause}). Delete it and load again.")


def _check(file: DataFile, path: Path) -> None:
    """Compare the checksum of an original file that must have the published one."""
    is_original = path.is_file() and path.name == Path(file.path).name
    if file.is_checked and is_original:
        with path.open("rb") as stream:
            md5 = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if md5 != file.md5:
            size = f"{path.stat().st_size} of {file.num_bytes} bytes"
            raise damaged(path, f"{size}, its md5 is {md5} and should be {file.md5}")


def _stage(file: DataFile, path: Path, folder: Path) -> None:
    """Put the unpacked form of one file at its place below `folder`."""
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path) as archive:
            _unpack(archive, folder)
        return
    is_packed = path.name.endswith(".gz")
    relative = file.unpacked if is_packed or path.name != Path(file.path).name else file.path
    target = folder / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    if is_packed:
        with gzip.open(path) as stream, target.open("wb") as out:
            shutil.copyfileobj(stream, out, 1 << 20)
    else:
        target.symlink_to(path.resolve())


def _unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpack an archive of nothing but files and folders, all of them below `folder`.

    Raises
    ------
    tarfile.TarError
        The archive holds something else.
    """
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
        return
    for member in archive.getmembers():  # Python 3.11.0 to 3.11.3 have no filters
        place = Path(member.name)
        if place.anchor or ".." in place.parts or not (member.isfile() or member.isdir()):
            raise tarfile.TarError(f"{member.name!r} in it is no file or folder below the archive's own")
    archive.extractall(folder)


def prepared_path(folder: Path, name: str) -> Path:
    """Return where the prepared form of data set `name` lies below `folder`."""
    return folder / "prepared" / f"{name}.npz"


def write_prepared(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write `arrays` to `path` so that the file is there whole or not at all.

    Raises
    ------
    DatasetError
        It cannot be stored; a file that was there before is still there.
    """
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        handle, part = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=".part", dir=path.parent)
        with open(handle, "wb") as stream:
            np.savez(stream, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(part, 0o644)  # mkstemp lets only the owner read; a data folder may be shared
        os.replace(part, path)
    except OSError as error:
        raise storage_error(error, path, sum(array.nbytes for array in arrays.values())) from error
    finally:
        if part is not None:
            with contextlib.suppress(OSError):  # gone already when it was renamed
                os.unlink(part)


def _remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed while preparing the same data set have left."""
    for leftover in path.parent.glob(f".{path.stem}-*.part"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > LEFTOVER_AGE_S:
                leftover.unlink()


def check_arrays(path: Path) -> None:
    """Look whether each part of a prepared file begins as an array of its size does.

    A single wrong byte makes `zipfile` and NumPy stumble in a dozen ways, from NotImplementedError to a
    request for petabytes of memory; all of them mean the same. The content has a checksum of its own.

    Raises
    ------
    DatasetError
        Names the file, what was found, and what to do.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for part in archive.infolist():
                with archive.open(part) as stream:
                    version, _ = np.lib.format.read_magic(stream)
                    shape, _, dtype = getattr(np.lib.format, f"read_array_header_{version}_0")(stream)
                    if (needed := stream.tell() + math.prod(shape) * dtype.itemsize) != part.file_size:
                        raise damaged(path, f"{part.filename} has {part.file_size} bytes, not {needed}")
    except DatasetError:
        raise
    except Exception as error:
        raise damaged(path, f"{type(error).__name__}: {error}") from error


def read_prepared(path: Path, info: DatasetInfo, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels of one split from a prepared file.

    Raises
    ------
    DatasetError
        The file is damaged or holds something else.
    """
    try:
        # Opened here, because np.load leaves a damaged file open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise damaged(path, error) from error
    verify(path, info, split, images, labels)
    return images, labels


def verify(path: Path, info: DatasetInfo, split: str, images: np.ndarray, labels: np.ndarray) -> None:
    """Check shapes, types, the range of the labels and, where one is fixed, the digest of one split.

    Raises
    ------
    DatasetError
        One of them is not as `info` says.
    """
    num_images, last = info.num_train if split == "train" else info.num_test, len(info.class_names) - 1
    shape = (num_images, *info.image_shape)
    if images.shape != shape or images.dtype != np.uint8:
        raise damaged(path, f"{split} images are {images.dtype} {images.shape}, not uint8 {shape}")
    if labels.shape != (num_images,) or labels.dtype != np.int64:
        raise damaged(path, f"{split} labels are {labels.dtype} {labels.shape}, not int64 {(num_images,)}")
    if labels.min() < 0 or labels.max() > last:
        raise damaged(path, f"{split} labels go from {labels.min()} to {labels.max()}, not from 0 to {last}")
    expected = dict(info.digests).get(split)
    if expected is not None and (digest := sha256(images, labels)) != expected:
        raise damaged(path, f"SHA-256 of the {split} part is {digest} and should be {expected}")


def sha256(images: np.ndarray, labels: np.ndarray) -> str:
    """Return the SHA-256, in hexadecimal, over the bytes of the images, then of the labels (int64)."""
    digest = hashlib.sha256(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(labels, dtype="<i8").data)
    return digest.hexdigest()


def _user_cache() -> str:
    """Return the user's cache folder for this package."""
    import pooch  # here, because it is not needed when a folder is given

    return str(pooch.os_cache("tlutils"))
