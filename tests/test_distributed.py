"""One process and two are equal; a killed worker ends the job, which then goes on from its checkpoint."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tlutils import distributed, models
from tlutils.distributed import WorkerError, fit_distributed, launch, process_group, rank_and_size, rank_batch
from tlutils.domains import Labelled
from tlutils.runtime import new_generator


def small_data(num_examples=24):
    x = torch.rand(num_examples, 1, 8, 8, generator=new_generator(0))
    return Labelled(x, torch.arange(num_examples) % 3, 3)


def small_fit(model, **settings):
    options = {"num_steps": 6, "global_batch_size": 8, "learning_rate": 0.05} | settings
    return fit_distributed(model, small_data(), **options)


def weights(folder):
    return load_file(Path(folder) / "weights.safetensors")


def largest_gap(a, b):
    assert set(a) == set(b)
    return max((a[key].double() - b[key].double()).abs().max().item() for key in a)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two processes, 20 steps, nothing amiss."""
    out = tmp_path_factory.mktemp("two")
    launch(distributed.main, ["--out", str(out)], num_processes=2)
    return out


def alone(out, *arguments):
    """Train with the same command in this process."""
    distributed.main(["--out", str(out), *arguments])
    return out


# --- shares of a batch


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_ranks_of_a_step_share_the_batch_of_one_process(size):
    for step in range(7):
        shares = [rank_batch(50, 8, step, seed=3, rank=rank, size=size) for rank in range(size)]
        assert {len(share) for share in shares} == {8 // size}
        assert sorted(torch.cat(shares).tolist()) == sorted(
            rank_batch(50, 8, step, seed=3, rank=0, size=1).tolist()
        )


def test_an_epoch_shows_each_example_at_most_once_and_the_next_is_shuffled_anew():
    batches = [rank_batch(20, 6, step, seed=0, rank=0, size=1) for step in range(6)]
    first, second = torch.cat(batches[:3]), torch.cat(batches[3:])
    assert len(first.unique()) == len(second.unique()) == 18
    assert first.tolist() != second.tolist()


@pytest.mark.parametrize(("num_examples", "batch", "size"), [(10, 5, 2), (10, 12, 2), (10, 0, 1)])
def test_a_batch_that_cannot_be_shared_out_is_refused(num_examples, batch, size):
    with pytest.raises(ValueError, match="expected a multiple of"):
        rank_batch(num_examples, batch, 0, seed=0, rank=0, size=size)


# --- one process


def test_a_process_alone_is_a_group_of_one():
    assert rank_and_size() == (0, 1)
    with process_group() as device:
        assert device.type in {"cpu", "cuda"}
        assert not torch.distributed.is_initialized()


def test_alone_it_is_plain_gradient_descent():
    model, other, data = models.lenet(3, image_size=8), models.lenet(3, image_size=8), small_data()
    optimizer = torch.optim.SGD(other.parameters(), lr=0.05, momentum=0.9)
    expected = []
    for step in range(6):
        batch = rank_batch(24, 8, step, seed=0, rank=0, size=1)
        loss = torch.nn.functional.cross_entropy(other(data.x[batch]), data.y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    assert small_fit(model) == expected
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


def test_the_rate_rises_in_a_line():
    before, after = models.lenet(3, image_size=8), models.lenet(3, image_size=8)
    small_fit(after, num_steps=1, learning_rate=0.4, warmup_steps=4)
    small_fit(before, num_steps=1, learning_rate=0.1)
    gaps = [torch.dist(a, b).item() for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert max(gaps) < 1e-7


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_resumed_is_equal_to_uninterrupted(tmp_path, dropout):
    whole, parts = (models.lenet(3, image_size=8, dropout=dropout) for _ in range(2))
    losses = small_fit(whole)
    with pytest.raises(KeyboardInterrupt):
        small_fit(parts, checkpoint=tmp_path / "c.pt", checkpoint_every=2, before_step=interrupt_at(5))
    fresh = models.lenet(3, image_size=8, dropout=dropout, seed=9)
    assert small_fit(fresh, checkpoint=tmp_path / "c.pt", checkpoint_every=2) == losses
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), fresh.parameters(), strict=True))


def interrupt_at(step):
    def stop(now):
        if now == step:
            raise KeyboardInterrupt

    return stop


