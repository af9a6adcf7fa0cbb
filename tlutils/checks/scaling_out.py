"""Checks of the exercises in the chapter on scaling out."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from tlutils.distributed import rank_batch
from tlutils.exercises import Wrong


def own_share(share: Callable) -> str:
    """Check that the ranks of a step share one shuffle, and that there is another one in the next epoch."""
    for size in (2, 4):
        for step in (0, 1, 5):
            shares = [share(40, 8, step, 3, rank, size) for rank in range(size)]
            if not all(isinstance(part, Tensor) for part in shares):
                raise Wrong("expected a tensor of examples from every rank.")
            if any(len(part) != 8 // size for part in shares):
                raise Wrong(
                    f"with {size} ranks the shares have {[len(part) for part in shares]} examples; together "
                    "they should have 8, in equal parts."
                )
            if len(torch.cat(shares).unique()) < 8:
                raise Wrong(f"in step {step} two of {size} ranks have the same example.")
    first = torch.cat([share(40, 8, step, 3, rank, 2) for step in range(5) for rank in (0, 1)])
    if len(first.unique()) < 40:
        raise Wrong(
            f"after an epoch of 40 examples the ranks have seen {len(first.unique())} of them. Do all ranks "
            "draw from one shuffle?"
        )
    alone = rank_batch(40, 8, 2, seed=3, rank=0, size=1)
    together = torch.cat([share(40, 8, 2, 3, rank, 4) for rank in range(4)])
    if sorted(alone.tolist()) != sorted(together.tolist()):
        raise Wrong("together the ranks have other examples than one process has in that step.")
    return "no example twice, none left out, and together the batch of one process."


def _answer(rank: int, calls: list[tuple[int, float]], answer: float | None) -> Callable:
    """Return a function that notes who calls it with what, and answers."""

    def call(value: float) -> float | None:
        calls.append((rank, value))
        return answer

    return call


def only_rank_zero(finish_step: Callable) -> str:
    """Check who takes part in the conversation, and who writes."""
    for size in (2, 3):
        asked: list[tuple[int, float]] = []
        written: list[tuple[int, float]] = []
        for rank in range(size):
            finish_step(rank, float(rank), _answer(rank, asked, 7.0), _answer(rank, written, None))
        silent = sorted(set(range(size)) - {rank for rank, _ in asked})
        if silent:
            raise Wrong(
                f"rank {silent[0]} never calls average: the others wait for it, for ever. All take part or "
                "none."
            )
        if len(asked) > size or any(value != rank for rank, value in asked):
            raise Wrong("each rank should hand its own loss to average, once.")
        writers = [rank for rank, _ in written]
        if writers != [0]:
            raise Wrong(f"the ranks that write are {writers}; expected rank 0, once.")
        if written[0][1] != 7.0:
            raise Wrong(f"rank 0 writes {written[0][1]}, its own loss; expected the average over all ranks.")
    return "all take part in the average, one writes it."


def warm_rate(rate: Callable) -> str:
    """Check the scaled rate with its warm-up at the start, half-way, at the end and beyond."""
    arguments = {"base_rate": 0.1, "base_batch": 256, "batch": 8192, "warmup_steps": 10}
    expected = {0: 0.1, 5: 1.65, 10: 3.2, 500: 3.2}
    for step, right in expected.items():
        found = rate(step, **arguments)
        if not isinstance(found, int | float):
            raise Wrong(f"rate({step}, …) is {found!r}; expected a number.")
        if math.isclose(found, right, rel_tol=1e-6):
            continue
        if step == 0 and math.isclose(found, 3.2):
            raise Wrong("the first step already has the full rate: there is no warm-up.")
        if step == 0 and found == 0:
            raise Wrong("the ramp starts at 0; it should start at base_rate, which is known to be safe.")
        if step == 0 and math.isclose(found, 0.32):
            raise Wrong("the ramp starts at a tenth of the full rate; here it should start at base_rate.")
        if step == 500 and found > 3.2:
            raise Wrong(f"after the warm-up the rate goes on rising, to {found:.3g}.")
        raise Wrong(f"at step {step} of {arguments} the rate is {found:.4g}; expected {right:.4g}.")
    return "from the safe rate to the scaled one in a line, and there it stays."


def needed_bandwidth(bandwidth: Callable) -> str:
    """Check the bandwidth at which an endless ring talks as long as it computes."""
    for num_parameters, seconds in ((25_000_000, 0.1), (1_000_000, 0.5)):
        found, right = bandwidth(num_parameters, seconds), 8 * num_parameters / seconds
        job = f"{num_parameters:,} parameters in {seconds} s"
        if not isinstance(found, int | float):
            raise Wrong(f"the answer for {job} is {found!r}; expected a number.")
        for factor, reason in (
            (1 / 2, "on a ring every number travels twice: once to be added, once to be told"),
            (1 / 4, "a float32 number has 4 bytes"),
            (1 / 8, "a float32 number has 4 bytes, and travels twice"),
            (8, "bytes per second are asked for, not bits"),
        ):
            if math.isclose(found, right * factor):
                raise Wrong(f"{found:.3g} is off by a factor of {max(factor, 1 / factor):g}: {reason}.")
        if not math.isclose(found, right, rel_tol=1e-6):
            raise Wrong(f"{job} need {right:.3g} bytes per second; yours is {found:.3g}.")
    return "2 GB/s for a ResNet-50 whose backward pass takes a tenth of a second."
