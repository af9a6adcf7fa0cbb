"""Fixed features and painted digits: least squares by hand, looks on a small pair of domains, the rule."""

import pytest
import torch
from torch import nn

from second_device import computing_on, second_device
from tlutils.domains import Domain, DomainPair, Labelled, TestSet
from tlutils.generative import image_critic, image_generator
from tlutils.generative import transfer_trials as trials
from tlutils.runtime import new_generator


@pytest.fixture
def small_pair(monkeypatch):
    """Two domains of blots, one per class, so bright that a few steps tell them apart."""

    def examples(n, seed):
        y = torch.arange(n) % 10
        x = 0.1 * torch.rand(n, 1, 16, 16, generator=new_generator(seed))
        x[torch.arange(n), 0, y, y] = 1.0
        return x, y

    def domain(name, seed):
        parts = [examples(60, seed + k) for k in range(3)]
        names = tuple(map(str, range(10)))
        return Domain(name, *(Labelled(*part, 10) for part in parts[:2]), TestSet(*parts[2], 10), names)

    pair = DomainPair(domain("source", 0), domain("target", 5))
    monkeypatch.setattr(trials, "_pair", lambda *_: pair)
    monkeypatch.setattr(trials, "paint", lambda name, x: (x + 0.01 * int(name)).clamp(0, 1))
    trials.painted_digits.cache_clear()
    yield pair
    trials.painted_digits.cache_clear()


def test_the_head_is_that_of_ridge_regression():
    z, y = torch.randn(12, 3, generator=new_generator(0)).double(), torch.arange(12) % 10
    head = trials.linear_head(z.float(), y, ridge=0.5)
    centred = z - z.mean(dim=0)
    wanted = nn.functional.one_hot(y, 10).double()
    damping = 0.5 * centred.square().sum(dim=1).mean() * torch.eye(3)
    weight = torch.linalg.solve(centred.T @ centred + damping, centred.T @ (wanted - wanted.mean(dim=0))).T
    assert torch.allclose(head.weight.double(), weight, atol=1e-5)
    assert torch.allclose(head(z.mean(dim=0).float()).double(), wanted.mean(dim=0), atol=1e-5)


@pytest.mark.usefixtures("as_reader")
def test_a_head_needs_damping_and_a_class_for_each():
    with pytest.raises(ValueError, match="ridge"):
        trials.linear_head(torch.zeros(2, 1), torch.tensor([0, 1]), ridge=0.0)
    with pytest.raises(ValueError, match="2 examples, 1 classes"):
        trials.linear_head(torch.zeros(2, 1), torch.tensor([0]))


def test_every_kind_of_features_can_be_probed(small_pair):
    kinds = trials.kinds_of_features(image_generator(16, width=4), image_critic(16, width=4), seed=7)
    sizes = {name: backbone.eval()(small_pair.target.images[:2]).shape[1] for name, backbone in kinds.items()}
    assert sizes["256 pixels"] == 256
    assert (sizes["thumbnail"], sizes["noise encoder"]) == (64, 8 * 16)
    assert trials.probe_trial(kinds["256 pixels"], 5, seed=0) == 1.0


def test_thumbnails_are_standardised_by_the_target(small_pair):
    thumbnail = trials.kinds_of_features(image_generator(16, width=2), image_critic(16, width=2), seed=7)[
        "thumbnail"
    ]
    z = thumbnail.eval()(small_pair.target.images)
    assert torch.allclose(z.mean(dim=0), torch.zeros(64), atol=1e-4)
    assert torch.allclose(z.var(dim=0), torch.ones(64), atol=0.1)


def test_painted_digits_keep_their_labels(small_pair):
    train, held_out = trials.painted_digits(("3",), 20)
    assert (len(train), len(held_out)) == (20, 60)
    assert torch.equal(train.y, small_pair.source.train.y[:20])
    assert torch.allclose(train.x, (small_pair.source.train.x[:20] + 0.03).clamp(0, 1))


@pytest.mark.usefixtures("small_pair")
@pytest.mark.parametrize("digits", ["painted", "original", "both"])
def test_a_trial_looks_ten_times_and_reads_in_the_end(digits):
    case = {"digits": digits, "moves": digits == "both", "painters": ("0",), "seed": 0, "num_steps": 40}
    found = trials.painted_trial(**case)
    assert [look["step"] for look in found["looks"]] == list(range(4, 41, 4))
    assert set(found["looks"][0]) == {"step", "held out", "information", "test"}
    assert found == trials.painted_trial(**case)
    if digits == "painted":
        assert found["looks"][-1]["test"] > 0.9


@pytest.mark.usefixtures("small_pair")
def test_unknown_digits_a_negative_weight_and_no_painter_are_refused():
    case = {"digits": "painted", "moves": False, "painters": ("0",), "seed": 0, "num_steps": 2}
    for wrong, message in (
        ({"digits": "drawn"}, "'drawn'"),
        ({"painters": ()}, "at least one translator"),
        ({"weight": -1.0}, "weight is -1"),
    ):
        with pytest.raises(ValueError, match=message):
            trials.painted_trial(**case | wrong)


@pytest.mark.parametrize("painters", [("0", "1", "2", "3", "4"), ("3", "1")])
def test_the_painters_take_turns(small_pair, painters):
    train, _ = trials.painted_digits(painters, 20)
    added = (train.x - small_pair.source.train.x[:20]).clamp(min=0).flatten(1).amax(dim=1)
    wanted = torch.tensor([int(painters[i % len(painters)]) for i in range(20)])
    assert torch.allclose(added, 0.01 * wanted, atol=1e-6)
    assert torch.equal(train.y, small_pair.source.train.y[:20])


@pytest.mark.usefixtures("small_pair")
@pytest.mark.parametrize("moves", [False, True])
def test_a_loss_of_information_raises_it(moves):
    without, with_loss = (
        trials.painted_trial("painted", moves, ("0", "1"), seed=0, num_steps=30, weight=weight)["looks"]
        for weight in (0.0, 1.0)
    )
    assert [look["step"] for look in without] == list(range(3, 31, 3))
    assert with_loss[-1]["information"] > without[-1]["information"]


@pytest.mark.usefixtures("data_root")
def test_the_target_is_the_one_that_is_asked_for():
    pair = trials._pair("digits8x8")
    assert (pair.source.name, pair.target.name) == ("mnist", "digits8x8")
    assert pair.target.images.shape[1:] == (1, 16, 16)


def test_the_rule_never_reads_the_truth():
    looks = [
        {"held out": 0.90, "information": 2.2, "test": 0.9},
        {"held out": 0.99, "information": 2.0, "test": 0.5},
        {"held out": 0.985, "information": 2.1, "test": 0.1},
    ]
    assert trials.by_rule(looks) is looks[2]
    with pytest.raises(ValueError, match="no looks"):
        trials.by_rule([])


def probe_twice():
    """Return what the probe finds for each kind of features and two budgets; kinds have parts in common."""
    kinds = trials.kinds_of_features(image_generator(16, width=4), image_critic(16, width=4), seed=7)
    return [trials.probe_trial(backbone, k, seed=0) for backbone in kinds.values() for k in (1, 5)]


@pytest.mark.usefixtures("small_pair")
@pytest.mark.parametrize(
    "trial",
    [
        probe_twice,
        lambda: trials.painted_trial("both", True, ("0",), seed=0, num_steps=4),
        lambda: trials.painted_trial("painted", True, ("0", "1"), seed=0, num_steps=4, weight=0.1),
    ],
)
def test_another_device_changes_nothing(trial):
    with computing_on("cpu"):
        wanted = trial()
    with second_device():
        assert trial() == wanted
