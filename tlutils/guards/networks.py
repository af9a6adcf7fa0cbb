"""Checks of networks, of what they take and give, of devices and files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tlutils.extraction import checked_device, in_evaluation, run_network

__all__ = [
    "belongs_to",
    "can_be_launched",
    "can_be_split",
    "fits",
    "has_channels",
    "has_device",
    "has_image_size",
    "has_outputs",
    "has_shape",
    "has_size_and_channels",
    "has_width",
    "is_checkpoint",
    "is_file",
    "is_mapping",
    "is_momentum",
    "is_no_string",
    "is_on_the_device_of",
    "is_state",
    "is_tensor",
    "no_idle_gpus",
    "not_all_zero",
    "takes",
]


def has_device(device: torch.device | str | None) -> None:
    """Refuse a device that is not there; None, the best there is, always passes.

    Raises
    ------
    ValueError
        A GPU is asked for where there is none, or the name means nothing.

    Examples
    --------
    >>> has_device("cpu")
    """
    checked_device(device)
    if device is not None and torch.device(device).type == "xpu" and not torch.xpu.is_available():
        raise ValueError("device is 'xpu', which this machine has not; pass device=None or 'cpu'")


def has_channels(x: Tensor, num_channels: int) -> None:
    """Refuse images with another number of channels.

    Broadcasting would let grey images pass where three channels are expected: all three get the grey one, and
    the network answers about images (..., channels, height, width) that nobody showed it.

    Raises
    ------
    ValueError
        Says both numbers and how to load the right images.

    Examples
    --------
    >>> has_channels(torch.zeros(2, 3, 8, 8), 3)
    """
    if x.ndim >= 3 and x.shape[-3] == num_channels:
        return
    raise ValueError(
        f"received {'grey images' if x.ndim >= 3 and x.shape[-3] == 1 else 'an input'} of shape "
        f"{tuple(x.shape)}; expected (n, {num_channels}, height, width). Load the domain with "
        f"channels={num_channels}"
    )


def has_shape(x: Tensor, shape: Sequence[int]) -> None:
    """Refuse a batch (n, ...) of another shape than (channels, height, width), for which a network is built.

    Raises
    ------
    ValueError
        Says both shapes.

    Examples
    --------
    >>> has_shape(torch.zeros(2, 3, 8, 8), (3, 8, 8))
    """
    if tuple(x.shape[1:]) != tuple(shape):
        raise ValueError(
            f"received examples of shape {tuple(x.shape[1:])}; expected {tuple(shape)}. "
            f"{'Resize them' if [*x.shape[1:2]] == [*shape[:1]] else f'Load them with channels={shape[0]}'}, "
            "or build the network for this shape."
        )


def has_width(x: Tensor, num_channels: int) -> None:
    """Refuse features that are no (n, channels) or (n, channels, height, width) with this many channels.

    Raises
    ------
    ValueError
        Says what came and what was expected.

    Examples
    --------
    >>> has_width(torch.zeros(2, 3, 8, 8), 3)
    """
    if x.ndim not in (2, 4) or x.shape[1] != num_channels:
        raise ValueError(
            f"the layer gives outputs of shape {tuple(x.shape)}; expected (n, {num_channels}) or (n, "
            f"{num_channels}, height, width), because the adapter was made for {num_channels} channels"
        )


def has_outputs(outputs: Tensor, num_classes: int) -> None:
    """Refuse outputs that are not one logit per class.

    Raises
    ------
    ValueError
        Says both numbers, and how to put on a head that fits.

    Examples
    --------
    >>> has_outputs(torch.zeros(2, 10), 10)
    """
    if outputs.ndim != 2 or outputs.shape[1] != num_classes:
        raise ValueError(
            f"the network gives outputs of shape {tuple(outputs.shape)} for examples of {num_classes} "
            f"classes; expected (n, {num_classes}). Give it a head that fits: model_based.replace_head."
        )


def fits(model: nn.Module, x: Tensor, num_classes: int) -> None:
    """Refuse a network that cannot take the examples, or has outputs for another number of classes.

    It is shown the first example, in evaluation mode, so that neither its statistics nor a generator move.

    Raises
    ------
    ValueError
        Says what does not fit, and what to change.

    Examples
    --------
    >>> fits(nn.Linear(3, 2), torch.zeros(4, 3), 2)
    """
    with in_evaluation(model):
        has_outputs(run_network(model, x[:1].to(next(model.parameters(), x).device)), num_classes)


def takes(model: nn.Module, x: Tensor, y: Tensor | None = None) -> None:
    """Refuse examples that the network cannot take, and labels that it has no output for; see `fits`.

    Raises
    ------
    ValueError
        Says what does not fit, and what to change.

    Examples
    --------
    >>> takes(nn.Linear(3, 2), torch.zeros(4, 3), torch.tensor([0, 1, 1, 0]))
    """
    with in_evaluation(model):
        for outputs in [run_network(model, x[:1].to(next(model.parameters(), x).device))]:
            if y is not None and not 0 <= y.min() <= y.max() < outputs.shape[1]:
                raise ValueError(
                    f"labels run from {y.min()} to {y.max()}; expected 0 to {outputs.shape[1] - 1}, one per "
                    "output. Give the network a head that fits: model_based.replace_head."
                )


def has_size_and_channels(model: nn.Module, x: Tensor) -> None:
    """Refuse images of too small a size or other channels; what else is wrong is left to the caller.

    Raises
    ------
    ValueError
        Says how to load them.

    Examples
    --------
    >>> has_size_and_channels(nn.Linear(3, 2), torch.zeros(4, 7))
    """
    try:
        takes(model, x)
    except ValueError as error:
        if "load them" in str(error):
            raise


def has_image_size(model: nn.Module, x: Tensor) -> None:
    """Refuse images of another size for a network that is built for one, as a vision transformer is.

    Raises
    ------
    ValueError
        Says both sizes.

    Examples
    --------
    >>> has_image_size(nn.Conv2d(3, 8, 3), torch.zeros(1, 3, 32, 32))
    """
    for module in (model, *(model if isinstance(model, nn.Sequential) else ())):
        if isinstance(getattr(module, "image_size", None), int) and module.image_size not in x.shape[2:]:
            raise ValueError(
                f"{type(module).__name__} is built for images of {module.image_size}×{module.image_size} "
                f"pixels and received shape {tuple(x.shape[1:])}; load them with size={module.image_size}"
            )


def is_tensor(outputs: object) -> None:
    """Refuse a network that answers with several tensors, as those with auxiliary heads do in training.

    Raises
    ------
    ValueError
        Says what came, and what to do.

    Examples
    --------
    >>> is_tensor(torch.zeros(2, 10))
    """
    if not isinstance(outputs, Tensor):
        raise ValueError(
            f"the network answers with {type(outputs).__name__}; expected one tensor of logits. Build "
            "GoogLeNet and Inception with aux_logits=False."
        )


def is_state(state: object) -> None:
    """Refuse what is no state dict: a path, a network, or a checkpoint that holds one among other things.

    Raises
    ------
    TypeError
        Says what came.
    ValueError
        Names the entry that holds the tensors.

    Examples
    --------
    >>> is_state({"weight": torch.zeros(2)})
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"received {type(state).__name__}; expected a state dict, such as model.state_dict()")
    for name, value in state.items():
        if isinstance(value, Mapping) and any(isinstance(inner, Tensor) for inner in value.values()):
            raise ValueError(f"received a checkpoint; its tensors are under {name!r}: hand over that entry")
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{name!r} holds {type(value).__name__}; expected a state dict: name → tensor")


