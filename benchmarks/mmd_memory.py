"""Time and memory of `tlutils.feature_based.mmd2`, beside the broadcast that circulates in tutorials.

1. forward and backward at n = 1000, d = 256 against the broadcast, which builds an (n, n, d) array of
   differences for each of the three means. Each way runs in a process of its own. Memory is what tensors hold
   at the worst moment, counted allocation by allocation; beside it the growth of the peak resident set over
   that after a small run of the same code. Time is the median of several rounds.
2. n = 20 000 against 20 000 in 64 dimensions, forward and backward: peak of the whole process, and the
   difference from three whole kernel matrices in float64, which other code computes.

Ends with status 1 unless the bounds below hold.

Usage: python benchmarks/mmd_memory.py [--rounds 5] [--size 1000] [--large 20000]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tlutils.feature_based import mmd2
from tlutils.runtime import environment_line, new_generator

MIN_MEMORY_RATIO = 20  # so many times less than the broadcast, forward and backward
MIN_SPEED_RATIO = 5  # so many times faster, forward and backward
MAX_PEAK_MB = 1000  # of the whole process that compares the two large samples
MAX_DIFFERENCE = 1e-5  # from three whole kernel matrices

MB = 1e6
KIB = 1024  # the unit of ru_maxrss on Linux


def broadcast_mmd2(x: Tensor, y: Tensor, bandwidth: float) -> Tensor:
    """Return the unbiased estimate the usual way: all differences at once."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return torch.exp(-(a[:, None, :] - b[None, :, :]).square().sum(dim=2) / (2 * bandwidth**2))

    n, m = len(x), len(y)
    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    within = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1))
    return within - 2 * xy.mean()


WAYS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "broadcast": broadcast_mmd2,
    "tlutils": lambda x, y, bandwidth: mmd2(x, y, bandwidth=bandwidth),
}


def make_samples(n: int, d: int) -> tuple[Tensor, Tensor]:
    """Return two float32 samples, the second shifted; both want a gradient."""
    generator = new_generator(0)
    x = torch.randn(n, d, generator=generator)
    y = torch.randn(n, d, generator=generator) + 0.1
    return x.requires_grad_(), y.requires_grad_()


def peak_mb() -> float:
    """Return the largest resident set of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * KIB / MB


def held_mb(way: str, n: int, d: int) -> float:
    """Return what tensors hold at the worst moment of forward and backward, without the samples, in MB."""
    from tlutils.step_cost import _cpu_peak  # here, so that its imports are in no peak

    samples = make_samples(n, d)
    return _cpu_peak(lambda: WAYS[way](*samples, (2 * d) ** 0.5).backward()) / MB


def measure(way: str, n: int, d: int, rounds: int) -> dict[str, float]:
    """Run forward and backward several times, then once more and count; return seconds, MB and result."""
    function, bandwidth = WAYS[way], (2 * d) ** 0.5
    function(*make_samples(8, d), bandwidth).backward()
    before, times = peak_mb(), []
    for _ in range(rounds):
        x, y = make_samples(n, d)
        started = time.perf_counter()
        value = function(x, y, bandwidth)
        value.backward()
        times.append(time.perf_counter() - started)
    return {
        "seconds": statistics.median(times),
        "growth": peak_mb() - before,
        "peak": peak_mb(),
        "value": value.item(),
        "held": held_mb(way, n, d),  # last: it takes memory of its own
    }


def in_own_process(*arguments: object) -> dict[str, float]:
    """Run `measure` in a fresh process, so that one way's peak does not hide the other's.

    On Linux a child's peak is at least what its parent holds when it starts: so measure first, and compute in
    this process afterwards.
    """
    command = [sys.executable, __file__, "--measure", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def at_once(n: int, d: int) -> float:
    """Return the estimate from three whole kernel matrices, by other code, in float64."""

    def total(a: Tensor, b: Tensor) -> float:
        return torch.cdist(a, b).square_().mul_(-1 / (4 * d)).exp_().sum().item()  # 2σ² = 4d

    x, y = (sample.detach().double() for sample in make_samples(n, d))
    return (total(x, x) + total(y, y) - 2 * n) / (n * (n - 1)) - 2 * total(x, y) / n**2


def shortfalls(memory: float, speed: float, peak: float, difference: float) -> list[str]:
    """Return one line for each bound that does not hold."""
    bounds = [
        (memory >= MIN_MEMORY_RATIO, f"{memory:.1f} times less memory, expected at least {MIN_MEMORY_RATIO}"),
        (speed >= MIN_SPEED_RATIO, f"{speed:.1f} times faster, expected at least {MIN_SPEED_RATIO}"),
        (peak <= MAX_PEAK_MB, f"a peak of {peak:.0f} MB, expected at most {MAX_PEAK_MB}"),
        (
            difference <= MAX_DIFFERENCE,
            f"a difference of {difference:.1e}, expected at most {MAX_DIFFERENCE}",
        ),
    ]
    return [line for holds, line in bounds if not holds]


def compare(n: int, d: int, rounds: int) -> tuple[float, float]:
    """Measure both ways and return how many times less memory and time ours takes."""
    print(environment_line(), f"{torch.get_num_threads()} threads; forward and backward, n = {n}, d = {d}")
    results = {way: in_own_process(way, n, d, rounds) for way in WAYS}
    for way, result in results.items():
        print(f"{way:10s} {result['seconds']:7.3f} s, {result['held']:7.1f} MB in tensors", end=", ")
        print(f"resident set {result['growth']:+.1f} MB, {result['value']:.6f}")
    slow, fast = results.values()
    memory, speed = slow["held"] / fast["held"], slow["seconds"] / fast["seconds"]
    print(f"memory: {memory:.0f} times less   time: {speed:.1f} times faster")
    return memory, speed


def run_large(n: int, d: int) -> tuple[float, float]:
    """Measure the large case and return the peak of its process in MB and the difference from all at once."""
    large = in_own_process("tlutils", n, d, 1)
    print(f"n = {n}, d = {d}: {large['seconds']:.1f} s, peak of the process {large['peak']:.0f} MB")
    difference = abs(large["value"] - at_once(n, d))
    print(f"  difference from the whole matrices at once: {difference:.1e}")
    return large["peak"], difference


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--large", type=int, default=20_000)
    parser.add_argument("--measure", nargs=4, metavar=("WAY", "N", "D", "ROUNDS"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        way, *numbers = options.measure
        print(json.dumps(measure(way, *map(int, numbers))))
        return
    missed = shortfalls(*compare(options.size, 256, options.rounds), *run_large(options.large, 64))
    print("\n".join(f"MISSED: {line}" for line in missed) or "All four bounds hold.")
    if missed:
        sys.exit(1)


if __name__ == "__main__":
    main()
