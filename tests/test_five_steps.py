"""The five steps of the chapter `fine_tuning_on_gpu` with published weights, for which others stand in."""

from __future__ import annotations

import ast
import importlib
import sys

import pytest
import torch
import torchvision

from chapters import ROOT, cells, definitions
from tlutils import pretrained
from tlutils.domains import Labelled

CHAPTER = ROOT / "chapters/fine_tuning_on_gpu.ipynb"
DEFINING = ("imports", "five-steps-definition", "schedules", "five-four-five", "five-steps-code-of-all")


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """Run the defining cells as a module, with a few random images in place of the photographs."""
    source = {cell["id"]: cell["source"] for cell in cells(CHAPTER)}
    code = [source[name] for name in DEFINING] + [ast.unparse(definitions(CHAPTER)["set_aside"])]
    (tmp_path / "chapter_of_five_steps.py").write_text("\n\n".join(code), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("chapter_of_five_steps")
    images = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    module.TRAIN = module.TEST = {"photographs": Labelled(images, torch.arange(40) % 2, 2)}
    yield module
    sys.modules.pop("chapter_of_five_steps")


@pytest.fixture
def published(monkeypatch):
    """Return a network that is handed out where published weights are asked for."""
    torch.manual_seed(5)
    model = torchvision.models.resnet18(weights=None)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    monkeypatch.setattr(pretrained, "load", lambda _: model.eval())
    return state


@pytest.mark.parametrize("is_frozen", [True, False])
def test_training_begins_with_the_published_weights_and_moves_only_what_may_learn(
    chapter, published, is_frozen
):
    model = chapter.three_steps("resnet18", 2, 0, has_weights=True, is_frozen=is_frozen)
    begun = {name: tensor.clone() for name, tensor in model[1].state_dict().items()}
    backbone = [name for name in published if not name.startswith("fc.")]
    assert all(torch.equal(begun[name], published[name]) for name in backbone)
    assert model[1].fc.out_features == 2

    train = chapter.TRAIN["photographs"]
    chapter.train_photographs(model, {"1": 0.001}, chapter.warm_up_cosine, train, train, 1, seed=0)
    moved = {
        name for name, tensor in model[1].cpu().state_dict().items() if not torch.equal(tensor, begun[name])
    }
    learned = {name for name, _ in model[1].named_parameters() if name.startswith("fc.") or not is_frozen}
    assert moved & {name for name, _ in model[1].named_parameters()} == learned
    assert not (is_frozen and moved - learned), "a frozen backbone keeps its statistics, too"


@pytest.mark.usefixtures("published")
def test_all_five_steps_say_whose_weights_they_took(chapter):
    cases = [("photographs", 0, "resnet18", has_weights, False, 0.001) for has_weights in (True, False)]
    config = chapter.PhotographConfig(tuple(cases), num_epochs=1, seeds=(0,))
    results = chapter.five_steps(config).metrics["results"]
    assert [r["way"] for r in results] == [f"photographs, resnet18, {of} weights" for of in ("its", "random")]
    assert all(len(r["history"]) == 1 and 0 <= r["accuracy"] <= 1 for r in results)
