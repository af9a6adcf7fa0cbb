"""The head is found and replaced in every family of torchvision's classifiers."""

import copy

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import detection, optical_flow, segmentation

from tlutils import heads, model_based, models
from tlutils.heads import find_heads, replace_head

# One network of each family, the smallest; the name of its head; the smallest image that it takes.
FAMILIES = {
    "alexnet": ("classifier.6", 64),
    "vgg11": ("classifier.6", 32),
    "resnet18": ("fc", 32),
    "resnext50_32x4d": ("fc", 32),
    "wide_resnet50_2": ("fc", 32),
    "densenet121": ("classifier", 32),
    "squeezenet1_1": ("classifier.1", 32),
    "mobilenet_v2": ("classifier.1", 32),
    "mobilenet_v3_small": ("classifier.3", 32),
    "mnasnet0_5": ("classifier.1", 32),
    "shufflenet_v2_x0_5": ("fc", 32),
    "efficientnet_b0": ("classifier.1", 32),
    "efficientnet_v2_s": ("classifier.1", 32),
    "convnext_tiny": ("classifier.2", 32),
    "regnet_y_400mf": ("fc", 32),
    "swin_t": ("head", 32),
    "swin_v2_t": ("head", 64),
    "vit_b_32": ("heads.head", 224),
    "maxvit_t": ("classifier.5", 224),
}
# What torchvision draws twice to get good random weights; these tests need none.
ARGUMENTS = {"googlenet": {"init_weights": False}, "inception_v3": {"init_weights": False}}
COMPUTES_WIDTHS = {"regnet_y_400mf", "maxvit_t"}  # with small tensors, which then need numbers


def build(name):
    """Return a network of 5 classes on the meta device: shapes, no numbers, no time."""
    with torch.device("cpu" if name in COMPUTES_WIDTHS else "meta"):
        model = torchvision.models.get_model(name, weights=None, num_classes=5, **ARGUMENTS.get(name, {}))
    return model.to("meta")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_head_of_each_family_is_replaced(name):
    head, size = FAMILIES[name]
    model = build(name)
    before = {key: tensor for key, tensor in model.state_dict().items() if not key.startswith(head + ".")}
    assert find_heads(model) == (head,)
    assert replace_head(model, 3) is model
    x = torch.empty(2, 3, size, size, device="meta")
    assert model.eval()(x).shape == (2, 3)
    after = model.state_dict()
    assert all(after[key] is not None and after[key].shape == before[key].shape for key in before)
    assert set(after) - set(before) == {f"{head}.weight", f"{head}.bias"} & set(after)
    assert model.get_submodule(head).weight.device.type == "meta", "stays on its device"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("googlenet", ("fc", "aux1.fc2", "aux2.fc2")), ("inception_v3", ("fc", "AuxLogits.fc"))],
)
def test_auxiliary_heads_are_replaced_too(name, expected):
    model = replace_head(build(name), 3)
    assert find_heads(model) == expected
    outputs = model.train()(torch.empty(2, 3, 299, 299, device="meta"))
    assert all(tuple(logits.shape) == (2, 3) for logits in outputs)


def test_nothing_but_the_head_changes():
    model = torchvision.models.resnet18(weights=None).to(torch.float64)
    model_based.freeze(model)
    before = copy.deepcopy(model.state_dict())
    replace_head(model, 2, seed=1)
    after = model.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before if not key.startswith("fc."))
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable == {"fc.weight", "fc.bias"}
    assert model.fc.weight.dtype == torch.float64


def test_the_seed_decides_the_head_and_the_global_generator_is_left_alone():
    model = nn.Sequential(nn.Linear(4, 7))
    state = torch.get_rng_state()
    drawn = [replace_head(model, 2, seed=seed)[0].weight for seed in (3, 3, 4)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_classifier_of_the_book_gets_the_head_that_models_gives_it():
    ours, theirs = (models.residual_network(seed=0) for _ in range(2))
    assert find_heads(ours) == ("head",)
    assert torch.equal(
        replace_head(ours, 2, seed=4).head.weight, models.replace_head(theirs, 2, seed=4).head.weight
    )


def test_a_head_without_bias_stays_without():
    model = nn.Sequential(nn.Linear(4, 7, bias=False))
    assert replace_head(model, 2)[0].bias is None


@pytest.mark.parametrize("num_classes", [1, 0, -3])
def test_too_few_classes_are_refused(num_classes):
    for model in (nn.Sequential(nn.Linear(4, 7)), models.lenet()):
        with pytest.raises(ValueError, match="at least 2 classes"):
            replace_head(model, num_classes)


@pytest.mark.parametrize("num_classes", [2.0, "2", None, True])
def test_a_number_of_classes_that_is_no_integer_is_refused(num_classes):
    with pytest.raises(TypeError, match="num_classes"):
        replace_head(nn.Sequential(nn.Linear(4, 7)), num_classes)


@pytest.mark.parametrize(
    ("build_model", "says"),
    [
        (lambda: segmentation.fcn_resnet50(weights=None, weights_backbone=None), "segmentation"),
        (lambda: detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None), "detection"),
        (lambda: optical_flow.raft_small(weights=None), "optical flow"),
        (lambda: nn.Sequential(nn.Conv2d(3, 8, 3)), "ends neither"),
        (nn.ReLU, "ends neither"),
    ],
)
def test_networks_without_a_head_are_refused(build_model, says):
    with torch.device("meta"):
        model = build_model()
    with pytest.raises(TypeError, match=says):
        find_heads(model)
    with pytest.raises(TypeError, match=says):
        replace_head(model, 2)


def test_model_based_offers_the_same_function():
    assert model_based.replace_head is heads.replace_head
