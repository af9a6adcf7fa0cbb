"""Read chapters for the tests: cells by tag, definitions, exercises with their solutions."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATHS = sorted((ROOT / "chapters").glob("*.ipynb"))


@dataclass(frozen=True)
class Exercise:
    """One exercise of a chapter, as its cells say it."""

    label: str
    name: str  # as `exercises.check` calls it
    answer: str  # the variable that is checked
    stub: str
    solution: str
    num_hints: int


@cache
def cells(path: Path) -> list[dict]:
    """Return the cells of a notebook, `source` joined to one string."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return [{**cell, "source": "".join(cell["source"])} for cell in notebook["cells"]]


def tags(cell: dict) -> list[str]:
    """Return the tags of a cell."""
    return cell["metadata"].get("tags", [])


def tagged(path: Path, tag: str) -> list[dict]:
    """Return the cells that carry `tag`."""
    return [cell for cell in cells(path) if tag in tags(cell)]


def markdown(path: Path) -> str:
    """Return all the prose of a chapter."""
    return "\n\n".join(cell["source"] for cell in cells(path) if cell["cell_type"] == "markdown")


def definitions(path: Path) -> dict[str, ast.AST]:
    """Return the functions and classes that a chapter defines, by name."""
    found = {}
    for cell in cells(path):
        if cell["cell_type"] == "code" and "setup" not in tags(cell):
            for node in ast.parse(cell["source"]).body:
                if isinstance(node, ast.FunctionDef | ast.ClassDef):
                    found[node.name] = node
    return found


def exercises(path: Path) -> list[Exercise]:
    """Return the exercises of a chapter in order.

    An exercise is its text (with hints), a stub tagged ``exercise``, a check tagged ``check`` and, in the
    prose, a solution of the same label.
    """
    found, text = [], markdown(path)
    label, hints, stub = "", 0, ""
    for cell in cells(path):
        if started := re.search(r":{3,}\{exercise\}.*?\n:label:\s*(\S+)", cell["source"], re.S):
            label, hints = started.group(1), 0
        if cell["cell_type"] == "markdown":
            hints += len(re.findall(r"\{dropdown\}\s*Hint", cell["source"]))
        if "exercise" in tags(cell):
            stub = cell["source"]
        if "check" in tags(cell):
            name, answer = re.search(
                r'exercises\.check\(\s*"([^"]+)",\s*(.+?)\s*\)$', cell["source"], re.S
            ).groups()
            solution = re.search(
                r"`{4,}\{solution\}\s*" + re.escape(label) + r"\n.*?```\{?(?:code-block\} )?python\n(.*?)```",
                text,
                re.S,
            )
            found.append(Exercise(label, name, answer, stub, solution.group(1) if solution else "", hints))
    return found
