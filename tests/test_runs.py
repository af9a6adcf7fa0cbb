"""Stored runs: replayed, trained, stale, damaged, killed."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from types import SimpleNamespace

import joblib
import pytest
import torch
from torch import nn

from tlutils import photographs, runs
from tlutils.files import json_digest
from tlutils.provenance import code_digest
from tlutils.runs import Outcome, RunError, StaleRunWarning, round_to_half, train_or_replay


@dataclass(frozen=True)
class Config:
    num_steps: int = 7
    sizes: tuple[int, ...] = (1, 2)

    def quick(self):
        return replace(self, num_steps=1)


CALLS = []


def train(config):
    CALLS.append(config.num_steps)
    torch.manual_seed(config.num_steps)
    model = round_to_half(nn.Linear(3, 2))
    return Outcome({"accuracy": 0.1 * config.num_steps, "curve": [1, 2]}, {"model": model})


def train_differently(config):
    return Outcome({"accuracy": 2 * train(config).metrics["accuracy"]})


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Store runs in a scratch folder; start from an environment that asks for nothing."""
    monkeypatch.setenv("TLUTILS_RUNS", str(tmp_path))
    monkeypatch.setenv("TLUTILS_LIVE", "none")
    for name in ("TLUTILS_STORE", "TLUTILS_SMOKE", "CI"):
        monkeypatch.delenv(name, raising=False)
    CALLS.clear()
    return tmp_path


@pytest.fixture
def stored(monkeypatch):
    """Store the run "a/b" once."""
    monkeypatch.setenv("TLUTILS_STORE", "1")
    run = train_or_replay("a/b", train, Config(), live=True)
    monkeypatch.delenv("TLUTILS_STORE")
    CALLS.clear()
    return run


# -- replay ------------------------------------------------------------------------------------------------


def test_replay_gives_what_was_stored_without_training(stored, capsys):
    run = train_or_replay("a/b", train, Config())
    assert CALLS == []
    assert (stored.is_live, run.is_live) == (True, False)
    assert run.metrics == stored.metrics == {"accuracy": pytest.approx(0.7), "curve": [1, 2]}
    assert all(
        torch.equal(run.weights["model"][key], value) for key, value in stored.weights["model"].items()
    )
    assert "replayed a/b: trained on cpu" in capsys.readouterr().out


def test_weights_load_into_a_model(stored):
    model = train_or_replay("a/b", train, Config()).load_into(nn.Linear(3, 2))
    assert torch.equal(model.weight, stored.weights["model"]["weight"])
    with pytest.raises(ValueError, match=r"has weights for \['model'\], not for 'teacher'"):
        stored.load_into(nn.Linear(3, 2), "teacher")
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        stored.load_into(nn.Linear(4, 2))


