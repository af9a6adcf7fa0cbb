"""Rings and grids of Gaussians in the plane: toys on which it can be counted what a generator leaves out."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from tlutils.runtime import new_generator

__all__ = [
    "Coverage",
    "grid",
    "grid_centres",
    "mixture_density",
    "mixture_sample",
    "modes_covered",
    "ring",
    "ring_centres",
]


class Coverage(NamedTuple):
    """What `modes_covered` found.

    Attributes
    ----------
    num_covered
        Number of modes that got enough points.
    good_share
        Share of points, in [0, 1], that lie near some mode; for real points of the mixture about
        1 - exp(-within² / 2).
    shares
        For each mode its share of all points, counting those near it; sums to `good_share`.
    """

    num_covered: int
    good_share: float
    shares: Float[Tensor, " k"]


def ring_centres(num_modes: int = 8, *, radius: float = 2.0) -> Float[Tensor, "k 2"]:
    """Return centres at equal angles on a circle, the first one on the right.

    Raises
    ------
    ValueError
        If there is no mode or the radius is not positive.

    Examples
    --------
    >>> ring_centres(4).round().tolist()
    [[2.0, 0.0], [-0.0, 2.0], [-2.0, -0.0], [0.0, -2.0]]
    """
    if num_modes < 1 or not radius > 0:
        raise ValueError(f"got {num_modes=}, {radius=}; expected at least one mode and a positive radius")
    angle = 2 * math.pi * torch.arange(num_modes) / num_modes
    return radius * torch.stack([angle.cos(), angle.sin()], dim=1)


def grid_centres(num_per_side: int = 5, *, spacing: float = 2.0) -> Float[Tensor, "k 2"]:
    """Return the centres of a square grid about the origin, row by row from the bottom left.

    Raises
    ------
    ValueError
        If the side has no mode or the spacing is not positive.

    Examples
    --------
    >>> grid_centres(2).tolist()
    [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]]
    """
    if num_per_side < 1 or not spacing > 0:
        raise ValueError(f"got {num_per_side=}, {spacing=}; expected at least 1 and a positive spacing")
    side = spacing * (torch.arange(num_per_side) - (num_per_side - 1) / 2)
    y, x = torch.meshgrid(side, side, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def mixture_sample(
    centres: Float[Tensor, "k d"], num_examples: int, *, scale: float, seed: int
) -> Float[Tensor, "n d"]:
    """Draw from an equal mixture of round Gaussians N(centre, scale² I).

    Raises
    ------
    ValueError
        If no example is asked for or the scale is not positive.

    Examples
    --------
    >>> mixture_sample(ring_centres(), 3, scale=0.1, seed=0).shape
    torch.Size([3, 2])
    """
    if num_examples < 1 or not scale > 0:
        raise ValueError(f"got {num_examples=}, {scale=}; expected at least 1 and a positive scale")
    random = new_generator(seed)
    chosen = torch.randint(len(centres), (num_examples,), generator=random)
    return centres[chosen] + scale * torch.randn(num_examples, centres.shape[1], generator=random)


def ring(
    num_examples: int, *, seed: int, num_modes: int = 8, radius: float = 2.0, scale: float = 0.1
) -> Float[Tensor, "n 2"]:
    """Draw points from Gaussians on a ring, by default eight of standard deviation 0.1 on a radius of 2.

    Source
    ------
    The toy of Metz, Poole, Pfau, Sohl-Dickstein, "Unrolled generative adversarial networks", ICLR 2017,
    with wider Gaussians.

    Examples
    --------
    >>> modes_covered(ring(400, seed=0), ring_centres(), scale=0.1).num_covered
    8
    """
    return mixture_sample(ring_centres(num_modes, radius=radius), num_examples, scale=scale, seed=seed)


def grid(
    num_examples: int, *, seed: int, num_per_side: int = 5, spacing: float = 2.0, scale: float = 0.1
) -> Float[Tensor, "n 2"]:
    """Draw points from Gaussians on a square grid, by default 25 of standard deviation 0.1, 2 apart.

    Examples
    --------
    >>> modes_covered(grid(1000, seed=0), grid_centres(), scale=0.1).num_covered
    25
    """
    centres = grid_centres(num_per_side, spacing=spacing)
    return mixture_sample(centres, num_examples, scale=scale, seed=seed)


def mixture_density(
    points: Float[Tensor, "n d"], centres: Float[Tensor, "k d"], *, scale: float
) -> Float[Tensor, " n"]:
    r"""Return the density of an equal mixture of round Gaussians.

    .. math:: p(x) = \frac1k \sum_j (2 \pi s^2)^{-d/2} \exp\bigl(-\lVert x - c_j \rVert^2 / (2 s^2)\bigr)

    Raises
    ------
    ValueError
        If the scale is not positive.

    Examples
    --------
    >>> round(mixture_density(torch.zeros(1, 1), torch.zeros(1, 1), scale=1.0).item(), 4)  # 1 / √(2π)
    0.3989
    """
    if not scale > 0:
        raise ValueError(f"scale is {scale}; expected a positive number")
    squares = (points[:, None] - centres).square().sum(dim=2)
    normaliser = (2 * math.pi * scale**2) ** (centres.shape[1] / 2)
    return torch.exp(-squares / (2 * scale**2)).mean(dim=1) / normaliser


def modes_covered(
    points: Float[Tensor, "n d"],
    centres: Float[Tensor, "k coordinates"],
    *,
    scale: float,
    within: float = 3.0,
    least: float = 0.1,
) -> Coverage:
    """Count the modes that generated points reach.

    A point belongs to its nearest centre, and is good if it lies no farther from it than `within` standard
    deviations. A mode is covered if its good points are at least the share `least` of what it would get if
    all n points were spread evenly over the k modes, and at least one.

    Parameters
    ----------
    points
        At least one; take some 100 per mode, or the count is one of luck.
    centres
        The modes.
    scale
        Standard deviation of each mode.
    within
        Positive, in standard deviations.
    least
        In (0, 1]: with 0.1, 2000 points and 8 modes a mode needs 25 points.

    Returns
    -------
    The number of covered modes, the share of good points, and each mode's share. NaN lies near no mode.

    Raises
    ------
    ValueError
        If there is no point, the dimensions differ, or a number is out of range.

    Notes
    -----
    One tenth of the fair share is our choice; papers count a mode from its first point on, which makes the
    count grow with the number of points drawn.

    Source
    ------
    Three standard deviations: Srivastava, Valkov, Russell, Gutmann, Sutton, "VEEGAN", NeurIPS 2017.

    Examples
    --------
    >>> found = modes_covered(torch.tensor([[2.0, 0.1], [9.0, 9.0]]), ring_centres(), scale=0.1)
    >>> found.num_covered, found.good_share
    (1, 0.5)
    """
    if len(points) == 0 or points.shape[1:] != centres.shape[1:]:
        raise ValueError(
            f"got points of shape {tuple(points.shape)} and centres of shape {tuple(centres.shape)}; "
            "expected at least one point, and as many coordinates of each"
        )
    if not (scale > 0 and within > 0 and 0 < least <= 1):
        raise ValueError(f"got {scale=}, {within=}, {least=}; expected positive numbers, `least` up to 1")
    distance, mode = torch.cdist(points, centres.to(points)).min(dim=1)
    good = distance <= within * scale
    counts: Int64[Tensor, " k"] = mode[good].bincount(minlength=len(centres))
    needed = max(1.0, least * len(points) / len(centres))
    return Coverage(
        num_covered=int((counts >= needed).sum()),
        good_share=good.float().mean().item(),
        shares=counts / len(points),
    )
