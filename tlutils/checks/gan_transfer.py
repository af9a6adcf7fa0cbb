"""Checks of the exercises in the chapter on transfer with GANs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from tlutils.exercises import Wrong
from tlutils.generative import Generator
from tlutils.runtime import new_generator, seeded


def encoder_step(
    step: Callable[[nn.Module, Generator, torch.optim.Optimizer, int, torch.Generator], object],
) -> str:
    """Check one step of latent regression on a generator that can be inverted and has batch normalisation."""
    with seeded(0):
        layers = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
        encoder = nn.Linear(2, 2)
    with torch.no_grad():
        layers[0].weight.copy_(torch.tensor([[2.0, 1.0], [0.0, 1.0]]))
    generator = Generator(layers, num_latent=2).train()
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    optimizer, random = torch.optim.Adam(encoder.parameters(), lr=0.03), new_generator(0)
    first = encoder.weight.detach().clone()
    for _ in range(400):
        step(encoder, generator, optimizer, 64, random)
    if torch.equal(encoder.weight, first):
        raise Wrong("the encoder's weights have not moved: is there a backward pass and an optimiser step?")
    after = generator.state_dict()
    if any(not torch.equal(after[name], before[name]) for name, _ in generator.named_parameters()):
        raise Wrong("the generator's weights have moved; only the encoder learns.")
    if any(not torch.equal(after[name], tensor) for name, tensor in before.items()):
        raise Wrong(
            "the generator's running mean and variance have moved: batch normalisation in training mode "
            "counts every batch. Put the generator into evaluation mode."
        )
    with torch.no_grad():
        generator.eval()
        z = generator.noise(500, new_generator(1))
        error = (encoder(generator(z)) - z).square().mean().item()
    if not error <= 0.5:  # NaN, too
        raise Wrong(
            f"after 400 steps the squared error is {error:.2f}, that of always answering 0 is 1: the noise "
            "that the encoder is compared with is not the noise from which the examples were drawn."
        )
    if error > 0.01:
        raise Wrong(f"after 400 steps the squared error is still {error:.2f}; expected less than 0.01.")
    return "the encoder reads off the noise that made an example, and the generator is as it was."


def painted_set(paint: Callable[[nn.Module, Tensor, Tensor, int], object]) -> str:
    """Check that painted examples keep their labels, and do not depend on their neighbours in the batch."""
    with seeded(0):
        translator = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).train()
        translator(3 + torch.randn(100, 3))  # running statistics that differ from those of a batch
        x, y = torch.randn(40, 3), torch.arange(40)
    before = {name: tensor.clone() for name, tensor in translator.state_dict().items()}
    found = paint(translator, x, y, 8)
    if not (isinstance(found, tuple) and len(found) == 2 and all(isinstance(part, Tensor) for part in found)):
        raise Wrong(f"you return {type(found).__name__}; expected the painted examples and their labels.")
    painted, labels = found
    if painted.shape != x.shape or sorted(labels.tolist()) != y.tolist():
        raise Wrong("examples or labels are missing or doubled: each of the 40 must come out once.")
    after = translator.state_dict()
    if any(not torch.equal(after[name], tensor) for name, tensor in before.items()):
        raise Wrong(
            "painting has changed the translator: in training mode batch normalisation counts every batch, "
            "and what a digit becomes depends on its neighbours. Put the translator into evaluation mode."
        )
    if painted.requires_grad:
        raise Wrong("the painted examples carry a graph of gradients with them: paint under torch.no_grad().")
    if not translator.training:
        raise Wrong(
            "the translator came in training mode and leaves in evaluation mode; give it back as it was."
        )
    with torch.no_grad():
        right = translator.eval()(x)
    if not torch.allclose(painted, right[labels], atol=1e-5):
        raise Wrong("an example and its label have been parted: was only one of the two shuffled?")
    return "each painted example has its own label, and is the same in every batch."


def labels_saved(count: Callable[[Sequence[int], Sequence[float], float], object]) -> str:
    """Check how many labels per class a reference needs to reach a given accuracy."""
    budgets, reference = [1, 10, 100], [0.5, 0.7, 0.9]
    cases = [
        (0.7, 10.0),
        (0.6, math.sqrt(10)),
        (0.8, math.sqrt(1000)),
        (0.5, 1.0),
        (0.3, 1.0),
        (0.95, math.inf),
    ]
    for accuracy, right in cases:
        found = count(budgets, reference, accuracy)
        if not isinstance(found, int | float) or isinstance(found, bool):
            raise Wrong(f"for an accuracy of {accuracy} you return {found!r}; expected one number.")
        if math.isclose(found, right, rel_tol=1e-6):
            continue
        if right == math.inf:
            raise Wrong(
                f"the reference never reaches {accuracy}; you return {found:.4g}, a number that was not "
                "measured. Return np.inf."
            )
        straight = {0.6: 5.5, 0.8: 55.0}
        if accuracy in straight and math.isclose(found, straight[accuracy], rel_tol=1e-6):
            raise Wrong(
                "that interpolates along the number of labels; budgets grow by factors, so interpolate "
                "along its logarithm."
            )
        raise Wrong(f"for an accuracy of {accuracy} you return {found:.4g}; expected {right:.4g}.")
    return "labels are counted by factors, and what was not reached is not made up."
