"""What transfers: parameters. Load part of a network, hold part of it still, give each part its own rate."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tlutils import guards
from tlutils.efficient_tuning import (
    Adapter,
    LoRAConv2d,
    LoRALinear,
    add_adapters,
    add_lora,
    l2_sp_penalty,
    merge_lora,
)
from tlutils.extraction import extract_features
from tlutils.heads import find_heads, replace_head
from tlutils.normalisation import reestimate_statistics
from tlutils.transferred_features import TransferredFeatures

__all__ = [
    "Adapter",
    "LoRAConv2d",
    "LoRALinear",
    "LoadReport",
    "TransferredFeatures",
    "add_adapters",
    "add_lora",
    "extract_features",
    "find_heads",
    "freeze",
    "l2_sp_penalty",
    "load_matching",
    "merge_lora",
    "parameter_groups",
    "reestimate_statistics",
    "replace_head",
    "unfreeze",
]


def _use_stored_statistics(layer: nn.Module, _inputs: Any) -> None:
    """Put a frozen normalisation layer into evaluation mode; runs before each of its forward passes."""
    if layer.has_frozen_statistics:
        layer.eval()


def _set_frozen(module: nn.Module, frozen: bool) -> None:
    """Set the gradient flags of all parameters of `module` and the mode of its normalisation layers."""
    for parameter in module.parameters():
        parameter.requires_grad_(not frozen)
    for layer in module.modules():
        if getattr(layer, "running_mean", None) is None:
            continue
        # A hook rather than a changed `train` method: it is handed the layer, so that it survives
        # copy.deepcopy and pickling, and it acts after whoever called model.train() last.
        if frozen and not hasattr(layer, "has_frozen_statistics"):
            layer.register_forward_pre_hook(_use_stored_statistics)
        layer.has_frozen_statistics = frozen
        layer.train(not frozen)


def freeze(module: nn.Module) -> nn.Module:
    """Hold `module` still: no gradient changes its parameters and no batch its normalisation statistics.

    Parameters
    ----------
    module
        A whole network or a part of it. Changed in place.

    Returns
    -------
    The same module.

    Raises
    ------
    ValueError
        If `module` has no parameters, so that there is nothing to freeze.

    Notes
    -----
    ``requires_grad=False`` alone does not freeze a network with batch normalisation: in training mode its
    layers go on averaging the mean and variance of every batch, and normalise by the batch rather than by
    the average. A frozen layer uses its stored statistics whatever ``model.train()`` says. Dropout is not
    touched: it changes no state. A head put in after freezing (`models.replace_head`) is trainable.

    Examples
    --------
    >>> layer = freeze(nn.BatchNorm1d(1)).train()
    >>> layer(torch.tensor([[5.0], [7.0]])).round().flatten().tolist(), layer.running_mean.item()
    ([5.0, 7.0], 0.0)
    """
    if not any(True for _ in module.parameters()):
        raise ValueError(f"{type(module).__name__} has no parameters; freeze a module that has some")
    _set_frozen(module, True)
    return module


def unfreeze(module: nn.Module) -> nn.Module:
    """Make every parameter of `module` trainable and let its statistics follow the batches again.

    Its normalisation layers are then in training mode: call ``module.eval()`` before you predict.

    Parameters
    ----------
    module
        A whole network or a part of it, frozen or not. Changed in place.

    Returns
    -------
    The same module.

    Examples
    --------
    >>> all(parameter.requires_grad for parameter in unfreeze(freeze(nn.Linear(2, 2))).parameters())
    True
    """
    _set_frozen(module, False)
    return module


@dataclass(frozen=True)
class LoadReport:
    """What `load_matching` did, name by name.

    Attributes
    ----------
    loaded
        Tensors of the network that now have the stored values.
    skipped
        Stored tensors that were not wanted (`only`) or that the network does not have.
    mismatched
        Tensors that both have in different shapes, as ``name: (stored shape) stored, (own shape) here``.
    untouched
        Tensors of the network that keep the values they had.
    """

    loaded: tuple[str, ...]
    skipped: tuple[str, ...]
    mismatched: tuple[str, ...]
    untouched: tuple[str, ...]

    def __str__(self) -> str:
        rows = {field: ", ".join(getattr(self, field)) or "–" for field in self.__dataclass_fields__}
        return "\n".join(f"{field + ':':<12}{names}" for field, names in rows.items())


def _is_under(name: str, prefixes: Sequence[str]) -> bool:
    """Say whether the dotted `name` is one of `prefixes` or lies under one of them."""
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _check_prefixes(prefixes: Sequence[str], names: Sequence[str]) -> None:
    """Raise ValueError if a prefix stands for no name, and offer the nearest."""
    parts = sorted({name.rsplit(".", depth)[0] for name in names for depth in range(name.count(".") + 1)})
    for prefix in prefixes:
        if not any(_is_under(name, [prefix]) for name in names):
            near = difflib.get_close_matches(prefix, parts, n=3, cutoff=0.4) or parts
            raise ValueError(f"the network has no part {prefix!r}; did you mean {near}?")


def load_matching(
    model: nn.Module, state: Mapping[str, Tensor], *, only: Sequence[str] | None = None
) -> LoadReport:
    """Copy those tensors of `state` into `model` that have the same name and shape, and say which.

    Parameters
    ----------
    model
        Changed in place.
    state
        Name → tensor, as ``source_model.state_dict()`` gives it.
    only
        Dotted names of the parts to load, such as ``["backbone.0", "backbone.3"]``. None: all of them.

    Returns
    -------
    A report; print it.

    Raises
    ------
    TypeError
        If `only` is one string.
    ValueError
        If nothing at all matches, or a part named in `only` is not in the network.

    Warns
    -----
    UserWarning
        If a tensor was left out because its shape differs, or because its name stands on one side only: the
        network keeps a value that it had, or the state holds one that goes nowhere. Where parts are named
        in `only`, the others count for nothing, and are no reason to warn.

    Notes
    -----
    ``load_state_dict(state, strict=False)`` stops at another shape and says nothing of names that match
    nowhere; with all names wrong it loads nothing and the network stays random.

    Examples
    --------
    >>> print(load_matching(nn.Linear(2, 3), nn.Linear(2, 3).state_dict(), only=["weight"]))
    loaded:     weight
    skipped:    bias
    mismatched: –
    untouched:  bias
    """
    guards.is_no_string("only", only)
    guards.is_state(state)
    own = model.state_dict()
    if only is not None:
        _check_prefixes(only, list(own))
    wanted = {name: tensor for name, tensor in state.items() if only is None or _is_under(name, only)}
    known = {name: tensor for name, tensor in wanted.items() if name in own}
    fitting = {name: tensor for name, tensor in known.items() if tensor.shape == own[name].shape}
    if not fitting:
        raise ValueError(
            f"nothing to load: of {len(state)} stored tensors ({', '.join([*state][:3])}, …) none has the "
            f"name and shape of one of the network's {len(own)} ({', '.join([*own][:3])}, …). Rename the "
            "keys of the state dict so that they agree."
        )
    with torch.no_grad():
        for name, tensor in fitting.items():
            own[name].copy_(tensor)  # state_dict shares its memory with the network
    mismatched = tuple(
        f"{name}: {tuple(known[name].shape)} stored, {tuple(own[name].shape)} here"
        for name in known
        if name not in fitting
    )
    asked = [name for name in own if only is None or _is_under(name, only)]
    missing, extra = ([n for n in asked if n not in state], [n for n in wanted if n not in own])
    texts = [f"the shape differs: {'; '.join(mismatched)}"] if mismatched else []
    texts += [f"{_first_few(missing)} of the network keep the values they had"] if missing else []
    texts += [f"{_first_few(extra)} of the state go nowhere"] if extra else []
    if texts:
        warnings.warn(
            f"{len(fitting)} tensors were loaded; {'; '.join(texts)}. If that is meant, say which parts to "
            "load with only=; if not, rename the keys of the state dict so that they agree.",
            stacklevel=2,
        )
    return LoadReport(
        loaded=tuple(fitting),
        skipped=tuple(name for name in state if name not in known),
        mismatched=mismatched,
        untouched=tuple(name for name in own if name not in fitting),
    )


def _first_few(names: Sequence[str]) -> str:
    """Return how many names there are, and the first three of them."""
    return f"{len(names)} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"


def parameter_groups(model: nn.Module, learning_rates: Mapping[str, float]) -> list[dict[str, Any]]:
    r"""Split the parameters of `model` into groups that learn at their own rates.

    .. math:: \theta_g \leftarrow \theta_g - \eta_g \nabla_{\theta_g} L, \qquad g = 1 \dots G

    Parameters
    ----------
    model
        The network to be trained.
    learning_rates
        Dotted name of a part → its rate, positive. Where a parameter lies under two names, the longer
        decides: ``{"backbone": 1e-4, "backbone.0": 1e-5, "head": 1e-3}``.

    Returns
    -------
    PyTorch's own format, for ``fit(..., parameter_groups=...)`` or an optimiser.

    Raises
    ------
    ValueError
        If a rate is not positive, a name is not in the network, or a parameter lies under no name.
    TypeError
        If `learning_rates` is no mapping.

    Notes
    -----
    A rate of 0 is refused because it would not hold a part still: normalisation statistics still move.
    Use `freeze`.

    Source
    ------
    Howard, Ruder, "Universal language model fine-tuning for text classification", ACL 2018, section 3.2,
    who divide the rate by 2.6 from each layer to the one below.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    >>> [(len(g["params"]), g["lr"]) for g in parameter_groups(model, {"0": 1e-4, "1": 1e-3})]
    [(2, 0.0001), (2, 0.001)]
    """
    guards.is_mapping("learning_rates", learning_rates)
    names = [name for name, _ in model.named_parameters()]
    _check_prefixes(list(learning_rates), names)
    for part, rate in learning_rates.items():
        if not rate > 0:
            raise ValueError(f"the rate of {part!r} is {rate}; expected a positive number (or use freeze)")
    members: dict[str, list[nn.Parameter]] = {part: [] for part in learning_rates}
    for name, parameter in model.named_parameters():
        parts = [part for part in learning_rates if _is_under(name, [part])]
        if not parts:
            raise ValueError(f"{name} lies under none of {[*learning_rates]}; give every part a rate")
        members[max(parts, key=len)].append(parameter)
    return [{"params": members[part], "lr": rate} for part, rate in learning_rates.items() if members[part]]
