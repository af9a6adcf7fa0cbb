"""Figures and the laboratory of the chapter on fine-tuning on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from tlutils.metrics import confusion_matrix
from tlutils.plotting import COLOURS, DASHES, confusion, percent_axis
from tlutils.repeats import mean_interval
from tlutils.training_memory import MemoryBill

__all__ = ["cost_lines", "learning_curves", "memory_lab", "mistakes", "rate_curves", "training_lines"]

GIGABYTE = 1e9


def rate_curves(schedules: Mapping[str, Callable[..., Any]], *, num_steps: int, rate: float) -> Figure:
    """Draw the learning rate of every step, one line per schedule.

    Parameters
    ----------
    schedules
        Name → a function of an optimiser and the number of steps that returns one of torch's schedulers.
    num_steps
        Steps to draw, at least 1.
    rate
        The rate that the optimiser starts with.
    """
    figure, ax = plt.subplots(figsize=(6.4, 2.8))
    for (name, schedule), colour, dash in zip(schedules.items(), cycle(COLOURS.values()), cycle(DASHES)):
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
        scheduler, rates = schedule(optimizer, num_steps), []
        for _ in range(num_steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        ax.plot(np.arange(num_steps), rates, dash, color=colour, label=name)
    ax.set(xlabel="step", ylabel="learning rate")
    ax.legend()
    return figure


def _band(ax: Axes, runs: Sequence[Sequence[float]], colour: str, dash: str, label: str) -> None:
    """Draw the mean over runs and, shaded, from the lowest to the highest."""
    values = np.array(runs)
    epochs = np.arange(1, values.shape[1] + 1)
    ax.plot(epochs, values.mean(axis=0), dash, color=colour, label=label)
    ax.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.12, linewidth=0)


def learning_curves(histories: Mapping[str, Sequence[Sequence[Mapping[str, float]]]]) -> Figure:
    """Draw training and validation loss, and validation accuracy, over the epochs.

    Parameters
    ----------
    histories
        Name → one history per seed: a list of epochs with ``train loss``, ``loss`` and ``accuracy``.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.2))
    for (name, runs), colour in zip(histories.items(), COLOURS.values(), strict=False):
        for key, dash, part in (("train loss", ":", "training"), ("loss", "-", "validation")):
            _band(left, [[look[key] for look in run] for run in runs], colour, dash, f"{name}, {part}")
        _band(right, [[look["accuracy"] for look in run] for run in runs], colour, "-", name)
    left.set(xlabel="epoch", ylabel="loss in nats", ylim=(0, None))
    right.set(xlabel="epoch", ylabel="validation accuracy in %")
    for ax in (left, right):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    percent_axis(right.yaxis)
    left.legend(fontsize="x-small")
    right.legend(fontsize="x-small", loc="lower right")
    return figure


def mistakes(
    images: Tensor, labels: Tensor, predictions: Tensor, confidence: Tensor, class_names: Sequence[str]
) -> Figure:
    """Draw a confusion matrix and, beside it, the eight wrong answers of highest confidence.

    Parameters
    ----------
    images
        Photographs (n, 3, height, width), values in [0, 1].
    labels, predictions
        True and predicted classes (n,).
    confidence
        Probability of the predicted class (n,), in [0, 1].
    class_names
        In the order of the labels.
    """
    matrix = confusion_matrix(predictions, labels, len(class_names))
    wrong = torch.nonzero(predictions != labels).flatten()
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)[:8]].tolist()
    is_large = len(class_names) > 4
    rows, columns, width = (4, 2, 4) if is_large else (2, 4, 2)  # of the photographs; and of the matrix
    figure = plt.figure(figsize=(6.4, 4.4 if is_large else 2.9), dpi=80)  # a finer one weighs 200 kB
    grid = figure.add_gridspec(rows, columns + width)
    ax = confusion(figure.add_subplot(grid[:, :width]), matrix.numpy(), class_names)
    if is_large:
        ax.tick_params(axis="x", rotation=90)
    for place, index in enumerate(worst):
        row, column = divmod(place, columns)
        ax = figure.add_subplot(grid[row, width + column])
        ax.imshow(images[index].movedim(0, -1).numpy())
        ax.set_title(
            f"{class_names[predictions[index]]}? {100 * confidence[index]:.0f} %", fontsize="x-small"
        )
        ax.set_axis_off()
    return figure


