"""Figures of the chapter `mmd` show the samples that they are given, on comparable axes."""

import numpy as np

from tlutils.figures import mmd as figures


def test_clouds_share_their_axes_and_the_background():
    samples = {name: np.full((3, 2), i) for i, name in enumerate("abc")}
    figure, axes = figures.clouds(samples, columns=2, background=np.zeros((5, 2)))
    assert axes.shape == (2, 2)
    assert [ax.get_title() for ax in axes.flat] == ["a", "b", "c", ""]
    assert [len(ax.collections) for ax in axes.flat] == [2, 2, 2, 0]
    assert len({ax.get_xlim() for ax in figure.axes}) == 1
    _, axes = figures.clouds(samples, columns=3)
    assert len({tuple(ax.collections[0].get_facecolor()[0]) for ax in axes.flat}) == 3


def test_height_map_is_white_at_zero_and_shows_the_samples():
    line = np.linspace(-1, 1, 5)
    ax = figures.height_map(
        line, np.outer(line, line), {"a": np.zeros((2, 2)), "b": np.ones((3, 2))}, label="f"
    )
    levels = ax.collections[0].levels
    assert levels.max() == -levels.min() == 1
    assert [len(points.get_offsets()) for points in ax.collections[1:]] == [2, 3]


def test_curve_over_samples_has_a_row_of_ticks_per_sample():
    samples = {"source": np.zeros((4, 1)), "target": np.ones((2, 1))}
    figure = figures.curve_over_samples(np.arange(3.0)[:, None], np.array([0, 1, 0]), samples, ylabel="f")
    curve, *rows = figure.axes[0].lines
    assert curve.get_xdata().tolist() == [0, 1, 2]
    assert [len(row.get_xdata()) for row in rows] == [4, 2]
    assert [text.get_text() for text in figure.axes[0].texts] == ["source", "target"]
