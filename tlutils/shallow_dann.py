"""The shallow domain-adversarial network as it was published, for a whole grid of settings at once.

One hidden layer of sigmoid units feeds a head that names the class and a critic that names the domain; the
hidden layer is trained for the head and against the critic. As in the publication, one source example and one
target example are taken at a time. All networks of a grid see the same examples in the same order, so their
hidden layers lie side by side in one matrix, of which a step touches only the rows of the words that occur.

There are two classes, so of the two outputs of the head only the difference matters: its two columns always
move by opposite amounts, and one column with twice the step does the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64
from scipy import special
from scipy.sparse import csr_matrix
from sklearn.svm import LinearSVC

from tlutils import tabular

__all__ = [
    "Grid",
    "choose_as_published",
    "fit_grid",
    "published_case",
    "published_machine",
    "reverse_validation",
]

MIN_EPOCHS = 30  # the stopping rule of the published code: that many, or half as many again as the best took
PATIENCE = 1.5
STRENGTHS = tuple(np.logspace(-2, 0, 9).tolist())  # the published grids
PENALTIES = tuple(np.logspace(-5, 0, 10).tolist())


@dataclass
class Grid:
    """One-hidden-layer networks side by side, one for each setting.

    Parameters
    ----------
    strengths
        Weight of the critic for each network; 0 is a plain network.
    widths
        Number of hidden units of each network.
    hidden, hidden_bias
        Weights of all hidden units, one column each, and their biases.
    head, head_bias
        Weights from the hidden units to the score of class 1 over class 0, and a bias for each network.
    epochs
        The epoch at which each network was best, from 0.
    """

    strengths: tuple[float, ...]
    widths: tuple[int, ...]
    hidden: Float[np.ndarray, "features units"]
    hidden_bias: Float[np.ndarray, " units"]
    head: Float[np.ndarray, " units"]
    head_bias: Float[np.ndarray, " networks"]
    epochs: Int64[np.ndarray, " networks"]

    @property
    def starts(self) -> Int64[np.ndarray, " networks"]:
        """The first unit of each network."""
        return np.cumsum([0, *self.widths[:-1]]).astype(np.int64)

    def predict(self, x: csr_matrix) -> Int64[np.ndarray, "n networks"]:
        """Return the class that each network gives to each row."""
        units = special.expit(x @ self.hidden + self.hidden_bias)
        return (np.add.reduceat(units * self.head, self.starts, axis=1) + self.head_bias > 0).astype(np.int64)

    def units_of(self, chosen: Bool[np.ndarray, " networks"]) -> Bool[np.ndarray, " units"]:
        """Return which hidden units belong to the chosen networks."""
        return np.repeat(chosen, self.widths)

    def select(self, chosen: Bool[np.ndarray, " networks"]) -> Grid:
        """Return a grid of the chosen networks alone, which shares no array with this one."""
        units, index = self.units_of(chosen), np.flatnonzero(chosen)
        return Grid(
            strengths=tuple(self.strengths[i] for i in index),
            widths=tuple(self.widths[i] for i in index),
            hidden=self.hidden[:, units],
            hidden_bias=self.hidden_bias[units],
            head=self.head[units],
            head_bias=self.head_bias[chosen],
            epochs=self.epochs[chosen],
        )

    def overwrite(self, chosen: Bool[np.ndarray, " networks"], other: Grid) -> None:
        """Put the networks of `other` in the place of the chosen ones, in order."""
        units = self.units_of(chosen)
        self.hidden[:, units], self.hidden_bias[units] = other.hidden, other.hidden_bias
        self.head[units], self.head_bias[chosen], self.epochs[chosen] = (
            other.head,
            other.head_bias,
            other.epochs,
        )


def fit_grid(
    x: csr_matrix,
    y: Int64[np.ndarray, "n networks"],
    x_new: csr_matrix,
    x_valid: csr_matrix,
    y_valid: Int64[np.ndarray, "m networks"],
    settings: list[tuple[float, int]],
    *,
    rng: np.random.Generator,
    learning_rate: float = 1e-3,
    max_epochs: int = 200,
    start: Grid | None = None,
) -> Grid:
    """Train a network for each setting, and return each as it was when it was best on the validation part.

    Parameters
    ----------
    x, y
        Source examples, and their class for each network (0 or 1; they differ only for a reverse network).
    x_new
        Target examples; one is drawn at random for each source example.
    x_valid, y_valid
        Source examples to stop by: a network is best where it makes the fewest mistakes, the last such epoch.
        It is given up after `MIN_EPOCHS` epochs or `PATIENCE` times the best one, whichever is later.
    settings
        (strength of the critic, number of hidden units) of each network.
    rng
        Draws the initial weights, uniform up to sqrt(6 / (inputs + outputs)), and the target examples.
    learning_rate
        Step size, constant.
    max_epochs
        Passes over the source after which training ends in any case.
    start
        Networks to start from instead of random ones. The critic starts at 0 in any case.

    Returns
    -------
    The networks at their best epochs.

    Raises
    ------
    ValueError
        There is no setting, or the labels are not one for each example and network.

    Source
    ------
    Ganin et al., Domain-adversarial training of neural networks, JMLR 17(59), 2016, Algorithm 1, section 5.1.
    """
    if not settings:
        raise ValueError("settings is empty; expected at least one pair (strength, hidden units)")
    for name, part, labels in (("y", x, y), ("y_valid", x_valid, y_valid)):
        if labels.shape != (part.shape[0], len(settings)):
            raise ValueError(
                f"{name} has shape {labels.shape}; expected one label for each example and network, "
                f"{(part.shape[0], len(settings))}"
            )
    x, x_new, x_valid = (csr_matrix(part, dtype=np.float32) for part in (x, x_new, x_valid))
    running = np.ones(len(settings), dtype=bool)
    networks = (_random_grid(x.shape[1], settings, rng) if start is None else start).select(running)
    best, fewest, until = (
        networks.select(running),
        np.full(len(settings), np.inf),
        MIN_EPOCHS * np.ones(len(settings)),
    )
    critic = [np.zeros_like(networks.hidden_bias), np.zeros_like(networks.head_bias)]
    for epoch in range(max_epochs):
        _one_epoch(networks, critic, x, y[:, running], x_new, learning_rate, rng)
        networks.epochs[:] = epoch
        mistakes = (networks.predict(x_valid) != y_valid[:, running]).sum(axis=0)
        is_best = mistakes <= fewest[running]
        improved = _spread(is_best, running)
        best.overwrite(improved, networks.select(is_best))
        fewest[improved], until[improved] = mistakes[is_best], np.maximum(until[improved], PATIENCE * epoch)
        goes_on = is_best | (epoch <= until[running].astype(int))
        if not goes_on.all():  # what is done costs nothing more
            critic = [critic[0][networks.units_of(goes_on)], critic[1][goes_on]]
            networks, running = networks.select(goes_on), _spread(goes_on, running)
        if not running.any():
            break
    return best


def _spread(flags: np.ndarray, running: np.ndarray) -> np.ndarray:
    """Return flags of the running networks as flags of all networks."""
    everywhere = np.zeros(len(running), dtype=bool)
    everywhere[np.flatnonzero(running)[flags]] = True
    return everywhere


def reverse_validation(
    x: csr_matrix,
    y: Int64[np.ndarray, " n"],
    x_new: csr_matrix,
    settings: list[tuple[float, int]],
    *,
    seed: int,
    max_epochs: int = 200,
) -> tuple[Grid, Float[np.ndarray, " networks"]]:
    """Train a grid, and judge each of its networks without a target label.

    A tenth of either domain is kept apart. Each network labels the rest of the target; with these labels and
    from these weights the same setting is trained back, from target to source. The share of the source's
    tenth that this reverse network gets wrong is the reverse validation risk.

    Parameters
    ----------
    x, y
        Source examples and their classes, 0 or 1.
    x_new
        Target examples.
    settings
        As for `fit_grid`.
    seed
        Decides the tenths, the initial weights and the order of the target examples.
    max_epochs
        As for `fit_grid`.

    Returns
    -------
    The networks, and the reverse validation risk of each.

    Source
    ------
    Ganin et al., JMLR 17(59), 2016, section 5.1.2. There the critic of the reverse network may have started
    from that of the network; here it starts at 0, because its two classes have changed places.
    """
    rng = np.random.default_rng(seed)
    (kept, tenth), (kept_new, tenth_new) = (_split(part.shape[0], rng) for part in (x, x_new))
    repeated = np.repeat(np.asarray(y, dtype=np.int64)[:, None], len(settings), axis=1)
    more = {"settings": settings, "rng": rng, "max_epochs": max_epochs}
    forward = fit_grid(x[kept], repeated[kept], x_new[kept_new], x[tenth], repeated[tenth], **more)
    labels, labels_tenth = forward.predict(x_new[kept_new]), forward.predict(x_new[tenth_new])
    back = fit_grid(x_new[kept_new], labels, x[kept], x_new[tenth_new], labels_tenth, start=forward, **more)
    return forward, (back.predict(x[tenth]) != repeated[tenth]).mean(axis=0)


def choose_as_published(
    x: csr_matrix,
    y: Int64[np.ndarray, " n"],
    x_new: csr_matrix,
    x_test: csr_matrix,
    *,
    strengths: tuple[float, ...],
    widths: tuple[int, ...],
    penalties: tuple[float, ...],
    seed: int,
    max_epochs: int = 200,
) -> dict[str, dict]:
    """Train all three learners of the published table, and choose the settings of each by reverse validation.

    Parameters
    ----------
    x, y
        Source examples and their classes, 0 or 1.
    x_new
        Target examples without labels.
    x_test
        Target examples to predict.
    strengths
        Weights of the critic that the adapted network chooses from.
    widths
        Numbers of hidden units that both networks choose from.
    penalties
        Values of C that the support vector machine chooses from.
    seed
        Decides the split, the initial weights and the order of the target examples.
    max_epochs
        As for `fit_grid`.

    Returns
    -------
    For "plain SVM", "plain network" and "adapted (DANN)": `setting`, `risk` (the lowest reverse validation
    risk; of equal ones the first setting) and `predictions` for `x_test`. A network also has `epoch`, at
    which it was best.
    """
    settings = [(float(strength), width) for width in widths for strength in (0.0, *strengths)]
    grid, risks = reverse_validation(x, y, x_new, settings, seed=seed, max_epochs=max_epochs)
    predictions = grid.predict(x_test)
    chosen = {"plain SVM": _choose_machine(x, y, x_new, x_test, penalties, seed)}
    is_plain = np.array([strength == 0 for strength, _ in settings])
    for name, candidates in (("plain network", is_plain), ("adapted (DANN)", ~is_plain)):
        index = int(np.argmin(np.where(candidates, risks, np.inf)))
        chosen[name] = {
            "setting": list(settings[index]),
            "risk": float(risks[index]),
            "epoch": int(grid.epochs[index]),
            "predictions": predictions[:, index],
        }
    return chosen


def published_case(
    source: str, target: str, seed: int, strengths: tuple[float, ...] = STRENGTHS, max_epochs: int = 200
) -> dict[str, dict]:
    """Measure one row of the published table of the Amazon reviews: raw counts, the published grids.

    Parameters
    ----------
    source, target
        Domains of `tabular.load("amazon_reviews", …)`.
    seed
        Decides the split, the initial weights and the order of the target examples.
    strengths
        Weights of the critic to choose from; default are the published ones. All nine take several minutes.
    max_epochs
        As for `fit_grid`.

    Returns
    -------
    For each learner of `choose_as_published` its `setting`, `risk` (and `epoch`), its accuracy on the
    target's test reviews as `score`, and on how many of them only the adapted network is right
    (`only adapted`) and only this learner (`only this`).

    Source
    ------
    Ganin et al., JMLR 17(59), 2016, section 5.1.3: 9 strengths from 0.01 to 1 and 10 values of C from 0.00001
    to 1, both evenly spaced on a logarithmic scale; 50 or 100 hidden units; learning rate 0.001.
    """
    train, new = (tabular.load("amazon_reviews", domain, "train") for domain in (source, target))
    test = tabular.load("amazon_reviews", target, "test")
    grid = {"strengths": tuple(strengths), "widths": (50, 100), "penalties": PENALTIES}
    chosen = choose_as_published(train.x, train.y, new.x, test.x, **grid, seed=seed, max_epochs=max_epochs)
    right = {name: part.pop("predictions") == test.y for name, part in chosen.items()}
    adapted = right["adapted (DANN)"]
    for name, part in chosen.items():
        part["score"] = float(right[name].mean())
        part["only adapted"] = int((adapted & ~right[name]).sum())
        part["only this"] = int((right[name] & ~adapted).sum())
    return chosen


def published_machine(source: str, target: str, seed: int) -> dict[str, float]:
    """Measure the support vector machine of `published_case` alone, which takes seconds, on another split.

    Parameters
    ----------
    source, target
        Domains of `tabular.load("amazon_reviews", …)`.
    seed
        Decides the split into nine tenths and the tenth that judges.

    Returns
    -------
    Its C as `setting`, and its accuracy on the target's test reviews as `score`, in [0, 1].
    """
    train, new = (tabular.load("amazon_reviews", domain, "train") for domain in (source, target))
    test = tabular.load("amazon_reviews", target, "test")
    found = _choose_machine(train.x, train.y, new.x, test.x, PENALTIES, seed)
    return {"setting": found["setting"][0], "score": float((found["predictions"] == test.y).mean())}


def _choose_machine(
    x: csr_matrix,
    y: np.ndarray,
    x_new: csr_matrix,
    x_test: csr_matrix,
    penalties: tuple[float, ...],
    seed: int,
) -> dict:
    """Choose C of a linear support vector machine by reverse validation, on the split of the networks."""
    rng = np.random.default_rng(seed)
    (kept, tenth), (kept_new, _) = (_split(part.shape[0], rng) for part in (x, x_new))
    risks, machines = [], []
    for penalty in penalties:
        more = {"C": penalty, "loss": "hinge", "max_iter": 20_000, "random_state": 0}
        machine = LinearSVC(**more).fit(x[kept], y[kept])
        labels = machine.predict(x_new[kept_new])
        # A machine that gives one label to everything teaches nothing.
        is_constant = len(np.unique(labels)) == 1
        back = machine if is_constant else LinearSVC(**more).fit(x_new[kept_new], labels)
        guess = np.full(len(tenth), labels[0]) if is_constant else back.predict(x[tenth])
        risks.append(float((guess != y[tenth]).mean()))
        machines.append(machine)
    index = int(np.argmin(risks))
    predictions = machines[index].predict(x_test).astype(np.int64)
    return {"setting": [float(penalties[index])], "risk": risks[index], "predictions": predictions}


def _split(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return nine tenths of the numbers below n, and the other tenth (at least one)."""
    order, size = rng.permutation(n), max(n // 10, 1)
    return order[size:], order[:size]


def _random_grid(num_features: int, settings: list[tuple[float, int]], rng: np.random.Generator) -> Grid:
    """Return networks with the published initial weights; biases are 0."""
    strengths, widths = zip(*settings, strict=True)
    bounds = [np.sqrt(6 / (num_features + width)) for width in widths]
    hidden = [rng.uniform(-bound, bound, (num_features, n)) for bound, n in zip(bounds, widths, strict=True)]
    outputs = [rng.uniform(-1, 1, (2, width)) * np.sqrt(6 / (width + 2)) for width in widths]
    return Grid(
        strengths=tuple(strengths),
        widths=tuple(widths),
        hidden=np.concatenate(hidden, axis=1).astype(np.float32),
        hidden_bias=np.zeros(sum(widths), dtype=np.float32),
        head=np.concatenate([second - first for first, second in outputs]).astype(np.float32),
        head_bias=np.zeros(len(widths), dtype=np.float32),
        epochs=np.zeros(len(widths), dtype=np.int64),
    )


def _one_epoch(
    grid: Grid,
    critic: list[np.ndarray],
    x: csr_matrix,
    y: np.ndarray,
    x_new: csr_matrix,
    rate: float,
    rng: np.random.Generator,
) -> None:
    """Take one step for each source example, in order; all arrays are changed in place."""
    starts, of_unit = grid.starts, np.repeat(np.arange(len(grid.widths)), grid.widths)
    strengths, rate = np.array(grid.strengths, dtype=np.float32), np.float32(rate)
    labels, W, (critic, critic_bias) = y.astype(np.float32), grid.hidden, critic
    for row, other in enumerate(rng.integers(x_new.shape[0], size=x.shape[0]).tolist()):
        (words, counts), (words_new, counts_new) = _row(x, row), _row(x_new, other)
        weights = W[words]
        units = special.expit(counts @ weights + grid.hidden_bias)
        units_new = special.expit(counts_new @ W[words_new] + grid.hidden_bias)
        error = special.expit(np.add.reduceat(units * grid.head, starts) + grid.head_bias) - labels[row]
        # The critic gives the probability of the source; what it gains, the hidden layer loses.
        known = special.expit(np.add.reduceat(units * critic, starts) + critic_bias)
        known_new = special.expit(np.add.reduceat(units_new * critic, starts) + critic_bias)
        push, pull = strengths * (1 - known), strengths * known_new
        down = (error[of_unit] * grid.head + push[of_unit] * critic) * units * (1 - units)
        down_new = -pull[of_unit] * critic * units_new * (1 - units_new)
        grid.head -= 2 * rate * error[of_unit] * units
        grid.head_bias -= 2 * rate * error
        critic += rate * (push[of_unit] * units - pull[of_unit] * units_new)
        critic_bias += rate * (push - pull)
        grid.hidden_bias -= rate * (down + down_new)
        W[words] = weights - counts[:, None] * (rate * down)
        W[words_new] -= counts_new[:, None] * (rate * down_new)


def _row(x: csr_matrix, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns that are not 0 in one row, and their values."""
    part = slice(x.indptr[row], x.indptr[row + 1])
    return x.indices[part], x.data[part]
