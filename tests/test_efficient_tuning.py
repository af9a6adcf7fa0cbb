"""LoRA, adapters and the pull towards the start, against values by hand and independent formulas."""

import ast
import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional

import chapters
from tlutils import model_based
from tlutils.domains import Labelled
from tlutils.efficient_tuning import (
    Adapter,
    LoRAConv2d,
    LoRALinear,
    add_adapters,
    add_lora,
    l2_sp_penalty,
    merge_lora,
)
from tlutils.model_based import freeze
from tlutils.models import num_parameters, replace_head, residual_network
from tlutils.runtime import new_generator
from tlutils.training import fit
from tlutils.vision_transformer import vision_transformer


def noise(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=new_generator(seed), dtype=dtype)


def small_network():
    return residual_network(4, stem_width=4, widths=(8, 8), seed=0)


def with_updates(model, size=0.1):
    """Give every B of the network random numbers, as training would."""
    for i, layer in enumerate(m for m in model.modules() if isinstance(m, LoRALinear | LoRAConv2d)):
        layer.b.data.copy_(size * noise(*layer.b.shape, seed=i + 1))
    return model


@pytest.fixture
def data():
    return Labelled(torch.rand(24, 3, 8, 8, generator=new_generator(0)), torch.arange(24) % 4, num_classes=4)


def test_a_linear_layer_by_hand():
    base = nn.Linear(2, 2)
    base.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    base.bias.data = torch.tensor([10.0, 20.0])
    layer = LoRALinear(base, rank=1, alpha=3.0)
    layer.a.data, layer.b.data = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0], [0.0]])

    # A x = 1·1 + 2·1 = 3; B A x = (3, 0); α/r = 3; W x + c = (11, 21)
    assert layer(torch.ones(1, 2)).tolist() == [[20.0, 21.0]]
    assert layer.update().tolist() == [[3.0, 6.0], [0.0, 0.0]]


@pytest.mark.parametrize("base", [nn.Linear(6, 5), nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
                                  nn.Conv2d(3, 8, 3, padding="same", dilation=2)])  # fmt: skip
def test_the_layer_starts_out_unchanged(base):
    x = noise(2, 6) if isinstance(base, nn.Linear) else noise(2, 3, 9, 9)
    expected = base(x)
    kind = LoRALinear if isinstance(base, nn.Linear) else LoRAConv2d

    assert torch.equal(kind(base, rank=2, alpha=4.0)(x), expected)


def test_at_first_only_b_has_a_gradient():
    layer = LoRALinear(nn.Linear(4, 3), rank=2, alpha=2.0)
    layer(noise(5, 4)).square().sum().backward()

    assert layer.a.grad.count_nonzero() == 0
    assert layer.b.grad.count_nonzero() == 6
    assert layer.base.weight.grad is None


def test_the_gradients_agree_with_the_chain_rule():
    layer = with_updates(LoRALinear(nn.Linear(4, 3).double(), rank=2, alpha=6.0))
    x, pull = noise(5, 4, dtype=torch.float64), noise(5, 3, seed=9, dtype=torch.float64)
    (layer(x) * pull).sum().backward()
    full = pull.T @ x  # the gradient with respect to W + ΔW

    assert torch.allclose(layer.b.grad, 3 * full @ layer.a.T)
    assert torch.allclose(layer.a.grad, 3 * layer.b.T @ full)


@pytest.mark.parametrize("options", [
    {"kernel_size": 3, "padding": 1}, {"kernel_size": 1, "stride": 2}, {"kernel_size": (3, 1), "dilation": 2},
])  # fmt: skip
def test_two_convolutions_equal_one_with_the_updated_kernel(options):
    base = nn.Conv2d(3, 8, **options).double()
    layer = with_updates(LoRAConv2d(base, rank=2, alpha=1.0))
    x = noise(2, 3, 9, 9, dtype=torch.float64)
    kernel = base.weight + 0.5 * torch.einsum("or,rikl->oikl", layer.b[:, :, 0, 0], layer.a)
    options.pop("kernel_size")

    assert torch.allclose(layer(x), functional.conv2d(x, kernel, base.bias, **options))


@pytest.mark.usefixtures("as_reader")
def test_a_rank_is_a_whole_number():
    with pytest.raises(TypeError, match=r"rank is 1\.5; expected a whole number"):
        add_lora(small_network(), ["backbone"], rank=1.5, alpha=4.0)


def test_the_update_has_at_most_the_rank_asked_for():
    layer = with_updates(LoRAConv2d(nn.Conv2d(6, 12, 3), rank=3, alpha=1.0))

    assert torch.linalg.matrix_rank(layer.update().flatten(1)) == 3


