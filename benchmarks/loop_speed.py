"""Images per second of `tlutils.training.fit`, beside two references, in one run.

1. the tutorials' way: torchvision data set, transforms image by image, DataLoader with two workers, float32;
2. the bare compute limit: the same steps on one cached batch, with nothing to load, shuffle or record.

All three train the same LeNet on MNIST with the same batch size and optimiser. Rounds are interleaved, so
that a disturbance of the machine hits all three; the median over rounds counts.

Usage: python benchmarks/loop_speed.py [--rounds 5] [--steps 150] [--batch-sizes 128 512]

Ends with exit status 1 if at batch size 128 `fit` is not 4 times the tutorials' way and 0.95 of the limit.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets as vision
from torchvision import transforms

from tlutils import datasets, downloads
from tlutils.domains import Domain, Labelled
from tlutils.models import lenet as any_lenet
from tlutils.runtime import autocast_dtype, best_device, environment_line
from tlutils.training import fit

# The widths of the original; in a wider one the arithmetic hides what this benchmark is about.
lenet = functools.partial(any_lenet, widths=(6, 16), num_features=84)


def make_loop(train: Labelled, num_steps: int, batch_size: int) -> Callable[[], float]:
    """Return a function that trains with `fit` and gives images per second."""

    def run() -> float:
        history = fit(lenet(), train, num_steps=num_steps, batch_size=batch_size)
        return num_steps * batch_size / history.duration_s

    return run


def make_bare(train: Labelled, num_steps: int, batch_size: int) -> Callable[[], float]:
    """Return a function that repeats the same step on one cached batch."""
    device = best_device()
    dtype = autocast_dtype(device)
    x = train.x[:batch_size].to(device, memory_format=torch.channels_last)
    y = train.y[:batch_size].to(device)

    def run() -> float:
        model = lenet().to(device, memory_format=torch.channels_last).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
        started = time.perf_counter()
        for _ in range(num_steps):
            with torch.autocast(device.type, dtype, enabled=dtype is not None):
                loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            loss.item()
        return num_steps * batch_size / (time.perf_counter() - started)

    return run


def make_tutorial(root: Path, num_steps: int, batch_size: int) -> Callable[[], float]:
    """Return a function that trains as the tutorials do; the workers' start is not counted."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    data = vision.MNIST(root, train=True, transform=transform, download=True)
    device = best_device()

    def run() -> float:
        model = lenet().to(device).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
        loader = iter(DataLoader(data, batch_size=batch_size, shuffle=True, num_workers=2, drop_last=True))
        next(loader)
        num_done, started = 0, time.perf_counter()
        for x, y in itertools.islice(loader, num_steps):  # an epoch at most
            loss = nn.functional.cross_entropy(model(x.to(device)), y.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            num_done += 1
        return num_done * batch_size / (time.perf_counter() - started)

    return run


MEANT = {128: (4.0, 0.95)}  # batch size → times the tutorials' way, share of the bare limit


def compare(train: Labelled, root: Path, rounds: int, num_steps: int, batch_size: int) -> bool:
    """Time the three ways in turn, print their medians and two ratios; say whether these are as meant."""
    size = (num_steps, batch_size)
    ways = {
        "tlutils.training.fit": make_loop(train, *size),
        "bare compute limit": make_bare(train, *size),
        "DataLoader, two workers, float32": make_tutorial(root, *size),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, run in ways.items():
            speeds[name].append(run())
    print(environment_line(), f"LeNet on MNIST, batch size {batch_size}, {rounds} rounds")
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, median in medians.items():
        print(f"{name:35s} {median:9.0f} images/s  (from {min(speeds[name]):.0f} to {max(speeds[name]):.0f})")
    fit_speed, bare, tutorial = medians.values()
    print(f"fit / DataLoader: {fit_speed / tutorial:.2f}   fit / bare limit: {fit_speed / bare:.3f}")
    times, share = MEANT.get(batch_size, (0.0, 0.0))
    return fit_speed / tutorial >= times and fit_speed / bare >= share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[128, 512])
    options = parser.parse_args()
    train = Domain.from_dataset("mnist").train
    originals = downloads.fetch(datasets.describe("mnist"), downloads.search_folders())
    with downloads.staged(originals) as root:
        size = (options.rounds, options.steps)
        is_met = [compare(train, root, *size, batch_size) for batch_size in options.batch_sizes]
    sys.exit(not all(is_met))


if __name__ == "__main__":
    main()
