"""The runs that ship with the package: whole, described, and each used by the chapter that owns it.

Whether a run is stale is decided where its training function is defined, in the chapter: under nbval a stale
run is a warning that no stored output has, and where CI is set it is an error.
"""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

import pytest

from chapters import PATHS, cells
from tlutils import runs

STORED = Path(runs.__file__).parent / "stored_runs"
NAMES = sorted(path.relative_to(STORED).with_suffix("").as_posix() for path in STORED.rglob("*.json"))
ADVERSARIAL = {"adversarial_game", "conditional_gan", "wasserstein_gan", "cyclegan", "gan_transfer"}
FACTS = {"name", "config", "code_digest", "data", "environment", "duration_s", "date"}

data_digest = functools.cache(runs._data_digest)  # many runs share a data set


def test_a_run_is_stored_for_every_chapter():
    assert {name.split("/")[0] for name in NAMES} == {path.stem for path in PATHS}


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_run_is_whole_and_says_where_it_comes_from(name):
    run = runs.load(name)

    assert set(run.provenance) >= FACTS
    assert run.provenance["name"] == name
    assert re.fullmatch(r"[0-9a-f]{64}", run.provenance["code_digest"])
    assert json.dumps(run.metrics, allow_nan=False) != "{}"


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_run_was_trained_on_the_data_of_today(name, data_root):
    assert data_root.is_dir()
    recorded = runs.load(name).provenance["data"]

    assert {dataset: data_digest(dataset) for dataset in recorded} == recorded


@pytest.mark.parametrize("name", NAMES)
def test_the_chapter_of_a_run_uses_it(name):
    chapter, _, run = name.partition("/")
    (path,) = [path for path in PATHS if path.stem == chapter]
    code = "\n".join(cell["source"] for cell in cells(path) if cell["cell_type"] == "code")

    assert re.search(rf"[\"'/]{re.escape(run)}[\"']", code), f"{path.name} never names {name}"


def test_no_weights_are_left_over():
    records = [json.loads((STORED / f"{name}.json").read_text(encoding="utf-8")) for name in NAMES]
    named = {file["file"] for record in records for file in record["weights"].values()}
    there = {path.name for path in STORED.rglob("*.safetensors")}

    assert there == named


def test_the_runs_are_small_enough_to_ship():
    files = [path for path in STORED.rglob("*") if path.is_file()]

    assert max(path.stat().st_size for path in files) <= 2e6
    assert sum(path.stat().st_size for path in files) <= 40e6
    assert sum(path.stat().st_size for path in files if path.parent.name in ADVERSARIAL) <= 12e6


@pytest.mark.parametrize("name", [name for name in NAMES if name.split("/")[0] in ADVERSARIAL])
def test_an_adversarial_training_ends_within_twenty_minutes(name):
    assert runs.load(name).provenance["duration_s"] <= 20 * 60
