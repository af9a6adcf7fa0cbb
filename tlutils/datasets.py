"""Every data set of the book: where it comes from, its checksums and terms, and how it is read.

`load` gives uint8 images in one array. The first load of a data set that has files fetches them, reads them
with torchvision and keeps one uncompressed `prepared/<name>.npz`; every later load reads only that.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from tlutils import downloads, drawn, guards
from tlutils.catalogue import REGISTRY, DataFile, DatasetInfo, look_up
from tlutils.downloads import DatasetError
from tlutils.toys import ShiftedToy, make_shifted_toy

__all__ = [
    "DataFile",
    "DatasetError",
    "DatasetInfo",
    "ImageSet",
    "ShiftedToy",
    "available",
    "describe",
    "load",
    "make_shifted_toy",
]

SPLITS = ("train", "test")
SMALL_DIGITS_TEST_FRACTION = 1 / 3
SUBSET_PER_CLASS = {"train": 1500, "test": 500}

Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ImageSet:
    """Images with labels, as stored.

    Parameters
    ----------
    name
        The name of the data set.
    images
        Grey (one channel) or RGB images in [0, 255].
    labels
        Index into `class_names` for each image.
    class_names
        The name of each class.
    """

    name: str
    images: UInt8[np.ndarray, "n height width channels"]
    labels: Int64[np.ndarray, " n"]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @property
    def sha256(self) -> str:
        """SHA-256 over the images' bytes followed by the labels' (little-endian int64), in hexadecimal."""
        return downloads.sha256(self.images, self.labels)


def available() -> tuple[str, ...]:
    """Return the names that `load` takes.

    Examples
    --------
    >>> "mnist" in available()
    True
    """
    return tuple(REGISTRY)


def describe(name: str) -> DatasetInfo:
    """Return title, source, mirrors, checksums, terms and citation of a data set without reading it.

    Raises
    ------
    ValueError
        There is no data set of that name, or another module reads it, which the message names.

    Examples
    --------
    >>> describe("usps").class_names[3]
    '3'
    """
    guards.is_read_as_images(name)
    return look_up(REGISTRY, name, "data set")


def load(
    name: str, split: str = "train", *, root: str | os.PathLike | None = None, **options: object
) -> ImageSet:
    """Read one split of a data set, fetching and preparing it first where that has not been done.

    Parameters
    ----------
    name
        One of `available()`.
    split
        "train" or "test".
    root
        Folder of the data; default is the environment variable TLUTILS_DATA, else the user's cache
        folder.
    options
        For "rendered_digits" `num_images` (default 10,000 and 2,000), `seed` (0) and `careless`
        (False: digits fill the frame; True: small ones anywhere in it); for "photo_digits" `seed` (0).

    Returns
    -------
    The images, their labels and the names of the classes.

    Raises
    ------
    ValueError
        Unknown name or split, or an option out of range.
    TypeError
        An option that the data set does not have.
    DatasetError
        The data cannot be fetched, read or stored, or are damaged.

    Notes
    -----
    A prepared set is read in some tens of milliseconds. "photo_digits" takes about a second,
    "rendered_digits" about four for 10,000 images.

    Examples
    --------
    >>> load("digits8x8", "test").images.shape[1:]
    (8, 8, 1)
    """
    info = describe(name)
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}; expected 'train' or 'test'")
    if info.files:
        _check_options(name, options, ())
        images, labels = _load_files(info, split, root)
    else:
        make = MAKERS[name]
        _check_options(name, options, tuple(inspect.signature(make).parameters)[2:])
        images, labels = make(split, root, **options)
    return ImageSet(name, images, labels, info.class_names)


def _check_options(name: str, options: dict[str, object], allowed: tuple[str, ...]) -> None:
    """Raise TypeError for an option that the data set does not have."""
    for option in options:
        if option not in allowed:
            raise TypeError(f"{name} has no option {option!r}; it takes {', '.join(allowed) or 'none'}")


def _load_files(info: DatasetInfo, split: str, root: str | os.PathLike | None) -> Split:
    """Read one split from the prepared file, making that first if there is none or it is damaged."""
    folders, failure = downloads.search_folders(root), None
    for folder in folders:
        path = downloads.prepared_path(folder, info.name)
        if path.exists():
            try:
                guards.holds_arrays(path)
                return downloads.read_prepared(path, info, split)
            except DatasetError as error:
                failure = error
    if failure is not None:
        if any(downloads.locate(file, folders) is None for file in info.files):
            raise failure
        warnings.warn(f"{failure} It is made again from the original files.", stacklevel=3)
    return _prepare(info, folders)[split]


def _prepare(info: DatasetInfo, folders: tuple[Path, ...]) -> dict[str, Split]:
    """Fetch what is missing, read the original files, and store both splits in prepared form.

    Raises
    ------
    DatasetError
        A file is missing, damaged or not what it should be, or the result cannot be stored.
    """
    found = downloads.fetch(info, folders)
    origin = ", ".join(str(path) for path in found.values())
    with downloads.staged(found) as folder:
        try:
            splits = {split: READERS[info.name](info, split, folder) for split in SPLITS}
        except ImportError:
            raise
        except Exception as error:  # whatever a reader stumbles over, the file is at fault
            raise DatasetError(
                f"{info.title} cannot be read from {origin} ({type(error).__name__}: {error}). One of these "
                "files is damaged or incomplete: delete it and load again."
            ) from error
    path = downloads.prepared_path(folders[-1], info.name)
    arrays = {}
    for split, (images, labels) in splits.items():
        downloads.verify(Path(origin), info, split, images, labels)
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    downloads.write_prepared(path, arrays)
    return splits


def _read_idx(info: DatasetInfo, split: str, folder: Path) -> Split:
    """Read MNIST or Fashion-MNIST with torchvision."""
    import torchvision  # here and below: its import takes seconds, and a prepared set does not need it

    reader = torchvision.datasets.MNIST if info.name == "mnist" else torchvision.datasets.FashionMNIST
    data = reader(folder, train=split == "train")
    return data.data.numpy()[..., None], data.targets.numpy().astype(np.int64)


def _read_usps(_info: DatasetInfo, split: str, folder: Path) -> Split:
    """Read USPS with torchvision."""
    import torchvision

    data = torchvision.datasets.USPS(folder, train=split == "train")
    return data.data[..., None], np.array(data.targets, dtype=np.int64)


def _read_svhn(info: DatasetInfo, split: str, folder: Path) -> Split:
    """Read the cropped digits of SVHN with torchvision, which compares the checksums given in `info`."""
    import torchvision

    files = {s: [f.urls[0], f.path, f.md5] for s, f in zip(SPLITS, info.files, strict=True)}
    reader = type("SVHN", (torchvision.datasets.SVHN,), {"split_list": files})
    data = reader(folder, split=split)
    return np.ascontiguousarray(data.data.transpose(0, 2, 3, 1)), data.labels


def _read_cifar10(_info: DatasetInfo, split: str, folder: Path) -> Split:
    """Read CIFAR-10 with torchvision and keep the subset."""
    import torchvision

    data = torchvision.datasets.CIFAR10(folder, train=split == "train")
    labels = np.array(data.targets, dtype=np.int64)
    return choose_by_content(np.ascontiguousarray(data.data), labels, SUBSET_PER_CLASS[split])


def choose_by_content(
    images: UInt8[np.ndarray, "n height width channels"], labels: Int64[np.ndarray, " n"], num_per_class: int
) -> Split:
    """Keep the `num_per_class` images of each class whose SHA-256 is smallest, in the order of their digests.

    The choice depends on the images alone, not on their order, so it can be made again from any lossless
    copy; made again from its own result it changes nothing.

    Parameters
    ----------
    images
        Images in [0, 255].
    labels
        Class of each image.
    num_per_class
        How many to keep of each class; a class with fewer keeps all.

    Returns
    -------
    The images kept and their labels.
    """
    digests = np.array([hashlib.sha256(image.tobytes()).hexdigest() for image in images])
    order = np.argsort(digests, kind="stable")
    kept = [order[labels[order] == label][:num_per_class] for label in np.unique(labels)]
    index = np.concatenate(kept)
    index = index[np.argsort(digests[index], kind="stable")]
    return images[index], labels[index]


def _make_digits8x8(split: str, _root: object) -> Split:
    """Return one part of scikit-learn's digits; a third is for testing, chosen by the digest of the image."""
    images, labels = drawn.small_digits()
    # The key keeps this choice independent of later splits by digest (domains.digest_split).
    digests = [hashlib.blake2b(i.tobytes(), digest_size=8, key=b"digits8x8").digest() for i in images]
    position = np.array([int.from_bytes(digest, "big") / 2**64 for digest in digests])
    chosen = (position < SMALL_DIGITS_TEST_FRACTION) == (split == "test")
    return images[chosen], labels[chosen]


