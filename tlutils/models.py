"""Small networks, all of one shape: a backbone that gives features and a head that gives logits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlutils import guards
from tlutils.runtime import seeded

__all__ = [
    "Classifier",
    "MirrorAverage",
    "ResidualBlock",
    "Standardise",
    "lenet",
    "num_parameters",
    "replace_head",
    "residual_network",
]

# Mean and standard deviation of CIFAR-10's training pixels, channel by channel.
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)


class Classifier(nn.Module):
    r"""Compose a backbone and a head: logits = head(backbone(x)).

    Parameters
    ----------
    backbone
        Maps images (n, channels, height, width) to features (n, num_features).
    head
        Maps features (n, num_features) to logits (n, num_classes). Logits are unnormalised:
        no softmax belongs here, the loss applies it.

    Examples
    --------
    >>> model = Classifier(nn.Flatten(), nn.Linear(4, 3))
    >>> model(model.head.weight.new_zeros(2, 1, 2, 2)).shape
    torch.Size([2, 3])
    """

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def features(self, x: Tensor) -> Float[Tensor, "n num_features"]:
        """Return the features on which the head decides."""
        return self.backbone(x)

    def forward(self, x: Tensor) -> Float[Tensor, "n num_classes"]:
        return self.head(self.backbone(x))


class MirrorAverage(nn.Module):
    """Answer with the mean of the logits for an image and for its mirror image.

    Only for classes that a mirror does not change: clothes and objects, never digits or letters.

    Parameters
    ----------
    model
        Maps images (n, channels, height, width) to logits. It is wrapped, not copied.

    Examples
    --------
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1, bias=False))
    >>> with torch.no_grad(): _ = model[1].weight.copy_(torch.tensor([[1.0, 3.0]]))
    >>> MirrorAverage(model)(torch.tensor([[[[1.0, 0.0]]]])).item()
    2.0
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n num_classes"]:
        return (self.model(x) + self.model(x.flip(-1))) / 2


def _conv_block(in_channels: int, out_channels: int, norm: bool) -> list[nn.Module]:
    """Return convolution, optional batch normalisation, a halving of the resolution and ReLU.

    The maximum comes first: the larger of two numbers is the same before and after ReLU, which then has
    a quarter of the numbers to go through.
    """
    block: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, kernel_size=5, padding=2, bias=not norm)]
    if norm:
        block.append(nn.BatchNorm2d(out_channels))
    return [*block, nn.MaxPool2d(2), nn.ReLU()]


