"""Input that cannot be meant is refused with one message, wherever it enters."""

import re

import pytest
import torch
from torch import nn

from tlutils import guards
from tlutils.distributed import fit_distributed
from tlutils.domains import Labelled
from tlutils.generative import CycleGame, Game, fit_game, point_critic, point_generator
from tlutils.models import Standardise, residual_network
from tlutils.step_cost import Switches, step_cost
from tlutils.training import evaluate, fit

X, Y = torch.rand(8, 3, 16, 16), torch.arange(8) % 2
COLOUR, GREY = Labelled(X, Y, 2), Labelled(X[:, :1], Y, 2)


def network(num_classes=2):
    return residual_network(num_classes, widths=(4, 8))


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("use", [
    lambda device: fit(network(), COLOUR, num_steps=1, device=device),
    lambda device: evaluate(network(), COLOUR, device=device),
    lambda device: fit_game(
        Game(point_generator(), point_critic()), torch.zeros(8, 2), num_rounds=1, device=device
    ),
    lambda device: step_cost(network, lambda: (X, Y), num_steps=1, device=device),
    lambda device: fit_distributed(
        network(), COLOUR, num_steps=1, global_batch_size=4, learning_rate=0.1, device=device
    ),
], ids=["fit", "evaluate", "fit_game", "step_cost", "fit_distributed"])  # fmt: skip
@pytest.mark.parametrize(("device", "says"), [("cuda", "sees 0 GPUs"), ("gpu", "expected such as 'cpu'")])
def test_a_device_that_is_not_there(use, device, says):
    with pytest.raises(ValueError, match=says):
        use(device)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize("use", [
    lambda: fit(network(), GREY, num_steps=1, device="cpu"),
    lambda: evaluate(network(), GREY, device="cpu"),
    lambda: Standardise([0.0] * 3, [1.0] * 3)(GREY.x),
], ids=["fit", "evaluate", "alone"])  # fmt: skip
def test_grey_images_do_not_pass_as_colour(use):
    """Before, broadcasting took them in silence."""
    with pytest.raises(ValueError, match=r"received grey images of shape \(\d, 1, 16, 16\).*channels=3"):
        use()


@pytest.mark.parametrize("x", [torch.zeros(4, 4), torch.zeros(2, 4, 8, 8)], ids=["flat", "four channels"])
def test_what_is_no_image_is_not_called_grey(x):
    with pytest.raises(ValueError, match=re.escape(f"received an input of shape {tuple(x.shape)}")):
        guards.has_channels(x, 3)


@pytest.mark.parametrize("x", [X, X[0], X.double()])
def test_images_of_the_right_kind_pass(x):
    assert guards.has_channels(x, 3) is None


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize(("data", "says"), [
    (Labelled(X, Y, 3), r"gives outputs of shape \(1, 2\) for examples of 3 classes"),
    (GREY, "received grey images"),
], ids=["classes", "grey"])  # fmt: skip
def test_what_does_not_fit_is_said_before_any_process_trains(data, says):
    with pytest.raises(ValueError, match=says):
        fit_distributed(network(), data, num_steps=1, global_batch_size=4, learning_rate=0.1)


def test_more_parts_than_examples():
    """Before, the empty parts made the loss no number, and the measurement went on."""
    with pytest.raises(ValueError, match="num_parts is 9 for 8 examples"):
        step_cost(network, lambda: (X, Y), Switches(num_parts=9), num_steps=1, device="cpu")
    assert step_cost(network, lambda: (X, Y), Switches(num_parts=8), num_steps=1, device="cpu").step_s > 0


def test_a_translation_game_without_a_loss():
    nets = [nn.Linear(2, 2), nn.Linear(2, 2), point_critic(), point_critic()]
    nothing = dict.fromkeys(["adversarial_target", "adversarial_source", "cycle", "identity"], 0.0)
    with pytest.raises(ValueError, match="all losses have weight 0 .*semantic.*give one"):
        CycleGame(*nets, **nothing)
    CycleGame(*nets, **nothing | {"cycle": 1.0})


def test_grey_images_are_not_asked_to_be_resized():
    with pytest.raises(
        ValueError, match=r"received examples of shape \(1, 8, 8\).*Load them with channels=3"
    ):
        guards.has_shape(torch.zeros(2, 1, 8, 8), (3, 8, 8))
    for shape in ((3, 8, 8), [3, 8, 8]):
        with pytest.raises(ValueError, match="Resize them"):
            guards.has_shape(torch.zeros(2, 3, 9, 9), shape)
