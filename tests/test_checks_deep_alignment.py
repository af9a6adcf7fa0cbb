"""Each likely mistake in the exercises of the chapter `deep_alignment` is named."""

import pytest
import torch

from tlutils.exercises import verdict


def means(model, x, x_target, *, cut=()):
    source, target = model.features(x).mean(dim=0), model.features(x_target).mean(dim=0)
    source = source.detach() if "source" in cut else source
    target = target.detach() if "target" in cut else target
    return (source - target).square().sum()


def sever(model, x, x_target):
    with torch.no_grad():
        return means(model, x, x_target)


def skewed(model, x, x_target):
    right = means(model, x, x_target)
    return 2 * right - right.detach()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda *a: means(*a).item(), "returns float"),
        (lambda *a: means(*a).sqrt(), "squared distance of the means is"),
        (sever, "carries no gradient"),
        (lambda *a: means(*a, cut=["source"]), "only the target batch"),
        (lambda *a: means(*a, cut=["target"]), "only the source batch"),
        (skewed, "its gradient is not"),
    ],
)
def test_mistakes_in_a_term_are_named(answer, says):
    is_right, sentence = verdict("deep_alignment/pulled_term", answer)
    assert not is_right
    assert says in sentence


def test_a_term_that_pulls_passes():
    assert verdict("deep_alignment/pulled_term", means)[0]


def over_wrong_axis(x):
    rows = x - x.mean(dim=1, keepdim=True)
    return rows.T @ rows / (len(x) - 1)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda x: x.tolist(), "you return list"),
        (torch.cov, "between features"),
        (over_wrong_axis, "wrong axis"),
        (lambda x: x.T @ x / (len(x) - 1), "not centred at all"),
        (lambda x: torch.cov(x.T, correction=0), "unbiased covariance"),
        (lambda x: 3 * torch.cov(x.T), "not the covariance"),
    ],
)
def test_mistakes_in_a_covariance_are_named(answer, says):
    is_right, sentence = verdict("deep_alignment/covariance_of", answer)
    assert not is_right
    assert says in sentence


def test_the_covariance_passes():
    assert verdict("deep_alignment/covariance_of", lambda x: torch.cov(x.T))[0]


def best(looks, key):
    return max(looks, key=lambda look: look[key])["step"]


def rule(looks, margin=0.01):
    enough = max(look["source accuracy"] for look in looks) - margin
    return best([look for look in looks if look["source accuracy"] >= enough], "information")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda looks: best(looks, "source accuracy"), "best source accuracy"),
        (lambda looks: rule(looks, 0.02), "1.5 points below"),
        (lambda looks: best(looks, "information"), "forgotten the source"),
        (lambda looks: best(looks, "test"), "which no rule may read"),
        (lambda _: 7, "one of the looks"),
        (lambda _: None, "expected one number"),
        (lambda _: 200, "another order"),
    ],
)
def test_mistakes_in_a_stopping_rule_are_named(answer, says):
    is_right, sentence = verdict("deep_alignment/honest_step", answer)
    assert not is_right
    assert says in sentence


def test_the_honest_rule_passes():
    assert verdict("deep_alignment/honest_step", rule)[0]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda p, q: (p - q).abs().sum(), "twice too much"),
        (lambda p, q: (p - q).sum(), "surplus and lack cancel"),
        (lambda p, q: (p - q).square().sum(), "you return"),
        (lambda *_: "a lot", "expected one number"),
    ],
)
def test_mistakes_in_the_bound_are_named(answer, says):
    is_right, sentence = verdict("deep_alignment/least_error", answer)
    assert not is_right
    assert says in sentence


def test_the_bound_passes():
    assert verdict("deep_alignment/least_error", lambda p, q: (p - q).clamp(min=0).sum())[0]
