"""Domains and pairs of domains: what training may see, and what only the evaluation may open."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tlutils import datasets, guards
from tlutils.runtime import new_generator

__all__ = ["Domain", "DomainPair", "Labelled", "Target", "TestSet", "as_images", "digest_split"]


def _check_examples(x: Tensor, y: Tensor, num_classes: int) -> None:
    """Raise ValueError or TypeError unless (x, y) are examples of `num_classes` classes."""
    guards.are_examples(x, y, num_classes)
    if not (isinstance(x, Tensor) and x.is_floating_point()):
        raise TypeError(f"x is {getattr(x, 'dtype', type(x).__name__)}; expected a floating-point tensor")
    if y.dtype != torch.int64:
        raise TypeError(f"y has dtype {y.dtype}; expected torch.int64 class indices")
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} examples and y has {len(y)}; expected one label per example")
    if len(x) == 0:
        raise ValueError("received an empty domain: 0 examples; expected at least one")
    if not torch.isfinite(x).all():
        raise ValueError("x holds NaN or infinite values; expected finite numbers")
    if x.ndim == 4 and (x.min() < 0 or x.max() > 1):
        raise ValueError(
            f"pixels range from {x.min():.3g} to {x.max():.3g}; expected [0, 1]. Divide bytes by 255 "
            "(domains.as_images does), and let the network do its own standardising"
        )
    if y.min() < 0 or y.max() >= num_classes:
        raise ValueError(
            f"y holds class indices from {int(y.min())} to {int(y.max())}; expected 0 to {num_classes - 1}"
        )


@dataclass(frozen=True)
class Labelled:
    """Examples with their labels: the only thing that `training.fit` learns from.

    Parameters
    ----------
    x
        Images (n, channels, height, width) with values in [0, 1], or vectors (n, num_features).
    y
        Class indices 0 … num_classes − 1, int64.
    num_classes
        At least 2.

    Raises
    ------
    TypeError
        If `x` is not floating point or `y` is not int64.
    ValueError
        If the lengths differ, there is no example, a value is not finite, a pixel is not in [0, 1], or a
        label is out of range.

    Examples
    --------
    >>> data = Labelled(torch.zeros(3, 2), torch.tensor([0, 1, 1]), num_classes=2)
    >>> len(data), data.class_counts().tolist()
    (3, [1, 2])
    """

    x: Float[Tensor, "n ..."]
    y: Int[Tensor, " n"]
    num_classes: int

    def __post_init__(self) -> None:
        if self.num_classes < 2:
            raise ValueError(f"num_classes is {self.num_classes}; one class leaves nothing to learn")
        _check_examples(self.x, self.y, self.num_classes)

    def __len__(self) -> int:
        return len(self.x)

    def subset(self, indices: Tensor) -> Labelled:
        """Return the examples at `indices` (integers or a boolean mask), in that order."""
        return Labelled(self.x[indices], self.y[indices], self.num_classes)

    def class_counts(self) -> Int[Tensor, " num_classes"]:
        """Return how many examples each class has."""
        return torch.bincount(self.y, minlength=self.num_classes)

    def per_class(self, k: int, *, seed: int) -> Labelled:
        """Draw `k` examples of every class without replacement.

        Parameters
        ----------
        k
            Examples per class, from 1 to the size of the smallest class.
        seed
            Seed of the draw. Budgets are nested: the draw of 1 per class is part of the draw of 5 per class.

        Raises
        ------
        ValueError
            If `k` is below 1 or a class has fewer than `k` examples.
        """
        guards.is_whole("k", k, 0)
        if k < 1:
            raise ValueError(f"k is {k}; expected at least 1 label per class (for none, use no training)")
        counts = self.class_counts()
        guards.has_every_class(counts)
        if counts.min() < k:
            poorest = int(counts.argmin())
            raise ValueError(
                f"asked for {k} labels per class, but class {poorest} has only {int(counts[poorest])}; "
                f"choose k ≤ {int(counts.min())} or the budget 'all'"
            )
        order = torch.randperm(len(self), generator=new_generator(seed))
        chosen = [order[self.y[order] == label][:k] for label in range(self.num_classes)]
        return self.subset(torch.cat(chosen))


class TestSet:
    """Held-out examples whose labels only `training.evaluate` can read.

    The labels are kept in a closure rather than in an attribute: no attribute, iteration or index returns
    them, and `training.fit` refuses a `TestSet`. Python has no secrets, so this is a guard against
    accidents, the kind by which target labels slip into training. It ends at `training.evaluate`, whose
    result holds the labels for confusion matrices.
    """

    __test__ = False  # pytest: not a test class, in spite of its name

    def __init__(self, x: Float[Tensor, "n ..."], y: Int[Tensor, " n"], num_classes: int) -> None:
        _check_examples(x, y, num_classes)
        self.x = x
        self.num_classes = num_classes
        self._open = lambda: Labelled(x, y, num_classes)

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        return f"TestSet({len(self)} examples, {self.num_classes} classes, labels sealed)"

    def subset(self, indices: Tensor) -> TestSet:
        """Return a smaller test set, labels still sealed."""
        part = self._open().subset(indices)
        return TestSet(part.x, part.y, self.num_classes)


def as_images(images: np.ndarray, *, size: int, channels: int) -> Float[Tensor, "n channels size size"]:
    """Bring images to one shape: square, `size` pixels, `channels` channels, values in [0, 1].

    Parameters
    ----------
    images
        uint8 array (n, height, width, 1 or 3).
    size
        Height and width of the result, in pixels.
    channels
        1 or 3. Grey is repeated into three channels; colour becomes grey by the ITU-R 601 weights.

    Raises
    ------
    TypeError
        If `images` is not a uint8 array, or `size` no whole number.
    ValueError
        If `size` is below 1, the shape is not (n, height, width, 1 or 3), or `channels` is not 1 or 3.

    Examples
    --------
    >>> as_images(np.full((2, 8, 8, 1), 255, np.uint8), size=28, channels=3).shape
    torch.Size([2, 3, 28, 28])
    """
    if images.dtype != np.uint8:
        raise TypeError(f"images have dtype {images.dtype}; expected uint8 values 0 to 255")
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise ValueError(f"images have shape {images.shape}; expected (n, height, width, 1 or 3)")
    guards.is_whole("size", size, 1)
    if channels not in (1, 3):
        raise ValueError(f"channels is {channels}; expected 1 (grey) or 3 (colour)")
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255)
    if x.shape[1] == 3 and channels == 1:
        x = (x * torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
    if x.shape[-2:] != (size, size):
        x = torch.nn.functional.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
        x.clamp_(0, 1)  # rounding can overshoot by a ten-millionth
    return x.expand(-1, channels, -1, -1).contiguous()


def digest_split(images: np.ndarray, fraction: float) -> np.ndarray:
    """Choose about `fraction` of the images by a digest of their bytes.

    The choice depends on an image's content alone: it is the same in every process and on every machine,
    whatever the order of the images, and two copies of one image always fall on the same side. (Python's own
    `hash` is salted: a split made with it changes in every process.)

    Parameters
    ----------
    images
        Array (n, ...); its bytes are hashed image by image.
    fraction
        In [0, 1]: the expected share of chosen images.

    Returns
    -------
    Boolean array (n,), true where the image is chosen.

    Raises
    ------
    ValueError
        If `fraction` is not in [0, 1].

    Examples
    --------
    >>> digest_split(np.arange(8, dtype=np.uint8).reshape(8, 1), 0.5).tolist()
    [False, True, True, False, True, True, False, True]
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction is {fraction}; expected a number in [0, 1]")
    digests = (hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images)
    numbers = np.fromiter((int.from_bytes(digest, "big") for digest in digests), np.uint64, len(images))
    return numbers.astype(np.float64) / 2.0**64 < fraction


