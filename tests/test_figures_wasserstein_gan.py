"""Figures of the chapter `wasserstein_gan` show what they are given, and the laboratory keeps its axes."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from tlutils.figures import wasserstein_gan as figures
from tlutils.repeats import Interval


@pytest.fixture(autouse=True)
def clean():
    with mpl.rc_context():
        yield
        plt.close("all")


def test_the_lab_marks_the_shift_on_both_curves():
    lab = figures.saturation_lab(
        lambda shift, thickness: (shift * thickness, thickness), [0.0, 1.0, 2.0], [0.1, 0.5]
    )
    figure = lab["draw"](2.0, 0.5)
    marks = [line for line in figure.axes[1].lines if line.get_marker() in "os"]
    assert [float(np.ravel(line.get_ydata())[0]) for line in marks] == [2.0, 1.0]
    assert "Shift 2, thickness 0.5: Jensen–Shannon 1.000" in lab["describe"](2.0, 0.5)
    assert "with a kink" in lab["describe"](0.0, 0.1)
    assert lab["start"] == {"shift": 2.0, "thickness": 0.1}


def test_the_shaded_area_is_the_work():
    figure = figures.plan_of_piles([0, 1, 2], [1, 0, 0], [0, 0, 1], [(0, 2, 1.0)])
    steps = [line.get_ydata() for line in figure.axes[1].lines]
    assert steps[0].tolist() == [0, 1, 1, 1, 1]
    assert steps[1].tolist() == [0, 0, 0, 1, 1]


def test_depth_draws_powers_of_ten():
    result = {"method": "clipped", "slopes": [1e-4, 1.0], "weights": [0.25, 0.75]}
    figure = figures.depth([result, result | {"slopes": [1e-2, 1.0]}])
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([-3.0, 0.0])
    assert figure.axes[1].lines[0].get_ydata().tolist() == [25.0, 75.0]


def test_estimates_are_shares_of_the_exact_distance():
    result = {"method": "spectral", "toy": "4", "exact": 4.0, "looks": [[10, 1.0, 0.9], [20, 3.0, 1.0]]}
    grid = result | {"toy": "grid"}
    figure = figures.estimates([result, grid], ["4", "grid"], ["spectral"])
    assert figure.axes[0].lines[0].get_ydata().tolist() == [0.25, 0.75]
    assert [ax.get_title() for ax in figure.axes] == ["shift 4", "grid, cloud"]


def test_modes_draw_a_stroke_for_each_seed_beside_its_interval():
    figure = figures.modes(
        {"a": Interval(5, 4, 6, 2), "b": Interval(9, 8, 10, 2)}, {"a": [4, 6], "b": [8, 10]}
    )
    strokes = [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert [line.get_xdata().tolist() for line in strokes] == [[8, 10], [4, 6]]
    assert [float(line.get_ydata()[0]) for line in strokes] == pytest.approx([-0.22, 0.78])


def test_one_panel_a_method():
    figure = figures.grid_samples({"a": np.zeros((3, 2)), "b": np.ones((3, 2))}, np.zeros((25, 2)))
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]


def test_the_second_view_is_in_seconds():
    curves = {"DCGAN": [{"10": 4.0, "20": 2.0}, {"10": 6.0, "20": 3.0}]}
    figure = figures.two_views(curves, {"DCGAN": 0.5}, 1.0)
    assert figure.axes[0].lines[0].get_xdata().tolist() == [10, 20]
    assert figure.axes[1].lines[0].get_xdata().tolist() == [5.0, 10.0]
    assert figure.axes[0].lines[0].get_ydata().tolist() == [5.0, 2.5]


def test_rows_of_images_keep_their_names():
    figure = figures.painted({"a": np.zeros((3, 4, 4)), "b": np.ones((3, 4, 4))})
    assert [ax.get_ylabel() for ax in figure.axes] == ["a", "b"]
    assert figure.axes[0].images[0].get_array().shape == (4, 12)