def test_another_trainings_checkpoint_is_refused(tmp_path):
    path = tmp_path / "c.pt"
    small_fit(models.lenet(3, image_size=8), checkpoint=path, checkpoint_every=2)
    with pytest.raises(ValueError, match="belongs to another training"):
        small_fit(models.lenet(3, image_size=8), checkpoint=path, checkpoint_every=2, seed=1)
    with pytest.raises(ValueError, match=r"belongs to another network: it has 8 tensors"):
        small_fit(models.lenet(3, image_size=8, batch_norm=True), checkpoint=path, checkpoint_every=2)
    with pytest.raises(ValueError, match="has 6 steps; expected at most 5"):
        small_fit(models.lenet(3, image_size=8), checkpoint=path, num_steps=5)
    torch.save([1], foreign := tmp_path / "foreign.pt")
    with pytest.raises(ValueError, match="is no checkpoint of this training"):
        small_fit(models.lenet(3, image_size=8), checkpoint=foreign)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be read"):
        small_fit(models.lenet(3, image_size=8), checkpoint=path)


@pytest.mark.parametrize("wrong", [{"num_steps": 0}, {"learning_rate": 0.0}, {"checkpoint_every": 0}])
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="expected a positive number"):
        small_fit(models.lenet(3, image_size=8), **wrong)


@pytest.mark.parametrize("wrong", [{"momentum": 1.0}, {"momentum": -0.1}, {"warmup_steps": -1}])
def test_momentum_and_warm_up_have_their_range(wrong):
    says = f"{next(iter(wrong))} is -?[01].*; expected (a whole number of )?at least 0"
    with pytest.raises(ValueError, match=says):
        small_fit(models.lenet(3, image_size=8), **wrong)


def test_a_loss_that_is_no_number_is_named():
    with pytest.raises(FloatingPointError, match="at step"):
        small_fit(models.lenet(3, image_size=8), learning_rate=1e30)


def test_it_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    small_fit(models.lenet(3, image_size=8, dropout=0.5))
    assert torch.equal(torch.get_rng_state(), before)


# --- two processes


def test_two_processes_equal_one_on_the_same_global_batch(two, tmp_path):
    one = alone(tmp_path)
    assert largest_gap(weights(one), weights(two)) < 1e-4
    losses = [json.loads((folder / "losses.json").read_text()) for folder in (one, two)]
    assert len(losses[0]) == len(losses[1]) == 20
    assert max(abs(a - b) for a, b in zip(*losses, strict=True)) < 1e-4


@pytest.mark.slow
def test_batch_normalisation_breaks_the_equality(tmp_path):
    settings = ["--network", "lenet with BatchNorm"]
    launch(distributed.main, ["--out", str(tmp_path / "two"), *settings])
    one = alone(tmp_path / "one", *settings)
    assert largest_gap(weights(one), weights(tmp_path / "two")) > 1e-3


@pytest.mark.slow
def test_a_killed_rank_ends_the_job_and_a_new_start_ends_where_an_uninterrupted_one_does(two, tmp_path):
    crashed = ["--out", str(tmp_path)]
    with pytest.raises(WorkerError, match=r"rank 1 was killed by SIGKILL"):
        launch(distributed.main, [*crashed, "--rehearse-crash", "1:13"], timeout_s=120)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"], "one file, nothing half written"
    launch(distributed.main, crashed)
    assert largest_gap(weights(tmp_path), weights(two)) == 0
    assert (tmp_path / "losses.json").read_text() == (two / "losses.json").read_text()


def test_a_job_of_two_processes_can_go_on_with_one(two, tmp_path):
    launch(distributed.main, ["--out", str(tmp_path), "--num-steps", "10"])
    assert largest_gap(weights(alone(tmp_path)), weights(two)) < 1e-4


def children(pid):
    """Return the workers below torchrun."""
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="finds the workers in /proc, which only Linux has"
)
def test_kill_9_from_outside_ends_the_job_too(tmp_path, monkeypatch):
    """Whoever kills a worker, with whatever: the job must not hang."""
    started, run = [], subprocess.Popen

    def remember(*args, **kwargs):
        started.append(run(*args, **kwargs))
        return started[-1]

    def kill():
        while not (tmp_path / "checkpoint.pt").exists():
            time.sleep(0.05)
        os.kill(children(started[0].pid)[0], signal.SIGKILL)

    monkeypatch.setattr(subprocess, "Popen", remember)
    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    with pytest.raises(WorkerError, match=r"rank \d was killed by SIGKILL"):
        launch(distributed.main, ["--out", str(tmp_path), "--num-steps", "10000000"], timeout_s=120)
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_an_error_in_a_worker_is_named(tmp_path):
    with pytest.raises(WorkerError, match=r"ended with exit code 1 \(ValueError: a global batch of 33"):
        launch(distributed.main, ["--out", str(tmp_path), "--global-batch-size", "33"])


