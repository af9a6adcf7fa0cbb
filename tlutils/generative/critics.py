"""Games in which the critic is the point: the hinge game, and a heap of points in a generator's place."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlutils.generative.game import Batch, Game, Turn
from tlutils.generative.losses import hinge_loss
from tlutils.generative.networks import Generator

__all__ = ["FixedPoints", "HingeGame"]


class HingeGame(Game):
    """The critic wants real scores above 1 and generated ones below -1; the generator raises its score.

    Source
    ------
    Miyato, Kataoka, Koyama, Yoshida, "Spectral normalization for generative adversarial networks", ICLR 2018.

    Examples
    --------
    >>> from tlutils.generative import point_critic, point_generator
    >>> game = HingeGame(point_generator(), point_critic())
    >>> turn = game.discriminator_turn(Batch(torch.zeros(3, 2)), torch.Generator())
    >>> bool(turn.loss == hinge_loss(turn.score_real, turn.score_fake))
    True
    """

    def discriminator_turn(self, batch: Batch, random: torch.Generator) -> Turn:
        real, fake = self.scores(batch, random)
        return Turn(hinge_loss(real, fake), real, fake)

    def generator_loss(self, batch: Batch, random: torch.Generator) -> Float[Tensor, ""]:
        return -self.discriminator(self.fake(batch, random)).mean()


class FixedPoints(Generator):
    """Stand in for a generator that does not learn: draw, with replacement, from a heap of examples.

    Parameters
    ----------
    examples
        At least one.

    Raises
    ------
    ValueError
        If there is no example.

    Examples
    --------
    >>> heap = FixedPoints(torch.tensor([[1.0, 2.0]]))
    >>> heap(heap.noise(2, torch.Generator())).tolist()
    [[1.0, 2.0], [1.0, 2.0]]
    """

    def __init__(self, examples: Float[Tensor, "n ..."]) -> None:
        super().__init__(nn.Identity(), num_latent=examples[:1].numel())
        if len(examples) == 0:
            raise ValueError("examples is empty; expected at least one to draw from")
        self.register_buffer("examples", examples)

    def noise(self, num_examples: int, random: torch.Generator) -> Float[Tensor, "m ..."]:
        """Draw examples; they are their own noise."""
        chosen = torch.randint(len(self.examples), (num_examples,), generator=random)
        return self.examples[chosen.to(self.examples.device)]
