"""How good are generated examples: distances between sets of images, as a classifier sees them."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tlutils import guards
from tlutils.extraction import extract_features
from tlutils.models import Classifier

__all__ = ["class_shares", "diversity", "frechet_distance", "nearest", "precision_recall", "recognised"]


def _check_sets(real: Tensor, fake: Tensor, at_least: int) -> None:
    """Raise ValueError unless both are sets of examples of one shape, large enough."""
    if real.shape[1:] != fake.shape[1:]:
        raise ValueError(
            f"real examples have shape {tuple(real.shape[1:])}, generated {tuple(fake.shape[1:])}"
        )
    if min(len(real), len(fake)) < at_least:
        raise ValueError(
            f"got {len(real)} real and {len(fake)} generated examples; expected at least {at_least}"
        )
    guards.holds_examples("real", real)
    guards.holds_examples("fake", fake)


def _layer(reader: Classifier, name: str, images: Tensor) -> Tensor:
    """Return what the reader's backbone or head gives, in evaluation mode and without gradients."""
    return extract_features(reader, images, [name])[name]


class _Features(nn.Module):
    """The features of a classifier, in the form in which torchmetrics asks for a network."""

    def __init__(self, reader: Classifier, num_features: int) -> None:
        super().__init__()
        self.reader, self.num_features = reader, num_features

    def forward(self, x: Tensor) -> Tensor:
        return self.reader.features(x)


