"""A few photographs of a set: read from the folder that is there, else fetched alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from test_checkouts import commit_files, serve
from test_downloads import files_in
from test_photographs import encoded, write

from tlutils import photographs
from tlutils.downloads import DatasetError
from tlutils.photo_samples import load_samples
from tlutils.photographs import PHOTOGRAPHS

PATHS = ("dslr/mug/a.png", "amazon/mug/b.png")
FILES = {path: encoded(9, 12, seed=seed) for seed, path in enumerate(PATHS)}


@pytest.fixture
def origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with three photographs, which the set is made to come from."""
    folder = tmp_path / "origin"
    serve(folder)
    files = FILES | {"webcam/mug/c.png": encoded(9, 12)}
    commit = commit_files(folder, {f"images/{name}": content for name, content in files.items()})
    info = dataclasses.replace(PHOTOGRAPHS["office_caltech10"], address=folder.as_uri(), digest=commit)
    monkeypatch.setitem(PHOTOGRAPHS, info.name, info)
    return folder


def expected(size: int) -> list:
    return np.stack([photographs.square(content, size) for content in FILES.values()]).tolist()


def test_only_these_are_fetched_once_and_after_saying_so(origin, tmp_path, capsys):
    images = load_samples("office_caltech10", PATHS, size=8, root=tmp_path / "data")
    assert images.tolist() == expected(8)
    assert images.dtype == np.uint8
    said = capsys.readouterr().out
    for part in (
        "downloading 2 of 2,533, ",
        "about 0.2 MB",
        "source: https://github.com",
        "no licence file",
    ):
        assert part in said
    fetched = files_in(tmp_path / "data/office_caltech10")
    assert {name.partition("/")[2] for name in fetched} == set(PATHS)
    origin.rename(tmp_path / "gone")
    assert load_samples("office_caltech10", PATHS, size=9, root=tmp_path / "data").tolist() == expected(9)
    assert capsys.readouterr().out == ""


def test_the_whole_set_serves_where_it_is_there(tmp_path, capsys):
    write(tmp_path / "office_caltech10/images", FILES)
    assert load_samples("office_caltech10", PATHS, size=8, root=tmp_path).tolist() == expected(8)
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("origin")
def test_a_photograph_that_the_commit_has_not(tmp_path):
    with pytest.raises(DatasetError, match="Nothing was kept"):
        load_samples("office_caltech10", ("dslr/mug/none.png",), root=tmp_path / "data")
    assert files_in(tmp_path / "data") == set()


def test_an_unreadable_photograph_is_named(tmp_path):
    write(tmp_path / "office_caltech10/images", FILES | {PATHS[1]: b"<html>"})
    with pytest.raises(DatasetError, match=r"amazon/mug/b\.png is damaged or incomplete \(UnidentifiedImage"):
        load_samples("office_caltech10", PATHS, root=tmp_path)


@pytest.mark.parametrize(
    ("name", "paths", "message"),
    [
        ("hymenoptera", PATHS, "comes as one archive: read it with photographs.load"),
        ("office_caltech10", (), "paths is empty"),
        ("ofice_caltech10", PATHS, "Did you mean 'office_caltech10'"),
    ],
)
def test_bad_paths(name, paths, message):
    with pytest.raises(ValueError, match=message):
        load_samples(name, paths)


def test_bad_size(tmp_path):
    with pytest.raises(ValueError, match="size is 0; expected at least 1 pixel"):
        load_samples("office_caltech10", PATHS, size=0, root=tmp_path)
