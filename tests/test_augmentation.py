"""Random changes of images: what they may do, and what they must not."""

import pytest
import torch

from tlutils.augmentation import random_affine, random_flip, random_shift
from tlutils.runtime import seeded


def make_images(n=200, channels=3, height=5, width=7):
    """Return images whose pixels are all different."""
    return torch.arange(1.0, 1 + n * channels * height * width).view(n, channels, height, width)


def test_an_image_is_mirrored_whole_or_left_alone():
    x = make_images()
    with seeded(0):
        changed = random_flip(x)
    is_same = (changed == x).flatten(1).all(1)
    is_mirrored = (changed == x.flip(-1)).flatten(1).all(1)
    assert (is_same ^ is_mirrored).all()
    assert 60 < is_mirrored.sum() < 140  # of 200 tosses; ten standard deviations are 70


def test_a_shift_moves_an_image_whole_and_fills_with_black():
    x = make_images()
    with seeded(0):
        changed = random_shift(x, 2)
    padded = torch.nn.functional.pad(x, [2] * 4)
    windows = {(i, j): padded[:, :, i : i + 5, j : j + 7] for i in range(5) for j in range(5)}
    matches = torch.stack([(changed == w).flatten(1).all(1) for w in windows.values()])
    assert (matches.sum(0) == 1).all(), "each image is one of the 25 windows"
    assert matches.any(1).all(), "each window occurs"


def test_results_follow_the_global_generator_and_keep_the_type():
    x = make_images().double()
    with seeded(3):
        first = random_shift(random_flip(x), 1)
    with seeded(3):
        same = random_shift(random_flip(x), 1)
    assert torch.equal(first, same)
    assert first.dtype == torch.float64
    assert first.shape == x.shape


def test_no_shift_is_refused():
    with pytest.raises(ValueError, match="num_pixels is 0; expected at least 1"):
        random_shift(make_images(2), 0)


STILL = {"zoom": (1.0, 1.0), "stretch": 0.0, "slant": 0.0, "shift": 0.0}


def make_square(n=1, channels=1):
    """Return images of 32 pixels with a white square of 8 in the middle."""
    x = torch.zeros(n, channels, 32, 32)
    x[:, :, 12:20, 12:20] = 1
    return x


def changed_square(seed=0, n=1, **change):
    with seeded(seed):
        return random_affine(make_square(n), **STILL | change)


def test_a_zoom_of_two_quadruples_the_area():
    assert changed_square(zoom=(2.0, 2.0)).sum().item() == pytest.approx(4 * 64, rel=0.05)


@pytest.mark.parametrize("change", [{"stretch": 0.4}, {"slant": 0.4}, {"shift": 0.3}])
def test_other_changes_leave_the_area(change):
    changed = changed_square(seed=1, **change)
    assert changed.sum().item() == pytest.approx(64, rel=0.1)
    assert not torch.equal(changed, make_square())


def test_a_move_is_a_share_of_half_the_image():
    rows = changed_square(n=200, shift=0.25).sum(dim=(1, 3))
    centres = (rows * torch.arange(32)).sum(dim=1) / rows.sum(dim=1) - 15.5
    assert 3.7 < centres.abs().max() <= 4.01  # a quarter of 16 pixels


def test_each_image_gets_its_own_change_and_stays_an_image():
    with seeded(0):
        changed = random_affine(make_square(5, 3).double())
    assert changed.dtype == torch.float64
    assert 0 <= changed.min() <= changed.max() <= 1
    assert not torch.equal(changed[0], changed[1])
    assert torch.equal(changed[0, 0], changed[0, 2])


@pytest.mark.parametrize("wrong", [{"zoom": (0.0, 1.0)}, {"zoom": (2.0, 1.0)}, {"slant": -0.1}])
def test_amounts_out_of_range(wrong):
    with pytest.raises(ValueError, match="expected 0 < smallest zoom <= largest zoom"):
        random_affine(make_square(), **wrong)
