"""The stand-in for a GPU computes as the CPU does, and refuses what a GPU refuses."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from second_device import computing_on, second_device
from tlutils import runtime
from tlutils.domains import Labelled
from tlutils.generative import Game, fit_game, point_critic, point_generator
from tlutils.models import lenet
from tlutils.runtime import new_generator
from tlutils.training import evaluate, fit


@pytest.fixture
def device():
    with second_device() as device:
        yield device


def test_it_is_the_best_device_while_it_is_there():
    before = runtime.best_device()
    with second_device() as device:
        assert runtime.best_device() == device != before
    assert runtime.best_device() == before


def test_numbers_go_there_and_come_back(device):
    x = torch.arange(6.0).view(2, 3)
    there = x.to(device)
    assert there.device == device
    assert (there.sum().item(), there.tolist()) == (15.0, x.tolist())
    assert torch.equal((there @ there.T + 1).cpu(), x @ x.T + 1)
    there[:, 0] = 9.0
    there += torch.tensor(1.0)  # a number without dimensions
    assert there.cpu().tolist() == [[10.0, 2.0, 3.0], [10.0, 5.0, 6.0]]
    assert there[torch.tensor([1])].device == torch.zeros(3, device=device).device == device


@pytest.mark.parametrize(
    "mix",
    [
        lambda x, there: there + x,
        lambda x, there: x.add_(there.sum()),
        lambda x, there: torch.cat([x, there]),
        lambda x, there: nn.Linear(2, 2).to(there.device)(x),
        lambda x, there: x[there.argmax(dim=1)],
        lambda x, there: there.index_select(0, x[0].long()),
        lambda x, there: there.index_put_((torch.tensor([0]),), x[:1]),
        lambda x, there: there.copy_(x).normal_(generator=new_generator(0)),
        lambda x, there: torch.rand(x.shape, device=there.device, generator=new_generator(0)),
    ],
)
def test_what_a_gpu_refuses_is_refused(mix, device):
    x = torch.ones(2, 2)
    with pytest.raises(RuntimeError, match="expected"):
        mix(x, x.to(device))


@pytest.mark.parametrize("take", [lambda x: x.numpy(), np.asarray])
def test_numpy_gets_nothing_from_there(take, device):
    with pytest.raises(TypeError, match="numpy"):
        take(torch.ones(2).to(device))


def test_a_copy_of_a_network_is_its_own(device):
    model = nn.Linear(2, 2).to(device)
    other = copy.deepcopy(model)
    with torch.no_grad():
        model.weight.zero_()
    assert other.weight.device == device
    assert isinstance(other.weight, nn.Parameter)
    assert other.weight.abs().sum() > 0


def test_training_there_gives_the_numbers_of_the_cpu():
    y = torch.arange(40) % 10
    data = Labelled(torch.rand(40, 1, 16, 16, generator=new_generator(0)), y, 10)

    def train():
        model = lenet(image_size=16, batch_norm=True, dropout=0.3)
        losses = fit(model, data, num_steps=3, batch_size=8, mixed_precision=False).train_loss
        players = point_generator(), point_critic(norm="spectral")
        history = fit_game(Game(*players), torch.ones(9, 2), num_rounds=3, average=0.9, mixed_precision=False)
        return (
            losses,
            evaluate(model, data).accuracy,
            history.discriminator_loss,
            players[0].cpu().state_dict(),
        )

    with computing_on("cpu"):
        wanted = train()
    with second_device():
        found = train()
        assert found[:3] == wanted[:3]
        assert all(torch.equal(tensor, wanted[3][name]) for name, tensor in found[3].items())
