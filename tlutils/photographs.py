"""Folders of photographs with one subfolder a class: what there is, where it comes from, and one reader.

The photographs have all sizes; `load` makes squares of them. The result is kept as one uncompressed
`prepared/<name>-<part>-<size>.npz`, which every later load reads (150 kB a photograph at 224 pixels).
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from tlutils import checkouts, downloads
from tlutils.catalogue import PhotographInfo, look_up, nearest_names
from tlutils.datasets import ImageSet
from tlutils.downloads import DatasetError
from tlutils.tabular import TABLES

__all__ = [
    "PHOTOGRAPHS",
    "DatasetError",
    "PhotographInfo",
    "PhotographSet",
    "available",
    "describe",
    "fingerprint",
    "load",
    "square",
]

SUFFIXES = (".jpg", ".jpeg", ".png")


_OFFICE = TABLES["office_caltech10_surf"]

PHOTOGRAPHS: dict[str, PhotographInfo] = {
    info.name: info
    for info in (
        PhotographInfo(
            name="hymenoptera",
            title="Hymenoptera (ants and bees)",
            url="https://pytorch.org/tutorials/beginner/transfer_learning_tutorial.html",
            licence="none stated; a very small subset of ImageNet, whose photographs are their authors'",
            citation="S. Chilamkurthy, Transfer learning for computer vision tutorial, PyTorch (2017); "
            "J. Deng et al., ImageNet: a large-scale hierarchical image database, CVPR (2009)",
            note="The archive must have the SHA-256 that the tutorial's own build checks (repository "
            "pytorch/tutorials, .jenkins/download_data.py). A copy reduced to 256 pixels serves as well, as "
            "hymenoptera_256/train and /val; figures computed from it belong to that copy.",
            class_names=("ants", "bees"),
            parts=(("train", 244), ("val", 153)),
            folders=("hymenoptera_data", "hymenoptera_256"),
            num_bytes=47_286_322,
            address="https://download.pytorch.org/tutorial/hymenoptera_data.zip",
            digest="fbc41b31d544714d18dd1230b1e2b455e1557766e13e67f9f5a7a23af7c02209",
        ),
        PhotographInfo(
            name="office_caltech10",
            title="Office-Caltech-10, photographs",
            url=_OFFICE.url,
            licence="none stated (the repository has no licence file)",
            citation=_OFFICE.citation,
            note="Nobody has published checksums of these files. They are fetched with git, and each is "
            "compared with what the fixed commit records for it. A copy reduced to 256 pixels serves as well "
            "in the same place; figures computed from it belong to that copy. The size of the download is an "
            "estimate.",
            class_names=_OFFICE.class_names,
            parts=(("amazon", 958), ("caltech10", 1_123), ("dslr", 157), ("webcam", 295)),
            folders=("office_caltech10/images",),
            num_bytes=60_000_000,
            address=_OFFICE.url,
            digest="74f70487e1b975d1af05bb9a2ecfbf14a7000080",
        ),
    )
}


@dataclass(frozen=True)
class PhotographSet(ImageSet):
    """Photographs of one size, RGB, with labels in ascending order; its name is `name/part`.

    Parameters
    ----------
    paths
        The file of each image, as `class/file`.
    """

    paths: tuple[str, ...]


def available() -> tuple[str, ...]:
    """Return the names that `load` takes.

    Examples
    --------
    >>> available()
    ('hymenoptera', 'office_caltech10')
    """
    return tuple(PHOTOGRAPHS)


def describe(name: str) -> PhotographInfo:
    """Return title, source, terms, citation, parts and sizes of a set without reading it.

    Raises
    ------
    ValueError
        There is no set of that name.

    Examples
    --------
    >>> describe("hymenoptera").parts
    (('train', 244), ('val', 153))
    """
    return look_up(PHOTOGRAPHS, name, "set of photographs")


def load(
    name: str,
    part: str,
    *,
    size: int = 224,
    skip_unreadable: bool = False,
    root: str | os.PathLike | None = None,
) -> PhotographSet:
    """Read one part of a set of photographs as squares, fetching the originals first where they are missing.

    Parameters
    ----------
    name
        One of `available()`.
    part
        One of the parts in `describe(name).parts`: "train" or "val"; a domain of Office-Caltech-10.
    size
        Side of the squares in pixels. The shorter side of each photograph is resized to it (bilinear,
        smoothed when reducing), then the middle is cut out; that is torchvision's `Resize(size)` and
        `CenterCrop(size)`. Smaller photographs are enlarged.
    skip_unreadable
        Leave out files that are no readable image, with a warning that names each, instead of raising. Such
        an incomplete result is not kept.
    root
        Folder of the data; default is the environment variable TLUTILS_DATA, else the user's cache folder.

    Returns
    -------
    The images as RGB (grey ones have three equal channels), ordered by class and then by file name.

    Raises
    ------
    ValueError
        Unknown name or part, or a size that is no positive integer.
    DatasetError
        The photographs cannot be fetched or stored; one is unreadable; a class has none; or there are not as
        many as published.

    Notes
    -----
    A reduced copy in the data folder is read too (see `describe(name).note`); figures then belong to that
    copy. Orientation tags are ignored, as torchvision does. The first load takes some
    milliseconds a photograph, later ones read the prepared file.
    """
    info = describe(name)
    expected = dict(info.parts)
    if part not in expected:
        raise ValueError(f"{name} has no part {part!r}.{nearest_names(part, expected)}")
    if isinstance(size, bool) or not isinstance(size, Integral) or size < 1:
        raise ValueError(f"size is {size!r}; expected a number of pixels, an integer of at least 1")
    folders = downloads.search_folders(root)
    prepared = [downloads.prepared_path(folder, f"{name}-{part}-{size}") for folder in folders]
    for path in prepared:
        if path.exists():
            try:
                return _read_prepared(path, info, part, int(size))
            except DatasetError as error:
                warnings.warn(f"{error} It is made again from the photographs.", stacklevel=2)
    place, files = _list_files(info, part, folders)
    arrays = _read_all(info, place, files, int(size), skip_unreadable)
    if len(arrays["labels"]) == expected[part]:
        downloads.write_prepared(prepared[-1], arrays)
    return _as_set(info, part, arrays)


def fingerprint(name: str, *, root: str | os.PathLike | None = None) -> str:
    """Return a SHA-256 over all files of a set, before they are decoded: which copy it is.

    It does not depend on the library that decodes and resizes. Missing originals are fetched.

    Parameters
    ----------
    name
        One of `available()`.
    root
        Folder of the data, as in `load`.

    Returns
    -------
    64 hexadecimal digits, over part, path and SHA-256 of each file.

    Raises
    ------
    DatasetError
        The photographs cannot be fetched, or are not as many as published.
    """
    info, digest = describe(name), hashlib.sha256()
    for part, _ in info.parts:
        _, files = _list_files(info, part, downloads.search_folders(root))
        for path, read in files.items():
            digest.update(f"{part}/{path} {hashlib.sha256(read()).hexdigest()}\n".encode())
    return digest.hexdigest()


Files = dict[str, Callable[[], bytes]]


def _list_files(info: PhotographInfo, part: str, folders: tuple[Path, ...]) -> tuple[Path, Files]:
    """Return where one part lies, and how to read each of its photographs, by `class/file` in order.

    Raises
    ------
    DatasetError
        It cannot be fetched, or has not the classes or the number of photographs that were published.
    """
    place = _find(info, part, folders) or _fetch(info, part, folders[-1])
    files = _in_archive(info, part, place) if place.is_file() else _in_folder(place)
    found = Counter(path.partition("/")[0] for path in files)
    empty = [name for name in info.class_names if not found[name]]
    if empty:
        raise DatasetError(f"{place} has no photographs in the class folder {' or '.join(empty)}. {_ADVICE}")
    if extra := sorted(set(found) - set(info.class_names)):
        raise DatasetError(
            f"{place} has class folders that {info.name} has not: {', '.join(extra)}. {_ADVICE}"
        )
    if len(files) != dict(info.parts)[part]:
        counts = ", ".join(f"{found[name]} {name}" for name in info.class_names)
        raise DatasetError(
            f"{place} has {len(files)} photographs ({counts}) where {dict(info.parts)[part]} were published. "
            + _ADVICE
        )
    return place, {path: files[path] for path in sorted(files, key=_by_class_and_file)}


_ADVICE = "Put the missing files back, or move the folder away and load again to fetch the originals."


def _by_class_and_file(path: str) -> tuple[str, str]:
    """Return what the photographs are ordered by."""
    name, _, file = path.partition("/")
    return name, file


def _find(info: PhotographInfo, part: str, folders: tuple[Path, ...]) -> Path | None:
    """Return the folder of one part, else the archive, where one of them is there."""
    for folder in folders:
        for relative in info.folders:
            if (folder / relative / part).is_dir():
                return folder / relative / part
        if info.archive and (folder / info.archive).is_file():
            return folder / info.archive
    return None


def _is_photograph(name: str) -> bool:
    """Say whether `class/file` has the name of a photograph; a hidden file is none."""
    return name.count("/") == 1 and name.lower().endswith(SUFFIXES) and not name.split("/")[1].startswith(".")


def _in_folder(place: Path) -> Files:
    """List the photographs of a folder with one subfolder a class."""
    paths = {path.relative_to(place).as_posix(): path for path in place.glob("*/*")}
    return {name: path.read_bytes for name, path in paths.items() if _is_photograph(name)}


def _in_archive(info: PhotographInfo, part: str, archive: Path) -> Files:
    """List the photographs of one part of a zip archive, once it has the published checksum.

    Raises
    ------
    DatasetError
        It has another checksum, or is no zip archive.
    """
    with archive.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    if sha256 != info.digest:
        size = f"{archive.stat().st_size} of {info.num_bytes} bytes"
        raise downloads.damaged(archive, f"{size}, its SHA-256 is {sha256} and should be {info.digest}")
    prefix = f"{info.folders[0]}/{part}/"
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [name for name in opened.namelist() if name.startswith(prefix)]
    except zipfile.BadZipFile as error:
        raise downloads.damaged(archive, error) from error

    def reader(name: str) -> Callable[[], bytes]:
        def read() -> bytes:
            with zipfile.ZipFile(archive) as opened:  # it compares the file's CRC
                return opened.read(name)

        return read

    short = {name: name.removeprefix(prefix) for name in names}
    return {short[name]: reader(name) for name in names if _is_photograph(short[name])}


def _fetch(info: PhotographInfo, part: str, folder: Path) -> Path:
    """Fetch the originals into the data folder and return where `part` then lies.

    Raises
    ------
    DatasetError
        They cannot be had or stored.
    """
    print(f"{info.title}: downloading about {info.num_bytes / 1e6:.0f} MB into {folder}")
    print(f"  source: {info.url}\n  terms: {info.licence}")
    if info.archive:
        return _download(info, folder / info.archive)
    target = folder / info.folders[0]
    checkouts.fetch_folder(info.address, info.digest, "images", target, info.num_bytes)
    return target / part


def _download(info: PhotographInfo, target: Path) -> Path:
    """Download the archive; it gets its name when it is complete and has its checksum.

    Raises
    ------
    DatasetError
        It cannot be had or stored.
    """
    import pooch  # here, because it is not needed when the data are there
    import requests

    downloader = pooch.HTTPDownloader(
        progressbar=True, chunk_size=1 << 16, timeout=downloads.CONNECT_TIMEOUT_S
    )
    try:
        pooch.retrieve(
            info.address, f"sha256:{info.digest}", target.name, target.parent, downloader=downloader
        )
    except requests.exceptions.RequestException as error:
        cause = str(error)
    except ValueError as error:  # pooch's way to say that the checksum is wrong
        cause = f"what came is damaged or incomplete ({error})"
    except OSError as error:
        raise downloads.storage_error(error, target, info.num_bytes) from error
    else:
        return target
    raise DatasetError(
        f"{target.name} could not be downloaded:\n  {info.address}: {cause}\nConnect to the network and load "
        f"again, or put the file (SHA-256 {info.digest}) at {target}, or set the environment variable "
        "TLUTILS_DATA to a folder that has it."
    )


def _read_all(
    info: PhotographInfo, place: Path, files: Files, size: int, skip_unreadable: bool
) -> dict[str, np.ndarray]:
    """Read all photographs of one part.

    Raises
    ------
    DatasetError
        One cannot be read and shall not be skipped, or none is left of a class.
    """
    images, paths = np.empty((len(files), size, size, 3), dtype=np.uint8), []
    for path, read in files.items():
        try:
            images[len(paths)] = square(read(), size)
        except Exception as error:  # whatever the decoder stumbles over, the file is at fault
            said = f"{place}: {path} is no readable image ({type(error).__name__}: {error})"
            if not skip_unreadable:
                raise DatasetError(
                    f"{said}. Put a sound file there, or pass skip_unreadable=True to leave it out."
                ) from error
            warnings.warn(f"{said}; it is left out.", stacklevel=3)
        else:
            paths.append(path)
    labels = [info.class_names.index(path.partition("/")[0]) for path in paths]
    if lost := [name for label, name in enumerate(info.class_names) if label not in labels]:
        raise DatasetError(
            f"{place} has no readable image in the class folder {' or '.join(lost)}. {_ADVICE}"
        )
    return {
        "images": images[: len(paths)],
        "labels": np.array(labels, dtype=np.int64),
        "paths": np.array(paths),
    }


def square(content: bytes, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Decode one photograph, resize its shorter side to `size` and cut out the middle.

    Parameters
    ----------
    content
        The bytes of the file.
    size
        Side of the square in pixels.

    Returns
    -------
    RGB values in [0, 255], as torchvision's `Resize(size)` and `CenterCrop(size)` give them.

    Raises
    ------
    OSError
        It is no readable image (and whatever else the decoder raises).
    """
    from PIL import Image  # here, because a prepared set does not need it

    with Image.open(io.BytesIO(content)) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    short = min(width, height)
    width, height = (size if side == short else int(size * side / short) for side in (width, height))
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _read_prepared(path: Path, info: PhotographInfo, part: str, size: int) -> PhotographSet:
    """Read one part from its prepared file.

    Raises
    ------
    DatasetError
        The file is damaged or holds something else.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ("images", "labels", "paths")}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise downloads.damaged(path, error) from error
    images, labels, n = arrays["images"], arrays["labels"], dict(info.parts)[part]
    if images.shape != (n, size, size, 3) or images.dtype != np.uint8:
        raise downloads.damaged(path, f"it holds {images.dtype} {images.shape}")
    if len(arrays["paths"]) != n or not np.array_equal(np.unique(labels), np.arange(len(info.class_names))):
        raise downloads.damaged(path, "its labels or paths are not those of this set")
    return _as_set(info, part, arrays)


def _as_set(info: PhotographInfo, part: str, arrays: dict[str, np.ndarray]) -> PhotographSet:
    """Return the arrays of one part as a set."""
    paths = tuple(str(path) for path in arrays["paths"])
    return PhotographSet(f"{info.name}/{part}", arrays["images"], arrays["labels"], info.class_names, paths)
