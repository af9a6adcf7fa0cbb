"""Checks of generated examples, of scores and of what a game between two networks is given."""

from __future__ import annotations

import inspect
import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tlutils.extraction import in_evaluation, run_network

__all__ = [
    "are_conditions",
    "are_scores",
    "critics_take",
    "curves_are_finite",
    "domains_fit",
    "features_are_finite",
    "fits_buffer",
    "gradient_is_finite",
    "has_noise_length",
    "holds_examples",
    "is_image_of",
    "is_loss_weight",
    "is_square_size",
    "is_told",
    "look_alike",
    "network_takes",
    "players_are_finite",
    "reader_knows",
    "reader_reads",
    "reader_takes",
]

# What a step of the autograd graph is called without its "Backward0".
BOUNDED = {"Sigmoid", "Softmax", "LogSigmoid", "LogSoftmax", "Hardsigmoid"}
REARRANGING = {
    "Alias", "Cat", "Clone", "Expand", "Index", "Mean", "Permute", "ReshapeAlias", "Select", "Slice",
    "Split", "Squeeze", "Stack", "T", "ToCopy", "Transpose", "Unbind", "UnsafeView", "Unsqueeze", "View",
}  # fmt: skip
SHIFTING = {"Add", "Rsub", "Sub"}  # with a number; with a second tensor they are more than a shift


def holds_examples(name: str, examples: Tensor | None) -> None:
    """Refuse a set of examples (n, ...) that is empty or holds NaN; None, where there is no set, passes.

    Raises
    ------
    ValueError
        Names the set, says how many examples are wrong, and what to do.

    Examples
    --------
    >>> holds_examples("x_target", torch.zeros(1, 2))
    """
    if examples is not None and len(examples) == 0:
        raise ValueError(
            f"{name} is empty: it has shape {tuple(examples.shape)}; expected at least one example. Look at "
            "the split, the filter or the label budget that it comes from."
        )
    if examples is not None and not torch.isfinite(examples).all():
        for is_bad in [~torch.isfinite(examples).reshape(len(examples), -1).all(dim=1)]:
            raise ValueError(
                f"{name} holds NaN or infinite values in {int(is_bad.sum())} of {len(examples)} examples; "
                "expected finite numbers. Remove these examples; if a generator made them, it has diverged: "
                "train it again at a lower learning rate."
            )


def features_are_finite(features: Iterable[Tensor] | Mapping[str, Tensor]) -> None:
    """Refuse features, or sums over them, that are not finite although the examples are.

    Raises
    ------
    ValueError
        Says where that comes from.

    Examples
    --------
    >>> features_are_finite([torch.zeros(2, 3), torch.ones(2, 3)])
    """
    for values in features.values() if isinstance(features, Mapping) else features:
        if not torch.isfinite(values).all():
            raise ValueError(
                "the reader gives NaN or infinite features for finite images; expected finite ones. Give it "
                "pixels in [0, 1], or train it again: its weights may be NaN."
            )


def curves_are_finite(history: Any) -> None:
    """Refuse to judge the curves of an `AdversarialHistory` with NaN, which no limit would catch.

    Raises
    ------
    ValueError
        Names the curve, how often, and the first place.

    Examples
    --------
    >>> from tlutils.generative import AdversarialHistory
    >>> curves_are_finite(AdversarialHistory(share_right=[0.5, None], generator_gradient=[1.0, 0.9]))
    """
    for name, curve in (
        ("share_right", history.share_right),
        ("generator_gradient", history.generator_gradient),
        ("watched['diversity']", history.watched.get("diversity", ())),
    ):
        for bad in [[i for i, value in enumerate(curve) if value is not None and not math.isfinite(value)]]:
            if bad:
                raise ValueError(
                    f"{name} is NaN or infinite in {len(bad)} of {len(curve)} entries, first at index "
                    f"{bad[0]}; expected finite numbers. The training has diverged: train again at a lower "
                    "learning rate."
                )


def is_loss_weight(name: str, weight: float) -> None:
    """Refuse NaN, infinity and negative numbers where a loss has its weight.

    Raises
    ------
    ValueError
        Names it, and says what came.

    Examples
    --------
    >>> is_loss_weight("cycle", 10.0)
    """
    if not (isinstance(weight, numbers.Real) and 0 <= weight < math.inf):
        raise ValueError(f"{name} is {weight!r}; expected a finite number of at least 0, the loss's weight")


