"""Toys: what is drawn must have the densities that are documented."""

from __future__ import annotations

import math

import pytest
import torch

from tlutils.toys import ClassMixture2d, Gaussian2d, make_shifted_toy

KINDS = ("covariate", "label", "concept", "rotation", "location")
NUM_EXAMPLES = 20_000


@pytest.fixture(scope="module", params=KINDS)
def toy(request):
    return make_shifted_toy(request.param, 0.7, NUM_EXAMPLES, seed=1)


def parts(toy):
    return (toy.source, toy.x_source, toy.y_source), (toy.target, toy.x_target, toy.y_target)


def grid(half_width: float = 6, steps: int = 240) -> tuple[torch.Tensor, float]:
    """Return points of a grid and the area of its cells."""
    axis = torch.linspace(-half_width, half_width, steps, dtype=torch.float64)
    x = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).reshape(-1, 2)
    return x, float(axis[1] - axis[0]) ** 2


def test_shapes_and_types(toy):
    for _, x, y in parts(toy):
        assert x.shape == (NUM_EXAMPLES, 2)
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        assert y.unique().tolist() == [0, 1]


def test_density_is_a_density(toy):
    x, area = grid()
    for domain, _, _ in parts(toy):
        assert float(domain.density(x).sum()) * area == pytest.approx(1, abs=1e-3)


def test_samples_follow_the_density(toy):
    x, area = grid()
    for domain, sample, _ in parts(toy):
        mass = domain.density(x) * area
        mean = mass @ x
        spread = (mass @ (x - mean).square()).sqrt()
        four_errors = 4 * spread / math.sqrt(NUM_EXAMPLES)
        assert bool(((sample.mean(0) - mean).abs() < four_errors).all())
        assert torch.allclose(sample.std(0).double(), spread, rtol=0.05)


def test_labels_follow_the_concept(toy):
    for domain, x, y in parts(toy):
        p = domain.class_probability(x.double())
        for low in (0.0, 0.25, 0.5, 0.75):
            chosen = (p >= low) & (p <= low + 0.25)
            if int(chosen.sum()) >= 50:
                error = (p[chosen] * (1 - p[chosen])).sum().sqrt() / chosen.sum()
                assert abs(float(y[chosen].double().mean() - p[chosen].mean())) < 4 * float(error) + 1e-6


def test_only_the_named_part_shifts():
    x, area = grid(4, 60)
    for kind in KINDS:
        toy = make_shifted_toy(kind, 0.7, 10)
        same_density = torch.allclose(toy.source.density(x), toy.target.density(x))
        same_concept = torch.allclose(toy.source.class_probability(x), toy.target.class_probability(x))
        assert (same_density, same_concept) == {
            "covariate": (False, True),
            "concept": (True, False),
        }.get(kind, (False, False)), kind
        assert area > 0


def test_label_shift_keeps_each_class_and_moves_the_prior():
    toy = make_shifted_toy("label", 1.5, NUM_EXAMPLES)
    assert (toy.source.prior, toy.target.prior) == (0.5, pytest.approx(1 / (1 + math.exp(-1.5))))
    assert toy.source.centres.equal(toy.target.centres)
    assert float(toy.y_target.double().mean()) == pytest.approx(toy.target.prior, abs=0.015)


def test_location_and_rotation_move_everything():
    moved = make_shifted_toy("location", 2.0, 10)
    assert torch.allclose(moved.target.centres - moved.source.centres, torch.tensor([2.0, 0.0]).double())
    turned = make_shifted_toy("rotation", math.pi / 2, 10)
    quarter = torch.stack([-turned.source.centres[..., 1], turned.source.centres[..., 0]], -1)
    assert torch.allclose(turned.target.centres, quarter)
    both = turned.source.centres
    assert torch.allclose(both.mean((0, 1)), torch.zeros(2).double(), atol=1e-9)


def test_concept_turns_the_boundary():
    toy = make_shifted_toy("concept", math.pi / 2, 10)
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert toy.source.class_probability(x).tolist() == pytest.approx([1 / (1 + math.exp(-4)), 0.5], abs=1e-6)
    assert toy.target.class_probability(x).tolist() == pytest.approx([0.5, 1 / (1 + math.exp(-4))], abs=1e-6)


def test_covariate_boundary_is_the_documented_parabola():
    toy = make_shifted_toy("covariate", 2.0, 10)
    on_it = torch.tensor([[-1.0, -0.5], [0.0, -1.0], [1.0, -0.5], [2.0, 1.0]])
    assert toy.target.class_probability(on_it).tolist() == pytest.approx([0.5] * 4)


@pytest.mark.parametrize("kind", KINDS)
def test_no_shift_is_no_shift_and_samples_are_independent(kind):
    toy = make_shifted_toy(kind, 0, 50)
    x, _ = grid(4, 30)
    assert torch.equal(toy.source.density(x), toy.target.density(x))
    assert not torch.equal(toy.x_source, toy.x_target)


def test_seeds_and_smooth_movement():
    one, again, other = (make_shifted_toy("location", s, 20, seed) for s, seed in ((0, 3), (1, 3), (0, 4)))
    assert torch.equal(one.x_source, again.x_source)
    assert torch.allclose(one.x_target + torch.tensor([1.0, 0.0]), again.x_target)
    assert not torch.equal(one.x_source, other.x_source)
    more = make_shifted_toy("location", 0, 30, 3)
    assert torch.equal(more.x_source[:20], one.x_source)


def test_both_kinds_of_domain_by_hand():
    x = torch.zeros(1, 2)
    plain = Gaussian2d((0.0, 0.0), lambda x: x[:, 0])
    assert float(plain.density(x)) == pytest.approx(1 / (2 * math.pi))
    assert float(plain.class_probability(x)) == 0.5
    mixture = ClassMixture2d(0.25, torch.tensor([[[0.0, 1.0]], [[0.0, -1.0]]]), 1.0)
    assert float(mixture.class_probability(x)) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("covariat", 1.0), "Did you mean 'covariate'"),
        (("?", 1.0), "There are: covariate, label"),
        (("label", math.nan), "shift is nan; expected a finite number"),
        (("label", 1.0, 0), "num_examples is 0"),
        (("label", 1.0, 5, -1), "seed is -1"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_shifted_toy(*arguments)
