"""Batch normalisation carried to another domain: its running statistics, measured again."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlutils import guards

__all__ = ["reestimate_statistics"]


@torch.no_grad()
def reestimate_statistics(model: nn.Module, x: Float[Tensor, "n ..."], *, batch_size: int = 256) -> nn.Module:
    r"""Measure the running means and variances of all batch normalisation layers again, on unlabelled `x`.

    .. math:: \mu = \frac1B \sum_b \mu_b, \qquad \sigma^2 = \frac1B \sum_b \sigma_b^2

    over B batches, each of which passes with its own mean and variance, as in training. No label is needed
    and no parameter changes, so that a source network can be given the statistics of a target.

    Parameters
    ----------
    model
        A network, or a part of one that takes `x`. Changed in place; layers that `model_based.freeze` holds
        are measured too, and stay frozen afterwards.
    x
        At least 2 examples.
    batch_size
        Examples per forward pass, at least 2. The variance *between* the batches' means is not counted, so
        that few large batches are better than many small ones.

    Returns
    -------
    The same model, each part in the mode (training or evaluation) in which it came.

    Raises
    ------
    ValueError
        If no layer of `model` keeps running statistics, `x` has fewer than 2 examples, is on another device
        or of a shape that `model` does not take, or `batch_size` is below 2.

    Notes
    -----
    One pass over `x`. Dropout is off and the layers' momentum plays no part. Batches are equally large, but
    for one example.

    Source
    ------
    Li, Wang, Shi, Hou, Liu, "Adaptive batch normalization for practical domain adaptation", Pattern
    Recognition 80 (2018), Algorithm 1.

    Examples
    --------
    >>> layer = reestimate_statistics(nn.BatchNorm1d(1), torch.tensor([[5.0], [7.0]]))
    >>> layer.running_mean.item(), layer.running_var.item()
    (6.0, 2.0)
    """
    layers = [m for m in model.modules() if getattr(m, "running_mean", None) is not None]
    if not layers:
        raise ValueError(f"{type(model).__name__} has no layer with running statistics; nothing to measure")
    if len(x) < 2 or batch_size < 2:
        raise ValueError(f"received {len(x)} examples and batch_size {batch_size}; expected at least 2")
    guards.is_on_the_device_of(x, model)
    guards.takes(model, x)
    modes = [(m, m.training) for m in model.modules()]
    kept = [(m, m.momentum, getattr(m, "has_frozen_statistics", None)) for m in layers]
    try:
        model.eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.momentum = None  # a plain average over the batches
            if hasattr(layer, "has_frozen_statistics"):
                layer.has_frozen_statistics = False
            layer.train()
        # One example alone has no variance, so there are at most n / 2 batches.
        num_batches = min(-(-len(x) // batch_size), len(x) // 2)
        for batch in x.tensor_split(num_batches):
            model(batch)
    finally:
        for layer, momentum, was_frozen in kept:
            layer.momentum = momentum
            if was_frozen is not None:
                layer.has_frozen_statistics = was_frozen
        for module, was_training in modes:
            module.training = was_training
    return model
