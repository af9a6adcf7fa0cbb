"""Files that are there whole or not at all; checkpoints of trainings."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch

__all__ = ["json_digest", "read_checkpoint", "write_atomically", "write_checkpoint"]


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file so that a reader finds the old content or the new, never half of it.

    The content goes to a temporary file in the same folder, is flushed to the disk, and takes the name
    `path` in one step. A process that is killed meanwhile leaves `path` as it was.

    Parameters
    ----------
    path
        The file to write; its folder is made if it is missing.
    write
        Called with the open temporary file (binary).

    Raises
    ------
    OSError
        If the folder cannot be written or the disk is full; the temporary file is removed.

    Examples
    --------
    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> write_atomically(path, lambda file: file.write(b"whole"))
    >>> path.read_bytes()
    b'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner can read
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def json_digest(value: Any) -> str:
    """Return the SHA-256 of what a value is once it has been through JSON, in hexadecimal.

    The order of keys and the layout of the file do not matter; every number, text and name does.

    Raises
    ------
    TypeError, ValueError
        If JSON cannot hold the value: a tensor, NaN, an infinite number.

    Examples
    --------
    >>> json_digest({"a": 1, "b": [2.5]}) == json_digest({"b": (2.5,), "a": 1})
    True
    """
    value = json.loads(json.dumps(value, allow_nan=False))  # keys that are numbers become text
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write_checkpoint(path: Path, fingerprint: str, state: dict[str, Any]) -> None:
    """Write the state of a training, and the fingerprint of the arguments that it belongs to.

    Raises
    ------
    OSError
        If the file cannot be written; an older checkpoint stays as it was.
    """
    write_atomically(path, lambda file: torch.save({"fingerprint": fingerprint, **state}, file))


def read_checkpoint(path: Path, fingerprint: str, device: torch.device | str) -> dict[str, Any]:
    """Return what `write_checkpoint` wrote, its tensors on `device`.

    Raises
    ------
    ValueError
        If the file is damaged, or belongs to a training with another fingerprint.

    Examples
    --------
    >>> path = Path(tempfile.mkdtemp()) / "training.pt"
    >>> write_checkpoint(path, "num_steps=5", {"step": 3})
    >>> read_checkpoint(path, "num_steps=5", "cpu")["step"]
    3
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        raise ValueError(f"the checkpoint {path} cannot be read; delete it to start afresh") from error
    if state.get("fingerprint") != fingerprint:
        raise ValueError(
            f"the checkpoint {path} belongs to another training: it has {state.get('fingerprint')}, "
            f"this one is {fingerprint}. Delete it or choose another file."
        )
    return state
