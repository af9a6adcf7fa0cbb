"""Open a network up: what each layer gives, learns, costs and sees of the image."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["Layer", "check_layers", "input_channels", "layer_table", "show_layers", "smallest_image"]


@dataclass(frozen=True)
class Layer:
    """One row of `layer_table`.

    Attributes
    ----------
    name, kind
        Dotted name and class of the module.
    shape
        Of its output for one image, without the batch axis.
    num_parameters
        Numbers that it learns, everything inside included.
    num_multiply_adds
        Multiplications with an addition in its convolutions and linear layers, for one image.
    receptive_field
        Side, in pixels, of the square of the image on which one number of the output can depend; it may
        be larger than the image.
    stride
        Pixels of the image from one number of the output to the next.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    num_parameters: int
    num_multiply_adds: int
    receptive_field: int
    stride: int


def check_layers(model: nn.Module, layers: Sequence[str]) -> None:
    """Make sure that `model` has all of `layers`.

    Raises
    ------
    TypeError
        If `layers` is one string rather than a list of them.
    ValueError
        If it is empty, or a layer is unknown; the nearest names are offered.
    """
    if isinstance(layers, str):
        raise TypeError(f"layers is the string {layers!r}; expected a list of names, such as [{layers!r}]")
    if not layers:
        raise ValueError("layers is empty; expected at least one name from model.named_modules()")
    names = [name for name, _ in model.named_modules() if name]
    for layer in layers:
        if layer not in names:
            near = difflib.get_close_matches(layer, names, n=3, cutoff=0.4) or names[:8]
            raise ValueError(f"{type(model).__name__} has no layer {layer!r}; did you mean {near}?")


class _Sight(TorchFunctionMode):
    """Carry along, with every tensor, how many pixels it sees and how far apart its numbers lie.

    Hooks alone cannot: where a shortcut is added, no module is called. So this listens to the functions of
    torch themselves. What it knows of a tensor is written on the tensor: (receptive field, stride).
    """

    MULTIPLY_ADDS = (functional.conv2d, torch.conv2d, functional.linear)
    FLATTEN = (torch.flatten, Tensor.flatten, Tensor.view, Tensor.reshape, torch.reshape)

    def __init__(self) -> None:
        self.num_multiply_adds = 0

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [a for a in _flat((*args, *kwargs.values())) if isinstance(a, Tensor)]
        seen = [t.sight for t in tensors if hasattr(t, "sight")]
        name = getattr(func, "__name__", "")
        result = func(*args, **kwargs)
        if func is functional.multi_head_attention_forward:  # its projections are no calls of their own
            tokens, weights = args[0].numel() // args[0].shape[-1], (args[5], args[11])
            self.num_multiply_adds += tokens * sum(w.numel() for w in weights if w is not None)
        if func in self.MULTIPLY_ADDS:
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            self.num_multiply_adds += result.numel() * weight[0].numel()
        if seen:
            field, stride = max(field for field, _ in seen), max(stride for _, stride in seen)
            for part in _flat([result]):
                if isinstance(part, Tensor):
                    part.sight = self._after(name, func, tensors[0], part, args, kwargs, field, stride)
        return result

    def _after(
        self,
        name: str,
        func: Callable,
        x: Tensor,
        y: Tensor,
        args: tuple,
        kwargs: Any,
        field: int,
        stride: int,
    ) -> tuple[int, int]:
        """Return (receptive field, stride) of the output `y` of one function of `x`."""
        if name == "conv2d":
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            step, dilation = (_argument(args, kwargs, i, n, 1) for i, n in ((3, "stride"), (5, "dilation")))
            return field + (weight.shape[-1] - 1) * dilation * stride, stride * step
        if "adaptive" in name or name == "mean":
            size, cells = (x.shape[-1], y.shape[-1]) if y.ndim == 4 else (_side(x), 1)
            step, width = size // cells, -(-size // cells) + (size % cells > 0)
            return field + (width - 1) * stride, stride * max(step, 1)
        if "pool2d" in name:
            width = _argument(args, kwargs, 1, "kernel_size", 1)
            return field + (width - 1) * stride, stride * _argument(args, kwargs, 2, "stride", width)
        if func in self.FLATTEN and x.ndim == 4 and y.ndim == 2:
            return field + (_side(x) - 1) * stride, stride
        return field, stride


