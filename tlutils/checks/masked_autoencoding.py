"""Checks of the exercises in the chapter on masked autoencoding."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tlutils.exercises import Wrong
from tlutils.runtime import new_generator
from tlutils.vision_transformer import random_masks


def _noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=new_generator(seed))


def _rows(values: Tensor, places: Tensor) -> Tensor:
    return torch.stack([row[chosen] for row, chosen in zip(values, places, strict=True)])


def _expect_tensor(found: object, *shape: int) -> Tensor:
    if not isinstance(found, Tensor) or tuple(found.shape) != shape:
        raise Wrong(f"expected a tensor of shape {shape}; found {getattr(found, 'shape', found)}.")
    return found


def hidden_loss(loss: Callable) -> str:
    """Check that a loss counts the hidden patches, all of them and no others."""
    guess, target = _noise(3, 8, 5, seed=0), _noise(3, 8, 5, seed=1)
    visible, masked = random_masks(3, 8, 0.75, new_generator(2))
    error = (guess - target).square().mean(dim=2)
    found = _expect_tensor(loss(guess, target, masked))
    if torch.isclose(found, error.mean()):
        raise Wrong("that is the mean over all patches: a good part of it can be had by copying the input.")
    if torch.isclose(found, _rows(error, visible).mean()):
        raise Wrong("that is the mean over the visible patches, which the network has been shown.")
    expected = _rows(error, masked).mean()
    if torch.isclose(found, expected * masked.shape[1] / 8):
        raise Wrong(
            "the right patches, divided by the number of all patches: the size changes with the share."
        )
    if torch.isclose(found, expected * masked.numel()):
        raise Wrong("that is a sum; its size depends on the batch.")
    if not torch.isclose(found, expected):
        raise Wrong("this is not the mean squared error on the hidden patches. Whose error is at `masked`?")
    return "the hidden patches alone are counted."


def own_masks(draw: Callable) -> str:
    """Check a draw of visible patches: without repetition, one for each image, by the generator alone."""
    found = _expect_tensor(draw(50, 16, 4, new_generator(0)), 50, 4)
    if found.min() < 0 or found.max() > 15:
        raise Wrong(f"patches are numbered from 0 to 15; found {int(found.min())} to {int(found.max())}.")
    if any(len(set(row.tolist())) < 4 for row in found):
        raise Wrong("an image has the same patch twice.")
    if len({tuple(row.tolist()) for row in found}) == 1:
        raise Wrong(
            "all images of the batch have one mask: the same places are guessed from the same places."
        )
    if not torch.equal(found, draw(50, 16, 4, new_generator(0))):
        raise Wrong("the same generator gives another draw: the numbers are not all drawn from `generator`.")
    if torch.equal(found, draw(50, 16, 4, new_generator(1))):
        raise Wrong("another generator gives the same draw: it is not used.")
    if len(found.unique()) < 16:
        raise Wrong("some patches are never visible.")
    return "each image has its own visible patches, and the generator decides which."


def in_order(restore: Callable) -> str:
    """Check that visible tokens and mask tokens end up where their patches are in the image."""
    encoded, mask_token = _noise(3, 4, 6, seed=0), _noise(6, seed=1)
    order = torch.rand(3, 16, generator=new_generator(2)).argsort(dim=1)
    shuffled = torch.cat([encoded, mask_token.expand(3, 12, 6)], dim=1)
    found = _expect_tensor(restore(encoded, order, mask_token), 3, 16, 6)
    if torch.equal(found, shuffled):
        raise Wrong("the tokens are still in the order of the shuffle: the first place gets `order[:, 0]`'s.")
    if torch.equal(found, _rows(shuffled, order)):
        raise Wrong("the shuffle has been done again, not undone. What sorts `order` itself?")
    if not torch.equal(found, _rows(shuffled, order.argsort(dim=1))):
        raise Wrong("token i of an image should lie at place `order[i]` of it.")
    return "each token lies where its patch was cut."


def placed_tokens(place: Callable) -> str:
    """Check that each visible token gets the position of its own patch."""
    patches, positions = _noise(3, 16, 6, seed=0), _noise(16, 6, seed=1)
    visible, _ = random_masks(3, 16, 0.75, new_generator(2))
    found = _expect_tensor(place(patches, positions, visible), 3, 4, 6)
    chosen = _rows(patches, visible)
    if torch.allclose(found, chosen):
        raise Wrong("no position at all: the encoder gets a bag of patches.")
    if torch.allclose(found, chosen + positions[:4]):
        raise Wrong("each image's k-th visible patch gets position k, wherever it was cut.")
    if not torch.allclose(found, chosen + positions[visible], atol=1e-6):
        raise Wrong("expected the patches at `visible`, each with the position of its own place, added once.")
    return "positions are chosen together with the patches."
