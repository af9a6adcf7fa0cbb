"""Data that are made, not fetched: digits drawn from fonts, digits on photographs, toys with a known shift.

Everything is drawn from NumPy's PCG64 with a given seed and is the same in every process. Random numbers come
as one row per example, so the first n examples do not depend on how many are asked for.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

GLYPH_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
GLYPH_HEIGHT = 64  # pixels; digits are drawn this high once and then warped
STROKES = (0, 1, 2, 3)  # pixels added around the outline at that height
MAX_SLANT = 0.35  # horizontal shift per unit of height
MAX_TURN = 0.2  # radians
STRETCH = (0.75, 1.25)  # width against the font's
FILL = (0.86, 1.0)  # longer side of the digit against the frame
CARELESS_FILL = (0.25, 0.5)
OVERSAMPLING = 2
NUM_MOON_POINTS = 100


def render_digits(
    num_images: int, size: int, generator: np.random.Generator, careless: bool = False
) -> tuple[UInt8[np.ndarray, "n h w 1"], Int64[np.ndarray, " n"]]:
    """Draw digits in varied font, slant, stroke width, width and size.

    A digit is centred and fills the frame, as a digit that was cut out by its bounding box does. With
    `careless` it is small and lies anywhere in the frame.

    Args:
        num_images: how many; the labels are 0, 1, ..., 9, 0, 1, ... so that all classes are equally frequent.
        size: height and width of the images, in pixels.
        generator: the source of the variation; 8 numbers are taken per image.
        careless: whether to draw small digits anywhere.

    Returns:
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

    Returns:
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
    """Blend each digit with a random crop of a photograph: per channel |crop - digit|.

    The photographs are the two that scikit-learn ships. Crops for training come from the left two thirds of a
    photograph, those for testing from the right third, so the two have no pixel in common.

    Args:
        digits: grey images in [0, 255].
        split: "train" or "test".
        generator: chooses the crops; 3 numbers are taken per image.

    Returns:
        Colour images in [0, 255], in the order of `digits`.

    Source:
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


@dataclass(frozen=True)
class Gaussian2d:
    """A toy domain given as p(x) p(y|x): x ~ N(mean, I), and y = 1 with probability sigmoid(score(x)).

    Args:
        mean: centre of p(x).
        score: maps points (n, 2) to log-odds (n,); the decision boundary is where it is 0.
    """

    mean: tuple[float, float]
    score: Callable[[Tensor], Tensor]

    def density(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Return p(x)."""
        return _normal_density(x, torch.tensor([self.mean], dtype=x.dtype), 1.0)

    def class_probability(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Return p(y = 1 | x), the concept."""
        return torch.sigmoid(self.score(x))

    def sample(self, num_examples: int, seed: list[int]) -> tuple[Float[Tensor, "n 2"], Int64[Tensor, " n"]]:
        """Draw x from p(x), then y from p(y|x)."""
        uniform, normal = _noise(num_examples, seed)
        x = torch.tensor(self.mean, dtype=torch.float64) + normal
        y = uniform[:, 0] < self.class_probability(x)
        return x.float(), y.long()


@dataclass(frozen=True)
class ClassMixture2d:
    """A toy domain given as p(y) p(x|y): each class an equal mixture of round Gaussians of one width.

    Args:
        prior: p(y = 1).
        centres: for class 0 and class 1 the centres of its Gaussians.
        scale: their standard deviation.
    """

    prior: float
    centres: Float[Tensor, "2 k 2"]
    scale: float

    def density(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Return p(x) = p(y = 0) p(x | y = 0) + p(y = 1) p(x | y = 1)."""
        zero, one = self._class_densities(x)
        return (1 - self.prior) * zero + self.prior * one

    def class_probability(self, x: Float[Tensor, "n 2"]) -> Float[Tensor, " n"]:
        """Return p(y = 1 | x), the concept, by Bayes' rule."""
        return self.prior * self._class_densities(x)[1] / self.density(x)

    def sample(self, num_examples: int, seed: list[int]) -> tuple[Float[Tensor, "n 2"], Int64[Tensor, " n"]]:
        """Draw y from p(y), then x from p(x|y)."""
        uniform, normal = _noise(num_examples, seed)
        y = (uniform[:, 0] < self.prior).long()
        part = (uniform[:, 1] * self.centres.shape[1]).long()
        return (self.centres[y, part] + self.scale * normal).float(), y

    def _class_densities(self, x: Float[Tensor, "n 2"]) -> list[Float[Tensor, " n"]]:
        """Return p(x | y) for both classes."""
        return [_normal_density(x, centres.to(x.dtype), self.scale) for centres in self.centres]


@dataclass(frozen=True)
class ShiftedToy:
    """Samples from a source and a target domain in the plane, and the two domains they were drawn from.

    `source` and `target` have `density(x)`, which is p(x), and `class_probability(x)`, which is p(y = 1 | x).
    """

    kind: str
    shift: float
    source: Gaussian2d | ClassMixture2d
    target: Gaussian2d | ClassMixture2d
    x_source: Float[Tensor, "n 2"]
    y_source: Int64[Tensor, " n"]
    x_target: Float[Tensor, "n 2"]
    y_target: Int64[Tensor, " n"]


def make_shifted_toy(kind: str, shift: float | int, num_examples: int = 500, seed: int = 0) -> ShiftedToy:
    """Draw a source and a target sample whose domains differ in one known way.

    | kind | what depends on the shift s | what stays |
    | --- | --- | --- |
    | covariate | p(x) = N((s - 1, 0), I) | p(y = 1 given x) = sigmoid(4 (x2 + 1 - x1^2 / 2)) |
    | label | p(y = 1) = sigmoid(s) | p(x given y) = N((-1, 0), I) and N((1, 0), I) |
    | concept | p(y = 1 given x) = sigmoid(4 (x1 cos s + x2 sin s)) | p(x) = N(0, I) |
    | rotation | x is turned by s about the origin | p(y) = 1/2; p(x given y): two moons, noise 0.1 |
    | location | x is moved by (s, 0) | p(y) = 1/2; p(x given y) = N((-1, 0), I/4) and N((1, 0), I/4) |

    The source has s = 0. The two samples are independent, also at shift 0. For one seed the same random
    numbers are used at every shift, so points move smoothly with it.

    Args:
        kind: one of the kinds above.
        shift: any finite number; 0 is no shift. Radians for "concept" and "rotation".
        num_examples: size of each sample, at least 1.
        seed: 0 or more.

    Returns:
        Both samples (x float32, y 0 or 1) and both domains with their densities.

    Raises:
        ValueError: unknown kind, shift not finite, no examples, or a negative seed.

    Source:
        Own constructions; see the chapter `domains_and_shift`. The moons are those of scikit-learn's
        `make_moons`, centred.

    >>> toy = make_shifted_toy("label", 2.0, num_examples=4)
    >>> toy.x_target.shape, round(toy.target.prior, 3)
    (torch.Size([4, 2]), 0.881)
    """
    if kind not in TOYS:
        near = difflib.get_close_matches(kind, TOYS, n=1)
        guess = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"There is no kind of shift {kind!r}.{guess} There are: {', '.join(TOYS)}.")
    if not math.isfinite(shift):
        raise ValueError(f"shift is {shift}; expected a finite number, 0 for no shift")
    if num_examples < 1 or seed < 0:
        raise ValueError(f"num_examples is {num_examples} and seed is {seed}; expected at least 1 and 0")
    source, target = TOYS[kind](0.0), TOYS[kind](float(shift))
    samples = *source.sample(num_examples, [seed, 0]), *target.sample(num_examples, [seed, 1])
    return ShiftedToy(kind, float(shift), source, target, *samples)


