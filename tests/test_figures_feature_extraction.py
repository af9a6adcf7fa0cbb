"""The figures of the chapter `feature_extraction` show what they are given."""

import torch

from tlutils.figures import feature_extraction as figures
from tlutils.layer_table import Layer
from tlutils.repeats import Interval

HALF = Interval(0.5, 0.4, 0.6, 5)
ROWS = [Layer("one", "Conv2d", (4, 8, 8), 10, 30, 5, 1), Layer("two", "Linear", (3,), 30, 10, 8, 2)]


def test_shares_add_up_to_one_in_every_panel():
    figure = figures.cost_shares({"a": ROWS, "b": ROWS})
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]
    widths = [bar.get_width() for bar in figure.axes[1].patches]
    assert widths == [0.25, 0.75, 0.75, 0.25]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["one (5)", "two (8)"]


def test_blocks_end_where_the_resolution_is_halved():
    pool = Layer("pool", "MaxPool2d", (4, 4, 4), 0, 0, 6, 2)
    merged = figures.blocks([ROWS[0], pool, ROWS[0], ROWS[0], pool, ROWS[1]])
    assert [row.name for row in merged] == ["block 1", "block 2", "two"]
    assert [row.kind for row in merged] == ["1×Conv2d", "2×Conv2d", "Linear"]
    assert [row.num_multiply_adds for row in merged] == [30, 60, 10]
    assert merged[1].num_parameters == 20
    assert merged[0].receptive_field == 6


def test_depth_has_a_panel_per_target_and_a_line_per_network():
    curves = {"objects": {"trained": [HALF] * 3, "random": [HALF] * 3}, "digits": {"trained": [HALF] * 3}}
    figure = figures.depth_panels(["a", "b", "c"], curves)
    assert [len(ax.lines) for ax in figure.axes] == [2, 1]
    assert list(figure.axes[0].lines[0].get_ydata()) == [0.5] * 3
    assert [text.get_text() for text in figure.axes[1].get_xticklabels()] == ["a", "b", "c"]


def test_gains_are_in_points():
    figure = figures.gain_panels({"5 labels": {"linear": HALF, "conv": HALF}})
    ax = figure.axes[0]
    assert ax.get_xlabel() == "gain in points, 5 labels"
    assert {tuple(line.get_xdata()) for line in ax.lines[:1]} == {(40.0, 60.0)}


def test_the_lab_draws_the_square_that_a_layer_sees():
    maps = {"one": torch.rand(9, 8, 8), "two": torch.rand(12, 4, 4)}
    lab = figures.layer_lab(torch.rand(3, 32, 32), maps, ROWS, {"one": (0.2, 0.4), "two": (0.5, 0.6)})
    assert lab["part"] == ["one", "two"]
    figure = lab["draw"](part="one")
    [square] = figure.axes[0].patches
    assert (square.get_x(), square.get_width()) == (13.0, 5)
    said = lab["describe"](part="two")
    assert all(part in said for part in ("12 maps of 4×4", "8 pixels across", "50 %", "60 %"))
