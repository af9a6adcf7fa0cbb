"""The shallow adversarial network: one step by autograd, the stopping rule, and a shift that it can undo."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from torch import nn

from tlutils import shallow_dann
from tlutils.shallow_dann import Grid, choose_as_published, fit_grid, reverse_validation


def counts(n: int, seed: int, num_words: int = 12) -> csr_matrix:
    """Return sparse rows of counts."""
    return csr_matrix(np.random.default_rng(seed).poisson(0.4, (n, num_words)).astype(np.float64))


def columns(y: np.ndarray, num_networks: int) -> np.ndarray:
    return np.repeat(np.asarray(y, dtype=np.int64)[:, None], num_networks, axis=1)


def train_by_autograd(
    start: tuple[np.ndarray, ...],
    strength: float,
    x: np.ndarray,
    y: np.ndarray,
    x_new: np.ndarray,
    others: np.ndarray,
) -> list[np.ndarray]:
    """Train one network by its definition: descend on the loss of the head, play against the critic."""
    weights = [torch.tensor(part, dtype=torch.float64, requires_grad=True) for part in start]
    hidden, hidden_bias, head, head_bias, critic, critic_bias = weights
    cross_entropy = nn.functional.cross_entropy
    for row, other in enumerate(others):
        units, units_new = (
            torch.sigmoid(torch.tensor(part, dtype=torch.float64) @ hidden + hidden_bias)
            for part in (x[row], x_new[other])
        )
        loss = cross_entropy(units @ head + head_bias, torch.tensor(y[row]))
        known, known_new = (part @ critic + critic_bias for part in (units, units_new))
        game = strength * (nn.functional.logsigmoid(known) + nn.functional.logsigmoid(-known_new))
        gradients = torch.autograd.grad(loss + game, [hidden, hidden_bias], retain_graph=True)
        gradients += torch.autograd.grad(loss, [head, head_bias], retain_graph=True)
        gradients += torch.autograd.grad(-game, [critic, critic_bias])
        with torch.no_grad():
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= 0.1 * gradient
    return [weight.detach().numpy() for weight in weights]


def test_an_epoch_is_that_of_the_definition_for_every_network_of_a_grid():
    settings = [(0.0, 3), (0.5, 2), (1.0, 4)]
    x, x_new, y = counts(30, 0), counts(20, 1), np.arange(30) % 2
    rng = np.random.default_rng(5)
    grid = shallow_dann._random_grid(12, settings, rng)
    outputs = [rng.normal(size=(2, width)) for _, width in settings]  # the two columns of each head
    grid.head[:] = np.concatenate([second - first for first, second in outputs])
    start = grid.select(np.ones(3, dtype=bool))
    critic = [rng.normal(size=9).astype(np.float32), np.zeros(3, dtype=np.float32)]
    critic_start = critic[0].copy()
    others = np.random.default_rng(7).integers(20, size=30)
    shallow_dann._one_epoch(grid, critic, x, columns(y, 3), x_new, 0.1, np.random.default_rng(7))
    for index, (strength, width) in enumerate(settings):
        units = slice(grid.starts[index], grid.starts[index] + width)
        first = (start.hidden[:, units], start.hidden_bias[units], outputs[index].T, np.zeros(2))
        found = train_by_autograd(
            (*first, critic_start[units], np.zeros(())), strength, x.toarray(), y, x_new.toarray(), others
        )
        np.testing.assert_allclose(grid.hidden[:, units], found[0], atol=1e-5)
        np.testing.assert_allclose(grid.hidden_bias[units], found[1], atol=1e-5)
        np.testing.assert_allclose(grid.head[units], found[2][:, 1] - found[2][:, 0], atol=1e-5)
        np.testing.assert_allclose(grid.head_bias[index], found[3][1] - found[3][0], atol=1e-5)
        np.testing.assert_allclose(critic[0][units], found[4], atol=1e-5)
        np.testing.assert_allclose(critic[1][index], found[5], atol=1e-5)


def test_initial_weights_are_uniform_up_to_the_published_bound():
    grid = shallow_dann._random_grid(400, [(0.0, 50), (0.1, 100)], np.random.default_rng(0))
    for units, width in ((slice(0, 50), 50), (slice(50, 150), 100)):
        bound = np.sqrt(6 / (400 + width))
        assert 0.99 * bound < np.abs(grid.hidden[:, units]).max() <= bound
    assert not grid.hidden_bias.any()
    assert not grid.head_bias.any()


def test_a_network_of_a_grid_does_not_depend_on_its_neighbours():
    # From equal weights and with equal examples, whether or not another is trained, or given up, beside it.
    x, y = counts(40, 0), np.arange(40) % 2
    start = shallow_dann._random_grid(12, [(0.3, 4), (1.0, 5)], np.random.default_rng(3))
    only = np.array([True, False])

    def fit(chosen: np.ndarray) -> Grid:
        settings = [pair for pair, flag in zip([(0.3, 4), (1.0, 5)], chosen, strict=True) if flag]
        labels, labels_valid = (columns(part, len(settings)) for part in (y, [0, 1]))
        rng = np.random.default_rng(9)
        return fit_grid(
            x,
            labels,
            counts(20, 1),
            counts(2, 2),
            labels_valid,
            settings,
            rng=rng,
            start=start.select(chosen),
            max_epochs=50,
        )

    both, alone = fit(np.array([True, True])), fit(only)
    np.testing.assert_array_equal(both.select(only).hidden, alone.hidden)
    assert both.epochs[0] == alone.epochs[0]


@pytest.mark.parametrize(
    ("mistakes", "best", "num_epochs"),
    [
        ([5, 4, 3] + [6] * 300, 2, 32),  # the best comes early: stop after 30 epochs and one more
        ([6] * 40 + [1] + [6] * 300, 31 - 1, 32),  # equal mistakes count as best, so it goes on
        ([6] * 24 + [1] + [6] * 300, 24, 37 + 1),  # 1.5 × 24 = 36
        ([6 - i // 50 for i in range(300)], 199, 200),  # still improving at the end
    ],
)
def test_stopping_rule(monkeypatch, mistakes, best, num_epochs):
    if best == 30:
        best, num_epochs = 40, 62  # 1.5 × 40 = 60
    asked = []

    def predict(_grid: Grid, x: csr_matrix) -> np.ndarray:
        asked.append(x)
        wrong = mistakes[len(asked) - 1]
        return np.array([[1]] * wrong + [[0]] * (x.shape[0] - wrong))

    monkeypatch.setattr(Grid, "predict", predict)
    zeros = np.zeros((8, 1), dtype=np.int64)
    grid = fit_grid(
        counts(8, 0), zeros, counts(8, 1), counts(8, 2), zeros, [(0.0, 2)], rng=np.random.default_rng(0)
    )
    assert (grid.epochs.tolist(), len(asked)) == ([best], num_epochs)


def shifted_problem(seed: int, n: int = 300) -> tuple[csr_matrix, np.ndarray, csr_matrix, np.ndarray]:
    """Return two domains: a word for the class, one for the domain, and one that helps in the source only."""
    rng = np.random.default_rng(seed)
    y, y_new = rng.integers(0, 2, (2, n))
    x, x_new = rng.poisson(0.3, (2, n, 6)).astype(float)
    x[:, 0], x_new[:, 0] = x[:, 0] + 2 * y, x_new[:, 0] + 2 * y_new
    x[:, 1] += 2 * y
    x[:, 2], x_new[:, 2] = x[:, 2] + 3, x_new[:, 2]
    return csr_matrix(x), y, csr_matrix(x_new), y_new


def test_reverse_validation_trains_well_and_judges_with_the_source_alone():
    x, y, x_new, y_new = shifted_problem(0)
    settings = [(0.0, 4), (0.3, 4)]
    grid, risks = reverse_validation(x, y, x_new, settings, seed=0, max_epochs=200)
    assert ((grid.predict(x) == columns(y, 2)).mean(axis=0) > 0.9).all()
    assert ((grid.predict(x_new) == columns(y_new, 2)).mean(axis=0) > 0.75).all()
    assert risks.shape == (2,)
    assert (risks * 30 == np.round(risks * 30)).all(), "a share of the source's tenth"


def test_a_seed_decides_everything():
    x, y, x_new, _ = shifted_problem(0)
    (grid, risks), (again, risks_again), (other, _) = (
        reverse_validation(x, y, x_new, [(0.3, 4)], seed=seed, max_epochs=2) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(grid.hidden, again.hidden)
    np.testing.assert_array_equal(risks, risks_again)
    assert not np.array_equal(grid.hidden, other.hidden)


def test_a_network_without_a_meaning_is_found_out():
    # Labels at random: what the network tells the target is noise, and the way back is no better.
    x, _, x_new, _ = shifted_problem(1)
    noise = np.random.default_rng(2).integers(0, 2, 300)
    _, risks = reverse_validation(x, noise, x_new, [(0.0, 4)], seed=0, max_epochs=20)
    assert risks[0] > 0.25


def test_the_critic_makes_the_domains_harder_to_tell_apart():
    x, y, x_new, _ = shifted_problem(0)
    rng = np.random.default_rng(0)
    labels, settings = columns(y, 2), [(0.0, 6), (1.0, 6)]
    grid = fit_grid(x, labels, x_new, x[:1], labels[:1], settings, rng=rng, learning_rate=0.02, max_epochs=60)

    def apart(index: int) -> float:
        units = slice(6 * index, 6 * index + 6)
        means = [
            1 / (1 + np.exp(-(part.toarray() @ grid.hidden[:, units] + grid.hidden_bias[units])))
            for part in (x, x_new)
        ]
        return float(np.abs(means[0].mean(axis=0) - means[1].mean(axis=0)).mean())

    assert apart(1) < 0.7 * apart(0)


def test_settings_are_those_of_lowest_reverse_risk(monkeypatch):
    x, y, x_new, y_new = shifted_problem(0)
    risks = np.array([0.3, 0.2, 0.2, 0.1, 0.4, 0.5])  # widths 4, 5 with strengths 0, 0.1, 1 each
    train = shallow_dann.reverse_validation
    monkeypatch.setattr(shallow_dann, "reverse_validation", lambda *a, **more: (train(*a, **more)[0], risks))
    more = {"strengths": (0.1, 1.0), "widths": (4, 5), "penalties": (1e-9, 0.1), "seed": 0, "max_epochs": 3}
    chosen = choose_as_published(x, y, x_new, x_new, **more)
    assert chosen["plain network"]["setting"] == [0.0, 5]
    assert chosen["adapted (DANN)"]["setting"] == [0.1, 4], "the first of equal ones"
    assert chosen["plain SVM"]["setting"] == [0.1], "one that gives everything one label teaches nothing"
    assert (chosen["plain SVM"]["predictions"] == y_new).mean() > 0.7
    assert all(part["predictions"].shape == (300,) for part in chosen.values())


@pytest.fixture
def y_new(monkeypatch):
    """Let two small domains, "a" and "b", stand for reviews; return the labels of b's test part."""
    x, y, x_new, y_new = shifted_problem(0)
    parts = {"a/train": (x, y), "b/train": (x_new, None), "b/test": (x_new, y_new)}
    monkeypatch.setattr(
        shallow_dann.tabular,
        "load",
        lambda _, domain, split: SimpleNamespace(
            x=parts[f"{domain}/{split}"][0], y=parts[f"{domain}/{split}"][1]
        ),
    )
    return y_new