def is_square_size(image_size: object) -> None:
    """Refuse a pair, a string or None where one number is the height and the width.

    Raises
    ------
    TypeError
        Says what came, and how to write it.

    Examples
    --------
    >>> is_square_size(16)
    """
    if isinstance(image_size, bool) or not isinstance(image_size, numbers.Integral):
        raise TypeError(
            f"image_size is {image_size!r}; expected one whole number, height and width: image_size=16"
        )


def is_image_of(x: Tensor, shape: Sequence[int]) -> None:
    """Refuse images (n, ...) of another shape than (channels, height, width), whoever made them.

    Raises
    ------
    ValueError
        Says both shapes and the ways out.

    Examples
    --------
    >>> is_image_of(torch.zeros(2, 1, 16, 16), (1, 16, 16))
    """
    if tuple(x.shape[1:]) != tuple(shape):
        raise ValueError(
            f"this network was built for images of shape {tuple(shape)}, channels first, and got "
            f"{tuple(x.shape[1:])}. Load the domain with size={shape[-1]} and channels={shape[0]}; if a "
            "generator or translator made the images, build that for this shape, or this network for theirs."
        )


def has_noise_length(z: Tensor, num_latent: int) -> None:
    """Refuse noise of another length than the generator's.

    Raises
    ------
    ValueError
        Says both lengths, and how to draw noise that fits.

    Examples
    --------
    >>> has_noise_length(torch.zeros(4, 64), 64)
    """
    if z.ndim == 0 or math.prod(z.shape[1:]) != num_latent:
        raise ValueError(
            f"the noise has shape {tuple(z.shape)}; expected (n, {num_latent}). Draw it with "
            f"generator.noise(n, random), or build the generator with another num_latent."
        )


def look_alike(real: Tensor, fake: Tensor) -> None:
    """Refuse generated examples of another shape than the real ones that they are played against.

    Raises
    ------
    ValueError
        Says both shapes and the two ways out.

    Examples
    --------
    >>> look_alike(torch.zeros(4, 2), torch.ones(3, 2))
    """
    for wanted, made in [(tuple(real.shape[1:]), tuple(fake.shape[1:]))]:
        if wanted != made:
            raise ValueError(
                f"the generator makes examples of shape {made}, and the real ones (x) have shape {wanted}; "
                f"expected one shape. Build the generator for {wanted} (image_size, channels, num_outputs), "
                f"or load the real examples in shape {made}."
            )


def network_takes(what: str, network: nn.Module, name: str, x: Tensor) -> None:
    """Refuse examples of a shape for which a network was not built, as its first layer tells.

    One that takes them all the same, because it changes them first, is shown one example and passes.

    Raises
    ------
    ValueError
        Names the network, the examples and both shapes.

    Examples
    --------
    >>> network_takes("the translator", nn.Conv2d(3, 1, 1), "x", torch.zeros(2, 3, 8, 8))
    """
    for layer in network.modules():
        if isinstance(getattr(layer, "shape", None), tuple) or isinstance(layer, nn.Conv2d | nn.Linear):
            break
    else:
        return
    for built_for in [
        layer.shape if isinstance(getattr(layer, "shape", None), tuple)
        else (layer.in_channels, *x.shape[2:]) if isinstance(layer, nn.Conv2d) and x.ndim == 4
        else (layer.in_features,) if isinstance(layer, nn.Linear) and x.ndim == 2
        else tuple(x.shape[1:])
    ]:  # fmt: skip
        if built_for == tuple(x.shape[1:]):
            return
        try:  # without autocast: what it caches of the weights belongs to the training around
            with in_evaluation(network), torch.autocast(x.device.type, enabled=False):
                network(x[:1].to(next(network.parameters(), x)))
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"{what} was built for {'points' if x.ndim == 2 else 'images'} of shape {built_for}"
                f"{', channels first,' * (x.ndim > 2)} and got {tuple(x.shape[1:])} for {name}. Load or make "
                f"{name} in the first shape, or build {what} for the second."
            ) from error


