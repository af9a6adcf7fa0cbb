"""Figures of the chapter `parameter_efficient_tuning` show what they are given."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from tlutils.figures import parameter_efficient_tuning as figures
from tlutils.repeats import Interval


@pytest.fixture(autouse=True)
def clean():
    with mpl.rc_context():
        yield
        plt.close("all")


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


def test_ranks_stand_at_equal_steps():
    curves = {"trained": {1: around(0.5), 16: around(0.6)}, "cut": {0: around(0.1), 1: around(0.2)}}
    ax = figures.rank_curves(curves, around(0.7)).axes[0]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1", "16"]
    assert list(ax.lines[0].get_xdata()) == [1, 2]
    assert texts(ax.get_legend()) == ["trained", "cut", "all parameters, uncut"]


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
