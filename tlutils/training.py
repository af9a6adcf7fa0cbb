"""The one training loop of the book, and the one evaluation; the data stay on the device as one tensor."""

from __future__ import annotations

import copy
import functools
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from tqdm.auto import tqdm

from tlutils import guards
from tlutils.domains import Labelled, TestSet
from tlutils.files import read_checkpoint, write_checkpoint
from tlutils.metrics import accuracy, confusion_matrix
from tlutils.runtime import autocast_dtype, best_device, new_generator, out_of_memory_advice, seeded

__all__ = ["Evaluation", "History", "batch_indices", "evaluate", "fit"]

SCHEDULES = ("constant", "cosine", "step")


def _rate_factor(schedule: str, progress: float) -> float:
    """Return the factor on the learning rate after the share `progress` in [0, 1] of all steps."""
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "step":
        return 0.1 ** ((progress >= 0.5) + (progress >= 0.75))
    return 1.0


@dataclass
class History:
    """What happened while `fit` ran.

    Attributes
    ----------
    train_loss
        Loss of every step, in nats for cross-entropy.
    validation_steps, validation_accuracy
        After which steps the validation set was looked at, and the accuracy found, in [0, 1].
    best_step
        The step of the best look at the validation set, the first of equals; None without one.
    num_steps
        Steps done. Fewer than asked for after early stopping.
    duration_s
        Seconds of training, over all sittings.
    """

    train_loss: list[float] = field(default_factory=list)
    validation_steps: list[int] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)
    best_step: int | None = None
    num_steps: int = 0
    duration_s: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the history as plain lists and numbers, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Evaluation:
    """The answer of a model on a test set, with the labels it was measured against.

    Attributes
    ----------
    accuracy
        Share of right predictions, in [0, 1].
    predictions, labels
        Class indices (n,), on the CPU. Here the seal of a `TestSet` ends: do not train on these labels.
    probabilities
        Softmax of the logits (n, num_classes), on the CPU.
    confusion
        Counts by true class (row) and predicted class (column).
    """

    accuracy: float
    predictions: Int[Tensor, " n"]
    labels: Int[Tensor, " n"]
    probabilities: Float[Tensor, "n num_classes"]
    confusion: Int[Tensor, "num_classes num_classes"]


def evaluate(
    model: nn.Module,
    data: TestSet | Labelled,
    *,
    batch_size: int = 1024,
    device: torch.device | str | None = None,
) -> Evaluation:
    """Measure `model` on held-out examples, always in float32.

    The model's mode (training or evaluation), buffers and `requires_grad` flags are left as they were found
    (its parts take the mode of the whole), and it stays on `device`; every example is counted exactly once.

    Parameters
    ----------
    model
        Gives logits (n, num_classes).
    data
        A sealed `TestSet`, or `Labelled` examples such as a validation part.
    batch_size
        Examples per forward pass, at least 1; it changes memory, not the result.
    device
        Where to compute; by default the best device of the machine.

    Raises
    ------
    TypeError
        If `data` is neither a `TestSet` nor `Labelled`.
    ValueError
        If `batch_size` is below 1, the device is not there, or the network cannot take examples of this
        shape.
    MemoryError
        If the device's memory does not suffice; says which batch size to try.
    """
    if not isinstance(data, TestSet | Labelled):
        raise TypeError(f"evaluate got {type(data).__name__}; expected a TestSet or Labelled examples")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; expected at least 1")
    guards.has_device(device)
    labelled = data._open() if isinstance(data, TestSet) else data
    device = best_device() if device is None else torch.device(device)
    was_training = model.training
    model.to(device).eval()
    try:
        with torch.no_grad():
            batches = [
                _forward(model, x.to(device), labelled.num_classes).float().cpu()
                for x in labelled.x.split(batch_size)
            ]
    except torch.OutOfMemoryError as error:
        raise MemoryError(out_of_memory_advice(batch_size, device)) from error
    finally:
        model.train(was_training)
    logits = torch.cat(batches)
    predictions = logits.argmax(dim=1)
    return Evaluation(
        accuracy=accuracy(predictions, labelled.y),
        predictions=predictions,
        labels=labelled.y,
        probabilities=logits.softmax(dim=1),
        confusion=confusion_matrix(predictions, labelled.y, labelled.num_classes),
    )


