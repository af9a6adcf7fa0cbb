"""Rounds per second of `tlutils.generative.fit_game`, beside two references, in one run.

1. the way of PyTorch's DCGAN tutorial: torchvision data set, transforms image by image, DataLoader with two
   workers, float32, gradients for the discriminator in the generator's turn too, a sigmoid before the loss,
   the mean answers read off in every round, a line every 50 rounds, a sheet of samples every 500. (Its images
   are photographs on the disk, ours digits in memory.)
2. the bare compute limit: the same turns on one cached batch, with nothing to load, shuffle or record.

All three train the same two networks on MNIST at 16 pixels with batches of 128 (the tutorial's; the chapters'
too), and all three draw generated examples once a round, as the tutorial does. They take turns, so that a
disturbance of the machine hits all three; the median over repetitions counts.

Usage: python benchmarks/adversarial_speed.py [--repetitions 5] [--rounds 100] [--batch-size 128] [--widths 8]

Ends with exit status 1 if `fit_game` stays below 0.9 of the bare limit.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets as vision
from torchvision import transforms
from torchvision.utils import make_grid

from tlutils import datasets, downloads
from tlutils.domains import Domain
from tlutils.generative import Batch, Game, fit_game, image_critic, image_generator, non_saturating_loss
from tlutils.runtime import autocast_dtype, best_device, environment_line, new_generator

MIN_SHARE = 0.9
RATE, BETAS = 2e-4, (0.5, 0.999)


class OneDraw(Game):
    """Both players see the same generated examples, as in the tutorial; a `Game` draws for each turn."""

    def scores(self, batch: Batch, random: torch.Generator) -> tuple[Tensor, Tensor]:
        self.drawn = self.fake(batch, random)
        return self.score(batch.x, batch), self.score(self.drawn.detach(), batch)

    def generator_loss(self, batch: Batch, random: torch.Generator) -> Tensor:  # noqa: ARG002
        return non_saturating_loss(self.score(self.drawn, batch))


def new_game(width: int) -> Game:
    """Return DCGAN's two networks at 16 pixels."""
    return OneDraw(image_generator(16, width=width), image_critic(16, width=width, norm="batch"))


def make_loop(x: Tensor, num_rounds: int, batch_size: int, width: int) -> Callable[[], float]:
    """Return a function that trains with `fit_game` and gives rounds per second."""

    def run() -> float:
        history = fit_game(new_game(width), x, num_rounds=num_rounds, batch_size=batch_size)
        return num_rounds / history.duration_s

    return run


def make_bare(x: Tensor, num_rounds: int, batch_size: int, width: int) -> Callable[[], float]:
    """Return a function that repeats the same two turns on one cached batch."""
    device = best_device()
    dtype = autocast_dtype(device)
    batch = Batch(x[:batch_size].to(device))

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


def make_tutorial(root: Path, num_rounds: int, batch_size: int, width: int) -> Callable[[], float]:
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
    criterion = nn.BCELoss()
    fixed_noise = torch.randn(64, new_game(width).generator.num_latent, device=device)

    def run() -> float:
        game = new_game(width).to(device).train()
        discriminator, generator = game.discriminator, game.generator
        optimizer_d = torch.optim.Adam(discriminator.parameters(), lr=RATE, betas=BETAS)
        optimizer_g = torch.optim.Adam(generator.parameters(), lr=RATE, betas=BETAS)
        loader = iter(DataLoader(data, batch_size=batch_size, shuffle=True, num_workers=2, drop_last=True))
        next(loader)
        started = time.perf_counter()
        lines, sheets = [], []
        for i, (real, _) in enumerate(itertools.islice(loader, num_rounds)):
            one, zero = (
                torch.full((len(real),), 1.0, device=device),
                torch.full((len(real),), 0.0, device=device),
            )
            discriminator.zero_grad()
            answers = discriminator(real.to(device)).sigmoid()
            loss_real = criterion(answers, one)
            loss_real.backward()
            mean_real = answers.mean().item()
            fake = generator(torch.randn(len(real), generator.num_latent, device=device))
            answers = discriminator(fake.detach()).sigmoid()
            loss_fake = criterion(answers, zero)
            loss_fake.backward()
            mean_fake = answers.mean().item()
            optimizer_d.step()
            generator.zero_grad()
            answers = discriminator(fake).sigmoid()
            loss = criterion(answers, one)
            loss.backward()
            mean_after = answers.mean().item()
            optimizer_g.step()
            losses = (loss_real + loss_fake).item(), loss.item()
            if i % 50 == 0:
                lines.append(f"{i}/{num_rounds} {losses} {mean_real:.4f} {mean_fake:.4f} {mean_after:.4f}")
            if i % 500 == 0:
                with torch.no_grad():
                    sheets.append(make_grid(generator(fixed_noise).cpu(), padding=2, normalize=True))
        return (i + 1) / (time.perf_counter() - started)  # an epoch may end before the rounds do

    return run


def compare(x: Tensor, root: Path, repetitions: int, size: tuple[int, int, int]) -> float:
    """Time the three ways in turn, print their medians and ratios, return `fit_game` over the bare limit."""
    ways = {
        "tlutils.generative.fit_game": make_loop(x, *size),
        "bare compute limit": make_bare(x, *size),
        "DCGAN tutorial's way": make_tutorial(root, *size),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, run in ways.items():
            speeds[name].append(run())
    precision = str(autocast_dtype(best_device()) or torch.float32).removeprefix("torch.")
    print(
        f"{environment_line()}, {torch.get_num_threads()} threads, ours in {precision};",
        f"DCGAN of width {size[2]}, MNIST at 16 pixels, batch size {size[1]}, {repetitions} repetitions",
    )
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    for name, median in medians.items():
        print(f"{name:30s} {median:8.1f} rounds/s  (from {min(speeds[name]):.1f} to {max(speeds[name]):.1f})")
    ours, bare, tutorial = medians.values()
    print(
        f"fit_game / tutorial: {ours / tutorial:.2f}   fit_game / bare limit: {ours / bare:.3f}   "
        f"bare limit / tutorial: {bare / tutorial:.2f}"
    )
    return ours / bare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--widths", type=int, nargs="+", default=[8, 16, 32])
    options = parser.parse_args()
    x = Domain.from_dataset("mnist", size=16).train.x
    originals = downloads.fetch(datasets.describe("mnist"), downloads.search_folders())
    with downloads.staged(originals) as root:
        sizes = [(options.rounds, options.batch_size, width) for width in options.widths]
        shares = [compare(x, root, options.repetitions, size) for size in sizes]
    if min(shares) < MIN_SHARE:
        sys.exit(f"fit_game reaches {min(shares):.3f} of the bare limit, expected at least {MIN_SHARE}")


if __name__ == "__main__":
    main()
