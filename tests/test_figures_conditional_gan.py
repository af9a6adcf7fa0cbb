"""The figures and laboratories of the chapter `conditional_gan` draw what they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

from tlutils.domains import Labelled
from tlutils.figures import conditional_gan as figures
from tlutils.generative import Generator
from tlutils.models import Classifier
from tlutils.repeats import mean_interval


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def reader():
    """Read the class off the first ten pixels."""

    class First(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :10]

    return Classifier(First(), nn.Identity())


def walk(position, what):
    """Draw one bright pixel: the class of the row, or past the middle of a walk of classes the next one."""
    shift = int(what == "class" and position > 0.5)
    images = torch.zeros(10, 8, 256)
    images[torch.arange(10), :, (torch.arange(10) + shift) % 10] = 1.0
    return images.view(10, 8, 16, 16)


def test_sample_rows_are_named():
    rows = {"one": torch.rand(10, 1, 16, 16), " ": torch.rand(10, 1, 16, 16)}
    ax = figures.sample_rows(rows).axes[0]
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["one", ""]
    assert ax.images[0].get_array().shape == (2 * 17, 10 * 17)


def test_the_surest_image_of_each_class():
    x = torch.zeros(20, 1, 16, 16)
    x.flatten(1)[torch.arange(20), torch.arange(20) % 10] = torch.arange(1.0, 21.0) / 21
    x[0] = 0.0
    x.flatten(1)[0, 0] = 1.0  # the reader is surer of this one than of the other 0
    found = figures.surest(reader(), Labelled(x, torch.arange(20) % 10, 10))
    assert torch.equal(found, x[[0, *range(11, 20)]])


@pytest.mark.parametrize("seeds", [1, 3])
def test_obedience_has_a_line_for_each_training(seeds):
    shares = [[0.1, 0.5], [0.2, 0.6], [0.1, 0.7]][:seeds]
    ax = figures.obedience({"blind": ([100, 200], shares), "projection": ([100, 200], shares)}).axes[0]
    assert [line.get_label() for line in ax.lines[:2]] == ["blind", "projection"]
    assert ax.lines[0].get_ydata().tolist() == pytest.approx(np.mean(shares, axis=0).tolist())


def test_budgets_show_accuracy_and_gain():
    accuracy = {"plain": {1: np.array([0.4, 0.5]), 5: np.array([0.6, 0.7])}}
    gains = {1: mean_interval([1.0, 2.0]), 5: mean_interval([0.0, 0.5])}
    left, right = figures.budgets(accuracy, gains).axes
    assert left.lines[0].get_ydata().tolist() == pytest.approx([0.45, 0.65])
    assert right.lines[0].get_ydata().tolist() == pytest.approx([1.5, 0.25])


def test_tables_hold_means_and_intervals():
    result = dict.fromkeys(figures.COLUMNS, 0.5)
    text = figures.way_table({"projection": [result, {**result, "recall": 0.7}]}, {"cheat": result})
    head, way, cheat = text.splitlines()
    assert head.split()[:1] == ["recognised"]
    assert "0.600 ±1.27" in way  # 0.6, and 12.7 times the standard error 0.1
    assert way.split()[1:3] == ["0.500", "±0.00"]
    assert cheat.split() == ["cheat", "0.500", "0.500", "0.5", "0.500", "0.500", "0.500"]
    few = figures.way_table({}, {"cheat": {"pooled": 0.25, "recall": 0.25}}, ("pooled", "recall"))
    assert few.split() == ["pooled", "recall", "cheat", "0.2", "0.250"]
    accuracy = {"plain": {1: np.array([0.4, 0.5]), 5: np.array([0.6, 0.7])}}
    gain = {"gain": {1: mean_interval([1.0, 1.0]), 5: mean_interval([-2.0, -2.0])}}
    head, one, five = figures.budget_table(accuracy, gain).splitlines()
    assert head.split() == ["labels", "plain", "gain"]
    assert one.split() == ["1", "45.0", "%", "+1.0", "[+1.0,", "+1.0]"]
    assert five.split() == ["5", "65.0", "%", "-2.0", "[-2.0,", "-2.0]"]


@pytest.mark.parametrize(("own", "expected"), [(False, 1.0), (True, 0.1)])
def test_the_share_of_the_content(own, expected):
    """All classes use the same entry of the noise, or each class its own."""

    class Ink(Generator):
        def forward(self, z, y):
            return z[torch.arange(len(z)), y if own else 0 * y].view(-1, 1, 1, 1)

    share = figures.content_share(Ink(nn.Linear(1, 1), num_latent=10), num_contents=2000, seed=0)
    assert share == pytest.approx(expected, abs=0.02)


def test_the_walk_says_what_is_read():
    real = torch.zeros(2, 1, 16, 16)
    real[1, 0, 0, 0] = 1.0  # the nearest to the images of class 0; the others lie 1 from the dark one
    lab = figures.walk_lab(walk, reader(), real)
    assert lab["describe"](0.25, "noise").endswith("nearest training image they are 0.9 away on average.")
    assert "100 % of the images are read as the class of their row" in lab["describe"](0.5, "noise")
    assert "0 % are still read as the class of their row, 100 %" in lab["describe"](0.75, "class")
    assert lab["draw"](0.5, "class").axes[0].images[0].get_array().shape == (170, 136)


def test_the_walks_are_read_for_each_generator():
    two = [Generator(nn.Linear(1, 1), 1)] * 2
    kept, half = figures.walk_readings(lambda t, what, _: walk(t + 0.1, what), reader(), two)
    assert kept.tolist() == [[1.0] * 9] * 2
    assert half.tolist() == [[0.0, 1.0]] * 2


def test_the_nearest_real_image_and_how_far_it_is():
    real = torch.stack([torch.zeros(1, 16, 16), torch.ones(1, 16, 16)])
    pairs = torch.zeros(10, 2, 1, 16, 16)
    pairs[:, 1] = 0.75
    rows = figures.beside_nearest({"one": pairs, "two": pairs[:, 1:]}, real)
    names = ["one", "nearest to it", "", "nearest to it", "two", "nearest to it"]
    assert [name.strip() for name in rows] == names
    assert [images.mean().item() for images in rows.values()] == [0.0, 0.0, 0.75, 1.0, 0.75, 1.0]
    gaps = figures.nearest_gaps(real, {"second": pairs[:, 1], "first": pairs[:2, 0]})
    assert gaps == {"second": (4.0, 4.0, 4.0), "first": (0.0, 0.0, 0.0)}


def test_what_patience_changed_is_said():
    gain = {10: mean_interval([-2.0, -2.0])}
    before, later = ({10: [{"recognised": share, "distance": 1.25}]} for share in (0.5, 0.9))
    text = figures.patience_lines(before, later, gain, gain)
    assert "recognised 50 % → 90 %, gain -2.0 [-2.0, -2.0] → -2.0" in text
    assert text.endswith("1.25")


def test_the_budget_lab_shows_the_nearest_given_image():
    x = torch.zeros(20, 1, 16, 16)
    x[1::2] = 1.0  # of each class one black and one white image
    given = {"2": Labelled(x, torch.arange(10).repeat_interleave(2), 10)}
    samples = torch.full((10, 4, 256), 14).flatten().tolist()
    lab = figures.budget_lab({"2": [{"samples": samples, "recognised": 0.5, "distance": 0.25}]}, given)
    sheet = lab["draw"]("2").axes[0].images[0].get_array()
    assert sheet.shape == (6 * 17, 10 * 17)
    assert sheet[4 * 17, 0] == sheet[5 * 17, 0] == 1.0  # nearly white samples lie next to the white image
    assert "Labelled images per class: 2. 50 % of the samples" in lab["describe"]("2")
