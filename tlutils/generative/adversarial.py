"""The one adversarial loop of the book: two optimisers take turns, everything else is the game's."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from tlutils import guards
from tlutils.files import read_checkpoint, write_checkpoint
from tlutils.generative.game import Batch, Game
from tlutils.generative.history import AdversarialHistory
from tlutils.runtime import autocast_dtype, best_device, new_generator, out_of_memory_advice, seeded
from tlutils.training import batch_indices

__all__ = ["alternate", "fit_game", "phases"]


def alternate(num_discriminator_steps: int = 1) -> Callable[[int], tuple[int, int]]:
    """Return turns in which the discriminator moves k times, then the generator once.

    Raises
    ------
    ValueError
        If `num_discriminator_steps` is below 1.

    Examples
    --------
    >>> alternate(5)(0)
    (5, 1)
    """
    if num_discriminator_steps < 1:
        raise ValueError(f"num_discriminator_steps is {num_discriminator_steps}; expected at least 1")
    return lambda step: (num_discriminator_steps, 1)  # noqa: ARG005


def phases(length: int) -> Callable[[int], tuple[int, int]]:
    """Return turns in which one player moves for `length` rounds while the other is frozen, then the other.

    Raises
    ------
    ValueError
        If `length` is below 1.

    Examples
    --------
    >>> [phases(2)(step) for step in range(4)]
    [(1, 0), (1, 0), (0, 1), (0, 1)]
    """
    if length < 1:
        raise ValueError(f"length is {length}; expected at least 1")
    return lambda step: (1, 0) if step // length % 2 == 0 else (0, 1)


class _Match:
    """Everything that changes from round to round, so that it can be saved and taken up again."""

    def __init__(
        self,
        game: Game,
        rates: tuple[float, float],
        betas: tuple[float, float],
        average: float | None,
        seed: int,
        device: torch.device,
        dtype: torch.dtype | None,
    ) -> None:
        self.game, self.device, self.dtype = game, device, dtype
        players = (game.discriminator, game.generator)
        self.optimizers = [
            torch.optim.Adam(player.parameters(), lr=rate, betas=betas, fused=True)
            for player, rate in zip(players, rates, strict=True)
        ]
        self.scalers = [torch.amp.GradScaler(device.type, enabled=dtype == torch.float16) for _ in players]
        self.average = average
        self.averaged = None if average is None else copy.deepcopy(game.generator).requires_grad_(False)
        self.random = new_generator(seed)
        self.history = AdversarialHistory()

    def _step(self, player: int, loss: Tensor, name: str) -> float:
        """Take one optimiser step of player 0, the discriminator, or 1, the generator; return its loss."""
        value = loss.item()
        guards.players_are_finite(self.game, name, value, self.history.num_rounds)
        if not math.isfinite(value):
            raise FloatingPointError(
                f"the {name}'s loss is {value} in round {self.history.num_rounds}. Lower the learning "
                "rate, check the examples for NaN, or pass mixed_precision=False."
            )
        self.optimizers[player].zero_grad(set_to_none=True)
        self.scalers[player].scale(loss).backward()
        self.scalers[player].unscale_(self.optimizers[player])
        return value

    def _finish(self, player: int) -> None:
        """Apply the gradients that `_step` has left."""
        self.scalers[player].step(self.optimizers[player])
        self.scalers[player].update()

    def move_discriminator(self, batch: Batch) -> dict[str, float]:
        """Let the discriminator move once; return what the history keeps of it."""
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            turn = self.game.discriminator_turn(batch, self.random)
        guards.are_scores(turn.score_real)
        guards.are_scores(turn.score_fake)
        value = self._step(0, turn.loss, "discriminator")
        self._finish(0)
        self.game.after_discriminator()
        real, fake = turn.score_real.detach().float(), turn.score_fake.detach().float()
        right = torch.cat([real > 0, fake < 0]).float()
        names = ("discriminator_loss", "score_real", "score_fake", "share_right")
        return dict(
            zip(names, [value, *torch.stack([real.mean(), fake.mean(), right.mean()]).tolist()], strict=True)
        )

    def move_generator(self, batch: Batch) -> dict[str, float]:
        """Let the generator move once, while the discriminator's weights are held still."""
        self.game.discriminator.requires_grad_(False)
        try:
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
                loss = self.game.generator_loss(batch, self.random)
            value = self._step(1, loss, "generator")
        finally:
            self.game.discriminator.requires_grad_(True)
        gradient = nn.utils.get_total_norm(
            [p.grad for p in self.game.generator.parameters() if p.grad is not None]
        )
        guards.gradient_is_finite(gradient, self.game.generator, self.dtype, self.history.num_rounds)
        self._finish(1)
        if self.averaged is not None:
            _follow(self.averaged, self.game.generator, self.average)
        return {"generator_loss": value, "generator_gradient": gradient.item()}

    def record(self, found: dict[str, float]) -> None:
        """Append one round to the history."""
        for name in ("discriminator_loss", "generator_loss", "score_real", "score_fake", "share_right"):
            getattr(self.history, name).append(found.get(name))
        self.history.generator_gradient.append(found.get("generator_gradient"))
        self.history.num_rounds += 1

    def watch(self, look: Callable[[Game], dict[str, float]]) -> None:
        """Let the caller measure something of the game, and keep it."""
        for name, value in look(self.game).items():
            self.history.watched.setdefault(name, []).append(float(value))
        self.history.watched_rounds.append(self.history.num_rounds)

    def save(self, path: Path, fingerprint: str) -> None:
        """Write the whole state of the match to `path`."""
        state = {
            "game": self.game.state_dict(),
            "averaged": None if self.averaged is None else self.averaged.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "scalers": [scaler.state_dict() for scaler in self.scalers],
            "history": self.history.to_dict(),
            "random": self.random.get_state(),
            "global_random": torch.get_rng_state(),  # dropout
        }
        write_checkpoint(path, fingerprint, state)

    def load(self, path: Path, fingerprint: str) -> None:
        """Take up the match saved at `path`."""
        state = read_checkpoint(path, fingerprint, self.device)
        self.game.load_state_dict(state["game"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        for ours, saved in zip(self.optimizers, state["optimizers"], strict=True):
            ours.load_state_dict(saved)
        for ours, saved in zip(self.scalers, state["scalers"], strict=True):
            ours.load_state_dict(saved)
        self.history = AdversarialHistory(**state["history"])
        self.random.set_state(state["random"].cpu())
        torch.set_rng_state(state["global_random"].cpu())


@torch.no_grad()
def _follow(averaged: nn.Module, model: nn.Module, decay: float) -> None:
    """Move averaged weights a step towards the model's: decay · old + (1 - decay) · new; copy the buffers."""
    torch._foreach_lerp_([*averaged.parameters()], [*model.parameters()], 1 - decay)
    for ours, theirs in zip(averaged.buffers(), model.buffers(), strict=True):
        ours.copy_(theirs)


def _check(x: Tensor, y: Tensor | None, x_target: Tensor | None, **positive: float) -> None:
    """Raise ValueError unless the arguments of `fit_game` make a training."""
    for name, examples in {"x": x, "x_target": x_target}.items():
        if examples is not None and len(examples) == 0:
            raise ValueError(f"{name} is empty: a discriminator needs real examples of each domain")
        if examples is not None and not torch.isfinite(examples).all():
            raise ValueError(f"{name} holds NaN or infinite values")
    if y is not None and len(y) != len(x):
        raise ValueError(f"got {len(y)} classes for {len(x)} examples; expected one each")
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"{name} is {value}; expected a positive number")


def fit_game(
    game: Game,
    x: Float[Tensor, "n ..."],
    *,
    num_rounds: int,
    y: Int[Tensor, " classes"] | None = None,
    x_target: Float[Tensor, "m ..."] | None = None,
    turns: Callable[[int], tuple[int, int]] | None = None,
    batch_size: int = 64,
    learning_rate: float | tuple[float, float] = 2e-4,
    betas: tuple[float, float] = (0.5, 0.999),
    average: float | None = None,
    watch: Callable[[Game], dict[str, float]] | None = None,
    watch_every: int = 100,
    seed: int = 0,
    checkpoint: Path | None = None,
    checkpoint_every: int = 200,
    mixed_precision: bool = True,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> AdversarialHistory:
    r"""Let the two players of `game` move in turns, each down its own loss by Adam; trains in place.

    Parameters
    ----------
    game
        Says what the players minimise.
    x
        Real examples; images in [0, 1].
    num_rounds
        Rounds, at least 1. In a round the players move as `turns` says.
    y
        Classes of the real examples, for a conditional game.
    x_target
        Real examples of a second domain, shuffled by themselves, for a game that translates.
    turns
        Maps the round to (steps of the discriminator, steps of the generator); by default one each.
    batch_size
        Real examples per step; all where there are fewer.
    learning_rate
        Adam's step size, one for both or (discriminator, generator).
    betas
        Adam's decay rates. DCGAN lowers the first from 0.9 to 0.5, gradient-penalty critics to 0.
    average
        Decay a in (0, 1) of a running average of the generator's weights, which ends up in ``game.generator``
        in place of the last weights. It begins at the initial weights, whose share is a**num_rounds at the
        end: choose 1 / (1 - a), the rounds that it looks back, well below `num_rounds`. None: no average.
    watch
        Called with the game after every `watch_every` rounds; what it returns goes into the history.
    watch_every
        Rounds between two calls of `watch`.
    seed
        Seed of the shuffles, the noise and dropout.
    checkpoint
        A file: an interrupted training leaves it, and the same call takes up from it; on the CPU it ends
        bit-identical to a training that was not interrupted. Removed at the end.
    checkpoint_every
        Rounds between two writes of `checkpoint`.
    mixed_precision
        Compute in bfloat16 or float16 where the device gains by it (`runtime.autocast_dtype`).
    device
        Where to train; by default the best device of the machine.
    progress
        Show a progress bar.

    Returns
    -------
    The losses, scores and gradients of every round, and what `watch` saw.

    Raises
    ------
    ValueError
        If a domain is empty or not finite, a number is out of range, the device is not there, the
        checkpoint is another's, or the discriminator's scores come out of a sigmoid.
    TypeError
        If `y` holds no class indices.
    FloatingPointError
        If a loss, the generator's gradient or a player's weights become NaN or infinite; says whose and in
        which round.
    MemoryError
        If the device's memory does not suffice; says which batch size to try.

    Examples
    --------
    >>> from tlutils.generative import Game, point_critic, point_generator
    >>> game = Game(point_generator(), point_critic())
    >>> fit_game(game, torch.randn(128, 2), num_rounds=3, device="cpu").num_rounds
    3
    """
    guards.holds_examples("x", x)
    guards.holds_examples("x_target", x_target)
    guards.are_conditions(y)
    rates = learning_rate if isinstance(learning_rate, tuple) else (learning_rate, learning_rate)
    _check(x, y, x_target, num_rounds=num_rounds, batch_size=batch_size, discriminator_rate=rates[0],
           generator_rate=rates[1], watch_every=watch_every, checkpoint_every=checkpoint_every)  # fmt: skip
    if average is not None and not 0 < average < 1:
        raise ValueError(f"average is {average}; expected a decay in (0, 1), or None")
    guards.has_device(device)
    device = best_device() if device is None else torch.device(device)
    turns = turns or alternate()
    data = [None if tensor is None else tensor.to(device) for tensor in (x, y, x_target)]
    was_training = game.training
    game.to(device, memory_format=torch.channels_last).train()
    match = _Match(
        game, rates, betas, average, seed, device, autocast_dtype(device) if mixed_precision else None
    )
    fingerprint = f"{num_rounds=} {batch_size=} {rates=} {betas=} {average=} {seed=} n={len(x)}"
    try:
        with seeded(seed):
            if checkpoint is not None and checkpoint.exists():
                match.load(checkpoint, fingerprint)
            started = time.perf_counter() - match.history.duration_s
            for step in tqdm(range(match.history.num_rounds, num_rounds), disable=not progress, unit="round"):
                match.record(_play_round(match, data, turns(step), step, batch_size, seed))
                if watch is not None and (step + 1) % watch_every == 0:
                    match.watch(watch)
                match.history.duration_s = time.perf_counter() - started
                if checkpoint is not None and (step + 1) % checkpoint_every == 0 and step + 1 < num_rounds:
                    match.save(checkpoint, fingerprint)
    except torch.OutOfMemoryError as error:
        raise MemoryError(out_of_memory_advice(batch_size, device)) from error
    finally:
        game.train(was_training)
    guards.players_are_finite(game, "", math.nan, num_rounds)
    if match.averaged is not None:
        game.generator.load_state_dict(match.averaged.state_dict())
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return match.history


def _play_round(
    match: _Match, data: list[Tensor | None], turns: tuple[int, int], step: int, batch_size: int, seed: int
) -> dict[str, float]:
    """Let the players move as often as `turns` says, each time on the next batch; return what was found."""
    found: dict[str, float] = {}
    num_moves = max(turns)
    for move in range(num_moves):
        batch = _batch(data, batch_size, step * num_moves + move, seed)
        if move < turns[0]:
            found |= match.move_discriminator(batch)
        if move >= num_moves - turns[1]:
            found |= match.move_generator(batch)
    return found


def _batch(data: list[Tensor | None], batch_size: int, step: int, seed: int) -> Batch:
    """Return the examples of one step; the second domain is shuffled by itself."""
    x, y, x_target = data
    chosen = batch_indices(len(x), batch_size, step, seed).to(x.device)
    if x_target is not None:
        x_target = x_target[batch_indices(len(x_target), batch_size, step, seed + 1).to(x.device)]
    return Batch(x[chosen], None if y is None else y[chosen], x_target)