def domains_fit(translators: Any, x: Tensor, x_target: Tensor) -> None:
    """Refuse a domain that its translator cannot take; see `network_takes`.

    Raises
    ------
    ValueError
        Names the domain and the translator.

    Examples
    --------
    >>> domains_fit(dict.fromkeys(["to_target", "to_source"], nn.Linear(2, 2)), *torch.zeros(2, 4, 2))
    """
    network_takes("the translator to_target", translators["to_target"], "x", x)
    network_takes("the translator to_source", translators["to_source"], "x_target", x_target)


def critics_take(critics: Any, real: Mapping[str, Tensor], fake: Mapping[str, Tensor]) -> None:
    """Refuse real examples and translations that the critic of their domain cannot take; see `network_takes`.

    Raises
    ------
    ValueError
        Names the critic and the examples.

    Examples
    --------
    >>> two = [dict.fromkeys(["source", "target"], value) for value in (nn.Linear(2, 1), torch.zeros(4, 2))]
    >>> critics_take(two[0], two[1], two[1])
    """
    for domain, name in (("source", "x"), ("target", "x_target")):
        network_takes(f"critic_{domain}", critics[domain], name, real[domain])
        network_takes(f"critic_{domain}", critics[domain], f"the output of to_{domain}", fake[domain])


def fits_buffer(fake: Tensor, images: Tensor) -> None:
    """Refuse translations of another shape than the places of the buffer that is to keep them.

    Raises
    ------
    ValueError
        Says both shapes, and how to build the buffer.

    Examples
    --------
    >>> fits_buffer(torch.zeros(4, 1, 8, 8), torch.zeros(50, 1, 8, 8))
    """
    if fake.shape[1:] != images.shape[1:]:
        raise ValueError(
            f"the buffer has places for images of shape {tuple(images.shape[1:])} and got "
            f"{tuple(fake.shape[1:])}; build it as ImageBuffer({len(images)}, {tuple(fake.shape[1:])}). In "
            "buffers= that for the target comes first."
        )


def reader_takes(reader: Any, images: Tensor) -> None:
    """Refuse images that a classifier has no features for; it is shown the first one.

    Raises
    ------
    ValueError
        Says their shape and what to do.

    Examples
    --------
    >>> from tlutils.models import Classifier
    >>> reader_takes(Classifier(nn.Flatten(), nn.Linear(4, 2)), torch.zeros(3, 1, 2, 2))
    """
    try:
        with in_evaluation(reader):
            reader.features(images[:1])
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"the reader does not take images of shape {tuple(images.shape[1:])} ({error}). Give it images "
            "of the size and channels that it was trained on, on its device."
        ) from error


def reader_reads(reader: nn.Module, fake: Mapping[str, Tensor]) -> None:
    """Refuse a reader for the semantic loss that cannot read what is translated to the target's style.

    Raises
    ------
    ValueError
        Names the translator and both shapes.

    Examples
    --------
    >>> reader_reads(nn.Linear(2, 10), {"target": torch.zeros(4, 2)})
    """
    network_takes("the reader of the semantic loss", reader, "the output of to_target", fake["target"])


def reader_knows(reader: nn.Module, images: Tensor, y: Tensor) -> None:
    """Refuse classes that a reader has no output for; it is shown the first image.

    Raises
    ------
    TypeError
        If `y` is no tensor.
    ValueError
        Says both ranges.

    Examples
    --------
    >>> reader_knows(nn.Linear(3, 2), torch.zeros(2, 3), torch.tensor([0, 1]))
    """
    if not isinstance(y, Tensor):
        raise TypeError(f"y is a {type(y).__name__}; expected a tensor of class indices: torch.as_tensor(y)")
    with in_evaluation(reader):
        for logits in [run_network(reader, images[:1].to(next(reader.parameters(), images).device))]:
            if len(y) and not 0 <= y.min() <= y.max() < logits.shape[1]:
                raise ValueError(
                    f"y asks for classes from {y.min()} to {y.max()}; the reader knows 0 to "
                    f"{logits.shape[1] - 1}. Take a reader that was trained on these classes, or renumber y."
                )


def are_conditions(y: object) -> None:
    """Refuse classes that no conditional network can be told; None, where there are none, passes.

    Raises
    ------
    TypeError
        Says what came, and how to make class indices of it.

    Examples
    --------
    >>> are_conditions(torch.tensor([0, 3]))
    """
    if y is not None and not isinstance(y, Tensor):
        raise TypeError(f"y is a {type(y).__name__}; expected class indices: torch.as_tensor(y)")
    if y is not None and y.dtype != torch.int64:
        raise TypeError(f"y has dtype {y.dtype}; expected class indices, torch.int64: pass y.long()")


