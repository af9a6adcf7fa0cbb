"""Figures of the chapter `fine_tuning_on_gpu` show what they are given."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from tlutils.figures import fine_tuning_on_gpu as figures
from tlutils.training_memory import MemoryBill


@pytest.fixture(autouse=True)
def clean():
    with mpl.rc_context():
        yield
        plt.close("all")


def test_rates_are_drawn_per_step():
    ax = figures.rate_curves({"flat": [0.1, 0.1], "falling": [0.1, 0.0]}).axes[0]
    assert [list(line.get_ydata()) for line in ax.lines] == [[0.1, 0.1], [0.1, 0.0]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["flat", "falling"]


def test_curves_show_the_mean_over_seeds():
    def epoch(value):
        return {"train loss": value, "loss": 2 * value, "accuracy": value / 4}

    seeds = [[epoch(1.0), epoch(2.0)], [epoch(3.0), epoch(2.0)]]
    left, right = figures.learning_curves({"scratch": seeds}).axes
    assert [list(line.get_ydata()) for line in left.lines] == [[2.0, 2.0], [4.0, 4.0]]
    assert list(right.lines[0].get_ydata()) == [0.5, 0.5]
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "scratch, training",
        "scratch, validation",
    ]


def test_photographs_stand_beside_the_matrix():
    images = np.zeros((5, 4, 4, 3), dtype=np.uint8)
    figure = figures.looked_at(np.eye(2), ["ants", "bees"], images, [f"number {i}" for i in range(5)])
    assert len(figure.axes) == 6
    assert [ax.get_title() for ax in figure.axes[1:]] == [f"number {i}" for i in range(5)]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["ants", "bees"]


def bills():
    """Return a network of 1 GB of weights, trained with AdamW, with 0.25 GB of activations per image."""
    gigabyte = 10**9
    two, four = (MemoryBill(gigabyte, gigabyte, 2 * gigabyte, n * gigabyte // 4) for n in (2, 4))
    return {"net": (two, four)}


def test_the_lab_adds_up_and_says_what_fits():
    lab = figures.memory_lab(bills(), capacity=15e9, batch_sizes=[2, 32, 64])
    assert lab["images"] == [2, 32, 64]
    assert "12.0 GB, of which 67 % are activations; this fits" in lab["describe"](network="net", images=32)
    assert "20.0 GB" in lab["describe"](network="net", images=64)
    assert "does not fit in 15 GB" in lab["describe"](network="net", images=64)
    ax = lab["draw"](network="net", images=32).axes[0]
    assert [bar.get_width() for bar in ax.patches] == [1.0, 1.0, 2.0, 8.0]
    assert ax.patches[-1].get_x() == 4.0