def _covariate(shift: float) -> Gaussian2d:
    """Move p(x) along a curved boundary, so that the line that fits the source does not fit the target."""
    return Gaussian2d((shift - 1, 0.0), lambda x: 4 * (x[:, 1] + 1 - x[:, 0] ** 2 / 2))


def _label(shift: float) -> ClassMixture2d:
    """Change p(y) alone."""
    return ClassMixture2d(1 / (1 + math.exp(-shift)), _two_points(0.0), 1.0)


def _concept(shift: float) -> Gaussian2d:
    """Turn the boundary under an unchanged p(x)."""
    cos, sin = math.cos(shift), math.sin(shift)
    return Gaussian2d((0.0, 0.0), lambda x: 4 * (cos * x[:, 0] + sin * x[:, 1]))


def _rotation(shift: float) -> ClassMixture2d:
    """Turn two moons about the origin; the labels turn with them."""
    t = torch.linspace(0, math.pi, NUM_MOON_POINTS, dtype=torch.float64)
    upper = torch.stack([t.cos(), t.sin()], -1) - torch.tensor([0.5, 0.25])
    cos, sin = math.cos(shift), math.sin(shift)
    turn = torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)
    return ClassMixture2d(0.5, torch.stack([upper, -upper]) @ turn, 0.1)


def _location(shift: float) -> ClassMixture2d:
    """Move both classes along the line that joins them."""
    return ClassMixture2d(0.5, _two_points(shift), 0.5)


def _two_points(shift: float) -> Float[Tensor, "2 1 2"]:
    """Return the centres of two single Gaussians, moved by (shift, 0)."""
    return torch.tensor([[[shift - 1, 0.0]], [[shift + 1, 0.0]]], dtype=torch.float64)


def _normal_density(
    x: Float[Tensor, "n 2"], centres: Float[Tensor, "k 2"], scale: float
) -> Float[Tensor, " n"]:
    """Return the density of an equal mixture of round Gaussians."""
    squares = (x[:, None] - centres).square().sum(-1)
    return torch.exp(-squares / (2 * scale**2)).mean(1) / (2 * math.pi * scale**2)


def _noise(num_examples: int, seed: list[int]) -> tuple[Float[Tensor, "n 2"], Float[Tensor, "n 2"]]:
    """Return two uniform and two normal numbers per example, as float64."""
    uniform = np.random.default_rng([*seed, 0]).random((num_examples, 2))
    normal = np.random.default_rng([*seed, 1]).standard_normal((num_examples, 2))
    return torch.from_numpy(uniform), torch.from_numpy(normal)


TOYS: dict[str, Callable[[float], Gaussian2d | ClassMixture2d]] = {
    "covariate": _covariate,
    "label": _label,
    "concept": _concept,
    "rotation": _rotation,
    "location": _location,
}
