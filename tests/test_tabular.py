"""Reading sets of feature vectors, the real ones included, and what bad files and arguments lead to."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse
from sklearn.neighbors import KNeighborsClassifier

from conftest import describe_files
from tlutils import downloads, tabular
from tlutils.downloads import DatasetError
from tlutils.tabular import TABLES


@pytest.fixture
def tiny_office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write four small domains in MATLAB's format, make `load` take them, and return their folder."""
    info = TABLES["office_caltech10_surf"]
    for file, (_, _, _) in zip(info.files, info.parts, strict=True):
        path = tmp_path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "fts": np.arange(15, dtype=np.uint8).reshape(5, 3),
            "labels": np.array([[1], [10], [2], [3], [4]]),
        }
        scipy.io.savemat(path, content)
    info = dataclasses.replace(info, num_features=3, parts=tuple((d, s, 5) for d, s, _ in info.parts))
    monkeypatch.setitem(TABLES, info.name, describe_files(info, tmp_path))
    return tmp_path


@pytest.fixture
def tiny_reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write eight small files in LIBSVM's format, make `load` take them, and return their folder."""
    info = TABLES["amazon_reviews"]
    for file in info.files:
        path = tmp_path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1 0:2 2:7\n-1 1:3\n")
    info = dataclasses.replace(info, num_features=4, parts=tuple((d, s, 2) for d, s, _ in info.parts))
    monkeypatch.setitem(TABLES, info.name, describe_files(info, tmp_path))
    return tmp_path


def accept(monkeypatch: pytest.MonkeyPatch, name: str, folder: Path) -> None:
    """Make the checksums of `name` those of the files as they lie below `folder`."""
    monkeypatch.setitem(TABLES, name, describe_files(TABLES[name], folder))


class TestRealData:
    """Figures from the publications: Gong et al. 2012, Chen et al. 2012, and from the first 1-NN column."""

    @pytest.fixture(autouse=True)
    def real(self, data_root, tmp_path, monkeypatch):
        monkeypatch.setenv("TLUTILS_DATA", str(data_root))
        monkeypatch.setenv("TLUTILS_CACHE", str(tmp_path))

    def test_every_part_of_every_set(self):
        for name in tabular.available():
            info = tabular.describe(name)
            for domain, split, num_rows in info.parts:
                part = tabular.load(name, domain, split)
                assert part.x.shape == (num_rows, info.num_features)
                assert part.x.dtype == np.float64
                assert np.unique(part.y).tolist() == [*range(len(info.class_names))]
                assert part.x.min() == 0

    def test_class_counts(self):
        counts = {
            d: np.bincount(tabular.load("office_caltech10_surf", d).y).tolist() for d in ("amazon", "dslr")
        }
        assert counts["amazon"] == [92, 82, 94, 99, 100, 100, 99, 100, 94, 98]
        assert counts["dslr"] == [12, 21, 12, 13, 10, 24, 22, 12, 8, 23]
        assert np.bincount(tabular.load("amazon_reviews", "books").y).tolist() == [1000, 1000]
        assert np.bincount(tabular.load("amazon_reviews", "kitchen", "test").y).tolist() == [2991, 2954]

    @pytest.mark.parametrize(
        ("source", "target", "published"),
        [
            ("caltech10", "amazon", 23.70),
            ("caltech10", "webcam", 25.76),
            ("amazon", "caltech10", 26.00),
            ("dslr", "webcam", 63.39),
        ],
    )
    def test_nearest_neighbour_is_as_published(self, source, target, published):
        def scaled(domain):
            part = tabular.load("office_caltech10_surf", domain)
            x = part.x / part.x.sum(axis=1, keepdims=True)
            return (x - x.mean(axis=0)) / x.std(axis=0, ddof=1).clip(1e-12), part.y

        (x_source, y_source), (x_target, y_target) = scaled(source), scaled(target)
        hits = KNeighborsClassifier(1).fit(x_source, y_source).predict(x_target) == y_target
        assert round(100 * hits.mean(), 2) == pytest.approx(published, abs=0.005)


class TestSmallFiles:
    @pytest.mark.usefixtures("tiny_office")
    def test_matlab(self, tmp_path):
        part = tabular.load("office_caltech10_surf", "webcam", root=tmp_path)
        assert part.name == "office_caltech10_surf/webcam/all"
        assert part.x.tolist() == np.arange(15).reshape(5, 3).tolist()
        assert part.y.tolist() == [0, 9, 1, 2, 3]
        assert part.dense() is part.x
        assert len(part) == 5

    @pytest.mark.usefixtures("tiny_reviews")
    def test_libsvm(self, tmp_path):
        part = tabular.load("amazon_reviews", "dvd", root=tmp_path)
        assert part.name == "amazon_reviews/dvd/train"
        assert scipy.sparse.issparse(part.x)
        assert part.dense().tolist() == [[2, 0, 7, 0], [0, 3, 0, 0]]
        assert part.y.tolist() == [1, 0]
        assert part.class_names == ("negative", "positive")
        test = tabular.load("amazon_reviews", "dvd", "test", root=tmp_path)
        assert test.name == "amazon_reviews/dvd/test"
        assert test.sha256 == part.sha256


