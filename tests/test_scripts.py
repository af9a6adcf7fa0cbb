"""Programs for maintainers: the page of the numbers, running and retraining chapters."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shlex
import sys
from pathlib import Path
from string import Template

import nbformat
import pytest
import torch

from chapters import ROOT
from tlutils import runs, runtime

CHAPTER = """\
import torch
from dataclasses import dataclass
from tlutils import runs, runtime

@dataclass(frozen=True)
class Config:
    value: float = 0.75

    def quick(self):
        return self

def train(config):
    return runs.Outcome({"accuracy": config.value})

run = runs.train_or_replay("small/run", train, Config())
print(run.metrics)
"""
METADATA = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "kept": 1}
RECORD = {
    "provenance": {
        "name": "small/run", "config": {"seeds": [0, 1]}, "code_digest": "0" * 64, "data": {"mnist": "ab"},
        "environment": {"device": "cpu (x86_64)", "torch": "2.15.0"},
        "duration_s": 200.0, "date": "2026-01-02",
    },
    "metrics": {"accuracy": 0.5, "curve": [0.123456] * 100},
    "weights": {"model": {"file": "run.model.0.safetensors", "sha256": "0"}},
}  # fmt: skip


@pytest.fixture
def program(monkeypatch):
    """Import a program from scripts/, which is no package."""
    monkeypatch.syspath_prepend(ROOT / "scripts")

    def load(name: str):
        spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def small_book(program, tmp_path, monkeypatch):
    """A chapter and its stored run in a scratch folder; the programs that work on them."""
    chapters, stored = tmp_path / "chapters", tmp_path / "stored_runs"
    chapters.mkdir()
    (stored / "small").mkdir(parents=True)
    (stored / "small" / "run.json").write_text(json.dumps({**RECORD, "weights": {}}), encoding="utf-8")
    cell = nbformat.v4.new_code_cell(CHAPTER, id="train", metadata={"tags": ["run"]})
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata=METADATA)
    nbformat.write(notebook, chapters / "small.ipynb")
    execute = program("execute")
    monkeypatch.setattr(execute, "CHAPTERS", chapters)
    retrain = program("retrain")
    monkeypatch.setattr(retrain, "STORED", stored)
    for name in ("TLUTILS_LIVE", "TLUTILS_STORE", "TLUTILS_RUNS"):
        monkeypatch.setenv(name, "none")  # so that what the program sets is taken back
    return execute, retrain, chapters / "small.ipynb", stored / "small" / "run.json"


@pytest.fixture
def numbers(program, small_book, monkeypatch):
    """The program that writes the pages of the numbers, and the folder of one stored run."""
    *_, record = small_book
    record.write_text(json.dumps(RECORD), encoding="utf-8")
    found = program("numbers_page")
    monkeypatch.setattr(found, "title", str.capitalize)
    return found, record.parent.parent


def test_the_pages_of_the_numbers_say_where_a_run_comes_from(numbers):
    program, stored = numbers
    pages = program.pages(stored, {"First part": ["small"], "Second part": ["large"]})

    assert list(pages) == ["numbers.md", "numbers/first_part.md", "numbers/second_part.md"]
    assert "/book/numbers/first_part" in pages["numbers.md"]
    assert "| Small | 1 | 3.3 min |" in pages["numbers.md"]
    assert "No run is stored yet" in pages["numbers/second_part.md"]
    for fact in ("`small/run`", "0, 1", "mnist", "2026-01-02", "cpu (x86_64)", "3.3 min", "0000000000000000",
                 "run.model.0.safetensors", '"accuracy": 0.5', "0.1235", "80 more"):  # fmt: skip
        assert fact in pages["numbers/first_part.md"]


def test_a_run_of_no_chapter_is_an_error(numbers):
    program, stored = numbers
    with pytest.raises(SystemExit, match="'small/run' belongs to no chapter"):
        program.pages(stored, {"Part": ["large"]})


def test_the_page_of_the_numbers_says_how_much_computing_a_run_was(program):
    record = {**RECORD, "provenance": RECORD["provenance"] | {"cpu_s": 130.0}}
    describe = program("numbers_page").describe

    assert "3.3 min (2.2 min of processor time)" in describe("small/run", record)
    assert "processor time" not in describe("small/run", RECORD)


def test_a_long_block_of_the_numbers_is_cut(program):
    block = program("numbers_page").folded("Results", {str(i): i for i in range(400)})

    # A line for each number and two for the braces; 200 are kept.
    assert "202 more lines" in block
    assert '"198": 198' in block
    assert '"199": 199' not in block


def test_every_stored_run_is_on_a_page_of_its_part(program, tmp_path):
    numbers = program("numbers_page")
    numbers.main(tmp_path)

    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    written = {path.stem: path.read_text("utf-8") for path in (tmp_path / "numbers").glob("*.md")}
    assert all(f"- file: book/numbers/{name}\n" in toc for name in written)
    for part, chapters in numbers.parts().items():
        here = [name for name in runs.available() if name.split("/")[0] in chapters]
        assert here
        assert all(f"### `{name}`" in written[numbers.slug(part)] for name in here)


def test_execute_stores_outputs_and_keeps_metadata(small_book, monkeypatch):
    execute, _, path, record = small_book
    monkeypatch.setenv("TLUTILS_RUNS", str(record.parent.parent))
    monkeypatch.setenv("TLUTILS_LIVE", "all")
    (chosen,) = execute.paths(["small"])
    before = nbformat.read(path, as_version=4)

    after = execute.run(chosen)

    assert "{'accuracy': 0.75}" in after.cells[0].outputs[-1]["text"]
    assert after.metadata == before.metadata
    assert (after.cells[0].id, after.cells[0].metadata.tags) == ("train", ["run"])


def test_execute_names_the_chapters_where_one_is_unknown(small_book):
    execute, *_ = small_book

    with pytest.raises(SystemExit, match="no chapter large; there are small"):
        execute.paths(["large"])


@pytest.mark.parametrize("keep", [False, True])
def test_retrain_compares_and_stores_only_what_is_kept(small_book, monkeypatch, capsys, keep):
    _, retrain, _, record = small_book
    monkeypatch.setattr(sys, "argv", ["retrain.py", "small/run", *["--keep"][:keep]])

    assert retrain.main() == 0

    said = capsys.readouterr().out
    assert "accuracy" in said
    assert "+0.25" in said
    assert "curve.99" in said
    assert "only stored" in said
    assert json.loads(record.read_text(encoding="utf-8"))["metrics"]["accuracy"] == (0.75 if keep else 0.5)


def test_retrain_takes_whole_chapters_several_at_a_time(small_book, monkeypatch, capsys):
    _, retrain, chapter, record = small_book
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    other = chapter.with_name("other.ipynb")
    other.write_text(chapter.read_text(encoding="utf-8").replace("small/run", "other/run"), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["retrain.py", "small", "other/run", "--jobs", "2", "--keep"])

    assert retrain.main() == 0

    said = capsys.readouterr().out
    assert "small: ran through\n" in said
    assert "2 runs stored in " in said
    for path in (record, record.parent.parent / "other" / "run.json"):
        stored = json.loads(path.read_text(encoding="utf-8"))
        assert stored["metrics"] == {"accuracy": 0.75}
        assert stored["provenance"]["environment"]["threads"] == "1"
        assert stored["provenance"]["environment"]["precision"] == "float32"


def test_retrained_runs_are_computed_in_float32_whatever_the_processor(program, monkeypatch):
    """Nothing else is hidden of what the processor can do: `torch.compile` asks for that, too."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True, "avx2": True})
    assert runtime.autocast_dtype("cpu") == torch.bfloat16

    exec(program("retrain").SITECUSTOMIZE, {})

    assert runtime.autocast_dtype("cpu") is None
    assert torch.cpu.get_capabilities() == {"amx_bf16": False, "avx2": True}


