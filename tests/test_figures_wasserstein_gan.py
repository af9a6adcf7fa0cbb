"""Figures of the chapter `wasserstein_gan` show what they are given, and the laboratory keeps its axes."""

import numpy as np
import pytest
import torch

from tlutils.figures import wasserstein_gan as figures
from tlutils.models import Classifier
from tlutils.repeats import Interval


def test_the_lab_marks_the_shift_on_both_curves():
    lab = figures.saturation_lab(
        lambda shift, thickness: (shift * thickness, thickness), [0.0, 1.0, 2.0], [0.1, 0.5]
    )
    figure = lab["draw"](2.0, 0.5)
    marks = [line for line in figure.axes[1].lines if line.get_marker() in "os"]
    assert [float(np.ravel(line.get_ydata())[0]) for line in marks] == [2.0, 1.0]
    assert "Shift 2, thickness 0.5: Jensen–Shannon 1.000" in lab["describe"](2.0, 0.5)
    assert "with a kink" in lab["describe"](0.0, 0.1)
    assert lab["start"] == {"shift": 2.0, "thickness": 0.1}


def test_the_shaded_area_is_the_work():
    figure = figures.plan_of_piles([0, 1, 2], [1, 0, 0], [0, 0, 1], [(0, 2, 1.0)])
    steps = [line.get_ydata() for line in figure.axes[1].lines]
    assert steps[0].tolist() == [0, 1, 1, 1, 1]
    assert steps[1].tolist() == [0, 0, 0, 1, 1]


def test_every_move_of_a_plan_is_a_line_as_wide_as_its_mass():
    piles, holes = torch.tensor([[0.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 0.0], [1.0, 2.0], [1.0, 4.0]])
    plan = torch.tensor([[1 / 3, 1 / 6, 0.0], [0.0, 1 / 6, 1 / 3]])
    ax = figures.plan_in_plane(piles, holes, plan).axes[0]
    moves = [(*line.get_ydata(), line.get_linewidth()) for line in ax.lines]
    assert [move[:2] for move in moves] == [(0.0, 0.0), (0.0, 2.0), (2.0, 2.0), (2.0, 4.0)]
    assert moves[0][2] == pytest.approx(2 * moves[1][2])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["pile, 1/2 each", "hole, 1/3 each"]


def test_depth_draws_powers_of_ten():
    result = {"method": "clipped", "slopes": [1e-4, 1.0], "weights": [0.25, 0.75]}
    figure = figures.depth([result, result | {"slopes": [1e-2, 1.0]}])
    assert figure.axes[0].lines[0].get_ydata().tolist() == pytest.approx([-3.0, 0.0])
    assert figure.axes[1].lines[0].get_ydata().tolist() == [25.0, 75.0]


def test_estimates_are_shares_of_the_exact_distance():
    result = {"method": "spectral", "toy": "4", "exact": 4.0, "looks": [[10, 1.0, 0.9], [20, 3.0, 1.0]]}
    grid = result | {"toy": "grid"}
    figure = figures.estimates([result, grid], ["4", "grid"], ["spectral"])
    assert figure.axes[0].lines[0].get_ydata().tolist() == [0.25, 0.75]
    assert [ax.get_title() for ax in figure.axes] == ["shift 4", "grid, cloud"]


def test_modes_draw_a_stroke_for_each_seed_beside_its_interval():
    figure = figures.modes(
        {"a": Interval(5, 4, 6, 2), "b": Interval(9, 8, 10, 2)}, {"a": [4, 6], "b": [8, 10]}
    )
    strokes = [line for line in figure.axes[0].lines if line.get_marker() == "|"]
    assert [line.get_xdata().tolist() for line in strokes] == [[8, 10], [4, 6]]
    assert [float(line.get_ydata()[0]) for line in strokes] == pytest.approx([-0.22, 0.78])


def test_one_panel_a_method():
    figure = figures.grid_samples({"a": np.zeros((3, 2)), "b": np.ones((3, 2))}, np.zeros((25, 2)))
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]


def test_the_second_view_is_in_seconds():
    curves = {"DCGAN": [{"10": 4.0, "20": 2.0}, {"10": 6.0, "20": 3.0}]}
    figure = figures.two_views(curves, {"DCGAN": 0.5}, 1.0)
    assert figure.axes[0].lines[0].get_xdata().tolist() == [10, 20]
    assert figure.axes[1].lines[0].get_xdata().tolist() == [5.0, 10.0]
    assert figure.axes[0].lines[0].get_ydata().tolist() == [5.0, 2.5]


def test_rows_of_images_keep_their_names():
    figure = figures.painted({"a": np.zeros((3, 4, 4)), "b": np.ones((3, 4, 4))})
    assert [ax.get_ylabel() for ax in figure.axes] == ["a", "b"]
    assert figure.axes[0].images[0].get_array().shape == (4, 12)


def test_noise_reaches_the_share_of_the_square_that_lies_near_a_spot():
    found = figures.grid_references(2)
    assert found["real points"][:, 0].tolist() == [25, 25]
    # 9 whole discs, 12 halves and 4 quarters of radius 0.3 lie in the square of side 8
    assert found["even spread"][:, 1].mean() == pytest.approx(16 * np.pi * 0.3**2 / 64, abs=0.01)
    assert (found["real points"][:, 2] < found["even spread"][:, 2]).all()


def test_a_line_on_quality_says_what_was_found(monkeypatch):
    monkeypatch.setattr(figures, "frechet_distance", lambda *_: 7.4)
    reader = Classifier(torch.nn.Flatten(), torch.nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        reader.head.weight.copy_(torch.eye(2))
    real = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 4.0]]).reshape(4, 1, 1, 2)
    text, found = figures.quality_line("the same", reader, real, real)
    assert (found["precision"], found["recall"], found["rarest"], found["commonest"]) == (1, 1, 0.5, 0.5)
    assert text.startswith("the same        Fréchet 7,")
    assert text.endswith("precision 1.00, recall 1.00, classes from 50 to 50 %")


def test_curves_are_sorted_by_game():
    look = {"start": 0.0, "rounds": [2], "began": [4.0], "ended": [5.0], "frechet": [7.0]}
    curves, seconds = figures.curves_and_seconds({("a", 0): look, ("a", 1): look | {"began": [2.0]}})
    assert curves == {"a": [{"2": 7.0}, {"2": 7.0}]}
    assert seconds == {"a": 1.5}


def test_weights_are_counted_at_the_limit_and_biases_are_not():
    layer = torch.nn.Linear(4, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[-0.2, 0.0951, 0.094, 0.0]]))
        layer.bias.fill_(1.0)
    assert figures.share_at_limit(layer, 0.1) == 0.5
