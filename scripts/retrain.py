"""Train stored runs again and print old and new results side by side.

Usage: python scripts/retrain.py all|chapter|chapter/run[,chapter/run ...] ... [--jobs 2] [--keep]

The chapter that owns the runs is executed on a copy, with them live. Each argument is one such execution,
and --jobs says how many go on at a time: a long chapter can be shared out by its runs. New runs replace the
stored ones only with --keep (make retrain RUN=chapter/run KEEP=1); then store the chapter's outputs with
`make execute`.

On a CPU everything is computed in float32. Elsewhere in the book a CPU with AMX trains in bfloat16, which is
faster and gives other digits; a stored run should not depend on that.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from execute import paths
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

from tlutils import runs
from tlutils.files import write_atomically

STORED = Path(__file__).resolve().parent.parent / "tlutils" / "stored_runs"
# Python runs a module of this name at its start.
SITECUSTOMIZE = """\
import torch
can = torch.cpu.get_capabilities
torch.cpu.get_capabilities = lambda: can() | {"amx_bf16": False}  # `runtime.autocast_dtype` asks for it
"""
# glibc gives large blocks back to the system after each step and fetches them again: 5 % of the time.
ALLOCATOR = {"hugetlb": 1, "mmap_threshold": 4 << 30, "trim_threshold": 16 << 30}


def numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Yield the name and value of every number in a JSON value.

    >>> list(numbers({"a": [1, 2.5], "b": "text"}))
    [('a.0', 1), ('a.1', 2.5)]
    """
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return
    if isinstance(value, int | float):
        yield name, value
        return
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield from numbers(inner, f"{name}.{key}".lstrip("."))