def test_merged_equals_unmerged():
    model = with_updates(add_lora(small_network(), ["backbone", "head"], rank=2, alpha=4.0)).double().eval()
    x = noise(4, 3, 8, 8, dtype=torch.float64)
    before = model(x)
    merged = merge_lora(model)

    assert (merged(x) - before).abs().max() < 1e-12
    assert [*merged.state_dict()] == [*small_network().state_dict()], "the plain network again"


def test_merged_equals_unmerged_in_single_precision():
    model = with_updates(add_lora(small_network(), ["backbone"], rank=2, alpha=4.0), size=0.01).eval()
    x = noise(4, 3, 8, 8)
    before = model(x)

    assert (merge_lora(model)(x) - before).abs().max() < 1e-6


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_attention_takes_the_updated_matrices(mode):
    """It calls none of its linear layers: before, LoRA in a transformer ended in an AttributeError."""
    model = add_lora(vision_transformer(seed=0), ["backbone"], rank=2, alpha=4.0).double()
    x = noise(2, 3, 32, 32, dtype=torch.float64)
    start, model = model.eval()(x), with_updates(model)
    unmerged = model.eval()(x)
    if mode == "train":  # its layers have no dropout; the way through them is another
        assert torch.allclose(model.train()(x), unmerged, atol=1e-10)
        model(x).sum().backward()
        assert all(p.grad is not None for name, p in model.named_parameters() if name.endswith((".a", ".b")))
        model.eval()
    assert (unmerged - start).abs().max() > 1e-2
    assert torch.allclose(merge_lora(model)(x), unmerged, atol=1e-10)


@pytest.mark.parametrize("base", [nn.Linear(3, 2), nn.Conv2d(3, 2, 3, bias=False)])
def test_the_weight_is_that_of_the_merged_layer(base):
    layer = with_updates(add_lora(nn.Sequential(base), ["0"], rank=1, alpha=1.0))[0]
    weight, bias = layer.weight.detach().clone(), layer.bias
    merged = merge_lora(layer)
    assert torch.equal(merged.weight, weight)
    assert merged.bias is bias


def test_a_lone_layer_is_merged_too():
    layer = with_updates(LoRALinear(nn.Linear(4, 3), rank=2, alpha=2.0))
    x = noise(5, 4)
    expected = layer(x)

    assert torch.allclose(merge_lora(layer)(x), expected, atol=1e-6)


def test_merging_twice_is_refused():
    model = merge_lora(add_lora(small_network(), ["backbone.stem"], rank=1, alpha=1.0))
    with pytest.raises(ValueError, match="merged already"):
        merge_lora(model)


def test_the_number_of_trained_parameters_by_hand():
    model = freeze(residual_network())
    add_lora(model, ["backbone.stage3"], rank=4, alpha=8.0)

    # r (in · k · k + out): 64→128 with 3×3, 128→128 with 3×3, 64→128 with 1×1
    assert num_parameters(model, trainable_only=True) - 1290 * model.head.weight.requires_grad == 4 * (
        (64 * 9 + 128) + (128 * 9 + 128) + (64 + 128)
    )


def test_a_layer_smaller_than_the_rank_gets_its_own_largest():
    model = add_lora(nn.Sequential(nn.Linear(8, 2)), ["0"], rank=4, alpha=8.0)

    assert model[0].a.shape == (2, 8)
    assert model[0].scale == 2.0, "α / r as for the other layers"


@pytest.mark.parametrize("method", ["lora", "adapter"])
def test_what_is_frozen_is_bit_identical_after_training(method, data):
    model = freeze(small_network())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items() if "head" not in name}
    if method == "lora":
        add_lora(model, ["backbone"], rank=2, alpha=4.0)
    else:
        add_adapters(model, {"backbone.stage1": 8, "backbone.stage2": 8}, bottleneck=3)
    replace_head(model, 4)
    drawn = {name: p.clone() for name, p in model.named_parameters() if p.requires_grad}
    fit(model, data, num_steps=4, batch_size=8, learning_rate=0.01, device="cpu")
    after = {name.replace(".base", ""): tensor for name, tensor in model.state_dict().items()}

    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert not any(torch.equal(p, drawn[name]) for name, p in model.named_parameters() if p.requires_grad)


def test_a_part_that_has_lora_is_refused_a_second_time():
    model = add_lora(small_network(), ["backbone.stem"], rank=1, alpha=1.0)
    with pytest.raises(ValueError, match="without LoRA"):
        add_lora(model, ["backbone.stem"], rank=1, alpha=1.0)
    add_lora(model, ["backbone"], rank=1, alpha=1.0)  # the rest

    assert sum(isinstance(part, LoRAConv2d) for part in model.modules()) == 7


