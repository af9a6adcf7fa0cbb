"""One training in several processes: started by torchrun, equal to one process, resumed after a crash.

    torchrun --nproc-per-node=2 -m tlutils.distributed --out runs/first

On a machine with enough GPUs each process takes one, and gradients travel through NCCL; elsewhere they
travel through gloo, which works on any CPU.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import re
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.spawn import get_executable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from tlutils import datasets, guards, models
from tlutils.domains import Labelled, as_images
from tlutils.files import write_atomically
from tlutils.runtime import new_generator, seeded

__all__ = [
    "WorkerError",
    "fit_distributed",
    "launch",
    "main",
    "process_group",
    "rank_and_size",
    "rank_batch",
]


class WorkerError(RuntimeError):
    """A job of several processes that ended because one of them did; the message says which, and why."""


def rank_and_size() -> tuple[int, int]:
    """Return this process's number in its group and the size of the group; alone: (0, 1).

    Examples
    --------
    >>> rank_and_size()
    (0, 1)
    """
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


@contextmanager
def process_group() -> Iterator[torch.device]:
    """Join the group that torchrun has prepared, and yield the device of this process.

    A process takes the GPU of its own number if this machine has one for each of its processes, and talks
    through NCCL; otherwise all compute on the CPU and talk through gloo, and rank 0 warns if there are GPUs
    that stand idle. Without torchrun nothing is joined.
    """
    if "LOCAL_RANK" not in os.environ:
        yield torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return
    local_rank, local_size = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    guards.no_idle_gpus(local_rank, local_size)
    has_gpus = torch.cuda.device_count() >= local_size
    device = torch.device("cuda", local_rank) if has_gpus else torch.device("cpu")
    if has_gpus:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if has_gpus else "gloo")
    yield device
    dist.destroy_process_group()  # not after an error: the others may be gone, and waiting for them hangs


def rank_batch(
    num_examples: int, global_batch_size: int, step: int, *, seed: int, rank: int, size: int
) -> Int[Tensor, " n"]:
    """Return the examples of one rank in one step: its share of a shuffle that all ranks agree on.

    The shuffle depends on the seed and the epoch, not on the rank. So the ranks of a step have no example in
    common, and together they have those of a single process. The incomplete batch at the end of an epoch is
    left out.

    Raises
    ------
    ValueError
        If the global batch is larger than the data or cannot be shared out evenly.

    Examples
    --------
    >>> shares = [rank_batch(8, 4, 0, seed=0, rank=rank, size=2) for rank in (0, 1)]
    >>> alone = rank_batch(8, 4, 0, seed=0, rank=0, size=1)
    >>> sorted(torch.cat(shares).tolist()) == sorted(alone.tolist())
    True
    """
    if global_batch_size % size or not 1 <= global_batch_size <= num_examples:
        raise ValueError(
            f"a global batch of {global_batch_size} from {num_examples} examples for {size} processes; "
            f"expected a multiple of {size} between {size} and {num_examples}"
        )
    epoch, batch = divmod(step, num_examples // global_batch_size)
    order = torch.randperm(num_examples, generator=new_generator(1_000_003 * seed + epoch))
    return order[batch * global_batch_size : (batch + 1) * global_batch_size][rank::size]


def _mean_over_ranks(losses: list[Tensor | float], device: torch.device) -> list[float]:
    """Return the losses averaged over all ranks; stop at one that is no number."""
    values = torch.tensor([float(loss) for loss in losses], dtype=torch.float64)
    if dist.is_initialized():
        values = values.to(device)
        dist.all_reduce(values)
    means = (values / rank_and_size()[1]).tolist()
    for step, mean in enumerate(means):
        if not math.isfinite(mean):
            raise FloatingPointError(f"the loss is {mean} at step {step}; lower the learning rate")
    return means


def _read_checkpoint(path: Path | None, fingerprint: str) -> dict[str, Any] | None:
    """Return the state in `path`, or None; only rank 0 reads, and hands it to the others."""
    state = None
    if path is not None and path.exists() and rank_and_size()[0] == 0:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ValueError(f"the checkpoint {path} cannot be read; delete it to start afresh") from error
        guards.is_checkpoint(state, path)
        if state["fingerprint"] != fingerprint:
            raise ValueError(
                f"the checkpoint {path} belongs to another training: it has {state['fingerprint']}, this "
                f"one is {fingerprint}. Delete it or choose another file."
            )
    if dist.is_initialized():
        box = [state]
        dist.broadcast_object_list(box, src=0)
        (state,) = box
    return state


def fit_distributed(
    model: nn.Module,
    train: Labelled,
    *,
    num_steps: int,
    global_batch_size: int,
    learning_rate: float,
    momentum: float = 0.9,
    warmup_steps: int = 0,
    seed: int = 0,
    checkpoint: Path | None = None,
    checkpoint_every: int = 10,
    before_step: Callable[[int], None] | None = None,
    device: torch.device | str = "cpu",
) -> list[float]:
    r"""Train `model` in place with SGD, in this process alone or in every process of the current group.

    Each of `p` processes computes the mean gradient of its share of the global batch; the mean of these
    means, which `DistributedDataParallel` computes during the backward pass, is the gradient of the batch:

    .. math:: \frac1p \sum_{r=1}^{p} \frac{p}{n} \sum_{i \in B_r} g_i = \frac1n \sum_{i \in B} g_i

    Parameters
    ----------
    model
        Gives logits. The weights of rank 0 are copied to all ranks at the start.
    train
        Labelled examples, the same on every rank.
    num_steps
        Optimiser steps in all, at least 1.
    global_batch_size
        Examples per step over all processes, a multiple of their number.
    learning_rate
        Positive; belongs to the global batch.
    momentum
        In [0, 1).
    warmup_steps
        Over so many steps the rate rises in a line to `learning_rate`. 0: it starts there.
    seed
        Seed of the shuffles, and with step and rank of dropout.
    checkpoint
        A file that rank 0 writes; where it exists the training goes on from it. It stays at the end.
    checkpoint_every
        Steps between two writes.
    before_step
        Called with the number of each step.
    device
        Where this process computes.

    Returns
    -------
    The loss of every step, averaged over the global batch.

    Raises
    ------
    ValueError
        If a number is out of range, the device is not there, the network cannot take the examples or has
        another number of classes, or the checkpoint belongs to another training or a longer one.
    FloatingPointError
        If a loss was not finite; found when the losses are averaged, at a checkpoint or at the end.

    Source
    ------
    Li et al., "PyTorch distributed: experiences on accelerating data parallel training", PVLDB 13 (2020).
    """
    positive = {"num_steps": num_steps, "learning_rate": learning_rate, "checkpoint_every": checkpoint_every}
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; expected a positive number")
    guards.has_device(device)
    guards.is_momentum(momentum)
    guards.is_whole("warmup_steps", warmup_steps, 0)
    guards.fits(model, train.x, train.num_classes)
    (rank, size), device = rank_and_size(), torch.device(device)
    model, x, y = model.to(device).train(), train.x.to(device), train.y.to(device)
    parallel = DistributedDataParallel(model) if dist.is_initialized() else model
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=momentum)
    fingerprint = f"{global_batch_size=} {learning_rate=} {momentum=} {warmup_steps=} {seed=} n={len(x)}"
    losses: list[Tensor | float] = []
    if (state := _read_checkpoint(checkpoint, fingerprint)) is not None:
        guards.belongs_to(state, model, num_steps)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        losses = state["losses"]
    with seeded(seed):
        for step in range(len(losses), num_steps):
            if before_step is not None:
                before_step(step)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate * min(1.0, (step + 1) / max(1, warmup_steps))
            torch.manual_seed((seed * 1_000_003 + step) * size + rank)  # each rank drops other features
            batch = rank_batch(len(x), global_batch_size, step, seed=seed, rank=rank, size=size).to(device)
            loss = functional.cross_entropy(parallel(x[batch]), y[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            if checkpoint is not None and (step + 1) % checkpoint_every == 0:
                losses = _mean_over_ranks(losses, device)  # a conversation: every rank takes part
                if rank == 0:
                    state = {"fingerprint": fingerprint, "model": model.state_dict(), "losses": losses}
                    state["optimizer"] = optimizer.state_dict()
                    write_atomically(checkpoint, functools.partial(torch.save, state))
    return _mean_over_ranks(losses, device)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "lenet": functools.partial(models.lenet, image_size=8),
    "lenet with BatchNorm": functools.partial(models.lenet, image_size=8, batch_norm=True),
}


def _digits() -> Labelled:
    """Return the training part of the 8×8 digits, which need no download."""
    part = datasets.load("digits8x8", "train")
    return Labelled(as_images(part.images, size=8, channels=1), torch.from_numpy(part.labels).long(), 10)


def _crash(where: str, step: int) -> None:
    """Kill this process, as a full memory or a pulled plug would, if `where` names its rank and the step."""
    if where == f"{rank_and_size()[0]}:{step}":
        os.kill(os.getpid(), signal.SIGKILL)


# Without torchrun's decorator `record`: it writes a failing worker's error into a file, and where that worker
# is ended while it writes (because another was killed), torchrun fails on the half-written file and says
# nothing of the one that was killed.
def main(arguments: Sequence[str] | None = None) -> None:
    """Train a small network on the 8×8 digits in every process that torchrun starts.

    The folder ``--out`` gets ``checkpoint.pt`` on the way, and ``weights.safetensors`` and ``losses.json`` at
    the end, from rank 0. The same command after a crash goes on from the checkpoint.
    """
    from safetensors.torch import save as save_tensors

    parser = argparse.ArgumentParser(prog="tlutils.distributed", description=main.__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoint and results")
    parser.add_argument("--network", choices=[*NETWORKS], default="lenet")
    parser.add_argument("--num-steps", type=int, default=20)
    parser.add_argument("--global-batch-size", type=int, default=64, help="over all processes")
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--warmup-steps", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint-every", type=int, default=10)
    parser.add_argument("--rehearse-crash", default="", metavar="RANK:STEP", help="kill -9 that rank there")
    settings = vars(parser.parse_args(arguments))
    out, crash, network = (settings.pop(key) for key in ("out", "rehearse_crash", "network"))
    # A convolution of one channel has two equally good strides; the hint is about nothing.
    warnings.filterwarnings("ignore", "Grad strides do not match", UserWarning)
    with process_group() as device:
        model = NETWORKS[network]()
        losses = fit_distributed(
            model, _digits(), **settings, checkpoint=out / "checkpoint.pt",
            before_step=functools.partial(_crash, crash), device=device,
        )  # fmt: skip
        if rank_and_size()[0] == 0:
            weights = {key: tensor.cpu().contiguous() for key, tensor in model.state_dict().items()}
            write_atomically(out / "weights.safetensors", lambda file: file.write(save_tensors(weights)))
            write_atomically(out / "losses.json", lambda file: file.write(json.dumps(losses).encode()))


def _loopback() -> dict[str, str]:
    """Return the variable that makes gloo use the loopback, whatever this machine's name resolves to."""
    there = {name for _, name in socket.if_nameindex()} & {"lo", "lo0"}
    return {"GLOO_SOCKET_IFNAME": there.pop()} if there else {}