def is_momentum(momentum: float) -> None:
    """Refuse a momentum outside [0, 1).

    Raises
    ------
    ValueError
        Says what came.

    Examples
    --------
    >>> is_momentum(0.9)
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum is {momentum}; expected at least 0 and below 1")


def is_mapping(name: str, value: object) -> None:
    """Refuse what is no mapping, such as a list of names without what belongs to them.

    Raises
    ------
    TypeError
        Says what came.

    Examples
    --------
    >>> is_mapping("channels", {"layer1": 64})
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is {value!r}; expected a mapping, such as {{'layer1': …}}")


def is_checkpoint(state: object, path: os.PathLike) -> None:
    """Refuse the content of a file that no training of ours has left.

    Raises
    ------
    ValueError
        Names the file.

    Examples
    --------
    >>> is_checkpoint({"fingerprint": "lr=0.1"}, Path("c.pt"))
    """
    if not isinstance(state, Mapping) or "fingerprint" not in state:
        raise ValueError(f"{path} is no checkpoint of this training; choose another file")


def belongs_to(state: Mapping[str, Any], model: nn.Module, num_steps: int) -> None:
    """Refuse the checkpoint of another network, or of a training that has gone on for longer.

    Parameters
    ----------
    state
        With the weights under ``"model"`` and one loss per step under ``"losses"``.
    model
        Whose weights they should be.
    num_steps
        Steps that are wanted in all.

    Raises
    ------
    ValueError
        Says what differs.

    Examples
    --------
    >>> belongs_to({"model": nn.Linear(2, 1).state_dict(), "losses": []}, nn.Linear(2, 1), 5)
    """
    if {n: t.shape for n, t in state["model"].items()} != {n: t.shape for n, t in model.state_dict().items()}:
        raise ValueError(
            f"the checkpoint belongs to another network: it has {len(state['model'])} tensors "
            f"({', '.join([*state['model']][:3])}, …), this one {len(model.state_dict())}, or they differ in "
            "shape. Delete it or choose another file."
        )
    if len(state["losses"]) > num_steps:
        raise ValueError(f"the checkpoint has {len(state['losses'])} steps; expected at most {num_steps}")


