"""Figures of the chapter `fine_tuning_on_gpu` show what they are given."""

import numpy as np
import torch

from tlutils.figures import fine_tuning_on_gpu as figures
from tlutils.training_memory import MemoryBill


def test_rates_are_those_of_the_schedulers():
    schedules = {
        "flat": lambda optimizer, _: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0),
        "halved": lambda optimizer, n: torch.optim.lr_scheduler.MultiStepLR(optimizer, [n // 2], gamma=0.5),
    }
    ax = figures.rate_curves(schedules, num_steps=4, rate=0.1).axes[0]
    assert [list(line.get_ydata()) for line in ax.lines] == [[0.1] * 4, [0.1, 0.1, 0.05, 0.05]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["flat", "halved"]


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


def test_the_surest_mistakes_stand_beside_the_matrix():
    images = torch.linspace(0, 1, 4)[:, None, None, None].expand(4, 3, 2, 2)
    labels, predictions = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])
    confidence = torch.tensor([0.99, 0.7, 0.9, 0.99])
    figure = figures.mistakes(images, labels, predictions, confidence, ["ants", "bees"])
    assert [ax.get_title() for ax in figure.axes[1:]] == ["ants? 90 %", "bees? 70 %"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["ants", "bees"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["1"] * 4
    assert np.allclose(figure.axes[1].images[0].get_array(), 2 / 3)


def test_a_large_matrix_has_its_mistakes_in_two_columns():
    images, labels = torch.zeros(6, 3, 2, 2), torch.arange(6)
    figure = figures.mistakes(images, labels, labels.flip(0), torch.ones(6), list("abcdef"))
    matrix, *photographs = figure.axes
    assert [text.get_rotation() for text in matrix.get_xticklabels()] == [90] * 6
    assert {ax.get_subplotspec().colspan.start for ax in photographs} == {4, 5}
    assert photographs[0].get_title() == "f? 100 %"


def test_a_table_of_costs_is_text():
    rows = [
        {"name": "plain", "step_s": 0.5, "first_step_s": 1.25, "peak_bytes": 3_000_000, "skipped": ""},
        {"name": "compiled", "step_s": None, "first_step_s": None, "peak_bytes": None, "skipped": "no g++"},
    ]
    lines = figures.cost_lines(rows, "switch").splitlines()
    assert lines[0].split() == ["switch", "s", "a", "step", "first", "step", "peak", "MB"]
    assert lines[1].split() == ["plain", "0.50", "1.2", "3"]
    assert lines[2].split() == ["compiled", "no", "g++"]


def test_trainings_of_one_way_are_averaged():
    def training(way, losses, accuracies, accuracy):
        looks = zip(losses, accuracies, strict=True)
        history = [{"train loss": loss, "accuracy": a} for loss, a in looks]
        return {"way": way, "history": history, "accuracy": accuracy}

    results = [
        training("loaded", (1.0, 0.5), (0.5, 0.75), 0.72),
        training("loaded", (2.0, 0.7), (0.7, 0.85), 0.76),
        training("once", (3.0, 3.0), (0.1, 1.0), 0.1),
    ]
    lines = figures.training_lines(results).splitlines()
    assert " ".join(lines[0].split()) == "training loss by epoch held out, in % test, in %"
    assert lines[1].split() == ["loaded", "1.50", "0.60", "60", "80", "74", "[49,", "99]"]
    assert lines[2].split() == ["once", "3.00", "3.00", "10", "100", "10,", "trained", "once"]
    starts = ("held", " 60  80", " 10 100")
    assert [line.index(start) for line, start in zip(lines, starts, strict=True)] == [32] * 3


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
