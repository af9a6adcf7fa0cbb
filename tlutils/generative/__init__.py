"""Adversarial generation: networks, losses, games, and the one loop in which two players take turns."""

from tlutils.generative.adversarial import AdversarialHistory, alternate, fit_game, phases
from tlutils.generative.game import Batch, ClippedGame, Game, PenaltyGame, Turn, WassersteinGame, generate
from tlutils.generative.losses import (
    discriminator_loss,
    gradient_penalty,
    hinge_loss,
    minimax_loss,
    non_saturating_loss,
    wasserstein_estimate,
)
from tlutils.generative.mixtures import (
    Coverage,
    grid,
    grid_centres,
    mixture_density,
    mixture_sample,
    modes_covered,
    ring,
    ring_centres,
)
from tlutils.generative.networks import (
    Critic,
    Generator,
    image_critic,
    image_generator,
    point_critic,
    point_generator,
)
from tlutils.generative.quality import (
    class_shares,
    diversity,
    frechet_distance,
    nearest,
    precision_recall,
    recognised,
)

__all__ = [
    "AdversarialHistory",
    "Batch",
    "ClippedGame",
    "Coverage",
    "Critic",
    "Game",
    "Generator",
    "PenaltyGame",
    "Turn",
    "WassersteinGame",
    "alternate",
    "class_shares",
    "discriminator_loss",
    "diversity",
    "fit_game",
    "frechet_distance",
    "generate",
    "gradient_penalty",
    "grid",
    "grid_centres",
    "hinge_loss",
    "image_critic",
    "image_generator",
    "minimax_loss",
    "mixture_density",
    "mixture_sample",
    "modes_covered",
    "nearest",
    "non_saturating_loss",
    "phases",
    "point_critic",
    "point_generator",
    "precision_recall",
    "recognised",
    "ring",
    "ring_centres",
    "wasserstein_estimate",
]
