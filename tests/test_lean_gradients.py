"""Gradients in less memory are the same gradients."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import alexnet, resnet18

from tlutils import models
from tlutils.lean_gradients import accumulate_gradients, checkpoint_activations
from tlutils.model_based import freeze
from tlutils.runtime import new_generator, seeded
from tlutils.training_memory import saved_bytes


def batch(n=8, size=32, classes=10):
    generator = new_generator(0)
    return torch.rand(n, 3, size, size, generator=generator), torch.arange(n) % classes


def gradients(model, x, y, num_parts=1):
    model.zero_grad(set_to_none=True)
    with seeded(7):
        loss = accumulate_gradients(model, x, y, num_parts)
    return loss, [parameter.grad.clone() for parameter in model.parameters() if parameter.requires_grad]


def are_close(a, b, tolerance=1e-5):
    scale = max(grad.abs().max().item() for grad in b)
    return all(torch.allclose(one, other, atol=tolerance * scale) for one, other in zip(a, b, strict=True))


@pytest.mark.parametrize("num_parts", [2, 3, 8])
def test_accumulated_gradients_equal_those_of_the_whole_batch(num_parts):
    x, y = batch()
    model = models.residual_network(seed=0).train()
    freeze(model.backbone)
    for parameter in model.parameters():
        parameter.requires_grad_(True)  # trained, but normalised by stored statistics
    loss, whole = gradients(model, x, y)
    part_loss, parts = gradients(model, x, y, num_parts)
    assert are_close(parts, whole)
    assert part_loss == pytest.approx(loss, rel=1e-5)


def test_one_part_is_the_plain_gradient():
    x, y = batch()
    model = models.lenet(in_channels=3, image_size=32)
    _, found = gradients(model, x, y)
    model.zero_grad()
    functional.cross_entropy(model(x), y).backward()
    assert all(torch.equal(a, b.grad) for a, b in zip(found, model.parameters(), strict=True))


def test_batch_normalisation_in_training_mode_sees_another_batch():
    x, y = batch()
    model = models.residual_network(seed=0).train()
    _, whole = gradients(model, x, y)
    _, parts = gradients(model, x, y, 4)
    assert not are_close(parts, whole, 0.05)


def test_accumulation_adds_to_what_is_there():
    x, y = batch(4)
    model = models.lenet(in_channels=3, image_size=32)
    _, once = gradients(model, x, y)
    accumulate_gradients(model, x, y, 1)
    assert all(torch.allclose(p.grad, 2 * g) for p, g in zip(model.parameters(), once, strict=True))


@pytest.mark.parametrize("num_parts", [0, -1, 9])
def test_a_number_of_parts_that_cannot_be_is_refused(num_parts):
    x, y = batch()
    with pytest.raises(ValueError, match="expected 1 to 8"):
        accumulate_gradients(models.lenet(in_channels=3, image_size=32), x, y, num_parts)


@pytest.mark.parametrize(
    ("build", "parts", "size"),
    [
        (lambda: resnet18(weights=None, num_classes=10), ["layer1", "layer2", "layer3.0"], 64),
        (lambda: alexnet(weights=None, num_classes=10), ["features", "classifier"], 64),
        (lambda: models.residual_network(seed=0), ["backbone.stage1", "backbone.stage2"], 32),
    ],
    ids=["resnet18", "alexnet with dropout", "residual_network"],
)  # fmt: skip
def test_checkpointed_gradients_and_statistics_equal_the_plain_ones(build, parts, size):
    with seeded(0):
        plain = build().train()
    lean = checkpoint_activations(copy.deepcopy(plain), parts)
    x, y = batch(4, size)
    loss, expected = gradients(plain, x, y)
    lean_loss, found = gradients(lean, x, y)
    assert lean_loss == loss
    assert are_close(found, expected, 1e-6)
    assert [*lean.state_dict()] == [*plain.state_dict()]
    for name, tensor in plain.state_dict().items():
        assert torch.equal(lean.state_dict()[name], tensor), f"{name} moved once, not twice"


def test_checkpointing_keeps_less():
    x, _ = batch()
    plain = models.residual_network(seed=0).train()
    lean = checkpoint_activations(copy.deepcopy(plain), ["backbone.stage1", "backbone.stage2"])
    assert saved_bytes(lean, x) < 0.6 * saved_bytes(plain, x)


def test_grey_images_are_named_before_any_gradient():
    with pytest.raises(ValueError, match="takes images of 3 channels and received grey"):
        accumulate_gradients(models.residual_network(), torch.zeros(4, 1, 32, 32), torch.zeros(4).long(), 2)


def test_a_checkpointed_part_takes_arguments_by_name():
    class Scaled(nn.Linear):
        def forward(self, x, *, scale, debug=False):
            return scale * super().forward(x) + (1 if debug else 0)  # `checkpoint` has a `debug` of its own

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = Scaled(2, 2)

        def forward(self, x):
            return self.part(x, scale=3.0, debug=True)

    plain = Whole().train()
    lean = checkpoint_activations(copy.deepcopy(plain), ["part"])
    x = torch.ones(4, 2)
    assert torch.equal(lean(x), plain(x))
    assert torch.equal(lean.eval()(x), plain(x))


def test_a_copy_computes_with_its_own_weights():
    lean = checkpoint_activations(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), ["0"]).train()
    twin = copy.deepcopy(lean)
    with torch.no_grad():
        twin[0].weight.zero_()
        twin[0].bias.zero_()
    x = torch.ones(1, 2)
    assert torch.equal(twin(x), twin[1](torch.zeros(1, 2)))
    assert not torch.equal(lean(x), twin(x))


def test_evaluation_computes_nothing_twice():
    calls = []
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    checkpoint_activations(model, ["0"])
    model[0].register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        model.eval()(torch.ones(1, 2))
    assert len(calls) == 1


@pytest.mark.usefixtures("as_reader")
def test_a_string_is_no_list_of_parts():
    with pytest.raises(TypeError, match=r"parts is the string 'backbone'; expected a list"):
        checkpoint_activations(models.lenet(), "backbone")


def test_unknown_and_nested_parts_are_refused():
    with pytest.raises(ValueError, match=r"no part 'layer9'; it has \['conv1'"):
        checkpoint_activations(resnet18(weights=None), ["layer9"])
    with pytest.raises(ValueError, match="lies inside 'layer1'"):
        checkpoint_activations(resnet18(weights=None), ["layer1", "layer1.0"])


def test_labels_without_an_output_are_named():
    x, y = torch.rand(8, 3), torch.arange(8) % 4
    with pytest.raises(ValueError, match="labels run from 0 to 3; expected 0 to 1"):
        accumulate_gradients(nn.Linear(3, 2), x, y, 2)
