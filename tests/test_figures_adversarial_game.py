"""Figures of the chapter `adversarial_game` show what they are given, and the laboratory keeps its axes."""

import numpy as np
import torch

from tlutils.figures import adversarial_game as figures
from tlutils.generative import AdversarialHistory
from tlutils.repeats import Interval


def test_packing_and_unpacking():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(figures.unpacked(figures.packed(array), 2, 3), array)
    assert figures.unpacked(figures.packed([1, 255], "uint8"), dtype="uint8").tolist() == [1, 255]


def test_results_are_sorted_by_case():
    results = [{"case": c, "x": x} for c, x in (("b", 1), ("a", 2), ("b", 3))]
    found = figures.by_case(results, "x")
    assert [*found] == ["b", "a"]
    assert found["b"].tolist() == [1, 3]


def test_a_stored_game_becomes_a_history():
    stored = {
        "share_right": figures.packed([0.5, 1]),
        "generator_gradient": figures.packed([2]),
        "diversity": [0.1],
    }
    history = figures.history_of(stored)
    assert history.share_right == [0.5, 1.0]
    assert history.generator_gradient == [2.0]
    assert history.watched == {"diversity": [0.1]}


def test_a_table_has_a_row_per_name():
    text = figures.table({"one": {"m": Interval(1.0, 0.5, 1.5, 3)}}, {"m": ".1f"})
    assert text.splitlines()[0].split() == ["m"]
    assert text.splitlines()[1].split() == ["one", "1.0", "[0.5,", "1.5]"]


def test_gaps_are_distances_to_the_nearest():
    real = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert figures.gaps(real, torch.tensor([[3.0, 4.0], [0.0, 2.0]])).tolist() == [0.0, 2.0]


def test_lists_and_counts():
    assert figures.listed({"a": 1.25, "b": 2.0}, "+.1f").split() == ["a", "+1.2", "b", "+2.0"]
    assert figures.counted([["x"], ["y", "x"]]) == "x 2, y 1"
    assert figures.counted([[], []]) == "none"


def test_one_dimension():
    x, scores = torch.linspace(-3, 3, 5), np.zeros((2, 5))
    real, generated = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(1.0, 1.0)
    figure = figures.one_dimension(x, real, generated, scores, np.full((2, 4, 2), -1.0))
    assert len(figure.axes) == 3
    assert all((line.get_ydata() >= 0).all() for line in figure.axes[2].lines if len(line.get_ydata()))


def test_flip_draws_both_losses_twice():
    x = np.linspace(0, 1, 4)
    figure = figures.flip(x, {"a": x, "b": x}, x, {"a": x, "b": x})
    assert [len(ax.lines) for ax in figure.axes] == [2, 2]


def look(step):
    return {"round": step, "points": figures.packed(np.zeros((3, 2))), "scores": figures.packed(np.eye(31)),
            "modes": 1, "good": 0.5, "distance": 0.25}  # fmt: skip


def test_the_laboratory_of_the_ring():
    lab = figures.ring_lab([look(10), look(20)])
    assert lab["step"] == [10, 20]
    assert lab["start"] == {"step": 20}
    assert "1 of 8 modes covered, 50 %" in lab["describe"](10)
    assert lab["draw"](10).axes[0].get_xlim() == (-3, 3)


def test_the_gallery_has_a_row_per_game():
    history = AdversarialHistory(
        share_right=[0.5] * 100, generator_gradient=[1.0] * 100, watched={"diversity": [1.0, 0.9]}
    )
    figure = figures.gallery({"healthy": history, "mode collapse": history})
    assert len(figure.axes) == 6
    assert figure.axes[3].get_ylabel() == "mode\ncollapse"
    assert figure.axes[2].get_title() == "diversity"


def test_strips_show_one_row_or_several_under_a_name():
    images = np.arange(12.0)[:, None, None].repeat(4, axis=1).repeat(3, axis=2)
    assert [ax.get_title(loc="left") for ax in figures.strips({"a": images, "b": images}).axes] == ["a", "b"]
    (ax,) = figures.strips({"a": np.stack([images, images + 100])}).axes
    shown = ax.images[0].get_array()
    assert shown.shape == (8, 36)
    assert shown[::4, ::3].tolist() == [list(range(12)), list(range(100, 112))]