@dataclass(frozen=True)
class Domain:
    """One data set cut into training, validation and test part, all of one shape.

    A `Domain` used as a source shows its training and validation labels; as a target, inside a
    `DomainPair`, it shows none.
    """

    name: str
    train: Labelled
    validation: Labelled
    test: TestSet
    class_names: tuple[str, ...]

    @classmethod
    def from_dataset(
        cls,
        name: str,
        *,
        size: int = 28,
        channels: int = 1,
        validation_fraction: float = 0.1,
        **options: object,
    ) -> Domain:
        """Load a data set by name and bring it to a common shape.

        Parameters
        ----------
        name
            A name from `datasets.available()`.
        size
            Height and width in pixels.
        channels
            1 (grey) or 3 (colour).
        validation_fraction
            Share of the training images set aside, in (0, 1), chosen by `digest_split`.
        options
            Passed on to `datasets.load`.

        Raises
        ------
        ValueError
            If the name is unknown, a number is out of range, or a part is left empty.
        datasets.DatasetError
            If the data are missing, damaged or out of reach.
        """
        train, test = (datasets.load(name, split=split, **options) for split in ("train", "test"))
        chosen = torch.from_numpy(digest_split(train.images, validation_fraction))
        guards.leaves_no_part_empty(name, chosen, validation_fraction)
        num_classes = len(train.class_names)
        x, y = as_images(train.images, size=size, channels=channels), torch.from_numpy(train.labels)
        test_x = as_images(test.images, size=size, channels=channels)
        return cls(
            name=name,
            train=Labelled(x[~chosen], y[~chosen], num_classes),
            validation=Labelled(x[chosen], y[chosen], num_classes),
            test=TestSet(test_x, torch.from_numpy(test.labels), num_classes),
            class_names=train.class_names,
        )


