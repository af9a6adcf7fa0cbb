"""The switch of the chapter `cifar_to_digits`: its cells on small files in SVHN's official format."""

from __future__ import annotations

import dataclasses
import importlib
import sys

import numpy as np
import pytest
import scipy.io
import torch
from conftest import describe_files

from chapters import ROOT, cells
from tlutils import runs
from tlutils.catalogue import REGISTRY

CHAPTER = ROOT / "chapters/cifar_to_digits.ipynb"
DEFINING = ("config", "data-and-changes", "start", "one-training", "probe", "one-probe")


@pytest.fixture
def svhn(tmp_path, monkeypatch):
    """Write 1200 and 40 house numbers as the official files do, and let the book find them."""
    images = np.random.default_rng(0).integers(0, 256, (1200, 32, 32, 3), dtype=np.uint8)
    labels = np.resize(np.arange(1, 11), 1200).astype(np.uint8)  # 10 stands for the digit 0
    for name, n in (("train_32x32.mat", 1200), ("test_32x32.mat", 40)):
        mat = {"X": images[:n].transpose(1, 2, 3, 0), "y": labels[:n, None]}
        scipy.io.savemat(tmp_path / name, mat)
    info = dataclasses.replace(REGISTRY["svhn"], num_train=1200, num_test=40)
    monkeypatch.setitem(REGISTRY, "svhn", describe_files(info, tmp_path))
    monkeypatch.setenv("TLUTILS_DATA", str(tmp_path))
    return images, labels


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """Run the chapter's defining cells, with the switch set to SVHN, as a module."""
    source = {cell["id"]: cell["source"] for cell in cells(CHAPTER)}
    switched = source["imports"].replace('TARGET = "photo_digits"', 'TARGET = "svhn"')
    assert switched != source["imports"]
    folder = tmp_path / "chapter"
    folder.mkdir()
    code = "\n\n".join([switched, *(source[name] for name in DEFINING)])
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


def test_no_stored_run_of_other_digits_is_shown(chapter, monkeypatch):
    monkeypatch.setenv("TLUTILS_LIVE", "none")
    with pytest.raises(runs.RunError, match="svhn_budgets"):
        chapter.experiment("budgets", chapter.train_cases, chapter.DigitsConfig())
