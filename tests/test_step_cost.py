"""One function measures a step on whatever device is there, and says why where it cannot."""

import dataclasses
import json
import sys
import time

import numpy as np
import pytest
import torch
from torch import nn

from tlutils import models, step_cost
from tlutils.step_cost import StepCost, Switches, compile_obstacle, cost_table, one_at_a_time
from tlutils.training_memory import memory_bill

PARTS = ("backbone.stage1", "backbone.stage2")
BATCH = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0)), torch.arange(8)


def cost(switches=None, build=models.residual_network, next_batch=lambda: BATCH, **options):
    return step_cost.step_cost(build, next_batch, switches, **{"num_steps": 1, "num_warmup": 1} | options)


def test_each_switch_changes_one_thing():
    rows = one_at_a_time(PARTS, num_parts=2)
    plain = dataclasses.asdict(rows.pop("plain"))
    changed = [{k for k, v in dataclasses.asdict(row).items() if v != plain[k]} for row in rows.values()]
    assert all(len(names) == 1 for names in changed)
    assert set().union(*changed) == set(plain)


def test_every_switch_runs_on_this_device():
    rows = one_at_a_time(PARTS, num_parts=2)
    del rows["torch.compile"]  # a minute of compiling; a smaller network is compiled below
    table = cost_table(models.residual_network, lambda: BATCH, rows, num_steps=1, num_warmup=1)
    assert [row["name"] for row in table] == [*rows]
    assert all(row["step_s"] > 0 and row["peak_bytes"] > 0 and not row["skipped"] for row in table)
    assert json.loads(json.dumps(table)) == table


@pytest.mark.slow
def test_a_compiled_step_runs():
    batch = torch.zeros(4, 3), torch.zeros(4).long()
    switches = Switches(compiled=True)
    found = cost(switches, build=lambda: nn.Linear(3, 2), next_batch=lambda: batch, device="cpu")
    assert found.skipped == ""
    assert found.first_step_s > found.step_s > 0


def deep():
    """Return four parts of equal size, whose activations outweigh their weights."""
    parts = [
        nn.Sequential(*[nn.Sequential(nn.Conv2d(16, 16, 1), nn.Sigmoid()) for _ in range(4)])
        for _ in range(4)
    ]
    return nn.Sequential(nn.Conv2d(3, 16, 1), *parts, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_memory_falls_with_accumulation_and_checkpointing():
    plain, parts, lean = (
        cost(switches, build=deep, device="cpu").peak_bytes
        for switches in (Switches(), Switches(num_parts=4), Switches(checkpointed=("1", "2", "3", "4")))
    )
    assert parts < 0.5 * plain
    assert lean < 0.7 * plain


def test_the_peak_is_at_least_weights_gradients_and_state():
    bill = memory_bill(models.residual_network(), (3, 32, 32), 8)
    assert cost(device="cpu").peak_bytes > bill.weights + bill.gradients + bill.optimizer_state


def test_the_clock_counts_getting_the_batch():
    def slow():
        time.sleep(0.05)
        return torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)

    found = cost(build=lambda: nn.Linear(3, 2), next_batch=slow, device="cpu")
    assert found.step_s >= 0.05
    assert found.first_step_s >= 0.05


def test_mixed_precision_computes_in_a_shorter_type():
    seen = []

    class Watched(nn.Linear):
        def forward(self, x):
            result = super().forward(x)
            if not result.is_meta:  # the trial whether the batch fits
                seen.append(result.dtype)
            return result

    batch = torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)
    cost(Switches(mixed_precision=True), build=lambda: Watched(3, 2), next_batch=lambda: batch)
    assert set(seen) <= {torch.bfloat16, torch.float16}
    cost(build=lambda: Watched(3, 2), next_batch=lambda: batch)
    assert torch.float32 in seen


def test_channels_last_reaches_the_network():
    seen = []

    class Watched(nn.Conv2d):
        def forward(self, x):
            if not x.is_meta:
                seen.append(x.is_contiguous(memory_format=torch.channels_last))
            return super().forward(x).mean(dim=(2, 3))

    def build():
        return Watched(3, 10, 3)

    cost(Switches(channels_last=True), build=build)
    assert all(seen)
    seen.clear()
    cost(build=build)
    assert not any(seen)


def test_the_fused_optimiser_is_asked_for(monkeypatch):
    asked = []
    original = torch.optim.AdamW.__init__

    def spy(self, *args, fused=None, **kwargs):
        asked.append(fused)
        original(self, *args, fused=fused, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "__init__", spy)
    cost(Switches(fused_optimizer=True))
    cost()
    assert asked == [True, True, None, None]


def test_without_a_compiler_the_row_says_so(monkeypatch):
    monkeypatch.setattr(step_cost.shutil, "which", lambda _: None)
    found = cost(Switches(compiled=True), device="cpu")
    assert "no C++ compiler" in found.skipped
    assert "no C++ compiler" in compile_obstacle("cpu")


def test_a_gpu_without_triton_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    assert "triton" in compile_obstacle("cuda")


