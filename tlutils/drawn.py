"""Digits that are made, not fetched: drawn from fonts, blended with photographs, or shipped by a library.

Everything is drawn from NumPy's PCG64 with a given seed and is the same in every process. Random numbers come
as one row per example, so the first n examples do not depend on how many are asked for.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64, UInt8
from PIL import Image, ImageDraw, ImageFont

GLYPH_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Stored runs of several chapters depend on the numbers below: changing one means training those runs again.
GLYPH_SIZE = 56  # pixels; digits are drawn this high once and then warped
CANVAS = 120  # pixels; room for a slanted, turned and warped digit of that height
STROKES = (1, 2, 3)  # pixels added around the outline at that height
MAX_SLANT = 0.35  # horizontal shift per unit of height
MAX_TURN = 0.2  # radians
NUM_CELLS = 5  # the warp moves the corners of a grid of so many cells a side
MAX_WARP = 9.0  # pixels of the canvas, in each direction; below half a cell, so nothing folds over
STRETCH = (0.65, 1.15)  # width against the font's
FILL = (0.9, 1.0)  # longer side of the digit against the frame
CARELESS_FILL = (0.25, 0.5)


def render_digits(
    num_images: int, size: int, generator: np.random.Generator, careless: bool = False
) -> tuple[UInt8[np.ndarray, "n h w 1"], Int64[np.ndarray, " n"]]:
    """Draw digits in varied font, stroke width, slant, width and size, warped as by an unsteady hand.

    A digit is cut out by its bounding box, centred, and fills the frame. With `careless` it is small and lies
    anywhere in the frame.

    Parameters
    ----------
    num_images
        How many; the labels are 0, 1, ..., 9, 0, 1, ... so that all classes are equally frequent.
    size
        Height and width of the images, in pixels.
    generator
        The source of the variation; the same count of numbers is taken for each image.
    careless
        Whether to draw small digits anywhere.

    Returns
    -------
    Images in [0, 255], bright on black, and labels in 0..9.

    Notes
    -----
    About 0.4 ms per image, after 0.5 s for the first call of a process, which draws the glyphs.
    """
    glyphs, num_corners = _glyphs(), (NUM_CELLS + 1) ** 2
    u = generator.random((num_images, 8 + 2 * num_corners))
    labels = np.arange(num_images, dtype=np.int64) % 10
    fonts, strokes = (
        (u[:, 0] * len(glyphs)).astype(int),
        (u[:, 1] * len(STROKES)).astype(int),
    )
    corners = _warped_corners(u[:, 2], u[:, 3], u[:, 8:].reshape(-1, num_corners, 2))
    stretches = STRETCH[0] * (STRETCH[1] / STRETCH[0]) ** u[:, 4]
    low, high = CARELESS_FILL if careless else FILL
    lengths = size * (low + (high - low) * u[:, 5])
    places = u[:, 6:8] if careless else np.full((num_images, 2), 0.5)
    images = np.empty((num_images, size, size, 1), dtype=np.uint8)
    for i, label in enumerate(labels):
        digit = _warp(glyphs[fonts[i]][label][strokes[i]], corners[i])
        digit = _fit(digit, lengths[i], stretches[i])
        frame = Image.new("L", (size, size))
        frame.paste(
            digit,
            tuple(np.rint(places[i] * (np.array(frame.size) - digit.size)).astype(int).tolist()),
        )
        images[i, :, :, 0] = frame
    return images, labels


def _warped_corners(
    slant: Float[np.ndarray, " n"],
    turn: Float[np.ndarray, " n"],
    moves: Float[np.ndarray, "n corners 2"],
) -> Float[np.ndarray, "n corners 2"]:
    """Return for each corner of the grid, row by row, the point (x, y) of the glyph that is drawn there."""
    slant, turn = (2 * slant - 1) * MAX_SLANT, (2 * turn - 1) * MAX_TURN
    cos, sin, one = np.cos(turn), np.sin(turn), np.ones_like(turn)
    rotation = np.stack([cos, sin, -sin, cos], -1).reshape(-1, 2, 2)
    shear = np.stack([one, slant, 0 * one, one], -1).reshape(-1, 2, 2)
    middle = CANVAS / 2
    return (_corners() - middle) @ (shear @ rotation).swapaxes(1, 2) + middle + (2 * moves - 1) * MAX_WARP


def _corners() -> Float[np.ndarray, "corners 2"]:
    """Return the corners (x, y) of the grid on the canvas, row by row."""
    ticks = np.linspace(0, CANVAS, NUM_CELLS + 1)
    return np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)


@functools.cache
def _cells() -> tuple[tuple[tuple[int, int, int, int], tuple[int, int, int, int]], ...]:
    """Return for each cell its box on the canvas and the indices of its corners, in the order of PIL."""
    step, n = CANVAS // NUM_CELLS, NUM_CELLS + 1
    return tuple(
        (
            (step * col, step * row, step * (col + 1), step * (row + 1)),
            (
                row * n + col,
                (row + 1) * n + col,
                (row + 1) * n + col + 1,
                row * n + col + 1,
            ),
        )
        for row in range(NUM_CELLS)
        for col in range(NUM_CELLS)
    )


def _warp(glyph: Image.Image, corners: Float[np.ndarray, "corners 2"]) -> Image.Image:
    """Bend a glyph: each cell of the canvas shows the quadrilateral between its moved corners."""
    points = corners.tolist()
    mesh = [(box, [value for k in indices for value in points[k]]) for box, indices in _cells()]
    return glyph.transform((CANVAS, CANVAS), Image.Transform.MESH, mesh, Image.Resampling.BILINEAR)


def _fit(digit: Image.Image, length: float, stretch: float) -> Image.Image:
    """Cut a digit out by its bounding box and resize it so that its longer side has `length` pixels."""
    box = digit.getbbox()
    width, height = stretch * (box[2] - box[0]), box[3] - box[1]
    scale = length / max(width, height)
    size = max(1, round(scale * width)), max(1, round(scale * height))
    return digit.resize(size, Image.Resampling.BILINEAR, box=box)


@functools.cache
def _glyphs() -> list[list[list[Image.Image]]]:
    """Draw every digit in every font and stroke, once per process; indexed by font, digit and stroke."""
    fonts = [ImageFont.truetype(str(path), GLYPH_SIZE * 4 // 3) for path in digit_fonts()]
    return [[[_draw_glyph(font, digit, s) for s in STROKES] for digit in "0123456789"] for font in fonts]


def _draw_glyph(font: ImageFont.FreeTypeFont, digit: str, stroke: int) -> Image.Image:
    """Draw one digit in the middle of the canvas, bright on black."""
    canvas = Image.new("L", (CANVAS, CANVAS))
    middle = (CANVAS // 2, CANVAS // 2)
    ImageDraw.Draw(canvas).text(middle, digit, fill=255, font=font, anchor="mm", stroke_width=stroke)
    return canvas


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
