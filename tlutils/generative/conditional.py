"""Generators and critics that are told the class: three ways to tell them, one game."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from tlutils import guards
from tlutils.generative.game import Batch, Game
from tlutils.generative.networks import Critic, Generator, image_critic, image_generator
from tlutils.runtime import seeded

__all__ = [
    "BlindCritic",
    "ConcatenationCritic",
    "ConcatenationGenerator",
    "ConditionalGame",
    "EmbeddingCritic",
    "EmbeddingGenerator",
    "ProjectionCritic",
    "check_classes",
    "conditional_critic",
    "conditional_generator",
]


def check_classes(y: Tensor | None, num_examples: int, num_classes: int) -> Int[Tensor, " n"]:
    """Return `y` if it holds one class index per example.

    Raises
    ------
    ValueError
        If `y` is missing, has another length, or holds an index that is not a class.
    TypeError
        If `y` is no tensor of torch.int64.

    Examples
    --------
    >>> check_classes(torch.tensor([2, 0]), 2, 3).tolist()
    [2, 0]
    """
    if y is None:
        raise ValueError(
            "the class of each example is missing: a conditional network needs y, one class index per "
            "example. Pass y= to fit_game and to generate."
        )
    guards.are_conditions(y)
    if y.is_floating_point() or y.dtype == torch.bool:
        raise TypeError(f"y has dtype {y.dtype}; expected class indices, torch.int64")
    if y.shape != (num_examples,):
        raise ValueError(f"y has shape {tuple(y.shape)}; expected one class index for each of {num_examples}")
    if num_examples and not 0 <= int(y.min()) <= int(y.max()) < num_classes:
        raise ValueError(
            f"y holds class indices from {int(y.min())} to {int(y.max())}; this network knows the classes "
            f"0 to {num_classes - 1}"
        )
    return y


class ConcatenationGenerator(Generator):
    """Generator whose noise is followed by the class as a one-hot vector.

    Parameters
    ----------
    layers
        Maps (n, num_latent + num_classes) to examples.
    num_latent
        Length of the noise vector.
    num_classes
        Number of classes.

    Source
    ------
    Mirza, Osindero, "Conditional generative adversarial nets", arXiv:1411.1784 (2014).

    Examples
    --------
    >>> generator = ConcatenationGenerator(nn.Linear(3 + 2, 4), num_latent=3, num_classes=2)
    >>> generator(torch.zeros(5, 3), torch.tensor([0, 1, 1, 0, 1])).shape
    torch.Size([5, 4])
    """

    def __init__(self, layers: nn.Module, num_latent: int, num_classes: int) -> None:
        super().__init__(layers, num_latent)
        self.num_classes = num_classes

    def forward(self, z: Float[Tensor, "n num_latent"], y: Int[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        guards.has_noise_length(z, self.num_latent)
        y = check_classes(y, len(z), self.num_classes)
        return self.layers(torch.cat([z, functional.one_hot(y, self.num_classes).to(z)], dim=1))


class EmbeddingGenerator(Generator):
    """Generator whose noise is multiplied, entry by entry, with a learned vector of the class.

    Parameters
    ----------
    layers
        Maps (n, num_latent) to examples.
    num_latent
        Length of the noise vector and of each class's vector.
    num_classes
        Number of classes.

    Examples
    --------
    >>> generator = EmbeddingGenerator(nn.Linear(3, 4), num_latent=3, num_classes=2)
    >>> generator(torch.zeros(5, 3), torch.tensor([0, 1, 1, 0, 1])).shape
    torch.Size([5, 4])
    """

    def __init__(self, layers: nn.Module, num_latent: int, num_classes: int) -> None:
        super().__init__(layers, num_latent)
        self.num_classes = num_classes
        self.embedding = nn.Embedding(num_classes, num_latent)

    def forward(self, z: Float[Tensor, "n num_latent"], y: Int[Tensor, " n"]) -> Float[Tensor, "n ..."]:
        guards.has_noise_length(z, self.num_latent)
        return self.layers(z * self.embedding(check_classes(y, len(z), self.num_classes)))


class _ImageCritic(Critic):
    """A critic of images whose first layer sees `num_maps` channels beside the image's own."""

    def __init__(self, critic: Critic, num_classes: int, num_maps: int = 0) -> None:
        super().__init__(critic.backbone, critic.head)
        self.num_classes = num_classes
        channels, self.image_size, _ = critic.backbone.standardise.shape
        if num_maps:
            first = critic.backbone.down1[0]
            wider = nn.Conv2d(channels + num_maps, first.out_channels, 4, stride=2, padding=1)
            with torch.no_grad():
                wider.weight.normal_(0.0, 0.02)
                wider.weight[:, :channels] = first.weight
                wider.bias.copy_(first.bias)
            critic.backbone.down1[0] = wider

    def score_with(self, x: Tensor, maps: Float[Tensor, "n maps h w"]) -> Float[Tensor, " n"]:
        """Return the scores of images that are followed by maps."""
        stacked = torch.cat([self.backbone.standardise(x), maps], dim=1)
        return self.head(self.backbone[1:](stacked)).squeeze(1)