def no_idle_gpus(local_rank: int, local_size: int) -> None:
    """Warn, once for all processes of a machine, if it has GPUs, but fewer than processes.

    Warns
    -----
    UserWarning
        Says how many processes would each have one.

    Examples
    --------
    >>> no_idle_gpus(1, 1)
    """
    if local_rank == 0 and 0 < torch.cuda.device_count() < local_size:
        warnings.warn(
            f"{local_size} processes and {torch.cuda.device_count()} GPUs on this machine: all compute on "
            f"the CPU. To use the GPUs start with --nproc-per-node={torch.cuda.device_count()}.",
            stacklevel=4,
        )


def can_be_launched(program: Callable[..., object] | Path) -> None:
    """Refuse a program that no new process could run.

    Raises
    ------
    ValueError
        It is neither the path of a file that is there nor a function of a module that can be imported.

    Examples
    --------
    >>> can_be_launched(Path(__file__))
    """
    if not (
        program.is_file()
        if isinstance(program, Path)
        else callable(program) and program.__module__ != "__main__"
    ):
        raise ValueError(
            f"program is {program!r}; expected the Path of a file, or a function of an importable module: "
            "what is defined in a notebook has to be written to a file first"
        )


def can_be_split(num_examples: int, num_parts: int) -> None:
    """Refuse to cut a batch into more parts than it has examples: the loss of an empty part is no number.

    Raises
    ------
    ValueError
        If `num_parts` is larger than `num_examples`.

    Examples
    --------
    >>> can_be_split(8, 4)
    """
    if num_parts > num_examples:
        raise ValueError(f"num_parts is {num_parts} for {num_examples} examples; expected at most so many")


def is_file(path: str | os.PathLike) -> None:
    """Refuse a path where no file is.

    Raises
    ------
    FileNotFoundError
        Names the path.

    Examples
    --------
    >>> is_file(__file__)
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}; expected what a training has saved. Is the path right?")


def is_no_string(name: str, names: Sequence[str] | None) -> None:
    """Refuse one string where a list of names is expected: its letters would be taken for names.

    Raises
    ------
    TypeError
        Says how to write it.

    Examples
    --------
    >>> is_no_string("only", ["backbone"])
    """
    if isinstance(names, str):
        raise TypeError(f"{name} is the string {names!r}; expected a list of names, [{names!r}]")


def is_on_the_device_of(x: Tensor, model: nn.Module) -> None:
    """Refuse examples that are not where the network is.

    Raises
    ------
    ValueError
        Says both devices.

    Examples
    --------
    >>> is_on_the_device_of(torch.zeros(2, 3), nn.Linear(3, 1))
    """
    for parameter in model.parameters():
        if parameter.device != x.device:
            raise ValueError(
                f"the examples are on {x.device} and the network on {parameter.device}; move one of them, "
                f"for example x.to({str(parameter.device)!r})"
            )


def not_all_zero(what: str, weights: dict[str, float]) -> None:
    """Refuse weights that switch everything off.

    Raises
    ------
    ValueError
        If every weight is 0; names them.

    Examples
    --------
    >>> not_all_zero("losses", {"cycle": 10.0, "identity": 0.0})
    """
    if not any(weights.values()):
        raise ValueError(f"all {what} have weight 0 ({', '.join(weights)}); give one a positive weight")
