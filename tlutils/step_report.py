"""A whole report of what a training step costs: switches, batch sizes, ways to get the data."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor, nn

from tlutils.runtime import best_device, new_generator
from tlutils.step_cost import Switches, cost_table, one_at_a_time

__all__ = ["JpegImages", "step_report"]


class JpegImages(torch.utils.data.Dataset):
    """Images kept as JPEG files in memory and decoded whenever one is asked for, as ImageFolder does.

    Parameters
    ----------
    images
        RGB images in [0, 255].
    labels
        One class index per image.
    size
        Side of the squares that come out, in pixels, at least 1.

    Raises
    ------
    ValueError
        If there is not one label per image.

    Examples
    --------
    >>> image, label = JpegImages(np.zeros((1, 8, 8, 3), dtype=np.uint8), [1], size=4)[0]
    >>> image.shape, label
    (torch.Size([3, 4, 4]), 1)
    """

    def __init__(self, images: UInt8[np.ndarray, "n h w 3"], labels: Sequence[int], size: int) -> None:
        if len(images) != len(labels):
            raise ValueError(
                f"received {len(images)} images and {len(labels)} labels; expected one per image"
            )
        self.files, self.labels, self.size = [], [int(label) for label in labels], size
        for image in images:
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "JPEG", quality=90)
            self.files.append(buffer.getvalue())

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return one image (3, size, size), values in [0, 1], and its label."""
        image = Image.open(io.BytesIO(self.files[index])).resize((self.size, self.size))
        return torch.from_numpy(np.array(image)).movedim(2, 0) / 255, self.labels[index]


def step_report(
    build: Callable[[], nn.Module],
    parts: Sequence[str],
    photographs: JpegImages,
    *,
    batch_size: int,
    num_steps: int,
    batch_sizes: Sequence[int],
    compiled: bool = True,
    device: torch.device | str | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Measure one switch after the other, then batch sizes, then ways to get the data.

    Parameters
    ----------
    build
        Makes the network, for as many classes as `photographs` has labels.
    parts
        What activation checkpointing applies to.
    photographs
        What a batch is drawn from; all rows but the last two take one random batch of the same shape, which
        lies on the device already.
    batch_size
        Of all rows but those of `batch_sizes`; at least 4, since one row computes four parts.
    num_steps
        Steps of which the fastest counts, at least 1.
    batch_sizes
        One row each, at most `batch_size`.
    compiled
        Measure `torch.compile`, which takes up to a minute by itself.
    device
        By default the best device of the machine.

    Returns
    -------
    The tables ``switches``, ``batch sizes`` and ``loading``, with rows as `step_cost.cost_table` gives them.

    Raises
    ------
    ValueError
        If `batch_size` is below 4 or below one of `batch_sizes`.

    Notes
    -----
    The row of a worker needs it to start as a process; on Windows and macOS `photographs` travels there.

    Source
    ------
    Own derivation, see the chapter on fine-tuning on a GPU.
    """
    if batch_size < max([4, *batch_sizes]):
        raise ValueError(f"batch_size is {batch_size}; expected at least 4 and the largest of {batch_sizes}")
    device = best_device() if device is None else torch.device(device)
    x = torch.rand(batch_size, 3, photographs.size, photographs.size, generator=new_generator(0)).to(device)
    y = (torch.arange(batch_size) % (max(photographs.labels) + 1)).to(device)
    measure = functools.partial(cost_table, build, num_steps=num_steps, device=device)
    rows = one_at_a_time(parts) | {"both memory savers": Switches(num_parts=4, checkpointed=tuple(parts))}
    if not compiled:
        del rows["torch.compile"]
    return {
        "switches": measure(lambda: (x, y), rows),
        "batch sizes": [
            measure(lambda size=size: (x[:size], y[:size]), {f"{size}": Switches()})[0]
            for size in batch_sizes
        ],
        "loading": [
            measure(_batches(photographs, batch_size, num_workers), {name: Switches()})[0]
            for num_workers, name in ((0, "decoded in the loop"), (1, "decoded by a worker"))
        ],
    }


def _batches(photographs: JpegImages, batch_size: int, num_workers: int) -> Callable[[], Sequence[Tensor]]:
    """Return a function that gives the next batch, decoded here or by workers ahead of time."""
    endless = torch.utils.data.RandomSampler(photographs, replacement=True, num_samples=1000 * batch_size)
    loader = torch.utils.data.DataLoader(
        photographs,
        batch_size,
        sampler=endless,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader).__next__