def _forward(model: nn.Module, x: Tensor, num_classes: int) -> Tensor:
    """Return the logits; turn a shape that the network cannot take into a message that says so."""
    guards.has_image_size(model, x)
    try:
        logits = model(x)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        guards.has_the_dtype_of(model, x, error)
        guards.has_size_and_channels(model, x)
        raise ValueError(
            f"the network cannot take examples of shape {tuple(x.shape[1:])}: {error}. "
            "Load the domain with the size= and channels= that the network was built for."
        ) from error
    guards.is_tensor(logits)
    if logits.shape != (len(x), num_classes):
        guards.has_outputs(logits, num_classes)
        raise ValueError(
            f"the network gives outputs of shape {tuple(logits.shape)} for {len(x)} examples of "
            f"{num_classes} classes; expected ({len(x)}, {num_classes}). Use models.replace_head."
        )
    return logits


class _Trainer:
    """Everything that changes from step to step, so that it can be saved and taken up again."""

    def __init__(
        self,
        model: nn.Module,
        groups: list[dict[str, Any]],
        *,
        optimizer: str,
        learning_rate: float,
        momentum: float,
        weight_decay: float,
        factor: Callable[[int], float],
        device: torch.device,
        dtype: torch.dtype | None,
    ) -> None:
        self.model, self.device, self.dtype = model, device, dtype
        if optimizer == "adamw":
            self.optimizer = torch.optim.AdamW(groups, lr=learning_rate, weight_decay=weight_decay)
        else:
            self.optimizer = torch.optim.SGD(
                groups, lr=learning_rate, momentum=momentum, weight_decay=weight_decay
            )
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor)
        # Only float16 needs its loss scaled: its smallest positive number is 6e-8, bfloat16's is 1e-38.
        self.scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        self.history = History()
        self.best_weights: dict[str, Tensor] | None = None

    def step(self, compute_loss: Callable[[], Tensor]) -> None:
        """Take one optimiser step down the loss."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            loss = compute_loss()
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        guards.is_finite_loss(loss, self.history.num_steps, self.optimizer.param_groups)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        self._record(loss.item())

    def _record(self, loss: float) -> None:
        """Append the loss; stop at once if it is no number."""
        step = self.history.num_steps
        if not math.isfinite(loss):
            rates = [group["lr"] for group in self.optimizer.param_groups]
            raise FloatingPointError(
                f"the loss is {loss} at step {step} (learning rates {rates}). Lower the learning rate, "
                "check the inputs for extreme values, or pass mixed_precision=False."
            )
        self.history.train_loss.append(loss)
        self.history.num_steps = step + 1

    def validate(self, validation: Labelled) -> None:
        """Look at the validation set and keep the weights if they are the best so far."""
        found = evaluate(self.model, validation, device=self.device).accuracy
        history = self.history
        if not history.validation_accuracy or found > max(history.validation_accuracy):
            history.best_step = history.num_steps
            self.best_weights = copy.deepcopy(self.model.state_dict())
        history.validation_steps.append(history.num_steps)
        history.validation_accuracy.append(found)

    def is_out_of_patience(self, patience: int | None) -> bool:
        """Say whether the last `patience` looks at the validation set brought nothing better."""
        found = self.history.validation_accuracy
        return patience is not None and bool(found) and len(found) - 1 - found.index(max(found)) >= patience

    def save(self, path: Path, fingerprint: str) -> None:
        """Write the whole state of the training to `path`."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": self.history.to_dict(),
            "best_weights": self.best_weights,
            "random": torch.get_rng_state(),  # dropout masks and augmentation
        }
        if self.device.type == "cuda":
            state["cuda_random"] = torch.cuda.get_rng_state(self.device)
        write_checkpoint(path, fingerprint, state)

    def load(self, path: Path, fingerprint: str) -> None:
        """Take up the training saved at `path`."""
        state = read_checkpoint(path, fingerprint, self.device)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.scaler.load_state_dict(state["scaler"])
        self.history = History(**state["history"])
        self.best_weights = state["best_weights"]
        torch.set_rng_state(state["random"].cpu())
        if "cuda_random" in state:
            torch.cuda.set_rng_state(state["cuda_random"].cpu(), self.device)


