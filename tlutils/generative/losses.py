"""What the players of a GAN minimise, as pure functions of the scores that the critic gives."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from tlutils import guards

__all__ = [
    "consistency_penalty",
    "discriminator_loss",
    "gradient_penalty",
    "hinge_loss",
    "least_squares_loss",
    "minimax_loss",
    "non_saturating_loss",
    "soft_label_loss",
    "wasserstein_estimate",
]


def discriminator_loss(score_real: Float[Tensor, " n"], score_fake: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    r"""Return the discriminator's cross-entropy, the sum over real and generated examples, in nats.

    .. math:: -\tfrac1n \sum_i \log D(x_i) - \tfrac1m \sum_j \log (1 - D(G(z_j))),
              \qquad D(x) = \sigma(\text{score}(x))

    Parameters
    ----------
    score_real, score_fake
        Log-odds of "real": unbounded scores, no probabilities.

    Source
    ------
    Goodfellow et al., "Generative adversarial nets", NeurIPS 2014.

    Examples
    --------
    >>> round(discriminator_loss(torch.zeros(4), torch.zeros(4)).item(), 4)  # undecided: 2 log 2
    1.3863
    """
    missed = functional.binary_cross_entropy_with_logits(score_real, torch.ones_like(score_real))
    return missed + functional.softplus(score_fake).mean()


def minimax_loss(score_fake: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    r"""Return the generator's minimax loss, mean of log(1 - D(G(z))): flat where D is sure.

    Source
    ------
    Goodfellow et al., NeurIPS 2014.

    Examples
    --------
    >>> round(minimax_loss(torch.zeros(4)).item(), 4)  # log 1/2
    -0.6931
    """
    return -functional.softplus(score_fake).mean()


def non_saturating_loss(score_fake: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    r"""Return the generator's flipped loss, mean of -log D(G(z)): steep where D is sure that G is wrong.

    Source
    ------
    Goodfellow et al., NeurIPS 2014.

    Examples
    --------
    >>> round(non_saturating_loss(torch.zeros(4)).item(), 4)  # log 2
    0.6931
    """
    return functional.softplus(-score_fake).mean()


def hinge_loss(score_real: Float[Tensor, " n"], score_fake: Float[Tensor, " m"]) -> Float[Tensor, ""]:
    r"""Return the critic's hinge loss: real scores above 1 and generated ones below -1 cost nothing.

    .. math:: \tfrac1n \sum_i \max(0, 1 - f(x_i)) + \tfrac1m \sum_j \max(0, 1 + f(G(z_j)))

    Source
    ------
    Miyato, Kataoka, Koyama, Yoshida, "Spectral normalization for generative adversarial networks", ICLR 2018.

    Examples
    --------
    >>> hinge_loss(torch.tensor([2.0, 0.5]), torch.tensor([-3.0])).item()
    0.25
    """
    return functional.relu(1 - score_real).mean() + functional.relu(1 + score_fake).mean()


def soft_label_loss(score: Float[Tensor, " n"], label: float) -> Float[Tensor, ""]:
    r"""Return the cross-entropy of scores with one label between 0 and 1 for all of them, in nats.

    .. math:: \tfrac1n \sum_i \log(1 + e^{s_i}) - t s_i

    With the labels 1 for real and 0 for generated examples, the sum of the two is `discriminator_loss`.

    Parameters
    ----------
    score
        Log-odds of "real".
    label
        The probability t of "real" that the discriminator should give, in [0, 1].

    Source
    ------
    Salimans et al., "Improved techniques for training GANs", NeurIPS 2016.

    Examples
    --------
    >>> round(soft_label_loss(torch.zeros(4), 0.9).item(), 4)  # undecided: log 2, whatever the label
    0.6931
    """
    return (functional.softplus(score) - label * score).mean()


def consistency_penalty(score: Float[Tensor, " n"], score_pushed: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    r"""Return the mean squared change of the discriminator's score when its examples are pushed a little.

    .. math:: \tfrac1n \sum_i \bigl(s(x_i) - s(x_i + \epsilon_i)\bigr)^2

    Source
    ------
    Zhang, Zhang, Odena, Lee, "Consistency regularization for generative adversarial networks", ICLR 2020.

    Examples
    --------
    >>> consistency_penalty(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0])).item()
    2.0
    """
    return (score - score_pushed).square().mean()


def least_squares_loss(score: Float[Tensor, " n"], wanted: float) -> Float[Tensor, ""]:
    r"""Return the mean squared distance of scores from the one that is wanted.

    .. math:: \tfrac1n \sum_i (s_i - t)^2

    The discriminator wants t = 1 for real and t = 0 for generated examples, the generator t = 1 for these.

    Source
    ------
    Mao et al., "Least squares generative adversarial networks", ICCV 2017.

    Examples
    --------
    >>> least_squares_loss(torch.tensor([1.0, 3.0]), 1.0).item()
    2.0
    """
    return (score - wanted).square().mean()


def wasserstein_estimate(
    score_real: Float[Tensor, " n"], score_fake: Float[Tensor, " m"]
) -> Float[Tensor, ""]:
    r"""Return the mean score of real minus that of generated examples.

    A critic with Lipschitz constant 1 maximises it, and its largest value is the Wasserstein-1 distance, in
    the units of the examples.

    Source
    ------
    Arjovsky, Chintala, Bottou, "Wasserstein generative adversarial networks", ICML 2017.

    Examples
    --------
    >>> wasserstein_estimate(torch.tensor([3.0, 1.0]), torch.tensor([0.5])).item()
    1.5
    """
    return score_real.mean() - score_fake.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor],
    real: Float[Tensor, "n ..."],
    fake: Float[Tensor, "m ..."],
    random: torch.Generator,
    *,
    target: float = 1.0,
) -> Float[Tensor, ""]:
    r"""Return how far the critic's slope is from 1, squared, between real and generated examples.

    .. math:: \frac1n \sum_i \bigl(\lVert \nabla_x f(\hat x_i) \rVert - 1\bigr)^2, \qquad
              \hat x_i = u_i x_i + (1 - u_i) G(z_i), \quad u_i \sim U(0, 1)

    Parameters
    ----------
    critic
        Maps examples to scores (n,). It must treat each example by itself: no batch normalisation.
    real, fake
        As many of one as of the other.
    random
        CPU generator from which u is drawn.
    target
        Slope that costs nothing.

    Raises
    ------
    ValueError
        If the shapes differ, there is no example, or one holds NaN or infinite values.
    RuntimeError
        If gradients are switched off (``torch.no_grad``): the penalty would be a constant.

    Source
    ------
    Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville, "Improved training of Wasserstein GANs", NeurIPS 2017.

    Examples
    --------
    >>> steep = lambda x: 3 * x[:, 0]  # slope 3 everywhere: (3 - 1)² = 4
    >>> gradient_penalty(steep, torch.ones(5, 2), torch.zeros(5, 2), torch.Generator()).item()
    4.0
    """
    if real.shape != fake.shape:
        raise ValueError(
            f"got {tuple(real.shape)} real and {tuple(fake.shape)} generated examples; expected equal shapes"
        )
    guards.holds_examples("real", real)
    guards.holds_examples("fake", fake)
    if not torch.is_grad_enabled():
        raise RuntimeError(
            "gradient_penalty was called under torch.no_grad(): it needs the critic's gradient with respect "
            "to its input, and its own gradient after that. Call it outside of no_grad."
        )
    share = torch.rand(len(real), *[1] * (real.ndim - 1), generator=random).to(real)
    between = (share * real.detach() + (1 - share) * fake.detach()).requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return (slope.flatten(1).norm(dim=1) - target).square().mean()
