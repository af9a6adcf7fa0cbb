"""Where code runs: device, mixed precision, seeds, and the line that says which versions were used."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = [
    "autocast_dtype",
    "best_device",
    "environment",
    "environment_line",
    "new_generator",
    "out_of_memory_advice",
    "seeded",
]


def best_device() -> torch.device:
    """Return the accelerator of this machine, or the CPU where there is none.

    Examples
    --------
    >>> best_device().type in {"cpu", "cuda", "mps", "xpu"}
    True
    """
    if torch.accelerator.is_available():
        return torch.device(torch.accelerator.current_accelerator().type)
    return torch.device("cpu")


def autocast_dtype(device: torch.device | str) -> torch.dtype | None:
    """Return the low-precision type in which `device` computes faster than in float32, or None.

    Parameters
    ----------
    device
        Where the training step runs.

    Returns
    -------
    ``torch.bfloat16`` on GPUs from compute capability 8.0 and on CPUs with AMX;
    ``torch.float16`` on older CUDA GPUs such as Colab's T4 (needs loss scaling); else None.

    Notes
    -----
    A GPU of capability 7.5 *accepts* bfloat16 but emulates it, which is slower than float32; that is why
    ``torch.cuda.is_bf16_supported()`` is not asked here. Likewise a CPU without AMX: with AVX512-BF16 alone
    a LeNet trains a third slower than in float32 (`benchmarks/loop_speed.py`).
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    if device.type == "cpu":
        # Versions before 2.9 or so lack get_capabilities; float32 is then the safe answer.
        capabilities = getattr(torch.cpu, "get_capabilities", dict)()
        if capabilities.get("amx_bf16"):
            return torch.bfloat16
    return None


def new_generator(seed: int) -> torch.Generator:
    """Return a CPU random generator that starts from `seed`.

    Random numbers are always drawn on the CPU: the same seed then gives the same draw whatever the device.

    Parameters
    ----------
    seed
        Any integer in [0, 2**63).

    Raises
    ------
    ValueError
        If `seed` is negative.

    Examples
    --------
    >>> torch.equal(torch.rand(2, generator=new_generator(0)), torch.rand(2, generator=new_generator(0)))
    True
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected an integer of at least 0")
    return torch.Generator().manual_seed(seed)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generators inside the block and restore their state after it.

    PyTorch initialises layers and draws dropout masks from a global generator; this is the one place where
    that generator is touched, and it is given back as it was.

    Examples
    --------
    >>> with seeded(0): a = torch.rand(1)
    >>> with seeded(0): b = torch.rand(1)
    >>> torch.equal(a, b)
    True
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def environment() -> dict[str, str]:
    """Return the versions and the device on which results depend, as text for a provenance record."""
    import torchvision

    device = best_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "device": f"{device.type} ({name})",
        "threads": str(torch.get_num_threads()),
        "precision": str(autocast_dtype(device) or torch.float32).removeprefix("torch."),
    }


def environment_line() -> str:
    """Return one line for the top of a chapter that says where its cells run.

    It names the kind of device, not the machine, so that a chapter's stored output is the same everywhere.
    """
    device = best_device()
    return f"device: {device.type}, torch {torch.__version__.split('+')[0]}"


def out_of_memory_advice(batch_size: int, device: torch.device | str) -> str:
    """Return the message for a device that ran out of memory at `batch_size` examples per step."""
    return (
        f"{device} ran out of memory at batch_size={batch_size}. Try batch_size={max(1, batch_size // 2)}, "
        "a smaller network or smaller images, restart the kernel to free what earlier cells still hold, "
        "or pass device='cpu'."
    )
