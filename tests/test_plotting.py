"""Figures draw what they are given; colours can be told apart."""

from itertools import pairwise

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from tlutils import plotting
from tlutils.repeats import Interval


def test_style_is_set_only_when_asked_and_shows_on_dark_pages():
    assert not plt.rcParams["figure.constrained_layout.use"], "importing sets nothing"
    plotting.use_style()
    assert plt.rcParams["savefig.facecolor"] == "white"


def test_interval_curves_draw_means_and_bands():
    _, ax = plt.subplots()
    curves = {
        "a": [Interval(1.0, 0.5, 1.5, 5), Interval(2.0, 1.5, 2.5, 5)],
        "b": [Interval(0.0, -1.0, 1.0, 5), Interval(1.0, 0.0, 2.0, 5)],
    }
    plotting.interval_curves(ax, [1, 10], curves, xlabel="labels", ylabel="accuracy / %")
    assert [line.get_ydata().tolist() for line in ax.lines] == [[1.0, 2.0], [0.0, 1.0]]
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (0.5, 2.5)
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in ax.lines}
    assert len({marker for _, marker, _ in looks}) == len({dash for *_, dash in looks}) == 2
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_interval_bars_put_the_first_on_top():
    _, ax = plt.subplots()
    plotting.interval_bars(ax, {"a": Interval(1, 0, 2, 3), "b": Interval(3, 2, 4, 3)}, xlabel="gain / points")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"]
    assert ax.get_yticks()[0] > ax.get_yticks()[1]
    assert ax.lines[0].get_xdata().tolist() == [0, 2]


def test_percent_axis_shows_fractions_as_percent():
    _, ax = plt.subplots()
    plotting.percent_axis(ax.yaxis)
    assert ax.yaxis.get_major_formatter()(0.875, 0) == "87.5"


@pytest.mark.parametrize("shape", [(3, 8, 8), (3, 1, 8, 8), (3, 3, 8, 8)])
def test_image_grid_takes_grey_and_colour(shape):
    figure = plotting.image_grid({"one": np.random.default_rng(0).random(shape), "two": np.zeros(shape)})
    assert len(figure.axes) == 6
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape == ((8, 8, 3) if shape[1:2] == (3,) and len(shape) == 4 else (8, 8))


def test_confusion_writes_the_counts():
    _, ax = plt.subplots()
    plotting.confusion(ax, np.array([[8, 2], [0, 5]]), ["cat", "dog"])
    assert sorted(text.get_text() for text in ax.texts) == ["2", "5", "8"]
    assert ax.images[0].get_array().tolist() == [[0.8, 0.2], [0.0, 1.0]]


def test_confusion_of_a_class_without_examples_is_blank():
    _, ax = plt.subplots()
    plotting.confusion(ax, np.array([[1, 0], [0, 0]]), ["cat", "dog"])
    assert np.isfinite(ax.images[0].get_array()).all()


def test_points_tell_classes_and_domains_apart():
    _, ax = plt.subplots()
    x, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    plotting.points(ax, x, y, label="source")
    plotting.points(ax, x, y, label="target", filled=False)
    assert [c.get_label() for c in ax.collections] == [
        "source, class 0", "source, class 1", "target, class 0", "target, class 1"]  # fmt: skip
    assert ax.collections[2].get_facecolors().size == 0


def test_colours_differ_in_luminance():
    # Grey print and any colour blindness keep luminance; neighbours in the cycle must differ in it.
    colours = [mpl.colors.to_rgb(colour) for colour in plotting.COLOURS.values()]
    luminance = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in colours]
    assert all(abs(a - b) > 0.04 for a, b in pairwise(luminance))


def test_answers_put_wrong_ones_in_brackets():
    _, ax = plt.subplots()
    plotting.answers(ax, np.zeros((3, 4, 4)), [7, 8, 9], {"student": [7, 3, 9]})
    assert [text.get_text() for text in ax.texts] == ["student", "7", "(3)", "9"]
    assert ax.texts[2].get_color() != ax.texts[1].get_color()
    assert ax.images[0].get_array().shape == (4, 12)


def test_uneven_axis_marks_the_values_and_no_others():
    _, ax = plt.subplots()
    plotting.uneven_axis(ax.xaxis, [0, 1, 3, 10])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1", "3", "10"]
    assert len(ax.get_xticks(minor=True)) == 0
    ends = ax.transData.transform([(0, 0), (1, 0), (3, 0), (10, 0)])[:, 0]
    assert max(np.diff(ends)) < 4 * min(np.diff(ends))


