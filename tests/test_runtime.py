"""Devices, precision, seeds."""

import random

import numpy as np
import pytest
import torch

from tlutils import runtime


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((9, 0), torch.bfloat16), ((8, 0), torch.bfloat16), ((7, 5), torch.float16), ((7, 0), torch.float16)],
)
def test_gpu_precision_follows_what_the_chip_computes_in(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert runtime.autocast_dtype("cuda") is expected


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"amx_bf16": True}, torch.bfloat16), ({"avx512_bf16": True}, None), ({"avx2": True}, None)],
)
def test_cpu_precision_follows_its_instructions(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert runtime.autocast_dtype("cpu") is expected


def test_cpu_of_an_older_torch_computes_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert runtime.autocast_dtype("cpu") is None


def test_other_devices_compute_in_float32():
    assert runtime.autocast_dtype("meta") is None


def test_generator_is_a_function_of_the_seed():
    draws = [torch.rand(5, generator=runtime.new_generator(seed)) for seed in (3, 3, 4)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed is -1"):
        runtime.new_generator(-1)


def test_seeded_gives_the_global_generators_back_as_they_were():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with runtime.seeded(0):
        inside = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    assert not torch.equal(inside, expected)


def test_seeded_restores_after_an_error():
    before = torch.get_rng_state()
    with pytest.raises(KeyError), runtime.seeded(1):
        torch.rand(1)
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)


def test_seeded_leaves_python_and_numpy_alone():
    python_state, numpy_state = random.getstate(), np.random.get_state()[1].copy()
    with runtime.seeded(5):
        torch.rand(1)
    assert random.getstate() == python_state
    assert (np.random.get_state()[1] == numpy_state).all()


def test_environment_names_what_results_depend_on():
    record = runtime.environment()
    assert set(record) == {"python", "torch", "torchvision", "device", "threads", "precision"}
    assert record["precision"] in {"float32", "bfloat16", "float16"}
    assert record["torch"] == torch.__version__
    assert runtime.environment_line().startswith(f"device: {runtime.best_device().type}, torch ")


def test_out_of_memory_advice_halves_the_batch():
    advice = runtime.out_of_memory_advice(32, "cuda")
    assert advice.startswith("cuda ran out of memory at batch_size=32. Try batch_size=16,")
    assert "Try batch_size=1," in runtime.out_of_memory_advice(1, "cuda")
