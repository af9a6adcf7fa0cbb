"""The adversarial loop: it learns, it takes turns, it resumes, it says what is wrong."""

import copy
import math

import pytest
import torch
from scipy import integrate
from torch import nn

from tlutils.generative import (
    Critic,
    Game,
    Generator,
    PenaltyGame,
    alternate,
    discriminator_loss,
    fit_game,
    generate,
    phases,
    point_critic,
    point_generator,
)
from tlutils.generative.adversarial import _follow
from tlutils.runtime import new_generator

REAL = torch.randn(512, 2, generator=new_generator(0)) * 0.5 + torch.tensor([2.0, -1.0])


def small_game(seed=0):
    return Game(point_generator(width=16, seed=seed), point_critic(width=16, seed=seed + 1))


def weights(game):
    return [p.detach().clone() for p in game.parameters()]


class Dropping(Critic):
    """A critic with dropout, which draws from torch's global generator."""

    def __init__(self):
        super().__init__(nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Dropout(0.3)), nn.Linear(16, 1))


def only_the_discriminator(step):  # noqa: ARG001
    return 1, 0


class TestLearning:
    def test_far_before_near_after(self):
        game = small_game()
        before = generate(game.generator, 2000, seed=1)
        fit_game(game, REAL, num_rounds=400, learning_rate=2e-3, average=0.98, device="cpu")
        after = generate(game.generator, 2000, seed=1)
        mean = torch.tensor([2.0, -1.0])
        assert (before.mean(0) - mean).norm() > 2
        assert (after.mean(0) - mean).norm() < 0.3

    def test_nothing_to_gain_where_the_generator_is_right(self):
        # The generator is the identity on the noise that the data are: the discriminator can only guess.
        game = Game(Generator(nn.Linear(2, 2), 2), point_critic(width=16))
        with torch.no_grad():
            game.generator.layers.weight.copy_(torch.eye(2))
            game.generator.layers.bias.zero_()
        x = torch.randn(4000, 2, generator=new_generator(5))
        history = fit_game(game, x, num_rounds=150, learning_rate=(1e-3, 1e-6), batch_size=256, device="cpu")
        late = history.discriminator_loss[-50:]
        assert sum(late) / 50 == pytest.approx(2 * math.log(2), abs=0.03)
        assert sum(history.share_right[-50:]) / 50 == pytest.approx(0.5, abs=0.05)

    def test_the_optimum_on_a_line(self):
        # p = N(0, 1) against q = N(1.5, 0.7): the best score is log p/q, its value 2 JS - log 4.
        p, q = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(1.5, 0.7)

        def overlap(x):
            a, b = (math.exp(which.log_prob(torch.tensor(x))) for which in (p, q))
            return a * math.log(2 * a / (a + b)) + b * math.log(2 * b / (a + b))

        exact = integrate.quad(overlap, -6, 7)[0] - math.log(4)
        game = Game(Generator(nn.Linear(1, 1), 1), point_critic(1, width=32))
        with torch.no_grad():
            game.generator.layers.weight.fill_(0.7)
            game.generator.layers.bias.fill_(1.5)
        x = torch.randn(20_000, 1, generator=new_generator(0))
        options = {"batch_size": 256, "learning_rate": 3e-3, "device": "cpu"}
        fit_game(game, x, num_rounds=500, turns=only_the_discriminator, **options)

        line = torch.linspace(-1.5, 2.5, 81)
        drawn = generate(game.generator, 20_000, seed=1)
        with torch.no_grad():
            error = game.discriminator(line[:, None]) - (p.log_prob(line) - q.log_prob(line))
            value = -discriminator_loss(game.discriminator(x), game.discriminator(drawn)).item()
        assert value == pytest.approx(exact, abs=0.02)
        assert error.abs().mean() < 0.2

    def test_the_history_has_an_entry_a_round(self):
        history = fit_game(small_game(), REAL, num_rounds=5, device="cpu")
        names = ["discriminator_loss", "generator_loss", "score_real", "score_fake", "share_right"]
        assert all(len(getattr(history, name)) == 5 for name in [*names, "generator_gradient"])
        assert history.num_rounds == 5
        assert history.duration_s > 0

    def test_the_gradient_is_that_of_the_generators_loss(self):
        game = Game(Generator(nn.Linear(1, 1), 1), Critic(nn.Identity(), nn.Linear(1, 1, bias=False)))
        with torch.no_grad():
            game.generator.layers.weight.zero_()
            game.generator.layers.bias.fill_(1.0)
            game.discriminator.head.weight.fill_(2.0)
        found = fit_game(
            game, torch.ones(4, 1), num_rounds=1, turns=phases_second, learning_rate=1e-9, device="cpu"
        ).generator_gradient[0]
        # d/db softplus(-2 b) at b = 1 is -2 sigmoid(-2); the weight's gradient is that times the mean noise.
        by_bias = 2 * torch.sigmoid(torch.tensor(-2.0)).item()
        noise = torch.randn(4, 1, generator=new_generator(0)).mean().item()
        assert found == pytest.approx(by_bias * math.hypot(1, noise), rel=1e-3)


