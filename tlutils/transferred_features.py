"""Features of a frozen network, fed into another network that learns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlutils import guards, pretrained
from tlutils.domains import Labelled
from tlutils.extraction import (
    catching,
    checked_device,
    extract_features,
    in_evaluation,
    network_digest,
    run_network,
)  # fmt: skip
from tlutils.feature_mappings import Connection, maps_of, nearest_map, prepare, zero_mapping
from tlutils.files import write_atomically
from tlutils.heads import find_heads, replace_head
from tlutils.layer_table import check_layers, input_channels
from tlutils.models import Standardise
from tlutils.runtime import seeded
from tlutils.training import History, fit

__all__ = ["MAPPINGS", "TransferredFeatures", "extract_features"]

MAPPINGS = ("linear", "conv", "layerwise")


class _Joined(nn.Module):
    """The part that learns: the target network and the mappings, fed with source features."""

    def __init__(
        self,
        target: nn.Module,
        scale: nn.Module,
        mappings: Sequence[nn.Module],
        places: list[tuple[str, str]],
    ) -> None:
        super().__init__()
        self.target, self.scale, self.mappings, self.places = target, scale, nn.ModuleList(mappings), places
        self.shapes: list[tuple[int, ...]] | None = None  # of one row's parts, while `fit` feeds rows

    def join(self, x: Tensor, prepared: Sequence[Tensor]) -> Tensor:
        """Return the target's logits for images and the source features that go with them."""
        handles = [self.target.register_forward_hook(_logits_alone)]
        try:
            for (name, kind), mapping, features in zip(self.places, self.mappings, prepared, strict=True):
                layer, added = self.target.get_submodule(name), mapping(features)
                if kind == "vector":
                    handles.append(
                        layer.register_forward_pre_hook(
                            lambda _m, inputs, a=added: (inputs[0] + _at_every_place(a, inputs[0]),)
                        )
                    )
                else:
                    handles.append(layer.register_forward_hook(lambda _m, _i, out, a=added: out + a))
            return _run_scaled(self.target, self.scale, x)
        finally:
            for handle in handles:
                handle.remove()

    def forward(self, rows: Tensor) -> Tensor:
        """Return the logits for rows in which images and source features lie one behind the other."""
        sizes = [torch.Size(shape).numel() for shape in self.shapes]
        x, *prepared = (p.view(-1, *s) for p, s in zip(rows.split(sizes, 1), self.shapes, strict=True))
        return self.join(x, prepared)