@torch.no_grad()
def frechet_distance(
    reader: Classifier, real: Float[Tensor, "n ..."], fake: Float[Tensor, "m ..."], *, batch_size: int = 1000
) -> float:
    r"""Return the Fréchet distance between the features of two sets of images, each taken for a Gaussian.

    .. math:: \lVert \mu_r - \mu_f \rVert^2
              + \operatorname{tr}\bigl(C_r + C_f - 2 (C_r C_f)^{1/2}\bigr)

    It is the squared Wasserstein-2 distance of the two Gaussians. With few images it comes out too large, so
    compare only values from equal numbers, and beside the value of real against other real images.

    Parameters
    ----------
    reader
        The classifier whose features are compared; the units are those of its features, so two readers'
        distances cannot be compared.
    real, fake
        Images as the reader takes them; more than features, better ten times as many.
    batch_size
        Images per forward pass.

    Raises
    ------
    ValueError
        If the shapes differ or a set has fewer than 2 images.

    Source
    ------
    Heusel, Ramsauer, Unterthiner, Nessler, Hochreiter, "GANs trained by a two time-scale update
    rule converge to a local Nash equilibrium", NeurIPS 2017, there with Inception's features.
    Computed by torchmetrics.

    Examples
    --------
    >>> reader = Classifier(nn.Flatten(), nn.Linear(2, 2))
    >>> real = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]]).reshape(4, 1, 1, 2)
    >>> round(frechet_distance(reader, real, real + 3), 4)  # equal covariances: 3² + 3²
    18.0
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    _check_sets(real, fake, at_least=2)
    guards.reader_takes(reader, real)
    was_training = reader.training
    reader.eval()
    try:
        num_features = reader.features(real[:1]).shape[1]
        metric = FrechetInceptionDistance(feature=_Features(reader, num_features))
        for images, is_real in ((real, True), (fake, False)):
            for part in images.split(batch_size):
                metric.update(part, real=is_real)
        guards.features_are_finite(metric.metric_state)
        return float(metric.compute())
    finally:
        reader.train(was_training)


def precision_recall(
    reader: Classifier, real: Float[Tensor, "n ..."], fake: Float[Tensor, "m ..."], *, k: int = 3
) -> tuple[float, float]:
    """Return how many generated images lie among the real ones, and how many real among the generated ones.

    A point lies among a set if it is within the distance to the k-th neighbour of one of its members, in the
    features of the reader. Precision is low where samples look wrong, recall where kinds are missing.

    Parameters
    ----------
    reader
        The classifier whose features are compared.
    real, fake
        More than k images each; use equal numbers, because both shares depend on how many there are.
    k
        Which neighbour sets the radius, at least 1.

    Returns
    -------
    Precision and recall, in [0, 1].

    Raises
    ------
    ValueError
        If the shapes differ, k is below 1 or a set has not more than k images.

    Source
    ------
    Kynkäänniemi, Karras, Laine, Lehtinen, Aila, "Improved precision and recall metric for assessing
    generative models", NeurIPS 2019.

    Examples
    --------
    >>> reader = Classifier(nn.Flatten(), nn.Linear(2, 2))
    >>> real = torch.tensor([[0.0, 0], [1, 0], [10, 0], [11, 0]]).reshape(4, 1, 1, 2)
    >>> fake = real[:2] + 0.1  # half of the real kinds are missing
    >>> precision_recall(reader, real, fake, k=1)
    (1.0, 0.5)
    """
    if k < 1:
        raise ValueError(f"k is {k}; expected at least 1")
    _check_sets(real, fake, at_least=k + 1)
    features = [_layer(reader, "backbone", images) for images in (real, fake)]
    guards.features_are_finite(features)

    def share_within(points: Tensor, members: Tensor) -> float:
        # The smallest distance of a member is that to itself, hence k + 1.
        radii = torch.cdist(members, members).kthvalue(k + 1, dim=1).values
        return (torch.cdist(points, members) <= radii).any(dim=1).float().mean().item()

    return share_within(features[1], features[0]), share_within(features[0], features[1])


def class_shares(reader: Classifier, images: Float[Tensor, "n ..."]) -> Float[Tensor, " num_classes"]:
    """Return the share of images in which the reader sees each class; balanced samples give 1 / num_classes.

    Examples
    --------
    >>> reader = Classifier(nn.Flatten(), nn.Identity())
    >>> class_shares(reader, torch.eye(3)[[0, 0, 0, 2]].reshape(4, 1, 1, 3)).tolist()
    [0.75, 0.0, 0.25]
    """
    guards.holds_examples("images", images)
    logits = _layer(reader, "head", images)
    return torch.bincount(logits.argmax(dim=1), minlength=logits.shape[1]) / len(images)


def recognised(reader: Classifier, images: Float[Tensor, "n ..."], y: Int[Tensor, " classes"]) -> float:
    """Return the share of images in which the reader sees the class that was asked for.

    Raises
    ------
    ValueError
        If there are not as many classes as images.

    Examples
    --------
    >>> reader = Classifier(nn.Flatten(), nn.Identity())
    >>> recognised(reader, torch.eye(3).reshape(3, 1, 1, 3), torch.tensor([0, 1, 1]))
    0.6666666865348816
    """
    guards.holds_examples("images", images)
    guards.reader_knows(reader, images, y)
    if len(images) != len(y):
        raise ValueError(f"got {len(images)} images and {len(y)} classes; expected one each")
    return (_layer(reader, "head", images).argmax(dim=1) == y).float().mean().item()


def nearest(real: Float[Tensor, "n ..."], fake: Float[Tensor, "m ..."]) -> Int[Tensor, " m"]:
    """Return for each generated example the index of the nearest real one, by distance of the pixels.

    A generator that has learnt its training images by heart gives examples that equal their nearest ones.

    Raises
    ------
    ValueError
        If the shapes differ or a set is empty.

    Examples
    --------
    >>> nearest(torch.tensor([[0.0], [5.0]]), torch.tensor([[4.0], [1.0], [9.0]])).tolist()
    [1, 0, 1]
    """
    _check_sets(real, fake, at_least=1)
    return torch.cat(
        [torch.cdist(part, real.flatten(1)).argmin(dim=1) for part in fake.flatten(1).split(100)]
    )


def diversity(real: Float[Tensor, "n ..."], fake: Float[Tensor, "m ..."]) -> float:
    """Return the mean distance between two generated examples, divided by that between two real ones.

    About 1 for samples as varied as the data, 0 where all samples are one.

    Raises
    ------
    ValueError
        If the shapes differ or a set has fewer than 2 examples.

    Examples
    --------
    >>> diversity(torch.tensor([[0.0], [4.0]]), torch.tensor([[0.0], [1.0]]))
    0.25
    """
    _check_sets(real, fake, at_least=2)
    within_real, within_fake = (torch.pdist(examples.flatten(1)).mean().item() for examples in (real, fake))
    return within_fake / within_real
