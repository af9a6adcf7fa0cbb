"""The switch of the chapter `cifar_to_digits`: its cells on small files in SVHN's official format."""

from __future__ import annotations

import dataclasses
import importlib
import linecache
import sys
import types

import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy.io
import torch

from chapters import ROOT, cells, tags
from conftest import describe_files
from tlutils import datasets, downloads, repeats, runs
from tlutils.catalogue import REGISTRY

CHAPTER = ROOT / "chapters/cifar_to_digits.ipynb"
DEFINING = ("config", "data-and-changes", "start", "one-training", "probe", "one-probe")


def write_svhn(folder, monkeypatch, num_train):
    """Write house numbers, 40 for the test, as the official files do, and let the book find them."""
    images = np.random.default_rng(0).integers(0, 256, (num_train, 32, 32, 3), dtype=np.uint8)
    labels = np.resize(np.arange(1, 11), num_train).astype(np.uint8)  # 10 stands for the digit 0
    for name, n in (("train_32x32.mat", num_train), ("test_32x32.mat", 40)):
        mat = {"X": images[:n].transpose(1, 2, 3, 0), "y": labels[:n, None]}
        scipy.io.savemat(folder / name, mat)
    info = dataclasses.replace(REGISTRY["svhn"], num_train=num_train, num_test=40)
    monkeypatch.setitem(REGISTRY, "svhn", describe_files(info, folder))
    monkeypatch.setenv("TLUTILS_DATA", str(folder))
    return images, labels


@pytest.fixture
def svhn(tmp_path, monkeypatch):
    return write_svhn(tmp_path, monkeypatch, 1200)


def switched(source):
    """Return the cell of imports with the switch set to SVHN."""
    found = source.replace('TARGET = "photo_digits"', 'TARGET = "svhn"')
    assert found != source
    return found


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """Run the chapter's defining cells, with the switch set to SVHN, as a module."""
    source = {cell["id"]: cell["source"] for cell in cells(CHAPTER)}
    folder = tmp_path / "chapter"
    folder.mkdir()
    code = "\n\n".join([switched(source["imports"]), *(source[name] for name in DEFINING)])
    (folder / "chapter_on_svhn.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("TLUTILS_CACHE", str(tmp_path / "cache"))
    yield importlib.import_module("chapter_on_svhn")
    sys.modules.pop("chapter_on_svhn")


def test_the_target_is_what_the_files_hold(svhn, chapter):
    images, labels = svhn
    target = chapter.digits(chapter.DigitsConfig().target)
    assert (target.name, target.num_classes, len(target.test)) == ("svhn", 10, 40)
    assert torch.equal(target.test.x, torch.from_numpy(images[:40]).permute(0, 3, 1, 2).float().div(255))
    bought = target.label_budget(5)
    by_image = {image.tobytes(): label % 10 for image, label in zip(images, labels, strict=True)}
    for x, y in zip(bought.x, bought.y, strict=True):
        assert by_image[(255 * x).round().to(torch.uint8).permute(1, 2, 0).numpy().tobytes()] == y


@pytest.mark.usefixtures("svhn")
@pytest.mark.parametrize("way", ["full", "partial", "scratch"])
def test_a_training_runs_on_them(chapter, way):
    case = {"way": way, "budget": 2, "rate": 1e-3}
    config = chapter.DigitsConfig((case,)).quick()
    (result,) = chapter.train_cases(config).metrics["results"]
    assert (result["target"], result["way"]) == ("svhn", way)
    assert 0 <= result["accuracy"] <= 1


@pytest.mark.usefixtures("svhn")
def test_a_probe_runs_on_them(chapter):
    found = chapter.one_probe("re-estimated", "half", [0], 40, "svhn")
    assert sorted(found["accuracy"]) == ["1", "100", "20", "5"]
    # The images are noise and tell nothing of their labels.
    assert found["accuracy"]["1"][0] < 0.5


def test_other_digits_are_trained_and_nothing_stored_is_shown(chapter, monkeypatch):
    monkeypatch.setenv("TLUTILS_LIVE", "none")
    monkeypatch.setattr(runs, "_data_digest", lambda _: "no house numbers are here")
    run = chapter.experiment("budgets", lambda _: runs.Outcome({"accuracy": 0.5}), chapter.DigitsConfig())
    assert (run.name, run.is_live, run.stored) == ("cifar_to_digits/svhn_budgets", True, None)


def run_all(module):
    """Run every code cell of the chapter but the installation, under the switch, as a notebook does."""
    for cell in cells(CHAPTER):
        if cell["cell_type"] == "code" and "setup" not in tags(cell):
            source = switched(cell["source"]) if "imports" in tags(cell) else cell["source"]
            name = f"<cell {cell['id']}>"
            linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
            exec(compile(source, name, "exec"), vars(module))


@pytest.mark.slow
@pytest.mark.usefixtures("as_reader")
def test_run_all_goes_through(tmp_path, monkeypatch, data_root, tiny_mnist):
    """Live and short: two seeds, two steps, 40 images; of each run one case, whose result stands for all."""
    datasets.load("cifar10", "test")  # prepares it where that has not been done
    there = [downloads.prepared_path(folder, "cifar10") for folder in downloads.search_folders(data_root)]
    # The folder is not linked as a whole: what is prepared here must not get among the real data.
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared/cifar10.npz").symlink_to(next(path for path in there if path.exists()))
    tiny_mnist(tmp_path, num_test=20)
    write_svhn(tmp_path, monkeypatch, 6000)  # enough for 500 labels per class
    trained, train_or_replay = {}, runs.train_or_replay

    def shortly(name, train, config, **options):
        config = dataclasses.replace(config, seeds=config.seeds[:2], num_steps=2, num_test=40)
        trained[name] = train_or_replay(name, train, config, **options)
        return trained[name]

    monkeypatch.setattr(runs, "train_or_replay", shortly)
    monkeypatch.setattr(repeats, "sweep", lambda function, cases: [function(**cases[0])] * len(cases))
    monkeypatch.setattr(runs, "_data_digest", str)  # it would read every image for every run
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    monkeypatch.setenv("TLUTILS_LIVE", "all")
    monkeypatch.delenv("TLUTILS_STORE", raising=False)
    module = types.ModuleType("all_cells_on_svhn")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    run_all(module)
    asked = {"rates", "frozen", "budgets", "more_labels", "longer", "variants"}
    assert set(trained) == {f"cifar_to_digits/svhn_{part}" for part in asked}
    assert all(run.is_live and run.provenance["config"]["target"] == "svhn" for run in trained.values())
