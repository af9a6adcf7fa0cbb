"""The game: two players, and what each of them minimises. Every GAN of the book is a few lines more."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tlutils import guards
from tlutils.generative.losses import (
    discriminator_loss,
    gradient_penalty,
    non_saturating_loss,
    wasserstein_estimate,
)
from tlutils.generative.networks import Critic, Generator
from tlutils.runtime import new_generator

__all__ = ["Batch", "ClippedGame", "Game", "PenaltyGame", "Turn", "WassersteinGame", "generate"]


class Batch(NamedTuple):
    """What a player sees of the data in one step.

    Attributes
    ----------
    x
        Real examples (n, ...).
    y
        Their classes (n,), where the game is conditional.
    x_target
        Examples of a second domain (n, ...), drawn independently, where there is one.
    """

    x: Tensor
    y: Tensor | None = None
    x_target: Tensor | None = None


class Turn(NamedTuple):
    """What the discriminator's turn gives: its loss, and the scores that tell who is winning."""

    loss: Float[Tensor, ""]
    score_real: Float[Tensor, " n"]
    score_fake: Float[Tensor, " m"]


class Game(nn.Module):
    """The non-saturating game of a generator and a discriminator.

    Another GAN overrides what differs: one of the two losses, or `after_discriminator`.

    Parameters
    ----------
    generator
        Maps noise to examples.
    discriminator
        Maps examples to scores (n,), the log-odds of "real".

    Raises
    ------
    ValueError
        If the discriminator ends in a sigmoid: losses take scores, no probabilities.

    Source
    ------
    Goodfellow et al., "Generative adversarial nets", NeurIPS 2014.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module) -> None:
        super().__init__()
        last = [*discriminator.modules()][-1]
        if isinstance(last, nn.Sigmoid | nn.Softmax | nn.LogSigmoid | nn.LogSoftmax):
            raise ValueError(
                f"the discriminator ends in {type(last).__name__}; expected unbounded scores. The losses "
                "apply the sigmoid themselves, and a critic has none: remove the last layer."
            )
        self.generator = generator
        self.discriminator = discriminator

    def fake(self, batch: Batch, random: torch.Generator) -> Tensor:
        """Return as many generated examples as the batch has real ones."""
        guards.is_told("the generator", self.generator, None)
        return self.generator(self.generator.noise(len(batch.x), random).to(batch.x.device))

    def score(self, examples: Tensor, batch: Batch) -> Float[Tensor, " n"]:  # noqa: ARG002
        """Return the discriminator's scores of examples that stand beside those of the batch."""
        guards.is_told("the discriminator", self.discriminator, None)
        return self.discriminator(examples)

    def scores(self, batch: Batch, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the scores of real and of generated examples; gradients stop at the generated ones."""
        with torch.no_grad():
            fake = self.fake(batch, random)
        guards.look_alike(batch.x, fake)
        return self.score(batch.x, batch), self.score(fake, batch)

    def discriminator_turn(self, batch: Batch, random: torch.Generator) -> Turn:
        """Return the discriminator's loss, and the scores that it comes from."""
        real, fake = self.scores(batch, random)
        return Turn(discriminator_loss(real, fake), real, fake)

    def generator_loss(self, batch: Batch, random: torch.Generator) -> Float[Tensor, ""]:
        """Return the generator's loss."""
        return non_saturating_loss(self.score(self.fake(batch, random), batch))

    def after_discriminator(self) -> None:
        """Do what has to be done after each of the discriminator's steps; here nothing."""


class WassersteinGame(Game):
    """The critic's mean score of real minus generated examples, raised by one player, lowered by the other.

    By itself nothing keeps the critic's slope at 1: use `ClippedGame` or `PenaltyGame`, or a critic with
    spectral normalisation.
    """

    def discriminator_turn(self, batch: Batch, random: torch.Generator) -> Turn:
        with torch.no_grad():
            fake = self.fake(batch, random)
        guards.is_told("the discriminator", self.discriminator, None)
        guards.has_not_diverged(fake)
        guards.look_alike(batch.x, fake)
        real_score, fake_score = self.discriminator(batch.x), self.discriminator(fake)
        loss = -wasserstein_estimate(real_score, fake_score) + self.penalty(batch.x, fake, random)
        return Turn(loss, real_score, fake_score)

    def penalty(self, real: Tensor, fake: Tensor, random: torch.Generator) -> Tensor | float:  # noqa: ARG002
        """Return what is added to the critic's loss; here nothing."""
        return 0.0

    def generator_loss(self, batch: Batch, random: torch.Generator) -> Float[Tensor, ""]:
        return -self.discriminator(self.fake(batch, random)).mean()


class ClippedGame(WassersteinGame):
    """Wasserstein GAN with weight clipping: each step ends with the weights cut to [-limit, limit].

    Parameters
    ----------
    limit
        Positive; 0.01 in the paper.

    Source
    ------
    Arjovsky, Chintala, Bottou, ICML 2017.
    """

    def __init__(self, generator: Generator, discriminator: Critic, *, limit: float = 0.01) -> None:
        super().__init__(generator, discriminator)
        if not limit > 0:
            raise ValueError(f"limit is {limit}; expected a positive number")
        self.limit = limit

    def after_discriminator(self) -> None:
        with torch.no_grad():
            for weight in self.discriminator.parameters():
                weight.clamp_(-self.limit, self.limit)


class PenaltyGame(WassersteinGame):
    """Wasserstein GAN with gradient penalty.

    Parameters
    ----------
    weight
        Factor of the penalty, at least 0; 10 in the paper.

    Raises
    ------
    ValueError
        If the critic has batch normalisation (the slope at one example would depend on the others) or
        `weight` is negative or not finite.

    Source
    ------
    Gulrajani et al., NeurIPS 2017.
    """

    def __init__(self, generator: Generator, discriminator: Critic, *, weight: float = 10.0) -> None:
        super().__init__(generator, discriminator)
        if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in discriminator.modules()):
            raise ValueError(
                "a gradient penalty needs a critic without batch normalisation: build it with norm='none'"
            )
        guards.is_loss_weight("weight", weight)
        if weight < 0:
            raise ValueError(f"weight is {weight}; expected at least 0")
        self.weight = weight

    def penalty(self, real: Tensor, fake: Tensor, random: torch.Generator) -> Tensor:
        return self.weight * gradient_penalty(self.discriminator, real, fake, random)


