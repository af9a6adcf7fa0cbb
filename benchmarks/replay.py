"""Seconds that the chapters of each part take to replay, every output compared, on two processes.

Usage: python benchmarks/replay.py [--processes 2]

Ends with exit status 1 if a part takes longer than is meant, or an output differs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
MEANT_S = {
    "Foundations": 60,
    "Examples and features": 120,
    "Models": 150,
    "Generative adversarial networks": 120,
}


def replay(chapters: list[str], num_processes: int) -> tuple[float, bool]:
    """Replay chapters under nbval; return the seconds and whether every output was as stored."""
    options = ["--quiet", "-p", "no:cacheprovider", "-n", str(num_processes), "--dist", "loadfile"]
    nbval = ["--nbval", "--nbval-sanitize-with", "tests/nbval_sanitize.cfg"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        *options,
        *nbval,
        *(f"{chapter}.ipynb" for chapter in chapters),
    ]
    environment = os.environ | {"TLUTILS_LIVE": "none", "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if ran.returncode:
        print(ran.stdout[-2000:])
    return time.perf_counter() - started, ran.returncode == 0


def main() -> int:
    """Replay part after part and print a line for each; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    parts = {part["caption"]: [page["file"] for page in part["chapters"]] for part in toc["parts"]}
    is_met = True
    for part, meant in MEANT_S.items():
        seconds, is_equal = replay(parts[part], arguments.processes)
        is_met &= is_equal and seconds <= meant
        print(f"{part:32} {len(parts[part])} chapters  {seconds:4.0f} s  (at most {meant} meant)", flush=True)
    return int(not is_met)


if __name__ == "__main__":
    sys.exit(main())
