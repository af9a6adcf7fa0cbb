"""The game of two players and its Wasserstein relatives; drawing examples."""

import pytest
import torch
from torch import nn

from tlutils.generative import (
    Batch,
    ClippedGame,
    Critic,
    Game,
    Generator,
    PenaltyGame,
    WassersteinGame,
    generate,
    image_critic,
    image_generator,
    point_critic,
    point_generator,
)
from tlutils.runtime import new_generator


class Constant(nn.Module):
    """Give the same point whatever the noise; the point is trainable."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor([value]))

    def forward(self, z):
        return self.value.expand(len(z), 1)


def linear_critic(slope):
    head = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        head.weight.fill_(slope)
    return Critic(nn.Identity(), head)


class TestGame:
    def test_losses_by_hand(self):
        game = Game(Generator(Constant(0.0), 1), linear_critic(1.0))
        turn = game.discriminator_turn(Batch(torch.zeros(4, 1)), new_generator(0))
        assert turn.loss.item() == pytest.approx(1.3863, abs=1e-4)
        assert turn.score_real.tolist() == [0.0] * 4
        assert game.generator_loss(Batch(torch.zeros(4, 1)), new_generator(0)).item() == pytest.approx(
            0.6931, abs=1e-4
        )

    def test_the_discriminators_loss_has_no_gradient_for_the_generator(self):
        game = Game(point_generator(), point_critic())
        game.discriminator_turn(Batch(torch.ones(8, 2)), new_generator(0)).loss.backward()
        assert all(p.grad is None for p in game.generator.parameters())
        assert all(p.grad is not None for p in game.discriminator.parameters())

    @pytest.mark.parametrize("last", [nn.Sigmoid(), nn.Softmax(dim=1), nn.LogSigmoid()])
    def test_a_critic_that_gives_probabilities(self, last):
        critic = Critic(nn.Identity(), nn.Sequential(nn.Linear(2, 1), last))
        with pytest.raises(ValueError, match=f"ends in {type(last).__name__}; expected unbounded scores"):
            Game(point_generator(), critic)


class TestWasserstein:
    def test_losses_by_hand(self):
        game = WassersteinGame(Generator(Constant(1.0), 1), linear_critic(2.0))
        batch = Batch(torch.full((3, 1), 4.0))
        assert game.discriminator_turn(batch, new_generator(0)).loss.item() == -(2 * 4.0 - 2 * 1.0)
        assert game.generator_loss(batch, new_generator(0)).item() == -2.0

    def test_penalty_is_added(self):
        game = PenaltyGame(Generator(Constant(1.0), 1), linear_critic(2.0), weight=10)
        loss = game.discriminator_turn(Batch(torch.full((3, 1), 4.0)), new_generator(0)).loss
        assert loss.item() == pytest.approx(-6.0 + 10 * (2 - 1) ** 2)

    def test_clipping(self):
        game = ClippedGame(point_generator(), point_critic(), limit=0.05)
        before = [weight.clone() for weight in game.generator.parameters()]
        game.after_discriminator()
        assert max(weight.abs().max().item() for weight in game.discriminator.parameters()) <= 0.05 + 1e-7
        assert all(torch.equal(a, b) for a, b in zip(before, game.generator.parameters(), strict=True))

    def test_refuses(self):
        with pytest.raises(ValueError, match="without batch normalisation"):
            PenaltyGame(image_generator(), image_critic(norm="batch"))
        with pytest.raises(ValueError, match="weight is -1"):
            PenaltyGame(point_generator(), point_critic(), weight=-1)
        with pytest.raises(ValueError, match="limit is 0"):
            ClippedGame(point_generator(), point_critic(), limit=0)


class TestGenerate:
    def test_the_same_examples_from_the_same_seed_whatever_the_batch(self):
        generator = image_generator(16, width=4)
        whole = generate(generator, 10, seed=3)
        assert whole.shape == (10, 1, 16, 16)
        assert torch.allclose(whole, generate(generator, 10, seed=3, batch_size=3), atol=1e-6)
        assert not torch.allclose(whole, generate(generator, 10, seed=4))

    def test_the_generator_is_left_as_it_was(self):
        generator = image_generator(16, width=4).train()
        before = {key: value.clone() for key, value in generator.state_dict().items()}
        generate(generator, 5, seed=0)
        assert generator.training
        assert all(torch.equal(before[key], value) for key, value in generator.state_dict().items())

    def test_classes_go_along(self):
        class Labelled(nn.Module):
            def forward(self, z, y):
                return z * 0 + y[:, None]

        class ByClass(Generator):
            def forward(self, z, y):
                return self.layers(z, y)

            def parameters(self, recurse=True):  # noqa: ARG002
                return iter([torch.zeros(1)])

        made = generate(ByClass(Labelled(), 2), 4, seed=0, y=torch.tensor([3, 1, 2, 0]), batch_size=3)
        assert made[:, 0].tolist() == [3, 1, 2, 0]

    def test_refuses(self):
        with pytest.raises(ValueError, match="num_examples=0"):
            generate(point_generator(), 0, seed=0)
        with pytest.raises(ValueError, match="y has 2 classes for 3 examples"):
            generate(point_generator(), 3, seed=0, y=torch.tensor([0, 1]))
