"""Earth mover's distances: by hand, against POT and SciPy, the dual's proof, properties, errors."""

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from tlutils.generative.transport import distance_of_points, distance_on_a_line, transport_plan
from tlutils.runtime import new_generator

values = st.lists(st.floats(-50, 50), min_size=1, max_size=8)


def heaps(n=6, m=8, seed=0):
    random = new_generator(seed)
    x, y = torch.randn(n, 2, generator=random), torch.randn(m, 2, generator=random) + 1
    p, q = (torch.rand(k, generator=random, dtype=torch.float64) for k in (n, m))
    return p / p.sum(), q / q.sum(), torch.cdist(x, y)


class TestPlan:
    def test_by_hand(self):
        # The chapter's example: 0, 0, 1, 3 to 1, 2, 2, 4, a quarter each.
        places = torch.arange(5.0)
        have = torch.tensor([0.5, 0.25, 0, 0.25, 0])
        want = torch.tensor([0, 0.25, 0.5, 0, 0.25])
        found = transport_plan(have, want, (places[:, None] - places).abs())
        assert found.cost == pytest.approx(1.25)

    def test_agrees_with_pot(self):
        p, q, cost = heaps()
        expected = ot.emd2(p.numpy(), q.numpy(), cost.double().numpy())
        assert transport_plan(p, q, cost).cost == pytest.approx(expected, abs=1e-6)

    def test_the_plan_has_the_margins_and_the_cost(self):
        p, q, cost = heaps(seed=1)
        found = transport_plan(p, q, cost)
        assert (found.plan >= -1e-12).all()
        assert torch.allclose(found.plan.sum(1), p, atol=1e-9)
        assert torch.allclose(found.plan.sum(0), q, atol=1e-9)
        assert (found.plan * cost).sum().item() == pytest.approx(found.cost)

    def test_the_prices_prove_that_nothing_is_cheaper(self):
        p, q, cost = heaps(seed=2)
        found = transport_plan(p, q, cost)
        slack = cost - found.source_price[:, None] - found.target_price
        assert slack.min() > -1e-6
        assert (p @ found.source_price + q @ found.target_price).item() == pytest.approx(found.cost)
        assert slack[found.plan > 1e-9].abs().max() < 1e-6  # mass moves only where a pair pays its cost

    @pytest.mark.parametrize(
        ("p", "q", "cost", "says"),
        [
            ([0.5, 0.6], [1.0], [[1.0], [2.0]], "sums to 1.1"),
            ([1.5, -0.5], [1.0], [[1.0], [2.0]], "smallest -0.5"),
            ([0.5, 0.5], [1.0], [[1.0], [float("nan")]], "finite"),
        ],
    )
    def test_bad_input_is_named(self, p, q, cost, says):
        with pytest.raises(ValueError, match=says):
            transport_plan(torch.tensor(p), torch.tensor(q), torch.tensor(cost))


class TestLine:
    @given(values, values)
    @settings(max_examples=40, deadline=None, derandomize=True)
    def test_agrees_with_scipy_and_is_symmetric(self, x, y):
        a, b = (torch.tensor(v, dtype=torch.float64) for v in (x, y))
        assert distance_on_a_line(a, b) == pytest.approx(wasserstein_distance(x, y), abs=1e-9)
        assert distance_on_a_line(a, b) == pytest.approx(distance_on_a_line(b, a), abs=1e-9)

    def test_agrees_with_pot(self):
        x, y = np.random.default_rng(0).normal(size=(2, 30))
        expected = ot.emd2_1d(x, y, metric="euclidean")
        assert distance_on_a_line(torch.from_numpy(x), torch.from_numpy(y)) == pytest.approx(expected)

    @pytest.mark.parametrize("bad", [[], [float("inf")]])
    def test_bad_input_is_named(self, bad):
        with pytest.raises(ValueError, match="y has"):
            distance_on_a_line(torch.zeros(2), torch.tensor(bad))


class TestPoints:
    def test_agrees_with_pot_and_with_the_line(self):
        x, y = torch.randn(2, 40, 3, generator=new_generator(0))
        weights = np.full(40, 1 / 40)
        expected = ot.emd2(weights, weights, torch.cdist(x, y).double().numpy())
        assert distance_of_points(x, y) == pytest.approx(expected, rel=1e-5)
        assert distance_of_points(x[:, :1], y[:, :1]) == pytest.approx(distance_on_a_line(x[:, 0], y[:, 0]))

    def test_a_shift_is_its_length_and_order_does_not_matter(self):
        x = torch.randn(50, 2, generator=new_generator(1))
        moved = x[torch.randperm(50, generator=new_generator(2))] + torch.tensor([3.0, 4.0])
        assert distance_of_points(x, moved) == pytest.approx(5.0, abs=1e-5)
        assert distance_of_points(x, x) == 0

    def test_no_lipschitz_function_exceeds_it(self):
        x, y = torch.randn(2, 60, 2, generator=new_generator(3))
        for anchor in (*x[:5], *y[:5]):  # the distance to a point has slope 1
            gap = (x - anchor).norm(dim=1).mean()
            gap = gap - (y - anchor).norm(dim=1).mean()
            assert abs(gap.item()) <= distance_of_points(x, y) + 1e-6

    @pytest.mark.parametrize(
        ("x", "y", "says"),
        [
            (torch.zeros(0, 2), torch.zeros(0, 2), "n > 0"),
            (torch.tensor([[float("nan")]]), torch.zeros(1, 1), "NaN"),
        ],
    )
    def test_bad_input_is_named(self, x, y, says):
        with pytest.raises(ValueError, match=says):
            distance_of_points(x, y)


def test_shapes_that_do_not_fit_are_refused():
    # Where annotations are checked, as in these tests, they say so first.
    with pytest.raises((ValueError, TypeError)):
        transport_plan(torch.ones(1), torch.ones(1), torch.ones(2, 1))
    with pytest.raises((ValueError, TypeError)):
        distance_of_points(torch.zeros(3, 2), torch.zeros(2, 2))