def test_the_job_that_takes_longest_is_done_first(small_book):
    _, retrain, *_ = small_book
    stored = {
        name: {"provenance": {"duration_s": duration}}
        for name, duration in (("a/1", 3), ("a/2", 3), ("b/1", 5), ("b/2", 2), ("c/1", 9))
    }

    assert retrain.longest_first(["b/1", "b/2", "d", "a"], stored) == ["a", "b/1", "b/2", "d"]
    assert retrain.longest_first(["a", "b/1,b/2"], stored) == ["b/1,b/2", "a"]


def test_the_words_that_train_the_part_on_models_name_each_of_its_runs_once(program):
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    variables, command = text.split("```bash\n")[2].split("```")[0].replace("\\\n", " ").split("\n", 1)
    short = dict(pair.split("=") for pair in variables.split("; "))
    jobs = Template(shlex.split(command)[-1].removeprefix("RUN=")).substitute(short).split()

    named = sorted(name for job in jobs for name in runs.available() if runs.is_among(name, job))

    chapters = program("numbers_page").parts()["Models"]
    assert named == sorted(name for name in runs.available() if name.split("/")[0] in chapters)


@pytest.mark.parametrize(("asked", "message"), [
    ("small/run,other/run", "runs of 2 chapters"), ("large/run", "no chapter large; there are small"),
])  # fmt: skip
def test_retrain_refuses_before_anything_runs(small_book, monkeypatch, asked, message):
    _, retrain, _, record = small_book
    monkeypatch.setattr(sys, "argv", ["retrain.py", "small/run", asked, "--keep"])
    before = record.read_text(encoding="utf-8")

    with pytest.raises(SystemExit, match=message):
        retrain.main()

    assert record.read_text(encoding="utf-8") == before


