"""The curves over steps and the laboratory of the chapter `what_transfers` show what they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from tlutils.figures import what_transfers as figures

NAMES = {"scratch": "from scratch", "backbone": "transferred"}
STEPS = (0, 30)
READ = {"scratch": [7] * 10, "backbone": [*range(9), 3]}


def seed(shift=0.0):
    """Return what is stored of one seed: two budgets, two looks; `shift` is added to every accuracy."""
    after = {"scratch": {"1": (0.1, 0.2), "5": (0.1, 0.4)}, "backbone": {"1": (0.1, 0.5), "5": (0.1, 0.75)}}
    return {
        "curves": {
            start: {k: [[accuracy + shift, READ[start]] for accuracy in looks] for k, looks in by.items()}
            for start, by in after.items()
        }
    }


def test_intervals_are_in_percent_and_over_seeds():
    first, last = figures.step_intervals([seed(), seed(0.02)], "backbone", 5)
    assert first.mean == pytest.approx(11)
    assert last.mean == pytest.approx(76)
    # Two values 2 points apart: s / √2 = 1, and the 0.975 quantile of Student's t at one degree is 12.706.
    assert last.high - last.mean == pytest.approx(12.706, abs=0.001)
    assert last.n == 2


def test_seeds_that_looked_after_other_numbers_of_steps_are_refused():
    short = seed()
    short["curves"]["scratch"]["5"].pop()
    with pytest.raises(ValueError, match="shorter"):
        figures.step_intervals([seed(), short], "scratch", 5)


def test_a_curve_per_start_over_the_steps():
    figure, ax = plt.subplots()
    assert figures.draw_steps(ax, [seed(), seed()], NAMES, STEPS, 5) is ax
    assert [line.get_label() for line in ax.lines] == ["from scratch", "transferred"]
    assert [line.get_xdata().tolist() for line in ax.lines] == [[0, 30]] * 2
    assert np.allclose([line.get_ydata() for line in ax.lines], [[10, 40], [10, 75]])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("training steps", "accuracy in %")
    assert ax.get_ylim() == (0, 100)
    plt.close(figure)


def test_the_lab_shows_answers_and_place_on_the_curve():
    lab = figures.steps_lab([seed(), seed()], NAMES, STEPS, np.zeros((10, 4, 4)))
    assert (lab["k"], lab["steps"]) == ([1, 5], [0, 30])
    assert lab["start"]["k"] in lab["k"]
    assert lab["start"]["steps"] in lab["steps"]
    said = lab["describe"](k=5, steps=30)
    assert said == "5 labels per class, 30 steps: transferred 75 %, from scratch 40 % of the test digits."
    figure = lab["draw"](k=1, steps=30)
    top, bottom = figure.axes
    shown = [text.get_text() for text in top.texts]
    assert shown[:11] == ["from scratch", *(f"({7})" if digit != 7 else "7" for digit in range(10))]
    assert shown[11:] == ["transferred", *map(str, range(9)), "(3)"]
    assert np.allclose(bottom.lines[1].get_ydata(), [10, 50])
    assert bottom.lines[-1].get_xdata() == [30, 30]
    plt.close(figure)