def cost_lines(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """Return a table of `step_cost.cost_table` as text, one line per row; a skipped row says why.

    Parameters
    ----------
    rows
        With ``name``, ``step_s``, ``first_step_s``, ``peak_bytes`` and ``skipped``.
    title
        Head of the first column.
    """
    lines = [f"{title:25} {'s a step':>9} {'first step':>11} {'peak MB':>8}"]
    for row in rows:
        cost = row["skipped"]
        if not cost:
            cost = f"{row['step_s']:9.2f} {row['first_step_s']:11.1f} {row['peak_bytes'] / 1e6:8.0f}"
        lines.append(f"{row['name']:25} {cost}")
    return "\n".join(lines)


def training_lines(results: Sequence[Mapping[str, Any]]) -> str:
    """Return trainings as text, by epoch training loss and held-out accuracy, then accuracy on test images.

    Parameters
    ----------
    results
        One training each: ``way``, ``accuracy`` on test images, and as ``history`` a list of epochs with
        ``train loss`` and held-out ``accuracy``. Those of one way are averaged; several have an interval.
    """
    titles = ("training loss by epoch", "held out, in %", "test, in %")
    width = max(len(result["way"]) for result in results)
    num_epochs = len(results[0]["history"])
    spaces = (max(len(titles[0]), 5 * num_epochs - 1), max(len(titles[1]), 4 * num_epochs - 1))

    def line(name: str, losses: str, held_out: str, test: str) -> str:
        return f"{name:{width}}  {losses:{spaces[0]}}  {held_out:{spaces[1]}}  {test}"

    lines = [line("", *titles)]
    for way in dict.fromkeys(result["way"] for result in results):
        alike = [result for result in results if result["way"] == way]
        losses, held_out = (
            np.mean([[look[key] for look in result["history"]] for result in alike], axis=0)
            for key in ("train loss", "accuracy")
        )
        by_epoch = (" ".join(f"{x:4.2f}" for x in losses), " ".join(f"{100 * x:3.0f}" for x in held_out))
        test = [100 * result["accuracy"] for result in alike]
        told = f"{mean_interval(test):.0f}" if len(test) > 1 else f"{test[0]:.0f}, trained once"
        lines.append(line(way, *by_epoch, told))
    return "\n".join(lines)


def memory_lab(
    bills: Mapping[str, tuple[MemoryBill, MemoryBill]], *, capacity: float, batch_sizes: Sequence[int]
) -> dict[str, Any]:
    """Return the arguments with which `widgets.explore` shows what a step keeps in memory.

    Parameters
    ----------
    bills
        Name of a network and of what is trained → its bill at 2 and at 4 images; activations grow on a line.
    capacity
        Memory of the GPU, in bytes.
    batch_sizes
        Images per step, the values of the slider.
    """

    def parts(network: str, images: int) -> dict[str, float]:
        two, four = bills[network]
        per_image = (four.activations - two.activations) / 2
        activations = two.activations + (images - 2) * per_image
        return {"weights": two.weights, "gradients": two.gradients, "optimiser": two.optimizer_state,
                "activations": activations}  # fmt: skip

    def draw(network: str, images: int) -> Figure:
        figure, ax = plt.subplots(figsize=(6.4, 1.9))
        left = 0.0
        colours = ("blue", "sky", "orange", "vermilion")
        for (name, size), colour, hatch in zip(
            parts(network, images).items(), colours, ("", "//", "..", "xx"), strict=True
        ):
            ax.barh(0, size / GIGABYTE, left=left / GIGABYTE, color=COLOURS[colour], hatch=hatch,
                    edgecolor="white", label=name)  # fmt: skip
            left += size
        ax.axvline(capacity / GIGABYTE, color="black", linestyle="--")
        ax.text(capacity / GIGABYTE, 0.47, " the GPU", va="bottom")
        ax.set(xlabel="memory in GB", xlim=(0, 2 * capacity / GIGABYTE), ylim=(-0.5, 0.75), yticks=[])
        ax.legend(ncols=4, fontsize="x-small", loc="upper center", bbox_to_anchor=(0.5, -0.42))
        ax.grid(False)
        return figure

    def describe(network: str, images: int) -> str:
        sizes = parts(network, images)
        total = sum(sizes.values())
        share = 100 * sizes["activations"] / total
        verdict = "fits" if total <= capacity else "does not fit"
        return (
            f"{network}, {images} images of 224×224 pixels: {total / GIGABYTE:.1f} GB, of which "
            f"{share:.0f} % are activations; this {verdict} in {capacity / GIGABYTE:.0f} GB."
        )

    return {
        "draw": draw,
        "describe": describe,
        "label": "What a training step keeps in memory",
        "names": {"network": "network", "images": "images per step"},
        "network": [*bills],
        "images": [*batch_sizes],
    }
