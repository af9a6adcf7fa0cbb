"""A notebook whose runs are trained anew is read to its end; one that replays stops at a wrong claim."""

import json

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tlutils.claims import say_instead_of_stopping

TRAINING = """
from dataclasses import dataclass
from tlutils.runs import Outcome, train_or_replay

@dataclass(frozen=True)
class Config:
    steps: int = 1
    def quick(self):
        return self

def train(config):
    return Outcome({"accuracy": 0.5 + config.steps})

found = train_or_replay("small/run", train, Config()).metrics["accuracy"]
"""
CELLS = (
    TRAINING,
    "for bound in (0.2, 0.7):\n    assert found < bound, 'a message of its own'",
    "assert all([found == 1.5, *(found < b for b in (2, 0.3))])",
    "print('the end')",
)


def executed(folder, **environment):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    client = NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CI", "TLUTILS_STORE", "TLUTILS_SMOKE"):
            patch.delenv(name, raising=False)
        for name, value in ({"TLUTILS_RUNS": str(folder)} | environment).items():
            patch.setenv(name, value)
        client.execute()
    return ["".join(output.get("text", "") for output in cell.outputs) for cell in notebook.cells]


@pytest.mark.slow
def test_after_a_training_claims_speak_and_the_notebook_goes_on(tmp_path):
    trained, false, mixed, end = executed(tmp_path, TLUTILS_LIVE="small/run")
    assert trained.startswith("trained small/run")
    assert false.count("With what was trained here it does not hold that found < bound") == 2
    assert "found < b for b in (2, 0.3)" in mixed
    assert mixed.count("does not hold") == 1
    assert end == "the end\n"


@pytest.mark.slow
def test_a_run_that_is_stored_or_replayed_still_stops_at_a_wrong_claim(tmp_path):
    with pytest.raises(CellExecutionError, match="a message of its own"):
        executed(tmp_path, TLUTILS_LIVE="small/run", TLUTILS_STORE="1")
    assert json.loads((tmp_path / "small/run.json").read_text())["metrics"] == {"accuracy": 1.5}
    with pytest.raises(CellExecutionError, match="a message of its own"):
        executed(tmp_path, TLUTILS_LIVE="none")


def test_outside_a_notebook_nothing_happens():
    say_instead_of_stopping()
    with pytest.raises(AssertionError):
        exec("assert 1 == 2")
