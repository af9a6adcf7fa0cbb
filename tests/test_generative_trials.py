"""Trials of critics: what holds by construction or by hand, errors, and classes that the chapter shows."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from second_device import computing_on, second_device
from tlutils import generative
from tlutils.generative import Batch, Game, Turn, adversarial, point_critic, point_generator, trials
from tlutils.runtime import new_generator

CHAPTER = Path(__file__).parent.parent / "chapters" / "wasserstein_gan.ipynb"


def test_names_give_games():
    players = point_generator(), point_critic()
    assert trials.named_game("clipped 0.1", *players).limit == 0.1
    assert trials.named_game("penalty 10", *players).weight == 10
    assert type(trials.named_game("non-saturating", *players)) is Game
    assert type(trials.named_game("hinge", *players)) is generative.HingeGame
    with pytest.raises(ValueError, match="no game is called 'wgan'"):
        trials.named_game("wgan", *players)


def test_heaps_have_the_shift_and_the_variance_they_promise():
    x, y = trials.two_heaps("4", seed=0, n=4000)
    assert torch.allclose(y.mean(0) - x.mean(0), torch.tensor([4.0, 0.0]), atol=0.1)
    x, y = trials.two_heaps("grid", seed=0, n=4000)
    assert torch.allclose(x.var(0), y.var(0), rtol=0.1)


def test_the_steepest_slope_of_a_plane_is_its_slope():
    plane = generative.Critic(nn.Flatten(), nn.Linear(2, 1))
    with torch.no_grad():
        plane.head.weight.copy_(torch.tensor([[3.0, 4.0]]))
    x = torch.randn(10, 2, generator=new_generator(0))
    assert trials.steepest_slope(plane, x, x + 1) == pytest.approx(5.0)


def test_gradients_by_layer_by_hand():
    critic = point_critic(2, width=1, num_layers=3)
    with torch.no_grad():
        for weight in critic.parameters():
            weight.fill_(2.0)
    assert trials.slopes_by_layer(critic, torch.ones(3, 2)) == [8.0, 4.0, 2.0]


@pytest.mark.parametrize("method", ["clipped 0.1", "penalty 10", "spectral"])
def test_a_trained_critic_obeys_its_rule(method):
    x, y = trials.two_heaps("1", seed=0)
    critic, steps = trials.named_critic(method), []
    game = trials.named_game(method, generative.FixedPoints(y), critic)
    trials.train_critic(game, x, 30, seed=0, look=steps.append)
    assert steps == list(range(1, 31))
    assert critic(x).mean() > critic(y).mean()
    if method == "clipped 0.1":
        assert max(weight.abs().max() for weight in critic.parameters()) <= 0.1
    if method == "spectral":
        assert trials.steepest_slope(critic, x, y) < 1.05


def test_a_spectral_critic_has_singular_values_of_one():
    x, y = trials.two_heaps("1", seed=0)
    critic = trials.named_critic("spectral")
    trials.train_critic(trials.named_game("spectral", generative.FixedPoints(y), critic), x, 30, seed=0)
    critic.eval()
    layers = [layer for layer in critic.modules() if isinstance(layer, nn.Linear)]
    for layer in layers:
        assert torch.linalg.svdvals(layer.weight.detach())[0].item() == pytest.approx(1, abs=0.1)


def test_trials_return_what_json_can_hold():
    found = trials.estimate_trial("spectral", "1", 0, 4)
    assert found["exact"] > 0.5
    assert [step for step, *_ in found["looks"]] == [1, 2, 3, 4]
    found = trials.depth_trial("clipped 0.01", 0, 2)
    assert len(found["slopes"]) == 10
    assert sum(found["weights"]) == pytest.approx(1, abs=0.01)
    found = trials.grid_trial("penalty 0.1", 1, 2)
    assert found["points"] == []
    assert json.loads(json.dumps(found))["watched"].keys() == {"modes", "good", "distance", "gap"}


@pytest.mark.parametrize("method", ["non-saturating", "hinge", "penalty 0.1"])
def test_another_device_changes_nothing_on_the_grid(method, monkeypatch):
    monkeypatch.setattr(adversarial, "autocast_dtype", lambda _device: None)  # as there
    with computing_on("cpu"):
        wanted = trials.grid_trial(method, 0, 2)
    with second_device():
        assert trials.grid_trial(method, 0, 2) == wanted


def chapter_classes():
    """Return the games that the chapter defines, run from its cells."""
    scope = {"Game": Game, "Turn": Turn, "torch": torch}
    for cell in json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if source.startswith("class ") and "Game(" in source:
            exec(source, scope)
    return scope


def assert_twins(name, **options):
    """Assert that the chapter's class and the package's give the same losses, gradients and weights."""
    batch, found = Batch(torch.randn(8, 2, generator=new_generator(0))), []
    for cls in (chapter_classes()[name], getattr(generative, name)):
        game = cls(point_generator(seed=0), point_critic(seed=1), **options)
        loss = game.discriminator_turn(batch, new_generator(2)).loss
        gradients = torch.autograd.grad(loss, list(game.discriminator.parameters()), allow_unused=True)
        game.after_discriminator()
        weights = torch.cat([weight.detach().flatten() for weight in game.parameters()])
        found.append((loss, game.generator_loss(batch, new_generator(2)), weights, gradients[0]))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_the_chapters_classes_are_the_packages():
    assert_twins("WassersteinGame")
    assert_twins("ClippedGame", limit=0.1)
    assert_twins("PenaltyGame", weight=3.0)