def test_a_row_of_the_published_table(monkeypatch, y_new):
    asked = {}

    def choose(*_: object, **more: object) -> dict:
        asked.update(more)
        return {
            "adapted (DANN)": {"predictions": y_new},
            "plain SVM": {"predictions": np.where(np.arange(300) < 60, 1 - y_new, y_new)},
        }

    monkeypatch.setattr(shallow_dann, "choose_as_published", choose)
    found = shallow_dann.published_case("a", "b", 0)
    assert found["plain SVM"] == {"score": 0.8, "only adapted": 60, "only this": 0}
    assert found["adapted (DANN)"] == {"score": 1.0, "only adapted": 0, "only this": 0}
    assert np.round(asked["strengths"], 3).tolist() == [
        0.01,
        0.018,
        0.032,
        0.056,
        0.1,
        0.178,
        0.316,
        0.562,
        1,
    ]
    assert (asked["widths"], asked["seed"], asked["max_epochs"]) == ((50, 100), 0, 200)
    np.testing.assert_allclose(np.log10(asked["penalties"]), np.linspace(-5, 0, 10), atol=1e-12)


@pytest.mark.usefixtures("as_reader")
def test_bad_arguments():
    x, one = counts(4, 0), np.zeros((4, 1), dtype=np.int64)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="settings is empty"):
        fit_grid(x, one, x, x, one, [], rng=rng)
    with pytest.raises(ValueError, match=r"y has shape \(4, 1\); expected .* \(4, 2\)"):
        fit_grid(x, one, x, x, one, [(0.0, 2), (0.1, 2)], rng=rng)
    with pytest.raises(ValueError, match=r"y_valid has shape \(3, 1\)"):
        fit_grid(x, one, x, x, one[:3], [(0.0, 2)], rng=rng)


@pytest.mark.usefixtures("y_new")
def test_the_machine_alone_is_that_of_the_whole_procedure():
    whole = shallow_dann.published_case("a", "b", 3, strengths=(0.1,), max_epochs=1)["plain SVM"]
    alone = shallow_dann.published_machine("a", "b", 3)
    assert alone == {"setting": whole["setting"][0], "score": whole["score"]}
    assert alone["score"] > 0.6
