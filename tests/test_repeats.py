"""Intervals by hand, by SciPy and by coverage; sweeps that survive."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tlutils import repeats
from tlutils.repeats import mean_interval, paired_interval, sweep


def test_interval_by_hand():
    # Mean 2, s = 1, n = 3; Student's t for 95 % and 2 degrees of freedom is 4.302653 (tables).
    interval = mean_interval([1.0, 2.0, 3.0])
    assert interval.mean == 2.0
    assert interval.high - 2.0 == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert 2.0 - interval.low == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert f"{interval:.1f}" == "2.0 [-0.5, 4.5]"


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_interval_agrees_with_scipy(confidence):
    values = np.random.default_rng(0).normal(size=8)
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(confidence)
    interval = mean_interval(values.tolist(), confidence=confidence)
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_interval_covers_as_often_as_it_says():
    draws = np.random.default_rng(1).normal(3.0, 2.0, size=(2000, 5))
    covered = np.mean(
        [interval.low <= 3.0 <= interval.high for interval in map(mean_interval, draws.tolist())]
    )
    # Four standard errors of a share of 0.95 over 2000 repetitions.
    assert covered == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 2000) ** 0.5)


def test_pairing_removes_what_is_shared():
    rng = np.random.default_rng(2)
    shared = rng.normal(0, 10, 20)
    a, b = shared + 1 + rng.normal(0, 0.1, 20), shared + rng.normal(0, 0.1, 20)
    assert paired_interval(a.tolist(), b.tolist()).low > 0.8
    assert mean_interval(a.tolist()).low < mean_interval(b.tolist()).high, "unpaired, they overlap"


@pytest.mark.parametrize(("values", "message"), [
    ([1.0], "at least 2"), ([], "at least 2"), ([1.0, float("nan")], "finite"),
])  # fmt: skip
def test_interval_refuses_what_has_none(values, message):
    with pytest.raises(ValueError, match=message):
        mean_interval(values)


def test_interval_refuses_a_confidence_that_is_no_probability():
    with pytest.raises(ValueError, match="confidence is 95.0"):
        mean_interval([1.0, 2.0], confidence=95.0)


def test_pairs_must_be_pairs():
    with pytest.raises(ValueError, match="2 and 3 values"):
        paired_interval([1.0, 2.0], [1.0, 2.0, 3.0])


# -- sweeps --------------------------------------------------------------------------------------------------

CASES = [{"a": a, "seed": seed} for a in (1, 2) for seed in (0, 1, 2)]


def slow_case(a, seed):
    time.sleep(0.1)
    return {"value": a * 10 + seed}


def failing_case(a, seed):
    FAILING.append((a, seed))
    if len(FAILING) == 4:
        raise RuntimeError("interrupted")
    return a * 10 + seed


FAILING = []


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLUTILS_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("num_workers", [1, 2])
def test_sweep_gives_results_in_the_order_of_the_cases(cache, num_workers):
    results = sweep(slow_case, CASES, num_workers=num_workers, progress=False)
    assert results == [{"value": case["a"] * 10 + case["seed"]} for case in CASES]
    assert not list(cache.rglob("*.jsonl")), "removed when all is done"


def test_an_interrupted_sweep_goes_on_where_it_was():
    FAILING.clear()
    with pytest.raises(RuntimeError, match="interrupted"):
        sweep(failing_case, CASES, progress=False)
    assert sweep(failing_case, CASES, progress=False) == [10, 11, 12, 20, 21, 22]
    assert len(FAILING) == 4 + 3, "three finished cases were not done again"


def test_a_sweep_that_keeps_nothing_starts_afresh():
    FAILING.clear()
    with pytest.raises(RuntimeError, match="interrupted"):
        sweep(failing_case, CASES, progress=False, keep=False)
    sweep(failing_case, CASES, progress=False, keep=False)
    assert len(FAILING) == 4 + 6


def stuck_case(a, seed, marker):
    """Wait in the third case, where its marker lies."""
    if (a, seed) == (1, 2) and Path(marker).is_file():
        print("third", flush=True)
        time.sleep(60)
    return {"value": a * 10 + seed}


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from test_repeats import *
sweep(stuck_case, [case | {"marker": sys.argv[2]} for case in CASES], progress=False)
"""


def test_kill_9_keeps_the_finished_cases(cache, request, monkeypatch, tmp_path):
    marker = tmp_path / "wait"
    marker.touch()
    command = [sys.executable, "-c", KILLED, request.path.parent, marker]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "third\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    marker.unlink()
    [kept] = cache.rglob("*.jsonl")
    with kept.open("a", encoding="utf-8") as file:
        file.write('\n[{"a": 1, "se')  # and a line cut short
    assert len(repeats._finished(kept)) == 2
    done, run_case = [], repeats._run_case
    monkeypatch.setattr(repeats, "_run_case", lambda *args: done.append(args[1]) or run_case(*args))
    cases = [case | {"marker": str(marker)} for case in CASES]
    assert sweep(stuck_case, cases, progress=False) == [{"value": c["a"] * 10 + c["seed"]} for c in CASES]
    assert done == cases[2:], "the two finished ones were not done again"


def test_sweep_refuses_no_workers():
    with pytest.raises(ValueError, match="num_workers is 0"):
        sweep(slow_case, CASES, num_workers=0)
