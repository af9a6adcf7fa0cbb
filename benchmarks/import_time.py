"""Seconds that importing tlutils adds to importing torch, each in fresh processes, interleaved.

Usage: python benchmarks/import_time.py [--rounds 7]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

WAYS = {
    "torch": "import torch",
    "torch and all of tlutils a chapter imports": (
        "import torch; from tlutils import datasets, domains, metrics, models, training, runs, repeats"
    ),
    "torch, matplotlib.pyplot": "import torch, matplotlib.pyplot",
    "torch, matplotlib.pyplot and tlutils with figures and labs": (
        "import torch, matplotlib.pyplot; from tlutils import datasets, domains, metrics, models, training, "
        "runs, repeats, plotting, widgets, exercises"
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for number in range(rounds + 1):
        for name, code in WAYS.items():
            started = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True)
            if number:  # the first round fills the disk cache
                seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name:60s} {median:.2f} s")
    torch_only, with_package, figures, all_of_it = medians.values()
    print(f"tlutils adds {with_package - torch_only:.2f} s to torch", end=", ")
    print(f"{all_of_it - figures:.2f} s to torch and matplotlib")


if __name__ == "__main__":
    main()
