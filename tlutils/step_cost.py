"""What a training step costs, in seconds and in bytes, on whatever device is there."""

from __future__ import annotations

import gc
import io
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from tlutils import guards
from tlutils.lean_gradients import checkpoint_activations
from tlutils.runtime import autocast_dtype, best_device, out_of_memory_advice

__all__ = [
    "JpegImages",
    "StepCost",
    "Switches",
    "compile_obstacle",
    "cost_table",
    "one_at_a_time",
    "step_cost",
]

Batch = Sequence[Tensor]  # images and class indices


@dataclass(frozen=True)
class Switches:
    """Ways to make a training step cheaper; by default all are off.

    Parameters
    ----------
    mixed_precision
        Compute in the type of `runtime.autocast_dtype`, or in bfloat16 where the device gains by none.
    channels_last
        Store images and weights with the channels of a pixel side by side.
    fused_optimizer
        Update all parameters in one kernel.
    compiled
        Hand the network to `torch.compile`.
    num_parts
        Split each batch, and add up the gradients of its parts.
    checkpointed
        Names of parts whose activations are computed twice instead of kept.
    """

    mixed_precision: bool = False
    channels_last: bool = False
    fused_optimizer: bool = False
    compiled: bool = False
    num_parts: int = 1
    checkpointed: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepCost:
    """What one training step costs.

    Attributes
    ----------
    step_s
        Seconds of the fastest step, getting its batch included: what else the machine does can only add.
    first_step_s
        Seconds of the first step: memory is fetched, kernels are chosen or compiled.
    peak_bytes
        Largest amount of memory in use at one moment, weights included.
    skipped
        Why nothing was measured, or an empty string.
    """

    step_s: float = float("nan")
    first_step_s: float = float("nan")
    peak_bytes: int = 0
    skipped: str = ""


class JpegImages(torch.utils.data.Dataset):
    """Images kept as JPEG files in memory and decoded whenever one is asked for, as ImageFolder does.

    Parameters
    ----------
    images
        RGB images in [0, 255].
    labels
        One class index per image.
    size
        Side of the squares that come out, in pixels, at least 1.

    Raises
    ------
    ValueError
        If there is not one label per image.

    Examples
    --------
    >>> image, label = JpegImages(np.zeros((1, 8, 8, 3), dtype=np.uint8), [1], size=4)[0]
    >>> image.shape, label
    (torch.Size([3, 4, 4]), 1)
    """

    def __init__(self, images: UInt8[np.ndarray, "n h w 3"], labels: Sequence[int], size: int) -> None:
        if len(images) != len(labels):
            raise ValueError(
                f"received {len(images)} images and {len(labels)} labels; expected one per image"
            )
        self.files, self.labels, self.size = [], [int(label) for label in labels], size
        for image in images:
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "JPEG", quality=90)
            self.files.append(buffer.getvalue())

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one image (3, size, size), values in [0, 1], and its label."""
        image = Image.open(io.BytesIO(self.files[index])).resize((self.size, self.size))
        return torch.from_numpy(np.array(image)).movedim(2, 0) / 255, self.labels[index]


def compile_obstacle(device: torch.device | str) -> str:
    """Return why `torch.compile` cannot work on `device` here, or an empty string.

    It writes C++ for the CPU and Triton for a GPU, and needs what turns them into programs.

    Examples
    --------
    >>> compile_obstacle("meta")
    'torch.compile: the device meta computes nothing'
    """
    kind = torch.device(device).type
    if kind == "meta":
        return "torch.compile: the device meta computes nothing"
    if kind == "cpu" and not any(shutil.which(c) for c in (os.environ.get("CXX") or "g++", "clang++")):
        return "torch.compile: no C++ compiler (g++ or clang++) on this machine"
    if kind == "cuda":
        try:
            import triton  # noqa: F401
        except ImportError:
            return "torch.compile: the package triton is not installed"
    return ""


def _synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was asked: a GPU takes orders and answers later."""
    if device.type not in ("cpu", "meta"):
        torch.accelerator.synchronize(device)


