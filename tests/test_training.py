"""The loop: it learns, it is reproducible, it resumes, it stops, it refuses."""

import copy
import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from torch import nn
from torchvision.models import VisionTransformer, alexnet, googlenet

from tlutils import training
from tlutils.domains import Labelled, TestSet
from tlutils.models import Classifier, lenet
from tlutils.training import evaluate, fit


def make_data(num_examples=64, num_classes=3, seed=0):
    """Noisy images whose class is the column that is bright."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(num_examples) % num_classes
    x = 0.3 * torch.rand(num_examples, 1, 8, 8, generator=generator)
    x[torch.arange(num_examples), 0, :, 2 * y] += 0.6
    return Labelled(x, y, num_classes)


def small_net(**kwargs):
    return lenet(3, image_size=8, widths=(4, 8), num_features=16, **kwargs)


def weights(model):
    return torch.cat([value.double().flatten() for value in model.state_dict().values()])


# -- learning ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("mixed_precision", [True, False])
def test_fit_learns_what_can_be_learned(optimizer, mixed_precision):
    model, data = small_net(), make_data()
    test = TestSet(*[getattr(make_data(seed=1), name) for name in ("x", "y", "num_classes")])
    before = evaluate(model, test).accuracy
    rate = 0.1 if optimizer == "sgd" else 3e-3
    history = fit(model, data, num_steps=120, batch_size=16, learning_rate=rate, optimizer=optimizer,
                  mixed_precision=mixed_precision)  # fmt: skip
    assert before < 0.6
    assert evaluate(model, test).accuracy > 0.95
    assert len(history.train_loss) == history.num_steps == 120
    assert history.train_loss[-1] < 0.2 * history.train_loss[0]
    assert history.duration_s > 0


def test_labels_without_relation_to_images_are_not_learned():
    data = make_data(300)
    shuffled = Labelled(data.x, data.y[torch.randperm(300, generator=torch.Generator().manual_seed(0))], 3)
    model = small_net()
    fit(model, shuffled, num_steps=60, batch_size=32)
    # Chance is 1/3; four standard errors of 300 guesses.
    assert evaluate(model, make_data(300, seed=1)).accuracy < 1 / 3 + 4 * (2 / 9 / 300) ** 0.5


def test_a_step_equals_the_same_step_written_out():
    data, model = make_data(8), small_net()
    by_hand = copy.deepcopy(model)
    fit(model, data, num_steps=1, batch_size=8, learning_rate=0.1, optimizer="sgd", momentum=0.0,
        mixed_precision=False)  # fmt: skip
    nn.functional.cross_entropy(by_hand(data.x), data.y).backward()
    with torch.no_grad():
        for parameter in by_hand.parameters():
            parameter -= 0.1 * parameter.grad
    assert torch.allclose(weights(model), weights(by_hand), atol=1e-6)


def test_weight_decay_and_momentum_change_the_result():
    results = []
    for options in ({}, {"weight_decay": 0.5}, {"momentum": 0.5}):
        model = small_net()
        fit(model, make_data(), num_steps=5, optimizer="sgd", learning_rate=0.05, **options)
        results.append(weights(model))
    assert not torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_every_epoch_sees_every_example_once():
    batches = [training.batch_indices(12, 4, step, seed=3) for step in range(6)]
    first, second = torch.cat(batches[:3]), torch.cat(batches[3:])
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(12))
    assert first.tolist() != second.tolist()


def test_a_batch_larger_than_the_data_is_the_data():
    assert sorted(training.batch_indices(5, 64, step=7, seed=0).tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(("schedule", "factors"), [
    ("constant", [1.0, 1.0, 1.0, 1.0]),
    ("cosine", [1.0, 0.8535534, 0.5, 0.1464466]),
    ("step", [1.0, 1.0, 0.1, 0.01]),
])  # fmt: skip
def test_schedules_by_hand(schedule, factors):
    assert [training._rate_factor(schedule, p) for p in (0.0, 0.25, 0.5, 0.75)] == pytest.approx(factors)


def test_schedule_reaches_the_optimiser():
    results = []
    for schedule in training.SCHEDULES:
        model = small_net()
        fit(model, make_data(), num_steps=8, optimizer="sgd", schedule=schedule)
        results.append(weights(model).sum().item())
    assert len(set(results)) == 3


def test_parameter_groups_move_at_their_own_rate():
    model = small_net()
    before = copy.deepcopy(model)
    groups = [{"params": model.backbone.parameters(), "lr": 0.0}, {"params": model.head.parameters()}]
    fit(model, make_data(), num_steps=3, parameter_groups=groups)
    assert torch.equal(weights(model.backbone), weights(before.backbone))
    assert not torch.equal(weights(model.head), weights(before.head))


def test_frozen_parameters_stay_bit_identical():
    model = small_net()
    model.backbone.requires_grad_(False)
    before = weights(model.backbone)
    fit(model, make_data(), num_steps=5, weight_decay=0.1)
    assert torch.equal(weights(model.backbone), before)


def test_augmentation_is_applied_to_training_batches_only():
    model, data, seen = small_net(), make_data(), []

    def blacken(x):
        seen.append(len(x))
        return torch.zeros_like(x)

    fit(model, data, num_steps=4, batch_size=16, augment=blacken, validation=make_data(9))
    assert seen == [16] * 4
    assert evaluate(model, data).accuracy < 0.6, "nothing can be learned from black images"


def test_loss_term_sees_unlabelled_target_images():
    seen = []

    def pull(model, x_source, x_target):
        seen.append((x_source.shape, x_target.shape))
        return 0.1 * (model.features(x_source).mean() - model.features(x_target).mean()) ** 2

    plain, pulled = small_net(), small_net()
    fit(plain, make_data(), num_steps=3, batch_size=16)
    fit(pulled, make_data(), num_steps=3, batch_size=16, loss_term=pull, x_target=torch.rand(20, 1, 8, 8))
    assert seen == [((16, 1, 8, 8), (16, 1, 8, 8))] * 3
    assert not torch.equal(weights(plain), weights(pulled))


# -- reproducibility -----------------------------------------------------------------------------------


def test_same_seed_same_result_other_seed_other_result():
    results = []
    for seed in (0, 0, 1):
        model = small_net(dropout=0.5)
        history = fit(model, make_data(), num_steps=10, batch_size=16, seed=seed)
        results.append((history.train_loss, weights(model)))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])
    assert results[0][0] != results[2][0]


def test_fit_and_evaluate_leave_mode_generator_and_flags_alone():
    for mode in (True, False):
        model = small_net(batch_norm=True).train(mode)
        model.backbone[0].weight.requires_grad_(False)
        state = torch.get_rng_state()
        fit(model, make_data(), num_steps=2)
        buffers = copy.deepcopy(dict(model.named_buffers()))
        evaluate(model, make_data())
        assert model.training is mode
        assert torch.equal(torch.get_rng_state(), state)
        assert not model.backbone[0].weight.requires_grad
        assert all(torch.equal(buffers[name], value) for name, value in model.named_buffers())


def test_evaluation_counts_every_example_once_and_does_not_depend_on_the_batch():
    model, data = small_net(), make_data(50)
    results = [evaluate(model, data, batch_size=size) for size in (1, 7, 50, 1000)]
    assert all(len(result.predictions) == 50 == int(result.confusion.sum()) for result in results)
    assert len({result.accuracy for result in results}) == 1
    assert torch.allclose(results[0].probabilities, results[3].probabilities, atol=1e-6)
    assert torch.allclose(results[0].probabilities.sum(dim=1), torch.ones(50))


def test_evaluation_is_in_float32_and_agrees_with_a_plain_forward():
    model, data = small_net().eval(), make_data()
    with torch.no_grad():
        expected = model(data.x).softmax(dim=1)
    found = evaluate(model, data).probabilities
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=1e-6)


# -- validation ------------------------------------------------------------------------------------------


def test_best_weights_on_validation_are_kept():
    model, validation = small_net(), make_data(30, seed=2)
    history = fit(model, make_data(), num_steps=60, batch_size=16, learning_rate=3e-3, validation=validation)
    found = history.validation_accuracy
    assert history.validation_steps == list(range(4, 61, 4))
    assert history.best_step == history.validation_steps[found.index(max(found))]
    assert evaluate(model, validation).accuracy == max(found)


def test_looking_alone_changes_nothing():
    alone, watched = small_net(), small_net()
    options = {"num_steps": 60, "batch_size": 16, "learning_rate": 3e-3}
    fit(alone, make_data(), **options)
    history = fit(watched, make_data(), validation=make_data(30, seed=2), keep_best=False, **options)

    found = history.validation_accuracy
    assert len(found) == 15
    assert history.best_step == history.validation_steps[found.index(max(found))]
    assert evaluate(watched, make_data(30, seed=2)).accuracy == found[-1]
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), watched.parameters(), strict=True))


def test_early_stopping_waits_its_patience_and_no_longer():
    history = fit(small_net(), make_data(), num_steps=500, batch_size=16, learning_rate=3e-3,
                  validation=make_data(30, seed=2), patience=3)  # fmt: skip
    best = history.validation_accuracy.index(max(history.validation_accuracy))
    assert history.num_steps < 500
    assert len(history.validation_accuracy) == best + 1 + 3


# -- interruption ----------------------------------------------------------------------------------------

OPTIONS = {"num_steps": 30, "batch_size": 16, "schedule": "cosine", "seed": 5, "validate_every": 7}


class Interruption(Exception):
    """Stands for a kernel restart."""


@pytest.mark.parametrize("stop_at", [1, 10, 19, 29])
def test_a_resumed_training_ends_bit_identical(tmp_path, stop_at):
    data, validation, steps = make_data(), make_data(30, seed=2), []

    def interrupt(x):
        steps.append(1)
        if len(steps) == stop_at:
            raise Interruption
        return x + 0.01 * torch.rand_like(x)

    whole, broken = small_net(dropout=0.3, batch_norm=True), small_net(dropout=0.3, batch_norm=True)
    checkpoint = tmp_path / "training.pt"
    expected = fit(
        whole, data, validation=validation, augment=lambda x: x + 0.01 * torch.rand_like(x), **OPTIONS
    )
    with pytest.raises(Interruption):
        fit(broken, data, validation=validation, augment=interrupt, checkpoint=checkpoint, checkpoint_every=5,
            **OPTIONS)  # fmt: skip
    fresh = small_net(dropout=0.3, batch_norm=True, seed=99)  # a new process has lost the old weights
    if not checkpoint.exists():  # stopped before the first checkpoint: nothing to resume
        fresh = small_net(dropout=0.3, batch_norm=True)
    history = fit(fresh, data, validation=validation, checkpoint=checkpoint, checkpoint_every=5,
                  augment=lambda x: x + 0.01 * torch.rand_like(x), **OPTIONS)  # fmt: skip
    assert torch.equal(weights(fresh), weights(whole))
    assert history.train_loss == expected.train_loss
    assert history.validation_accuracy == expected.validation_accuracy
    assert not checkpoint.exists(), "removed at the end, so that the same call trains afresh"


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_training import *
def slow(x):
    time.sleep(0.02)
    return x
path = Path(sys.argv[1])
fit(small_net(dropout=0.3), make_data(), checkpoint=path, checkpoint_every=1, augment=slow, **OPTIONS)
"""


