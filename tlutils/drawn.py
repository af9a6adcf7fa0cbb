"""Digits that are made, not fetched: drawn from fonts, blended with photographs, or shipped by a library.

Everything is drawn from NumPy's PCG64 with a given seed and is the same in every process. Random numbers come
as one row per example, so the first n examples do not depend on how many are asked for.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64, UInt8

GLYPH_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Stored runs of several chapters depend on the numbers below: changing one means training those runs again.
GLYPH_HEIGHT = 64  # pixels; digits are drawn this high once and then warped
STROKES = (0, 1, 2, 3)  # pixels added around the outline at that height
MAX_SLANT = 0.35  # horizontal shift per unit of height
MAX_TURN = 0.2  # radians
STRETCH = (0.75, 1.25)  # width against the font's
FILL = (0.86, 1.0)  # longer side of the digit against the frame
CARELESS_FILL = (0.25, 0.5)
OVERSAMPLING = 2


def render_digits(
    num_images: int, size: int, generator: np.random.Generator, careless: bool = False
) -> tuple[UInt8[np.ndarray, "n h w 1"], Int64[np.ndarray, " n"]]:
    """Draw digits in varied font, slant, stroke width, width and size.

    A digit is centred and fills the frame, as a digit that was cut out by its bounding box does. With
    `careless` it is small and lies anywhere in the frame.

    Parameters
    ----------
    num_images
        How many; the labels are 0, 1, ..., 9, 0, 1, ... so that all classes are equally frequent.
    size
        Height and width of the images, in pixels.
    generator
        The source of the variation; 8 numbers are taken per image.
    careless
        Whether to draw small digits anywhere.

    Returns
    -------
    Images in [0, 255], bright on black, and labels in 0..9.
    """
    from PIL import Image

    glyphs, outlines = _glyphs()
    u = generator.random((num_images, 8))
    labels = np.arange(num_images, dtype=np.int64) % 10
    fonts = (u[:, 0] * len(glyphs)).astype(int)
    strokes = (u[:, 1] * len(STROKES)).astype(int)
    maps, offsets = _placements(outlines[fonts, labels, strokes], u[:, 2:], size, careless)
    frame = (size * OVERSAMPLING, size * OVERSAMPLING)
    images = np.empty((num_images, size, size, 1), dtype=np.uint8)
    for i, (a, b) in enumerate(zip(maps, offsets, strict=True)):
        glyph = glyphs[fonts[i]][labels[i]][strokes[i]]
        data = (a[0, 0], a[0, 1], b[0], a[1, 0], a[1, 1], b[1])
        drawn = glyph.transform(frame, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
        images[i, :, :, 0] = drawn.reduce(OVERSAMPLING)
    return images, labels


def _placements(
    outlines: Float[np.ndarray, "n points 2"], u: Float[np.ndarray, "n 6"], size: int, careless: bool
) -> tuple[Float[np.ndarray, "n 2 2"], Float[np.ndarray, "n 2"]]:
    """Return for each image the affine map from the pixels of the frame to the pixels of the glyph."""
    slant, turn = (2 * u[:, 0] - 1) * MAX_SLANT, (2 * u[:, 1] - 1) * MAX_TURN
    stretch = STRETCH[0] * (STRETCH[1] / STRETCH[0]) ** u[:, 2]
    cos, sin, zero = np.cos(turn), np.sin(turn), np.zeros_like(turn)
    rotation = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], -2)
    shear = np.stack([np.stack([stretch, -slant], -1), np.stack([zero, zero + 1], -1)], -2)
    forward = rotation @ shear
    warped = outlines @ forward.swapaxes(1, 2)
    low, high = warped.min(1), warped.max(1)
    fill = CARELESS_FILL if careless else FILL
    side = size * OVERSAMPLING
    length = side * (fill[0] + (fill[1] - fill[0]) * u[:, 3])
    scale = length / (high - low).max(1)
    centre = np.full((len(u), 2), side / 2.0)
    if careless:
        room = side - scale[:, None] * (high - low)
        centre = side / 2 + (u[:, 4:6] - 0.5) * room
    inverse = np.linalg.inv(forward) / scale[:, None, None]
    middle = np.linalg.inv(forward) @ ((low + high) / 2)[:, :, None]
    return inverse, middle[:, :, 0] - (inverse @ centre[:, :, None])[:, :, 0]


@functools.cache
def _glyphs() -> tuple[list, Float[np.ndarray, "fonts 10 strokes points 2"]]:
    """Draw every digit of every font in every stroke width, once per process.

    Returns
    -------
    Images by font, digit and stroke, and the points (x, y) of their outlines: for each row the left and
    the right end of the ink.
    """
    from PIL import ImageFont

    glyphs, outlines = [], []
    for path in digit_fonts():
        font = ImageFont.truetype(str(path), GLYPH_HEIGHT * 4 // 3)
        glyphs.append([[_draw_glyph(font, digit, stroke) for stroke in STROKES] for digit in "0123456789"])
        outlines.append([[_outline(glyph) for glyph in strokes] for strokes in glyphs[-1]])
    return glyphs, np.array(outlines)


def _draw_glyph(font, digit: str, stroke: int):
    """Draw one digit, bright on black, with a border as wide as any warp needs."""
    from PIL import Image, ImageDraw

    side = 2 * GLYPH_HEIGHT
    image = Image.new("L", (side, side))
    draw = ImageDraw.Draw(image)
    draw.text((side // 2, side // 2), digit, fill=255, font=font, anchor="mm", stroke_width=stroke)
    return image


def _outline(glyph) -> Float[np.ndarray, "points 2"]:
    """Return left and right end of the ink in each row; rows without ink repeat the first row with ink."""
    ink = np.asarray(glyph) > 127
    rows = np.flatnonzero(ink.any(1))
    rows = np.concatenate([rows, np.full(len(ink) - len(rows), rows[0])])
    left, right = ink[rows].argmax(1), ink.shape[1] - ink[rows, ::-1].argmax(1)
    points = [np.stack([x, y], -1) for x in (left, right) for y in (rows, rows + 1)]
    return np.concatenate(points).astype(float)


@functools.cache
def digit_fonts() -> tuple[Path, ...]:
    """Return the fonts that matplotlib ships and that have upright lining digits, by file name.

    A symbol font may have something else in the places of the digits, so the names of the glyphs decide.
    """
    import matplotlib
    from matplotlib.ft2font import FT2Font

    def has_digits(path: Path) -> bool:
        font = FT2Font(str(path))
        glyphs = font.get_charmap()
        return all(
            ord("0") + digit in glyphs and font.get_glyph_name(glyphs[ord("0") + digit]) == name
            for digit, name in enumerate(GLYPH_NAMES)
        )

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return tuple(path for path in sorted(folder.glob("*.ttf")) if has_digits(path))


def blend_with_photos(
    digits: UInt8[np.ndarray, "n h w 1"], split: str, generator: np.random.Generator
) -> UInt8[np.ndarray, "n h w 3"]:
    """Blend each digit with a random crop of a photograph: per channel ``|crop - digit|``.

    The photographs are the two that scikit-learn ships. Crops for training come from the left two thirds of a
    photograph, those for testing from the right third, so the two have no pixel in common.

    Parameters
    ----------
    digits
        Grey images in [0, 255].
    split
        "train" or "test".
    generator
        Chooses the crops; 3 numbers are taken per image.

    Returns
    -------
    Colour images in [0, 255], in the order of `digits`.

    Source
    ------
    Ganin et al., Domain-adversarial training of neural networks, JMLR 17 (2016), section 5.2.4 (MNIST-M,
    there with the photographs of BSDS500).
    """
    photos = _photos()
    height, width = digits.shape[1:3]
    border = photos.shape[2] * 2 // 3
    first, last = (0, border - width) if split == "train" else (border, photos.shape[2] - width)
    u = generator.random((len(digits), 3))
    which = (u[:, 0] * len(photos)).astype(int)
    top = (u[:, 1] * (photos.shape[1] - height + 1)).astype(int)
    left = first + (u[:, 2] * (last - first + 1)).astype(int)
    windows = np.lib.stride_tricks.sliding_window_view(photos, (height, width), axis=(1, 2))
    crops = windows[which, top, left].transpose(0, 2, 3, 1)
    # The larger minus the smaller: a difference of unsigned numbers must not go below 0.
    return np.maximum(crops, digits) - np.minimum(crops, digits)


@functools.cache
def _photos() -> UInt8[np.ndarray, "2 427 640 3"]:
    """Read the photographs that scikit-learn ships (a Chinese palace, a flower), once per process."""
    from sklearn.datasets import load_sample_images

    return np.stack(load_sample_images().images)


def small_digits() -> tuple[UInt8[np.ndarray, "n 8 8 1"], Int64[np.ndarray, " n"]]:
    """Return scikit-learn's 8x8 digits, their 17 grey levels spread over [0, 255], and their labels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return images[..., None], digits.target.astype(np.int64)