class _Step:
    """A network with its optimiser, ready to take one step after another."""

    def __init__(self, build: Callable[[], nn.Module], switches: Switches, device: torch.device) -> None:
        self.switches, self.device = switches, device
        layout = torch.channels_last if switches.channels_last else torch.contiguous_format
        self.layout = layout
        model = build().to(device, memory_format=layout).train()
        checkpoint_activations(model, switches.checkpointed)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        # fused=None leaves the choice to torch, which fuses nothing by itself.
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=switches.fused_optimizer or None)
        self.model = torch.compile(model) if switches.compiled else model
        self.dtype = (autocast_dtype(device) or torch.bfloat16) if switches.mixed_precision else None
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.dtype == torch.float16)

    def take(self, batch: Batch) -> None:
        """Take one optimiser step."""
        x, y = (tensor.to(self.device, non_blocking=True) for tensor in batch)
        parts = self.switches.num_parts
        guards.can_be_split(len(x), parts)
        if x.ndim == 4:
            x = x.contiguous(memory_format=self.layout)
        self.optimizer.zero_grad(set_to_none=True)
        for part_x, part_y in zip(x.tensor_split(parts), y.tensor_split(parts), strict=True):
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
                loss = functional.cross_entropy(self.model(part_x), part_y)
            self.scaler.scale(loss * (len(part_x) / len(x))).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()


