"""Tables behind the figures of the chapter on scaling out, and what its laboratories say."""

import dataclasses

import matplotlib.pyplot as plt
import pytest

from tlutils.cost_model import Cluster, Job
from tlutils.figures import scaling_out as figures

JOB = Job(flops_per_example=1e9, num_parameters=1_000_000, global_batch_size=1024, num_examples=10**8)
CLUSTER = Cluster(flops=1e12, bandwidth=1e9, latency_s=0.0, price=2.0)
ROUNDS = [
    {"num_processes": 1, "steps": [["lenet", 8, 3.0]], "all_reduces": []},
    {"num_processes": 1, "steps": [["lenet", 8, 2.0]], "all_reduces": []},
    {"num_processes": 2, "steps": [["lenet", 8, 4.0]], "all_reduces": [[40, 0.5]]},
    {"num_processes": 2, "steps": [["lenet", 8, 5.0]], "all_reduces": [[40, 0.25]]},
]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_the_shortest_round_counts():
    assert figures.measured_steps(ROUNDS) == {("lenet", 8, 1): 2.0, ("lenet", 8, 2): 4.0}
    assert figures.measured_talk(ROUNDS) == {40: 0.25}


def test_speedups_are_drawn_as_given():
    ax = figures.speedup_curves({"a": {8: 0.5, 16: 1.5}}, {"a": {8: 0.6, 16: 1.4}})
    assert ax.lines[0].get_ydata().tolist() == [0.5, 1.5]
    assert ax.lines[1].get_ydata().tolist() == [0.6, 1.4]


def test_batches_have_a_panel_for_each_start_and_a_mean_for_each_rule():
    keys = [(rule, batch, seed) for rule in ("a", "b") for batch in (8, 16) for seed in (0, 2)]
    cases = [{"rule": rule, "batch": batch, "test": 0.5 + seed / 10} for rule, batch, seed in keys]
    first, second = figures.batch_panels({"one": cases, "two": cases})
    assert first.lines[0].get_ydata() == pytest.approx([60, 60])
    assert second.get_title() == "two"


def test_tasks_that_need_nobody_scale_until_there_are_none_left():
    ax = figures.sweep_curve([1.0] * 4, JOB, CLUSTER, (1, 2, 4, 64))
    assert ax.lines[1].get_ydata().tolist() == [1, 2, 4, 4]


def test_the_cluster_lab_says_time_money_and_crossing():
    lab = figures.cluster_lab(JOB, CLUSTER, [1.0, 10.0], [1.0, 10.0])
    says = lab["describe"](throughput=1.0, bandwidth=1.0)
    assert "1 GPU: 28 h, 56 dollars" in says, "1e17 operations at 1e12 a second"
    assert "From 130 GPUs on" in says, "more than 1 + 1.024 s / (2 · 4 ms) = 129"
    assert len(lab["draw"](throughput=1.0, bandwidth=1.0).axes) == 2


def test_a_growing_batch_keeps_the_share_of_a_worker():
    assert [figures._grow(JOB, p).global_batch_size for p in (1, 8, 64)] == [128, 1024, 8192]


def test_waiting_decides_how_many_gpus_are_best():
    assert figures.best_workers(JOB, CLUSTER, 0.0)[0] == 1
    few, many = (figures.best_workers(JOB, CLUSTER, waiting)[0] for waiting in (1.0, 1000.0))
    assert 1 <= few < many
    lab = figures.waiting_lab(JOB, CLUSTER, [1.0, 2.0], [0.0, 10.0])
    assert "1 GPU costs least" in lab["describe"](price=2.0, waiting=0.0)
    assert lab["draw"](price=2.0, waiting=10.0).axes
    assert lab["start"] == {"price": 2.0, "waiting": 10.0}


def test_money_of_the_best_is_gpus_and_waiting():
    here = dataclasses.replace(CLUSTER, price=2.0)
    best, cost = figures.best_workers(JOB, here, 10.0)
    assert cost == pytest.approx(JOB.money(here, best) + 10 * JOB.seconds(here, best) / 3600)
