"""Rings and grids of Gaussians: hand-computed counts, densities that integrate to one."""

import math

import pytest
import torch

from tlutils.generative.mixtures import (
    grid,
    grid_centres,
    mixture_density,
    mixture_sample,
    modes_covered,
    ring,
    ring_centres,
)


def test_the_same_seed_draws_the_same_points():
    assert torch.equal(ring(50, seed=3), ring(50, seed=3))
    assert not torch.equal(ring(50, seed=3), ring(50, seed=4))
    assert torch.equal(grid(50, seed=3), grid(50, seed=3))


def test_centres_are_where_they_should_be():
    assert torch.allclose(ring_centres(8, radius=3.0).norm(dim=1), torch.full((8,), 3.0))
    centres = grid_centres()
    assert centres.shape == (25, 2)
    assert centres.mean(dim=0).tolist() == [0.0, 0.0]
    assert centres.min() == -4
    assert centres.max() == 4


def test_points_have_the_moments_of_the_mixture():
    x = ring(20000, seed=0)
    assert x.mean(dim=0).abs().max() < 0.05
    # Each coordinate: r² / 2 from the centres, s² from within a mode.
    assert torch.allclose(x.var(dim=0), torch.full((2,), 2.0 + 0.01), atol=0.05)


def test_real_points_cover_every_mode():
    found = modes_covered(ring(4000, seed=1), ring_centres(), scale=0.1)
    assert found.num_covered == 8
    assert found.good_share == pytest.approx(1 - math.exp(-4.5), abs=0.005)  # chi-square of 2 degrees
    assert found.shares.sum().item() == pytest.approx(found.good_share)
    assert found.shares.tolist() == pytest.approx([0.125] * 8, abs=0.02)


def test_a_mode_needs_its_tenth():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    points = torch.zeros(100, 2)
    points[:5] = centres[1]  # fair share 50, a tenth of it 5
    assert modes_covered(points, centres, scale=1.0).num_covered == 2
    points[0] = 100.0
    found = modes_covered(points, centres, scale=1.0)
    assert found.num_covered == 1
    assert found.good_share == pytest.approx(0.99)
    assert found.shares.tolist() == pytest.approx([0.95, 0.04])
    assert modes_covered(points, centres, scale=1.0, least=0.05).num_covered == 2


def test_the_border_is_at_three_standard_deviations():
    centres = torch.zeros(1, 2)
    for distance, expected in ((0.29, 1), (0.31, 0)):
        point = torch.tensor([[distance, 0.0]])
        assert modes_covered(point, centres, scale=0.1).num_covered == expected


def test_nan_covers_nothing():
    found = modes_covered(torch.full((10, 2), math.nan), ring_centres(), scale=0.1)
    assert (found.num_covered, found.good_share) == (0, 0.0)


def test_the_density_integrates_to_one_and_fits_the_sample():
    side = torch.linspace(-3, 3, 301)
    points = torch.cartesian_prod(side, side)
    density = mixture_density(points, ring_centres(), scale=0.1)
    assert (density.sum() * 0.02**2).item() == pytest.approx(1.0, abs=1e-4)
    # The mean of the log-density over a sample is minus the entropy: log 8 + log(2 π e s²) for far modes.
    x = ring(5000, seed=2)
    entropy = math.log(8) + math.log(2 * math.pi * math.e * 0.01)
    assert -mixture_density(x, ring_centres(), scale=0.1).log().mean() == pytest.approx(entropy, abs=0.05)


@pytest.mark.parametrize(
    ("function", "kwargs", "message"),
    [
        (ring_centres, {"num_modes": 0}, "at least one mode"),
        (ring_centres, {"radius": 0.0}, "positive radius"),
        (grid_centres, {"num_per_side": 0}, "at least 1"),
        (ring, {"num_examples": 0, "seed": 0}, "at least 1"),
        (grid, {"num_examples": 5, "seed": 0, "scale": -1.0}, "positive scale"),
    ],
)
def test_numbers_out_of_range(function, kwargs, message):
    with pytest.raises(ValueError, match=message):
        function(**kwargs)


def test_points_that_do_not_fit_the_centres():
    with pytest.raises(ValueError, match="as many coordinates"):
        modes_covered(torch.zeros(4, 3), ring_centres(), scale=0.1)
    with pytest.raises(ValueError, match="at least one point"):
        modes_covered(torch.zeros(0, 2), ring_centres(), scale=0.1)
    with pytest.raises(ValueError, match="up to 1"):
        modes_covered(torch.zeros(4, 2), ring_centres(), scale=0.1, least=0.0)
    with pytest.raises(ValueError, match="positive number"):
        mixture_density(torch.zeros(4, 2), ring_centres(), scale=0.0)


def test_another_dimension():
    centres = torch.tensor([[-1.0], [1.0]])
    assert mixture_sample(centres, 5, scale=0.1, seed=0).shape == (5, 1)
