"""What an adversarial training leaves behind: its curves, and the alarms that they raise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tlutils import guards

__all__ = ["AdversarialHistory", "Alarm", "swings"]

# Why these numbers: see `AdversarialHistory.alarms`.
TOO_STRONG = 0.95
VANISHED = 0.01
COLLAPSED = 0.5
SWING = 0.25
NUM_SWINGS = 3


@dataclass(frozen=True)
class Alarm:
    """One thing that is wrong with an adversarial training.

    Attributes
    ----------
    name
        ``"discriminator too strong"``, ``"vanished gradient"``, ``"mode collapse"`` or ``"oscillation"``.
    value, limit
        What was measured, and the limit that it has crossed.
    message
        A sentence that says what was seen and what is usually done about it.
    """

    name: str
    value: float
    limit: float
    message: str

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


def _numbers(values: Sequence[float | None]) -> np.ndarray:
    """Return the entries of the rounds in which the player moved."""
    return np.array([value for value in values if value is not None], dtype=np.float64)


def _smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Return running means over `window` entries."""
    return np.convolve(values, np.full(window, 1 / window), mode="valid")


def swings(values: Sequence[float] | np.ndarray, height: float) -> int:
    """Count how often a curve turns round, leaving out turns smaller than `height`.

    Parameters
    ----------
    values
        The curve.
    height
        Positive: a turn counts once the curve has come back from its extreme by so much.

    Raises
    ------
    ValueError
        If `height` is not positive.

    Examples
    --------
    >>> swings([0.0, 1.0, 0.0, 1.0, 0.9, 1.0], height=0.5)  # up, down, up: two turns
    2
    """
    if not height > 0:
        raise ValueError(f"height is {height}; expected a positive number")
    turns, direction = 0, 0
    low = high = values[0] if len(values) else 0.0
    for value in values:
        low, high = min(low, value), max(high, value)
        if direction >= 0 and value <= high - height:
            turns += direction > 0
            direction, low, high = -1, value, value
        elif direction <= 0 and value >= low + height:
            turns += direction < 0
            direction, low, high = 1, value, value
    return turns


@dataclass
class AdversarialHistory:
    """What happened while `fit_game` ran, one entry a round; None where a player did not move in it.

    Attributes
    ----------
    discriminator_loss, generator_loss
        The losses of the players' last step in the round.
    score_real, score_fake
        Mean score of real and of generated examples, as the discriminator saw them in its turn.
    share_right
        Share of examples on the right side of score 0, in [0, 1]; 0.5 is guessing.
    generator_gradient
        Euclidean norm of the generator's gradient.
    watched_rounds, watched
        After which rounds `watch` was called, and by name what it returned.
    num_rounds
        Rounds done.
    duration_s
        Seconds of training, over all sittings.
    """

    discriminator_loss: list[float | None] = field(default_factory=list)
    generator_loss: list[float | None] = field(default_factory=list)
    score_real: list[float | None] = field(default_factory=list)
    score_fake: list[float | None] = field(default_factory=list)
    share_right: list[float | None] = field(default_factory=list)
    generator_gradient: list[float | None] = field(default_factory=list)
    watched_rounds: list[int] = field(default_factory=list)
    watched: dict[str, list[float]] = field(default_factory=dict)
    num_rounds: int = 0
    duration_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the history as plain lists and numbers, ready for JSON."""
        return asdict(self)

    def alarms(self) -> list[Alarm]:
        """Return what is wrong with the training as its curves show it; an empty list where nothing is.

        Curves are averaged over a fiftieth of the rounds in which the player moved, and judged by the last
        fifth of them unless noted:

        - **discriminator too strong**: more than 95 % of the examples on the right side. A generator that
          still learns leaves more doubt than that.
        - **vanished gradient**: the generator's gradient has fallen below 1 % of its largest running mean. A
          settled game's shrinks too, but by less.
        - **mode collapse**: needs ``"diversity"`` among what was watched (`quality.diversity`, 1 for the
          data's): its mean over the last fifth of the looks is below 0.5.
        - **oscillation**: over the second half of the rounds, the share of examples on the right side has
          swung back and forth by a quarter or more, at least three times. Players that approach a draw do
          not do that.

        Raises
        ------
        ValueError
            If there are fewer than 50 rounds in which both players moved at some time: too few to judge;
            or if a curve holds NaN.

        Notes
        -----
        The limits are rules of thumb, set with the fifteen games of the chapter's gallery in view; they judge
        scores whose zero means "undecided", so not those of a Wasserstein critic. No alarm does not mean that
        the samples are good.

        Source
        ------
        Own construction; see the chapter `adversarial_game`.

        Examples
        --------
        >>> sure = AdversarialHistory(share_right=[1.0] * 100, generator_gradient=[1.0] * 100)
        >>> [alarm.name for alarm in sure.alarms()]
        ['discriminator too strong']
        """
        guards.curves_are_finite(self)
        right, gradient = _numbers(self.share_right), _numbers(self.generator_gradient)
        if min(len(right), len(gradient)) < 50:
            raise ValueError(
                f"the discriminator moved in {len(right)} rounds, the generator in {len(gradient)}; "
                "expected at least 50 of each"
            )
        right, gradient = (_smooth(curve, max(1, len(curve) // 50)) for curve in (right, gradient))
        found = []

        def judge(name: str, value: float, limit: float, message: str, *, wrong_above: bool) -> None:
            if value > limit if wrong_above else value < limit:
                found.append(Alarm(name, value, limit, message.format(value=value)))

        sure = float(right[-len(right) // 5 :].mean())
        judge(
            "discriminator too strong", sure, TOO_STRONG,
            "{value:.1%} of the examples are told apart. Slow the discriminator down (learning rate, steps "
            "per round, width), or regularise it.",
            wrong_above=True,
        )  # fmt: skip
        left = float(gradient[-len(gradient) // 5 :].mean() / max(gradient.max(), 1e-30))
        judge(
            "vanished gradient", left, VANISHED,
            "the generator's gradient is {value:.2%} of its largest. Use the non-saturating loss, or another "
            "distance.",
            wrong_above=False,
        )  # fmt: skip
        if looks := self.watched.get("diversity"):
            varied = float(np.mean(looks[-max(1, len(looks) // 5) :]))
            judge(
                "mode collapse", varied, COLLAPSED,
                "samples lie {value:.2f} times as far apart as the data. Slow the generator down, or let the "
                "discriminator see whole batches.",
                wrong_above=False,
            )  # fmt: skip
        turns = float(swings(right[len(right) // 2 :], SWING))
        judge(
            "oscillation", turns, NUM_SWINGS - 0.5,
            "the share told apart turned round {value:.0f} times. Lower the learning rates or Adam's first "
            "beta, average the weights, or regularise the discriminator.",
            wrong_above=True,
        )  # fmt: skip
        return found