def _flat(values: Sequence[Any]) -> Iterator[Any]:
    """Yield values, and those in lists and tuples among them."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


def _argument(args: tuple, kwargs: dict[str, Any], place: int, name: str, default: int) -> int:
    """Return one argument of a convolution or pooling; of a pair, that along the width."""
    value = args[place] if len(args) > place else kwargs.get(name)
    value = value[-1] if isinstance(value, list | tuple) and value else value
    return default if value is None or value == [] or value == () else int(value)


def _side(x: Tensor) -> int:
    return x.shape[-1] if x.ndim == 4 else 1


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into evaluation mode and give each its own mode back."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _without_numbers(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of `model` as shapes alone: a forward pass then computes nothing."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: torch.empty_like(tensor, device="meta") for name, tensor in named}


def _image(model: nn.Module, image_shape: Sequence[int]) -> Tensor:
    """Return one image without numbers, of the type that the network computes in."""
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return torch.empty(1, *image_shape, device="meta", dtype=dtype)


def layer_table(
    model: nn.Module, image_shape: Sequence[int], *, layers: Sequence[str] | None = None
) -> list[Layer]:
    r"""Return one row per layer: shape, parameters, multiply-adds, receptive field.

    With kernel width :math:`k_l` and stride :math:`s_l` of layer :math:`l`, the receptive field grows as

    .. math:: r_l = r_{l-1} + (k_l - 1) \prod_{i<l} s_i, \qquad r_0 = 1,

    and where branches meet, the largest counts.

    Parameters
    ----------
    model
        Any network that takes one tensor of images. Weights may be random: none is used.
    image_shape
        (channels, height, width); the width counts where the two differ.
    layers
        Names of modules, leaves or whole stages, in any order; the rows come as the modules finish. None:
        all modules that have no others inside.

    Raises
    ------
    TypeError, ValueError
        If a layer is unknown (`check_layers`), or the network does not take such images.

    Notes
    -----
    The forward pass runs on tensors without numbers, so that VGG16 takes no longer than a small network. A
    module that is called several times, such as the ReLU inside torchvision's residual blocks, gives one
    row: its last call, with the multiply-adds of all. Of attention the projections count, in the row of the
    module that has them, but not the multiplications between activations; its receptive field is not known
    here: a transformer's is that of its patches.

    Source
    ------
    Araujo, Norris, Sim, "Computing receptive fields of convolutional neural networks", Distill (2019),
    doi:10.23915/distill.00021; here carried forward from the image.

    Examples
    --------
    >>> [row] = layer_table(nn.Sequential(nn.Conv2d(3, 4, 5, stride=2)), (3, 9, 9))
    >>> row.shape, row.num_parameters, row.num_multiply_adds, row.receptive_field  # 3·5·5·4 (+4), ·3·3
    ((4, 3, 3), 304, 2700, 5)
    """
    modules = dict(model.named_modules())
    if layers is None:
        layers = [name for name, module in modules.items() if name and not any(module.children())]
    check_layers(model, layers)
    sight, before, spent, rows = _Sight(), {}, dict.fromkeys(layers, 0), {}

    def start(name: str) -> Callable:
        return lambda _module, _inputs: before.__setitem__(name, sight.num_multiply_adds)

    def finish(name: str) -> Callable:
        def hook(module: nn.Module, _inputs: Any, output: Any) -> None:
            spent[name] += sight.num_multiply_adds - before[name]
            size = sum(p.numel() for p in module.parameters())
            shape, seen = tuple(output.shape[1:]), getattr(output, "sight", (0, 0))
            rows.pop(name, None)
            rows[name] = Layer(name, type(module).__name__, shape, size, spent[name], *seen)

        return hook

    handles = [modules[name].register_forward_pre_hook(start(name)) for name in layers]
    handles += [modules[name].register_forward_hook(finish(name)) for name in layers]
    x = _image(model, image_shape)
    x.sight = (1, 1)
    try:
        with _evaluating(model), torch.no_grad(), sight:
            functional_call(model, _without_numbers(model), (x,))
    except (RuntimeError, AssertionError) as error:  # torchvision's transformers assert their image size
        raise ValueError(
            f"{type(model).__name__} does not take images of shape {tuple(image_shape)}: {error}"
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return [*rows.values()]


def show_layers(rows: Sequence[Layer]) -> str:
    """Return the rows as a table of text.

    Examples
    --------
    >>> print(show_layers([Layer("fc", "Linear", (10,), 110, 100, 1, 1)]))
    layer  kind    shape  parameters  multiply-adds  sees
    fc     Linear  10            110            100     1
    """
    cells = [(row.name, row.kind, "×".join(map(str, row.shape))) for row in rows]
    heads = ("layer", "kind", "shape")
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    lines = [f"{_columns(heads, widths)}  parameters  multiply-adds  sees"]
    for row, texts in zip(rows, cells, strict=True):
        counts = f"{row.num_parameters:10}  {row.num_multiply_adds:13}  {row.receptive_field:4}"
        lines.append(f"{_columns(texts, widths)}  {counts}")
    return "\n".join(lines)


def _columns(texts: Sequence[str], widths: Sequence[int]) -> str:
    """Return texts side by side, each as wide as its column."""
    return "  ".join(f"{text:{width}}" for text, width in zip(texts, widths, strict=True))


def input_channels(model: nn.Module) -> int | None:
    """Return how many channels the first convolution takes, or None where there is no convolution.

    Examples
    --------
    >>> input_channels(nn.Sequential(nn.Conv2d(3, 8, 3)))
    3
    """
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    return None if first is None else first.in_channels


def smallest_image(model: nn.Module, *, channels: int = 3, largest: int = 512) -> int | None:
    """Return the smallest side of a square image that passes through `model`; None if none up to `largest`.

    Parameters
    ----------
    model
        A network for images.
    channels
        Of the images.
    largest
        Where the search ends.

    Examples
    --------
    >>> smallest_image(nn.Sequential(nn.Conv2d(3, 8, 11, stride=4, padding=2), nn.MaxPool2d(3)))
    15
    """
    state = _without_numbers(model)

    def passes(size: int) -> bool:
        try:
            with _evaluating(model), torch.no_grad():
                functional_call(model, state, (_image(model, (channels, size, size)),))
        except (RuntimeError, ValueError, AssertionError):
            return False
        return True

    high = next(
        (size for size in (1, 2, 4, 8, 16, 32, 64, 128, 224, 256, 512) if size <= largest and passes(size)),
        None,
    )
    low = 0 if high is None else high // 2
    while high is not None and high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return high
