"""Bytes that a page of the built site takes over the wire, and seconds until it can be used, from loopback.

A page can be used when its scripts have run and its mathematics is set. The cache is empty for every visit.

Usage: python benchmarks/page_speed.py [--rounds 5]

Ends with exit status 1 if a page takes longer than 1.5 s. (How heavy it may be is a test of the site.)
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
import site_checks  # noqa: E402  (stands beside the tests, whose browser and server are used here)

SITE = ROOT / "_build" / "html"
MEANT_S = 1.5


def visit(browser, url: str) -> tuple[int, float]:
    """Return bytes and seconds of one visit with an empty cache."""
    context = browser.new_context()
    page = context.new_page()
    sizes: list[int] = []
    page.on("requestfinished", lambda request: sizes.append(request.sizes()["responseBodySize"]))
    started = time.perf_counter()
    page.goto(url)
    site_checks.settle(page)
    seconds = time.perf_counter() - started
    page.wait_for_load_state("networkidle")
    context.close()
    return sum(sizes), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    if not (SITE / "index.html").is_file():
        sys.exit(f"there is no site in {SITE}; build it with `make book`")
    with site_checks.serve(SITE) as address, site_checks.open_browser() as browser:
        visit(browser, address + "/search.html")  # the first page starts the browser's processes
        slowest = 0.0
        for name in site_checks.toc_files(ROOT / "_toc.yml"):
            visits = [visit(browser, f"{address}/{name}.html") for _ in range(rounds)]
            seconds = statistics.median(seconds for _, seconds in visits)
            slowest = max(slowest, seconds)
            print(f"{name:32s} {visits[0][0] / 1e6:5.2f} MB {seconds:5.2f} s")
    sys.exit(slowest > MEANT_S)


if __name__ == "__main__":
    main()
