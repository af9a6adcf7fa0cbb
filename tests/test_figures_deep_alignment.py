"""Figures of the chapter `deep_alignment` show what they are given, and the laboratory keeps its axes."""

import numpy as np

from tlutils.figures import deep_alignment as figures
from tlutils.repeats import Interval


def training(scale):
    """Return a watched training with two looks; target class means lie `scale` from their source classes."""
    source = np.array([[0.0, 0.0], [0.0, 0.0], [4.0, 0.0], [4.0, 0.0]])
    clouds = [[source.tolist(), (source + np.array([0, size])).tolist()] for size in (scale, scale / 2)]
    look = {"source accuracy": 0.9, "information": 2.0, "test": 0.5}
    return {
        "looks": [{"step": step} | look for step in (0, 10)],
        "distances": [1.0] * 10,
        "labels": {"source": [0, 0, 1, 1], "target": [0, 0, 1, 1]},
        "clouds": clouds,
    }


def test_curves_stand_side_by_side_on_shared_scales():
    figure = figures.curves({"healthy": training(1.0), "sick": training(2.0)})
    assert len(figure.axes) == 6
    assert [ax.get_title() for ax in figure.axes[:2]] == ["healthy", "sick"]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    assert list(figure.axes[2].lines[1].get_ydata()) == [0.5, 0.5]


def test_thinned_draws_the_limit_beside_the_lines():
    lines = {"DAN": [Interval(0.9, 0.8, 1.0, 5), Interval(0.5, 0.4, 0.6, 5)]}
    ax = figures.thinned([1.0, 0.0], lines, [1.0, 0.5]).axes[0]
    assert list(ax.lines[-1].get_ydata()) == [1.0, 0.5]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["1", "0"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["DAN", "limit of perfect alignment"]


def test_the_lab_keeps_its_axes_and_says_how_long_the_lines_are():
    lab = figures.feature_lab({"healthy": training(2.0), "sick": training(8.0)}, every=1)
    assert lab["step"] == [0, 10]
    assert lab["start"] == {"step": 10, "training": "healthy"}
    first, last = (lab["draw"](step=step, training="healthy").axes[0] for step in (0, 10))
    assert first.get_xlim() == last.get_xlim()
    assert first.get_ylim() == last.get_ylim()
    assert "0.50 times" in lab["describe"](step=0, training="healthy")
    assert "2.00 times" in lab["describe"](step=0, training="sick")
    assert "target 50 %" in lab["describe"](step=10, training="healthy")
