"""Rounds per second of `tlutils.generative.fit_game`, beside two references, in one run.

1. the DCGAN tutorial's way: torchvision data set, transforms image by image, DataLoader with two workers,
   float32, gradients for the discriminator in the generator's turn too;
2. the bare compute limit: the same turns on one cached batch, with nothing to load, shuffle or record.

All three train the same two networks on MNIST at 16 pixels with batches of 64. They take turns, so that a
disturbance of the machine hits all three; the median over repetitions counts.

Usage: python benchmarks/adversarial_speed.py [--repetitions 5] [--rounds 100] [--widths 8 16 32]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets as vision
from torchvision import transforms

from tlutils import datasets, downloads
from tlutils.domains import Domain
from tlutils.generative import Batch, Game, fit_game, image_critic, image_generator
from tlutils.runtime import autocast_dtype, best_device, environment_line, new_generator

BATCH_SIZE = 64
RATE, BETAS = 2e-4, (0.5, 0.999)


def new_game(width: int) -> Game:
    """Return DCGAN's two networks at 16 pixels."""
    return Game(image_generator(16, width=width), image_critic(16, width=width, norm="batch"))


def make_loop(x: Tensor, num_rounds: int, width: int) -> Callable[[], float]:
    """Return a function that trains with `fit_game` and gives rounds per second."""

    def run() -> float:
        history = fit_game(new_game(width), x, num_rounds=num_rounds, batch_size=BATCH_SIZE)
        return num_rounds / history.duration_s

    return run


def make_bare(x: Tensor, num_rounds: int, width: int) -> Callable[[], float]:
    """Return a function that repeats the same two turns on one cached batch."""
    device = best_device()
    dtype = autocast_dtype(device)
    batch = Batch(x[:BATCH_SIZE].to(device))

    def run() -> float:
        game = new_game(width).to(device, memory_format=torch.channels_last).train()
        players = (game.discriminator, game.generator)
        optimizers = [torch.optim.Adam(p.parameters(), lr=RATE, betas=BETAS, fused=True) for p in players]
        random = new_generator(0)

        def move(optimizer: torch.optim.Optimizer, compute_loss: Callable[[], Tensor]) -> None:
            with torch.autocast(device.type, dtype, enabled=dtype is not None):
                loss = compute_loss()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            loss.item()

        started = time.perf_counter()
        for _ in range(num_rounds):
            move(optimizers[0], lambda: game.discriminator_turn(batch, random).loss)
            game.discriminator.requires_grad_(False)
            move(optimizers[1], lambda: game.generator_loss(batch, random))
            game.discriminator.requires_grad_(True)
        return num_rounds / (time.perf_counter() - started)

    return run


def make_tutorial(root: Path, num_rounds: int, width: int) -> Callable[[], float]:
    """Return a function that trains as the tutorial does; the workers' start is not counted."""
    transform = transforms.Compose(
        [
            transforms.Resize(16),
            transforms.CenterCrop(16),
            transforms.ToTensor(),
            transforms.Normalize((0,), (1,)),
        ]
    )
    data = vision.MNIST(root, train=True, transform=transform, download=True)
    device = best_device()
    criterion = nn.BCEWithLogitsLoss()

    def run() -> float:
        game = new_game(width).to(device).train()
        discriminator, generator = game.discriminator, game.generator
        optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=RATE, betas=BETAS)
        optimizer_g = torch.optim.Adam(generator.parameters(), lr=RATE, betas=BETAS)
        loader = iter(DataLoader(data, batch_size=BATCH_SIZE, shuffle=True, num_workers=2, drop_last=True))
        next(loader)
        started = time.perf_counter()
        for real, _ in itertools.islice(loader, num_rounds):
            one, zero = torch.ones(BATCH_SIZE, device=device), torch.zeros(BATCH_SIZE, device=device)
            discriminator.zero_grad()
            loss_real = criterion(discriminator(real.to(device)), one)
            loss_real.backward()
            fake = generator(torch.randn(BATCH_SIZE, generator.num_latent, device=device))
            loss_fake = criterion(discriminator(fake.detach()), zero)
            loss_fake.backward()
            optimizer_d.step()
            generator.zero_grad()
            loss = criterion(discriminator(fake), one)
            loss.backward()
            optimizer_g.step()
            (loss_real + loss_fake).item(), loss.item()
        return num_rounds / (time.perf_counter() - started)

    return run


def compare(x: Tensor, root: Path, repetitions: int, num_rounds: int, width: int) -> None:
    """Time the three ways in turn and print their medians and two ratios."""
    size = (num_rounds, width)
    ways = {
        "tlutils.generative.fit_game": make_loop(x, *size),
        "bare compute limit": make_bare(x, *size),
        "DCGAN tutorial's way": make_tutorial(root, *size),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, run in ways.items():
            speeds[name].append(run())
    print(environment_line(), f"DCGAN of width {width} on MNIST, 16 pixels, {repetitions} repetitions")
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, median in medians.items():
        print(f"{name:30s} {median:8.1f} rounds/s  (from {min(speeds[name]):.1f} to {max(speeds[name]):.1f})")
    ours, bare, tutorial = medians.values()
    print(
        f"fit_game / tutorial: {ours / tutorial:.2f}   fit_game / bare limit: {ours / bare:.3f}   "
        f"bare limit / tutorial: {bare / tutorial:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16, 32])
    options = parser.parse_args()
    x = Domain.from_dataset("mnist", size=16).train.x
    originals = downloads.fetch(datasets.describe("mnist"), downloads.search_folders())
    with downloads.staged(originals) as root:
        for width in options.widths:
            compare(x, root, options.repetitions, options.rounds, width)


if __name__ == "__main__":
    main()
