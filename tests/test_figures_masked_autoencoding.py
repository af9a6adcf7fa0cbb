"""Figures of the chapter `masked_autoencoding` show what they are given."""

import pytest
import torch

from tlutils.figures import masked_autoencoding as figures
from tlutils.repeats import Interval
from tlutils.runtime import new_generator
from tlutils.vision_transformer import MaskedAutoencoder, VisionTransformer, patchify
from tlutils.widgets import static_lab


@pytest.fixture
def model():
    encoder = VisionTransformer(image_size=8, patch_size=2, width=16, depth=1, num_heads=2)
    return MaskedAutoencoder(encoder, decoder_width=8, num_heads=2).eval()


@pytest.fixture
def x():
    return torch.rand(3, 3, 8, 8, generator=new_generator(0))


def around(mean):
    return Interval(mean, mean - 0.1, mean + 0.1, 5)


def shown(ax):
    return torch.from_numpy(ax.images[0].get_array().data).permute(2, 0, 1)


def test_images_stand_above_their_patches_and_what_is_seen(x):
    figure = figures.cut_and_hide(x, 0.75, patch_size=2, seed=0)
    assert len(figure.axes) == 9
    columns = [figure.axes[i] for i in (0, 3, 6)]
    assert [ax.get_ylabel() for ax in columns] == ["image", "patches", "seen"]
    assert torch.allclose(shown(columns[0]), x[0])
    assert len(columns[1].lines) == 10
    grey = (patchify(shown(columns[2])[None].float(), 2) == figures.GREY).all(dim=2)
    assert grey.sum() == 12


def test_visible_patches_are_the_image_in_every_row(model, x):
    rows = figures.rebuilt(model, x, 0.75, seed=0)
    assert [*rows] == ["seen", "gift", "guess", "image"]
    patches = {name: patchify(images, 2) for name, images in rows.items()}
    same = {name: (found == patches["image"]).all(dim=2).sum(dim=1) for name, found in patches.items()}
    assert same["seen"].tolist() == same["gift"].tolist() == same["guess"].tolist() == [4, 4, 4]


def test_the_gift_is_the_mean_of_each_hidden_patch(model, x):
    rows = figures.rebuilt(model, x, 0.5, seed=0)
    gift, image = (patchify(rows[name], 2) for name in ("gift", "image"))
    assert torch.allclose(gift.mean(dim=2), image.mean(dim=2), atol=1e-6)
    flat = gift.std(dim=2) < 1e-6
    assert flat.sum(dim=1).tolist() == [8, 8, 8]


def test_a_guess_of_nothing_is_the_gift(model, x):
    model.predict.weight.data.zero_()
    model.predict.bias.data.zero_()
    rows = figures.rebuilt(model, x, 0.75, seed=0)
    assert torch.allclose(rows["guess"], rows["gift"], atol=1e-6)


def test_the_lab_is_small_and_says_the_error(model, x):
    lab = figures.rebuild_lab(model, [x, x.flip(0)], {0.25: 0.51, 0.75: 0.75})
    assert lab["describe"](0.75, 2).startswith("12 of 16 patches hidden, images 2: error 0.75")
    assert lab["start"] == {"share": 0.75, "number": 1}
    says = lab["describe"](0.4, 1)  # the live slider stops anywhere
    assert says.startswith("6 of 16 patches hidden, images 1: error 0.51 (measured at a share of 0.25)")
    assert len(static_lab(**lab)) < 400_000
    assert len(lab["draw"](0.25, 1).axes) == 12


def test_accuracies_stand_by_start():
    found = {"random": around(0.3), "masked": around(0.5)}
    figure = figures.accuracies({"near": {"probe": found, "tune": found}}, chance=0.1)
    ax = figure.axes[0]
    heights = [line.get_ydata()[0] for line in ax.lines if line.get_marker() in "os"]
    assert heights == [0.3, 0.5, 0.3, 0.5]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["random", "masked"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["probe", "tune"]


def test_gains_tell_plus_from_minus_and_from_nothing():
    figure = figures.gains({"up": around(1), "down": around(-1), "none": around(0.05)})
    colours = [line.get_color() for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert colours == [figures.COLOURS[name] for name in ("blue", "vermilion", "black")]
    assert [text.get_text() for text in figure.axes[0].texts] == ["up", "down", "none"]