def phases_second(step):  # noqa: ARG001
    return 0, 1


class TestTurns:
    def test_k_steps_of_the_discriminator(self):
        moves = []

        class Counting(Game):
            def discriminator_turn(self, batch, random):
                moves.append("d")
                return super().discriminator_turn(batch, random)

            def generator_loss(self, batch, random):
                moves.append("g")
                return super().generator_loss(batch, random)

        fit_game(
            Counting(point_generator(), point_critic()), REAL, num_rounds=2, turns=alternate(3), device="cpu"
        )
        assert "".join(moves) == "dddgdddg"

    def test_a_frozen_player_does_not_move(self):
        game = small_game()
        before = weights(game)
        history = fit_game(game, REAL, num_rounds=3, turns=phases(3), device="cpu")
        num_generator = len([*game.generator.parameters()])
        after = weights(game)
        assert all(torch.equal(a, b) for a, b in zip(before[:num_generator], after, strict=False))
        assert any(
            not torch.equal(a, b) for a, b in zip(before[num_generator:], after[num_generator:], strict=True)
        )
        assert history.generator_loss == [None] * 3

    @pytest.mark.parametrize("make", [alternate, phases])
    def test_refuses(self, make):
        with pytest.raises(ValueError, match="is 0; expected at least 1"):
            make(0)


class TestAverage:
    def test_one_step_by_hand(self):
        old, new = nn.Linear(1, 1), nn.Linear(1, 1)
        wanted = 0.9 * old.weight + 0.1 * new.weight
        _follow(old, new, 0.9)
        assert torch.allclose(old.weight, wanted)

    def test_buffers_are_copied(self):
        old, new = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
        new.running_mean.fill_(3.0)
        _follow(old, new, 0.9)
        assert old.running_mean.tolist() == [3.0, 3.0]

    def test_the_generator_ends_with_the_average(self):
        last, averaged = small_game(), small_game()
        fit_game(last, REAL, num_rounds=30, learning_rate=1e-2, device="cpu")
        fit_game(averaged, REAL, num_rounds=30, learning_rate=1e-2, average=0.9, device="cpu")
        pairs = [*zip(weights(last.discriminator), weights(averaged.discriminator), strict=True)]
        assert all(torch.equal(a, b) for a, b in pairs), "the average has no part in the game"
        assert not torch.equal(weights(last.generator)[0], weights(averaged.generator)[0])


class TestResuming:
    @pytest.mark.parametrize("make", ["plain", "penalty", "dropout"])
    def test_bit_identical_to_a_training_that_was_not_interrupted(self, make, tmp_path):
        def new_game():
            critic = Dropping() if make == "dropout" else point_critic(width=16)
            kind = PenaltyGame if make == "penalty" else Game
            with torch.random.fork_rng():
                torch.manual_seed(0)
                for p in critic.parameters():
                    nn.init.normal_(p, 0, 0.3)
            return kind(point_generator(width=16), critic)

        def train(game, checkpoint=None, watch=None):
            return fit_game(
                game, REAL, num_rounds=12, turns=alternate(2), average=0.9, checkpoint=checkpoint,
                checkpoint_every=5, watch=watch, watch_every=2, device="cpu",
            )  # fmt: skip

        def interrupt(game):  # noqa: ARG001
            calls.append(1)
            if len(calls) == 4:
                raise KeyboardInterrupt
            return {"calls": 1.0}

        whole, resumed, calls = new_game(), new_game(), []
        expected = train(whole, watch=lambda game: {"calls": 1.0})  # noqa: ARG005
        path = tmp_path / "match.pt"
        with pytest.raises(KeyboardInterrupt):
            train(resumed, path, interrupt)
        history = train(resumed, path, lambda game: {"calls": 1.0})  # noqa: ARG005
        assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))
        assert history.discriminator_loss == expected.discriminator_loss
        assert history.watched_rounds == expected.watched_rounds == [2, 4, 6, 8, 10, 12]
        assert not path.exists()

    def test_a_checkpoint_of_another_training(self, tmp_path):
        path = tmp_path / "match.pt"
        stop = {"watch": stop_at_once, "watch_every": 2, "checkpoint": path, "checkpoint_every": 1}
        with pytest.raises(KeyboardInterrupt):
            fit_game(small_game(), REAL, num_rounds=4, device="cpu", **stop)
        with pytest.raises(ValueError, match="belongs to another training"):
            fit_game(small_game(), REAL, num_rounds=9, device="cpu", checkpoint=path)

    def test_a_damaged_checkpoint(self, tmp_path):
        path = tmp_path / "match.pt"
        path.write_bytes(b"half a file")
        with pytest.raises(ValueError, match="cannot be read; delete it"):
            fit_game(small_game(), REAL, num_rounds=2, device="cpu", checkpoint=path)


