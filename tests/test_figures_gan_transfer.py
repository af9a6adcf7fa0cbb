"""Figures of the chapter `gan_transfer` show what they are given, and the laboratory keeps its axes."""

import itertools

import numpy as np
import torch

from tlutils.domains import Domain, Labelled, Target, TestSet
from tlutils.figures import gan_transfer as figures
from tlutils.repeats import Interval
from tlutils.runtime import new_generator


def a_run(offset):
    results = [
        {"start": start, "rounds": [0, 10], "frechet": [50.0 + seed, 10.0 + offset + seed]}
        for start in ("source", "random")
        for seed in (0, 2)
    ]
    strip = figures.packed(torch.full((12, 1, 16, 16), 0.4))
    return {"results": results, "films": {"source": [strip, strip], "random": [strip, strip]}}


def test_images_survive_packing():
    x = torch.rand(3, 1, 16, 16, generator=new_generator(0))
    assert np.abs(figures.unpacked(figures.packed(x)) / 255 - x[:, 0].numpy()).max() <= 0.5 / 255 + 1e-6


def test_adaptation_draws_the_mean_of_the_seeds_for_each_number():
    runs = {n: a_run(place)["results"] for place, n in enumerate((10, 100, "all"))}
    figure = figures.adaptation(runs, floor=2.0)
    assert [ax.get_title() for ax in figure.axes] == ["10 images", "100 images", "all images"]
    assert figure.axes[1].lines[0].get_ydata().tolist() == [51.0, 12.0]


def test_the_lab_says_number_round_and_distance():
    images = torch.rand(30, 1, 16, 16, generator=new_generator(0))
    lab = figures.adaptation_lab({10: a_run(0), "all": a_run(5)}, images)
    assert lab["describe"](30, 10).startswith("30 target images, round 10.")
    assert "from the source's GAN 16; from scratch 16" in lab["describe"](30, 10)
    assert "paints grey" in lab["describe"](10, 0)
    assert len(lab["draw"](10, 0).axes) == 3
    assert (lab["images"], lab["round"]) == ([10, 30], [0, 10])


def test_real_images_lie_at_no_distance_from_themselves():
    x, y = torch.rand(300, 1, 16, 16, generator=new_generator(0)), torch.arange(300) % 10
    part = Labelled(x, y, 10)
    target = Target(Domain("target", part, part, TestSet(x, y, 10), tuple("0123456789")))
    assert abs(figures.distance_of_real(target)) < 0.1


def test_budgets_have_a_panel_per_group():
    line = [Interval(0.5, 0.4, 0.6, 5), Interval(0.7, 0.6, 0.8, 5)]
    figure = figures.budget_panels((1, "all"), {"without": {"a": line}, "with": {"b": line, "c": line}})
    assert [len(ax.lines) for ax in figure.axes] == [1, 2]
    assert figure.axes[1].get_title() == "with"


def test_chosen_looks_are_ringed():
    looks = {"plain": [{"s": 1.0, "test": 0.9}, {"s": 2.0, "test": 0.95}]}
    figure = figures.looks_by_signal(looks, "s", xlabel="signal", chosen={"plain": looks["plain"][1:]})
    points, ring = figure.axes[0].lines
    assert list(points.get_xdata()) == [1.0, 2.0]
    assert (list(ring.get_xdata()), list(ring.get_ydata())) == ([2.0], [0.95])


def test_a_table_leaves_empty_what_was_not_measured():
    text = figures.table({"a": [None, np.array([0.5, 0.6])]}, (0, 5), width=4)
    assert text.splitlines() == ["          0      5", "a             55.0"]
    assert figures.mean_line("x", [0.5, 0.5, 0.5]).endswith("50.0 [50.0, 50.0]")


def test_a_switch_counts_for_what_it_changes_whatever_the_others_do():
    # moving brings 2 points to the first seed and 4 to the second, information 10, the painters nothing
    found = {
        (d, m, w, i): [0.5 + 0.02 * m + i + 0.05 * (d == "both"), 0.6 + 0.04 * m + i + 0.05 * (d == "both")]
        for d, m, w, i in itertools.product(("painted", "both"), (0, 1), ("one", "all"), (0.0, 0.1))
    }
    digits, moved, painters, information = figures.switch_effects(found).splitlines()
    assert digits.startswith("digits, both for painted")
    assert digits.split()[4] == "+5.0"
    assert moved.split()[4] == "+3.0"
    assert painters.split()[4] in ("+0.0", "-0.0")
    assert information.split()[4] == "+10.0"
    assert figures.recipe_table(found).splitlines()[1].startswith("both     yes    one       0.1")
