"""A few photographs of a set, without fetching the others."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from tlutils import checkouts, downloads, photographs
from tlutils.downloads import DatasetError

__all__ = ["load_samples"]

BYTES_PER_FILE = 100_000  # about, for saying how much comes


def load_samples(
    name: str, paths: tuple[str, ...], *, size: int = 224, root: str | os.PathLike | None = None
) -> UInt8[np.ndarray, "n size size 3"]:
    """Read single photographs of a set that comes from a repository, fetching only these if they are missing.

    Parameters
    ----------
    name
        A set of `photographs.available()` without an archive: "office_caltech10".
    paths
        The files, as `part/class/file`.
    size
        Side of the squares in pixels, as in `photographs.load`.
    root
        Folder of the data; default is the environment variable TLUTILS_DATA, else the user's cache folder.

    Returns
    -------
    The images in the order of `paths`.

    Raises
    ------
    ValueError
        Unknown name, a set that comes as one archive, no paths, or a size below 1.
    downloads.DatasetError
        They cannot be fetched or stored, or one is unreadable.
    """
    info = photographs.describe(name)
    if info.archive:
        raise ValueError(f"{name} comes as one archive: read it with photographs.load")
    if not paths:
        raise ValueError("paths is empty; expected at least one, as 'part/class/file'")
    if size < 1:
        raise ValueError(f"size is {size}; expected at least 1 pixel")
    folders = downloads.search_folders(root)
    # Each choice of photographs is fetched into a folder of its own, which is there whole or not at all.
    mark = hashlib.blake2b("\n".join(paths).encode(), digest_size=4).hexdigest()
    sample = f"{Path(info.folders[0]).parent}/samples-{mark}"
    places = [folder / relative for folder in folders for relative in (*info.folders, sample)]
    place = next((place for place in places if all((place / path).is_file() for path in paths)), None)
    if place is None:
        place, num_bytes = folders[-1] / sample, len(paths) * BYTES_PER_FILE
        total, megabytes = sum(number for _, number in info.parts), max(num_bytes / 1e6, 0.1)
        print(f"{info.title}: downloading {len(paths)} of {total:,}, about {megabytes:.1f} MB, into {place}")
        print(f"  source: {info.url}\n  terms: {info.licence}")
        checkouts.fetch_folder(info.address, info.digest, "images", place, num_bytes, tuple(paths))
    images = []
    for path in paths:
        try:
            images.append(photographs.square((place / path).read_bytes(), size))
        except Exception as error:  # whatever the decoder stumbles over, the file is at fault
            raise downloads.damaged(place / path, f"{type(error).__name__}: {error}") from error
    return np.stack(images)
