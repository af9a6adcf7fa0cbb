"""Patches, masks and the two networks, against values by hand and against what must not happen."""

import ast
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import chapters
import tlutils.vision_transformer as vision_transformer_module
from tlutils.models import Classifier, num_parameters, replace_head
from tlutils.runtime import new_generator
from tlutils.vision_transformer import (
    MaskedAutoencoder,
    VisionTransformer,
    patchify,
    position_embedding,
    random_masks,
    unpatchify,
    vision_transformer,
)

SMALL = {"image_size": 8, "patch_size": 2, "width": 16, "depth": 2, "num_heads": 2}


def images(n=3, size=8, seed=0):
    return torch.rand(n, 3, size, size, generator=new_generator(seed))


@given(
    grid=st.integers(1, 5),
    patch_size=st.integers(1, 4),
    channels=st.sampled_from([1, 3]),
    n=st.integers(1, 3),
)
def test_unpatchify_inverts_patchify(grid, patch_size, channels, n):
    x = torch.rand(n, channels, grid * patch_size, grid * patch_size, generator=new_generator(n))
    patches = patchify(x, patch_size)
    assert patches.shape == (n, grid**2, patch_size**2 * channels)
    assert torch.equal(unpatchify(patches, patch_size), x)


def test_a_patch_by_hand():
    x = torch.arange(32.0).view(1, 2, 4, 4)  # the second channel is the first plus 16
    first = patchify(x, 2)[0, 2]  # second row of patches, left
    assert first.tolist() == [8, 24, 9, 25, 12, 28, 13, 29]


def test_patches_agree_with_unfold():
    x = images()
    unfolded = torch.nn.functional.unfold(x, 2, stride=2)  # channels first, patches last
    expected = unfolded.view(3, 3, 4, 16).permute(0, 3, 2, 1).reshape(3, 16, 12)
    assert torch.equal(patchify(x, 2), expected)


@pytest.mark.parametrize(("x", "patch_size"), [(images(size=8), 3), (images(size=8), 0)])
def test_a_patch_must_divide_the_image(x, patch_size):
    with pytest.raises(ValueError, match="divides both"):
        patchify(x, patch_size)


@pytest.mark.parametrize("patches", [torch.zeros(1, 3, 4), torch.zeros(1, 4, 7)])
def test_patches_must_make_an_image(patches):
    with pytest.raises(ValueError, match="square number of patches"):
        unpatchify(patches, 2)


def test_positions_by_hand():
    found = position_embedding(3, 8)[1 * 3 + 2]  # row 1, column 2; frequencies 1 and 1/100
    by_hand = [f(p * w) for p in (1, 2) for f in (math.sin, math.cos) for w in (1, 0.01)]
    assert torch.allclose(found, torch.tensor(by_hand))


def test_no_two_places_share_a_vector():
    vectors = position_embedding(8, 64)
    apart = torch.cdist(vectors, vectors) + torch.eye(64)
    assert apart.min() > 0.5


@pytest.mark.parametrize(("grid", "width"), [(0, 8), (2, 6), (2, 0)])
def test_a_position_needs_two_sines_and_two_cosines(grid, width):
    with pytest.raises(ValueError, match="multiple of 4"):
        position_embedding(grid, width)


@given(fraction=st.floats(0.02, 0.98), seed=st.integers(0, 1000))
def test_masks_keep_the_share_and_complement_each_other(fraction, seed):
    visible, masked = random_masks(4, 64, fraction, new_generator(seed))
    assert masked.shape[1] == round(64 * fraction)
    both = torch.cat([visible, masked], dim=1).sort(dim=1).values
    assert torch.equal(both, torch.arange(64).expand(4, -1))


def test_masks_follow_the_generator_and_differ_between_images():
    first, second = (random_masks(5, 64, 0.75, new_generator(0))[0] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, random_masks(5, 64, 0.75, new_generator(1))[0])
    assert len({tuple(row.tolist()) for row in first}) == 5


