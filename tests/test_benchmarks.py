"""The benchmark of `mmd2` ends with status 1 where a bound does not hold. No time is bounded here."""

from __future__ import annotations

import importlib.util
import math

import pytest

from chapters import ROOT

GOOD = {"memory": 25.0, "speed": 6.0, "peak": 900.0, "difference": 1e-6}


@pytest.fixture
def bench(monkeypatch):
    """The program, measuring in this process."""
    spec = importlib.util.spec_from_file_location("mmd_memory", ROOT / "benchmarks" / "mmd_memory.py")
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    monkeypatch.setattr(program, "in_own_process", program.measure)
    return program


def test_tensors_hold_twenty_times_less_than_in_the_broadcast(bench):
    broadcast, ours = (bench.held_mb(way, 300, 256) for way in bench.WAYS)
    # Array and square of the differences, which the backward pass takes as well; ours has no (n, n, d) array.
    assert broadcast > 2 * 300 * 300 * 256 * 4 / 1e6 > 20 * ours
    assert broadcast / ours >= bench.MIN_MEMORY_RATIO == 20
    assert bench.held_mb("tlutils", 300, 256) == ours, "counted, and so the same every time"


def test_the_whole_matrices_give_the_same_value(bench):
    x, y = bench.make_samples(300, 64)
    value = bench.WAYS["tlutils"](x, y, 128**0.5).item()
    assert value == pytest.approx(bench.at_once(300, 64), abs=bench.MAX_DIFFERENCE / 10)
    assert value == pytest.approx(bench.broadcast_mmd2(x, y, 128**0.5).item(), abs=bench.MAX_DIFFERENCE)


@pytest.mark.parametrize(
    ("planted", "line"),
    [
        ({"memory": 19.9}, "19.9 times less memory, expected at least 20"),
        ({"speed": 4.9}, "4.9 times faster, expected at least 5"),
        ({"peak": 1001.0}, "a peak of 1001 MB, expected at most 1000"),
        ({"difference": 1.1e-5}, "a difference of 1.1e-05, expected at most 1e-05"),
        ({"difference": math.nan}, "a difference of nan"),
    ],
)
def test_each_bound_is_looked_at(bench, planted, line):
    assert bench.shortfalls(**GOOD) == []
    (found,) = bench.shortfalls(**(GOOD | planted))
    assert line in found


def test_a_slow_estimate_that_is_wrong_ends_the_program_with_status_1(bench, monkeypatch, capsys):
    monkeypatch.setitem(bench.WAYS, "tlutils", lambda *pair: bench.broadcast_mmd2(*pair) + 1e-3)
    with pytest.raises(SystemExit) as stopped:
        bench.main(["--size", "100", "--large", "100", "--rounds", "1"])
    assert stopped.value.code == 1
    told = capsys.readouterr().out
    assert "MISSED: 1.0 times less memory" in told
    assert "MISSED: a difference of 1.0e-03" in told


def test_where_all_bounds_hold_the_program_ends_well(bench, monkeypatch, capsys):
    def measured(way, n, d, rounds):
        is_ours = way == "tlutils"
        cost = {"seconds": 1.0, "held": 1.0} if is_ours else {"seconds": 6.0 * rounds, "held": 25.0}
        return cost | {"growth": 1.0, "peak": 900.0, "value": bench.at_once(n, d)}

    monkeypatch.setattr(bench, "in_own_process", measured)
    bench.main(["--size", "100", "--large", "100", "--rounds", "1"])
    assert "All four bounds hold." in capsys.readouterr().out
