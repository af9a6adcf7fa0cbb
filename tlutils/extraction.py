"""What the layers of a frozen network give for images: caught by hooks, computed once, kept."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from tlutils.files import write_atomically
from tlutils.layer_table import check_layers, input_channels, smallest_image
from tlutils.runtime import best_device, out_of_memory_advice

__all__ = ["catching", "checked_device", "extract_features", "in_evaluation", "network_digest", "run_network"]


@contextlib.contextmanager
def catching(model: nn.Module, layers: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Give a dictionary that every forward pass fills with the outputs of `layers`.

    Copies are kept: an in-place ReLU further on would otherwise change what was caught.

    Raises
    ------
    TypeError
        A layer gives something else than one tensor.
    """
    caught: dict[str, Tensor] = {}

    def keep(name: str) -> Callable:
        def hook(module: nn.Module, _inputs: Any, output: Any) -> None:
            if not isinstance(output, Tensor):
                raise TypeError(
                    f"layer {name!r} ({type(module).__name__}) gives {type(output).__name__}; choose a layer "
                    "that gives one tensor"
                )
            caught[name] = output.clone()

        return hook

    handles = [model.get_submodule(name).register_forward_hook(keep(name)) for name in dict.fromkeys(layers)]
    try:
        yield caught
    finally:
        for handle in handles:
            handle.remove()