def test_kill_9_leaves_a_checkpoint_that_resumes(tmp_path, request):
    checkpoint = tmp_path / "training.pt"
    process = subprocess.Popen([sys.executable, "-c", KILLED, checkpoint, request.path.parent])
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    whole, resumed = small_net(dropout=0.3), small_net(dropout=0.3, seed=9)
    fit(whole, make_data(), **OPTIONS)
    fit(resumed, make_data(), checkpoint=checkpoint, **OPTIONS)
    assert torch.equal(weights(resumed), weights(whole))


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    checkpoint = tmp_path / "training.pt"
    steps = []

    def interrupt(x):
        steps.append(1)
        if len(steps) == 10:
            raise Interruption
        return x

    with pytest.raises(Interruption):
        fit(small_net(), make_data(), checkpoint=checkpoint, checkpoint_every=2, augment=interrupt, **OPTIONS)
    with pytest.raises(ValueError, match="belongs to another training"):
        fit(small_net(), make_data(), checkpoint=checkpoint, **{**OPTIONS, "seed": 6})
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be read; delete it"):
        fit(small_net(), make_data(), checkpoint=checkpoint, **OPTIONS)


# -- what goes wrong -------------------------------------------------------------------------------------


def test_infinite_loss_stops_at_once_and_says_where():
    with pytest.raises(
        FloatingPointError, match=r"the loss is (nan|inf) at step \d+ \(learning rates \["
    ) as caught:
        fit(small_net(), make_data(), num_steps=200, optimizer="sgd", learning_rate=1e12)
    assert "Lower the learning rate" in str(caught.value)


