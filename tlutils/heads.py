"""Find the head of a classifier from torchvision and put another one in its place."""

from __future__ import annotations

from numbers import Integral

from torch import nn

from tlutils import models
from tlutils.runtime import seeded

__all__ = ["find_heads", "replace_head"]

# Networks of these parts of torchvision answer per pixel, per box or per pair of images, not with one class.
OTHER_TASKS = ("segmentation", "detection", "optical_flow")


def _last(module: nn.Module) -> str | None:
    """Return the name of the layer of `module` that gives the logits, or None.

    Torchvision registers layers in the order of the forward pass, and its classifiers end in a linear layer.
    SqueezeNet alone has none: its logits are the channels of a 1×1 convolution, averaged over the image.
    """
    named = list(module.named_modules())
    linear = [name for name, layer in named if type(layer) is nn.Linear]
    if linear:
        return linear[-1]
    convolutions = [(name, layer) for name, layer in named if isinstance(layer, nn.Conv2d)]
    if convolutions and convolutions[-1][1].kernel_size == (1, 1):
        return convolutions[-1][0]
    return None


def find_heads(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the layers that give the logits: the head, then any auxiliary heads.

    GoogLeNet and Inception v3 have auxiliary heads, which only the training loss sees; all other families
    have one head.

    Parameters
    ----------
    model
        A classifier of torchvision, or one built like it: the last linear layer gives the logits.

    Raises
    ------
    TypeError
        If the network is built for another task, or no layer looks like a head.

    Examples
    --------
    >>> find_heads(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)))
    ('2',)
    """
    task = next((task for task in OTHER_TASKS if f".{task}." in f"{type(model).__module__}."), None)
    if task is not None:
        raise TypeError(
            f"{type(model).__name__} is a network for {task.replace('_', ' ')}; expected a classifier, "
            "such as torchvision.models.resnet18()"
        )
    if isinstance(model, models.Classifier):
        return ("head",)
    main = _last(model)
    if main is None:
        raise TypeError(
            f"{type(model).__name__} ends neither in nn.Linear nor in a 1×1 convolution; expected a "
            "classifier. Replace its last layer by hand: model.<name> = nn.Linear(num_features, num_classes)"
        )
    auxiliary = [
        f"{name}.{_last(part)}"
        for name, part in model.named_children()
        if name.lower().startswith("aux") and _last(part)
    ]
    return (main, *auxiliary)


def _new_layer(old: nn.Module, num_classes: int) -> nn.Module:
    """Return a layer like `old` with fresh weights and `num_classes` outputs."""
    if isinstance(old, nn.Conv2d):
        return nn.Conv2d(
            old.in_channels, num_classes, old.kernel_size, old.stride, old.padding, bias=old.bias is not None
        )
    return nn.Linear(old.in_features, num_classes, bias=old.bias is not None)


def replace_head(model: nn.Module, num_classes: int, *, seed: int = 0) -> nn.Module:
    """Give any torchvision classifier a fresh head for `num_classes` classes and return it.

    Parameters
    ----------
    model
        A classifier of torchvision or of this book. Changed in place; copy it first (`copy.deepcopy`) to keep
        the old one.
    num_classes
        At least 2.
    seed
        Seed of the new head's weights, drawn as torch draws those of a new layer.

    Returns
    -------
    The same network. Everything but the head is as it was, weights and `requires_grad` flags alike; the
    head, and the auxiliary ones of GoogLeNet and Inception v3, are new, trainable, and of the same dtype and
    on the same device as the old.

    Raises
    ------
    TypeError
        If `num_classes` is no integer, or no head is found (`find_heads`).
    ValueError
        If `num_classes` is below 2.

    Notes
    -----
    The names differ by family: ``fc``, ``classifier.6``, ``heads.head`` … A mistyped one,
    ``model.classifier = nn.Linear(512, 2)`` on a ResNet, raises nothing: it adds a layer that no forward pass
    reaches, and the network goes on giving 1000 logits.

    Source
    ------
    Own derivation, see the chapter on fine-tuning on a GPU.

    Examples
    --------
    >>> model = replace_head(nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1000)), 2)
    >>> model[2]
    Linear(in_features=3, out_features=2, bias=True)
    """
    if isinstance(num_classes, bool) or not isinstance(num_classes, Integral):
        raise TypeError(
            f"num_classes is {num_classes!r}; expected an integer, such as len(photographs.class_names)"
        )
    if isinstance(model, models.Classifier):
        return models.replace_head(model, int(num_classes), seed=seed)
    names = find_heads(model)
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}; a classifier needs at least 2 classes")
    with seeded(seed):
        for name in names:
            parent, _, last = name.rpartition(".")
            old = model.get_submodule(name)
            setattr(model.get_submodule(parent), last, _new_layer(old, int(num_classes)).to(old.weight))
    return model
