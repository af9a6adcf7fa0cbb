"""Games that differ from the non-saturating one in how a player is taught: loss, labels, consistency."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tlutils.generative.game import Batch, Game, Turn
from tlutils.generative.losses import consistency_penalty, minimax_loss, soft_label_loss

__all__ = ["ConsistentGame", "MinimaxGame", "SoftLabelGame"]


class MinimaxGame(Game):
    """The game as it is written down: the generator lowers log(1 - D).

    Source
    ------
    Goodfellow et al., "Generative adversarial nets", NeurIPS 2014.
    """

    def generator_loss(self, batch: Batch, random: torch.Generator) -> Tensor:
        return minimax_loss(self.discriminator(self.fake(batch, random)))


class SoftLabelGame(Game):
    """Tell the discriminator that real examples are real with probability `real`, generated ones with `fake`.

    Parameters
    ----------
    real, fake
        Labels in [0, 1]; the cross-entropy of a score s with the label t is log(1 + e^s) - t s.

    Raises
    ------
    ValueError
        If a label is outside [0, 1].

    Source
    ------
    Salimans et al., "Improved techniques for training GANs", NeurIPS 2016.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module, *, real: float, fake: float) -> None:
        super().__init__(generator, discriminator)
        if not (0 <= real <= 1 and 0 <= fake <= 1):
            raise ValueError(f"got labels {real=}, {fake=}; expected probabilities")
        self.labels = real, fake

    def discriminator_turn(self, batch: Batch, random: torch.Generator) -> Turn:
        turn = super().discriminator_turn(batch, random)
        scores = zip((turn.score_real, turn.score_fake), self.labels, strict=True)
        return turn._replace(loss=sum(soft_label_loss(score, label) for score, label in scores))


class ConsistentGame(Game):
    """Fine the discriminator where a small push of a real example changes its score.

    The push has a standard deviation of 0.1 per coordinate, the squared change a weight of 10.

    Source
    ------
    Zhang, Zhang, Odena, Lee, "Consistency regularization for generative adversarial networks", ICLR 2020;
    there the examples are images, and are shifted and mirrored.
    """

    def discriminator_turn(self, batch: Batch, random: torch.Generator) -> Turn:
        turn = super().discriminator_turn(batch, random)
        pushed = batch.x + 0.1 * torch.randn(batch.x.shape, generator=random).to(batch.x)
        penalty = consistency_penalty(turn.score_real, self.discriminator(pushed))
        return turn._replace(loss=turn.loss + 10 * penalty)
