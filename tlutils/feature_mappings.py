"""Where features of one network can enter another, and the small layers through which they do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tlutils.extraction import in_evaluation, run_network

__all__ = ["Connection", "maps_of", "nearest_map", "prepare", "zero_mapping"]

LARGEST_VECTOR_SIDE = 4  # a linear mapping sees a map as at most 4×4 cells


@dataclass(frozen=True)
class Connection:
    """One place where mapped features of the source enter the target.

    Attributes
    ----------
    sources
        Layers of the source network.
    target
        Layer of the target network: its output is added to, or, for the head, its input.
    kind
        ``"vector"`` or ``"map"``.
    num_parameters
        Numbers that the mapping learns.
    """

    sources: tuple[str, ...]
    target: str
    kind: str
    num_parameters: int

    def __str__(self) -> str:
        place = "input of" if self.kind == "vector" else "output of"
        return f"{' + '.join(self.sources)} → {place} {self.target} ({self.num_parameters} parameters)"


def maps_of(model: nn.Module, x: Tensor) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Return the shapes of all maps larger than 1×1, in the order in which they are finished, and the calls.

    Raises
    ------
    ValueError
        There is none.
    """
    maps: dict[str, tuple[int, ...]] = {}
    calls: dict[str, int] = {}

    def note(name: str) -> Callable:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            calls[name] = calls.get(name, 0) + 1
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[-1] > 1:
                maps.pop(name, None)
                maps[name] = tuple(output.shape[1:])

        return hook

    handles = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    try:
        with in_evaluation(model):
            run_network(model, x)
    finally:
        for handle in handles:
            handle.remove()
    if not maps:
        raise ValueError(f"{type(model).__name__} gives no map larger than 1×1; use mapping='linear'")
    return maps, calls


def nearest_map(features: Tensor, maps: Mapping[str, tuple[int, ...]], calls: Mapping[str, int]) -> str:
    """Return the last layer among those whose resolution is nearest to that of `features`, by ratio."""
    side = features.shape[-1] if features.ndim == 4 else 1
    once = [name for name in maps if calls[name] == 1]
    ratios = {name: max(side / maps[name][-1], maps[name][-1] / side) for name in once}
    return [name for name in once if ratios[name] == min(ratios.values())][-1]


def prepare(features: Sequence[Tensor], place: tuple[int, ...]) -> Tensor:
    """Standardise each image's features, bring them to the size of the place, and put layers together."""
    scaled = [functional.layer_norm(f, f.shape[1:]) for f in features]
    if len(place) == 1:
        flat = [_to_cells(f) if f.ndim == 4 else f for f in scaled]
        return torch.cat([f.flatten(1) for f in flat], dim=1)
    return torch.cat(
        [_to_size(f if f.ndim == 4 else f.flatten(1)[..., None, None], place[1:]) for f in scaled], dim=1
    )


def _to_cells(maps: Tensor) -> Tensor:
    """Average maps down to what a linear mapping sees."""
    return functional.adaptive_avg_pool2d(maps, min(LARGEST_VECTOR_SIDE, maps.shape[-1]))


def _to_size(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """Average maps down, or interpolate them up, to (height, width)."""
    if maps.shape[-2] >= size[0] and maps.shape[-1] >= size[1]:
        return functional.adaptive_avg_pool2d(maps, size)
    return functional.interpolate(maps, size=size, mode="bilinear")


def zero_mapping(prepared: Tensor, place: tuple[int, ...]) -> nn.Module:
    """Return the mapping from prepared features to a place: linear for vectors, 1×1 for maps; all zero."""
    inputs = prepared.shape[1]
    mapping = nn.Linear(inputs, place[0]) if len(place) == 1 else nn.Conv2d(inputs, place[0], 1)
    for parameter in mapping.parameters():
        nn.init.zeros_(parameter)
    return mapping
