"""What transfers: parameters, few of which are trained. LoRA, adapters, and a pull towards the start."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tlutils import guards
from tlutils.runtime import new_generator

__all__ = [
    "Adapter",
    "LoRAConv2d",
    "LoRALinear",
    "add_adapters",
    "add_lora",
    "l2_sp_penalty",
    "merge_lora",
]


def _check_rank(rank: int, alpha: float, largest: int) -> None:
    """Raise ValueError unless a matrix with `largest` as its smaller side can have an update of this rank."""
    if not 1 <= rank <= largest:
        raise ValueError(
            f"rank is {rank}; expected 1 to {largest}, the smaller side of this layer's weight matrix. "
            "Beyond it there is nothing to save: train the weight itself."
        )
    if not alpha > 0:
        raise ValueError(f"alpha is {alpha}; expected a positive number: it multiplies the update as α / r")


def _uniform(shape: Sequence[int], fan_in: int, generator: torch.Generator | None) -> Tensor:
    """Draw numbers within ± 1 / √fan_in, as PyTorch's own layers do."""
    bound = fan_in**-0.5
    return torch.empty(*shape).uniform_(-bound, bound, generator=generator)


class _LoRA(nn.Module):
    """What LoRA beside any layer has: the frozen layer, the scale α / r, and A and B at their start."""

    def __init__(self, base: nn.Module, rank: int, alpha: float, generator: torch.Generator | None) -> None:
        super().__init__()
        num_out, fan_in = len(base.weight), base.weight[0].numel()
        _check_rank(rank, alpha, min(num_out, fan_in))
        self.base = base.requires_grad_(False)
        self.scale = alpha / rank
        drawn = _uniform((rank, *base.weight.shape[1:]), fan_in, generator)
        self.a = nn.Parameter(drawn.to(base.weight))
        self.b = nn.Parameter(base.weight.new_zeros(num_out, rank, *[1] * (base.weight.ndim - 2)))

    # Attention does not call its linear layers, it takes their matrices: with the update, then.
    @property
    def weight(self) -> Tensor:
        """The layer's weight with the update added."""
        return self.base.weight + self.update()

    @property
    def bias(self) -> Tensor | None:
        """The layer's bias, which LoRA leaves as it is."""
        return self.base.bias


class LoRALinear(_LoRA):
    r"""Add a trainable update of low rank to a linear layer that is held still.

    .. math:: y = W x + c + \tfrac{\alpha}{r} B A x

    Parameters
    ----------
    base
        The layer with W (out, in) and bias c. It is frozen, not copied.
    rank
        r, from 1 to the smaller side of W.
    alpha
        α, positive.
    generator
        Draws A; by default torch's global generator.

    Attributes
    ----------
    a, b
        A (r, in), random within ± 1/√in, and B (out, r), zero: the layer starts out unchanged.

    Raises
    ------
    TypeError
        If `base` is not an ``nn.Linear``.
    ValueError
        If `rank` or `alpha` is out of range.

    Source
    ------
    Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022, eq. (3).

    Examples
    --------
    >>> layer = LoRALinear(nn.Linear(3, 2), rank=1, alpha=2.0)
    >>> layer.update().count_nonzero().item(), layer.a.numel() + layer.b.numel()
    (0, 5)
    """

    def __init__(
        self, base: nn.Module, rank: int, alpha: float, generator: torch.Generator | None = None
    ) -> None:
        if not isinstance(base, nn.Linear):
            raise TypeError(f"LoRALinear got {type(base).__name__}; expected nn.Linear")
        super().__init__(base, rank, alpha, generator)

    def forward(self, x: Float[Tensor, "... num_in"]) -> Float[Tensor, "... num_out"]:
        return self.base(x) + self.scale * (x @ self.a.T @ self.b.T)

    def update(self) -> Float[Tensor, "num_out num_in"]:
        """Return what is added to the weight: (α / r) B A."""
        return self.scale * self.b @ self.a


