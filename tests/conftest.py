"""What several test modules share: no network, the real data, small data sets, a browser."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import ipaddress
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import jaxtyping
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

if TYPE_CHECKING:  # imported in earnest only after jaxtyping has put its checks into tlutils
    from tlutils.catalogue import DatasetInfo


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window, started once."""
    import site_checks

    if site_checks.chromium_path() is None:
        pytest.skip(f"no browser: none of {', '.join(site_checks.CHROMIUM)} is installed")
    with site_checks.open_browser() as browser:
        yield browser


@pytest.fixture
def as_reader():
    """Switch the checks of shape annotations off, as they are for readers, who get our own messages."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Return the folder with the real data; without it the test is skipped (and so fails in CI)."""
    folder = os.environ.get("TLUTILS_DATA")
    if folder and Path(folder).is_dir():
        return Path(folder)
    pytest.skip(f"needs the real data: TLUTILS_DATA is {folder!r}, which is no folder")


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Let every test draw the same random numbers each time it runs."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def own_figures() -> Iterator[None]:
    """Let no test see the style or the open figures of another: a chapter's first cell sets the style."""
    with mpl.rc_context():
        yield
        plt.close("all")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests connect to this machine only."""

    def guarded(function: Callable, host_of: Callable) -> Callable:
        def call(*args: object, **kwargs: object) -> object:
            host = host_of(args)
            if isinstance(host, str) and host not in ("", "localhost") and not _is_loopback(host):
                raise ConnectionRefusedError(f"a test tried to reach {host}")
            return function(*args, **kwargs)

        return call

    # A local socket's address is a path, not a pair.
    connect = guarded(socket.socket.connect, lambda args: args[1][0] if isinstance(args[1], tuple) else "")
    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", guarded(socket.getaddrinfo, lambda args: args[0]))
    monkeypatch.setenv("NO_PROXY", "*")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def describe_files(info: DatasetInfo, folder: Path, hosts: tuple[str, ...] = ()) -> DatasetInfo:
    """Return `info` with the checksums and sizes of the files as they lie below `folder`."""
    from tlutils.catalogue import DataFile

    files = []
    for file in info.files:
        content = (folder / file.path).read_bytes()
        urls = tuple(f"{host}/{file.path}" for host in hosts) or ("http://127.0.0.1:9/refused",)
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        files.append(DataFile(file.path, md5, len(content), urls, file.unpacked, file.is_checked))
    return dataclasses.replace(info, files=tuple(files))


@pytest.fixture
def tiny_mnist(monkeypatch: pytest.MonkeyPatch) -> Callable[..., DatasetInfo]:
    """Return a function that writes a small MNIST in the original format and makes `load` take it."""
    from tlutils.catalogue import REGISTRY

    def write(
        folder: Path, num_train: int = 30, num_test: int = 10, hosts: tuple[str, ...] = ()
    ) -> DatasetInfo:
        rng = np.random.default_rng(0)
        for part, n in (("train", num_train), ("t10k", num_test)):
            images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
            labels = np.arange(n, dtype=np.uint8) % 10
            _write_idx(folder / f"MNIST/raw/{part}-images-idx3-ubyte.gz", images)
            _write_idx(folder / f"MNIST/raw/{part}-labels-idx1-ubyte.gz", labels)
        info = dataclasses.replace(REGISTRY["mnist"], num_train=num_train, num_test=num_test)
        info = describe_files(info, folder, hosts)
        monkeypatch.setitem(REGISTRY, "mnist", info)
        return info

    return write


def _write_idx(path: Path, array: np.ndarray) -> None:
    """Write unsigned bytes in the format of MNIST: a magic number, the shape, the values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes(), mtime=0))