@contextlib.contextmanager
def in_evaluation(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode, without gradients, and give each its own mode back."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def checked_device(device: torch.device | str | None) -> torch.device:
    """Return the device that is asked for.

    Raises
    ------
    ValueError
        A GPU is asked for where there is none, or the name means nothing.
    """
    if device is None:
        return best_device()
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device is {device!r}; expected such as 'cpu', 'cuda' or 'mps'") from error
    if chosen.type == "cuda" and (
        not torch.cuda.is_available() or (chosen.index or 0) >= torch.cuda.device_count()
    ):
        raise ValueError(
            f"device is {str(device)!r}, and torch sees {torch.cuda.device_count()} GPUs here. Pass "
            "device=None for the best device there is, or, on Colab, choose a GPU under Runtime and restart"
        )
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device is 'mps', which this machine has not; pass device=None or 'cpu'")
    return chosen


def _where(model: nn.Module) -> torch.device:
    """Return the device on which the network lies."""
    return next((tensor.device for tensor in model.parameters()), torch.device("cpu"))


def run_network(model: nn.Module, x: Tensor) -> Tensor:
    """Run the network, and say in one sentence why it does not take such images.

    Raises
    ------
    ValueError
        The images have other channels, or are too small.
    MemoryError
        The device's memory does not suffice.
    """
    channels = input_channels(model)
    if channels is not None and x.ndim == 4 and x.shape[1] != channels:
        kind = {1: "grey", 3: "colour"}.get(x.shape[1], f"{x.shape[1]}-channel")
        raise ValueError(
            f"{type(model).__name__} takes images of {channels} channels and received {kind} images of shape "
            f"{tuple(x.shape[1:])}; load them with channels={channels}, or repeat the channel: "
            f"x.expand(-1, {channels}, -1, -1)"
        )
    try:
        return model(x)
    except torch.OutOfMemoryError as error:
        raise MemoryError(out_of_memory_advice(len(x), x.device)) from error
    except (RuntimeError, ValueError, AssertionError) as error:
        smallest = smallest_image(model, channels=x.shape[1]) if x.ndim == 4 else None
        advice = ""
        if smallest is not None and min(x.shape[-2:]) < smallest:
            advice = (
                f" The smallest it takes are {smallest}×{smallest}: load them with size={smallest} or more."
            )
        raise ValueError(
            f"{type(model).__name__} does not take images of shape {tuple(x.shape[1:])} ({error}).{advice}"
        ) from error


def _as_cells(features: Tensor, cells: int | None) -> Tensor:
    """Average maps (n, c, h, w) over cells×cells parts and flatten them; vectors pass."""
    if cells is None or features.ndim != 4:
        return features
    return functional.adaptive_avg_pool2d(features, cells).flatten(1)


def network_digest(model: nn.Module, *more: object) -> str:
    """Return a digest of a network's structure and numbers, and of anything else."""
    digest = hashlib.blake2b(str(model).encode(), digest_size=16)
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    for item in more:
        is_tensor = isinstance(item, Tensor)
        digest.update(repr((item.shape, item.dtype) if is_tensor else item).encode())
        if is_tensor:
            digest.update(item.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def extract_features(
    model: nn.Module,
    x: Float[Tensor, "n ..."],
    layers: Sequence[str],
    *,
    cells: int | None = None,
    batch_size: int = 256,
    cache: str | os.PathLike | None = None,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> dict[str, Tensor]:
    """Return what `layers` of a frozen network give for the images `x`.

    Parameters
    ----------
    model
        Any network of one tensor. It runs in evaluation mode and without gradients; mode, numbers and device
        are afterwards as they were.
    x
        Images (n, channels, height, width), on any device.
    layers
        Dotted names of modules, such as ``["backbone.stage1", "backbone.pool"]``.
    cells
        Average every map (n, c, h, w) over cells × cells parts and return it flat, (n, c · cells²), which a
        linear probe can take and which needs less memory. None: the maps as they are.
    batch_size
        Images per forward pass, at least 1. It changes the memory needed, and nothing else.
    cache
        A folder. The features are kept there under a digest of the network's numbers, the images and the
        other arguments, and read from there the next time; change one weight and they are computed anew.
    device
        Where to compute; by default where the network lies.
    progress
        Show a progress bar.

    Returns
    -------
    Layer → features on the CPU, in the order of `layers`. A module that is called several times, such as the
    ReLU in torchvision's residual blocks, gives its last output.

    Raises
    ------
    TypeError
        If `layers` is one string, or a layer gives no tensor.
    ValueError
        If a layer is unknown (the nearest names are offered) or never called, `batch_size` or `cells` is
        below 1, the images do not fit the network, or a device is asked for that is not there.
    MemoryError
        If the device's memory does not suffice; says which batch size to try.

    Source
    ------
    Own derivation, see the chapter on feature extraction.

    Examples
    --------
    >>> double = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    >>> _ = nn.init.constant_(double[1].weight, 2)
    >>> extract_features(double, torch.ones(3, 1, 1, 2), ["1"])["1"][0].tolist()
    [4.0, 4.0]
    """
    check_layers(model, layers)
    if batch_size < 1 or (cells is not None and cells < 1):
        raise ValueError(f"received {batch_size=} and {cells=}; expected at least 1")
    file = None
    if cache is not None:
        key = network_digest(model, x, tuple(layers), cells, torch.__version__)
        file = Path(cache) / f"{key}.safetensors"
        if (stored := _read_stored(file, layers)) is not None:
            return stored
    home = _where(model)
    place = home if device is None else checked_device(device)
    parts: dict[str, list[Tensor]] = {name: [] for name in layers}
    try:
        model.to(place)
        with in_evaluation(model), catching(model, layers) as caught:
            for batch in tqdm(x.split(batch_size), disable=not progress, unit="batch"):
                caught.clear()
                run_network(model, batch.to(place))
                if missing := [name for name in layers if name not in caught]:
                    raise ValueError(f"the forward pass never calls {missing}; choose other layers")
                for name in layers:
                    parts[name].append(_as_cells(caught[name], cells).cpu())
    finally:
        model.to(home)
    found = {name: torch.cat(part) for name, part in parts.items()}
    if file is not None:
        from safetensors.torch import save

        content = save({name: tensor.contiguous() for name, tensor in found.items()})
        write_atomically(file, lambda out: out.write(content))
    return found


def _read_stored(file: Path, layers: Sequence[str]) -> dict[str, Tensor] | None:
    """Return features kept in `file`, or None where there are none or the file is damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        stored = load_file(file)
    except (OSError, SafetensorError):
        return None
    return {name: stored[name] for name in layers}
