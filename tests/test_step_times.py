"""Steps and all-reduces are timed in the loop that trains."""

import itertools
import json
from types import SimpleNamespace

import pytest
import torch

from tlutils import step_times
from tlutils.distributed import launch

CPU = torch.device("cpu")


def test_the_median_leaves_out_the_first_quarter(monkeypatch):
    # Nine looks at a clock that was set beforehand, hence eight steps; the slow first two do not count.
    durations = [90, 80, 1, 2, 3, 4, 5, 7]
    clock = itertools.accumulate(durations, initial=0)
    monkeypatch.setattr(step_times, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert step_times.step_seconds("lenet", 10, num_steps=8, device=CPU) == 3.5


@pytest.mark.parametrize(("network", "num_steps"), [("vgg", 8), ("lenet", 3)])
def test_unknown_networks_and_too_few_steps_are_refused(network, num_steps):
    with pytest.raises(ValueError, match="expected one of"):
        step_times.step_seconds(network, 10, num_steps=num_steps, device=CPU)


def test_an_all_reduce_needs_a_group():
    with pytest.raises(RuntimeError, match="torchrun"):
        step_times.all_reduce_seconds(4, num_repeats=1, device=CPU)


def test_without_torchrun_it_measures_one_process(tmp_path):
    out = tmp_path / "times.json"
    step_times.main(["--out", str(out), "--num-steps", "4", "--case", "lenet:10"])
    ((name, batch, seconds),) = json.loads(out.read_text())["steps"]
    assert (name, batch) == ("lenet", 10)
    assert seconds > 0


@pytest.mark.slow
def test_two_processes_measure_what_they_say_to_each_other(tmp_path):
    out = tmp_path / "times.json"
    options = ["--num-steps", "8", "--case", "lenet:10", "--num-bytes", "4000", "40000000"]
    launch(step_times.main, ["--out", str(out), *options])
    found = json.loads(out.read_text())
    (small, _), (large, _) = found["all_reduces"]
    assert (small, large) == (4000, 40000000)
    assert all(seconds > 0 for *_, seconds in found["all_reduces"] + found["steps"])
    assert len(found["steps"]) == 1
