"""Digits from fonts and on photographs."""

from __future__ import annotations

import numpy as np
import pytest

from tlutils import drawn

NUM_IMAGES = 400


@pytest.fixture(scope="module")
def digits():
    return drawn.render_digits(NUM_IMAGES, 28, np.random.default_rng(0))


@pytest.fixture(scope="module")
def careless():
    return drawn.render_digits(NUM_IMAGES, 28, np.random.default_rng(0), careless=True)


def boxes(images: np.ndarray) -> np.ndarray:
    """Return (top, bottom, left, right) of the ink of each image, in pixels from 0 to its size."""
    ink = images[..., 0] > 40
    size = images.shape[1]
    sides = []
    for axis in (2, 1):
        hit = ink.any(axis)
        sides += [hit.argmax(1), size - hit[:, ::-1].argmax(1)]
    return np.stack(sides, -1)


class TestRenderedDigits:
    def test_labels_are_balanced(self, digits):
        images, labels = digits
        assert images.shape == (NUM_IMAGES, 28, 28, 1)
        assert labels[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]

    def test_digits_fill_the_frame_centred(self, digits):
        top, bottom, left, right = boxes(digits[0]).T
        longer = np.maximum(bottom - top, right - left)
        assert longer.min() >= 0.8 * 28
        assert np.abs(top - (28 - bottom)).max() <= 3  # faint fringes count as room
        assert np.abs(left - (28 - right)).max() <= 3

    def test_no_digit_is_cut_off_by_the_canvas(self):
        glyphs = [strokes[-1] for digits in drawn._glyphs() for strokes in digits]
        u = np.random.default_rng(0).random((2000, 2 + 2 * len(drawn._corners())))
        slant, turn = u[:, 0].round(), u[:, 1].round()  # as far as they go, to either side
        corners = drawn._warped_corners(slant, turn, u[:, 2:].reshape(2000, -1, 2))
        for i, moved in enumerate(corners):
            canvas = np.asarray(drawn._warp(glyphs[i % len(glyphs)], moved))
            assert max(side.max() for side in (canvas[0], canvas[-1], canvas[:, 0], canvas[:, -1])) == 0

    def test_careless_digits_are_small_and_anywhere(self, careless):
        top, bottom, left, right = boxes(careless[0]).T
        longer = np.maximum(bottom - top, right - left)
        assert longer.max() <= 0.6 * 28
        assert np.ptp((top + bottom) / 2) > 14
        assert np.ptp((left + right) / 2) > 14

    def test_sizes(self):
        for size in (16, 32):
            assert drawn.render_digits(3, size, np.random.default_rng(0))[0].shape == (3, size, size, 1)

    def test_first_images_do_not_depend_on_how_many(self, digits):
        fewer, _ = drawn.render_digits(15, 28, np.random.default_rng(0))
        assert np.array_equal(fewer, digits[0][:15])

    def test_digits_vary(self, digits):
        images, labels = digits
        assert len({image.tobytes() for image in images}) == NUM_IMAGES
        ink = images.mean((1, 2, 3)) / 255
        assert ink[labels == 8].std() > 0.04  # stroke width and font

    def test_a_nearest_mean_can_tell_them_apart(self, digits):
        # Wrong labels, or symbols in the place of digits, would leave it near 0.1.
        images, labels = digits
        flat = images.reshape(NUM_IMAGES, -1).astype(float)
        means = np.stack([flat[:200][labels[:200] == digit].mean(0) for digit in range(10)])
        nearest = ((flat[200:, None] - means) ** 2).sum(-1).argmin(1)
        assert (nearest == labels[200:]).mean() > 0.6


class TestFonts:
    def test_fonts_with_digits_only(self):
        names = {path.stem for path in drawn.digit_fonts()}
        assert {"DejaVuSans", "DejaVuSerif-Italic", "STIXGeneral", "cmr10"} <= names
        # Symbols, or old-style figures, in the places of the digits.
        assert names.isdisjoint({"cmsy10", "cmex10", "cmmi10", "DejaVuSansDisplay", "STIXSizOneSymReg"})
        assert len(names) >= 20


class TestPhotoDigits:
    def test_absolute_difference_per_channel(self, monkeypatch):
        rng = np.random.default_rng(0)
        photo = rng.integers(0, 256, (2, 40, 90, 3), dtype=np.uint8)
        monkeypatch.setattr(drawn, "_photos", lambda: photo)
        digits = rng.integers(0, 256, (20, 28, 28, 1), dtype=np.uint8)
        blended = drawn.blend_with_photos(digits, "train", np.random.default_rng(1))
        crops = drawn.blend_with_photos(np.zeros_like(digits), "train", np.random.default_rng(1))
        expected = np.abs(crops.astype(int) - digits.astype(int))
        assert blended.dtype == np.uint8
        assert np.array_equal(blended, expected)

    def test_crops_for_training_and_testing_share_no_pixel(self, monkeypatch):
        # Every pixel of this "photograph" says in which column it lies, and in which picture.
        columns = np.broadcast_to(np.arange(240, dtype=np.uint8)[:, None], (2, 100, 240, 3)).copy()
        columns[1, :, :, 0] = 255
        monkeypatch.setattr(drawn, "_photos", lambda: columns)
        black = np.zeros((500, 28, 28, 1), dtype=np.uint8)
        crops = {
            split: drawn.blend_with_photos(black, split, np.random.default_rng(0))
            for split in ("train", "test")
        }
        assert crops["train"][..., 1].max() < crops["test"][..., 1].min()
        for split, width in (("train", 160), ("test", 80)):
            assert np.ptp(crops[split][:, 0, 0, 1].astype(int)) > 0.8 * (width - 28)
            assert 0.4 < (crops[split][:, 0, 0, 0] == 255).mean() < 0.6

    def test_photographs_are_in_colour(self):
        photos = drawn._photos()
        assert photos.shape == (2, 427, 640, 3)
        assert np.abs(photos[..., 0].astype(int) - photos[..., 2]).mean() > 10


def test_small_digits_use_all_grey_levels():
    images, labels = drawn.small_digits()
    assert images.shape == (1797, 8, 8, 1)
    assert len(np.unique(images)) == 17
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
