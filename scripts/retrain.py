"""Train stored runs again and print old and new results side by side.

Usage: python scripts/retrain.py all|chapter/run [--keep]

The chapter that owns the run is executed on a copy, with that run live. The new run replaces the stored one
only with --keep (make retrain RUN=chapter/run KEEP=1); then store the chapter's outputs with `make execute`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from execute import paths
from nbclient import NotebookClient

from tlutils.files import write_atomically

STORED = Path(__file__).resolve().parent.parent / "tlutils" / "stored_runs"


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


def execute(chapter: Path) -> list[str]:
    """Run a copy of a chapter to its end; return a line per cell that failed."""
    notebook = nbformat.read(chapter, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        resources = {"metadata": {"path": folder}}
        NotebookClient(
            notebook, timeout=None, allow_errors=True, store_widget_state=False, resources=resources
        ).execute()
    return [
        f"  cell {cell['id']} stopped: {output['ename']}: {output['evalue'][:200]}"
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output["output_type"] == "error" and "raises-exception" not in cell.metadata.get("tags", [])
    ]


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return run name → record of every run in a folder."""
    return {
        path.relative_to(folder).with_suffix("").as_posix(): json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.json"))
    }


def weight_files(record: Path) -> set[str]:
    """Return the names of the files with the weights of a stored run; none where there is no such run."""
    if not record.is_file():
        return set()
    return {entry["file"] for entry in json.loads(record.read_text(encoding="utf-8"))["weights"].values()}


def keep(name: str, scratch: Path) -> None:
    """Replace one stored run by that in `scratch`: weights first, the record that names them last.

    Only files of this run are touched, so that two trainings at once do not lose each other's results.
    """
    old, new = STORED / f"{name}.json", scratch / f"{name}.json"
    before, after = weight_files(old), weight_files(new)
    for file in [*sorted(after), new.name]:
        content = (new.parent / file).read_bytes()
        write_atomically(old.parent / file, lambda out, content=content: out.write(content))
    for file in before - after:
        (old.parent / file).unlink(missing_ok=True)


def main() -> int:
    """Retrain, compare, and keep what was asked to be kept; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", help="all, or chapter/run")
    parser.add_argument("--keep", action="store_true", help="replace the stored run by the new one")
    arguments = parser.parse_args()
    chapters = paths([] if arguments.run == "all" else [arguments.run.split("/")[0]])
    before = records(STORED)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "stored_runs"
        shutil.copytree(STORED, scratch) if STORED.is_dir() else scratch.mkdir()
        os.environ |= {"TLUTILS_LIVE": arguments.run, "TLUTILS_STORE": "1", "TLUTILS_RUNS": str(scratch)}
        stopped = {chapter.stem: execute(chapter) for chapter in chapters}
        after = records(scratch)
        trained = [name for name, record in after.items() if record != before.get(name)]
        for name in trained:
            print(f"{name}: stored, here, difference")
            print("\n".join(compare(before.get(name, {}).get("metrics", {}), after[name]["metrics"])))
        if arguments.keep:
            for name in trained:
                keep(name, scratch)
    for chapter, lines in stopped.items():
        print(
            "\n".join([f"{chapter}: {len(lines)} cells failed", *lines])
            if lines
            else f"{chapter}: ran through"
        )
    if not trained:
        print(f"no run {arguments.run!r} was trained; stored are {', '.join(before) or 'none'}")
    print(
        f"{len(trained)} runs {'stored' if arguments.keep else 'trained, none stored (KEEP=1 stores them)'}"
    )
    return int(not trained or any(stopped.values()))


if __name__ == "__main__":
    sys.exit(main())