class TransferredFeatures(nn.Module):
    r"""Feed features of a frozen source network, through mappings that learn, into a target that learns.

    With :math:`h_l` the source's features at layer :math:`l`, brought to zero mean and unit variance per
    image, and :math:`z` the target's own at the place where they enter,

    .. math:: z \leftarrow z + M \, h_l, \qquad M = 0 \text{ at the start},

    so that training starts from the target network as it is.

    Parameters
    ----------
    source_model
        A network, or the name of one of torchvision's, which is then loaded with its ImageNet weights
        (`pretrained.load`). It is put into evaluation mode and never changed. A network gets its images as
        they are; by name they are scaled as its ImageNet weights expect. The same holds for the target.
    target_model
        A network, or the name of one of torchvision's, which then starts from random weights, without the
        auxiliary heads of GoogLeNet and Inception v3. It is trained in place.
    layers
        Names of layers of the source. A dictionary, source layer → target layer, for ``"layerwise"`` says
        where each enters; otherwise that is the last target layer of the nearest resolution.
    mapping
        ``"linear"``: all layers, as one vector, through one matrix to the input of the target's head (where
        that is a convolution, as in SqueezeNet, at every place).
        ``"conv"``: all layers, as maps of one size, through one 1×1 convolution to the target's last map.
        ``"layerwise"``: each layer through a 1×1 convolution of its own to a layer of its resolution.
    num_classes
        Gives a target of another number of classes a new head. None: as it is.
    image_shape
        (channels, height, width) of the images to come.
    device
        By default the best of the machine.
    seed
        Of a target built by name, and of a new head.

    Attributes
    ----------
    connections
        What enters where; print them.
    source, target
        The two networks.

    Raises
    ------
    TypeError
        If `layers` is one string, or the target has no head that `heads.find_heads` finds.
    ValueError
        If a layer or mapping is unknown (with the nearest names), a source layer gives maps with the channels
        last (as inside a Swin transformer), a target layer gives no map or is called more than once, both
        networks are one object, images of this shape do not fit a network, or a GPU is demanded where none
        is.
    downloads.DatasetError
        If ImageNet weights are asked for and cannot be had.

    Notes
    -----
    Hooks do all of this; no class is changed and no layer replaced. The source is needed for predicting, too:
    the price is its forward pass and its memory.

    Source
    ------
    Rusu et al., "Progressive neural networks", arXiv:1606.04671 (2016): lateral connections from a frozen
    network, here into any architecture. Zero at the start is this book's choice.

    Examples
    --------
    >>> from tlutils.models import lenet
    >>> source, target = lenet(seed=0), lenet(seed=1)
    >>> pair = TransferredFeatures(source, target, ["backbone.2"], "conv", image_shape=(1, 28, 28))
    >>> print(pair.connections[0])
    backbone.2 → output of backbone.5 (544 parameters)
    """

    def __init__(
        self,
        source_model: nn.Module | str,
        target_model: nn.Module | str,
        layers: Sequence[str] | Mapping[str, str],
        mapping: str = "linear",
        *,
        num_classes: int | None = None,
        image_shape: Sequence[int] = (3, 224, 224),
        device: torch.device | str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if mapping not in MAPPINGS:
            raise ValueError(f"mapping is {mapping!r}; expected one of {MAPPINGS}")
        if isinstance(layers, Mapping) and mapping != "layerwise":
            raise ValueError(f"layers is a dictionary, which only mapping='layerwise' takes, not {mapping!r}")
        if source_model is target_model:
            raise ValueError("source and target are one network; copy it first: copy.deepcopy(model)")
        self.device = checked_device(device)
        self.mapping, self.layers, self.image_shape = mapping, tuple(layers), tuple(image_shape)
        scales = [_input_scale(model) for model in (source_model, target_model)]
        self.source = pretrained.load(source_model) if isinstance(source_model, str) else source_model
        check_layers(self.source, layers if isinstance(layers, str) else self.layers)
        self.source_scale = scales[0]
        target = _fresh(target_model, seed) if isinstance(target_model, str) else target_model
        if num_classes is not None:
            target = replace_head(target, num_classes, seed=seed)
        self.source.eval()
        mappings = self._connect(target, scales[1], dict(layers) if isinstance(layers, Mapping) else {})
        self.joined = _Joined(target, scales[1], mappings, [(c.target, c.kind) for c in self.connections])
        self.to(self.device)

    @property
    def target(self) -> nn.Module:
        """The network that learns."""
        return self.joined.target

    def _connect(self, target: nn.Module, scale: nn.Module, wanted: Mapping[str, str]) -> list[nn.Module]:
        """Decide what enters where, from one forward pass of each network; return the mappings."""
        x = torch.zeros(1, *self.image_shape)
        with in_evaluation(self.source.cpu()), catching(self.source, self.layers) as given:
            _run_scaled(self.source, self.source_scale, x)
        if missing := [name for name in self.layers if name not in given]:
            raise ValueError(f"the source's forward pass never calls {missing}; choose other layers")
        self._check_layout(given, x)
        if wanted:
            check_layers(target, list(wanted.values()))
        head, seen = find_heads(target)[0], _scaled(target.cpu(), scale, x)
        if self.mapping == "linear":
            with in_evaluation(target):
                run_network(target, seen)
            plan = [(self.layers, head, (target.get_submodule(head).weight.shape[1],))]
        elif self.mapping == "conv":
            maps, _ = _places(target, seen, head)
            last = [*maps][-1]
            plan = [(self.layers, last, maps[last])]
        else:
            maps, calls = _places(target, seen, head)
            places = {n: wanted.get(n) or nearest_map(given[n], maps, calls) for n in self.layers}
            for place in places.values():
                if place not in maps:
                    raise ValueError(
                        f"the target's layer {place!r} gives no map of (channels, height, width) before the "
                        f"head, or is called {calls.get(place, 0)} times; choose among {[*maps]}"
                    )
            plan = [((n,), place, maps[place]) for n, place in places.items()]
        mappings, connections = [], []
        for names, place, shape in plan:
            mapping = zero_mapping(prepare([given[n] for n in names], shape), shape)
            mappings.append(mapping)
            size = sum(p.numel() for p in mapping.parameters())
            connections.append(Connection(tuple(names), place, "map" if len(shape) == 3 else "vector", size))
        self.connections = tuple(connections)
        self._places = [shape for _, _, shape in plan]
        return mappings

    def _check_layout(self, given: Mapping[str, Tensor], x: Tensor) -> None:
        """Raise ValueError where a source layer gives maps whose channels come last."""
        for name, features in given.items():
            if features.ndim == 4 and not _is_map(features.shape[1:], self.image_shape):
                maps, _ = maps_of(self.source, _scaled(self.source, self.source_scale, x))
                raise ValueError(
                    f"the source's layer {name!r} gives {tuple(features.shape[1:])} for images of "
                    f"{self.image_shape}; expected (channels, height, width), or one vector. Choose among "
                    f"{[other for other, shape in maps.items() if _is_map(shape, self.image_shape)]}"
                )

    def train(self, mode: bool = True) -> TransferredFeatures:
        """Set the mode of the part that learns; the source stays in evaluation mode."""
        super().train(mode)
        self.source.eval()
        return self

    def source_features(self, x: Float[Tensor, "n channels h w"]) -> list[Tensor]:
        """Return what enters at each connection, ready for its mapping."""
        guards.has_shape(x, self.image_shape)
        with torch.no_grad(), catching(self.source, self.layers) as caught:
            _run_scaled(self.source, self.source_scale, x)
        pairs = zip(self.connections, self._places, strict=True)
        return [prepare([caught[name] for name in c.sources], shape) for c, shape in pairs]

    def forward(self, x: Float[Tensor, "n channels h w"]) -> Float[Tensor, "n num_classes"]:
        return self.joined.join(x, self.source_features(x))

    def fit(
        self,
        data: Mapping[str, Labelled | Iterable],
        num_epochs: int,
        *,
        save_best_only: bool = True,
        save_to: str | os.PathLike | None = None,
        batch_size: int = 64,
        progress: bool = True,
        **options: Any,
    ) -> History:
        """Train the target and the mappings with `training.fit`; the source's features are computed once.

        Parameters
        ----------
        data
            ``{"train": …, "val": …}``, each `Labelled` or an iterable of batches (x, y) such as a DataLoader,
            which is read once. ``"val"`` may be missing if `save_best_only` is False; where it is there, the
            history has its accuracies in any case.
        num_epochs
            Passes over the training examples, at least 1.
        save_best_only
            End with the weights of the best look at ``"val"``, one look per epoch; otherwise with the last.
        save_to
            A file: the weights that training ends with are saved there (`save`).
        batch_size
            Examples per step.
        progress
            Show a progress bar.
        options
            Passed on to `training.fit`: `learning_rate`, `schedule`, `weight_decay`, `seed` … With `augment`,
            no image comes twice, so that the source runs at every step.

        Raises
        ------
        TypeError, ValueError, FloatingPointError, MemoryError
            As `training.fit`; also if a part is missing from `data` or its name is unknown.

        Notes
        -----
        Images and features lie on the device at once: n · (image + features) numbers.
        """
        if unknown := set(data) - {"train", "val"}:
            raise ValueError(f"data has {sorted(unknown)}; expected 'train' and 'val'")
        if "train" not in data or (save_best_only and "val" not in data):
            raise ValueError(
                f"data has {sorted(data)}; expected 'train', and 'val' to choose the best weights on (or "
                "pass save_best_only=False, which keeps the last)"
            )
        if num_epochs < 1:
            raise ValueError(f"num_epochs is {num_epochs}; expected at least 1")
        num_classes = self.target.get_submodule(find_heads(self.target)[0]).weight.shape[0]
        parts = {name: _labelled(part, num_classes) for name, part in data.items()}
        is_fixed = options.get("augment") is None
        if is_fixed:
            parts = {name: self._rows(part, batch_size) for name, part in parts.items()}
        groups = [{"params": [*self.joined.parameters()]}]
        history = fit(
            self.joined if is_fixed else self, parts["train"],
            num_steps=num_epochs * max(1, len(parts["train"]) // batch_size), batch_size=batch_size,
            validation=parts.get("val"), keep_best=save_best_only, device=self.device, progress=progress,
            **{"parameter_groups": groups, **options},
        )  # fmt: skip
        if save_to is not None:
            self.save(save_to)
        return history

    def _rows(self, part: Labelled, batch_size: int) -> Labelled:
        """Return the examples with their source features behind them, as rows for `_Joined`."""
        rows = []
        for x in part.x.split(batch_size):
            pieces = [x.to(self.device)]
            pieces += self.source_features(pieces[0])
            self.joined.shapes = [tuple(piece.shape[1:]) for piece in pieces]
            rows.append(torch.cat([piece.flatten(1) for piece in pieces], dim=1).cpu())
        return Labelled(torch.cat(rows), part.y, part.num_classes)

    def _label(self) -> dict[str, str]:
        """Return what the weights in a file are for."""
        return {"connections": "; ".join(map(str, self.connections)), "source": network_digest(self.source)}

    def save(self, path: str | os.PathLike) -> None:
        """Save what was trained, the target and the mappings, as safetensors; the source is not in it."""
        from safetensors.torch import save

        state = {name: t.detach().cpu().contiguous().clone() for name, t in self.joined.state_dict().items()}
        content = save(state, metadata=self._label())
        write_atomically(Path(path), lambda file: file.write(content))

    def load(self, path: str | os.PathLike) -> TransferredFeatures:
        """Load what `save` has written and return the network.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is no safetensors file (a pickle is refused: opening it could run code), or its
            weights belong to other connections or to another source network.
        """
        from safetensors import SafetensorError, safe_open

        guards.is_file(path)
        try:
            with safe_open(path, framework="pt") as file:
                label, state = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"{path} cannot be read as safetensors ({error}); a pickle is not opened"
            ) from error
        for key, own in self._label().items():
            if label.get(key) != own:
                raise ValueError(f"{path} was trained with another {key}: {label.get(key)!r}, here {own!r}")
        try:
            self.joined.load_state_dict(state)
        except RuntimeError as error:
            raise ValueError(f"{path} holds the weights of another target: {error}") from error
        return self


def _input_scale(model: nn.Module | str) -> nn.Module:
    """Return what scales the images: those of a network by name as its weights expect, others not at all."""
    if isinstance(model, nn.Module):
        return nn.Identity()
    info = pretrained.describe(model)
    return Standardise(info.mean, info.std)


def _scaled(model: nn.Module, scale: nn.Module, x: Tensor) -> Tensor:
    """Scale images; those of other channels than the network's stay, so that it can refuse them."""
    return scale(x) if input_channels(model) in (None, x.shape[1]) else x


def _run_scaled(model: nn.Module, scale: nn.Module, x: Tensor) -> Tensor:
    """Run a network on scaled images."""
    return run_network(model, _scaled(model, scale, x))


def _logits_alone(_network: nn.Module, _inputs: Any, outputs: Any) -> Tensor:
    """Leave out what auxiliary heads say during training; a hook."""
    return getattr(outputs, "logits", outputs)


def _at_every_place(added: Tensor, features: Tensor) -> Tensor:
    """Shape what enters a head so that it is added at every place of maps, where the head takes maps."""
    return added.view(*added.shape, *[1] * (features.ndim - added.ndim))


def _is_map(shape: Sequence[int], image_shape: Sequence[int]) -> bool:
    """Say whether a shape reads (channels, height, width) rather than (height, width, channels).

    Height and width must stand to each other as those of the images do; where they are not equal, up to the
    rounding of one. As many channels as columns deceive it.
    """
    height, width = image_shape[-2:]
    return abs(shape[-2] - shape[-1] * height / width) <= (height != width)


def _places(target: nn.Module, x: Tensor, head: str) -> tuple[dict[str, tuple[int, ...]], dict[str, int]]:
    """Return the maps before the head that mapped features can be added to, in order, and the calls.

    Raises
    ------
    ValueError
        There is none.
    """
    maps, calls = maps_of(target, x)
    names = [*maps]
    before = names[: names.index(head)] if head in names else names  # SqueezeNet's head gives a map, too
    found = {n: maps[n] for n in before if calls[n] == 1 and _is_map(maps[n], x.shape[1:])}
    if not found:
        raise ValueError(
            f"{type(target).__name__} gives no map of (channels, height, width) larger than 1×1 before its "
            "head that is called once; use mapping='linear'"
        )
    return found, calls


def _fresh(name: str, seed: int) -> nn.Module:
    """Return torchvision's network `name` with random weights, without auxiliary heads: no loss is theirs."""
    pretrained.describe(name)
    with seeded(seed):
        model = pretrained.build(name)
    for auxiliary in find_heads(model)[1:]:
        setattr(model, auxiliary.partition(".")[0], None)
        model.aux_logits = False
    return model


def _labelled(part: Labelled | Iterable, num_classes: int) -> Labelled:
    """Return `Labelled` examples as they are, and the batches (x, y) of a loader as such.

    Raises
    ------
    TypeError
        It is neither.
    """
    if isinstance(part, Labelled):
        return part
    try:
        batches = [(x, y) for x, y in part]
    except (TypeError, ValueError) as error:
        raise TypeError(f"received {type(part).__name__}; expected Labelled or batches (x, y)") from error
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return Labelled(x, y, num_classes)
