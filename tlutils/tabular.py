"""Sets of feature vectors in several domains: word counts of reviews, descriptors of photographs.

Each domain of a set is a file (or two, for training and test). The original files are read each time; that
takes a fraction of a second, so nothing is prepared.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from tlutils import downloads
from tlutils.catalogue import DataFile, TableInfo, look_up, nearest_names
from tlutils.downloads import DatasetError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

__all__ = ["TABLES", "DatasetError", "FeatureSet", "available", "describe", "domain_names", "load"]


_OFFICE_PAGE = "https://github.com/redhat12345/OfficeCaltechDomainAdaptation"
_OFFICE_HOST = (
    "https://raw.githubusercontent.com/redhat12345/OfficeCaltechDomainAdaptation/"
    "74f70487e1b975d1af05bb9a2ecfbf14a7000080/"
)
_OFFICE_SURF_MIRROR = (
    "https://raw.githubusercontent.com/jindongwang/transferlearning/"
    "73cb050b7e8b969b9d0ebb04a9377aa033043eb2/code/BDA/data/"
)
_OFFICE_CITATION = (
    "B. Gong, Y. Shi, F. Sha, K. Grauman, Geodesic flow kernel for unsupervised domain adaptation, "
    "CVPR (2012); the photographs are from K. Saenko et al., ECCV (2010), and G. Griffin et al. (2007)"
)
_OFFICE_CLASSES = (
    "backpack", "bike", "calculator", "headphones", "keyboard",
    "laptop", "monitor", "mouse", "mug", "projector",
)  # fmt: skip
_REVIEWS_HOSTS = (
    "https://raw.githubusercontent.com/GRAAL-Research/domain_adversarial_neural_network/"
    "74eec5e0ae06bd6614bce048abba492c16a633e3/data/",
    "https://cdn.jsdelivr.net/gh/GRAAL-Research/domain_adversarial_neural_network"
    "@74eec5e0ae06bd6614bce048abba492c16a633e3/data/",
)


def _office_file(kind: str, name: str, md5: str, num_bytes: int, mirror: str = "") -> DataFile:
    """Return one file of Office-Caltech-10 features; `mirror` is its name in the second repository."""
    urls = (f"{_OFFICE_HOST}features/{kind}/{name}.mat",)
    urls += (f"{_OFFICE_SURF_MIRROR}{mirror}_SURF_L10.mat",) if mirror else ()
    return DataFile(f"office_caltech10/features/{kind}/{name}.mat", md5, num_bytes, urls)


def _reviews_file(name: str, md5: str, num_bytes: int) -> DataFile:
    """Return one file of the Amazon reviews."""
    urls = tuple(f"{host}{name}.svmlight" for host in _REVIEWS_HOSTS)
    return DataFile(f"amazon_reviews/{name}.svmlight", md5, num_bytes, urls)


TABLES: dict[str, TableInfo] = {
    info.name: info
    for info in (
        TableInfo(
            name="office_caltech10_surf",
            title="Office-Caltech-10, histograms of SURF features",
            url=_OFFICE_PAGE,
            licence="none stated for the data; the second repository with them: MIT, (c) 2018 Jindong Wang",
            citation=_OFFICE_CITATION,
            class_names=_OFFICE_CLASSES,
            num_features=800,
            parts=(
                ("amazon", "all", 958),
                ("caltech10", "all", 1_123),
                ("dslr", "all", 157),
                ("webcam", "all", 295),
            ),
            files=(
                _office_file("surf", "amazon", "d362bbbe78ddb296a666ee141ca68622", 104_970, "amazon"),
                _office_file("surf", "caltech10", "03c3afa06c8a62fb325aa7b5ed96e187", 150_751, "Caltech10"),
                _office_file("surf", "dslr", "8ec02aff59c1874338cc6618b4d23bd5", 18_348, "dslr"),
                _office_file("surf", "webcam", "6c2d9234165768e8adcd3bdfe068a871", 32_406, "webcam"),
            ),
        ),
        TableInfo(
            name="office_caltech10_googlenet",
            title="Office-Caltech-10, features of a trained GoogLeNet",
            url=_OFFICE_PAGE,
            licence="none stated",
            citation=_OFFICE_CITATION,
            class_names=_OFFICE_CLASSES,
            num_features=1024,
            parts=(("amazon", "all", 958), ("dslr", "all", 157), ("webcam", "all", 295)),
            files=(
                _office_file("GoogleNet1024", "amazon", "b4c9a2b955fc5cd9caeccd230f03a37d", 3_931_880),
                _office_file("GoogleNet1024", "dslr", "eaa89b502816e9feed6af613ba430a26", 644_576),
                _office_file("GoogleNet1024", "webcam", "a05d0229316d754ade49eaef18266fcb", 1_210_928),
            ),
        ),
        TableInfo(
            name="amazon_reviews",
            title="Amazon reviews (sentiment, word counts)",
            url="https://github.com/GRAAL-Research/domain_adversarial_neural_network",
            licence="its repository is under a BSD-style licence, (c) 2015; none stated for the reviews",
            citation="J. Blitzer, M. Dredze, F. Pereira, Biographies, Bollywood, boom-boxes and blenders, "
            "ACL (2007); features of M. Chen, Z. Xu, K. Weinberger, F. Sha, Marginalized denoising "
            "autoencoders for domain adaptation, ICML (2012)",
            class_names=("negative", "positive"),
            num_features=5000,
            parts=(
                ("books", "train", 2_000),
                ("books", "test", 4_465),
                ("dvd", "train", 2_000),
                ("dvd", "test", 3_586),
                ("electronics", "train", 2_000),
                ("electronics", "test", 5_681),
                ("kitchen", "train", 2_000),
                ("kitchen", "test", 5_945),
            ),
            files=(
                _reviews_file("books_train", "83789c2eee7b75ae04716547500f939a", 1_134_070),
                _reviews_file("books_test", "c935cc917e347cdfe4d10b4658901b08", 2_426_071),
                _reviews_file("dvd_train", "324c4f3d50a624cc6de38eb84ca203e3", 1_133_356),
                _reviews_file("dvd_test", "303f077777487e4e7c9af0abb9b016c3", 2_039_832),
                _reviews_file("electronics_train", "e1f0ecf59f556969ce20271fb113a522", 872_265),
                _reviews_file("electronics_test", "8a55e9844afcbac73fa3dd7614a4175b", 2_461_224),
                _reviews_file("kitchen_train", "352cacc8daa5ef7fa611f6cbcca65168", 771_076),
                _reviews_file("kitchen_test", "4b60270b3be2f27563179df4f0068fb1", 2_280_620),
            ),
        ),
    )
}


@dataclass(frozen=True)
class FeatureSet:
    """Feature vectors with labels, as stored.

    Parameters
    ----------
    name
        The name of the set, its domain and its split.
    x
        One row per example, float64: a NumPy array for descriptors, a SciPy CSR matrix for word counts.
    y
        Index into `class_names` for each row.
    class_names
        The name of each class.
    """

    name: str
    x: np.ndarray | csr_matrix
    y: Int64[np.ndarray, " n"]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.y)

    def dense(self) -> np.ndarray:
        """Return the rows as one NumPy array (for 2,000 reviews 80 MB)."""
        return self.x if isinstance(self.x, np.ndarray) else self.x.toarray()

    @property
    def sha256(self) -> str:
        """SHA-256 over the rows' bytes as a dense array followed by the labels', in hexadecimal."""
        digest = hashlib.sha256(np.ascontiguousarray(self.dense(), dtype="<f8").data)
        digest.update(np.ascontiguousarray(self.y, dtype="<i8").data)
        return digest.hexdigest()


def available() -> tuple[str, ...]:
    """Return the names that `load` takes.

    Examples
    --------
    >>> "amazon_reviews" in available()
    True
    """
    return tuple(TABLES)


def describe(name: str) -> TableInfo:
    """Return title, source, checksums, terms, citation, domains and sizes of a set without reading it.

    Raises
    ------
    ValueError
        There is no set of that name.

    Examples
    --------
    >>> describe("office_caltech10_surf").num_features
    800
    """
    return look_up(TABLES, name, "feature set")


def domain_names(name: str) -> tuple[str, ...]:
    """Return the domains of a set.

    Raises
    ------
    ValueError
        There is no set of that name.

    Examples
    --------
    >>> domain_names("amazon_reviews")
    ('books', 'dvd', 'electronics', 'kitchen')
    """
    return tuple(dict.fromkeys(domain for domain, _, _ in describe(name).parts))


def load(
    name: str, domain: str, split: str | None = None, *, root: str | os.PathLike | None = None
) -> FeatureSet:
    """Read one domain of a set, fetching the original files first where they are missing.

    Parameters
    ----------
    name
        One of `available()`.
    domain
        One of `domain_names(name)`.
    split
        "train" (the default) or "test" for the reviews; the descriptors have only "all".
    root
        Folder of the data; default is the environment variable TLUTILS_DATA, else the user's cache folder.

    Returns
    -------
    The rows as they are in the original file (counts; nothing is scaled), and labels from 0.

    Raises
    ------
    ValueError
        Unknown name, domain or split.
    DatasetError
        The data cannot be fetched or stored, or are damaged.

    Notes
    -----
    Before the first download it says how much comes from where and on which terms. A file whose checksum is
    not the published one is refused.
    """
    info = describe(name)
    if domain not in domain_names(name):
        raise ValueError(f"{name} has no domain {domain!r}.{nearest_names(domain, domain_names(name))}")
    splits = [part[1] for part in info.parts if part[0] == domain]
    if split is None:
        split = splits[0]
    if split not in splits:
        raise ValueError(f"split is {split!r}; for {name} expected {' or '.join(map(repr, splits))}")
    [index] = [i for i, part in enumerate(info.parts) if part[:2] == (domain, split)]
    file = info.files[index]
    path = downloads.fetch(info, downloads.search_folders(root))[file]
    with downloads.staged({file: path}) as folder:  # compares the checksum
        try:
            x, y = _read(folder / file.path, info)
        except ImportError:
            raise
        except Exception as error:  # whatever a reader stumbles over, the file is at fault
            raise downloads.damaged(path, f"{type(error).__name__}: {error}") from error
    _verify(path, info, info.parts[index][2], x, y)
    return FeatureSet(f"{name}/{domain}/{split}", x, y, info.class_names)


def _read(path: Path, info: TableInfo) -> tuple[np.ndarray | csr_matrix, np.ndarray]:
    """Read rows and labels of one file in MATLAB's or LIBSVM's format."""
    if path.suffix == ".mat":
        from scipy.io import loadmat  # here and below: not needed for anything else

        content = loadmat(path)
        return content["fts"].astype(np.float64), content["labels"].ravel().astype(np.int64) - 1
    from sklearn.datasets import load_svmlight_file

    # Indices start at 0; labels are -1 and +1.
    x, y = load_svmlight_file(str(path), n_features=info.num_features, zero_based=True)
    return x, (y > 0).astype(np.int64)


def _verify(path: Path, info: TableInfo, num_rows: int, x: np.ndarray | csr_matrix, y: np.ndarray) -> None:
    """Check shape, finiteness and the labels' range.

    Raises
    ------
    DatasetError
        One of them is not as `info` says.
    """
    shape, last = (num_rows, info.num_features), len(info.class_names) - 1
    if x.shape != shape or y.shape != (num_rows,):
        raise downloads.damaged(path, f"it holds {x.shape} numbers and {y.shape} labels, not {shape}")
    if not np.isfinite(x if isinstance(x, np.ndarray) else x.data).all():
        raise downloads.damaged(path, "it holds NaN or infinite values")
    if y.min() < 0 or y.max() > last:
        raise downloads.damaged(path, f"labels go from {y.min()} to {y.max()}, not from 0 to {last}")