def test_the_seed_decides_the_start():
    first, again, other = (
        add_lora(small_network(), ["backbone"], rank=2, alpha=1.0, seed=seed).backbone.stem[0].a
        for seed in (1, 1, 2)
    )

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.abs().max() <= 27**-0.5, "PyTorch's own bound for 3 · 3 · 3 inputs"


def test_a_network_with_lora_can_be_copied_and_pickled():
    model = add_lora(small_network(), ["backbone"], rank=2, alpha=1.0).eval()
    x = noise(2, 3, 8, 8)

    assert torch.equal(copy.deepcopy(model)(x), model(x))
    assert torch.equal(pickle.loads(pickle.dumps(model))(x), model(x))


def test_dtype_is_kept():
    layer = add_lora(nn.Sequential(nn.Linear(4, 3)).double(), ["0"], rank=1, alpha=1.0)[0]

    assert layer.a.dtype == layer.b.dtype == torch.float64


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4, 4)])
def test_an_adapter_agrees_with_its_formula(shape):
    adapter = Adapter(nn.Identity(), channels=3, bottleneck=2)
    x = noise(*shape)
    assert torch.equal(adapter(x), x), "nothing changes at first"
    adapter.up.data, adapter.up_bias.data = noise(3, 2, seed=1), noise(3, seed=2)
    rows = x.movedim(1, -1)
    expected = (
        rows + (rows @ adapter.down.T + adapter.down_bias).clamp(min=0) @ adapter.up.T + adapter.up_bias
    )

    assert torch.allclose(adapter(x), expected.movedim(-1, 1), atol=1e-6)


@pytest.mark.parametrize("output", [torch.zeros(2, 4), torch.zeros(2, 4, 5, 5), torch.zeros(2, 5, 3)])
def test_an_adapter_of_another_width_is_named(output):
    model = add_adapters(nn.Sequential(nn.Identity()), {"0": 3}, bottleneck=2)
    with pytest.raises(ValueError, match=r"the adapter was made for 3 channels"):
        model(output)


def test_an_adapter_freezes_what_it_stands_behind():
    model = add_adapters(small_network(), {"backbone.stage1": 8}, bottleneck=3)
    block = model.backbone.stage1

    assert not any(p.requires_grad for p in block.base.parameters())
    assert sum(p.numel() for p in block.parameters() if p.requires_grad) == 8 * 3 + 3 + 3 * 8 + 8


@pytest.mark.parametrize(("call", "error", "says"), [
    (lambda: LoRALinear(nn.Linear(4, 3), 0, 1.0), ValueError, "rank is 0; expected 1 to 3"),
    (lambda: LoRALinear(nn.Linear(4, 3), 4, 1.0), ValueError, "rank is 4; expected 1 to 3"),
    (lambda: LoRALinear(nn.Linear(4, 3), 1, 0.0), ValueError, "alpha is 0.0"),
    (lambda: LoRALinear(nn.ReLU(), 1, 1.0), TypeError, "got ReLU"),
    (lambda: LoRAConv2d(nn.Linear(4, 3), 1, 1.0), TypeError, "got Linear"),
    (lambda: LoRAConv2d(nn.Conv2d(4, 4, 3, groups=2), 1, 1.0), ValueError, "groups=2"),
    (lambda: LoRAConv2d(nn.Conv2d(4, 4, 3, padding_mode="circular"), 1, 1.0), ValueError, "circular"),
    (lambda: Adapter(nn.Identity(), 3, 0), ValueError, "bottleneck=0"),
    (lambda: add_lora(small_network(), ["backbone.stagee1"], rank=1, alpha=1.0), ValueError,
     r"no layer 'backbone.stagee1'; did you mean \['backbone.stage1'"),
    (lambda: add_lora(small_network(), ["backbone.pool"], rank=1, alpha=1.0), ValueError, "no linear"),
    (lambda: add_lora(small_network(), "backbone", rank=1, alpha=1.0), TypeError, "list of names"),
    (lambda: add_lora(small_network(), ["backbone"], rank=0, alpha=1.0), ValueError, "rank is 0"),
    (lambda: add_lora(nn.Sequential(nn.Conv2d(4, 4, 1, groups=2)), ["0"], rank=1, alpha=1.0), ValueError,
     "0: the convolution has groups=2"),
    (lambda: add_lora(small_network(), [""], rank=1, alpha=1.0), ValueError, "no layer ''"),
    (lambda: add_adapters(small_network(), {"stage1": 8}, bottleneck=1), ValueError, "backbone.stage1"),
    (lambda: merge_lora(nn.Linear(2, 2)), ValueError, "no LoRA layer"),
])  # fmt: skip
def test_bad_arguments_are_answered(call, error, says):
    with pytest.raises(error, match=says):
        call()


@pytest.mark.usefixtures("as_reader")
def test_names_without_channels_are_refused():
    with pytest.raises(TypeError, match=r"channels is \['backbone'\]; expected a mapping"):
        add_adapters(small_network(), ["backbone"], bottleneck=2)