def lenet(
    num_classes: int = 10,
    *,
    in_channels: int = 1,
    image_size: int = 28,
    widths: tuple[int, int] = (16, 32),
    num_features: int = 128,
    batch_norm: bool = False,
    dropout: float = 0.0,
    seed: int = 0,
) -> Classifier:
    """Return a LeNet: two convolutions with pooling, one hidden layer, one linear head.

    Parameters
    ----------
    num_classes
        Number of logits, at least 2.
    in_channels
        1 for grey images, 3 for colour.
    image_size
        Height and width in pixels, a multiple of 4.
    widths
        Channels after the first and the second convolution.
    num_features
        Size of the hidden layer, which is what `Classifier.features` returns.
    batch_norm
        Normalise after each convolution.
    dropout
        Probability in [0, 1) with which a feature is dropped while training.
    seed
        Seed of the initial weights.

    Raises
    ------
    ValueError
        If `num_classes` is below 2 or `image_size` is not a positive multiple of 4.

    Notes
    -----
    ReLU and max-pooling replace the tanh and the trained subsampling of the original.

    Source
    ------
    LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition",
    Proceedings of the IEEE 86 (1998), Fig. 2.

    Examples
    --------
    >>> num_parameters(lenet())
    215370
    """
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; a classifier needs at least 2 classes")
    if image_size < 4 or image_size % 4:
        raise ValueError(
            f"image_size is {image_size}; two halvings need a positive multiple of 4, for example 28 or 32"
        )
    first, second = widths
    with seeded(seed):
        backbone = nn.Sequential(
            *_conv_block(in_channels, first, batch_norm),
            *_conv_block(first, second, batch_norm),
            nn.Flatten(),
            nn.Linear(second * (image_size // 4) ** 2, num_features),
            nn.ReLU(),
            nn.Dropout(dropout),
        )
        return Classifier(backbone, nn.Linear(num_features, num_classes))


class Standardise(nn.Module):
    r"""Subtract a mean from each channel and divide by a standard deviation: (x − mean) / std.

    The numbers travel with the weights, so that a network brings its own input scale to another domain.

    Parameters
    ----------
    mean
        One number per channel, in the units of the images.
    std
        One positive number per channel.

    Raises
    ------
    ValueError
        If the lengths differ or a standard deviation is not positive; in use, if images have another number
        of channels.

    Examples
    --------
    >>> Standardise([0.5], [0.25])(torch.ones(1, 1, 1, 1)).item()
    2.0
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if len(mean) != len(std) or not all(value > 0 for value in std):
            raise ValueError(f"received mean {mean} and std {std}; expected as many positive std as means")
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n channels h w"]:
        guards.has_channels(x, len(self.mean))
        return (x - self.mean) / self.std


class ResidualBlock(nn.Module):
    """Add two convolutions to what came in: relu(x' + f(x)), where x' is x at the new size.

    Parameters
    ----------
    in_channels, out_channels
        Channels before and after.
    stride
        1 keeps the resolution, 2 halves it.

    Source
    ------
    He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016, Fig. 2 and section 3.3
    (option B: a 1×1 convolution where the size changes).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n channels_out h_out w_out"]:
        inner = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.shortcut(x) + self.norm2(self.conv2(inner)))


def residual_network(
    num_classes: int = 10,
    *,
    stem_width: int = 16,
    widths: Sequence[int] = (32, 64, 128),
    mean: Sequence[float] = CIFAR10_MEAN,
    std: Sequence[float] = CIFAR10_STD,
    seed: int = 0,
) -> Classifier:
    """Return a small residual network for images of about 32×32 pixels: a stem, and one block per width.

    Its parts are ``backbone.standardise``, ``.stem``, ``.stage1`` … and ``.pool``; each stage halves the
    resolution, and the pool averages what is left, so that images of other sizes pass too.

    Parameters
    ----------
    num_classes
        Number of logits, at least 2.
    stem_width
        Channels after the first convolution, which keeps the resolution.
    widths
        Channels after each stage; the last is the number of features.
    mean, std
        Input scale, one number per channel of the images; by default that of CIFAR-10.
    seed
        Seed of the initial weights.

    Raises
    ------
    ValueError
        If `num_classes` is below 2, `widths` is empty, or `mean` and `std` do not fit.

    Source
    ------
    The blocks are those of He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016;
    the arrangement is the book's own, chosen so that a laptop trains it in minutes.

    Examples
    --------
    >>> residual_network()(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; a classifier needs at least 2 classes")
    if not widths:
        raise ValueError("widths is empty; expected the channels of at least one stage, such as (32, 64)")
    with seeded(seed):
        stem = nn.Sequential(
            nn.Conv2d(len(mean), stem_width, 3, padding=1, bias=False), nn.BatchNorm2d(stem_width), nn.ReLU()
        )
        parts: dict[str, nn.Module] = {"standardise": Standardise(mean, std), "stem": stem}
        for i, (before, after) in enumerate(pairwise((stem_width, *widths)), start=1):
            parts[f"stage{i}"] = ResidualBlock(before, after, stride=2)
        parts["pool"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return Classifier(nn.Sequential(OrderedDict(parts)), nn.Linear(widths[-1], num_classes))


def replace_head(model: Classifier, num_classes: int, *, seed: int = 0) -> Classifier:
    """Give `model` a fresh linear head for `num_classes` classes and return it.

    The backbone is kept as it is, weights and `requires_grad` flags alike; the new head is trainable.
    The model is changed in place: copy it first (`copy.deepcopy`) to keep the old one.

    Raises
    ------
    TypeError
        If `model` is not a `Classifier` with a linear head.
    ValueError
        If `num_classes` is below 2.

    Examples
    --------
    >>> replace_head(lenet(10), 3).head.out_features
    3
    """
    if not isinstance(model, Classifier) or not isinstance(model.head, nn.Linear):
        raise TypeError(
            f"replace_head got {type(model).__name__}; expected a tlutils Classifier whose head is nn.Linear"
        )
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; a classifier needs at least 2 classes")
    with seeded(seed):
        head = nn.Linear(model.head.in_features, num_classes)
    model.head = head.to(model.head.weight)
    return model


def num_parameters(model: nn.Module, *, trainable_only: bool = False) -> int:
    """Return how many numbers the model learns (buffers such as running means are not counted).

    Examples
    --------
    >>> num_parameters(nn.Linear(3, 2))
    8
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)