def _explain(report: str) -> str:
    """Return what torchrun's report says about the process that failed first."""
    failures = re.findall(r"^ +rank +: (\d+) .*\n +exitcode +: (-?\d+)", report, re.M)
    if not failures:
        return "torchrun failed: " + report[-800:]
    # A killed rank breaks the connections of the others, whose complaints may come before the notice of its
    # death; and torchrun ends the others with SIGTERM. So: other signals first, then errors, then SIGTERM.
    order = {True: 2, False: 0}
    rank, code = min(
        ((int(r), int(c)) for r, c in failures),
        key=lambda failure: 1 if failure[1] > 0 else order[failure[1] == -signal.SIGTERM],
    )
    if code < 0:
        return f"rank {rank} was killed by {signal.Signals(-code).name}; torchrun stopped the others"
    errors = re.findall(rf"^\[rank{rank}\]: (\w[\w.]*: .*)$", report, re.M)
    reason = errors[-1] if errors else "its traceback is in torchrun's report"
    return f"rank {rank} ended with exit code {code} ({reason}); torchrun stopped the others"


def _end(process: subprocess.Popen) -> None:
    """End torchrun and, through it, its workers, which live in sessions of their own."""
    process.terminate()
    try:
        process.communicate(timeout=60)  # torchrun gives its workers 30 s before it kills them
    except subprocess.TimeoutExpired:
        process.kill()


