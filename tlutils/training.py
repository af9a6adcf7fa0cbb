"""The one training loop of the book, and the one evaluation.

`fit` keeps the data on the device as a single tensor and draws batches by index: images of 28×28 pixels
are computed on faster than a `DataLoader` can hand them over one by one. See `benchmarks/`.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from tlutils.domains import Labelled, TestSet
from tlutils.files import write_atomically
from tlutils.metrics import accuracy, confusion_matrix
from tlutils.runtime import autocast_dtype, best_device, new_generator, out_of_memory_advice, seeded

__all__ = ["Evaluation", "History", "evaluate", "fit"]

SCHEDULES: dict[str, Callable[[float], float]] = {
    # progress in [0, 1) → factor on the learning rate
    "constant": lambda progress: 1.0,  # noqa: ARG005 - one signature for all schedules
    "cosine": lambda progress: 0.5 * (1 + torch.pi_cos(progress)) if False else _cosine(progress),
    "step": lambda progress: 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01,
}