class ConcatenationCritic(_ImageCritic):
    """Critic whose image is followed by one map per class: ones for its own class, zeros for the others.

    Parameters
    ----------
    critic
        From `image_critic`; its first layer is widened.
    num_classes
        Number of classes.

    Source
    ------
    Mirza, Osindero, arXiv:1411.1784 (2014), for networks of dense layers.

    Examples
    --------
    >>> critic = ConcatenationCritic(image_critic(16), num_classes=10)
    >>> critic(torch.zeros(2, 1, 16, 16), torch.tensor([3, 9])).shape
    torch.Size([2])
    """

    def __init__(self, critic: Critic, num_classes: int) -> None:
        super().__init__(critic, num_classes, num_maps=num_classes)

    def forward(self, x: Tensor, y: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        one_hot = functional.one_hot(check_classes(y, len(x), self.num_classes), self.num_classes).to(x)
        return self.score_with(x, one_hot[:, :, None, None].expand(-1, -1, *[self.image_size] * 2))


class EmbeddingCritic(_ImageCritic):
    """Critic whose image is followed by one more channel: a learned picture of the class.

    Parameters
    ----------
    critic
        From `image_critic`; its first layer is widened.
    num_classes
        Number of classes.

    Examples
    --------
    >>> critic = EmbeddingCritic(image_critic(16), num_classes=10)
    >>> critic(torch.zeros(2, 1, 16, 16), torch.tensor([3, 9])).shape
    torch.Size([2])
    """

    def __init__(self, critic: Critic, num_classes: int) -> None:
        super().__init__(critic, num_classes, num_maps=1)
        self.embedding = nn.Embedding(num_classes, self.image_size**2)

    def forward(self, x: Tensor, y: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        picture = self.embedding(check_classes(y, len(x), self.num_classes))
        return self.score_with(x, picture.view(-1, 1, *[self.image_size] * 2))


class ProjectionCritic(_ImageCritic):
    r"""Critic that adds the inner product of its features with a learned vector of the class.

    .. math:: f(x, y) = e_y \cdot \phi(x) + \psi(\phi(x))

    Parameters
    ----------
    critic
        From `image_critic`; its backbone is :math:`\phi` and its head :math:`\psi`.
    num_classes
        Number of classes.

    Source
    ------
    Miyato, Koyama, "cGANs with projection discriminator", ICLR 2018; the derivation is in the chapter.

    Examples
    --------
    >>> critic = ProjectionCritic(image_critic(16), num_classes=10)
    >>> critic(torch.zeros(2, 1, 16, 16), torch.tensor([3, 9])).shape
    torch.Size([2])
    """

    def __init__(self, critic: Critic, num_classes: int) -> None:
        super().__init__(critic, num_classes)
        self.embedding = nn.Embedding(num_classes, critic.head.in_features)
        nn.init.normal_(self.embedding.weight, 0.0, 0.02)

    def forward(self, x: Tensor, y: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        features = self.features(x)
        vector = self.embedding(check_classes(y, len(x), self.num_classes))
        return self.head(features).squeeze(1) + (vector * features).sum(dim=1)


class BlindCritic(_ImageCritic):
    """Critic that is told the class and does not listen; it shows what a game without the class comes to.

    Parameters
    ----------
    critic
        From `image_critic`.
    num_classes
        Number of classes.

    Examples
    --------
    >>> critic, x = BlindCritic(image_critic(16), num_classes=10), torch.zeros(2, 1, 16, 16)
    >>> torch.equal(critic(x, torch.tensor([3, 9])), critic(x, torch.tensor([5, 1])))
    True
    """

    def forward(self, x: Tensor, y: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        check_classes(y, len(x), self.num_classes)
        return super().forward(x)


class ConditionalGame(Game):
    """The non-saturating game in which both players are told the class.

    The generator is asked for the classes of the real batch, so both sides have the same proportions and a
    class alone tells nothing.

    Parameters
    ----------
    generator
        Maps noise and classes to examples.
    discriminator
        Maps examples and classes to scores (n,).

    Raises
    ------
    ValueError
        In training, if `y` is missing or holds an index that is not a class, or a player takes no classes.

    Source
    ------
    Mirza, Osindero, arXiv:1411.1784 (2014).
    """

    def fake(self, batch: Batch, random: torch.Generator) -> Tensor:
        guards.is_told("the generator", self.generator, True)
        y = check_classes(batch.y, len(batch.x), self.generator.num_classes)
        return self.generator(self.generator.noise(len(batch.x), random).to(batch.x.device), y)

    def score(self, examples: Tensor, batch: Batch) -> Float[Tensor, " n"]:
        guards.is_told("the discriminator", self.discriminator, True)
        return self.discriminator(examples, batch.y)


def _chosen(how: str, ways: dict[str, type], num_classes: int) -> type:
    """Return the class of network that `how` names; raise ValueError where there is none."""
    if how not in ways:
        raise ValueError(f"how is {how!r}; expected one of {tuple(ways)}")
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; a condition needs at least 2 classes")
    return ways[how]


def conditional_generator(
    how: str = "concatenation",
    num_classes: int = 10,
    *,
    image_size: int = 16,
    channels: int = 1,
    num_latent: int = 64,
    width: int = 32,
    norm: str = "batch",
    seed: int = 0,
) -> ConcatenationGenerator | EmbeddingGenerator:
    """Return `image_generator`'s network, told the class by ``"concatenation"`` or ``"embedding"``.

    Parameters
    ----------
    how
        The class enters as a one-hot vector behind the noise, or as a learned vector times the noise.
    num_classes
        At least 2.
    image_size, channels, num_latent, width, norm, seed
        As for `image_generator`.

    Raises
    ------
    ValueError
        If `how` is unknown, `num_classes` is below 2, or an argument of `image_generator` is out of range.

    Examples
    --------
    >>> conditional_generator("embedding")(torch.zeros(2, 64), torch.tensor([3, 9])).shape
    torch.Size([2, 1, 16, 16])
    """
    ways = {"concatenation": ConcatenationGenerator, "embedding": EmbeddingGenerator}
    kind = _chosen(how, ways, num_classes)
    num_inputs = num_latent + (num_classes if how == "concatenation" else 0)
    plain = image_generator(
        image_size, channels=channels, num_latent=num_inputs, width=width, norm=norm, seed=seed
    )
    with seeded(seed):
        return kind(plain.layers, num_latent, num_classes)


def conditional_critic(
    how: str = "projection",
    num_classes: int = 10,
    *,
    image_size: int = 16,
    channels: int = 1,
    width: int = 32,
    norm: str = "none",
    seed: int = 0,
) -> ConcatenationCritic | EmbeddingCritic | ProjectionCritic | BlindCritic:
    """Return `image_critic`'s network, told the class in one of three ways.

    Parameters
    ----------
    how
        ``"concatenation"`` of one map per class, ``"embedding"`` as one learned picture per class,
        ``"projection"`` of the features on a learned vector per class, or ``"blind"``: not at all.
    num_classes
        At least 2.
    image_size, channels, width, seed
        As for `image_critic`.
    norm
        ``"batch"`` or ``"none"``.

    Raises
    ------
    ValueError
        If `how` is unknown, `num_classes` is below 2, or an argument of `image_critic` is out of range.

    Examples
    --------
    >>> conditional_critic("projection")(torch.zeros(2, 1, 16, 16), torch.tensor([3, 9])).shape
    torch.Size([2])
    """
    ways = {
        "concatenation": ConcatenationCritic,
        "embedding": EmbeddingCritic,
        "projection": ProjectionCritic,
        "blind": BlindCritic,
    }
    kind = _chosen(how, ways, num_classes)
    if norm == "spectral":
        raise ValueError(
            "norm is 'spectral'; expected 'batch' or 'none': the vectors of the classes have none"
        )
    plain = image_critic(image_size, channels=channels, width=width, norm=norm, seed=seed)
    with seeded(seed):
        return kind(plain, num_classes)
