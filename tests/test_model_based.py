"""Loading, freezing and rates by part."""

import copy
import pickle
import warnings

import pytest
import torch
from torch import nn

from tlutils.domains import Labelled
from tlutils.model_based import freeze, load_matching, parameter_groups, unfreeze
from tlutils.models import lenet, replace_head, residual_network
from tlutils.training import fit
from tlutils.vision_transformer import vision_transformer


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(40, 1, 8, 8, generator=generator) / 2 + 0.5
    return Labelled(x, torch.arange(40) % 4, num_classes=4)


def small(**options):
    return lenet(4, image_size=8, widths=(4, 4), num_features=8, batch_norm=True, **options)


def state_of(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def is_same(before, module):
    return all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_frozen_backbone_keeps_weights_and_statistics_through_fit(data):
    model = small()
    freeze(model.backbone)
    before, head = state_of(model.backbone), model.head.weight.clone()
    fit(model, data, num_steps=5, learning_rate=0.1, device="cpu")
    assert is_same(before, model.backbone)
    assert not torch.equal(head, model.head.weight)


def test_requires_grad_alone_lets_statistics_drift(data):
    model = small()
    for parameter in model.backbone.parameters():
        parameter.requires_grad = False
    before = state_of(model.backbone)
    fit(model, data, num_steps=5, device="cpu")
    changed = [
        name for name, tensor in model.backbone.state_dict().items() if not torch.equal(before[name], tensor)
    ]
    assert changed
    assert all("running" in name or "num_batches" in name for name in changed)


def test_frozen_layer_gives_the_same_output_in_both_modes(data):
    model = freeze(small())
    with torch.no_grad():
        assert torch.equal(model.train()(data.x), model.eval()(data.x))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_a_frozen_model_is_frozen_by_itself(data, duplicate):
    original = freeze(small())
    twin = duplicate(original)
    unfreeze(original)
    before = state_of(twin)
    twin.train()(data.x)
    assert is_same(before, twin)
    assert not any(parameter.requires_grad for parameter in twin.parameters())


def test_unfreeze_lets_statistics_and_weights_move_again(data):
    model = unfreeze(freeze(small()))
    before = state_of(model)
    fit(model, data, num_steps=2, device="cpu")
    assert not any(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_freezing_twice_adds_one_hook():
    model = freeze(freeze(small()))
    assert [
        len(layer._forward_pre_hooks) for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)
    ] == [1, 1]


def test_freeze_adds_nothing_to_the_state_dict():
    assert list(freeze(small()).state_dict()) == list(small().state_dict())


def test_freeze_then_replace_head_trains_the_head_only(data):
    model = replace_head(freeze(small()), 4, seed=1)
    before = state_of(model.backbone)
    fit(model, data, num_steps=2, device="cpu")
    assert is_same(before, model.backbone)


def test_replace_head_then_freeze_leaves_nothing_to_train(data):
    model = freeze(replace_head(small(), 4, seed=1))
    with pytest.raises(ValueError, match="nothing to train"):
        fit(model, data, num_steps=2, device="cpu")


def test_freeze_of_a_module_without_parameters_is_refused():
    with pytest.raises(ValueError, match="no parameters"):
        freeze(nn.ReLU())


def test_load_everything():
    source, model = small(seed=1), small(seed=2)
    report = load_matching(model, source.state_dict())
    assert is_same(state_of(source), model)
    assert report.untouched == report.skipped == report.mismatched == ()


def test_load_part_by_prefix():
    source, model = small(seed=1), small(seed=2)
    before = state_of(model)
    report = load_matching(model, source.state_dict(), only=["backbone.0", "backbone.1"])
    assert torch.equal(model.backbone[0].weight, source.backbone[0].weight)
    assert "backbone.4.weight" in report.untouched
    assert "backbone.4.weight" in report.skipped
    assert torch.equal(model.head.weight, before["head.weight"])


def test_prefix_matches_whole_parts_only():
    model = nn.Sequential(*[nn.Linear(1, 1) for _ in range(11)])
    report = load_matching(model, copy.deepcopy(model).state_dict(), only=["1"])
    assert report.loaded == ("1.weight", "1.bias")


def test_another_shape_is_reported_with_a_warning():
    model = small()
    with pytest.warns(UserWarning, match=r"head.weight: \(7, 8\) stored, \(4, 8\) here"):
        report = load_matching(model, replace_head(small(), 7).state_dict())
    assert len(report.mismatched) == 2
    assert "head.weight" in report.untouched
    assert "mismatched: head.weight" in str(report)


def test_a_part_that_was_asked_for_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = load_matching(small(), replace_head(small(), 7).state_dict(), only=["backbone"])
    assert all(name.startswith("backbone.") for name in report.loaded)


def test_missing_keys_keep_their_values_and_give_a_warning():
    source, model = small(seed=1), small(seed=2)
    state = {name: tensor for name, tensor in source.state_dict().items() if not name.startswith("head.")}
    before = state_of(model)
    with pytest.warns(UserWarning, match=r"2 \(head.weight, head.bias\) of the network keep"):
        report = load_matching(model, state)
    assert report.untouched == ("head.weight", "head.bias")
    assert report.skipped == ()
    assert torch.equal(model.head.weight, before["head.weight"])


def test_extra_keys_go_nowhere_and_give_a_warning():
    source, model = small(seed=1), small(seed=2)
    extra = {f"decoder.{i}.weight": torch.ones(1) for i in range(4)}
    names = r"4 \(decoder.0.weight, decoder.1.weight, decoder.2.weight, …\) of the state go nowhere"
    with pytest.warns(UserWarning, match=names) as caught:
        report = load_matching(model, source.state_dict() | extra)
    assert "keep the values" not in str(caught[0].message)
    assert report.skipped == tuple(extra)
    assert report.untouched == ()
    assert is_same(state_of(source), model)


def test_half_renamed_keys_are_named_on_both_sides():
    source, model = small(seed=1), small(seed=2)
    state = {name.replace("backbone.", "features."): tensor for name, tensor in source.state_dict().items()}
    before = state_of(model.backbone)
    with pytest.warns(UserWarning, match=r"(?s)^2 tensors.*14 \(backbone.*14 \(features.*rename the keys"):
        report = load_matching(model, state)
    assert report.loaded == ("head.weight", "head.bias")
    assert all(name.startswith("features.") for name in report.skipped)
    assert all(name.startswith("backbone.") for name in report.untouched)
    assert is_same(before, model.backbone)


def test_another_shape_beside_a_missing_key_is_one_warning():
    state = replace_head(small(), 7).state_dict()
    del state["backbone.0.weight"]
    with pytest.warns(UserWarning, match=r"shape differs: head.weight.* 1 \(backbone.0.weight\)") as caught:
        load_matching(small(), state)
    assert len(caught) == 1


def test_a_part_that_was_asked_for_and_is_incomplete_gives_a_warning():
    state = small().state_dict()
    del state["backbone.0.weight"], state["head.bias"]
    with pytest.warns(
        UserWarning, match=r"; 1 \(backbone.0.weight\) of the network keep the values they had\."
    ):
        load_matching(small(), state, only=["backbone"])


@pytest.mark.parametrize(
    ("state", "error", "says"),
    [
        ("weights.pth", TypeError, "received str; expected a state dict"),
        (
            {"epoch": 3, "state_dict": {"head.bias": torch.zeros(4)}},
            ValueError,
            "under 'state_dict': hand over",
        ),
        ({"head.bias": torch.zeros(4), "epoch": 3}, ValueError, "'epoch' holds int; expected a state dict"),
    ],
)
@pytest.mark.usefixtures("as_reader")
def test_what_is_no_state_dict_is_named(state, error, says):
    model = small()
    before = state_of(model)
    with pytest.raises(error, match=says):
        load_matching(model, state)
    assert is_same(before, model)


def test_names_that_match_nowhere_are_an_error():
    state = {f"module.{name}": tensor for name, tensor in small().state_dict().items()}
    with pytest.raises(ValueError, match="nothing to load"):
        load_matching(small(), state)


@pytest.mark.usefixtures("as_reader")
def test_a_string_is_no_list_of_parts():
    """Before, "10" loaded the parts 1 and 0."""
    with pytest.raises(TypeError, match=r"only is the string 'backbone'; expected a list of names"):
        load_matching(small(), small().state_dict(), only="backbone")


def test_unknown_part_offers_the_nearest():
    with pytest.raises(ValueError, match="backbone"):
        load_matching(small(), small().state_dict(), only=["backbon"])


@pytest.mark.parametrize("is_nested", [False, True])
@pytest.mark.parametrize(
    ("network", "part"),
    [(small, "backbone.9"), (residual_network, "backbone.stage2"), (vision_transformer, "backbone.blocks")],
)
def test_every_parameter_is_in_exactly_one_group(network, part, is_nested):
    model = network()
    learning_rates = {"backbone": 1e-4, "head": 1e-3}
    if is_nested:
        one = next(name for name, _ in model.named_parameters() if name.startswith(f"{part}."))
        learning_rates |= {part: 1e-5, one: 1e-6}
    groups = parameter_groups(model, learning_rates)
    assert [group["lr"] for group in groups] == [*learning_rates.values()]
    members = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(members) == sorted(map(id, model.parameters()))


def test_of_two_names_the_longer_decides():
    model = small()
    groups = parameter_groups(model, {"backbone": 1e-4, "backbone.0": 1e-5, "head": 1e-3})
    assert [group["lr"] for group in groups] == [1e-4, 1e-5, 1e-3]
    assert groups[1]["params"] == [model.backbone[0].weight]


def test_fit_moves_a_group_in_proportion_to_its_rate(data):
    model = small()
    before = state_of(model)
    groups = parameter_groups(model, {"backbone": 1e-5, "head": 1e-2})
    fit(model, data, num_steps=1, parameter_groups=groups, device="cpu")
    # Adam's first step changes every weight by its learning rate, whatever the gradient.
    assert (model.head.weight - before["head.weight"]).abs().max().item() == pytest.approx(1e-2, rel=0.01)
    moved = (model.backbone[0].weight - before["backbone.0.weight"]).abs().max().item()
    assert moved == pytest.approx(1e-5, rel=0.01)


def test_a_rate_for_no_part_is_refused():
    with pytest.raises(ValueError, match="did you mean"):
        parameter_groups(small(), {"backbone": 1e-4, "heads": 1e-3})


@pytest.mark.usefixtures("as_reader")
def test_rates_without_their_parts_are_refused():
    with pytest.raises(TypeError, match=r"learning_rates is \[0\.1\]; expected a mapping"):
        parameter_groups(nn.Linear(2, 2), [0.1])


def test_a_part_without_a_rate_is_refused():
    with pytest.raises(ValueError, match=r"head.weight lies under none"):
        parameter_groups(small(), {"backbone": 1e-4})


@pytest.mark.parametrize("rate", [0.0, -1.0, float("nan")])
def test_a_rate_that_is_not_positive_is_refused(rate):
    with pytest.raises(ValueError, match="positive"):
        parameter_groups(small(), {"backbone": rate, "head": 1e-3})
