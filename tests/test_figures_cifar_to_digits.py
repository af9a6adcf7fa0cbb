"""Tables behind the figures and laboratories of the chapter from CIFAR-10 to digits in colour."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tlutils.figures import cifar_to_digits as figures
from tlutils.repeats import Interval


def test_results_come_one_per_seed_in_order():
    results = [{"seed": s, "way": w, "accuracy": s + len(w)} for s in (2, 0, 1) for w in ("a", "bb")]
    assert figures.by_seed(results, way="bb").tolist() == [2, 3, 4]
    with pytest.raises(ValueError, match="0 cases agree"):
        figures.by_seed(results, way="c")
    with pytest.raises(ValueError, match="6 cases agree"):
        figures.by_seed(results)


def test_ladder_draws_the_ways_and_their_gains():
    accuracies = {"full": {1: np.array([0.3, 0.5]), 5: np.array([0.6, 0.7])},
                  "scratch": {1: np.array([0.2, 0.2]), 5: np.array([0.7, 0.8])}}  # fmt: skip
    figure = figures.ladder((1, 5), accuracies, mark=0.827)
    above, below = figure.axes
    assert [line.get_label() for line in below.lines if not line.get_label().startswith("_")] == ["full"]
    assert below.lines[0].get_ydata() == pytest.approx([0.2, -0.1])
    assert [label.get_text() for label in below.get_xticklabels()] == ["1", "5"]
    assert any("82.70" in text.get_text() for text in above.texts)
    plt.close(figure)


def test_digit_lab_names_the_best_and_the_worst_digit():
    recall = np.tile(np.linspace(0.1, 0.9, 10), (2, 1))
    lab = figures.digit_lab((1, 5), {"full": {1: recall, 5: recall[:, ::-1]}})
    assert lab["describe"](budget=1) == "1 label per class. full: best at 9 (90 %), worst at 0 (10 %)."
    assert "best at 0" in lab["describe"](budget=5)
    assert lab["start"] == {"budget": 5}
    figure = lab["draw"](budget=5)
    assert figure.axes[0].lines[0].get_ydata()[0] == pytest.approx(0.9)
    plt.close(figure)


def test_scale_lab_compares_both_statistics():
    means = {"source": 0.2, "re-estimated": 0.4}
    accuracies = {(name, scale): {1: Interval(m, m - 0.1, m + 0.1, 5)}
                  for name, m in means.items() for scale in ("own", "bytes")}  # fmt: skip
    lab = figures.scale_lab((1,), accuracies, start="bytes")
    assert lab["scale"] == ["own", "bytes"]
    assert lab["start"] == {"scale": "bytes"}
    assert "20 % with the source's statistics and 40 %" in lab["describe"](scale="bytes")
    figure = lab["draw"](scale="own")
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0.2, 0.4]
    plt.close(figure)
