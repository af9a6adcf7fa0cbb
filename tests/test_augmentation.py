"""Random changes of images: what they may do, and what they must not."""

import pytest
import torch

from tlutils.augmentation import random_flip, random_shift
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
