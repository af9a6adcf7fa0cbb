"""Seconds that the site takes to build: from nothing, and again when nothing has changed.

Usage: python benchmarks/build_time.py

Ends with exit status 1 if a build takes longer than is meant. Installing is not counted.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MEANT_S = {"the whole book": 60, "again, unchanged": 20}


def build(folder: Path, *, is_new: bool) -> float:
    """Build the book of a copy of the sources as `make book` does; return the seconds."""
    started = time.perf_counter()
    if is_new:  # the pages of the numbers are written where a stored run has changed
        subprocess.run([sys.executable, "scripts/numbers_page.py", "book"], cwd=folder, check=True)
    program = Path(sys.executable).with_name("jupyter-book")
    subprocess.run([program, "build", ".", "-W", "--keep-going", "--quiet"], cwd=folder, check=True)
    return time.perf_counter() - started


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "book"
        unneeded = shutil.ignore_patterns(
            "_build", ".git", ".venv", "data", "dist", ".*_cache", ".hypothesis"
        )
        shutil.copytree(ROOT, copy, ignore=unneeded)
        found = {what: build(copy, is_new=first) for what, first in zip(MEANT_S, (True, False), strict=True)}
    for what, seconds in found.items():
        print(f"{what:20s} {seconds:6.1f} s  (at most {MEANT_S[what]})")
    sys.exit(any(seconds > MEANT_S[what] for what, seconds in found.items()))


if __name__ == "__main__":
    main()
