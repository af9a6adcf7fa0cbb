"""Time and memory of `tlutils.feature_based.mmd2`, beside the broadcast that circulates in tutorials.

1. forward and backward at n = 1000, d = 256 against the broadcast, which builds an (n, n, d) array of
   differences for each of the three means. Each way runs in a process of its own. Memory is the growth of the
   peak resident set over that after a small run of the same code; time is the median of several rounds.
2. n = 20 000 against 20 000 in 64 dimensions, forward and backward: peak of the whole process, and the
   difference from one call on the whole kernel matrix at once.

Usage: python benchmarks/mmd_memory.py [--rounds 5] [--large 20000]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from tlutils.feature_based import mmd2
from tlutils.runtime import environment_line, new_generator

KIB_PER_MIB = 1024  # ru_maxrss counts KiB on Linux


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


def peak_mib() -> float:
    """Return the largest resident set of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB


def measure(way: str, n: int, d: int, rounds: int) -> dict[str, float]:
    """Run forward and backward several times; return seconds, MiB and results."""
    function, bandwidth = WAYS[way], (2 * d) ** 0.5
    function(*make_samples(8, d), bandwidth).backward()
    before, times = peak_mib(), []
    for _ in range(rounds):
        x, y = make_samples(n, d)
        started = time.perf_counter()
        value = function(x, y, bandwidth)
        value.backward()
        times.append(time.perf_counter() - started)
    return {
        "seconds": statistics.median(times),
        "growth": peak_mib() - before,
        "peak": peak_mib(),
        "value": value.item(),
        "gradient": x.grad.abs().max().item(),
    }


def in_own_process(*arguments: object) -> dict[str, float]:
    """Run `measure` in a fresh process, so that one way's peak does not hide the other's."""
    command = [sys.executable, __file__, "--measure", *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def at_once(n: int, d: int) -> float:
    """Return the estimate from three whole kernel matrices, without a gradient."""
    with torch.no_grad():
        return mmd2(*make_samples(n, d), bandwidth=(2 * d) ** 0.5, block_size=n).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--large", type=int, default=20_000)
    parser.add_argument("--measure", nargs=4, metavar=("WAY", "N", "D", "ROUNDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        way, *numbers = options.measure
        print(json.dumps(measure(way, *map(int, numbers))))
        return
    print(environment_line(), f"{torch.get_num_threads()} threads; forward and backward, n = 1000, d = 256")
    results = {way: in_own_process(way, 1000, 256, options.rounds) for way in WAYS}
    for way, result in results.items():
        print(f"{way:10s} {result['seconds']:7.3f} s {result['growth']:8.1f} MiB, {result['value']:.6f}")
    slow, fast = results.values()
    print(
        f"memory: {slow['growth'] / max(fast['growth'], 1):.0f} times less   "
        f"time: {slow['seconds'] / fast['seconds']:.1f} times faster"
    )
    n, d = options.large, 64
    large = in_own_process("tlutils", n, d, 1)
    print(f"n = {n}, d = {d}: {large['seconds']:.1f} s, peak of the process {large['peak']:.0f} MiB")
    print(f"  difference from the whole matrix at once: {abs(large['value'] - at_once(n, d)):.1e}")


if __name__ == "__main__":
    main()