def test_running_out_of_memory_says_what_to_change(monkeypatch):
    def no_memory(*_args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    model = small_net()
    monkeypatch.setattr(model.backbone, "forward", no_memory)
    with pytest.raises(MemoryError, match="batch_size=16. Try batch_size=8"):
        fit(model, make_data(), num_steps=1, batch_size=16)
    with pytest.raises(MemoryError, match="batch_size=1024. Try batch_size=512"):
        evaluate(model, make_data())


@pytest.mark.usefixtures("as_reader")
def test_test_labels_cannot_train():
    data = make_data()
    with pytest.raises(TypeError, match="test labels are for evaluate alone"):
        fit(small_net(), TestSet(data.x, data.y, 3), num_steps=1)


@pytest.mark.usefixtures("as_reader")
def test_test_labels_cannot_choose_the_best_epoch():
    data = make_data()
    with pytest.raises(TypeError, match="validation is a TestSet"):
        fit(small_net(), data, num_steps=1, validation=TestSet(data.x, data.y, 3))


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({"train": [(1, 2)]}, TypeError, "fit got list; expected Labelled"),
    ({"train": Labelled(torch.zeros(4, 1, 8, 8), torch.zeros(4, dtype=torch.int64), 3)}, ValueError,
     "all 4 labels are class 0"),
    ({"num_steps": 0}, ValueError, "num_steps is 0"),
    ({"batch_size": 0}, ValueError, "batch_size is 0"),
    ({"learning_rate": -1.0}, ValueError, "learning_rate is -1.0"),
    ({"schedule": "cosin"}, ValueError, "schedule='cosin'"),
    ({"optimizer": "adam"}, ValueError, "optimizer='adam'"),
    ({"x_target": torch.zeros(2, 1, 8, 8)}, ValueError, "go together"),
])  # fmt: skip
@pytest.mark.usefixtures("as_reader")
def test_arguments_that_make_no_training_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        fit(small_net(), **{"train": make_data(), "num_steps": 1, **arguments})