def test_retrain_says_when_there_was_nothing_to_train(small_book, monkeypatch, capsys):
    _, retrain, _, record = small_book
    monkeypatch.setattr(sys, "argv", ["retrain.py", "small/walk"])
    before = record.read_text(encoding="utf-8")

    assert retrain.main() == 1

    assert "no run 'small/walk' was trained; stored are small/run" in capsys.readouterr().out
    assert record.read_text(encoding="utf-8") == before


def test_keeping_a_run_touches_the_files_of_no_other(small_book, tmp_path):
    _, retrain, _, record = small_book
    scratch, weights = tmp_path / "scratch", {"model": {"file": "run.model.new.safetensors", "sha256": "1"}}
    (scratch / "small").mkdir(parents=True)
    (scratch / "small" / "run.json").write_text(json.dumps({**RECORD, "weights": weights}), encoding="utf-8")
    (scratch / "small" / "run.model.new.safetensors").write_bytes(b"new")
    record.write_text(json.dumps(RECORD), encoding="utf-8")
    (record.parent / "run.model.0.safetensors").write_bytes(b"old")
    (record.parent / "stored_meanwhile.json").write_text("{}", encoding="utf-8")

    retrain.keep("small/run", scratch)

    assert sorted(path.name for path in record.parent.iterdir()) == [
        "run.json", "run.model.new.safetensors", "stored_meanwhile.json",
    ]  # fmt: skip
    assert json.loads(record.read_text(encoding="utf-8"))["weights"] == weights


def test_retrain_leaves_a_damaged_record_out(small_book):
    _, retrain, _, record = small_book
    (record.parent / "broken.json").write_text("{", encoding="utf-8")

    assert list(retrain.records(record.parent.parent)) == ["small/run"]


def test_a_kernel_that_dies_takes_no_other_job_with_it(small_book, monkeypatch, capsys):
    _, retrain, _, _ = small_book

    async def execute(job, environment):
        if job == "small/dies":
            raise retrain.DeadKernelError("Kernel died")
        path = Path(environment["TLUTILS_RUNS"]) / f"{job}.json"
        path.write_text(
            json.dumps({**RECORD, "weights": {}, "metrics": {"accuracy": 0.75}}), encoding="utf-8"
        )
        return []

    monkeypatch.setattr(retrain, "execute", execute)

    assert asyncio.run(retrain.retrain(["small/dies", "small/run"], 1, is_kept=False)) == (1, 1)
    said = capsys.readouterr().out
    assert "the kernel died: Kernel died" in said
    assert "small/run: ran through" in said