def test_masks_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    random_masks(5, 64, 0.75, new_generator(0))
    assert torch.equal(before, torch.get_rng_state())


def test_every_place_is_hidden_equally_often():
    _, masked = random_masks(4000, 16, 0.75, new_generator(0))
    shares = torch.bincount(masked.flatten(), minlength=16) / 4000
    assert (shares - 0.75).abs().max() < 0.03  # four standard errors are 0.027


@pytest.mark.parametrize("fraction", [0.0, 0.005, 0.995, 1.0])
def test_something_is_hidden_and_something_visible(fraction):
    with pytest.raises(ValueError, match="one hidden and one visible"):
        random_masks(2, 64, fraction, new_generator(0))


@pytest.mark.parametrize("is_training", [True, False])
def test_the_encoder_never_sees_a_hidden_patch(is_training):
    model, x = VisionTransformer(**SMALL).train(is_training), images()
    visible, masked = random_masks(3, 16, 0.75, new_generator(0))
    patches = patchify(x, 2)
    changed = unpatchify(patches.scatter(1, masked[:, :, None].expand(-1, -1, 12), 0.123), 2)
    assert not torch.equal(x, changed)
    with torch.no_grad():
        assert torch.equal(model.encode(x, visible), model.encode(changed, visible))
        assert not torch.equal(model.encode(x), model.encode(changed))


def test_the_guess_does_not_depend_on_hidden_pixels():
    model, x = MaskedAutoencoder(VisionTransformer(**SMALL), decoder_width=8, num_heads=2), images()
    visible, masked = random_masks(3, 16, 0.5, new_generator(0))
    changed = unpatchify(patchify(x, 2).scatter(1, masked[:, :, None].expand(-1, -1, 12), 1.0), 2)
    assert torch.equal(model(x, visible), model(changed, visible))


def test_all_patches_visible_is_the_whole_image():
    model, x = VisionTransformer(**SMALL), images()
    everything = torch.arange(16).expand(3, -1)
    assert torch.equal(model.encode(x, everything), model.encode(x))
    assert torch.equal(model(x), model.encode(x).mean(dim=1))


def test_positions_matter_and_the_order_of_tokens_does_not():
    model, x = VisionTransformer(**SMALL), images()
    order = torch.randperm(16, generator=new_generator(0)).expand(3, -1)
    with torch.no_grad():
        assert torch.allclose(model.encode(x, order), model.encode(x)[:, order[0]], atol=1e-5)
        elsewhere = unpatchify(patchify(x, 2)[:, order[0]], 2)
        assert not torch.allclose(model(elsewhere), model(x), atol=1e-3)
        model.positions.zero_()
        assert torch.allclose(model(elsewhere), model(x), atol=1e-5)


def test_each_visible_token_returns_to_its_place():
    """With a decoder that does nothing, its output tells which token lies where."""
    model = MaskedAutoencoder(VisionTransformer(**SMALL), decoder_width=8, num_heads=2)
    model.blocks, model.norm, model.predict = torch.nn.Identity(), torch.nn.Identity(), torch.nn.Identity()
    model.mask_token.data.fill_(7.0)
    visible, masked = random_masks(3, 16, 0.75, new_generator(0))
    with torch.no_grad():
        found = model(images(), visible) - model.positions
        encoded = model.narrow(model.encoder.encode(images(), visible))
    for i in range(3):
        assert torch.allclose(found[i, visible[i]], encoded[i], atol=1e-6)
        assert torch.allclose(found[i, masked[i]], torch.tensor(7.0))


def test_the_autoencoder_computes_under_autocast():
    model = MaskedAutoencoder(VisionTransformer(**SMALL), decoder_width=8, num_heads=2)
    visible, _ = random_masks(3, 16, 0.75, new_generator(0))
    with torch.autocast("cpu", torch.bfloat16):
        guess = model(images(), visible)
    assert (guess - model(images(), visible)).abs().max() < 0.05
    guess.float().sum().backward()
    assert model.mask_token.grad.dtype == torch.float32


