"""The figures of the chapter on fine-tuning show what they are given."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
from torch.nn import functional

from tlutils.figures import fine_tuning as figures
from tlutils.repeats import Interval

HALF = Interval(0.5, 0.4, 0.6, 5)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_budget_curves_stand_at_even_places():
    ax = figures.budget_curves((1, 5, "all"), {"a way": [HALF] * 3}, source_only=0.8).axes[0]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "5", "all"]
    assert any(set(line.get_ydata()) == {0.8} for line in ax.lines)


def test_gain_bars_name_every_interval():
    ax = figures.gain_bars({"one": HALF, "two": HALF}, xlabel="gain", height=2.0).axes[0]
    assert {text.get_text() for text in ax.get_yticklabels()} == {"one", "two"}
    assert any(set(line.get_xdata()) == {0} for line in ax.lines)


def test_side_by_side_has_a_panel_per_matrix():
    figure = figures.side_by_side({"before": np.eye(3, dtype=int), "after": np.eye(3, dtype=int)}, "abc")
    assert [ax.get_title() for ax in figure.axes[:2]] == ["before", "after"]


def test_gradient_of_a_confident_mistake_is_the_root_of_two():
    ax = figures.gradient_lengths({"logits": functional.cross_entropy}).axes[0]
    lengths = ax.lines[0].get_ydata()
    assert lengths[0] == pytest.approx(math.sqrt(2), abs=1e-3)
    assert lengths[-1] == pytest.approx(0, abs=1e-3)
