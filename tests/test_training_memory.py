"""The memory bill equals what can be counted by hand and what the profiler sees."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional

from tlutils import models
from tlutils.model_based import freeze
from tlutils.step_cost import Switches, step_cost
from tlutils.training_memory import OPTIMIZER_NUMBERS, MemoryBill, largest_batch, memory_bill, saved_bytes


def vgg16():
    with torch.device("meta"):
        return torchvision.models.vgg16(weights=None)


def test_vgg16_at_224_pixels_by_hand():
    """Each convolution's output is saved once (ReLU works in place); each pool's output and indices too."""
    numbers, side, pools = 3 * 224 * 224, 224, 0
    for width, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        numbers += convolutions * width * side**2
        side //= 2
        pools += width * side**2
    fully_connected = 2 * 4096 + 2 * 4096  # after ReLU, and after dropout
    masks = 2 * 4096  # one byte each
    expected = 4 * (numbers + fully_connected) + pools * (4 + 8) + masks
    bill = memory_bill(vgg16(), (3, 224, 224), 1)
    assert abs(bill.activations - expected) < 0.01 * expected
    assert bill.weights == bill.gradients == 4 * 138_357_544
    assert bill.optimizer_state == 2 * bill.weights


def test_a_small_network_by_hand():
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
    bill = memory_bill(model, (1, 4, 4), 5, optimizer="momentum")
    parameters = 4 * (2 * 9 + 2 + 32 * 3 + 3)
    # The input of the convolution, and the output of ReLU, which the linear layer shares.
    assert bill == MemoryBill(parameters, parameters, parameters, 4 * 5 * (16 + 32))
    assert bill.total == 3 * parameters + 4 * 5 * 48


def test_a_frozen_backbone_saves_next_to_nothing():
    model = models.residual_network(seed=0)
    full = memory_bill(model, (3, 32, 32), 8)
    freeze(model.backbone)
    head = memory_bill(model, (3, 32, 32), 8)
    assert head.weights == full.weights
    assert head.gradients == 4 * (128 * 10 + 10)
    assert head.activations == 4 * 8 * 128  # the features
    assert head.activations < 0.002 * full.activations


def test_the_model_is_left_alone():
    model = models.residual_network(seed=0).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    memory_bill(model, (3, 32, 32), 4)
    assert not model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("optimizer", OPTIMIZER_NUMBERS)
def test_the_largest_batch_just_fits(optimizer):
    model = vgg16()
    size = largest_batch(model, (3, 224, 224), 15e9, optimizer=optimizer)
    assert memory_bill(model, (3, 224, 224), size, optimizer=optimizer).total <= 15e9
    assert memory_bill(model, (3, 224, 224), size + 1, optimizer=optimizer).total > 15e9
    assert largest_batch(model, (3, 224, 224), 1e8, optimizer=optimizer) == 0


def test_real_tensors_save_what_meta_tensors_say():
    model = models.residual_network(seed=0).train()
    x = torch.rand(4, 3, 32, 32)
    assert saved_bytes(model, x) == memory_bill(model, (3, 32, 32), 4).activations


def test_the_bill_is_near_what_the_profiler_measures():
    batch = torch.rand(16, 3, 32, 32), torch.zeros(16, dtype=torch.int64)
    found = step_cost(
        models.residual_network, lambda: batch, Switches(), num_steps=1, num_warmup=1, device="cpu"
    )
    bill = memory_bill(models.residual_network(), (3, 32, 32), 16).total
    assert 0.7 * bill < found.peak_bytes < 1.3 * bill


def test_what_is_saved_for_two_losses_counts_once():
    model = nn.Linear(3, 2)
    x = torch.zeros(4, 3)
    assert saved_bytes(model, x) == x.nbytes
    assert functional.linear(x, model.weight).shape == (4, 2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (((3, 32, 32), 0), "batch_size is 0"),
        (((1, 32, 32), 2), "cannot take 2 examples of shape"),
        (((1, 32, 32), 2), "load them with channels=3"),
        (((3,), 2), "Pass the shape of one example"),
    ],
)
def test_bad_shapes_are_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        memory_bill(torchvision.models.resnet18(weights=None), *arguments)


def test_examples_that_do_not_fit_are_named_before_they_are_counted():
    with pytest.raises(ValueError, match="load them with channels=3"):
        saved_bytes(torchvision.models.resnet18(weights=None), torch.zeros(2, 1, 32, 32))
    with pytest.raises(ValueError, match=r"smallest it takes are \d+×\d+: load them with size="):
        saved_bytes(torchvision.models.alexnet(weights=None), torch.zeros(2, 3, 32, 32))


def test_unknown_optimiser_memory_and_untrained_network_are_named():
    model = models.lenet()
    with pytest.raises(ValueError, match="expected one of"):
        memory_bill(model, (1, 28, 28), 2, optimizer="lion")
    with pytest.raises(ValueError, match="memory is 0"):
        largest_batch(model, (1, 28, 28), 0)
    with pytest.raises(ValueError, match="nothing in this network is trained"):
        largest_batch(freeze(model), (1, 28, 28), 1e9)