def launch(
    program: Callable[..., object] | Path,
    arguments: Sequence[str] = (),
    *,
    num_processes: int = 2,
    timeout_s: float = 600.0,
) -> float:
    """Run a program under torchrun on this machine and return the seconds that it took.

    Every process computes with one thread; they meet on the loopback at a port that the system chooses.

    Parameters
    ----------
    program
        A Python file, or a function, such as `main`, whose module runs it when started with ``python -m``.
    arguments
        Command line of the program.
    num_processes
        At least 1.
    timeout_s
        After so many seconds everything that was started is ended.

    Raises
    ------
    ValueError
        If `num_processes` is below 1, or the program is neither a file that is there nor a function that a
        new process can import.
    WorkerError
        If a process fails or time runs out.
    """
    if num_processes < 1:
        raise ValueError(f"num_processes is {num_processes}; expected at least 1")
    guards.can_be_launched(program)
    command = [
        os.fsdecode(get_executable()), "-m", "torch.distributed.run", f"--nproc-per-node={num_processes}",
        "--max-restarts=0", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1",
    ]  # fmt: skip
    command += [str(program)] if isinstance(program, Path) else ["-m", program.__module__]
    package = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**_loopback(), **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    started = time.perf_counter()
    process = subprocess.Popen(
        [*command, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        report, _ = process.communicate(timeout=timeout_s)
    except BaseException as error:
        _end(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise WorkerError(f"not done after {timeout_s:.0f} s; all processes were ended") from None
        raise
    if process.returncode:
        raise WorkerError(_explain(report))
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