class TestDamagedFiles:
    @pytest.mark.parametrize("how", ["truncated", "flipped", "empty"])
    @pytest.mark.parametrize(
        ("name", "domain"), [("office_caltech10_surf", "amazon"), ("amazon_reviews", "books")]
    )
    @pytest.mark.usefixtures("tiny_office", "tiny_reviews")
    def test_checksum(self, tmp_path, name, domain, how):
        path = tmp_path / TABLES[name].files[0].path
        content = path.read_bytes()
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
        path.write_bytes({"truncated": content[:middle], "flipped": flipped, "empty": b""}[how])
        with pytest.raises(DatasetError, match=r"md5 is .* should be .*Delete it and load again") as caught:
            tabular.load(name, domain, root=tmp_path)
        assert str(path) in str(caught.value)

    def test_not_a_matlab_file(self, tiny_office, monkeypatch):
        (tiny_office / "office_caltech10/features/surf/dslr.mat").write_bytes(b"<html>not found</html>" * 20)
        accept(monkeypatch, "office_caltech10_surf", tiny_office)
        with pytest.raises(DatasetError, match=r"dslr.mat is damaged or incomplete \(ValueError"):
            tabular.load("office_caltech10_surf", "dslr", root=tiny_office)

    @pytest.mark.parametrize(
        ("fts", "labels", "message"),
        [
            (np.ones((4, 3)), np.ones((4, 1)), r"holds \(4, 3\) numbers and \(4,\) labels, not \(5, 3\)"),
            (np.full((5, 3), np.nan), np.ones((5, 1)), "NaN or infinite"),
            (np.ones((5, 3)), np.full((5, 1), 11), "labels go from 10 to 10, not from 0 to 9"),
            (np.ones((5, 3)), np.zeros((5, 1)), "labels go from -1 to -1, not from 0 to 9"),
        ],
    )
    def test_wrong_content(self, tiny_office, monkeypatch, fts, labels, message):
        path = tiny_office / "office_caltech10/features/surf/dslr.mat"
        scipy.io.savemat(path, {"fts": fts, "labels": labels})
        accept(monkeypatch, "office_caltech10_surf", tiny_office)
        with pytest.raises(DatasetError, match=message):
            tabular.load("office_caltech10_surf", "dslr", root=tiny_office)

    def test_missing_variable(self, tiny_office, monkeypatch):
        scipy.io.savemat(tiny_office / "office_caltech10/features/surf/dslr.mat", {"x": np.ones(3)})
        accept(monkeypatch, "office_caltech10_surf", tiny_office)
        with pytest.raises(DatasetError, match="KeyError: 'fts'"):
            tabular.load("office_caltech10_surf", "dslr", root=tiny_office)

    def test_index_beyond_the_features(self, tiny_reviews, monkeypatch):
        (tiny_reviews / "amazon_reviews/books_train.svmlight").write_text("1 9:1\n-1 0:1\n")
        accept(monkeypatch, "amazon_reviews", tiny_reviews)
        with pytest.raises(DatasetError, match="books_train.svmlight is damaged or incomplete"):
            tabular.load("amazon_reviews", "books", root=tiny_reviews)

    def test_sparse_values_that_are_not_finite(self, tiny_reviews, monkeypatch):
        (tiny_reviews / "amazon_reviews/books_train.svmlight").write_text("1 0:nan\n-1 0:1\n")
        accept(monkeypatch, "amazon_reviews", tiny_reviews)
        with pytest.raises(DatasetError, match="NaN or infinite"):
            tabular.load("amazon_reviews", "books", root=tiny_reviews)


class TestWithoutNetwork:
    def test_message_and_terms(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(downloads, "_notices_given", set())
        for name, domain in (("office_caltech10_surf", "amazon"), ("amazon_reviews", "books")):
            with pytest.raises(DatasetError, match="Connect to the network and load again") as caught:
                tabular.load(name, domain, root=tmp_path)
            info, said = tabular.describe(name), capsys.readouterr().out
            assert info.files[0].md5 in str(caught.value)
            assert "TLUTILS_DATA" in str(caught.value)
            assert info.licence in said
            assert info.title in said
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]

    @pytest.mark.usefixtures("tiny_reviews")
    def test_nothing_is_said_or_written_when_the_files_are_there(self, tmp_path, capsys):
        before = sorted(tmp_path.rglob("*"))
        tabular.load("amazon_reviews", "books", root=tmp_path)
        assert capsys.readouterr().out == ""
        assert sorted(tmp_path.rglob("*")) == before


class TestBadArguments:
    def test_unknown_names(self):
        for function in (tabular.describe, tabular.domain_names):
            with pytest.raises(
                ValueError, match="no feature set 'amazon'.*Did you mean 'amazon_reviews'.*There are: "
            ):
                function("amazon")
        with pytest.raises(ValueError, match="no domain 'book'.*'books'.*There are: books, dvd"):
            tabular.load("amazon_reviews", "book")
        with pytest.raises(ValueError, match=r"no domain '\?\?'\. There are: amazon, caltech10"):
            tabular.load("office_caltech10_surf", "??")

    def test_unknown_split(self):
        with pytest.raises(
            ValueError, match="split is 'validation'; for amazon_reviews expected 'train' or 'test'"
        ):
            tabular.load("amazon_reviews", "books", "validation")
        with pytest.raises(ValueError, match="split is 'train'; for office_caltech10_surf expected 'all'"):
            tabular.load("office_caltech10_surf", "amazon", "train")


def test_catalogue_of_tables(data_root):
    for name, info in TABLES.items():
        assert info.name == name
        assert len(info.parts) == len(info.files)
        assert info.num_bytes == sum(file.num_bytes for file in info.files)
        for file, (domain, split, _) in zip(info.files, info.parts, strict=True):
            assert (data_root / file.path).stat().st_size == file.num_bytes
            assert domain in file.path
            assert split == "all" or split in file.path
            assert all(domain.lower() in url.rpartition("/")[2].lower() for url in file.urls)
            assert all(len(url.rpartition("/")[0]) > 60 for url in file.urls)  # each names a commit


def test_import_is_light():
    script = "import sys, tlutils.tabular; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    assert {"sklearn", "scipy.io", "scipy.sparse", "pooch", "requests"}.isdisjoint(modules.split())