class LoRAConv2d(_LoRA):
    r"""Add a trainable update of low rank to a convolution that is held still.

    Two convolutions stand beside the frozen one: a thin one with its kernel size, stride and padding into r
    channels, and a 1×1 convolution from there to all channels. Written as a matrix with one row per output
    channel, the kernel (out, in · k · k) gets the update (α/r) B A, as in `LoRALinear`.

    Parameters
    ----------
    base
        The convolution, without groups and padded with zeros. It is frozen, not copied.
    rank
        r, from 1 to the smaller of out and in · k · k.
    alpha
        α, positive.
    generator
        Draws A; by default torch's global generator.

    Attributes
    ----------
    a, b
        A (r, in, k, k), random, and B (out, r, 1, 1), zero.

    Raises
    ------
    TypeError
        If `base` is not an ``nn.Conv2d``.
    ValueError
        If it has groups or another padding than zeros, or `rank` or `alpha` is out of range.

    Notes
    -----
    This is how the library PEFT does it. The first authors' package loralib multiplies matrices of r·k
    columns instead, which for the same r means more numbers and a higher rank.

    Source
    ------
    Hu et al., ICLR 2022, eq. (3), for the kernel as a matrix.

    Examples
    --------
    >>> layer = LoRAConv2d(nn.Conv2d(4, 8, 3), rank=2, alpha=2.0)
    >>> layer.a.numel(), layer.b.numel(), layer.base.weight.numel()
    (72, 16, 288)
    """

    def __init__(
        self, base: nn.Module, rank: int, alpha: float, generator: torch.Generator | None = None
    ) -> None:
        if not isinstance(base, nn.Conv2d):
            raise TypeError(f"LoRAConv2d got {type(base).__name__}; expected nn.Conv2d")
        if base.groups != 1 or base.padding_mode != "zeros":
            raise ValueError(
                f"the convolution has groups={base.groups} and padding_mode={base.padding_mode!r}; expected "
                "1 and 'zeros'. Leave this layer out."
            )
        super().__init__(base, rank, alpha, generator)

    def forward(self, x: Float[Tensor, "n num_in h w"]) -> Float[Tensor, "n num_out h_out w_out"]:
        inner = functional.conv2d(
            x, self.a, stride=self.base.stride, padding=self.base.padding, dilation=self.base.dilation
        )
        return self.base(x) + self.scale * functional.conv2d(inner, self.b)

    def update(self) -> Float[Tensor, "num_out num_in k_h k_w"]:
        """Return what is added to the kernel: (α / r) B A, reshaped."""
        return self.scale * (self.b.flatten(1) @ self.a.flatten(1)).view_as(self.base.weight)