def test_a_wholly_frozen_network_is_refused_with_the_way_out():
    model = small_net().requires_grad_(False)
    with pytest.raises(ValueError, match="Freeze first and replace the head afterwards"):
        fit(model, make_data(), num_steps=1)


def test_a_network_for_other_images_or_classes_says_so():
    colour = Labelled(make_data().x.expand(-1, 3, -1, -1), make_data().y, 3)
    with pytest.raises(ValueError, match=r"takes images of 3 channels and received grey .*channels=3"):
        fit(lenet(3, in_channels=3, image_size=8), make_data(), num_steps=1)
    with pytest.raises(ValueError, match=r"cannot take examples of shape \(1, 8, 8\).*size= and channels="):
        fit(lenet(3, image_size=28), make_data(), num_steps=1)
    with pytest.raises(ValueError, match=r"built for images of 16×16 pixels and received shape \(3, 8, 8\)"):
        evaluate(VisionTransformer(16, 4, 1, 1, 8, 8, num_classes=3), colour)
    with pytest.raises(ValueError, match="The smallest it takes are 63×63: load them with size=63"):
        fit(alexnet(num_classes=3), colour, num_steps=1)
    with pytest.raises(ValueError, match="GoogLeNetOutputs; expected one tensor of logits"):
        large = Labelled(torch.zeros(4, 3, 32, 32), torch.tensor([0, 1, 2, 0]), 3)
        fit(googlenet(num_classes=3, init_weights=False), large, num_steps=1)
    with pytest.raises(ValueError, match=r"outputs of shape \(64, 4\).*model_based.replace_head"):
        fit(lenet(4, image_size=8), make_data(), num_steps=1)
    with pytest.raises(ValueError, match="replace_head"):
        evaluate(Classifier(nn.Flatten(), nn.Linear(64, 2)), make_data())


@pytest.mark.usefixtures("as_reader")
def test_evaluate_refuses_what_it_cannot_count():
    with pytest.raises(TypeError, match="Tensor"):
        evaluate(small_net(), torch.zeros(1, 1, 8, 8))
    with pytest.raises(ValueError, match="batch_size is 0"):
        evaluate(small_net(), make_data(), batch_size=0)


def test_history_is_json():
    history = fit(small_net(), make_data(), num_steps=3, validation=make_data(9))
    assert json.loads(json.dumps(history.to_dict())) == history.to_dict()
