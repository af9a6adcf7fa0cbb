"""ImageNet weights of torchvision's classifiers, from torchvision's own hosts, checked before they are used.

A file has its final name only when it is whole and its SHA-256 begins with the digits in that name. It is
read with ``weights_only=True``: tensors, and nothing that could run.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import os
import pickle
import pickletools
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from tlutils import downloads
from tlutils.downloads import DatasetError
from tlutils.files import write_atomically

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "WeightsInfo",
    "available",
    "build",
    "describe",
    "fetch",
    "load",
    "load_file",
]

# Mean and standard deviation of ImageNet's training pixels, by which torchvision's networks scale images.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LICENCE = (
    "torchvision is BSD 3-Clause; its authors add that weights may carry terms of the data set they were "
    "trained on (ImageNet: non-commercial research)"
)
SWAG_LICENCE = "CC BY-NC 4.0 (weights of the SWAG project)"
DENSENET_NAME = re.compile(
    r"^(.*denselayer\d+\.(?:norm|relu|conv))\.((?:[12])\.(?:weight|bias|running_mean|running_var))$"
)
# Before 1.6 torch.save wrote five pickles, of which this is the first, and then the numbers.
OLD_FORMAT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
VIT_NAME = re.compile(r"^(.*\.mlp)\.linear_([12])\.(weight|bias)$")
CHUNK = 1 << 20

_notices_given: set[str] = set()


@dataclass(frozen=True)
class WeightsInfo:
    """What is known of a set of weights before it is downloaded.

    Attributes
    ----------
    name
        Of the network, as torchvision's constructor is called.
    variant
        Of the weights, such as ``"IMAGENET1K_V1"``.
    url
        Where torchvision publishes the file.
    digest
        First hexadecimal digits of the file's SHA-256, as its name gives them.
    num_bytes
        Size of the file, rounded as torchvision states it.
    num_parameters
        Numbers that the network learns, the head for 1000 classes included.
    accuracy
        Share of right answers on ImageNet's validation images that torchvision states.
    smallest_side
        Of the images that the network takes, in pixels.
    mean, std
        By which its images are scaled, per channel, in [0, 1].
    licence
        Its terms, as far as any are stated.
    """

    name: str
    variant: str
    url: str
    digest: str
    num_bytes: int
    num_parameters: int
    accuracy: float
    smallest_side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str

    @property
    def file(self) -> str:
        """Name of the file, in which its digest stands."""
        return self.url.rpartition("/")[2]


def available() -> tuple[str, ...]:
    """Return the names of all of torchvision's classifiers that have weights.

    Examples
    --------
    >>> {"alexnet", "vgg16", "resnet18"} <= set(available())
    True
    """
    from torchvision import models

    return tuple(sorted(models.list_models(module=models)))


def describe(name: str, variant: str | None = None) -> WeightsInfo:
    """Return what is known of the weights of the network `name`; nothing is downloaded.

    Parameters
    ----------
    name
        One of `available`.
    variant
        Which of the published weights; by default the first ones, which older publications mean.

    Raises
    ------
    ValueError
        If the network or the variant is unknown; the nearest names are offered.

    Examples
    --------
    >>> info = describe("resnet18")
    >>> info.num_parameters, info.digest, info.file
    (11689512, 'f37072fd', 'resnet18-f37072fd.pth')
    """
    from torchvision.models import get_model_weights

    if name not in available():
        near = difflib.get_close_matches(name, available(), n=3, cutoff=0.4) or available()[:5]
        raise ValueError(f"torchvision has no weights for {name!r}; did you mean {list(near)}?")
    variants = get_model_weights(name).__members__
    variant = variant or next(iter(variants))
    if variant not in variants:
        raise ValueError(f"{name} has no weights {variant!r}; there are {sorted(variants)}")
    weights, meta, scaling = variants[variant], variants[variant].meta, variants[variant].transforms()
    return WeightsInfo(
        name=name,
        variant=variant,
        url=weights.url,
        digest=weights.url.removesuffix(".pth").rpartition("-")[2],
        num_bytes=round(meta["_file_size"] * (1 << 20)),
        num_parameters=meta["num_params"],
        accuracy=round(meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100, 5),
        smallest_side=min(meta["min_size"]),
        mean=tuple(scaling.mean),
        std=tuple(scaling.std),
        licence=SWAG_LICENCE if "SWAG" in variant else LICENCE,
    )


def fetch(name: str, variant: str | None = None, *, root: str | os.PathLike | None = None) -> Path:
    """Return where the weights of the network `name` lie; they are downloaded where they are missing.

    Parameters
    ----------
    name, variant
        As `describe` takes them.
    root
        Folder of the data; by default as for data sets (`downloads.data_folder`). The file lies in its folder
        ``pretrained``. Torch's own folder of checkpoints is looked into as well.

    Raises
    ------
    ValueError
        As in `describe`.
    downloads.DatasetError
        If the host refuses or cannot be reached, what comes is cut short or has another checksum, or it
        cannot be stored. Nothing is then left behind.

    Notes
    -----
    Before the first download, size, source and licence are printed.
    """
    info = describe(name, variant)
    folders = [folder / "pretrained" for folder in downloads.search_folders(root)]
    for folder in (*folders, Path(torch.hub.get_dir()) / "checkpoints"):
        if (folder / info.file).is_file():
            return folder / info.file
    target = folders[-1] / info.file
    if info.url not in _notices_given:
        _notices_given.add(info.url)
        print(f"{name}, ImageNet weights: downloading {info.num_bytes / 1e6:.1f} MB into {target.parent}")
        print(f"  source: {info.url}\n  terms: {info.licence}")
    _download(info, target)
    return target


def _download(info: WeightsInfo, target: Path) -> None:
    """Download one file, count its bytes, and give it its name only if its checksum is right."""
    import requests

    cure = (
        f"Connect to the network and load again, or put the file (torchvision publishes it) at {target}, "
        "or set the environment variable TLUTILS_DATA to a folder that has pretrained/" + info.file + "."
    )
    try:
        with requests.get(info.url, stream=True, timeout=downloads.CONNECT_TIMEOUT_S) as response:
            response.raise_for_status()
            write_atomically(target, lambda file: _copy(response, file, info))
    except requests.HTTPError as error:
        reason = f"the host refuses it ({error.response.status_code} {error.response.reason})"
        raise DatasetError(f"{info.url} could not be downloaded: {reason}.\n{cure}") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise DatasetError(f"{info.url}: the download was interrupted ({error}).\n{cure}") from error
    except requests.RequestException as error:
        raise DatasetError(f"{info.url} could not be downloaded, no connection ({error}).\n{cure}") from error
    except _NotTheFileError as error:
        raise DatasetError(f"{info.url}: {error}. Nothing was kept.\n{cure}") from error
    except OSError as error:
        raise downloads.storage_error(error, target, info.num_bytes) from error


class _NotTheFileError(Exception):
    """What came is not what was asked for."""


def _copy(response: Any, file: BinaryIO, info: WeightsInfo) -> None:
    """Write what the host sends to `file`, under a progress bar; refuse it unless its checksum is right."""
    from tqdm.auto import tqdm

    expected, digest = int(response.headers.get("Content-Length") or 0), hashlib.sha256()
    with tqdm(total=expected or info.num_bytes, unit="B", unit_scale=True, desc=info.file) as bar:
        for chunk in response.iter_content(CHUNK):
            digest.update(chunk)
            file.write(chunk)
            bar.update(len(chunk))
        received = bar.n
    if received < expected:
        raise _NotTheFileError(f"the download was interrupted after {received} of {expected} bytes")
    if not digest.hexdigest().startswith(info.digest):
        raise _NotTheFileError(f"SHA-256 is {digest.hexdigest()[:12]}… and should begin with {info.digest}")


def load(name: str, variant: str | None = None, *, root: str | os.PathLike | None = None) -> nn.Module:
    """Return torchvision's network `name` with its ImageNet weights, in evaluation mode.

    Its images are scaled by the `mean` and `std` of `describe` (`models.Standardise` does it): those of
    ImageNet, but for few networks.

    Raises
    ------
    ValueError, downloads.DatasetError
        As in `fetch` and `load_file`; also if a file that was already there has another checksum.
    """
    info = describe(name, variant)
    path = fetch(name, variant, root=root)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(info.digest):
        cause = f"its SHA-256 is {digest[:12]}… and should begin with {info.digest}"
        raise downloads.damaged(path, cause)
    return load_file(build(name, variant), path).eval()


def build(name: str, variant: str | None = None) -> nn.Module:
    """Return the network without weights, as its published weights want it."""
    from torchvision.models import get_model

    extra: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        extra = {"aux_logits": True, "transform_input": True, "init_weights": False}
    if name.startswith("vit_"):
        extra = {"image_size": describe(name, variant).smallest_side}
    return get_model(name, weights=None, **extra)


def load_file(model: nn.Module, path: str | os.PathLike) -> nn.Module:
    """Load a file of weights into `model`, all of it or nothing, and return the network.

    Parameters
    ----------
    model
        The network that the weights are for.
    path
        A ``.safetensors`` file, or one that `torch.save` has written: a state dict.

    Raises
    ------
    downloads.DatasetError
        If the file is missing, truncated, no file of weights, or a pickle with anything but tensors in it,
        which could run code and is not opened.
    ValueError
        If the weights are those of another network; the network is then unchanged.

    Examples
    --------
    >>> import tempfile
    >>> path, model = Path(tempfile.mkdtemp()) / "weights.pth", nn.Linear(2, 1)
    >>> torch.save(model.state_dict(), path)
    >>> torch.equal(load_file(nn.Linear(2, 1), path).weight, model.weight)
    True
    """
    path = Path(path)
    if not path.is_file():
        raise DatasetError(f"there is no file {path}; pretrained.load(name) downloads ImageNet weights")
    state = {_name_today(name): tensor for name, tensor in _read(path).items()}
    own = model.state_dict()
    reshaped = [name for name in own if name in state and own[name].shape != state[name].shape]
    missing, extra = [name for name in own if name not in state], [name for name in state if name not in own]
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]  # old files lack it
    if reshaped or missing or extra:
        parts = {"missing": missing, "not in the network": extra, "of another shape": reshaped}
        told = "; ".join(f"{len(v)} {k} ({', '.join(v[:3])})" for k, v in parts.items() if v)
        raise ValueError(
            f"{path.name} holds the weights of another network than {type(model).__name__}: {told}. Build "
            "the network that they belong to, or take over what fits with model_based.load_matching."
        )
    own.update(state)  # in place: it also knows the version of each part, which MNASNet asks for
    model.load_state_dict(own)
    return model


def _name_today(name: str) -> str:
    """Return what torchvision calls a tensor today; files of DenseNets and transformers have older names."""
    name = DENSENET_NAME.sub(r"\1\2", name)
    return VIT_NAME.sub(lambda found: f"{found[1]}.{3 * (int(found[2]) - 1)}.{found[3]}", name)


def _read(path: Path) -> Mapping[str, Tensor]:
    """Return the tensors in a file of weights.

    Raises
    ------
    downloads.DatasetError
        The file is damaged, or is a pickle with code in it.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file as load_tensors

            state = load_tensors(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and safetensors raise a dozen kinds for a damaged file
        if not _is_refused(path, error):
            raise downloads.damaged(path, str(error).split(".")[0] or "it is empty") from error
        raise DatasetError(
            f"{path} is refused: it is a pickle of more than tensors, or one under another name, and opening "
            "it could run its code. Ask for the state dict alone, torch.save(model.state_dict(), …) under a "
            "name that ends in .pth, or better for safetensors."
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise DatasetError(f"{path} holds {type(state).__name__}; expected a state dict: name → tensor")
    return state


def _is_refused(path: Path, error: Exception) -> bool:
    """Tell a file that is whole and no weights, or weights under another name, from a damaged one."""
    content = path.read_bytes()
    is_torchs = content.startswith((b"PK", OLD_FORMAT))
    if path.suffix == ".safetensors":
        return is_torchs or _num_pickles(content) > 0
    if isinstance(error, pickle.UnpicklingError):
        return zipfile.is_zipfile(path) or _num_pickles(content) >= (5 if is_torchs else 1)
    return not is_torchs and _num_pickles(content) > 0


def _num_pickles(content: bytes) -> int:
    """Count whole pickles at a file's beginning, up to five; their opcodes are listed and not run."""
    file = io.BytesIO(content)
    for found in range(5):
        try:
            if len(list(pickletools.genops(file))) < 2:
                return found
        except ValueError:
            return found
    return 5
