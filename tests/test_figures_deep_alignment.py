"""Figures of the chapter `deep_alignment` show what they are given, and the laboratory keeps its axes."""

import numpy as np
import pytest
import torch

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


def test_the_digits_5_to_9_weigh_their_share():
    """By hand: 8 of 10 zeros and 5 of 10 fives are right; at weight 0.2 that is (8 + 1) of (10 + 2)."""
    confusion = np.zeros((10, 10), dtype=int)
    confusion[0, :2], confusion[5, 4:6] = (8, 2), (5, 5)
    results = [
        {"share": 0.2, "trade_off": 3.0, "confusion": confusion.tolist()},
        {"share": 1.0, "trade_off": 0.0, "confusion": confusion.tolist()},
        {"share": 1.0, "trade_off": 3.0, "confusion": (2 * confusion).tolist()},
    ]
    assert figures.thinned_accuracy(results, 0.2, 3.0) == pytest.approx([9 / 12])
    # Without a pull there is one training, whatever the target has lost; only the weights change.
    assert figures.thinned_accuracy(results, 0.2, 0.0) == pytest.approx([9 / 12])
    assert figures.thinned_accuracy(results, 1.0, 3.0) == pytest.approx([13 / 20])


def test_the_plane_is_one_for_all_looks_and_separates_the_source_s_classes():
    random, labels = torch.Generator().manual_seed(0), torch.arange(3).repeat(40)
    source = 5 * torch.eye(8)[labels] + torch.randn(120, 8, generator=random)
    target = torch.randn(7, 8, generator=random)
    looks = figures.onto_plane([(source, target), (source + 0.5, target)], labels, num_shown=100)

    first, second = looks
    assert [len(part) for part in first] == [100, 7]
    assert second[1] == first[1]  # the same points in the same plane
    moved = np.array(second[0]) - np.array(first[0])
    assert np.abs(moved - moved[0]).max() < 0.02  # one shift for all; both are rounded to 0.01
    means = [np.mean([p for p, y in zip(first[0], labels, strict=False) if y == c], axis=0) for c in range(3)]
    assert min(np.linalg.norm(means[a] - means[b]) for a, b in ((0, 1), (0, 2), (1, 2))) > 3
