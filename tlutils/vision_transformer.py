"""A small vision transformer, and what a masked autoencoder adds to it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tlutils.models import CIFAR10_MEAN, CIFAR10_STD, Classifier, Standardise
from tlutils.runtime import seeded

__all__ = ["MaskedAutoencoder", "VisionTransformer", "patchify", "position_embedding", "random_masks",
           "unpatchify", "vision_transformer"]  # fmt: skip


def patchify(
    x: Float[Tensor, "n channels h w"], patch_size: int
) -> Float[Tensor, "n num_patches num_pixel_values"]:
    """Cut images into squares, row by row, and lay each out as one vector (order: row, column, channel).

    Parameters
    ----------
    patch_size
        Side of a square in pixels, a divisor of height and width.

    Raises
    ------
    ValueError
        If `patch_size` does not divide the sides.

    Examples
    --------
    >>> patchify(torch.arange(16.0).view(1, 1, 4, 4), 2)[0, 1].tolist()  # top right
    [2.0, 3.0, 6.0, 7.0]
    """
    n, channels, height, width = x.shape
    if patch_size < 1 or height % patch_size or width % patch_size:
        raise ValueError(
            f"images are {height}×{width} and patch_size is {patch_size}; expected a size that divides both"
        )
    rows, columns = height // patch_size, width // patch_size
    squares = x.reshape(n, channels, rows, patch_size, columns, patch_size).permute(0, 2, 4, 3, 5, 1)
    return squares.reshape(n, rows * columns, patch_size**2 * channels)


def unpatchify(
    patches: Float[Tensor, "n num_patches num_pixel_values"], patch_size: int
) -> Float[Tensor, "n channels side side"]:
    """Put the squares of `patchify` back into square images.

    Raises
    ------
    ValueError
        If the number of patches is no square, or a patch does not hold whole pixels.

    Examples
    --------
    >>> unpatchify(torch.zeros(2, 64, 48), 4).shape
    torch.Size([2, 3, 32, 32])
    """
    n, num_patches, num_values = patches.shape
    grid, channels = math.isqrt(num_patches), num_values // patch_size**2
    if grid**2 != num_patches or channels * patch_size**2 != num_values:
        raise ValueError(
            f"received {num_patches} patches of {num_values} values with patch_size {patch_size}; expected a "
            "square number of patches, each of patch_size² pixels times the channels"
        )
    squares = patches.reshape(n, grid, grid, patch_size, patch_size, channels).permute(0, 5, 1, 3, 2, 4)
    return squares.reshape(n, channels, grid * patch_size, grid * patch_size)


def position_embedding(grid: int, width: int) -> Float[Tensor, "num_patches width"]:
    r"""Return a fixed vector for each place of a grid: sines and cosines of its row and its column.

    .. math:: e(r, c) = [\sin r\omega,\ \cos r\omega,\ \sin c\omega,\ \cos c\omega], \qquad
        \omega_j = 10000^{-4j/\text{width}},\ j = 0, \dots, \text{width}/4 - 1

    Parameters
    ----------
    grid, width
        Patches along a side, at least 1; length of a vector, a positive multiple of 4.

    Raises
    ------
    ValueError
        If `width` is no positive multiple of 4 or `grid` is below 1.

    Source
    ------
    Vaswani et al., "Attention is all you need", NeurIPS 2017, section 3.5, once for rows, once for columns.

    Examples
    --------
    >>> position_embedding(2, 4)[0].tolist()  # row 0, column 0
    [0.0, 1.0, 0.0, 1.0]
    """
    if grid < 1 or width < 4 or width % 4:
        raise ValueError(f"grid is {grid}, width is {width}; expected grid ≥ 1 and a positive multiple of 4")
    frequency = 10_000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angle = torch.arange(grid, dtype=torch.float64)[:, None] * frequency
    along = torch.cat([angle.sin(), angle.cos()], dim=1)
    rows, columns = along.repeat_interleave(grid, dim=0), along.repeat(grid, 1)
    return torch.cat([rows, columns], dim=1).float()


def random_masks(
    n: int, num_patches: int, mask_fraction: float, generator: torch.Generator
) -> tuple[Int[Tensor, "n num_visible"], Int[Tensor, "n num_masked"]]:
    """Draw for each of `n` images which patches stay visible and which are hidden.

    Parameters
    ----------
    n, num_patches
        Number of images, each with a draw of its own, and of patches of an image.
    mask_fraction, generator
        Share of hidden patches, rounded to a whole number; CPU generator, which alone decides the draw.

    Returns
    -------
    Indices of the visible and of the hidden patches, each in increasing order.

    Raises
    ------
    ValueError
        If no patch would be hidden, or none visible.

    Examples
    --------
    >>> [places.shape[1] for places in random_masks(5, 64, 0.75, torch.Generator().manual_seed(0))]
    [16, 48]
    """
    num_masked = round(num_patches * mask_fraction)
    if not 0 < num_masked < num_patches:
        raise ValueError(
            f"mask_fraction {mask_fraction} of {num_patches} patches hides {num_masked}; expected at least "
            "one hidden and one visible patch"
        )
    order = torch.rand(n, num_patches, generator=generator).argsort(dim=1)
    visible, masked = order.split([num_patches - num_masked, num_masked], dim=1)
    return visible.sort(dim=1).values, masked.sort(dim=1).values


def _blocks(width: int, num_heads: int, depth: int) -> nn.Sequential:
    """Return `depth` transformer blocks, normalised first, without dropout."""
    return nn.Sequential(*(nn.TransformerEncoderLayer(
        width, num_heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
        for _ in range(depth)))  # fmt: skip


def _take(tokens: Tensor, places: Int[Tensor, "n k"]) -> Tensor:
    """Return for each image the tokens at its own places."""
    return tokens.gather(1, places[:, :, None].expand(-1, -1, tokens.shape[2]))


class VisionTransformer(nn.Module):
    """Encode an image as a set of patches that attend to each other; the features are their mean.

    Parameters
    ----------
    image_size, patch_size
        In pixels; the patch divides the image.
    width
        Length of a token, a multiple of 4 and of `num_heads`.
    depth, num_heads, mean, std
        Number of blocks; heads in each; input scale, one number per channel.

    Raises
    ------
    ValueError
        If `patch_size` does not divide `image_size`, or `width` fits neither 4 nor `num_heads`; on a call, if
        the images have another size or number of channels.

    Notes
    -----
    Departs from the paper: the mean of the tokens in the place of a class token; fixed positions; a block's
    inner layer is twice as wide as a token, not four times. The cost grows with the number of tokens, that of
    the attention's inner products with its square.

    Source
    ------
    Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021, Fig. 1.
    """

    def __init__(
        self,
        *,
        image_size: int = 32,
        patch_size: int = 4,
        width: int = 96,
        depth: int = 4,
        num_heads: int = 4,
        mean: Sequence[float] = CIFAR10_MEAN,
        std: Sequence[float] = CIFAR10_STD,
    ) -> None:
        super().__init__()
        if patch_size < 1 or image_size % patch_size:
            raise ValueError(f"patch_size is {patch_size}; expected a divisor of image_size, {image_size}")
        if width % num_heads:
            raise ValueError(f"width is {width}; expected a multiple of num_heads, {num_heads}")
        self.image_size, self.patch_size, self.width = image_size, patch_size, width
        self.num_patches = (image_size // patch_size) ** 2
        self.standardise = Standardise(mean, std)
        self.embed = nn.Linear(patch_size**2 * len(mean), width)
        self.register_buffer("positions", position_embedding(image_size // patch_size, width))
        self.blocks = _blocks(width, num_heads, depth)
        self.norm = nn.LayerNorm(width)

    def encode(
        self, x: Float[Tensor, "n channels h w"], visible: Int[Tensor, "n num_visible"] | None = None
    ) -> Float[Tensor, "n num_tokens width"]:
        """Return one token per patch; with `visible`, only these patches enter the network at all."""
        wanted = (len(self.standardise.mean), self.image_size, self.image_size)
        if tuple(x.shape[1:]) != wanted:
            raise ValueError(f"images have shape {tuple(x.shape[1:])}; this network takes {wanted}")
        tokens = self.embed(patchify(self.standardise(x), self.patch_size)) + self.positions
        return self.norm(self.blocks(tokens if visible is None else _take(tokens, visible)))

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n width"]:
        return self.encode(x).mean(dim=1)


def vision_transformer(num_classes: int = 10, *, seed: int = 0, **options: object) -> Classifier:
    """Return a small vision transformer with a linear head.

    Parameters
    ----------
    num_classes, seed
        Number of logits, at least 2; seed of the initial weights.
    options
        Those of `VisionTransformer`, which also says what is refused.

    Raises
    ------
    ValueError
        If `num_classes` is below 2.

    Examples
    --------
    >>> vision_transformer()(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; a classifier needs at least 2 classes")
    with seeded(seed):
        backbone = VisionTransformer(**options)
        return Classifier(backbone, nn.Linear(backbone.width, num_classes))


class MaskedAutoencoder(nn.Module):
    """Add a narrow decoder to an encoder, which guesses all patches from the encoding of the visible ones.

    Parameters
    ----------
    encoder
        The network to be pre-trained. It never meets a hidden patch.
    decoder_width, decoder_depth, num_heads
        Of the decoder, which meets every place of the grid and is kept narrow.

    Source
    ------
    He et al., "Masked autoencoders are scalable vision learners", CVPR 2022, Fig. 1.

    Examples
    --------
    >>> model = MaskedAutoencoder(VisionTransformer())
    >>> visible, _ = random_masks(2, 64, 0.75, torch.Generator().manual_seed(0))
    >>> model(torch.zeros(2, 3, 32, 32), visible).shape
    torch.Size([2, 64, 48])
    """

    def __init__(
        self,
        encoder: VisionTransformer,
        *,
        decoder_width: int = 48,
        decoder_depth: int = 1,
        num_heads: int = 4,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.narrow = nn.Linear(encoder.width, decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(decoder_width))
        grid = math.isqrt(encoder.num_patches)
        self.register_buffer("positions", position_embedding(grid, decoder_width))
        self.blocks = _blocks(decoder_width, num_heads, decoder_depth)
        self.norm = nn.LayerNorm(decoder_width)
        self.predict = nn.Linear(decoder_width, encoder.embed.in_features)

    def forward(
        self, x: Float[Tensor, "n channels h w"], visible: Int[Tensor, "n num_visible"]
    ) -> Float[Tensor, "n num_patches num_pixel_values"]:
        """Return the decoder's guess for every patch, hidden or not, in the order of `patchify`."""
        encoded = self.narrow(self.encoder.encode(x, visible))
        token = self.mask_token.to(encoded.dtype)  # under autocast the encoder answers in 16 bits
        tokens = token.expand(len(x), len(self.positions), -1)
        places = visible[:, :, None].expand(-1, -1, tokens.shape[2])
        tokens = tokens.scatter(1, places, encoded)  # each visible token back to where its patch was
        return self.predict(self.norm(self.blocks(tokens + self.positions)))