def _cpu_peak(work: Callable[[], object]) -> int:
    """Return the largest amount of memory that tensors hold at one moment of `work`, in bytes."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # it reports to the terminal that there is no GPU
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def _peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """Return how much more memory than before `work` holds at its worst moment, in bytes."""
    if device.type == "cpu":
        return _cpu_peak(work)
    memory = getattr(torch, device.type)
    if not hasattr(memory, "max_memory_allocated"):
        return 0
    _synchronise(device)
    before = memory.memory_allocated(device)
    memory.reset_peak_memory_stats(device)
    work()
    _synchronise(device)
    return memory.max_memory_allocated(device) - before


def _measure(
    build: Callable[[], nn.Module],
    next_batch: Callable[[], Batch],
    switches: Switches,
    num_steps: int,
    num_warmup: int,
    device: torch.device,
) -> StepCost:
    """Time the steps of one network, then follow the memory of a second one."""
    step, seconds = _Step(build, switches, device), []
    for _ in range(num_warmup + num_steps):
        _synchronise(device)
        started = time.perf_counter()
        step.take(next_batch())
        _synchronise(device)
        seconds.append(time.perf_counter() - started)
    del step
    gc.collect()  # an optimiser and its schedule may refer to each other

    def again() -> None:
        second = _Step(build, switches, device)
        for _ in range(2):  # the optimiser's state is there from the second step on
            second.take(next_batch())

    return StepCost(min(seconds[num_warmup:]), seconds[0], _peak_bytes(again, device))


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _check_fit(build: Callable[[], nn.Module], batch: Batch) -> None:
    """Raise a ValueError if the network does not take the batch; tried where tensors have no numbers."""
    x, y = batch
    try:
        with torch.no_grad():
            logits = build().to("meta")(x.to("meta"))
    except (NotImplementedError, TypeError):
        return  # a network that looks at its own numbers cannot be tried without any; the clock will tell
    except RuntimeError as error:
        if "meta tensor" in str(error) or _is_out_of_memory(error):
            return
        raise ValueError(
            f"the network does not take images of shape {tuple(x.shape)}: {error}. Expected the channels and "
            "at least the size that it is made for, as floating-point numbers."
        ) from error
    if logits.ndim != 2 or y.ndim != 1 or y.dtype != torch.int64:
        raise ValueError(
            f"the network answers with shape {tuple(logits.shape)}, the labels have shape {tuple(y.shape)} "
            f"and type {y.dtype}; expected (n, classes), (n,) and int64"
        )
    lowest, highest, num_outputs = int(y.min()), int(y.max()), logits.shape[1]
    if not 0 <= lowest <= highest < num_outputs:
        raise ValueError(
            f"labels run from {lowest} to {highest}; expected 0 to {num_outputs - 1}, since the network has "
            f"{num_outputs} outputs. Give it a head with one output per class (model_based.replace_head)."
        )


def step_cost(
    build: Callable[[], nn.Module],
    next_batch: Callable[[], Batch],
    switches: Switches | None = None,
    *,
    num_steps: int = 5,
    num_warmup: int = 2,
    device: torch.device | str | None = None,
) -> StepCost:
    """Measure a training step (forward, backward, AdamW) with the given switches.

    Parameters
    ----------
    build
        Makes the network; called three times: to see whether it takes a batch, for the clock, for the memory.
    next_batch
        Returns images and class indices; called once beforehand and before every step, where its time counts.
        To leave data loading out of the measurement return the same tensors each time, already on the device.
    switches
        By default all off.
    num_steps
        Steps of which the fastest counts, at least 1.
    num_warmup
        Steps before the clock counts, at least 1: the first step always does more than the others.
    device
        By default the best device of the machine.

    Returns
    -------
    Time and peak memory; or, where `torch.compile` cannot work, the reason in `skipped`.

    Raises
    ------
    ValueError
        If `num_steps` or `num_warmup` is below 1, the device is not there, a switch does not fit the network
        or the batch, or these two do not fit: images of another shape, labels beyond the outputs.
    MemoryError
        If the device's memory does not suffice; says what to change.

    Notes
    -----
    On a GPU memory is what torch's allocator hands out at the worst moment; on a CPU it is what the profiler
    sees tensors take, which is the same quantity. The cost of choosing kernels is in the first step.

    Examples
    --------
    >>> batch = torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)
    >>> step_cost(lambda: nn.Linear(3, 2), lambda: batch, device="cpu").peak_bytes >= 4 * 8 * 4
    True
    """
    if num_steps < 1 or num_warmup < 1:
        raise ValueError(f"received {num_steps=}, {num_warmup=}; expected at least 1 of each")
    switches = Switches() if switches is None else switches
    if switches.num_parts < 1:
        raise ValueError(f"num_parts is {switches.num_parts}; expected at least 1")
    guards.has_device(device)
    device = best_device() if device is None else torch.device(device)
    if switches.compiled and (obstacle := compile_obstacle(device)):
        return StepCost(skipped=obstacle)
    _check_fit(build, next_batch())
    try:
        return _measure(build, next_batch, switches, num_steps, num_warmup, device)
    except RuntimeError as error:
        if _is_out_of_memory(error):
            size = max(1, len(next_batch()[0]) // switches.num_parts)
            raise MemoryError(_what_to_change(size, switches, device)) from error
        if switches.compiled:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return StepCost(skipped=f"torch.compile: {first}")
        raise


def _what_to_change(size: int, switches: Switches, device: torch.device) -> str:
    """Return the message for a step that does not fit: which switches are left to try."""
    left = {
        "num_parts": f"num_parts={2 * switches.num_parts} (smaller parts; the same gradient, but for batch "
        "normalisation)",
        "checkpointed": "checkpointed=(...) (activations computed twice instead of kept)",
        "mixed_precision": "mixed_precision=True (half the bytes per activation)",
    }
    untried = [text for name, text in left.items() if name == "num_parts" or not getattr(switches, name)]
    return f"{out_of_memory_advice(size, device)} Or keep the batch and switch on {', '.join(untried)}."


def one_at_a_time(parts: Sequence[str], *, num_parts: int = 4) -> dict[str, Switches]:
    """Return all switches off, then each of them alone, by the name under which a table shows it.

    Parameters
    ----------
    parts
        What activation checkpointing applies to.
    num_parts
        For gradient accumulation.

    Examples
    --------
    >>> [*one_at_a_time(["layer1"])][:2]
    ['plain', 'mixed precision']
    """
    plain = Switches()
    alone: dict[str, dict[str, Any]] = {
        "plain": {},
        "mixed precision": {"mixed_precision": True},
        "channels last": {"channels_last": True},
        "fused optimiser": {"fused_optimizer": True},
        "torch.compile": {"compiled": True},
        f"{num_parts} accumulated parts": {"num_parts": num_parts},
        "activation checkpointing": {"checkpointed": tuple(parts)},
    }
    return {name: replace(plain, **changed) for name, changed in alone.items()}


def cost_table(
    build: Callable[[], nn.Module],
    next_batch: Callable[[], Batch],
    rows: Mapping[str, Switches],
    *,
    num_steps: int = 5,
    num_warmup: int = 2,
    device: torch.device | str | None = None,
) -> list[dict[str, Any]]:
    """Measure one row per entry of `rows` on whatever device is there.

    Parameters
    ----------
    build, next_batch, num_steps, num_warmup, device
        As in `step_cost`.
    rows
        Name → switches, for example `one_at_a_time`.

    Returns
    -------
    One dict per row with ``name`` and the fields of `StepCost`, as JSON can hold them. A row that runs out of
    memory or that cannot be had on this machine says so in ``skipped``, and the table goes on.

    Raises
    ------
    ValueError
        As in `step_cost`.

    Examples
    --------
    >>> batch = torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)
    >>> table = cost_table(lambda: nn.Linear(3, 2), lambda: batch, {"plain": Switches()}, device="cpu")
    >>> table[0]["name"], table[0]["skipped"]
    ('plain', '')
    """
    table = []
    for name, switches in rows.items():
        try:
            cost = step_cost(
                build, next_batch, switches, num_steps=num_steps, num_warmup=num_warmup, device=device
            )
        except MemoryError as error:
            cost = StepCost(skipped=str(error))
        row = {field.name: getattr(cost, field.name) for field in fields(StepCost)}
        if cost.skipped:
            row |= {"step_s": None, "first_step_s": None, "peak_bytes": None}
        table.append({"name": name, **row})
    return table
