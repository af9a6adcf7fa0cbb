"""The cost model against values worked out by hand, a simulated ring, and what scaling laws say."""

import dataclasses
import math

import pytest

from tlutils import cost_model
from tlutils.cost_model import (
    Cluster,
    Job,
    all_reduce_seconds,
    fit_line,
    makespan,
    measured_cluster,
    most_workers,
)

CLUSTER = Cluster(flops=2.0, bandwidth=8.0, latency_s=0.25, price=3600.0)
JOB = Job(flops_per_example=1.0, num_parameters=4, global_batch_size=16, num_examples=160)


def ring_messages(num_workers):
    """Run the ring: return the sums that all end with, and how many chunks each worker has sent."""
    chunks = [[float(10**worker) for _ in range(num_workers)] for worker in range(num_workers)]
    sent = 0
    for phase in ("add", "copy"):
        for turn in range(num_workers - 1):
            offset = turn if phase == "add" else turn - 1
            moving = [(w, (w - offset) % num_workers) for w in range(num_workers)]
            values = [chunks[w][c] for w, c in moving]
            for (w, c), value in zip(moving, values, strict=True):
                right = (w + 1) % num_workers
                chunks[right][c] = value + (chunks[right][c] if phase == "add" else 0)
            sent += 1
    return chunks, sent


@pytest.mark.parametrize("num_workers", [2, 3, 5])
def test_a_ring_needs_as_many_messages_as_the_formula_counts(num_workers):
    chunks, sent = ring_messages(num_workers)
    total = sum(10.0**worker for worker in range(num_workers))
    assert chunks == [[total] * num_workers] * num_workers, "every worker ends with every sum"
    seconds = all_reduce_seconds(100, num_workers, bandwidth=10, latency_s=1)
    assert seconds == pytest.approx(sent * (1 + 100 / num_workers / 10))


def test_one_worker_talks_to_nobody():
    assert all_reduce_seconds(1e9, 1, bandwidth=1, latency_s=1) == 0


def test_step_time_money_and_efficiency_by_hand():
    # 16 examples at 2 a second: 8 s alone.
    # Two workers: 4 s, and 2 messages of 0.25 s and 8 bytes at 8 a second.
    assert JOB.step_seconds(CLUSTER, 1) == 8
    assert JOB.talk_seconds(CLUSTER, 2) == pytest.approx(2.5)
    assert JOB.step_seconds(CLUSTER, 2) == pytest.approx(6.5)
    assert JOB.seconds(CLUSTER, 2) == pytest.approx(65)
    assert JOB.money(CLUSTER, 2) == pytest.approx(130)
    assert JOB.efficiency(CLUSTER, 2) == pytest.approx(8 / 13)


def test_money_is_that_of_one_worker_over_the_efficiency():
    for p in (1, 3, 64):
        assert JOB.money(CLUSTER, p) == pytest.approx(JOB.money(CLUSTER, 1) / JOB.efficiency(CLUSTER, p))


def test_overlap_hides_talking_until_there_is_nothing_to_hide_it_behind():
    hidden = dataclasses.replace(JOB, overlap=1.0)
    assert hidden.step_seconds(CLUSTER, 2) == 4, "2.5 s fit behind 4 s"
    assert hidden.step_seconds(CLUSTER, 64) == pytest.approx(JOB.talk_seconds(CLUSTER, 64))


@pytest.mark.parametrize("latency", [0.0, 0.25])
def test_at_the_crossing_a_step_talks_as_long_as_it_computes(latency):
    cluster = dataclasses.replace(CLUSTER, latency_s=latency)
    p = most_workers(JOB, cluster)
    talk = 2 * (p - 1) / p * 16 / 8 + 2 * (p - 1) * latency
    assert talk == pytest.approx(8 / p)


def test_what_sends_nothing_never_talks_longer():
    silent = dataclasses.replace(JOB, num_parameters=0)
    assert most_workers(silent, dataclasses.replace(CLUSTER, latency_s=0.0)) == math.inf


def test_without_latency_the_speedup_obeys_amdahl():
    cluster = dataclasses.replace(CLUSTER, latency_s=0.0)
    work, serial = 8, 2 * 16 / 8
    for p in (2, 10, 1000):
        assert JOB.step_seconds(cluster, p) == pytest.approx(work / p + serial * (p - 1) / p)
    assert JOB.step_seconds(cluster, 1) / JOB.step_seconds(cluster, 10**9) == pytest.approx(work / serial)


def test_makespan_by_hand():
    assert makespan([2, 3, 4], 1) == 9
    assert makespan([2, 3, 4], 2) == 6, "2 then 4 beside 3"
    assert makespan([2, 3, 4], 64) == 4
    assert makespan([], 3) == 0


def test_fit_line_weighs_relative_errors():
    latency, bandwidth = fit_line([0, 1e6, 1e9], [1e-3, 2e-3, 1.002])
    assert latency == pytest.approx(1e-3, rel=0.02)
    assert bandwidth == pytest.approx(1e9, rel=0.02)


@pytest.mark.parametrize("num_workers", [2, 3, 8])
def test_a_cluster_is_found_again_from_its_all_reduces(num_workers):
    sizes = [4e2, 4e5, 4e8]
    durations = [all_reduce_seconds(size, num_workers, bandwidth=1e9, latency_s=3e-4) for size in sizes]
    found = measured_cluster(5e10, sizes, durations, price=0.05, num_workers=num_workers)
    assert dataclasses.astuple(found) == pytest.approx((5e10, 1e9, 3e-4, 0.05))


def test_measurements_that_ask_for_a_negative_latency_give_none():
    assert fit_line([100, 200], [1.0, 3.0])[0] < 0
    assert measured_cluster(1.0, [100, 200], [1.0, 3.0], price=0.0).latency_s == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: all_reduce_seconds(1, 0, 1),
        lambda: all_reduce_seconds(-1, 1, 1),
        lambda: all_reduce_seconds(1, 1, 0),
        lambda: all_reduce_seconds(1, 1, 1, -1),
        lambda: Cluster(0.0, 1.0, 0.0, 1.0),
        lambda: Cluster(1.0, 1.0, -1.0, 1.0),
        lambda: dataclasses.replace(JOB, global_batch_size=0),
        lambda: dataclasses.replace(JOB, overlap=1.5),
        lambda: makespan([1], 0),
        lambda: makespan([-1], 1),
        lambda: fit_line([1], [1.0]),
        lambda: fit_line([1, 2], [1.0]),
        lambda: fit_line([1, 2], [1.0, 0.0]),
        lambda: measured_cluster(1.0, [1, 2], [1.0, 2.0], price=1.0, num_workers=1),
        lambda: measured_cluster(0.0, [1, 2], [1.0, 2.0], price=1.0),
        lambda: measured_cluster(1.0, [1, 2], [1.0, 2.0], price=-1.0),
    ],
)
def test_impossible_numbers_are_refused(call):
    with pytest.raises(ValueError, match="expected"):
        call()


def test_the_module_lists_what_it_offers():
    assert {"Cluster", "Job", "measured_cluster", "most_workers"} <= set(cost_model.__all__)