def batch_indices(num_examples: int, batch_size: int, step: int, seed: int) -> Int[Tensor, " batch"]:
    """Return the examples of one step: a fresh shuffle every epoch, without its incomplete batch.

    The shuffle depends on the seed and the epoch alone, so that a resumed training needs no memory of it.

    >>> sorted(torch.cat([batch_indices(4, 2, step, seed=0) for step in (0, 1)]).tolist())
    [0, 1, 2, 3]
    """
    batches_per_epoch = max(1, num_examples // batch_size)
    epoch, batch = divmod(step, batches_per_epoch)
    return _shuffle(num_examples, epoch, seed)[batch * batch_size : (batch + 1) * batch_size]


@functools.lru_cache(maxsize=2)  # one order for all steps of an epoch: shuffling costs more than a small step
def _shuffle(num_examples: int, epoch: int, seed: int) -> Tensor:
    """Return the order of the examples in one epoch."""
    return torch.randperm(num_examples, generator=new_generator(seed * 1_000_003 + epoch))


def _check_train(train: object, validation: object, **positive: float | int) -> None:
    """Raise TypeError or ValueError unless the arguments of `fit` make a training."""
    if isinstance(validation, TestSet):
        raise TypeError(
            "validation is a TestSet: choosing weights on it would flatter the test. Pass a validation part."
        )
    if isinstance(train, TestSet):
        raise TypeError("fit got a TestSet: test labels are for evaluate alone. Pass Labelled training data.")
    if not isinstance(train, Labelled):
        raise TypeError(
            f"fit got {type(train).__name__}; expected Labelled examples, for example domain.train "
            "or pair.target.label_budget(5)"
        )
    if len(train.y.unique()) < 2:
        raise ValueError(f"all {len(train)} labels are class {int(train.y[0])}; one class cannot be learned")
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; expected a positive number")


def _trainable_groups(model: nn.Module, groups: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """Return the optimiser's parameter groups without frozen parameters."""
    chosen = [{"params": list(model.parameters())}] if groups is None else groups
    chosen = [{**group, "params": [p for p in group["params"] if p.requires_grad]} for group in chosen]
    if not any(group["params"] for group in chosen):
        raise ValueError(
            "nothing to train: every parameter has requires_grad=False. Freeze first and replace the head "
            "afterwards, or unfreeze the head: for p in model.head.parameters(): p.requires_grad = True"
        )
    return [group for group in chosen if group["params"]]


def _run(
    trainer: _Trainer,
    take_step: Callable[[int], None],
    num_steps: int,
    *,
    progress: bool,
    validation: Labelled | None,
    validate_every: int,
    patience: int | None,
    save: Callable[[], None] | None,
    save_every: int,
) -> None:
    """Do the steps that are left, looking at the validation set and saving on the way."""
    history = trainer.history
    started = time.perf_counter() - history.duration_s
    for step in tqdm(range(history.num_steps, num_steps), disable=not progress, unit="step"):
        if validation is not None and trainer.is_out_of_patience(patience):
            break
        take_step(step)
        is_last = step + 1 == num_steps
        if validation is not None and ((step + 1) % validate_every == 0 or is_last):
            trainer.validate(validation)
        history.duration_s = time.perf_counter() - started
        if save is not None and (step + 1) % save_every == 0 and not is_last:
            save()


def fit(
    model: nn.Module,
    train: Labelled,
    *,
    num_steps: int,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    optimizer: str = "adamw",
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    schedule: str = "constant",
    parameter_groups: list[dict[str, Any]] | None = None,
    augment: Callable[[Tensor], Tensor] | None = None,
    loss_term: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
    x_target: Float[Tensor, "n ..."] | None = None,
    validation: Labelled | None = None,
    validate_every: int | None = None,
    keep_best: bool = True,
    patience: int | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    checkpoint_every: int = 200,
    mixed_precision: bool = True,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> History:
    r"""Train `model` in place by minimising cross-entropy, plus an optional term on unlabelled target data.

    .. math:: L = -\tfrac1n \sum_i \log p_{y_i}(x_i) + \text{loss\_term}(\text{model}, x, x_{\text{target}})

    Parameters
    ----------
    model
        Gives logits. It is moved to the device and left in the mode in which it came.
    train
        Labelled examples: a source's training part, or a target's explicit label budget.
    num_steps
        Optimiser steps, at least 1.
    batch_size
        Examples per step, at least 1; all of them where there are fewer.
    learning_rate
        Step size, positive, for every group of parameters without an ``"lr"`` of its own.
    optimizer
        ``"adamw"`` or ``"sgd"`` (with `momentum`).
    momentum
        In [0, 1), for SGD only.
    weight_decay
        At least 0.
    schedule
        ``"constant"``, ``"cosine"`` (to zero) or ``"step"`` (a tenth at half, a hundredth at three quarters).
    parameter_groups
        PyTorch's own format, ``[{"params": [...], "lr": 1e-4}, ...]``. Frozen parameters are left out.
    augment
        Changes a batch of images before the network sees it; draws from torch's global generator.
    loss_term, x_target
        Called with the model, the batch of source examples and a batch of these target examples, unlabelled.
    validation
        Examples on which the best weights are chosen. None: no looks, the last weights stay.
    validate_every, keep_best
        Steps between two looks, by default one epoch; whether to end with the weights of the best look.
    patience
        Stop after so many looks without a better accuracy. None: never.
    seed
        Of shuffles, dropout and augmentation.
    checkpoint
        A file: an interrupted training leaves it, and the same call takes up from it, on the CPU to the same
        bits; removed at the end. Refused are another number of steps or examples, batch size, rate or seed;
        other changes (weight decay, rates of groups, other data of that size) are not noticed: delete it.
    checkpoint_every
        Steps between two writes of `checkpoint`.
    mixed_precision
        Compute in bfloat16 or float16 where the device gains by it (`runtime.autocast_dtype`).
    device, progress
        Where to train, by default on the best device of the machine; whether to show a progress bar.

    Returns
    -------
    The losses, the validation accuracies and the time.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind, such as a `TestSet` to train or to choose on.
        If a number is out of range, a name is unknown, source and target do not fit, only one class is
        present, nothing is trainable, the device is not there, the network does not fit the data, or the
        checkpoint is not this training's.
    FloatingPointError, MemoryError
        The loss is no finite number (that step is not taken); memory does not suffice.
    """
    _check_train(train, validation, batch_size=batch_size, num_steps=num_steps, learning_rate=learning_rate)
    if schedule not in SCHEDULES or optimizer not in ("adamw", "sgd"):
        raise ValueError(f"got {optimizer=}, {schedule=}; expected 'adamw' or 'sgd', one of {SCHEDULES}")
    if (loss_term is None) != (x_target is None):
        raise ValueError("loss_term and x_target go together: pass both or neither")
    guards.has_device(device)
    guards.is_momentum(momentum)
    guards.are_settings(num_steps, batch_size, seed, patience, validate_every)
    guards.are_files_and_looks(checkpoint, checkpoint_every, validation)
    guards.are_target_examples(x_target, train.x)
    device = best_device() if device is None else torch.device(device)
    guards.fits_in_memory(train.x, device)
    x, y = train.x.to(device), train.y.to(device)
    x_target = None if x_target is None else x_target.to(device)
    was_training = model.training
    model.to(device, memory_format=torch.channels_last).train()
    trainer = _Trainer(
        model, _trainable_groups(model, parameter_groups), optimizer=optimizer, device=device,
        learning_rate=learning_rate, momentum=momentum, weight_decay=weight_decay,
        factor=lambda step: _rate_factor(schedule, step / num_steps),
        dtype=autocast_dtype(device) if mixed_precision else None,
    )  # fmt: skip
    fingerprint = f"{num_steps=} {batch_size=} {learning_rate=} {optimizer=} {schedule=} {seed=} n={len(x)}"

    def take_step(step: int) -> None:
        batch = batch_indices(len(x), batch_size, step, seed).to(device)
        inputs = x[batch] if augment is None else augment(x[batch])

        def compute_loss() -> Tensor:
            loss = functional.cross_entropy(_forward(model, inputs, train.num_classes), y[batch])
            if loss_term is None:
                return loss
            chosen = batch_indices(len(x_target), batch_size, step, seed + 1).to(device)
            return loss + loss_term(model, inputs, x_target[chosen])

        trainer.step(compute_loss)

    try:
        with seeded(seed):
            if checkpoint is not None and checkpoint.exists():
                trainer.load(checkpoint, fingerprint)
            _run(
                trainer, take_step, num_steps, progress=progress, patience=patience, validation=validation,
                validate_every=validate_every or max(1, len(x) // batch_size),
                save=None if checkpoint is None else lambda: trainer.save(checkpoint, fingerprint),
                save_every=checkpoint_every,
            )  # fmt: skip
    except torch.OutOfMemoryError as error:
        raise MemoryError(out_of_memory_advice(batch_size, device)) from error
    finally:
        model.train(was_training)
    if keep_best and trainer.best_weights is not None:
        model.load_state_dict(trainer.best_weights)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return trainer.history