def stop_at_once(game):  # noqa: ARG001
    raise KeyboardInterrupt


class TestRefusals:
    @pytest.mark.parametrize(("options", "message"), [
        ({"x": REAL[:0]}, "x is empty"),
        ({"x_target": REAL[:0]}, "x_target is empty"),
        ({"x": torch.full((4, 2), math.nan)}, "x holds NaN"),
        ({"x_target": torch.full((4, 2), math.nan)}, "x_target holds NaN"),
        ({"y": torch.zeros(3, dtype=torch.long)}, "got 3 classes for 512 examples"),
        ({"num_rounds": 0}, "num_rounds is 0"), ({"batch_size": 0}, "batch_size is 0"),
        ({"learning_rate": (1e-3, -1.0)}, "generator_rate is -1.0"),
        ({"average": 1.0}, r"average is 1.0; expected a decay in \(0, 1\)"),
    ])  # fmt: skip
    def test_bad_input(self, options, message):
        arguments = {"x": REAL, "num_rounds": 2} | options
        with pytest.raises(ValueError, match=message):
            fit_game(small_game(), arguments.pop("x"), device="cpu", **arguments)

    def test_a_loss_that_is_no_number(self):
        game = small_game()
        with torch.no_grad():
            game.discriminator.head.weight.fill_(math.inf)
        with pytest.raises(FloatingPointError, match="the discriminator's loss is .* in round 0"):
            fit_game(game, REAL, num_rounds=2, device="cpu")

    def test_the_discriminator_is_trainable_again_after_an_error(self):
        class Failing(Game):
            def generator_loss(self, batch, random):  # noqa: ARG002
                raise RuntimeError("no")

        game = Failing(point_generator(), point_critic())
        with pytest.raises(RuntimeError, match="no"):
            fit_game(game, REAL, num_rounds=1, device="cpu")
        assert all(p.requires_grad for p in game.discriminator.parameters())


def test_the_same_seed_gives_the_same_match():
    one, two = small_game(), small_game()
    first = fit_game(one, REAL, num_rounds=10, seed=4, device="cpu")
    second = fit_game(two, REAL, num_rounds=10, seed=4, device="cpu")
    assert first.generator_loss == second.generator_loss
    assert first.to_dict()["num_rounds"] == 10


def test_classes_and_a_second_domain_reach_the_game():
    seen = []

    class Looking(Game):
        def discriminator_turn(self, batch, random):
            seen.append(batch)
            return super().discriminator_turn(batch, random)

    y = torch.arange(512)
    x = torch.stack([y.float(), y.float()], dim=1)
    game = Looking(point_generator(), point_critic())
    fit_game(game, x, y=y, x_target=-x[:100] - 1, num_rounds=2, batch_size=8, device="cpu")
    assert all(torch.equal(batch.x[:, 0], batch.y.float()) for batch in seen)
    assert all((batch.x_target < 0).all() for batch in seen)
    assert not torch.equal(seen[0].x_target[:, 0] + 1, -seen[0].x[:, 0])


def test_the_mode_of_the_game_is_left_as_it_was():
    game = small_game().eval()
    fit_game(copy.deepcopy(game).eval(), REAL, num_rounds=1, device="cpu")
    fit_game(game, REAL, num_rounds=1, device="cpu")
    assert not game.training