def test_value_matrix_writes_every_number():
    ax = plotting.value_matrix(
        np.array([[0.0, 1.5], [-0.01, 2.0]]), ["a", "b"], vmax=2, xlabel="x", ylabel="y"
    )
    assert [text.get_text() for text in ax.texts] == ["0.00", "1.50", "−0.01", "2.00"]
    assert [text.get_color() for text in ax.texts] == ["black", "white", "black", "white"]


def test_interval_panels_draw_one_panel_per_unit():
    interval = Interval(1.0, 0.5, 1.5, 5)
    figure = plotting.interval_panels({"points": {"a": interval, "b": interval}, "share": {"a": interval}})
    assert [ax.get_xlabel() for ax in figure.axes] == ["points", "share"]
    assert [len(ax.get_yticks()) for ax in figure.axes] == [2, 1]


def test_two_sample_panels_draw_shares_below_each_level():
    alarms = np.array([[0.2, 0.0], [0.6, 0.0]])
    figure = plotting.two_sample_panels(alarms, np.array([10, 20]), np.full((3, 2), 0.5), np.ones((3, 2)))
    held_out = figure.axes[0].lines[0]
    assert held_out.get_xdata().tolist() == [0, 0.2, 0.6, 1]
    assert held_out.get_ydata().tolist() == [0, 0.5, 1, 1]
    assert len(figure.axes[1].lines) == 3, "one curve per seed"


def test_drop_panels_leave_out_the_diagonal():
    distance = np.array([[9.0, 1.0], [2.0, 9.0]])
    figure = plotting.drop_panels({"pixels": distance, "features": distance}, distance / 10, ["a", "b"])
    dots = np.concatenate([dots.get_offsets() for dots in figure.axes[0].collections])
    assert dots.tolist() == [[1.0, 0.1], [2.0, 0.2]]
    assert len(figure.axes) == 2


@pytest.mark.parametrize("kind", ["covariate", "label", "concept"])
def test_a_laboratory_measures_no_shift_as_no_shift(kind):
    lab = plotting.shift_lab(kind)
    assert lab["start"]["shift"] in lab["shift"]
    _, bars = plotting.measure_toy(kind, 0.0)
    assert abs(bars["source error"] - bars["target error"]) < 0.04
    assert bars["discrepancy"] < 0.05
    assert lab["describe"](0.0).startswith(lab["names"]["shift"])
    figure = lab["draw"](lab["start"]["shift"])
    assert len(figure.axes[1].patches) == len(bars)


def test_the_laboratory_of_the_bound_says_when_it_is_vacuous():
    lab = plotting.bound_lab(lambda shift, _: (0.1, shift, 0.2, 0.05))
    assert "0.10 + 0.50 + 0.20 = 0.80, not vacuous" in lab["describe"](0.5, "kept")
    assert "= 1.30, vacuous" in lab["describe"](1.0, "kept")
    widths = [patch.get_width() for patch in lab["draw"](0.5, "kept").axes[1].patches]
    assert widths == pytest.approx([0.1, 0.5, 0.2, 0.05])


def test_label_worth_points_from_each_budget_to_its_equal():
    scratch = [Interval(0.5, 0.4, 0.6, 5), Interval(0.9, 0.8, 1.0, 5)]
    figure = plotting.label_worth([1, 100], scratch, {0: (0.6, 5.0), 5: (0.8, 50.0)})
    arrows = [(arrow.xyann, arrow.xy) for arrow in figure.axes[0].texts]
    assert arrows == [((0.5, 0.6), (5.0, 0.6)), ((5, 0.8), (50.0, 0.8))]
    assert figure.axes[0].get_xscale() == "log"


def test_the_laboratory_of_the_ways_shows_every_way_and_rings_the_chosen_one():
    places = {(k, way): (0.9, 0.5 + k / 100) for k in (1, 5) for way in ("frozen", "everything")}
    lab = plotting.ways_lab(places, dict.fromkeys(places, np.eye(3, dtype=int)))
    assert (lab["labels"], lab["way"]) == ([1, 5], ["frozen", "everything"])
    assert (
        lab["describe"](5, "frozen")
        == "frozen, 5 labels per class: 55.0 % on the target, 90.0 % on the source."
    )
    left = lab["draw"](1, "everything").axes[0]
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["frozen", "everything"]
    assert left.lines[-1].get_ydata() == [0.51]