class Adapter(nn.Module):
    r"""Let what a layer gives out pass through a small bottleneck that is added to it: y + U relu(D y).

    Parameters
    ----------
    base
        A layer or a block whose output is (n, channels) or (n, channels, height, width); it is frozen.
    channels
        Channels of that output.
    bottleneck
        Channels in the middle, at least 1. On images both steps are 1×1 convolutions.
    generator
        Draws D; by default torch's global generator. U starts at zero, so that nothing changes at first.

    Raises
    ------
    ValueError
        If `channels` or `bottleneck` is below 1; later, if the layer gives another number of channels.

    Source
    ------
    Houlsby et al., "Parameter-efficient transfer learning for NLP", ICML 2019, section 2.1; for
    convolutional networks Rebuffi, Bilen, Vedaldi, "Learning multiple visual domains with residual
    adapters", NeurIPS 2017, there without the non-linearity.

    Examples
    --------
    >>> Adapter(nn.Identity(), channels=3, bottleneck=2)(torch.ones(1, 3)).tolist()
    [[1.0, 1.0, 1.0]]
    """

    def __init__(
        self, base: nn.Module, channels: int, bottleneck: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        if channels < 1 or bottleneck < 1:
            raise ValueError(f"received {channels=} and {bottleneck=}; expected at least 1 of each")
        self.base = base.requires_grad_(False)
        like = next(base.parameters(), torch.empty(0))
        self.down = nn.Parameter(_uniform((bottleneck, channels), channels, generator).to(like))
        self.down_bias = nn.Parameter(like.new_zeros(bottleneck))
        self.up = nn.Parameter(like.new_zeros(channels, bottleneck))
        self.up_bias = nn.Parameter(like.new_zeros(channels))

    def forward(self, x: Tensor) -> Float[Tensor, "n channels ..."]:
        y = self.base(x)
        guards.has_width(y, len(self.up))
        if y.ndim == 2:
            inner = functional.linear(y, self.down, self.down_bias).relu()
            return y + functional.linear(inner, self.up, self.up_bias)
        inner = functional.conv2d(y, self.down[:, :, None, None], self.down_bias).relu()
        return y + functional.conv2d(inner, self.up[:, :, None, None], self.up_bias)


def _part(model: nn.Module, name: str) -> nn.Module:
    """Return the part of `model` called `name`; raise ValueError with the nearest names if there is none."""
    parts = dict(model.named_modules())
    if name not in parts or not name:
        known = [part for part in parts if part]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
        raise ValueError(f"the network has no layer {name!r}; did you mean {near}?")
    return parts[name]


def _replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Put `layer` into `model` in the place of its part `name`."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer)


def _plain_layers(model: nn.Module, part: str) -> Iterator[str]:
    """Yield the names of the linear and convolutional layers under `part`, those with LoRA left out."""
    kinds = (nn.Linear, nn.Conv2d)
    taken = [name for name, layer in model.named_modules() if isinstance(layer, _LoRA)]
    for name, layer in model.named_modules():
        is_under = name == part or name.startswith(part + ".")
        if is_under and isinstance(layer, kinds) and not any(name.startswith(t + ".") for t in taken):
            yield name


def add_lora(model: nn.Module, layers: Sequence[str], *, rank: int, alpha: float, seed: int = 0) -> nn.Module:
    """Put LoRA beside linear and convolutional layers of `model`, in place, and return it.

    Parameters
    ----------
    model
        The network. Only the layers named are frozen by this; freeze the rest first (`model_based.freeze`).
    layers
        Dotted names of layers, or of parts that contain some: ``["backbone"]`` takes every one in it. Of an
        ``nn.MultiheadAttention`` that is the last one alone: torch keeps the matrices of queries, keys and
        values in one parameter, which is no layer.
    rank
        r of all updates. A layer whose matrix is smaller gets its own largest rank.
    alpha
        α, positive; each update is multiplied by α / `rank`.
    seed
        Seed of the matrices A.

    Raises
    ------
    ValueError
        If a name is unknown (the nearest are offered), nothing under it can take LoRA, or `rank` or
        `alpha` is below its range.
    TypeError
        If `layers` is one string instead of a list of names, or `rank` no whole number.

    Examples
    --------
    >>> model = add_lora(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)), ["0"], rank=1, alpha=1)
    >>> [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    ['0.a', '0.b', '2.weight', '2.bias']
    """
    if isinstance(layers, str):
        raise TypeError(f"layers is the string {layers!r}; expected a list of names, [{layers!r}]")
    guards.is_whole("rank", rank, 0)
    if rank < 1:
        raise ValueError(f"rank is {rank}; expected at least 1")
    generator, made = new_generator(seed), {}
    for part in layers:
        _part(model, part)
        names = [name for name in _plain_layers(model, part) if name not in made]
        if not names:
            raise ValueError(
                f"{part!r} has no linear or convolutional layer without LoRA; name a part that has some"
            )
        for name in names:
            base = model.get_submodule(name)
            own = min(rank, len(base.weight), base.weight[0].numel())
            kind = LoRALinear if isinstance(base, nn.Linear) else LoRAConv2d
            try:
                made[name] = kind(base, own, alpha * own / rank, generator)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
    for name, layer in made.items():  # only when all of them could be made
        _replace(model, name, layer)
    return model


def add_adapters(
    model: nn.Module, channels: Mapping[str, int], *, bottleneck: int, seed: int = 0
) -> nn.Module:
    """Put an `Adapter` behind parts of `model`, in place, and return it.

    Parameters
    ----------
    model
        The network. Only the parts named are frozen by this; freeze the rest first (`model_based.freeze`).
    channels
        Dotted name of a part → channels of its output.
    bottleneck
        Channels in the middle of each adapter.
    seed
        Seed of their weights.

    Raises
    ------
    ValueError
        If a name is unknown (the nearest are offered) or a number is below 1.
    TypeError
        If `channels` is no mapping.

    Examples
    --------
    >>> model = add_adapters(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), {"0": 4}, bottleneck=2)
    >>> sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)  # 2·4·2 + 2 + 4
    22
    """
    guards.is_mapping("channels", channels)
    parts, generator = {name: _part(model, name) for name in channels}, new_generator(seed)
    made = {name: Adapter(parts[name], width, bottleneck, generator) for name, width in channels.items()}
    for name in sorted(made, key=len, reverse=True):  # what lies inside another part first
        _replace(model, name, made[name])
    return model


def merge_lora(model: nn.Module) -> nn.Module:
    """Add every LoRA update to the weight that it stands beside, take LoRA off, and return the network.

    Changed in place, once and for all: without the update the old weight cannot be had back. The merged
    layers stay frozen. Where `model` itself is a LoRA layer, its plain layer is returned.

    Raises
    ------
    ValueError
        If there is no LoRA layer in the network, for example because it has been merged already.

    Examples
    --------
    >>> layer = LoRALinear(nn.Linear(2, 1), rank=1, alpha=1.0)
    >>> type(merge_lora(layer)).__name__
    'Linear'
    """
    found = [(name, part) for name, part in model.named_modules() if isinstance(part, _LoRA)]
    if not found:
        raise ValueError("the network has no LoRA layer; was it merged already? Merging is done once.")
    for name, layer in found:
        with torch.no_grad():
            layer.base.weight += layer.update()
        if not name:
            return layer.base
        _replace(model, name, layer.base)
    return model


def l2_sp_penalty(
    model: nn.Module, start: Mapping[str, Tensor], *, strength: float, new_strength: float = 0.0
) -> Float[Tensor, ""]:
    r"""Return the penalty for leaving the starting point, ready to be added to a loss.

    .. math::
        \Omega = \tfrac{\alpha}{2} \lVert \theta - \theta^0 \rVert^2 + \tfrac{\beta}{2} \lVert w \rVert^2

    Parameters
    ----------
    model
        The network in training. Parameters without gradient are left out.
    start
        Name → value θ⁰ that the parameter started from. Parameters that are not named here are new (w): a
        new head must not be in it, or it is pulled to the old one.
    strength
        α, at least 0.
    new_strength
        β, at least 0.

    Raises
    ------
    ValueError
        If a strength is negative, a shape differs, or `start` names no parameter in training.

    Source
    ------
    Li, Grandvalet, Davoine, "Explicit inductive bias for transfer learning with convolutional networks",
    ICML 2018, the penalty called L²-SP.

    Examples
    --------
    >>> layer = nn.Linear(1, 1)
    >>> start = {"weight": layer.weight.detach() - 2.0}
    >>> round(l2_sp_penalty(layer, start, strength=3.0).item(), 4)  # 3/2 · 2²
    6.0
    """
    if strength < 0 or new_strength < 0:
        raise ValueError(f"received {strength=} and {new_strength=}; expected numbers of at least 0")
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    shared = [name for name in trained if name in start]
    if not shared:
        raise ValueError(
            f"start names no parameter in training: it has {[*start][:3]}, in training are {[*trained][:3]}"
        )
    for name in shared:
        if trained[name].shape != start[name].shape:
            raise ValueError(
                f"{name} has shape {tuple(trained[name].shape)} and started with "
                f"{tuple(start[name].shape)}; leave a new head out of start"
            )
    pull = sum((trained[name] - start[name].to(trained[name])).square().sum() for name in shared)
    total = strength / 2 * pull
    if new_strength:
        total = total + new_strength / 2 * sum(p.square().sum() for n, p in trained.items() if n not in start)
    return total
