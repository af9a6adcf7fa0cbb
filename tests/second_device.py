"""A second device for machines that have none: its tensors hold numbers and do not mix with the CPU's.

It goes by the name "meta", which torch knows everywhere. Operations are computed on the CPU, but refused
where a GPU would refuse them: where tensors of both devices take part, where numbers there are to be drawn
from a generator of the CPU, and where NumPy is handed a tensor from there. As on a GPU, copies, CPU indices
and CPU tensors without dimensions are allowed.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from tlutils.runtime import best_device

DEVICE = torch.device("meta")
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")


class _There(Tensor):
    """A tensor that says it lies on the second device; its numbers are in `here`, on the CPU."""

    @staticmethod
    def __new__(cls, here: Tensor) -> _There:
        layout = {"strides": here.stride(), "storage_offset": here.storage_offset()}
        tensor = Tensor._make_wrapper_subclass(cls, here.shape, dtype=here.dtype, device=DEVICE, **layout)
        tensor.here = here
        return tensor

    def __deepcopy__(self, memo: dict[int, Any]) -> _There:
        copy = self.detach().clone().requires_grad_(self.requires_grad)
        copy._is_param = getattr(self, "_is_param", False)
        return memo.setdefault(id(self), copy)

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    def numpy(self) -> None:
        raise TypeError("can't convert a tensor of the second device to numpy: use Tensor.cpu() first")

    __array__ = numpy

    @classmethod
    def __torch_dispatch__(cls, operation: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(operation, args, kwargs or {})


class _Watch(TorchDispatchMode):
    """Sees the operations that no tensor of the second device takes part in, such as moves to it."""

    def __torch_dispatch__(self, operation: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _compute(operation, args, kwargs or {})


def _compute(operation: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute an operation on the CPU, or refuse it; the result lies where it would lie with a GPU."""
    inputs, layout = tree_flatten((args, kwargs))
    there = [value for value in inputs if isinstance(value, _There)]
    here = [value for value in inputs if isinstance(value, Tensor) and not isinstance(value, _There)]
    first = next((value for value in inputs if isinstance(value, Tensor)), None)
    name, is_changing = operation.overloadpacket.__name__, operation._schema.is_mutable
    if kwargs.get("device") is not None:
        is_there = torch.device(kwargs["device"]) == DEVICE
    else:
        is_there = isinstance(first, _There) if name == "copy_" else bool(there)
    if there and name != "copy_":
        indices = args[1] if name in INDEXING and isinstance(first, _There) else ()
        odd = [
            t for t in here if (t.ndim or (is_changing and t is first)) and not any(t is i for i in indices)
        ]
        if odd:
            shapes = [tuple(tensor.shape) for tensor in odd]
            raise RuntimeError(f"{name}: expected all tensors on one device; on the CPU are {shapes}")
    if is_there and any(isinstance(value, torch.Generator) for value in inputs):
        raise RuntimeError(f"{name}: expected a generator of the second device, not of the CPU")
    outer = {id(tensor.here): tensor for tensor in there} | {id(tensor): tensor for tensor in here}
    bare = [value.here if isinstance(value, _There) else value for value in inputs]
    args, kwargs = tree_unflatten(bare, layout)
    if "device" in kwargs:
        kwargs["device"] = torch.device("cpu")

    def placed(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if is_changing and id(value) in outer:  # an operation in place returns the tensor it was given
            return outer[id(value)]
        return _There(value) if is_there else value

    return tree_map(placed, operation(*args, **kwargs))


@contextlib.contextmanager
def computing_on(device: torch.device | str) -> Iterator[None]:
    """Let `best_device` be this one in all modules that are loaded."""
    with contextlib.ExitStack() as stack:
        for module in [module for name, module in sys.modules.items() if name.startswith("tlutils")]:
            if vars(module).get("best_device") is best_device:
                other = mock.patch.object(module, "best_device", return_value=torch.device(device))
                stack.enter_context(other)
        yield


@contextlib.contextmanager
def second_device() -> Iterator[torch.device]:
    """Let this machine have a second device, and be it the best; autocast to 16 bits is left out there."""
    autocast = torch.autocast
    optimizer = importlib.import_module("torch.optim.optimizer")  # torch.optim does not keep it as attribute

    def no_autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
        is_there = device_type == DEVICE.type
        return contextlib.nullcontext() if is_there else autocast(device_type, *args, **kwargs)

    with (
        mock.patch.object(torch, "autocast", no_autocast),
        mock.patch.object(torch.random, "fork_rng", functools.partial(torch.random.fork_rng, devices=[])),
        mock.patch.object(
            optimizer, "_get_fused_kernels_supported_devices", return_value=["cpu", DEVICE.type]
        ),
        computing_on(DEVICE),
        _Watch(),
    ):
        yield DEVICE
