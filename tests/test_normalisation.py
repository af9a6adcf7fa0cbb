"""Running statistics measured again: the values, and everything that must stay as it was."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tlutils.model_based import freeze
from tlutils.models import residual_network
from tlutils.normalisation import reestimate_statistics
from tlutils.runtime import new_generator


def images(n, seed=0):
    return torch.rand(n, 3, 16, 16, generator=new_generator(seed))


def test_one_batch_gives_its_mean_and_unbiased_variance():
    x = torch.tensor([[1.0, 10.0], [2.0, 10.0], [6.0, 40.0]])
    layer = reestimate_statistics(nn.BatchNorm1d(2), x)
    assert layer.running_mean.tolist() == [3.0, 20.0]
    assert layer.running_var.tolist() == [7.0, 300.0]


def test_batches_count_equally_and_the_variance_between_them_does_not():
    x = torch.tensor([[0.0], [2.0], [10.0], [12.0]])
    layer = reestimate_statistics(nn.BatchNorm1d(1), x, batch_size=2)
    assert layer.running_mean.item() == 6.0
    assert layer.running_var.item() == pytest.approx(2.0)
    assert layer.num_batches_tracked.item() == 2


@pytest.mark.parametrize("n", [2, 3, 5, 257, 513])
def test_no_batch_is_left_with_a_single_example(n):
    sizes = []
    layer = nn.BatchNorm1d(1)
    layer.register_forward_pre_hook(
        lambda layer, inputs: sizes.append(len(inputs[0])) if layer.training else None
    )
    reestimate_statistics(layer, torch.randn(n, 1, generator=new_generator(0)), batch_size=2)
    assert sum(sizes) == n
    assert min(sizes) >= 2
    assert max(sizes) - min(sizes) <= 1


def test_evaluation_mode_then_does_what_the_batch_did_in_training_mode():
    model, x = residual_network().double(), images(12).double()
    reestimate_statistics(model, x)
    with torch.no_grad():
        stored = model.eval()(x)
        by_batch = copy.deepcopy(model).train()(x)
    # The batch divides by n, the running variance by n - 1; that is all the difference.
    assert torch.allclose(stored, by_batch, rtol=0.1, atol=0.1)
    assert (stored.argmax(dim=1) == by_batch.argmax(dim=1)).all()


def test_a_change_of_input_scale_is_forgotten():
    model, x = residual_network(mean=(0, 0, 0), std=(1, 1, 1)).eval(), images(64)
    with torch.no_grad():
        before = reestimate_statistics(model, x).features(x)
        after = reestimate_statistics(model, 8 * x).features(8 * x)
    assert torch.allclose(before, after, atol=1e-3)


def test_parameters_modes_momentum_and_dropout_stay():
    model = nn.Sequential(
        nn.Linear(2, 4), nn.BatchNorm1d(4, momentum=0.3), nn.Dropout(0.9), nn.BatchNorm1d(4)
    )
    model[3].eval()
    x = torch.randn(64, 2, generator=new_generator(0))
    parameters = copy.deepcopy(dict(model.named_parameters()))
    assert reestimate_statistics(model, x) is model
    assert all(torch.equal(tensor, parameters[name]) for name, tensor in model.named_parameters())
    assert [m.training for m in model] == [True, True, True, False]
    assert (model[1].momentum, model[3].momentum) == (0.3, 0.1)
    # With nine tenths dropped the variance after the dropout would be about ten times as large.
    assert model[3].running_var.max() < 2


def test_frozen_layers_are_measured_and_stay_frozen():
    model = freeze(residual_network().backbone).train()
    before = model.stem[1].running_mean.clone()
    reestimate_statistics(model, images(8))
    measured = model.stem[1].running_mean.clone()
    assert not torch.equal(measured, before)
    model.train()(images(8, seed=1))
    assert torch.equal(model.stem[1].running_mean, measured)
    assert not any(p.requires_grad for p in model.parameters())


def stop_in_training(_layer, _inputs):
    """Press Ctrl+C while examples are measured, which is when they are given in company."""
    if len(_inputs[0]) > 1:
        raise KeyboardInterrupt


def test_everything_is_put_back_when_the_model_fails():
    model = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 2)).train()
    model[1].register_forward_pre_hook(stop_in_training)
    with pytest.raises(KeyboardInterrupt):
        reestimate_statistics(model, torch.zeros(4, 3))
    assert model[0].momentum == 0.1
    assert model.training
    assert model[0].training


def test_examples_that_do_not_fit_are_refused_before_anything_is_lost():
    model = residual_network()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(
        ValueError, match=r"received grey images of shape \(1, 32, 32\); load them with channels=3"
    ):
        reestimate_statistics(model, torch.rand(4, 1, 32, 32))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_examples_on_another_device_are_refused_before_anything_is_lost():
    model = residual_network()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="the examples are on meta and the network on cpu"):
        reestimate_statistics(model, images(4).to("meta"))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match="no layer with running statistics"):
        reestimate_statistics(nn.Linear(2, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="no layer with running statistics"):
        reestimate_statistics(nn.BatchNorm1d(2, track_running_stats=False), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="received 1 examples"):
        reestimate_statistics(nn.BatchNorm1d(2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="batch_size 1"):
        reestimate_statistics(nn.BatchNorm1d(2), torch.zeros(4, 2), batch_size=1)