def is_told(what: str, network: nn.Module, y: object) -> None:
    """Refuse a network that takes no classes where it is told them, and one that needs them where it is not.

    Raises
    ------
    ValueError
        Says which, and what to do.

    Examples
    --------
    >>> from tlutils.generative import conditional_critic, point_critic
    >>> is_told("the discriminator", point_critic(), None)
    >>> is_told("the discriminator", conditional_critic(), torch.tensor([3, 9]))
    """
    if hasattr(network, "num_classes") is (y is not None):
        return  # looked at first, because a signature takes longer
    try:
        inspect.signature(network.forward).bind(*["noise", "classes"][: 1 if y is None else 2])
    except TypeError as error:
        raise ValueError(
            f"{what} ({type(network).__name__}) has to be told the class of each example, and was not. Play "
            "ConditionalGame with y= in fit_game, and pass y= to generate."
            if y is None
            else f"{what} ({type(network).__name__}) takes no classes, and was told them. Build both players "
            "with conditional_generator and conditional_critic; or play Game, and call generate without y."
        ) from error


def are_scores(scores: Tensor) -> None:
    """Refuse scores that come out of a sigmoid or softmax, as the graph of their gradient tells.

    Steps that only rearrange, average or shift numbers are looked behind, wherever in ``forward`` they stand.

    Raises
    ------
    ValueError
        Names what bounds them.

    Examples
    --------
    >>> are_scores(nn.Linear(2, 1)(torch.zeros(3, 2)).squeeze(1))
    """
    for steps in [[scores.grad_fn]]:
        for step in steps:  # which grows meanwhile
            for name, before in [
                (
                    re.sub(r"Backward\d*$", "", type(step).__name__),
                    [node for node, _ in getattr(step, "next_functions", ()) if node is not None],
                )
            ]:
                if name in BOUNDED:
                    raise ValueError(
                        f"the discriminator's scores come out of {name}; expected unbounded scores. The "
                        "losses apply the sigmoid themselves, and a critic has none: leave it out (losses of "
                        "your own: take them with logits)."
                    )
                if name in REARRANGING or (name in SHIFTING and len(before) == 1):
                    steps.extend(before)


def gradient_is_finite(
    norm: Tensor, generator: nn.Module, dtype: torch.dtype | None, num_rounds: int
) -> None:
    """Refuse a generator's gradient with NaN or infinite entries before Adam carries them into the weights.

    In float16 they are expected at times: the scaler of the losses then leaves the step out.

    Raises
    ------
    FloatingPointError
        Says in which round, and what to do.

    Examples
    --------
    >>> gradient_is_finite(torch.tensor(0.5), nn.Linear(2, 2), None, 7)
    """
    if dtype == torch.float16 or torch.isfinite(norm):
        return
    for weight in generator.parameters():
        if weight.grad is not None and not torch.isfinite(weight.grad).all():
            raise FloatingPointError(
                f"the generator's gradient holds NaN or infinite values in round {num_rounds}, though its "
                "loss is finite. Look in the loss for a root or a quotient at 0, lower the learning rate, or "
                "pass mixed_precision=False."
            )


def players_are_finite(game: Any, name: str, loss: float, done: int) -> None:
    """Refuse players whose weights hold NaN or infinite values, where a loss has shown it or at the end ("").

    Raises
    ------
    FloatingPointError
        Names the player whose weights they are.

    Examples
    --------
    >>> from tlutils.generative import Game, point_critic, point_generator
    >>> players_are_finite(Game(point_generator(), point_critic()), "generator", 0.7, 100)
    """
    for seen in [f"the {name}'s loss is {loss} in round {done}" if name else f"after {done} rounds"]:
        for player in () if math.isfinite(loss) else ("discriminator", "generator"):
            for weight in getattr(game, player).parameters():
                if not torch.isfinite(weight).all():
                    raise FloatingPointError(
                        f"{seen}: the {player}'s weights hold NaN or infinite values, since its last step or "
                        "from the start. Lower its learning rate, look in its loss for a root or a quotient "
                        "at 0, or pass mixed_precision=False."
                    )
