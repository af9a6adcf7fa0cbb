"""The gradient of a batch in less memory: batches in parts, activations computed twice instead of kept."""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tlutils import guards

__all__ = ["accumulate_gradients", "checkpoint_activations"]


def accumulate_gradients(model: nn.Module, x: Tensor, y: Tensor, num_parts: int) -> float:
    r"""Add the gradient of the mean loss over a batch to the model's gradients, part by part.

    .. math:: \nabla L = \sum_{j=1}^{m} \frac{n_j}{n} \nabla L_j

    where L_j is the mean loss over the n_j examples of part j. Only one part's activations exist at a time.

    Parameters
    ----------
    model
        Gives logits.
    x, y
        The whole batch.
    num_parts
        Between 1 and the number of examples.

    Returns
    -------
    The mean cross-entropy over the batch, in nats.

    Raises
    ------
    ValueError
        If `num_parts` is out of range, the network does not take the images, or has no output for a label.

    Notes
    -----
    Equal to the gradient of the whole batch up to rounding, unless the network looks across the batch: batch
    normalisation in training mode normalises each part by itself. Freeze it (`model_based.freeze`).

    Source
    ------
    Own derivation, see the chapter on fine-tuning on a GPU.

    Examples
    --------
    >>> model = nn.Linear(1, 2, bias=False)
    >>> _ = accumulate_gradients(model, torch.ones(4, 1), torch.tensor([0, 1, 0, 1]), num_parts=2)
    >>> model.weight.grad.sum().abs().item() < 1e-6
    True
    """
    if not 1 <= num_parts <= len(x):
        raise ValueError(f"num_parts is {num_parts}; expected 1 to {len(x)}, the number of examples")
    guards.takes(model, x, y)
    total = 0.0
    for part_x, part_y in zip(x.tensor_split(num_parts), y.tensor_split(num_parts), strict=True):
        loss = functional.cross_entropy(model(part_x), part_y) * (len(part_x) / len(x))
        loss.backward()
        total += loss.item()
    return total


@contextlib.contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Let no forward pass inside the block change the running statistics of `module`."""
    layers = [m for m in module.modules() if getattr(m, "running_mean", None) is not None]
    before = [[b.clone() for b in (m.running_mean, m.running_var, m.num_batches_tracked)] for m in layers]
    try:
        yield
    finally:
        with torch.no_grad():
            for layer, values in zip(layers, before, strict=True):
                buffers = (layer.running_mean, layer.running_var, layer.num_batches_tracked)
                for buffer, value in zip(buffers, values, strict=True):
                    buffer.copy_(value)


def _checkpointed_forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """Run the forward pass of the module's class, and keep nothing of it but its inputs."""
    if not (self.training and torch.is_grad_enabled()):
        return type(self).forward(self, *args, **kwargs)
    contexts = lambda: (contextlib.nullcontext(), _statistics_kept(self))  # noqa: E731
    forward = functools.partial(type(self).forward, **kwargs)  # `checkpoint` has keywords of its own
    return checkpoint(forward, self, *args, use_reentrant=False, context_fn=contexts)


def checkpoint_activations(model: nn.Module, parts: Sequence[str]) -> nn.Module:
    """Make parts of `model` forget their activations and compute them again when gradients need them.

    Parameters
    ----------
    model
        Changed in place. Names and values of its weights stay as they are, so that a state dict still fits;
        a copy (`copy.deepcopy`) is checkpointed too.
    parts
        Dotted names of modules, none inside another, such as ``["layer1", "layer2"]``.

    Returns
    -------
    The same network. Gradients are those of the plain network; a step computes the forward pass of these
    parts twice. In evaluation mode nothing changes.

    Raises
    ------
    TypeError
        If `parts` is one string.
    ValueError
        If a part is not in the network, or lies inside another one that is named.

    Notes
    -----
    The second forward pass uses the same dropout masks as the first. With `torch.utils.checkpoint` alone it
    would also move the running statistics of batch normalisation a second time; here they are put back.

    Source
    ------
    Chen, Xu, Zhang, Guestrin, "Training deep nets with sublinear memory cost", arXiv:1604.06174 (2016).

    Examples
    --------
    >>> model = checkpoint_activations(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), ["0"])
    >>> model(torch.ones(1, 2)).shape
    torch.Size([1, 2])
    """
    guards.is_no_string("parts", parts)
    named = dict(model.named_modules())
    for part in parts:
        if part not in named:
            known = [name for name, _ in model.named_children()]
            raise ValueError(f"the network has no part {part!r}; it has {known} and what lies inside them")
        if outer := [other for other in parts if part.startswith(other + ".")]:
            raise ValueError(f"{part!r} lies inside {outer[0]!r}; name only one of them")
    for part in parts:
        # A bound method as an attribute of this one object: copy.deepcopy binds it to the copy.
        named[part].forward = types.MethodType(_checkpointed_forward, named[part])
    return model
