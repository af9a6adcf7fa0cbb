"""Write the page "where the numbers come from" out of the stored runs.

Usage: python scripts/numbers_page.py book/numbers.md [folder of stored runs]
"""

from __future__ import annotations

import json
import sys
import textwrap
from itertools import groupby
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

HEAD = """\
# Where the numbers come from

Every result in the book is read from a run that is stored with the package. `make retrain RUN=name` trains
one of them again and prints old and new results side by side; a run whose code or settings have changed since
it was stored fails the tests. This page is written from the stored runs at every build.
"""
NO_RUNS = "\nNo run is stored yet.\n"
WIDTH = 66  # characters in a line of settings or results
MAX_NUMBERS = 20  # of a long list of numbers, so many are printed
MAX_LETTERS = 120  # of a long text, such as a packed picture, so many are printed
MAX_LINES = 40  # of a folded block, so many are printed; the file of the run has them all


def duration(seconds: float) -> str:
    """Return a duration in the unit in which one would say it.

    >>> duration(4.2), duration(300)
    ('4 s', '5.0 min')
    """
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"


def seeds(config: dict[str, Any]) -> str:
    """Return the seeds named in a config, or how many there are, or a dash.

    >>> seeds({"seeds": [0, 1, 2], "width": 3}), seeds({"num_seeds": 5}), seeds({})
    ('0, 1, 2', '5 of them', '–')
    """
    if "num_seeds" in config:
        return f"{config['num_seeds']} of them"
    found = [config[key] for key in ("seeds", "seed") if key in config]
    flat = [seed for value in found for seed in (value if isinstance(value, list) else [value])]
    return ", ".join(map(str, flat)) or "–"


def shorten(value: Any) -> Any:
    """Return a JSON value with floats at four digits and long lists and texts cut, for the eye.

    >>> shorten({"rate": 0.123456, "picture": "A" * 1000})["rate"], len(shorten("A" * 1000)) < 200
    (0.1235, True)
    """
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, str) and len(value) > MAX_LETTERS:
        return f"{value[:MAX_LETTERS]} … {len(value) - MAX_LETTERS} more characters"
    if isinstance(value, dict):
        return {key: shorten(inner) for key, inner in value.items()}
    if isinstance(value, list):
        kept = [shorten(inner) for inner in value[:MAX_NUMBERS]]
        return kept if len(value) <= MAX_NUMBERS else [*kept, f"… {len(value) - MAX_NUMBERS} more"]
    return value


def pretty(value: Any, indent: str = "") -> str:
    """Return a JSON value as text: on one line where that is short, else one line per entry.

    >>> pretty({"a": [1, 2]})
    '{"a": [1, 2]}'
    """
    line = json.dumps(value, ensure_ascii=False)
    if len(indent + line) <= WIDTH or not isinstance(value, dict | list):
        return line
    deeper = indent + "  "
    if isinstance(value, dict):
        entries = [f"{deeper}{json.dumps(key)}: {pretty(inner, deeper)}" for key, inner in value.items()]
        return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
    if all(not isinstance(inner, dict | list) for inner in value):
        return textwrap.fill(line, WIDTH, subsequent_indent=deeper, break_long_words=False)
    return "[\n" + ",\n".join(deeper + pretty(inner, deeper) for inner in value) + f"\n{indent}]"


def folded(title: str, value: Any) -> str:
    """Return a JSON value as a folded block, cut where it is long."""
    lines = pretty(shorten(value)).splitlines()
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"… {len(lines) - MAX_LINES} more lines"]
    text = "\n".join(lines)
    return f":::{{dropdown}} {title}\n```text\n{text}\n```\n:::\n"


def took(provenance: dict[str, Any]) -> str:
    """Return how long a run took, and how much computing that was where it is recorded.

    >>> took({"duration_s": 300, "cpu_s": 200}), took({"duration_s": 4.2})
    ('5.0 min (3.3 min of processor time)', '4 s')
    """
    computed = f" ({duration(provenance['cpu_s'])} of processor time)" if "cpu_s" in provenance else ""
    return duration(provenance["duration_s"]) + computed


def describe(name: str, record: dict[str, Any]) -> str:
    """Return the section of one run."""
    provenance = record["provenance"]
    environment = provenance["environment"]
    weights = ", ".join(f"`{entry['file']}`" for entry in record["weights"].values()) or "none stored"
    data = ", ".join(sorted(provenance["data"])) or "embedded, made from the config"
    rows = {
        "Seeds": seeds(provenance["config"]),
        "Data": data,
        "Trained": f"{provenance['date']} on {environment['device']}",
        "Took": took(provenance),
        "Code digest": f"`{provenance['code_digest'][:16]}`",
        "Weights": weights,
    }
    table = "\n".join(f"* - {key}\n  - {value}" for key, value in rows.items())
    table = f"```{{list-table}}\n:stub-columns: 1\n:widths: 25 75\n\n{table}\n```"
    folds = [folded("Settings", provenance["config"]), folded("Results", record["metrics"])]
    folds.append(folded("Versions and data checksums", {**environment, **provenance["data"]}))
    return f"### `{name}`\n\n{table}\n\n" + "\n".join(folds)


def chapter_heading(chapter: str) -> str:
    """Return the heading of a chapter's runs: its title, and a link to it."""
    path = ROOT / "chapters" / f"{chapter}.ipynb"
    if not path.is_file():
        return f"## {chapter}\n"
    first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    title = first.splitlines()[0].lstrip("# ")
    return f"## {title}\n\nThese runs belong to the chapter {{doc}}`/chapters/{chapter}`.\n"


def page(runs: Path) -> str:
    """Return the whole page as Markdown."""
    names = sorted(path.relative_to(runs).with_suffix("").as_posix() for path in runs.rglob("*.json"))
    parts = [HEAD if names else HEAD + NO_RUNS]
    for chapter, members in groupby(names, key=lambda name: name.split("/")[0]):
        parts.append(chapter_heading(chapter))
        for name in members:
            record = json.loads((runs / f"{name}.json").read_text(encoding="utf-8"))
            parts.append(describe(name, record))
    return "\n".join(parts)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    stored = Path(sys.argv[2]) if len(sys.argv) > 2 else ROOT / "tlutils" / "stored_runs"
    target.write_text(page(stored), encoding="utf-8")