def test_a_training_that_runs_out_of_memory_says_what_to_change():
    def train_on_too_little(_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(MemoryError, match=r"training 'a/b' ran out of memory on .* smaller batch"):
        train_or_replay("a/b", train_on_too_little, Config(), live=True)


def test_provenance_says_where_a_number_comes_from(stored):
    record = stored.provenance
    assert record["config"] == {"num_steps": 7, "sizes": (1, 2)}
    assert record["code_digest"] == code_digest(train)
    assert record["environment"]["torch"] == torch.__version__
    assert record["duration_s"] >= 0
    assert set(record) - {"cpu_s"} == {
        "name", "config", "code_digest", "data", "environment", "duration_s", "date",
    }  # fmt: skip


def test_processor_time_is_recorded_where_the_system_tells_it(monkeypatch):
    pytest.importorskip("resource")
    told = train_or_replay("a/b", train, Config(), live=True)
    monkeypatch.setitem(sys.modules, "resource", None)
    untold = train_or_replay("a/b", train, Config(), live=True)

    assert told.provenance["cpu_s"] >= 0
    assert "cpu_s" not in untold.provenance


def test_processor_time_counts_processes_that_have_ended(monkeypatch):
    resource = pytest.importorskip("resource")
    spent = {
        resource.RUSAGE_SELF: SimpleNamespace(ru_utime=1.0, ru_stime=0.5),
        resource.RUSAGE_CHILDREN: SimpleNamespace(ru_utime=20.0, ru_stime=3.0),
    }
    monkeypatch.setattr(resource, "getrusage", spent.get)

    assert runs._cpu_seconds() == 24.5


def test_processor_time_counts_the_workers_of_a_sweep():
    pytest.importorskip("resource")
    workers = set(joblib.Parallel(n_jobs=2)(joblib.delayed(os.getpid)() for _ in range(4)))
    assert os.getpid() not in workers

    runs._cpu_seconds()

    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


def test_checksums_of_the_data_are_recorded():
    run = train_or_replay("a/b", train, Config(), live=True, data=("digits8x8",))
    assert len(run.provenance["data"]["digits8x8"]) == 64


def test_live_run_is_shown_beside_the_stored_one(stored, capsys):
    run = train_or_replay("a/b", train, replace(Config(), num_steps=8), live=True)
    assert run.stored.metrics == stored.metrics
    assert "accuracy: 0.8 here, 0.7 stored" in capsys.readouterr().out
    assert runs.load("a/b").metrics == stored.metrics, "a live run is not stored unless asked"


def test_smoke_trains_a_few_steps_and_drops_the_result(stored, monkeypatch):
    monkeypatch.setenv("TLUTILS_SMOKE", "1")
    monkeypatch.setattr(runs, "_smoked", set())
    run = train_or_replay("a/b", train, Config())
    assert CALLS == [1]
    assert run.metrics == stored.metrics


@dataclass(frozen=True)
class SeededConfig(Config):
    seeds: tuple[int, ...] = (0,)


def test_smoke_trains_once_for_runs_that_differ_in_seeds_alone(monkeypatch):
    monkeypatch.setattr(runs, "_smoked", set())
    first = SeededConfig(num_steps=1)
    for config, digest in (
        (first, "code"),
        (replace(first, seeds=(1, 2)), "code"),
        (first, "other code"),
        (replace(first, sizes=(3,)), "code"),
    ):
        runs._smoke(train, config, digest)
    assert CALLS == [1, 1, 1]


def test_smoke_that_has_failed_fails_again(monkeypatch):
    monkeypatch.setattr(runs, "_smoked", set())

    def broken(_config):
        raise ValueError("no training")

    for _ in range(2):
        with pytest.raises(ValueError, match="no training"):
            runs._smoke(broken, SeededConfig(num_steps=1), "code")


def test_weights_of_a_live_run_stay_when_its_network_is_trained_on():
    model = nn.Linear(1, 1)

    def keep(_config):
        return Outcome({}, {"model": round_to_half(model)})

    run = train_or_replay("a/live", keep, Config(), live=True)
    before = run.weights["model"]["weight"].clone()
    with torch.no_grad():
        model.weight += 1
    assert torch.equal(run.weights["model"]["weight"], before)


@pytest.mark.parametrize(("asked", "expected"), [
    ("all", True), ("none", False), ("a/b", True), ("x/y,a/b", True), ("x/y", False),
    ("a", True), ("x,a", True), ("x, a", True), ("b", False), ("a/", False), ("a/b/c", False),
])  # fmt: skip
def test_environment_chooses_what_is_live(monkeypatch, asked, expected):
    monkeypatch.setenv("TLUTILS_LIVE", asked)
    assert runs.is_live("a/b") is expected


@pytest.mark.parametrize(("device", "expected"), [("cuda", True), ("cpu", False)])
def test_an_accelerator_trains_and_a_laptop_replays(monkeypatch, device, expected):
    monkeypatch.delenv("TLUTILS_LIVE")
    monkeypatch.setattr(runs, "best_device", lambda: torch.device(device))
    assert runs.is_live("a/b") is expected


@pytest.mark.usefixtures("stored")
def test_a_misspelt_chapter_in_the_environment_is_named(monkeypatch):
    monkeypatch.setenv("TLUTILS_LIVE", "a/b, mmmd/b, coral")
    with pytest.warns(UserWarning, match=r"asks for 'mmmd/b', and no .*'mmmd' has.*mean \['mmd'") as told:
        assert train_or_replay("a/b", train, Config()).is_live
    assert len(told) == 1, "coral has runs in the package, wherever TLUTILS_RUNS points"


# -- stale -------------------------------------------------------------------------------------------------


def test_other_code_or_config_is_a_warning_for_readers(stored):
    with pytest.warns(StaleRunWarning, match="the training code changed"):
        train_or_replay("a/b", train_differently, Config())
    with pytest.warns(StaleRunWarning, match="the config changed"):
        train_or_replay("a/b", train, Config(num_steps=9))
    assert stored.name == "a/b"


def test_a_stale_run_is_an_error_on_ci(stored, monkeypatch):
    monkeypatch.setenv("CI", "true")
    assert train_or_replay("a/b", train, Config()).metrics == stored.metrics
    with pytest.raises(RunError, match="stale: the config and the training code changed"):
        train_or_replay("a/b", train_differently, Config(num_steps=9))


# -- damaged -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("stored")
def test_unknown_run_offers_the_nearest():
    with pytest.raises(RunError, match=r"no stored run 'a/c'; did you mean \['a/b'\]"):
        train_or_replay("a/c", train, Config())


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("pattern", ["*.json", "*.safetensors"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied"])
def test_damage_is_found_and_named(scratch, pattern, damage):
    (path,) = (scratch / "a").glob(pattern)
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "emptied":
        content = b""
    else:
        content[0 if pattern == "*.json" else len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"'a/b' in .* is damaged .*make retrain RUN=a/b"):
        runs.load("a/b")


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize(("old", "new"), [('"curve"', '"curse"'), ("2", "3"), ('"sha256"', '"sha257"')])
def test_one_character_of_a_record_that_was_changed_is_noticed(scratch, old, new):
    path = scratch / "a/b.json"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(RunError, match="is damaged .the record .* SHA-256"):
        runs.load("a/b")


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("broken", [
    {"provenance": {}}, {"provenance": None}, {"weights": None}, {"weights": 3},
    {"provenance": {"config": {}, "code_digest": "", "environment": {"device": "cpu"}, "duration_s": None}},
], ids=["no provenance", "null", "no weights", "a number", "a gap"])  # fmt: skip
def test_a_record_with_gaps_is_damaged_and_mended_by_training(scratch, monkeypatch, broken):
    path = scratch / "a/b.json"
    record = json.loads(path.read_text(encoding="utf-8")) | broken
    del record["sha256"]
    path.write_text(json.dumps(record | {"sha256": json_digest(record)}), encoding="utf-8")
    with pytest.raises(RunError, match=r"'a/b' in .* is damaged .*make retrain RUN=a/b"):
        train_or_replay("a/b", train, Config())

    monkeypatch.setenv("TLUTILS_STORE", "1")
    train_or_replay("a/b", train, Config(), live=True)
    assert train_or_replay("a/b", train, Config()).metrics["curve"] == [1, 2]


def test_a_mistake_in_the_name_of_a_data_set_does_not_cost_a_training():
    with pytest.raises(ValueError, match="no data set 'mnst'.*mnist"):
        train_or_replay("a/b", train, Config(), data=("mnst",), live=True)
    assert CALLS == []


def test_a_folder_that_cannot_be_written_is_noticed_before_the_training(scratch, monkeypatch):
    (scratch / "taken").write_text("a file where the folder should be", encoding="utf-8")
    monkeypatch.setenv("TLUTILS_RUNS", str(scratch / "taken"))
    monkeypatch.setenv("TLUTILS_STORE", "1")
    with pytest.raises(OSError, match="'a/b' could not be stored .* not trained.*TLUTILS_RUNS"):
        train_or_replay("a/b", train, Config(), live=True)
    assert CALLS == []


def test_a_disk_that_fills_up_in_the_meantime_does_not_cost_the_result(scratch, monkeypatch):
    write, disk = runs.write_atomically, SimpleNamespace(is_full=False)

    def write_if_there_is_room(path, fill):
        if disk.is_full:
            raise OSError(28, "No space left on device")
        write(path, fill)

    def fill_the_disk(config):
        disk.is_full = True
        return train(config)

    monkeypatch.setattr(runs, "write_atomically", write_if_there_is_room)
    monkeypatch.setenv("TLUTILS_STORE", "1")
    with pytest.warns(RuntimeWarning, match="'a/b' was trained but not stored in .*No space left"):
        run = train_or_replay("a/b", fill_the_disk, Config(), live=True)
    assert run.metrics["curve"] == [1, 2]
    assert list(scratch.rglob("*")) == [scratch / "a"]


@pytest.mark.parametrize("number", [28, 27, 30, 122])
def test_a_full_disk_during_a_training_is_said_with_the_way_out(number):
    def train_until_the_disk_is_full(_):
        raise OSError(number, "No space left on device", "sweeps/1.jsonl")

    with pytest.raises(
        OSError, match=r"training 'a/b' could not write .*No space left.*TLUTILS_CACHE"
    ) as told:
        train_or_replay("a/b", train_until_the_disk_is_full, Config(), live=True)
    assert told.value.errno == number


def test_another_error_of_the_system_is_left_as_it_is():
    def train_on_nothing(_):
        raise PermissionError(13, "Permission denied", "photo.jpg")

    with pytest.raises(PermissionError, match=r"denied: 'photo.jpg'$"):
        train_or_replay("a/b", train_on_nothing, Config(), live=True)


def test_a_metric_that_json_cannot_hold_does_not_cost_the_result(scratch, monkeypatch):
    monkeypatch.setenv("TLUTILS_STORE", "1")
    outcome = Outcome({"loss": torch.ones(())}, {"m": round_to_half(nn.Linear(3, 2))})
    with pytest.warns(RuntimeWarning, match="not stored in .*Tensor is not JSON serializable.*numbers"):
        run = train_or_replay("a/b", lambda _: outcome, Config(), live=True)
    assert run.metrics["loss"] == 1
    assert [path for path in scratch.rglob("*") if path.is_file()] == [], "no weights without their record"


@pytest.mark.usefixtures("stored")
def test_missing_weights_are_damage(scratch):
    next((scratch / "a").glob("*.safetensors")).unlink()
    with pytest.raises(RunError, match="damaged"):
        runs.load("a/b")


@pytest.mark.usefixtures("stored")
@pytest.mark.parametrize("pattern", ["*.json", "*.safetensors"])
def test_training_it_again_mends_a_damaged_run(scratch, monkeypatch, pattern):
    next((scratch / "a").glob(pattern)).write_bytes(b"{")
    monkeypatch.setenv("TLUTILS_STORE", "1")
    again = train_or_replay("a/b", train, Config(), live=True)
    assert again.stored is None
    assert runs.load("a/b").metrics == again.metrics


@pytest.mark.usefixtures("stored")
def test_a_metric_that_is_no_number_any_more_does_not_stop_a_training(scratch):
    path = scratch / "a/b.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["metrics"] = dict.fromkeys(record["metrics"], "none")
    path.write_text(json.dumps(record), encoding="utf-8")
    assert train_or_replay("a/b", train, Config(), live=True).is_live


# -- storing -----------------------------------------------------------------------------------------------


def test_metrics_must_be_those_of_the_weights_as_stored(monkeypatch):
    monkeypatch.setenv("TLUTILS_STORE", "1")
    with pytest.raises(ValueError, match="call runs.round_to_half"):
        train_or_replay("a/b", lambda _: Outcome({}, {"model": nn.Linear(3, 2)}), Config(), live=True)
    assert runs.available() == []


def test_rounding_changes_little_and_refuses_overflow():
    model = nn.Linear(50, 50)
    before = model.weight.detach().clone()
    round_to_half(model)
    assert not torch.equal(model.weight, before)
    assert torch.allclose(model.weight, before, rtol=2**-10, atol=1e-7)
    with torch.no_grad():
        model.weight[0, 0] = 1e6
    with pytest.raises(ValueError, match="65504"):
        round_to_half(model)


def test_integers_survive_storing(monkeypatch):
    monkeypatch.setenv("TLUTILS_STORE", "1")
    model = nn.BatchNorm1d(2)
    model.num_batches_tracked += 100_003  # beyond what half precision counts
    train_or_replay("a/b", lambda _: Outcome({}, {"model": model}), Config(), live=True)
    assert runs.load("a/b").weights["model"]["num_batches_tracked"] == 100_003


def test_nan_is_no_metric(monkeypatch):
    monkeypatch.setenv("TLUTILS_STORE", "1")
    with pytest.raises(ValueError, match="JSON"):
        train_or_replay("a/b", lambda _: Outcome({"loss": float("nan")}), Config(), live=True)
    assert runs.available() == []


@pytest.mark.usefixtures("stored")
def test_storing_again_leaves_no_old_weights(scratch, monkeypatch):
    monkeypatch.setenv("TLUTILS_STORE", "1")
    train_or_replay("a/b", train, Config(num_steps=3), live=True)
    assert len(list((scratch / "a").iterdir())) == 2
    assert runs.load("a/b").metrics["accuracy"] == pytest.approx(0.3)


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from test_runs import *
from pathlib import Path
import tlutils.runs
write = tlutils.runs.write_atomically
def slow(path, content):
    write(path, content)
    print(path.suffix, flush=True)
    time.sleep(30)
tlutils.runs.write_atomically = slow
train_or_replay("a/b", train, Config(num_steps=3), live=True)
"""


def test_kill_9_while_storing_leaves_the_old_run(stored, scratch, request, monkeypatch):
    monkeypatch.setenv("TLUTILS_STORE", "1")
    command = [sys.executable, "-c", KILLED, request.path.parent]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().strip() == ".safetensors", "new weights are there, the record is not"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert len(list((scratch / "a").glob("*.safetensors"))) == 2
    assert runs.load("a/b").metrics == stored.metrics


# -- the data of a run -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("data_root")
def test_data_of_a_run_may_be_feature_vectors():
    digest = runs._data_digest("office_caltech10_surf")
    assert len(digest) == 64
    assert digest != runs._data_digest("office_caltech10_googlenet")


@pytest.mark.usefixtures("data_root")
def test_data_of_a_run_may_be_photographs():
    digest = runs._data_digest("hymenoptera")
    assert digest == photographs.fingerprint("hymenoptera")
    assert digest != runs._data_digest("office_caltech10")