@torch.no_grad()
def generate(
    generator: Generator,
    num_examples: int,
    *,
    seed: int,
    y: Int[Tensor, " classes"] | None = None,
    batch_size: int = 500,
) -> Float[Tensor, "n ..."]:
    """Draw examples from a generator; the same seed gives the same ones, whatever the batch size.

    Parameters
    ----------
    generator
        Maps noise, and classes where `y` is given, to examples. Used in evaluation mode, left as it was.
    num_examples
        At least 1.
    seed
        Seed of the noise.
    y
        Class of each example, for a conditional generator.
    batch_size
        Examples per forward pass.

    Returns
    -------
    Examples (num_examples, ...) on the CPU.

    Raises
    ------
    ValueError
        If `num_examples` or `batch_size` is below 1, `y` has another length, or the generator is told classes
        and takes none, or the other way round.
    TypeError
        If `y` holds no class indices.

    Examples
    --------
    >>> from tlutils.generative import point_generator
    >>> generate(point_generator(), 3, seed=0).shape
    torch.Size([3, 2])
    """
    guards.are_conditions(y)
    if num_examples < 1 or batch_size < 1:
        raise ValueError(f"got {num_examples=}, {batch_size=}; expected at least 1")
    if y is not None and len(y) != num_examples:
        raise ValueError(f"y has {len(y)} classes for {num_examples} examples; expected one each")
    guards.is_told("the generator", generator, y)
    device = next(generator.parameters()).device
    noise = generator.noise(num_examples, new_generator(seed))
    inputs = [noise] if y is None else [noise, y]
    was_training = generator.training
    generator.eval()
    try:
        parts = zip(*(tensor.split(batch_size) for tensor in inputs), strict=True)
        return torch.cat([generator(*(p.to(device) for p in part)).float().cpu() for part in parts])
    finally:
        generator.train(was_training)
