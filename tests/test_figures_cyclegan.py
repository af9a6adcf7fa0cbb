"""Figures of the chapter `cyclegan` show what they are given, and the film the round that is asked for."""

import numpy as np
import pytest
import torch
from torch import nn

from tlutils.domains import Labelled
from tlutils.figures import cyclegan as figures
from tlutils.generative import CycleGame, point_critic


def made_up_film():
    """Return images of one class each and a film of two frames: the second has everything right."""
    x = torch.linspace(0, 1, 10)[:, None, None, None].expand(-1, 1, 2, 2)
    frames = [figures.pack(torch.cat([1 - x, 0 * x])), figures.pack(torch.cat([1 - x, x]))]
    return x, {"nothing": {"film": frames, "film_rounds": [5, 10], "second": 0.96}}


def test_images_pass_through_text():
    x = torch.tensor([[0.0, 1.0], [0.2, 0.6]])
    assert torch.allclose(figures.unpack(figures.pack(x), 2, -1), x, atol=1e-6)


def test_a_sheet_has_every_image_in_its_place():
    dark, bright = torch.zeros(3, 1, 4, 4), torch.ones(3, 1, 4, 4)
    ax = figures.sheet({"dark": dark, "bright": bright}, xlabel="three").axes[0]
    picture = ax.images[0].get_array()
    assert picture.shape == (10, 15, 3)
    assert picture[:4, :4].max() == 0
    assert picture[5:9, 5:9].min() == 1
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["dark", "bright"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["0", "1", "2"]
    assert len(figures.sheet({"dark": dark}, columns=()).axes[0].get_xticks()) == 0


def test_colours_stay_colours():
    red = torch.zeros(2, 3, 4, 4)
    red[:, 0] = 1
    picture = figures.sheet({"red": red}).axes[0].images[0].get_array()
    assert picture[0, 0].tolist() == [1, 0, 0]


def test_photos_have_three_channels_and_grey_images_one():
    images = {name: figures.pack(torch.zeros(10, 1, 16, 16)) for name in ("grey", "here")}
    images |= {name: figures.pack(torch.ones(10, 3, 16, 16)) for name in ("photo", "there")}
    other = images | {"here": figures.pack(torch.ones(10, 1, 16, 16))}
    rows = figures.photo_rows(images, other)
    assert [len(row[0]) for row in rows.values()] == [3, 1, 1, 1, 3]
    assert rows["no semantic\nloss"].max() == 0
    assert rows["semantic\nloss"].min() == 1


def test_arrows_lead_from_before_to_after():
    before, after = torch.tensor([[0.0, 1.0], [0.0, -1.0]]), torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    axes = figures.turned_blobs({"one": (before, after, torch.tensor([0, 1]))}).axes
    arrows = [(text.xy, text.xyann) for text in axes[0].texts]
    assert [([*map(float, a)], [*map(float, b)]) for a, b in arrows] == [([1, 0], [0, 1]), ([-1, 0], [0, -1])]


def test_swaps_are_counted_by_angle_and_loss():
    results = [
        {"angle": angle, "semantic": semantic, "kept": kept}
        for angle, semantic, kept in [
            (40, 0.0, 0.1),
            (40, 0.0, 0.9),
            (40, 0.3, 1.0),
            (80, 0.0, 0.0),
            (80, 1.0, 0.2),
        ]
    ]
    bars = figures.swaps(results).axes[0].patches
    assert [bar.get_height() for bar in bars] == [1, 1, 0, 1]


def test_matrices_are_normalised_by_row():
    counts = np.array([[3, 1], [0, 2]])
    panels = figures.matrices({"before": counts, "after": counts}).axes
    assert panels[0].images[0].get_array().tolist() == [[75, 25], [0, 100]]
    assert [text.get_text() for text in panels[0].texts] == ["75", "25", "100"]


def test_the_table_gives_mean_and_half_interval():
    rows = {"whole": [{"kept": 0.9}, {"kept": 1.0}, {"kept": 0.8}]}
    head, line = figures.table(rows, {"kept, %": ("kept", 100, ".1f")}).splitlines()
    assert head.split() == ["kept,", "%"]
    assert line.split() == ["whole", "90.0", "±", "24.8"]  # 4.303 · 10 / √3


def test_the_lab_shows_the_round_that_is_asked_for():
    x, films = made_up_film()
    lab = figures.film_lab(x, films)
    assert lab["start"] == {"left_out": "nothing", "number": 10}
    assert figures.film_lab(x, films, (10,))["number"] == [10]
    assert "off by 0.500" in lab["describe"]("nothing", 5)
    assert "off by 0.001" in lab["describe"]("nothing", 10)  # bytes round
    assert "96 % of held-out digits" in lab["describe"]("nothing", 10)
    picture = lab["draw"]("nothing", 10).axes[0].images[0].get_array()
    assert np.allclose(picture[:2], 1 - picture[3:5], atol=0.3)


def test_a_film_keeps_both_ways_of_one_digit_of_each_class():
    class Invert(nn.Linear):
        def forward(self, x):
            return 1 - x

    x = torch.tensor([0.2, 0.4, 0.6])[:, None, None, None].expand(-1, 1, 2, 2)
    film = figures.Film(Labelled(x, torch.tensor([1, 1, 0]), 2))
    game = CycleGame(Invert(1, 1), Invert(1, 1), point_critic(), point_critic())
    assert film(game) == {}
    there, back = figures.unpack(film.frames[0], 2, 2, 1, 2, 2)
    assert there[:, 0, 0, 0].tolist() == pytest.approx([0.4, 0.8], abs=0.01)
    assert back[:, 0, 0, 0].tolist() == pytest.approx([0.6, 0.2], abs=0.01)