def test_a_failing_compiler_becomes_a_reason(monkeypatch):
    def fail(_):
        raise RuntimeError("backend='inductor' raised: C1083\nmore lines")

    monkeypatch.setattr(torch, "compile", fail)
    monkeypatch.setattr(step_cost, "compile_obstacle", lambda _: "")
    assert cost(Switches(compiled=True)).skipped == "torch.compile: backend='inductor' raised: C1083"


class Greedy(nn.Module):
    """A network that runs out of memory, as a GPU says it or as a CPU says it."""

    def __init__(self, error):
        super().__init__()
        self.layer, self.error = nn.Linear(3, 2), error

    def forward(self, x):  # noqa: ARG002
        raise self.error


OUT_OF_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=["GPU", "CPU"])
def test_running_out_of_memory_says_what_to_change(error):
    with pytest.raises(MemoryError, match=r"batch_size=8\. Try batch_size=4") as found:
        cost(build=lambda: Greedy(error))
    for way_out in ("num_parts=2", "checkpointed", "mixed_precision"):
        assert way_out in str(found.value)
    with pytest.raises(MemoryError, match=r"batch_size=2\. Try batch_size=1") as found:
        cost(Switches(num_parts=4, mixed_precision=True), build=lambda: Greedy(error))
    assert "num_parts=8" in str(found.value)
    assert "mixed_precision" not in str(found.value), "already on"


def test_the_table_goes_on_after_a_row_that_does_not_fit():
    networks = iter([Greedy(OUT_OF_MEMORY[0]), Greedy(OUT_OF_MEMORY[0]), *(nn.Flatten() for _ in range(3))])

    def small():
        return torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)

    rows = {"large": Switches(), "small": Switches(channels_last=False)}
    table = cost_table(
        lambda: nn.Sequential(next(networks), nn.Linear(3, 10)), small, rows, num_steps=1, num_warmup=1
    )
    assert "ran out of memory" in table[0]["skipped"]
    assert table[0]["step_s"] is None
    assert table[1]["step_s"] > 0


def test_jpeg_images_come_back_in_size_and_with_their_label():
    images = np.stack([np.full((20, 20, 3), shade, dtype=np.uint8) for shade in (0, 102, 255)])
    found = step_cost.JpegImages(images, [2, 0, 1], size=8)
    assert len(found) == 3
    for index, (shade, label) in enumerate(((0.0, 2), (0.4, 0), (1.0, 1))):
        image, found_label = found[index]
        assert image.shape == (3, 8, 8)
        assert (image - shade).abs().max() < 0.02
        assert found_label == label
    with pytest.raises(ValueError, match="3 images and 2 labels"):
        step_cost.JpegImages(images, [0, 1], size=8)


GREY, ZEROS = torch.zeros(4, 1, 28, 28), torch.zeros(4).long()
MISFITS = {
    "channels": (models.lenet, torch.zeros(4, 3, 28, 28), ZEROS, r"images of shape \(4, 3, 28, 28\)"),
    "too small": (models.lenet, torch.zeros(4, 1, 4, 4), ZEROS, "at least the size"),
    "classes": (models.lenet, GREY, ZEROS + 10, "expected 0 to 9, .* 10 outputs"),
    "negative": (models.lenet, GREY, ZEROS - 1, "labels run from -1 to -1"),
    "type": (models.lenet, GREY, ZEROS.float(), r"type torch.float32; expected .* int64"),
    "maps": (lambda: nn.Conv2d(1, 2, 1), GREY, ZEROS, r"shape \(4, 2, 28, 28\)"),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("build", "x", "y", "told"), MISFITS.values(), ids=MISFITS)
def test_a_batch_that_does_not_fit_is_refused_before_the_clock_runs(monkeypatch, build, x, y, told, compiled):
    monkeypatch.setattr(step_cost, "compile_obstacle", lambda _: "")
    monkeypatch.setattr(step_cost, "_measure", lambda *_: pytest.fail("it is measured all the same"))
    with pytest.raises(ValueError, match=told):
        cost(Switches(compiled=compiled), build=build, next_batch=lambda: (x, y))


LOOKS = (lambda x: x * x.max().item(), lambda x: x + x.sum().tolist(), lambda x: x + len(x[x > 0]))


@pytest.mark.parametrize("look", LOOKS)
def test_a_network_that_looks_at_its_numbers_is_measured(look):
    class Curious(nn.Linear):
        def forward(self, x):
            return super().forward(look(x))

    batch = torch.zeros(4, 3), torch.zeros(4).long()
    assert cost(build=lambda: Curious(3, 2), next_batch=lambda: batch, device="cpu").step_s > 0


def test_other_errors_are_not_hidden(monkeypatch):
    def stumble(*_):
        raise RuntimeError("the cable is out")

    monkeypatch.setattr(step_cost, "_measure", stumble)
    with pytest.raises(RuntimeError, match="the cable is out"):
        cost()


@pytest.mark.parametrize("bad", [{"num_steps": 0}, {"num_warmup": 0}])
def test_no_steps_are_refused(bad):
    with pytest.raises(ValueError, match="expected at least 1 of each"):
        cost(**bad)


def test_no_parts_are_refused():
    with pytest.raises(ValueError, match="num_parts is 0"):
        cost(Switches(num_parts=0))


def test_an_empty_cost_holds_no_time():
    assert StepCost(skipped="why").step_s != StepCost(skipped="why").step_s