def compare(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return one line per number that is in either: old, new, difference.

    >>> compare({"accuracy": 0.5}, {"accuracy": 0.75})
    ['  accuracy                                            0.5       0.75      +0.25']
    """
    before, after = dict(numbers(old)), dict(numbers(new))
    lines = []
    for name in dict.fromkeys([*before, *after]):
        if name in before and name in after:
            difference = f"{after[name] - before[name]:+10.4g}"
            lines.append(f"  {name:44s} {before[name]:10.4g} {after[name]:10.4g} {difference}")
        else:
            lines.append(f"  {name:44s} only {'stored' if name in before else 'here'}")
    return lines


async def execute(job: str, environment: dict[str, str]) -> list[str]:
    """Run a copy of the chapter that owns a job's runs to its end; return a line per cell that failed."""
    [chapter] = paths([chapter_of(job)])
    notebook = nbformat.read(chapter, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        client = NotebookClient(
            notebook, timeout=None, allow_errors=True, store_widget_state=False, resources=resources
        )
        await client.async_execute(env=os.environ | environment | {"TLUTILS_LIVE": job})
    outputs = [(cell, output) for cell in notebook.cells for output in cell.get("outputs", [])]
    failed = [
        f"  cell {cell['id']} stopped: {output['ename']}: {output['evalue'][:200]}"
        for cell, output in outputs
        if output["output_type"] == "error" and "raises-exception" not in cell.metadata.get("tags", [])
    ]
    return failed + [
        f"  cell {cell['id']}: {line.strip()[:300]}"
        for cell, output in outputs
        if output["output_type"] == "stream" and output["name"] == "stderr"
        for line in output["text"].splitlines()
        if "was trained but not stored in" in line
    ]


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return run name → record of every run in a folder; what is damaged is left out."""
    found = {}
    for path in sorted(folder.rglob("*.json")):
        with contextlib.suppress(ValueError):
            record = json.loads(path.read_text(encoding="utf-8"))
            found[path.relative_to(folder).with_suffix("").as_posix()] = record
    return found


def keep(name: str, scratch: Path) -> None:
    """Replace one stored run by that in `scratch`: weights first, the record that names them last.

    Only files of this run are touched, so that two trainings at once do not lose each other's results.
    """
    old, new = STORED / f"{name}.json", scratch / f"{name}.json"
    before, after = runs.weight_files(old), runs.weight_files(new)
    for file in [*sorted(after), new.name]:
        content = (new.parent / file).read_bytes()
        write_atomically(old.parent / file, lambda out, content=content: out.write(content))
    for file in before - after:
        (old.parent / file).unlink(missing_ok=True)


def chapter_of(job: str) -> str:
    """Return the chapter whose runs a job names.

    Raises
    ------
    SystemExit
        If they belong to several chapters.
    """
    chapters = {name.split("/")[0] for name in job.split(",")}
    if len(chapters) > 1:
        raise SystemExit(f"{job!r} names runs of {len(chapters)} chapters; write those of each by themselves")
    return chapters.pop()


def runs_of(job: str, stored: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return those of the records that a job names, by run or by chapter."""
    return {name: record for name, record in stored.items() if runs.is_among(name, job)}


def longest_first(jobs: list[str], stored: dict[str, dict[str, Any]]) -> list[str]:
    """Return the jobs by the stored time of their runs, so that none long begins when others are done."""

    def seconds(job: str) -> float:
        return sum(record["provenance"]["duration_s"] for record in runs_of(job, stored).values())

    return sorted(jobs, key=seconds, reverse=True)


async def retrain(jobs: list[str], at_once: int, is_kept: bool) -> tuple[int, int]:
    """Execute the jobs in order, `at_once` at a time; return the numbers of runs trained and of cells failed.

    Each job is reported, and kept if asked for, as soon as it is done: an interruption loses only the others.
    """
    before, free, counts = records(STORED), asyncio.Semaphore(at_once), []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "stored_runs"
        shutil.copytree(STORED, scratch) if STORED.is_dir() else scratch.mkdir()
        Path(folder, "sitecustomize.py").write_text(SITECUSTOMIZE, encoding="utf-8")
        path = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {"TLUTILS_STORE": "1", "TLUTILS_RUNS": str(scratch), "PYTHONPATH": path}
        tunables = (f"glibc.malloc.{key}={value}" for key, value in ALLOCATOR.items())
        environment["GLIBC_TUNABLES"] = ":".join(tunables)
        environment |= {"OMP_NUM_THREADS": "1"} if at_once > 1 else {}

        async def do(job: str) -> None:
            async with free:
                try:
                    failed = await execute(job, environment)
                except DeadKernelError as error:  # out of memory, say; the other jobs go on
                    failed = [f"  the kernel died: {error}"]
            after = runs_of(job, records(scratch))
            trained = [name for name, record in after.items() if record != before.get(name)]
            for name in trained:
                print(f"{name}: stored, here, difference")
                print("\n".join(compare(before.get(name, {}).get("metrics", {}), after[name]["metrics"])))
                if is_kept:
                    keep(name, scratch)
            print(
                f"{job}: {len(failed)} cells failed" if failed else f"{job}: ran through", *failed, sep="\n"
            )
            if not trained:
                print(f"no run {job!r} was trained; stored are {', '.join(before) or 'none'}")
            counts.append((len(trained), len(failed)))

        await asyncio.gather(*map(do, jobs))
    trained, failed = map(sum, zip(*counts, strict=True))
    return trained, failed


def main() -> int:
    """Retrain, compare, and keep what was asked to be kept; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", help="all, chapters, or runs of a chapter joined by commas")
    parser.add_argument("--jobs", type=int, default=1, help="executions at a time, each with one thread")
    parser.add_argument("--keep", action="store_true", help="replace the stored runs by the new ones")
    arguments = parser.parse_args()
    asked = [chapter.stem for chapter in paths([])] if "all" in arguments.runs else arguments.runs
    paths([chapter_of(job) for job in asked])  # refuses unknown names before anything runs
    started = time.perf_counter()
    jobs = longest_first(asked, records(STORED))
    trained, failed = asyncio.run(retrain(jobs, arguments.jobs, arguments.keep))
    done = "stored" if arguments.keep else "trained, none stored (KEEP=1 stores them)"
    print(f"{trained} runs {done} in {(time.perf_counter() - started) / 60:.1f} min")
    return int(not trained or failed > 0)


if __name__ == "__main__":
    sys.exit(main())
