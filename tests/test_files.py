"""A file is there whole or not at all."""

import resource
import signal
import subprocess
import sys
import time

import pytest
import torch

from tlutils.files import read_checkpoint, write_atomically, write_checkpoint


def test_content_arrives_and_nothing_else_stays(tmp_path):
    path = tmp_path / "new folder" / "file.bin"
    write_atomically(path, lambda file: file.write(b"one"))
    write_atomically(path, lambda file: file.write(b"two"))
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]


def test_an_error_while_writing_leaves_the_old_content(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def fail(file):
        file.write(b"half of the ne")
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.bin"]


def test_a_full_disk_leaves_the_old_content(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_atomically(path, lambda file: file.write(b"x" * 5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.bin"]


SLOW_WRITER = """
import sys, time
from pathlib import Path
from tlutils.files import read_checkpoint, write_atomically, write_checkpoint
def write(file):
    for _ in range(1000):
        file.write(b"new")
        file.flush()
        time.sleep(0.02)
write_atomically(Path(sys.argv[1]), write)
"""


def test_kill_9_leaves_the_old_content(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    process = subprocess.Popen([sys.executable, "-c", SLOW_WRITER, path])
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(list(tmp_path.iterdir())) == 2, "the writer has begun"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert path.read_bytes() == b"old"


class TestCheckpoints:
    def test_what_was_written_is_read(self, tmp_path):
        path = tmp_path / "training.pt"
        write_checkpoint(path, "seed=1", {"weights": torch.arange(3), "step": 4})
        state = read_checkpoint(path, "seed=1", "cpu")
        assert state["weights"].tolist() == [0, 1, 2]
        assert state["step"] == 4

    def test_another_training_s_is_refused_with_both_fingerprints(self, tmp_path):
        path = tmp_path / "training.pt"
        write_checkpoint(path, "seed=1", {})
        with pytest.raises(ValueError, match="it has seed=1, this one is seed=2"):
            read_checkpoint(path, "seed=2", "cpu")

    def test_a_damaged_one_is_refused_and_kept(self, tmp_path):
        path = tmp_path / "training.pt"
        path.write_bytes(b"half")
        with pytest.raises(ValueError, match="cannot be read; delete it to start afresh"):
            read_checkpoint(path, "seed=1", "cpu")
        assert path.exists()
