"""What a training step keeps in memory, computed before anything is allocated."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tlutils import guards

__all__ = ["OPTIMIZER_NUMBERS", "MemoryBill", "largest_batch", "memory_bill", "saved_bytes"]

# Numbers that the optimiser keeps beside each trained parameter: nothing, a momentum, two moments.
OPTIMIZER_NUMBERS = {"sgd": 0, "momentum": 1, "adamw": 2}


@dataclass(frozen=True)
class MemoryBill:
    """What a training step keeps, in bytes.

    Attributes
    ----------
    weights
        All parameters and buffers, trained or not.
    gradients
        One number per trained parameter.
    optimizer_state
        What the optimiser remembers of earlier steps.
    activations
        What the forward pass saves for the backward pass; the only part that grows with the batch.
    """

    weights: int
    gradients: int
    optimizer_state: int
    activations: int

    @property
    def total(self) -> int:
        """Return the sum of the four parts."""
        return self.weights + self.gradients + self.optimizer_state + self.activations


def _num_bytes(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def saved_bytes(model: nn.Module, x: Tensor) -> int:
    """Return how many bytes a forward pass saves for the backward pass.

    Parameters
    ----------
    model
        In the mode in which it will be trained. Its own parameters and buffers do not count.
    x
        Examples, on the model's device; on the ``meta`` device nothing is computed and nothing allocated.

    Raises
    ------
    ValueError
        If the network does not take them.

    Notes
    -----
    Counts each piece of memory once, however many operations saved it. The cross-entropy at the end (a few
    numbers per example) is not counted. Under `torch.autocast` the low-precision copies of the weights count,
    for they are saved too.

    Source
    ------
    Own derivation, see the chapter on fine-tuning on a GPU; PyTorch's hooks for saved tensors.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> saved_bytes(model, torch.zeros(5, 3))  # 5 × 3 inputs and 5 × 4 outputs of ReLU, 4 bytes each
    140
    """
    guards.takes(model, x)
    own = {tensor.untyped_storage()._cdata for tensor in [*model.parameters(), *model.buffers()]}
    saved: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        key = tensor.untyped_storage()._cdata
        if key not in own:
            saved[key] = tensor  # held, so that its place is not given to another one
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        outputs = model(x)
    del outputs
    return sum(tensor.untyped_storage().nbytes() for tensor in saved.values())


def _on_meta(model: nn.Module) -> nn.Module:
    """Return a copy of `model` without numbers."""
    memo: dict[int, object] = {}
    for tensor in [*model.parameters(), *model.buffers()]:
        empty = torch.empty_like(tensor, device="meta")
        is_parameter = isinstance(tensor, nn.Parameter)
        memo[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
    return copy.deepcopy(model, memo).train()


def memory_bill(
    model: nn.Module, image_shape: Sequence[int], batch_size: int, *, optimizer: str = "adamw"
) -> MemoryBill:
    r"""Return what one training step of `model` keeps in memory, before a byte of it is allocated.

    .. math:: M = 4\,\bigl(P + P_\mathrm{trained} \cdot (1 + s)\bigr) + B \cdot a

    with P parameters, s numbers of optimiser state per trained parameter (0 for SGD, 1 with momentum, 2 for
    AdamW), B images and a bytes of activations per image; 4 bytes is a number in float32.

    Parameters
    ----------
    model
        Left as it is. Parts with ``requires_grad=False`` have no gradients and no state, and below the first
        trained layer nothing is saved.
    image_shape
        Of one example, such as ``(3, 224, 224)``.
    batch_size
        Examples per step, at least 1.
    optimizer
        ``"sgd"``, ``"momentum"`` or ``"adamw"``.

    Raises
    ------
    ValueError
        If `batch_size` is below 1, `optimizer` is unknown, or the network cannot take such images.

    Notes
    -----
    An estimate from above of what lives at one moment, since activations go as gradients come; and from
    below, because the workspace of convolutions, the fragments of the allocator and the CUDA context (some
    hundreds of megabytes) come on top.

    Source
    ------
    Own derivation, see the chapter on fine-tuning on a GPU.

    Examples
    --------
    >>> memory_bill(nn.Linear(10, 2), (10,), 5, optimizer="sgd")
    MemoryBill(weights=88, gradients=88, optimizer_state=0, activations=200)
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1")
    if optimizer not in OPTIMIZER_NUMBERS:
        raise ValueError(f"optimizer is {optimizer!r}; expected one of {[*OPTIMIZER_NUMBERS]}")
    own = [*model.parameters(), *model.buffers()]
    trained = _num_bytes([parameter for parameter in model.parameters() if parameter.requires_grad])
    dtype = next((tensor.dtype for tensor in own if tensor.is_floating_point()), torch.float32)
    x = torch.empty(batch_size, *image_shape, dtype=dtype, device="meta")
    try:
        activations = saved_bytes(_on_meta(model), x)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ValueError(
            f"the network cannot take {batch_size} examples of shape {tuple(image_shape)}: {error}. "
            "Pass the shape of one example, for example (3, 224, 224)."
        ) from error
    return MemoryBill(_num_bytes(own), trained, OPTIMIZER_NUMBERS[optimizer] * trained, activations)


def largest_batch(
    model: nn.Module, image_shape: Sequence[int], memory: float, *, optimizer: str = "adamw"
) -> int:
    """Return the largest batch whose memory bill is within `memory` bytes; 0 if one image is too many.

    Parameters
    ----------
    model, image_shape, optimizer
        As in `memory_bill`.
    memory
        In bytes, positive; 15e9 is about what Colab's T4 leaves to a program.

    Raises
    ------
    ValueError
        If `memory` is not positive, or as in `memory_bill`.

    Notes
    -----
    An upper bound; see the notes of `memory_bill`.

    Source
    ------
    Own derivation, see the chapter on fine-tuning on a GPU.

    Examples
    --------
    >>> largest_batch(nn.Linear(10, 2), (10,), 176 + 40 * 7, optimizer="sgd")
    7
    """
    if not memory > 0:
        raise ValueError(f"memory is {memory}; expected a positive number of bytes, such as 15e9")
    # Two sizes, because the bill is a straight line in the batch; from 2, which batch normalisation needs.
    two, four = (memory_bill(model, image_shape, size, optimizer=optimizer) for size in (2, 4))
    per_image = (four.total - two.total) / 2
    without = two.total - 2 * per_image
    if per_image == 0:
        raise ValueError("no activation is saved: nothing in this network is trained")
    return max(0, int((memory - without) // per_image))
