"""The hinge game and the heap of points: against the formula, what is drawn, errors."""

import pytest
import torch
from torch.nn import functional

from tlutils.generative import Batch, point_critic, point_generator
from tlutils.generative.critics import FixedPoints, HingeGame
from tlutils.runtime import new_generator


def test_the_hinge_game_has_the_papers_losses():
    generator, critic = point_generator(seed=0), point_critic(norm="spectral", seed=1).eval()
    game, x = HingeGame(generator, critic), torch.randn(8, 2, generator=new_generator(0)) + 3
    turn = game.discriminator_turn(Batch(x), new_generator(1))
    fake = generator(generator.noise(8, new_generator(1)))
    expected = functional.relu(1 - critic(x)).mean() + functional.relu(1 + critic(fake)).mean()
    assert turn.loss.item() == pytest.approx(expected.item())
    found = game.generator_loss(Batch(x), new_generator(1))
    assert found.item() == pytest.approx(-critic(fake).mean().item())
    found.backward()
    assert all(weight.grad is not None for weight in generator.parameters())


def test_a_heap_draws_its_own_points_the_same_for_the_same_seed():
    points = torch.arange(10.0).reshape(5, 2)
    heap = FixedPoints(points)
    drawn = heap(heap.noise(200, new_generator(0)))
    assert torch.equal(drawn, heap.noise(200, new_generator(0)))
    assert torch.equal(drawn.unique(dim=0), points)


def test_an_empty_heap_is_named():
    with pytest.raises(ValueError, match="empty"):
        FixedPoints(torch.zeros(0, 2))
