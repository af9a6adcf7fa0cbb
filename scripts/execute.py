"""Run chapters from top to bottom and store their outputs in place.

Usage: python scripts/execute.py [chapter ...]

Metadata and cell ids stay as they are, so that a diff shows what changed. Widget state is not stored: the
static site shows the HTML form of a lab.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from tlutils.files import write_atomically

CHAPTERS = Path(__file__).resolve().parent.parent / "chapters"
WIDGET = "application/vnd.jupyter.widget-view+json"


def paths(names: list[str]) -> list[Path]:
    """Return the notebooks of the named chapters, or of all.

    Raises
    ------
    SystemExit
        If there is no such chapter.
    """
    there = {path.stem: path for path in sorted(CHAPTERS.glob("*.ipynb"))}
    wanted = [Path(name).stem for name in names] or [*there]
    if unknown := [name for name in wanted if name not in there]:
        raise SystemExit(f"no chapter {', '.join(unknown)}; there are {', '.join(there)}")
    return [there[name] for name in wanted]


def run(path: Path) -> nbformat.NotebookNode:
    """Return the notebook with fresh outputs; it runs in an empty folder, as on Colab."""
    notebook = nbformat.read(path, as_version=4)
    metadata = dict(notebook.metadata)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, timeout=None, store_widget_state=False, record_timing=False, coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )  # fmt: skip
        client.execute()
    notebook.metadata = nbformat.from_dict(metadata)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET, None)  # names a control of a kernel that is gone
    return notebook


if __name__ == "__main__":
    for path in paths(sys.argv[1:]):
        started = time.perf_counter()
        notebook = run(path)
        text = nbformat.writes(notebook).rstrip("\n") + "\n"
        write_atomically(path, lambda out, text=text: out.write(text.encode()))
        print(f"{path.stem}: {time.perf_counter() - started:.0f} s, {path.stat().st_size / 1000:.0f} kB")