def test_a_failing_worker_leaves_no_error_file_that_could_be_half_written(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    with pytest.raises(ValueError, match="num_steps is 0"):
        alone(tmp_path, "--num-steps", "0")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_program_in_a_file_runs_and_time_has_an_end(tmp_path):
    program = tmp_path / "sleep.py"
    note = tmp_path / "pid"
    program.write_text(
        "import os, pathlib, sys, time; pathlib.Path(sys.argv[2]).write_text(str(os.getpid())); "
        "time.sleep(float(sys.argv[1]))"
    )
    assert launch(program, ["0", str(note)], num_processes=1) > 0
    note.unlink()
    with pytest.raises(WorkerError, match="not done after 12 s"):
        launch(program, ["600", str(note)], num_processes=1, timeout_s=12)
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)  # the worker is gone, too


def test_it_needs_no_name_for_this_machine():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    code = "from tlutils.distributed import _loopback; print(_loopback())"
    said = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    name = {"linux": "lo", "darwin": "lo0"}.get(sys.platform)
    assert said.stdout.strip() == str({"GLOO_SOCKET_IFNAME": name} if name else {})


def test_a_number_of_processes_below_one_is_refused():
    with pytest.raises(ValueError, match="expected at least 1"):
        launch(distributed.main, num_processes=0)


def defined_in_a_notebook():
    """Stand for a function that no new process can import."""


defined_in_a_notebook.__module__ = "__main__"


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize("program", ["train.py", Path("nowhere.py"), defined_in_a_notebook])
def test_a_program_that_no_new_process_could_run_is_refused(program):
    with pytest.raises(ValueError, match="expected the Path of a file, or a function of an importable"):
        launch(program)


def test_idle_gpus_are_mentioned(monkeypatch):
    joined = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(distributed.dist, "init_process_group", joined.append)
    monkeypatch.setattr(distributed.dist, "destroy_process_group", lambda: None)
    for name, value in {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)

    with (
        pytest.warns(UserWarning, match=r"2 processes and 1 GPUs .*--nproc-per-node=1"),
        process_group() as device,
    ):
        assert device == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "1")  # one voice is enough
    with process_group():
        assert joined == ["gloo", "gloo"]


def test_with_a_gpu_for_each_process_each_takes_its_own_and_talks_through_nccl(monkeypatch):
    joined, chosen = [], []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(distributed.dist, "init_process_group", joined.append)
    monkeypatch.setattr(distributed.dist, "destroy_process_group", lambda: joined.append("left"))
    for name, value in {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)

    with process_group() as device:
        assert device == torch.device("cuda", 1)

    assert chosen == [torch.device("cuda", 1)]
    assert joined == ["nccl", "left"]


REPORT = """\
[rank0]: RuntimeError: Connection reset by peer
Failures:
[1]:
  time      : 2026-11-21_07:07:27
  host      : localhost
  rank      : 0 (local_rank: 0)
  exitcode  : {first} (pid: 30811)
  error_file: <N/A>
Root Cause (first observed failure):
[0]:
  time      : 2026-11-21_07:07:27
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : {second} (pid: 30812)  (SIGKILL)
"""


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        (1, -9, "rank 1 was killed by SIGKILL"),
        (-15, -9, "rank 1 was killed by SIGKILL"),
        (1, -15, r"rank 0 ended with exit code 1 \(RuntimeError: Connection reset"),
        (-15, 3, "rank 1 ended with exit code 3 .its traceback"),
        (-15, -15, "killed by SIGTERM"),
    ],
)
def test_the_report_names_who_failed_first_not_who_complained_first(first, second, says):
    assert re.search(says, distributed._explain(REPORT.format(first=first, second=second)))


def test_a_report_without_a_failure_is_shown():
    assert "no module named" in distributed._explain("no module named x")
