"""Data, targets and settings that make no training are refused in a sentence, and nothing is lost."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from tlutils import guards, training
from tlutils.domains import Domain, DomainPair, Labelled, TestSet, as_images
from tlutils.models import lenet
from tlutils.training import evaluate, fit

X, Y = torch.rand(12, 1, 8, 8), torch.arange(12) % 3
DATA = Labelled(X, Y, 3)


def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


def add_nothing(_, x, x_target):
    return 0 * (x.sum() + x_target.sum())


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize(("setting", "value", "error", "says"), [
    ("num_steps", 2.5, TypeError, "num_steps is 2.5; expected a whole number of at least 1"),
    ("batch_size", 2.5, TypeError, "batch_size is 2.5"),
    ("seed", 1.5, TypeError, "seed is 1.5"),
    ("seed", -1, ValueError, "seed is -1; expected a whole number of at least 0"),
    ("patience", 0, ValueError, "patience is 0"),
    ("validate_every", -3, ValueError, "validate_every is -3"),
    ("checkpoint_every", 0, ValueError, "checkpoint_every is 0"),
    ("checkpoint", "state.pt", TypeError, "checkpoint is 'state.pt'; expected a pathlib.Path"),
    ("validation", [1], TypeError, "validation is a list; expected Labelled"),
], ids=lambda value: str(value)[:20])  # fmt: skip
def test_settings_of_the_wrong_kind_are_named_before_the_first_step(setting, value, error, says):
    model = network()
    before = model[1].weight.clone()
    with pytest.raises(error, match=says):
        fit(model, DATA, **{"num_steps": 2, "device": "cpu", setting: value})
    assert torch.equal(model[1].weight, before)


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize(("x_target", "error", "says"), [
    (TestSet(X, Y, 3), TypeError, "x_target is TestSet; expected unlabelled examples.*pair.target.images"),
    (DATA, TypeError, "x_target is Labelled"),
    ((255 * X).byte(), TypeError, "x_target is torch.uint8"),
    (X.repeat(1, 3, 1, 1), ValueError, r"shape \(12, 3, 8, 8\).*source's shape \(1, 8, 8\).*channels="),
    (X[:0], ValueError, r"shape \(0, 1, 8, 8\); expected at least one example"),
    (255 * X, ValueError, r"range from .* to 2\d\d; expected \[0, 1\].*Divide bytes"),
    (X * torch.nan, ValueError, "x_target holds NaN"),
], ids=["test set", "labelled", "bytes", "colour", "empty", "0 to 255", "NaN"])  # fmt: skip
def test_targets_are_checked_like_the_source(x_target, error, says):
    with pytest.raises(error, match=says):
        fit(network(), DATA, num_steps=1, device="cpu", loss_term=add_nothing, x_target=x_target)


def test_unlabelled_images_of_the_target_pass():
    history = fit(network(), DATA, num_steps=1, device="cpu", loss_term=add_nothing, x_target=X.clone())
    assert history.num_steps == 1


def test_a_loss_that_is_no_number_does_not_reach_the_weights():
    model, seen = network(), []

    def spoil_the_fifth(x):
        seen.append(model[1].weight.clone())
        return x * torch.nan if len(seen) == 5 else x

    with pytest.raises(
        FloatingPointError, match="the loss is nan at step 4 .*step was not taken.*build the network anew"
    ):
        fit(model, DATA, num_steps=9, batch_size=4, device="cpu", augment=spoil_the_fifth)
    assert torch.equal(model[1].weight, seen[4])
    assert not torch.equal(seen[4], seen[3])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
@pytest.mark.parametrize("use", [
    lambda data: fit(lenet(3, image_size=8), data, num_steps=1, device="cpu", mixed_precision=False),
    lambda data: evaluate(lenet(3, image_size=8), data, device="cpu"),
], ids=["fit", "evaluate"])  # fmt: skip
def test_examples_of_another_type_than_the_weights_are_called_so(use, dtype):
    with pytest.raises(ValueError, match=rf"{dtype} and the network computes in torch.float32; pass x.to"):
        use(Labelled(X.to(dtype), Y, 3))


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize(("x", "y", "num_classes", "error", "says"), [
    (X.numpy(), Y, 3, TypeError, r"x is a ndarray; expected a tensor: torch.as_tensor\(x\)"),
    (X, [0, 1, 2] * 4, 3, TypeError, r"y is a list; expected a tensor: torch.as_tensor\(y\)"),
    (X, Y[:, None], 3, ValueError, r"y has shape \(12, 1\); expected one class index"),
    (200 * X[:, 0], Y, 3, ValueError, r"x has shape \(12, 8, 8\).*x\[:, None\]"),
    (X, Y, 3.5, TypeError, "num_classes is 3.5"),
], ids=["array", "list", "column", "no channels", "half a class"])  # fmt: skip
@pytest.mark.parametrize("kind", [Labelled, TestSet])
def test_examples_of_the_wrong_kind_are_refused(kind, x, y, num_classes, error, says):
    with pytest.raises(error, match=says):
        kind(x, y, num_classes)


def test_a_test_set_of_one_class_is_refused():
    with pytest.raises(ValueError, match="num_classes is 1; expected a whole number of at least 2"):
        TestSet(X, torch.zeros(12, dtype=torch.int64), 1)


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize("k", [2.5, None, True])
def test_a_budget_is_a_whole_number(k):
    digits = Domain.from_dataset("digits8x8", size=8)
    with pytest.raises(TypeError, match=f"k is {k}; expected a whole number"):
        DomainPair(digits, digits).target.label_budget(k)


def test_a_class_without_examples_is_named():
    with pytest.raises(ValueError, match="class 2 of 3 has no example.*leave the class out"):
        Labelled(X, Y % 2, 3).per_class(1, seed=0)


@pytest.mark.parametrize(("fraction", "part"), [(0.0, "validation"), (1.0, "training")])
def test_a_part_without_images_is_named(fraction, part):
    with pytest.raises(ValueError, match=f"the {part} part of 'digits8x8' is empty.*share in"):
        Domain.from_dataset("digits8x8", size=8, validation_fraction=fraction)


@pytest.mark.usefixtures("as_reader")
def test_a_name_is_no_domain():
    with pytest.raises(TypeError, match=r"source is 'mnist'; expected a Domain, such as Domain.from_dataset"):
        DomainPair("mnist", "usps")


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize(("size", "error"), [(0, ValueError), (7.5, TypeError)])
def test_a_size_is_a_whole_number(size, error):
    with pytest.raises(error, match=f"size is {size}; expected a whole number of at least 1"):
        as_images(np.zeros((2, 8, 8, 1), np.uint8), size=size, channels=1)


def test_an_error_of_another_kind_is_not_laid_on_the_type():
    """A network that casts for itself fails for the shape here, and its weights are float64."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(49, 3).double())
    guards.has_the_dtype_of(model, X, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(ValueError, match="computes in torch.float64"):
        guards.has_the_dtype_of(model, X, RuntimeError("mat1 and mat2 must have the same dtype"))


def test_a_sparse_target_and_a_narrow_seed_are_named():
    with pytest.raises(TypeError, match="x_target is a sparse tensor; .*to_dense"):
        guards.are_target_examples(X.to_sparse(), X)
    with pytest.raises(TypeError, match=r"overflows where seeds are multiplied; pass int\(seed\)"):
        guards.are_settings(1, 1, np.uint8(3), None, None)


def test_a_generator_of_nan_stops_the_game():
    with pytest.raises(FloatingPointError, match="it has diverged in its last step. Lower"):
        guards.has_not_diverged(X * torch.nan)


@pytest.mark.usefixtures("as_reader")
def test_data_that_no_gpu_holds_are_refused_before_they_are_moved(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (900, 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 200)
    with pytest.raises(MemoryError, match="12 training examples take .* and cuda has .* left.*size="):
        guards.fits_in_memory(X, torch.device("cuda"))
    assert X[:3].nbytes < 1000 < X[:4].nbytes, "what PyTorch keeps for reuse counts as free"
    guards.fits_in_memory(X[:3], torch.device("cuda"))
    there = SimpleNamespace(device=torch.device("cuda:0"), nbytes=10**12)
    guards.fits_in_memory(there, torch.device("cuda"))  # is there already


def test_float16_trains_with_its_loss_scaled(monkeypatch):
    """As on older GPUs; a CPU can compute so, too."""
    monkeypatch.setattr(training, "autocast_dtype", lambda _: torch.float16)
    scaled, scale = [], torch.amp.GradScaler.scale
    monkeypatch.setattr(
        torch.amp.GradScaler,
        "scale",
        lambda self, loss: scaled.append(self.is_enabled()) or scale(self, loss),
    )
    history = fit(lenet(3, image_size=8), DATA, num_steps=60, device="cpu", learning_rate=3e-3)
    assert history.train_loss[-1] < 0.7 * history.train_loss[0]
    assert scaled == [True] * 60


def test_a_path_is_a_checkpoint(tmp_path):
    path = Path(tmp_path / "state.pt")
    assert fit(network(), DATA, num_steps=2, device="cpu", checkpoint=path, checkpoint_every=1).num_steps == 2
    assert not path.exists()
