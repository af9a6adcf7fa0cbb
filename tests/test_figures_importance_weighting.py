"""What the laboratory of the chapter on importance weighting measures and says."""

import matplotlib.pyplot as plt
import pytest

from tlutils.figures import importance_weighting as figures
from tlutils.repeats import mean_interval


def test_no_shift_no_weights():
    found = figures.measure_weighting(0.0)
    assert found["effective share"] == pytest.approx(1)
    assert found["largest weight"] == pytest.approx(1)
    assert found["error weighted"] == pytest.approx(found["error unweighted"])


def test_lab_draws_and_says_what_it_measured():
    lab = figures.weighting_lab()
    assert lab["describe"](1.0).startswith("Shift 1: the 300 source examples are worth 1")
    figure = lab["draw"](1.0)
    assert len(figure.axes) == 2
    plt.close(figure)


def test_panels_name_the_methods():
    interval = mean_interval([1.0, 2.0])
    figure = figures.gain_panels({"a": {"kmm": interval}, "b": {"kmm": interval}}, xlabel="points")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["KMM"]
    plt.close(figure)