def test_all_parameters_of_the_autoencoder_learn():
    model, x = MaskedAutoencoder(VisionTransformer(**SMALL), decoder_width=8, num_heads=2), images()
    visible, masked = random_masks(3, 16, 0.75, new_generator(0))
    model(x, visible).gather(1, masked[:, :, None].expand(-1, -1, 12)).square().mean().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]


def test_the_classifier_has_logits_features_and_a_head_to_replace():
    model = vision_transformer(5, seed=0, **SMALL)
    assert isinstance(model, Classifier)
    assert model(images()).shape == (3, 5)
    assert model.features(images()).shape == (3, 16)
    assert replace_head(model, 3)(images()).shape == (3, 3)


def test_the_seed_decides_the_weights():
    same, again, other = (vision_transformer(5, seed=seed, **SMALL) for seed in (0, 0, 1))
    assert torch.equal(same.backbone.embed.weight, again.backbone.embed.weight)
    assert not torch.equal(same.backbone.embed.weight, other.backbone.embed.weight)


def test_parameters_by_hand():
    width, patch = 16, 12
    block = (
        4 * (width**2 + width) + 2 * (2 * width**2) + 3 * width + 4 * width
    )  # attention, layers, biases, norms
    expected = patch * width + width + 2 * block + 2 * width + (width + 1) * 10
    assert num_parameters(vision_transformer(**SMALL)) == expected


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"patch_size": 3}, "divisor of image_size"),
        ({"num_heads": 3}, "multiple of num_heads"),
        ({"width": 6}, "multiple of 4"),
    ],
)
def test_a_network_that_cannot_be(options, says):
    with pytest.raises(ValueError, match=says):
        VisionTransformer(**SMALL | options)


def test_one_class_is_none():
    with pytest.raises(ValueError, match="at least 2 classes"):
        vision_transformer(1)


@pytest.mark.parametrize("x", [torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 16, 16)])
def test_images_of_another_shape_are_refused(x):
    with pytest.raises(ValueError, match="this network takes"):
        VisionTransformer(**SMALL)(x)


@pytest.fixture(scope="module")
def masked_loss():
    """The loss as the chapter defines it, for patches of two pixels' side."""
    node = chapters.definitions(chapters.ROOT / "chapters" / "masked_autoencoding.ipynb")["masked_loss"]
    namespace = {"vit": vision_transformer_module, "PATCH_SIZE": 2}
    exec(compile(ast.unparse(node), "masked_loss", "exec"), namespace)
    return namespace["masked_loss"]


def test_the_loss_by_hand(masked_loss):
    x = torch.tensor([[[[0.0, 0.0, 1.0, 3.0], [0.0, 0.0, 1.0, 3.0]]]])  # two patches; the second has mean 2
    masked = torch.tensor([[1]])
    # variance 4/3, so its pixels become ∓√3/2, to be guessed as 0, 0, 0, √3/2
    root = math.sqrt(0.75)
    guess = torch.tensor([[[9.0, 9.0, 9.0, 9.0], [0.0, 0.0, 0.0, root]]])
    assert masked_loss(guess, x, masked).item() == pytest.approx((0.75 + 0.75 + 0.75) / 4, abs=1e-4)


def test_the_loss_ignores_visible_patches(masked_loss):
    _, masked = random_masks(3, 16, 0.75, new_generator(0))
    guess = torch.rand(3, 16, 12, generator=new_generator(1)).requires_grad_()
    masked_loss(guess, images(), masked).backward()
    touched = guess.grad.abs().sum(dim=2) > 0
    assert torch.equal(touched, torch.zeros(3, 16, dtype=torch.bool).scatter(1, masked, True))


def test_guessing_nothing_costs_about_one(masked_loss):
    everywhere = torch.arange(16).expand(3, -1)
    found = masked_loss(torch.zeros(3, 16, 12), images(), everywhere).item()
    assert found == pytest.approx(11 / 12, abs=1e-3)  # the sample variance divides by 11, the mean by 12
