"""Figures of the chapter `parameter_efficient_tuning` show what they are given."""

import numpy as np
import pytest

from tlutils.figures import parameter_efficient_tuning as figures
from tlutils.repeats import Interval


def around(mean):
    return Interval(mean, mean - 0.1, mean + 0.1, 5)


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


def test_looks_stand_in_rows():
    figure = figures.three_looks({"a": np.zeros((3, 3, 4, 4)), "b": np.ones((3, 3, 4, 4))})
    assert len(figure.axes) == 6


def test_equal_sizes_stand_side_by_side():
    found = {"head": around(0.3), "L2-SP": around(0.5), "all": around(0.6)}
    figure = figures.accuracy_by_size({"far": found}, {"head": 10, "L2-SP": 1000, "all": 1000})
    points = [line.get_xydata()[0].tolist() for line in figure.axes[0].lines if line.get_marker() != "None"]
    assert points == [[10, 0.3], [1000, 0.5], [1250, 0.6]]
    assert figure.axes[0].get_title(loc="left") == "far"
    assert texts(figure.legends[0]) == ["head", "L2-SP", "all"]


def test_moving_statistics_have_open_markers():
    found = {("head", "held"): (around(0.3), around(0.8)), ("head", "moving"): (around(0.4), around(0.6))}
    figure = figures.kept_and_won({"far": found}, before=0.8)
    faces = [line.get_markerfacecolor() for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert faces[1] == "white"
    assert faces[0] != "white"
    assert list(figure.axes[0].lines[-1].get_ydata()) == [0.8, 0.8]
    assert texts(figure.legends[0]) == ["head", "statistics moving"]
    held = figures.kept_and_won({"far": {("head", "held"): found["head", "held"]}}, before=0.8)
    assert texts(held.legends[0]) == ["head"]


def test_the_lab_adds_the_source_once():
    accuracies = {"far": {"LoRA": around(0.5), "all": around(0.6)}}
    lab = figures.storage_lab(accuracies, {"LoRA": 100_000, "all": 1_000_000}, 1_000_000, whole=["all"])
    assert lab["start"] == {"number": 30, "target": "far"}
    # 1 MB + 30 · 0.1 MB against 30 · 1 MB
    says = lab["describe"](number=30, target="far")
    assert "LoRA keeps 4.0 MB, tuning everything 30.0 MB" in says
    assert "10.0 points below" in says
    assert "one task: LoRA keeps 1.1 MB" in lab["describe"](number=1, target="far")
    first, last = (lab["draw"](number=n, target="far").axes[0] for n in (1, 300))
    assert first.get_xlim() == last.get_xlim()


def result(method, seed, accuracy, *, source=0.8, statistics="held", rate=0.01, strength=0.0):
    return {
        "target": "far", "method": method, "statistics": statistics, "rate": rate, "strength": strength,
        "seed": seed, "target accuracy": accuracy, "source accuracy": source,
    }  # fmt: skip


RESULTS = [result("all", 0, 0.5), result("LoRA", 0, 0.6), result("all", 1, 0.7), result("LoRA", 1, 0.9)]


def test_results_are_found_by_what_they_hold():
    assert figures.per_seed(RESULTS, method="LoRA") == [0.6, 0.9]
    assert figures.per_seed(RESULTS, "source accuracy", method="LoRA", seed=1) == [0.8]


def test_trials_are_sorted_and_the_best_is_starred():
    low, high = result("LoRA", 0, 0.5, rate=0.001), result("LoRA", 0, 0.4, rate=0.1)
    pull = [result("L2-SP", 0, 0.3, strength=s) for s in (1.0, 0.1)]
    lines = figures.trial_table([high, low, *pull]).splitlines()
    assert lines[0].split() == ["far", "held", "L2-SP", "0.1", "30.0/80*", "1", "30.0/80"]
    assert lines[1].split() == ["far", "held", "LoRA", "0.001", "50.0/80*", "0.1", "40.0/80"]


def test_differences_are_paired():
    lines = figures.difference_table({"far": RESULTS}, ["LoRA", "all"], "all").splitlines()
    assert lines[1].split() == ["LoRA", "75.0"]
    assert lines[-1].split()[:2] == ["LoRA", "15.0"]


def test_costs_stand_beside_the_accuracies():
    costs = {"MB": {"LoRA": 0.204, "all": 17.4}, "hours": {"LoRA": 1, "all": 2}}
    lines = figures.difference_table({"far": RESULTS}, ["LoRA", "all"], "all", costs).splitlines()
    assert lines[0].split()[-3:] == ["far", "MB", "hours"]
    assert lines[1].split() == ["LoRA", "75.0", "0.20", "1.00"]
    assert lines[2].split() == ["all", "60.0", "17.40", "2.00"]
    assert lines[-1].split()[0] == "LoRA"


def test_target_and_source_stand_together():
    moving = [result("all", s, 0.9, source=0.1, statistics="moving") for s in (0, 1)]
    found = figures.target_and_source(RESULTS + moving, ["LoRA", "all"], target="far")
    assert [*found] == [("LoRA", "held"), ("all", "held"), ("all", "moving")]
    assert found["all", "moving"][1].mean == pytest.approx(0.1)
    assert "all       moving      90.0    10.0" in figures.kept_table({"far": found})


def test_moving_statistics_are_paired_with_held_ones():
    def runs_of(method, *pairs):
        return [
            {"target": "dusk", "method": method, "target accuracy": a, "source accuracy": b} for a, b in pairs
        ]

    held = runs_of("all", (0.1, 0.9), (0.1, 0.9)) + runs_of("head", (0.5, 0.8), (0.6, 0.8))
    moving = runs_of("head", (0.6, 0.5), (0.7, 0.3))  # ten points more, seed by seed
    lines = figures.statistics_table(held, moving).splitlines()
    assert len(lines) == 2
    assert lines[1].split() == ["dusk", "head", "55.0", "65.0", "10.0", "[10.0,", "10.0]", "80.0", "40.0"]


def test_ranks_are_lines_and_rates_columns():
    cases = ((1, 0.01, 0.2), (1, 0.01, 0.4), (4, 0.01, 0.5), (4, 0.01, 0.5))
    lines = figures.rank_table(
        [{"rank": r, "rate": q, "target accuracy": a} for r, q, a in cases]
    ).splitlines()
    assert lines[0].split() == ["in", "%", "rate", "0.01"]
    assert [line.split()[:4] for line in lines[1:]] == [["r", "=", "1", "30.0"], ["r", "=", "4", "50.0"]]
