"""Translation between two domains without pairs: translators, a buffer of earlier images, the cycle game."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tlutils import guards
from tlutils.generative.conditional import check_classes
from tlutils.generative.game import Batch, Game, Turn
from tlutils.generative.losses import least_squares_loss
from tlutils.generative.networks import FromImage, ToImage, dcgan_start, down_block, up_block
from tlutils.runtime import seeded

__all__ = ["CycleGame", "ImageBuffer", "image_translator", "translate"]


def _normalised(layers: list[nn.Module], channels: int) -> list[nn.Module]:
    """Return a convolution and what follows it with instance normalisation between them."""
    return [layers[0], nn.InstanceNorm2d(channels, affine=True), *layers[1:]]


class _Residual(nn.Module):
    """Two convolutions whose result is added to what went in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.layers = nn.Sequential(
            *_normalised([first, nn.ReLU()], channels), *_normalised([second], channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def image_translator(
    image_size: int = 16,
    *,
    channels: tuple[int, int] = (1, 1),
    width: int = 24,
    num_blocks: int = 1,
    seed: int = 0,
) -> nn.Sequential:
    """Return a network from image to image: an encoder to a quarter of the size, residual blocks, a decoder.

    Instance normalisation treats each image by itself, so that one network does the same in training and in
    use, whichever domain its images come from.

    Parameters
    ----------
    image_size
        Height and width, a multiple of 4 from 16 to 64.
    channels
        Channels of the images that go in and that come out, 1 or 3 each.
    width
        Channels after the first halving; twice as many after the second.
    num_blocks
        Residual blocks at a quarter of the size.
    seed
        Seed of the initial weights.

    Returns
    -------
    Maps images in [0, 1] to images in [0, 1] of the same size.

    Raises
    ------
    ValueError
        If an argument is out of its range; and when images of another shape are passed to the network.

    Source
    ------
    Zhu, Park, Isola, Efros, "Unpaired image-to-image translation using cycle-consistent adversarial
    networks", ICCV 2017, with fewer blocks and channels.

    Examples
    --------
    >>> image_translator(16, channels=(1, 3))(torch.zeros(2, 1, 16, 16)).shape
    torch.Size([2, 3, 16, 16])
    """
    guards.is_square_size(image_size)
    if not 16 <= image_size <= 64 or image_size % 4:
        raise ValueError(f"image_size is {image_size}; expected a multiple of 4 from 16 to 64")
    if {*channels} - {1, 3} or width < 1 or num_blocks < 0:
        raise ValueError(
            f"got {channels=}, {width=}, {num_blocks=}; expected 1 or 3 channels on each side, a width of at "
            "least 1 and no negative number of blocks"
        )
    with seeded(seed):
        encoder = [FromImage(channels[0], image_size), *down_block(channels[0], width)]
        encoder += _normalised(down_block(width, 2 * width), 2 * width)
        blocks = [_Residual(2 * width) for _ in range(num_blocks)]
        decoder = _normalised(up_block(2 * width, width, "none"), width)
        decoder += [nn.ConvTranspose2d(width, channels[1], 4, stride=2, padding=1), ToImage()]
        return dcgan_start(nn.Sequential(*encoder, *blocks, *decoder))


@torch.no_grad()
def translate(
    translator: nn.Module, x: Float[Tensor, "n ..."], *, batch_size: int = 500
) -> Float[Tensor, "n ..."]:
    """Translate examples in evaluation mode, without gradients; the translator is left as it was.

    Parameters
    ----------
    translator
        Maps examples of one domain to examples of another.
    x
        At least one example.
    batch_size
        Examples per forward pass, at least 1; changes nothing but memory.

    Returns
    -------
    As many examples, on the CPU.

    Raises
    ------
    ValueError
        If there is no example or `batch_size` is below 1.

    Examples
    --------
    >>> translate(nn.Identity(), torch.tensor([[1.0], [2.0], [3.0]]), batch_size=2).tolist()
    [[1.0], [2.0], [3.0]]
    """
    if len(x) == 0 or batch_size < 1:
        raise ValueError(f"got {len(x)} examples and {batch_size=}; expected at least 1 of each")
    guards.network_takes("the translator", translator, "x", x)
    device = next((weight.device for weight in translator.parameters()), x.device)
    was_training = translator.training
    translator.eval()
    try:
        return torch.cat([translator(part.to(device)).float().cpu() for part in x.split(batch_size)])
    finally:
        translator.train(was_training)


class ImageBuffer(nn.Module):
    """Earlier translations, of which a critic is shown some in place of new ones.

    A critic that sees the newest translations only forgets what it knew of earlier ones. The first ones fill
    the buffer. After that each new image is shown and not kept with probability 1/2; otherwise it takes the
    place of an old one, which is shown. The images are part of the state, so that a training can be resumed.

    Parameters
    ----------
    num_images
        Places in the buffer, at least 1. The paper has 50 with one image a step; with n a step, 50 n keeps
        an image as long.
    shape
        Shape of one image.

    Raises
    ------
    ValueError
        If `num_images` is below 1.

    Notes
    -----
    One call replaces each place at most once; beyond `num_images` exchanges, new images are shown.

    Source
    ------
    Shrivastava et al., "Learning from simulated and unsupervised images through adversarial training", CVPR
    2017; Zhu et al., ICCV 2017.

    Examples
    --------
    >>> buffer = ImageBuffer(2, (1,))
    >>> buffer.exchange(torch.tensor([[1.0], [2.0]]), torch.Generator()).tolist(), buffer.images.tolist()
    ([[1.0], [2.0]], [[1.0], [2.0]])
    """

    def __init__(self, num_images: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        if num_images < 1:
            raise ValueError(f"num_images is {num_images}; expected at least 1")
        self.register_buffer("images", torch.zeros(num_images, *shape))
        self.register_buffer("num_filled", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def exchange(self, fake: Float[Tensor, "n ..."], random: torch.Generator) -> Float[Tensor, "n ..."]:
        """Return as many images as came in, some of them old ones, and keep the new ones in their place."""
        guards.fits_buffer(fake, self.images)
        shown, filled = fake.clone(), int(self.num_filled)
        num_new = min(len(fake), len(self.images) - filled)
        self.images[filled : filled + num_new] = fake[:num_new]
        self.num_filled += num_new
        coins = torch.rand(len(fake), generator=random) < 0.5
        coins[:num_new] = False
        chosen = coins.nonzero().squeeze(1)
        places = torch.randperm(len(self.images), generator=random)[: len(chosen)]
        chosen, places = chosen[: len(places)].to(fake.device), places.to(fake.device)
        shown[chosen] = self.images[places].to(fake.dtype)
        self.images[places] = fake[chosen].to(self.images.dtype)
        return shown


class CycleGame(Game):
    r"""Two translators, two discriminators, and losses that tie what comes out to what went in.

    With translators :math:`G: S \to T` and :math:`F: T \to S`, the translators minimise

    .. math:: \lambda_t (D_T(G(x_s)) - 1)^2 + \lambda_s (D_S(F(x_t)) - 1)^2
        + \lambda_c \bigl( |F(G(x_s)) - x_s| + |G(F(x_t)) - x_t| \bigr)
        + \lambda_i \bigl( |G(x_t) - x_t| + |F(x_s) - x_s| \bigr)
        + \lambda_m \, \mathrm{CE}\bigl( f(G(x_s)), y_s \bigr)

    and the discriminators :math:`\tfrac12 (D(\text{real}) - 1)^2 + \tfrac12 D(\text{translated})^2`, all as
    means over examples and pixels. Scores are reported less 1/2, so that 0 is undecided as in every game.

    Parameters
    ----------
    to_target, to_source
        The translators G and F; afterwards ``generator["to_target"]`` and ``generator["to_source"]``.
    critic_target, critic_source
        Score examples of one domain each.
    adversarial_target, adversarial_source, cycle, identity, semantic
        The weights :math:`\lambda`, at least 0. A loss of weight 0 is not computed. A critic whose
        adversarial loss has weight 0 is trained all the same.
    reader
        The classifier f of the semantic loss, trained on the source. It is held still, in evaluation mode.
    buffers
        What keeps earlier translations for the critic of the target and for that of the source.

    Raises
    ------
    ValueError
        If a weight is negative or all are 0, a critic ends in a sigmoid, or there is a semantic loss without
        a reader; in training, if there is no second domain, the identity loss meets domains of different
        shapes, or the semantic loss has no classes or classes out of the reader's range.

    Source
    ------
    Zhu et al., ICCV 2017; the semantic loss: Hoffman et al., "CyCADA: cycle-consistent adversarial domain
    adaptation", ICML 2018, here with the source's own labels and in one direction.

    Examples
    --------
    >>> from tlutils.generative import fit_game, point_critic
    >>> game = CycleGame(nn.Linear(2, 2), nn.Linear(2, 2), point_critic(), point_critic())
    >>> history = fit_game(game, torch.zeros(8, 2), x_target=torch.ones(8, 2), num_rounds=1, device="cpu")
    >>> sorted(game.losses(Batch(torch.zeros(8, 2), x_target=torch.ones(8, 2))))
    ['adversarial_source', 'adversarial_target', 'cycle', 'identity']
    """

    def __init__(
        self,
        to_target: nn.Module,
        to_source: nn.Module,
        critic_target: nn.Module,
        critic_source: nn.Module,
        *,
        adversarial_target: float = 1.0,
        adversarial_source: float = 1.0,
        cycle: float = 10.0,
        identity: float = 5.0,
        semantic: float = 0.0,
        reader: nn.Module | None = None,
        buffers: tuple[ImageBuffer, ImageBuffer] | None = None,
    ) -> None:
        critics = nn.ModuleDict({"source": critic_source, "target": critic_target})
        super().__init__(nn.ModuleDict({"to_target": to_target, "to_source": to_source}), critics)
        Game(to_target, critic_source)  # refuses a sigmoid; the line above has looked at the last critic only
        self.weights = {
            "adversarial_target": adversarial_target, "adversarial_source": adversarial_source,
            "cycle": cycle, "identity": identity, "semantic": semantic,
        }  # fmt: skip
        if min(self.weights.values()) < 0:
            raise ValueError(f"the weights of the losses are {self.weights}; expected none below 0")
        guards.is_loss_weight("adversarial_target", adversarial_target)
        guards.is_loss_weight("adversarial_source", adversarial_source)
        guards.is_loss_weight("cycle", cycle)
        guards.is_loss_weight("identity", identity)
        guards.is_loss_weight("semantic", semantic)
        guards.not_all_zero("losses", self.weights)
        if semantic > 0 and reader is None:
            raise ValueError(
                f"semantic is {semantic}, but there is no reader: pass a classifier of the source"
            )
        self.reader = reader
        if reader is not None:
            reader.requires_grad_(False)
        self.buffers_of = None if buffers is None else nn.ModuleDict(
            dict(zip(("target", "source"), buffers, strict=True))
        )  # fmt: skip

    def train(self, mode: bool = True) -> CycleGame:
        """Set the players' mode; the reader stays in evaluation mode."""
        super().train(mode)
        if self.reader is not None:
            self.reader.eval()
        return self

    def translated(self, batch: Batch) -> dict[str, Tensor]:
        """Return the batch in the other domain's style: ``"target"`` G(x_s) and ``"source"`` F(x_t)."""
        if batch.x_target is None:
            raise ValueError("there are no examples of the second domain: pass x_target to fit_game")
        G, F = self.generator["to_target"], self.generator["to_source"]
        guards.domains_fit(self.generator, batch.x, batch.x_target)
        return {"target": G(batch.x), "source": F(batch.x_target)}

    def discriminator_turn(self, batch: Batch, random: torch.Generator) -> Turn:
        with torch.no_grad():
            fake = self.translated(batch)
        if self.buffers_of is not None:
            fake = {
                domain: self.buffers_of[domain].exchange(images, random) for domain, images in fake.items()
            }
        real = {"target": batch.x_target, "source": batch.x}
        guards.critics_take(self.discriminator, real, fake)
        on_real = {domain: self.discriminator[domain](examples) for domain, examples in real.items()}
        on_fake = {domain: self.discriminator[domain](examples) for domain, examples in fake.items()}
        loss = sum(
            least_squares_loss(on_real[domain], 1.0) + least_squares_loss(on_fake[domain], 0.0)
            for domain in real
        )
        return Turn(loss / 2, torch.cat([*on_real.values()]) - 0.5, torch.cat([*on_fake.values()]) - 0.5)

    def losses(self, batch: Batch) -> dict[str, Float[Tensor, ""]]:
        """Return the translators' losses by name, without their weights; those of weight 0 are left out."""
        x, y, x_target = batch
        G, F = self.generator["to_target"], self.generator["to_source"]
        fake = self.translated(batch)
        found = {}
        for domain, images in fake.items():
            if self.weights[f"adversarial_{domain}"]:
                found[f"adversarial_{domain}"] = least_squares_loss(self.discriminator[domain](images), 1.0)
        if self.weights["cycle"]:
            found["cycle"] = functional.l1_loss(F(fake["target"]), x)
            found["cycle"] = found["cycle"] + functional.l1_loss(G(fake["source"]), x_target)
        if self.weights["identity"]:
            if x.shape[1:] != x_target.shape[1:]:
                raise ValueError(
                    f"the source has shape {tuple(x.shape[1:])}, the target {tuple(x_target.shape[1:])}; an "
                    "identity loss needs equal shapes: set identity=0"
                )
            found["identity"] = functional.l1_loss(G(x_target), x_target) + functional.l1_loss(F(x), x)
        if self.weights["semantic"]:
            guards.reader_reads(self.reader, fake)
            logits = self.reader(fake["target"])
            found["semantic"] = functional.cross_entropy(logits, check_classes(y, *logits.shape))
        return found

    def generator_loss(self, batch: Batch, random: torch.Generator) -> Float[Tensor, ""]:  # noqa: ARG002
        return sum(self.weights[name] * loss for name, loss in self.losses(batch).items())
