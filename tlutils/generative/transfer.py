"""Carry a GAN's networks over to a classifier, and train classifiers with few target labels or with none."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tlutils import guards
from tlutils.domains import Labelled
from tlutils.feature_based import multi_kernel_mmd2
from tlutils.generative.networks import Generator
from tlutils.models import Classifier
from tlutils.runtime import new_generator, seeded
from tlutils.training import batch_indices

__all__ = [
    "budget_term",
    "carried_over",
    "fit_encoder",
    "information",
    "kernel_distance",
    "labelled_by",
    "mean_distance",
]


def carried_over(critic: Classifier, num_classes: int, *, seed: int) -> Classifier:
    """Return a classifier with a copy of the critic's backbone and a new linear head.

    Parameters
    ----------
    critic
        A critic, or any classifier: its head is dropped, its weights are copied and stay as they are.
    num_classes
        Outputs of the new head, at least 1.
    seed
        Seed of the new head.

    Raises
    ------
    ValueError
        If `num_classes` is below 1 or the old head is not linear.

    Examples
    --------
    >>> critic = Classifier(nn.Flatten(), nn.Linear(4, 1))
    >>> carried_over(critic, 10, seed=0)(torch.zeros(2, 1, 2, 2)).shape
    torch.Size([2, 10])
    """
    if num_classes < 1 or not isinstance(critic.head, nn.Linear):
        raise ValueError(
            f"got {num_classes=} and a head of type {type(critic.head).__name__}; expected at least 1 class, "
            "and a linear head, which tells how many features there are"
        )
    with seeded(seed):
        return Classifier(copy.deepcopy(critic.backbone), nn.Linear(critic.head.in_features, num_classes))


def fit_encoder(
    encoder: nn.Module,
    generator: Generator,
    *,
    num_steps: int,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    seed: int = 0,
) -> list[float]:
    r"""Teach an encoder to read the noise off generated examples; trains it in place.

    .. math:: \min_E \; \mathbb{E}_{z \sim N(0, I)} \tfrac1d \lVert E(G(z)) - z \rVert^2

    Parameters
    ----------
    encoder
        Maps examples to (n, num_latent).
    generator
        Draws the examples; not trained, used in evaluation mode.
    num_steps, batch_size
        At least 1; every step draws new noise.
    learning_rate
        Adam's, falling to zero along a cosine.
    seed
        Seed of the noise.

    Returns
    -------
    The loss of each step. An encoder that always answers 0 has loss 1, a perfect one 0.

    Raises
    ------
    ValueError
        If a number is out of range, the encoder's outputs are not as long as the noise, or the generator has
        to be told classes.

    Source
    ------
    Donahue, Krähenbühl, Darrell, "Adversarial feature learning", ICLR 2017, who call it a latent regressor.

    Examples
    --------
    >>> generator = Generator(nn.Identity(), num_latent=2)
    >>> losses = fit_encoder(nn.Linear(2, 2), generator, num_steps=300, learning_rate=0.05)
    >>> losses[-1] < 0.01  # the generator changes nothing, nor need the encoder
    True
    """
    if num_steps < 1 or batch_size < 1 or not learning_rate > 0:
        raise ValueError(f"got {num_steps=}, {batch_size=}, {learning_rate=}; expected positive numbers")
    guards.is_told("the generator", generator, None)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=learning_rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, num_steps)
    random, losses = new_generator(seed), []
    device = next(encoder.parameters()).device
    was_training = generator.training
    generator.eval()
    encoder.train()
    for _ in range(num_steps):
        z = generator.noise(batch_size, random).to(device)
        with torch.no_grad():
            x = generator(z)
        guess = encoder(x)
        if guess.shape != z.shape:
            raise ValueError(f"the encoder gives {tuple(guess.shape)} for noise of shape {tuple(z.shape)}")
        loss = functional.mse_loss(guess, z)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    generator.train(was_training)
    return losses


def mean_distance(
    source: Float[Tensor, "n num_features"], target: Float[Tensor, "m num_features"]
) -> Float[Tensor, ""]:
    """Return the squared distance of the means of two batches, the squared MMD with a linear kernel.

    Source
    ------
    Tzeng, Hoffman, Zhang, Saenko, Darrell, "Deep domain confusion: maximizing for domain invariance", 2014;
    see chapter "Deep alignment".

    Examples
    --------
    >>> mean_distance(torch.tensor([[0.0, 0.0], [2.0, 0.0]]), torch.tensor([[1.0, 3.0]]))
    tensor(9.)
    """
    return (source.mean(dim=0) - target.mean(dim=0)).square().sum()


def kernel_distance(
    source: Float[Tensor, "n num_features"], target: Float[Tensor, "m num_features"]
) -> Float[Tensor, ""]:
    """Return the squared MMD of two batches for five kernels, whose widths follow the features as they grow.

    Widths are ¼ to 4 times the root of the mean squared distance, and no gradient passes through them.

    Source
    ------
    Long, Cao, Wang, Jordan, "Learning transferable features with deep adaptation networks", ICML 2015; see
    chapter "Deep alignment".

    Examples
    --------
    >>> x = torch.tensor([[0.0], [1.0], [2.0]])
    >>> bool(kernel_distance(x, x + 9) > 0.5)
    True
    """
    both = torch.cat([source, target]).detach()
    unit = (2 * (both - both.mean(dim=0)).square().sum(dim=1).mean()).clamp(min=1e-12).sqrt().item()
    return multi_kernel_mmd2(source, target, bandwidths=[f * unit for f in (1 / 4, 1 / 2, 1, 2, 4)])


def budget_term(
    labels: Labelled | None,
    distance: Callable[[Tensor, Tensor], Tensor],
    trade_off: float,
    *,
    batch_size: int = 64,
    seed: int = 0,
) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    r"""Return a loss term for `training.fit` that aligns features and also learns from target labels.

    .. math:: \lambda \, D(\phi(x_S), \phi(x_T)) - \tfrac1n \sum_i \log p_{y_i}(x_i)

    Parameters
    ----------
    labels
        The target's labelled budget; None where there is none, and only the first term.
    distance
        Compares two heaps of features.
    trade_off
        λ above, at least 0.
    batch_size
        Labelled target examples per step; all where there are fewer.
    seed
        Seed of their order.

    Raises
    ------
    ValueError
        If `trade_off` is negative or not finite, or `batch_size` is below 1.

    Examples
    --------
    >>> term = budget_term(None, lambda a, b: (a.mean() - b.mean()) ** 2, trade_off=3.0)
    >>> model = Classifier(nn.Flatten(), nn.Linear(1, 2))
    >>> term(model, torch.zeros(4, 1), torch.ones(4, 1))
    tensor(3.)
    """
    if not (0 <= trade_off < math.inf) or batch_size < 1:
        raise ValueError(
            f"got {trade_off=}, {batch_size=}; expected a finite trade_off >= 0 and a positive size"
        )
    steps = itertools.count()

    def term(model: nn.Module, x: Tensor, x_target: Tensor) -> Tensor:
        loss = trade_off * distance(*model.features(torch.cat([x, x_target])).split([len(x), len(x_target)]))
        if labels is None:
            return loss
        chosen = batch_indices(len(labels), batch_size, next(steps), seed)
        guess = model(labels.x[chosen].to(x.device))
        return loss + functional.cross_entropy(guess, labels.y[chosen].to(x.device))

    return term


def _logits(model: nn.Module, x: Float[Tensor, "n ..."]) -> Float[Tensor, "n num_classes"]:
    """Return the logits in evaluation mode, on the CPU; the network may lie on another device."""
    device = next((weight.device for weight in model.parameters()), x.device)
    was_training = model.training
    model.eval()
    logits = torch.cat([model(part.to(device)).cpu() for part in x.split(1000)])
    model.train(was_training)
    return logits


@torch.no_grad()
def labelled_by(model: Classifier, x: Float[Tensor, "n ..."]) -> Labelled:
    """Return examples with the labels that `model` gives them; they are guesses and can be wrong.

    Examples
    --------
    >>> model = Classifier(nn.Flatten(), nn.Identity())
    >>> labelled_by(model, torch.tensor([[0.0, 5.0], [3.0, 1.0]])).y.tolist()
    [1, 0]
    """
    guards.holds_examples("x", x)
    logits = _logits(model, x)
    return Labelled(x, logits.argmax(dim=1), logits.shape[1])


@torch.no_grad()
def information(model: nn.Module, x: Float[Tensor, "n ..."]) -> float:
    r"""Return how sure a classifier is of each example and how evenly it uses its classes, without labels.

    .. math:: H\Bigl(\tfrac1n \sum_i p(x_i)\Bigr) - \tfrac1n \sum_i H\bigl(p(x_i)\bigr)

    Parameters
    ----------
    model
        Gives logits; judged in evaluation mode and left as it was.
    x
        Examples without labels, at least 1.

    Returns
    -------
    From 0 (useless) to log num_classes, in nats.

    Raises
    ------
    ValueError
        If there is no example, or one holds NaN or infinite values.

    Source
    ------
    Shi, Sha, "Information-theoretical learning of discriminative clusters for unsupervised domain
    adaptation", ICML 2012.

    Examples
    --------
    >>> model = Classifier(nn.Flatten(), nn.Identity())
    >>> round(information(model, 50 * torch.eye(2)), 4)  # sure, and both classes: ln 2
    0.6931
    """
    if len(x) == 0:
        raise ValueError("x is empty: expected at least one example to judge the model by")
    guards.holds_examples("x", x)
    p = _logits(model, x).softmax(dim=1)
    entropy = torch.special.entr
    return float(entropy(p.mean(dim=0)).sum() - entropy(p).sum(dim=1).mean())
