"""Alarms: each on a curve drawn for it, none on a healthy one, and on small real trainings."""

import math

import pytest
import torch

from tlutils import runs
from tlutils.figures import adversarial_game as figures
from tlutils.generative import AdversarialHistory, Game, alternate, fit_game, point_critic, point_generator
from tlutils.generative.history import swings
from tlutils.generative.mixtures import ring


def history(right=None, gradient=None, diversity=None, n=200):
    """Return a history of n rounds, healthy but for what is given."""
    found = AdversarialHistory(
        share_right=[0.6 + 0.05 * math.sin(i / 3) for i in range(n)] if right is None else right,
        generator_gradient=[0.5 + 0.5 * math.exp(-i / 50) for i in range(n)]
        if gradient is None
        else gradient,
    )
    if diversity is not None:
        found.watched["diversity"] = diversity
    return found


def names(found):
    return [alarm.name for alarm in found.alarms()]


def test_no_alarm_for_a_healthy_game():
    assert history(diversity=[0.2, 0.8, 0.9, 1.0, 0.98]).alarms() == []


def test_a_discriminator_that_tells_everything_apart():
    (alarm,) = history(right=[0.99] * 200).alarms()
    assert alarm.name == "discriminator too strong"
    assert alarm.value == pytest.approx(0.99)
    assert alarm.limit == 0.95
    assert "99.0%" in str(alarm)
    assert str(alarm).startswith("discriminator too strong: ")
    assert names(history(right=[0.99] * 150 + [0.6] * 50)) == [], "it has come down in time"


def test_a_gradient_that_has_vanished():
    gradient = [math.exp(-i / 20) for i in range(200)]
    assert names(history(gradient=gradient)) == ["vanished gradient"]
    assert names(history(gradient=[0.02 + value for value in gradient])) == []
    assert names(history(gradient=[0.0] * 200)) == ["vanished gradient"]


def test_samples_that_are_all_alike():
    assert names(history(diversity=[1.0] * 8 + [0.1, 0.1])) == ["mode collapse"]
    assert names(history(diversity=[0.1] * 8 + [1.0, 1.0])) == []
    assert names(history(diversity=[0.3])) == ["mode collapse"]


def test_players_that_run_round_each_other():
    waves = [0.5 + 0.4 * math.sin(i / 4) for i in range(200)]
    assert names(history(right=waves)) == ["oscillation"]
    calmed = [value if i < 100 else 0.5 for i, value in enumerate(waves)]
    assert names(history(right=calmed)) == [], "only the second half is judged"


def test_noise_within_a_window_is_no_oscillation():
    noise = torch.rand(2000, generator=torch.Generator().manual_seed(0)).tolist()
    assert names(history(right=[0.35 + 0.5 * value for value in noise], n=2000)) == []


def test_several_things_can_be_wrong():
    gradient = [math.exp(-i / 20) for i in range(200)]
    found = names(history(right=[1.0] * 200, gradient=gradient, diversity=[0.0]))
    assert found == ["discriminator too strong", "vanished gradient", "mode collapse"]


def test_rounds_in_which_a_player_did_not_move_are_left_out():
    right = [0.99 if i % 2 else None for i in range(200)]
    gradient = [None if i % 2 else 1.0 for i in range(200)]
    assert names(history(right=right, gradient=gradient)) == ["discriminator too strong"]


def test_too_few_rounds():
    with pytest.raises(ValueError, match="moved in 49 rounds"):
        history(right=[0.5] * 49).alarms()
    with pytest.raises(ValueError, match="at least 50"):
        AdversarialHistory(share_right=[0.5] * 100, generator_gradient=[None] * 100).alarms()


@pytest.mark.parametrize(
    ("values", "turns"),
    [
        ([], 0),
        ([0.5], 0),
        ([0, 1], 0),
        ([0, 1, 0], 1),
        ([1, 0, 1], 1),
        ([0, 1, 0.6, 1, 0.6], 0),  # falls of 0.4 are too small
        ([0, 0.3, 0.6, 0.9, 0.3, 0.9], 2),
        ([0, 1] * 5, 8),
    ],
)
def test_turns_are_counted_by_hand(values, turns):
    assert swings(values, height=0.5) == turns


def test_the_height_of_a_swing_is_positive():
    with pytest.raises(ValueError, match="height is 0"):
        swings([0.0, 1.0], height=0)


def test_a_real_training_in_which_the_generator_stands_still():
    game = Game(point_generator(seed=0), point_critic(seed=1))
    found = fit_game(
        game, ring(500, seed=0) + 5, num_rounds=60, learning_rate=(1e-2, 1e-6), turns=alternate(2),
        mixed_precision=False, device="cpu", seed=0,
    )  # fmt: skip
    assert "discriminator too strong" in names(found)


def test_the_games_of_the_gallery_raise_what_they_were_made_for():
    results = runs.load("adversarial_game/gallery").metrics["results"]
    assert len(results) == 15
    for result in results:
        found = names(figures.history_of(result))
        if result["case"] == "healthy":
            assert found == []
        else:
            assert result["case"] in found


def test_no_alarm_for_the_digits_with_all_the_rules():
    for result in runs.load("adversarial_game/rule_all").metrics["results"]:
        assert names(figures.history_of(result, "looks")) == []