def test_the_penalty_by_hand():
    layer = nn.Linear(2, 1)
    layer.weight.data, layer.bias.data = torch.tensor([[1.0, 5.0]]), torch.tensor([2.0])
    start = {"weight": torch.tensor([[0.0, 3.0]])}

    assert l2_sp_penalty(layer, start, strength=2.0).item() == 1.0 + 4.0  # 2/2 · (1² + 2²)
    assert l2_sp_penalty(layer, start, strength=2.0, new_strength=0.5).item() == 5.0 + 1.0  # 0.5/2 · 2²


def test_the_penalty_pulls_towards_the_start():
    model = nn.Linear(3, 2)
    start = {name: p.detach() + 1 for name, p in model.named_parameters()}
    l2_sp_penalty(model, start, strength=0.3).backward()

    assert torch.allclose(model.weight.grad, torch.full((2, 3), -0.3))


def test_the_penalty_equals_weight_decay_towards_zero():
    model = nn.Linear(3, 2)
    zero = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    squares = sum(p.square().sum() for p in model.parameters())

    assert torch.isclose(l2_sp_penalty(model, zero, strength=2.0), squares)


def test_the_penalty_leaves_frozen_parameters_out():
    model = nn.Linear(3, 2)
    model.bias.requires_grad_(False)
    start = {name: p.detach() + 1 for name, p in model.named_parameters()}

    assert l2_sp_penalty(model, start, strength=1.0).item() == pytest.approx(3.0)


def test_the_penalty_serves_as_a_term_of_fit(data):
    moved = []
    for strength in (0.0, 10.0):
        model = small_network()
        start = {n: p.detach().clone() for n, p in model.named_parameters() if not n.startswith("head")}
        fit(
            model, data, num_steps=6, batch_size=8, learning_rate=0.01, device="cpu", x_target=data.x,
            loss_term=lambda m, _x, _t, s=start, k=strength: l2_sp_penalty(m, s, strength=k),
        )  # fmt: skip
        moved.append(l2_sp_penalty(model, start, strength=1.0).item())

    assert moved[1] < 0.5 * moved[0]


@pytest.mark.parametrize(("start", "options", "says"), [
    ({"weight": torch.zeros(1, 2)}, {"strength": -1.0}, "strength=-1.0"),
    ({"weight": torch.zeros(1, 2)}, {"strength": 1.0, "new_strength": -1.0}, "new_strength=-1.0"),
    ({"weight": torch.zeros(2, 2)}, {"strength": 1.0}, "leave a new head out"),
    ({"other": torch.zeros(1, 2)}, {"strength": 1.0}, "no parameter in training"),
])  # fmt: skip
def test_a_penalty_that_cannot_be_meant_is_refused(start, options, says):
    with pytest.raises(ValueError, match=says):
        l2_sp_penalty(nn.Linear(2, 1), start, **options)


def test_both_kinds_of_layer_start_alike():
    """A 1×1 convolution on one pixel is a linear layer: with the same generator it gets the same A."""
    linear = LoRALinear(nn.Linear(6, 4), 2, 3.0, new_generator(0))
    convolution = LoRAConv2d(nn.Conv2d(6, 4, 1), 2, 3.0, new_generator(0))

    assert torch.equal(convolution.a.flatten(1), linear.a)
    assert convolution.a.shape == (2, 6, 1, 1)
    assert (convolution.b.shape, linear.b.shape) == ((4, 2, 1, 1), (4, 2))
    assert convolution.scale == linear.scale == 1.5


def test_model_based_offers_the_same_functions():
    names = ("LoRALinear", "merge_lora", "l2_sp_penalty", "add_lora", "add_adapters")

    assert all(getattr(model_based, name).__module__ == "tlutils.efficient_tuning" for name in names)


def chapter_function(chapter, name, **scope):
    """Return what a chapter defines under `name`."""
    node = chapters.definitions(chapters.ROOT / "chapters" / f"{chapter}.ipynb")[name]
    exec(compile(ast.unparse(node), chapter, "exec"), scope)
    return scope[name]


def test_the_layer_written_in_the_chapter_is_this_one():
    theirs = chapter_function("parameter_efficient_tuning", "LoRALinear", nn=nn, torch=torch, copy=copy)
    base, x = nn.Linear(6, 4), noise(5, 6)
    here, there = (kind(base, 2, 3.0, new_generator(0)) for kind in (LoRALinear, theirs))
    assert torch.equal(here.a, there.a)
    here.b.data = there.b.data = noise(4, 2)

    assert torch.equal(here(x), there(x))
    assert torch.equal(here.update(), there.update())
    assert torch.allclose(there.merged()(x), here(x), atol=1e-6)