def _make_rendered_digits(
    split: str,
    _root: object,
    num_images: int | None = None,
    seed: int = 0,
    careless: bool = False,
) -> Split:
    """Draw digits from fonts."""
    if num_images is None:
        num_images = 10_000 if split == "train" else 2_000
    if not isinstance(num_images, Integral) or num_images < 1:
        raise ValueError(f"num_images is {num_images!r}; expected an integer of at least 1")
    return drawn.render_digits(num_images, 28, _generator(seed, split), careless)


def _make_photo_digits(split: str, root: str | os.PathLike | None, seed: int = 0) -> Split:
    """Blend MNIST with photographs."""
    digits = load("mnist", split, root=root)
    return drawn.blend_with_photos(digits.images, split, _generator(seed, split)), digits.labels


def _generator(seed: int, split: str) -> np.random.Generator:
    """Return a generator of its own for each seed and split."""
    if not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"seed is {seed!r}; expected an integer of at least 0")
    return np.random.default_rng([seed, SPLITS.index(split)])


READERS: dict[str, Callable[[DatasetInfo, str, Path], Split]] = {
    "mnist": _read_idx,
    "fashion_mnist": _read_idx,
    "usps": _read_usps,
    "svhn": _read_svhn,
    "cifar10": _read_cifar10,
}

MAKERS: dict[str, Callable[..., Split]] = {
    "digits8x8": _make_digits8x8,
    "rendered_digits": _make_rendered_digits,
    "photo_digits": _make_photo_digits,
}
