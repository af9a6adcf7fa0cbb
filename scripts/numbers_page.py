"""Write the pages "where the numbers come from" out of the stored runs: a first one, and one per part.

Usage: python scripts/numbers_page.py book
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS, STORED = ROOT / "chapters", ROOT / "tlutils" / "stored_runs"

HEAD = """\
# Where the numbers come from

Every result in the book is read from a run that is stored with the package. `make retrain RUN=name` trains
one of them again and prints old and new results side by side; a run whose code or settings have changed since
it was stored fails the tests. These pages are written from the stored runs at every build. The time of a
chapter is the sum over its runs, each on the machine that its entry names.
"""
NO_RUNS = "No run is stored yet.\n"
WIDTH = 66  # characters in a line of settings or results
MAX_NUMBERS = 20  # of a long list of numbers, so many are printed
MAX_LETTERS = 120  # of a long text, such as a packed picture, so many are printed
MAX_LINES = 200  # of a folded block, so many are printed; the file of the run has them all


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


def title(chapter: str) -> str:
    """Return the title of a chapter."""
    notebook = json.loads((CHAPTERS / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    return "".join(notebook["cells"][0]["source"]).splitlines()[0].lstrip("# ")


def parts() -> dict[str, list[str]]:
    """Return part of the book → its chapters, as `_toc.yml` has them."""
    listed = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))["parts"]
    return {
        part["caption"]: [entry["file"].removeprefix("chapters/") for entry in part["chapters"]]
        for part in listed
        if all(entry["file"].startswith("chapters/") for entry in part["chapters"])
    }


def slug(part: str) -> str:
    """Return the name of the page of a part.

    >>> slug("Examples and features")
    'examples_and_features'
    """
    return part.lower().replace(" ", "_")


def section(chapter: str, records: dict[str, dict[str, Any]]) -> str:
    """Return the section with the runs of one chapter."""
    head = f"## {title(chapter)}\n\nThese runs belong to the chapter {{doc}}`/chapters/{chapter}`.\n"
    return "\n".join([head, *(describe(name, record) for name, record in records.items())])


def overview(part: str, runs: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Return the rows of one part on the first page: chapters, their runs, how long they took."""
    rows = [f"## {part}\n", f"The runs one by one: {{doc}}`/book/numbers/{slug(part)}`.\n"]
    rows += ["| Chapter | Runs | Trained for |", "| --- | --- | --- |"]
    for chapter, records in runs.items():
        seconds = sum(record["provenance"]["duration_s"] for record in records.values())
        rows.append(f"| {title(chapter)} | {len(records)} | {duration(seconds)} |")
    return "\n".join(rows) + "\n"


def pages(stored: Path, book: dict[str, list[str]]) -> dict[str, str]:
    """Return file name → Markdown: a first page, and one for each part of the book.

    Parameters
    ----------
    stored
        The folder of the stored runs.
    book
        Part → chapters. A run whose chapter is in no part is an error: it would be on no page.
    """
    found = {chapter: {} for chapters in book.values() for chapter in chapters}
    for path in sorted(stored.rglob("*.json")):
        name = path.relative_to(stored).with_suffix("").as_posix()
        if name.split("/")[0] not in found:
            raise SystemExit(f"the run {name!r} belongs to no chapter of _toc.yml")
        found[name.split("/")[0]][name] = json.loads(path.read_text(encoding="utf-8"))
    first, written = [HEAD], {}
    for part, chapters in book.items():
        runs = {chapter: found[chapter] for chapter in chapters if found[chapter]}
        first.append(overview(part, runs))
        head = f"# Numbers: {part}\n\nWhat these entries are: {{doc}}`/book/numbers`.\n"
        sections = [section(chapter, records) for chapter, records in runs.items()] or [NO_RUNS]
        written[f"numbers/{slug(part)}.md"] = "\n".join([head, *sections])
    return {"numbers.md": "\n".join(first), **written}


def main(book: Path) -> None:
    """Write the pages, the first one last: it is what `make` looks at."""
    written = pages(STORED, parts())  # before anything is removed: it may stop
    (book / "numbers").mkdir(exist_ok=True)
    for page in (book / "numbers").glob("*.md"):  # a part may have got another name
        page.unlink()
    for name, text in reversed(written.items()):
        (book / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
