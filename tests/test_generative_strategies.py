"""Games that teach a player differently: losses by hand, and the same code as the chapter shows."""

import ast

import pytest
import torch
from torch import nn

from chapters import ROOT, definitions
from tlutils.generative import Batch, Game, minimax_loss, point_critic, point_generator
from tlutils.generative import strategies as games

CHAPTER = ROOT / "chapters" / "adversarial_game.ipynb"


def turn_of(kind, *, steep=None, **labels):
    """Return a turn of one kind of game and of the plain one, on the same batch."""
    batch, turns = Batch(torch.randn(50, 2, generator=torch.Generator().manual_seed(0))), []
    for made in (kind, Game):
        critic = point_critic(seed=1) if steep is None else steep
        game = made(point_generator(seed=0), critic, **(labels if made is kind else {}))
        turns.append(game.discriminator_turn(batch, torch.Generator().manual_seed(3)))
    return turns


def test_minimax():
    batch, random = Batch(torch.zeros(5, 2)), torch.Generator()
    game = games.MinimaxGame(point_generator(seed=0), point_critic(seed=1))
    score = game.discriminator(game.fake(batch, random.manual_seed(1)))
    assert torch.equal(game.generator_loss(batch, random.manual_seed(1)), minimax_loss(score))


def test_hard_labels_give_the_plain_game():
    soft, plain = turn_of(games.SoftLabelGame, real=1.0, fake=0.0)
    assert torch.allclose(soft.loss, plain.loss)


@pytest.mark.parametrize(("real", "fake"), [(0.9, 0.0), (0.8, 0.3)])
def test_soft_labels_are_those_of_the_cross_entropy(real, fake):
    turn, _ = turn_of(games.SoftLabelGame, real=real, fake=fake)
    wanted = sum(
        nn.functional.binary_cross_entropy(score.sigmoid(), torch.full_like(score, label))
        for score, label in ((turn.score_real, real), (turn.score_fake, fake))
    )
    assert torch.allclose(turn.loss, wanted)


def test_the_best_answer_to_soft_labels_is_their_mean():
    score = torch.zeros(1, requires_grad=True)  # one place, 3 real and 1 generated example
    optimizer = torch.optim.Adam([score], lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        losses = [
            3 * (nn.functional.softplus(score) - 0.8 * score),
            nn.functional.softplus(score) - 0.2 * score,
        ]
        sum(losses).sum().backward()
        optimizer.step()
    assert score.sigmoid().item() == pytest.approx((3 * 0.8 + 0.2) / 4, abs=1e-3)


def test_labels_are_probabilities():
    with pytest.raises(ValueError, match="expected probabilities"):
        games.SoftLabelGame(point_generator(), point_critic(), real=1.1, fake=0.0)


class Slope(nn.Module):
    """Score 3 x: a push by e changes it by 3 e."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        return self.factor * x[:, 0]


def test_consistency_is_a_penalty_on_the_slope():
    batch = Batch(torch.zeros(20000, 2))
    game = games.ConsistentGame(point_generator(seed=0), Slope())
    plain = Game(game.generator, game.discriminator)
    losses = [
        one.discriminator_turn(batch, torch.Generator().manual_seed(0)).loss.item() for one in (game, plain)
    ]
    assert losses[0] - losses[1] == pytest.approx(0.1 * 3**2, rel=0.03)


def plain_code(node):
    """Return a class as text, without docstrings, annotations and checks of arguments."""
    node = ast.parse(ast.unparse(node)).body[0]
    node.body = [part for part in node.body if not isinstance(part, ast.Expr)]
    for part in ast.walk(node):
        if isinstance(part, ast.FunctionDef):
            part.returns = None
            part.body = [line for line in part.body if not isinstance(line, ast.If)]
        if isinstance(part, ast.arg):
            part.annotation = None
    return ast.unparse(node).replace("generative.", "")


@pytest.mark.parametrize("name", games.__all__)
def test_the_chapter_shows_the_same_class(name):
    source = (ROOT / "tlutils" / "generative" / "strategies.py").read_text(encoding="utf-8")
    (ours,) = [node for node in ast.parse(source).body if getattr(node, "name", None) == name]
    assert plain_code(definitions(CHAPTER)[name]) == plain_code(ours)
