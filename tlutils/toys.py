"""Two-dimensional domains with a known shift: every density and the true concept can be computed."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

NUM_MOON_POINTS = 100  # each moon is a chain of so many round Gaussians


@dataclass(frozen=True)
class Gaussian2d:
    """A toy domain given as p(x) p(y|x): x ~ N(mean, I), and y = 1 with probability sigmoid(score(x)).

    Parameters
    ----------
    mean
        Centre of p(x).
    score
        Maps points (n, 2) to log-odds (n,); the decision boundary is where it is 0.
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

    Parameters
    ----------
    prior
        P(y = 1).
    centres
        For class 0 and class 1 the centres of its Gaussians.
    scale
        Their standard deviation.
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

    Parameters
    ----------
    kind
        One of the kinds above.
    shift
        Any finite number; 0 is no shift. Radians for "concept" and "rotation".
    num_examples
        Size of each sample, at least 1.
    seed
        0 or more.

    Returns
    -------
    Both samples (x float32, y 0 or 1) and both domains with their densities.

    Raises
    ------
    ValueError
        Unknown kind, shift not finite, no examples, or a negative seed.

    Source
    ------
    Own constructions; see the chapter `domains_and_shift`. The moons are those of scikit-learn's
    `make_moons`, centred.

    Examples
    --------
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