class Target:
    """The target as training sees it: images without labels, and label budgets that are asked for by size."""

    def __init__(self, domain: Domain) -> None:
        self.name = domain.name
        self.num_classes = domain.train.num_classes
        self.class_names = domain.class_names
        self.images = domain.train.x
        self.test = domain.test
        self._budget = lambda k, seed: domain.train if k == "all" else domain.train.per_class(k, seed=seed)
        self._validation = lambda: domain.validation

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {len(self.images)} images, labels on request by budget)"

    def label_budget(self, k: int | str, *, seed: int = 0) -> Labelled:
        """Buy labels: `k` examples per class drawn with `seed`, or ``"all"`` training labels.

        Raises
        ------
        ValueError
            If `k` is neither "all" nor an integer of at least 1, or a class has fewer examples.
        """
        if isinstance(k, str) and k != "all":
            raise ValueError(f"the budget is {k!r}; expected a number of labels per class or 'all'")
        return self._budget(k, seed)

    def validation_budget(self) -> Labelled:
        """Buy all labels of the validation part, which `label_budget` never draws from.

        They are labels, too: beside a small budget they are most of what was bought. A chapter that tunes
        with them says so.
        """
        return self._validation()


class DomainPair:
    """A source with labels and a target without.

    Parameters
    ----------
    source, target
        Two domains with the same image shape.
    is_same_task
        Whether both have the same classes. Say False where the target is another task, and give the model a
        new head for it (`models.replace_head`).

    Raises
    ------
    TypeError
        If one of them is no domain.
    ValueError
        If image shapes differ, or class sets differ although `is_same_task`.
    """

    def __init__(self, source: Domain, target: Domain, *, is_same_task: bool = True) -> None:
        guards.are_domains(source, target)
        shapes = [tuple(domain.train.x.shape[1:]) for domain in (source, target)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{source.name} has examples of shape {shapes[0]} and {target.name} of shape {shapes[1]}; "
                "load both with the same size= and channels="
            )
        if is_same_task and source.class_names != target.class_names:
            raise ValueError(
                f"{source.name} has the classes {source.class_names} and {target.name} has "
                f"{target.class_names}; pass is_same_task=False and give the model a new head "
                "(models.replace_head)"
            )
        self.source = source
        self.target = Target(target)

    def __repr__(self) -> str:
        return f"DomainPair({self.source.name!r} → {self.target.name!r})"
