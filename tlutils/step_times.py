"""How long a step and an all-reduce take, in the very loop that trains; run under torchrun."""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.elastic.multiprocessing.errors import record

from tlutils import models
from tlutils.distributed import fit_distributed, process_group, rank_and_size
from tlutils.domains import Labelled
from tlutils.files import write_atomically
from tlutils.runtime import new_generator

__all__ = ["all_reduce_seconds", "main", "step_seconds"]

# Name → what makes the network, and the shape of its images.
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, int, int]]] = {
    "lenet": (functools.partial(models.lenet, image_size=8), (1, 8, 8)),
    "residual": (models.residual_network, (3, 32, 32)),
}


def step_seconds(network: str, global_batch_size: int, *, num_steps: int, device: torch.device) -> float:
    """Return the median duration of a training step on random images, in seconds.

    The first quarter of the steps does not count: memory is allocated in them.

    Raises
    ------
    ValueError
        If there is no such network or `num_steps` is below 4.
    """
    if network not in NETWORKS or num_steps < 4:
        raise ValueError(f"got {network=}, {num_steps=}; expected one of {[*NETWORKS]} and at least 4 steps")
    make, shape = NETWORKS[network]
    x = torch.rand(global_batch_size, *shape, generator=new_generator(0))
    data = Labelled(x, torch.arange(global_batch_size) % 10, 10)
    moments: list[float] = []

    def look(step: int) -> None:  # noqa: ARG001
        if device.type == "cuda":
            torch.cuda.synchronize()
        moments.append(time.perf_counter())

    fit_distributed(
        make(), data, num_steps=num_steps + 1, global_batch_size=global_batch_size, learning_rate=1e-3,
        before_step=look, device=device,
    )  # fmt: skip
    durations = [after - before for before, after in itertools.pairwise(moments)]
    return statistics.median(durations[num_steps // 4 :])


def all_reduce_seconds(num_bytes: int, *, num_repeats: int, device: torch.device) -> float:
    """Return the median time in which the processes of the group add up `num_bytes` of float32 numbers.

    Raises
    ------
    RuntimeError
        If there is no group: run the program under torchrun.
    """
    if not dist.is_initialized():
        raise RuntimeError("there is no process group to reduce over; start this program with torchrun")
    values = torch.zeros(max(1, num_bytes // 4), device=device)
    durations = []
    for _ in range(num_repeats + 1):
        dist.barrier()
        started = time.perf_counter()
        dist.all_reduce(values)
        if device.type == "cuda":
            torch.cuda.synchronize()
        durations.append(time.perf_counter() - started)
    return statistics.median(durations[1:])


@record
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure steps and all-reduces and let rank 0 write them to the file ``--out``, as JSON."""
    parser = argparse.ArgumentParser(prog="tlutils.step_times", description=main.__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--num-steps", type=int, default=20)
    parser.add_argument("--case", nargs="*", default=[], metavar="NETWORK:BATCH", help="steps to measure")
    parser.add_argument("--num-bytes", nargs="*", type=int, default=[], help="all-reduces to measure")
    options = parser.parse_args(arguments)
    with process_group() as device:
        cases = [case.split(":") for case in options.case]
        found = {
            "steps": [
                [name, int(batch), step_seconds(name, int(batch), num_steps=options.num_steps, device=device)]
                for name, batch in cases
            ],
            "all_reduces": [
                [size, all_reduce_seconds(size, num_repeats=options.num_steps, device=device)]
                for size in options.num_bytes
            ],
        }
        if rank_and_size()[0] == 0:
            write_atomically(options.out, lambda file: file.write(json.dumps(found).encode()))


if __name__ == "__main__":
    main()
