"""Three ways to tell a network the class, against values computed by hand, and one game for all."""

import ast
import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

import chapters
from tlutils import generative
from tlutils.generative import Batch, fit_game, generate, image_critic
from tlutils.generative.conditional import (
    ConcatenationGenerator,
    ConditionalGame,
    EmbeddingGenerator,
    ProjectionCritic,
    check_classes,
    conditional_critic,
    conditional_generator,
)
from tlutils.runtime import new_generator

WAYS = ("concatenation", "embedding", "projection")
Y = torch.tensor([2, 0, 1])


def images(n=3, seed=0):
    return torch.rand(n, 1, 16, 16, generator=new_generator(seed))


def small_critic(how, norm="none"):
    return conditional_critic(how, 3, width=4, norm=norm)


def small_generator(how="concatenation"):
    return conditional_generator(how, 3, num_latent=5, width=4)


def test_concatenation_puts_a_one_hot_vector_behind_the_noise():
    seen = ConcatenationGenerator(nn.Identity(), num_latent=2, num_classes=3)(torch.full((3, 2), 7.0), Y)
    assert seen.tolist() == [[7, 7, 0, 0, 1], [7, 7, 1, 0, 0], [7, 7, 0, 1, 0]]


def test_embedding_multiplies_the_noise_with_the_vector_of_the_class():
    generator = EmbeddingGenerator(nn.Identity(), num_latent=2, num_classes=3)
    with torch.no_grad():
        generator.embedding.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]))
    assert generator(torch.tensor([[1.0, 10.0]] * 3), Y).tolist() == [[5, 60], [1, 20], [3, 40]]


def test_projection_adds_an_inner_product():
    critic = small_critic("projection")
    x = images()
    features = critic.features(x)
    plain = features @ critic.head.weight[0] + critic.head.bias
    by_hand = torch.stack([plain[i] + features[i] @ critic.embedding.weight[c] for i, c in enumerate(Y)])
    assert torch.allclose(critic(x, Y), by_hand, atol=1e-6)


def test_projection_without_vectors_is_the_plain_critic():
    plain = image_critic(16, width=4)
    critic = ProjectionCritic(image_critic(16, width=4), 3)
    nn.init.zeros_(critic.embedding.weight)
    assert torch.equal(critic(images(), Y), plain(images()))


def test_a_constant_map_acts_as_a_bias_away_from_the_border():
    critic = small_critic("concatenation")
    first = critic.backbone.down1[0]
    maps = torch.zeros(1, 3, 16, 16)
    maps[:, 2] = 1.0
    both = first(torch.cat([2 * images(1) - 1, maps], dim=1))
    alone = nn.functional.conv2d(2 * images(1) - 1, first.weight[:, :1], stride=2, padding=1)
    bias = first.bias + first.weight[:, 3].sum((1, 2))
    inside = (slice(None), slice(None), slice(1, -1), slice(1, -1))
    assert torch.allclose(both[inside], (alone + bias[:, None, None])[inside], atol=1e-6)


def test_concatenation_leaves_the_weights_of_the_pixels_alone():
    wide, plain = small_critic("concatenation"), image_critic(16, width=4)
    assert torch.equal(wide.backbone.down1[0].weight[:, :1], plain.backbone.down1[0].weight)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_critics_hear_the_class(how, norm):
    critic, x = small_critic(how, norm), images()
    assert critic(x, Y).shape == (3,)
    assert not torch.allclose(critic(x, Y), critic(x, (Y + 1) % 3))


def test_a_blind_critic_is_the_plain_one():
    blind, plain = small_critic("blind"), image_critic(16, width=4)
    assert torch.equal(blind(images(), Y), plain(images()))
    with pytest.raises(ValueError, match="knows the classes 0 to 2"):
        blind(images(), Y + 1)


@pytest.mark.parametrize("how", WAYS[:2])
def test_generators_hear_the_class(how):
    generator = small_generator(how).eval()
    z = generator.noise(3, new_generator(0))
    assert not torch.allclose(generator(z, Y), generator(z, (Y + 1) % 3))
    assert generate(generator, 3, seed=1, y=Y).shape == (3, 1, 16, 16)
    assert torch.equal(generate(generator, 3, seed=1, y=Y), generate(generator, 3, seed=1, y=Y, batch_size=2))


def test_concatenation_and_embedding_are_one_thing_if_the_pictures_are_flat():
    """A learned picture that is flat acts as the sum of its class's map with the weights of the others."""
    told, drawn = small_critic("concatenation"), small_critic("embedding")
    drawn.load_state_dict(told.state_dict() | {
        "backbone.down1.0.weight": drawn.backbone.down1[0].weight, "embedding.weight": drawn.embedding.weight
    })  # fmt: skip
    values = torch.tensor([0.5, -1.0, 2.0])
    with torch.no_grad():
        drawn.embedding.weight.copy_(values[:, None].expand(-1, 256))
        for c, value in enumerate(values):
            told.backbone.down1[0].weight[:, 1 + c] = value * drawn.backbone.down1[0].weight[:, 1]
    assert torch.allclose(told(images(), Y), drawn(images(), Y), atol=1e-6)


def test_an_image_of_another_size_gets_the_critics_message():
    for how in WAYS:
        with pytest.raises(ValueError, match=r"built for images of shape \(1, 16, 16\)"):
            small_critic(how)(torch.rand(3, 1, 8, 8, generator=new_generator(0)), Y)


@pytest.mark.parametrize("how", WAYS)
def test_the_same_seed_gives_the_same_weights(how):
    first, second = small_critic(how), small_critic(how)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("how", WAYS)
def test_every_way_trains_in_the_one_loop(how):
    game = ConditionalGame(small_generator(), small_critic(how))
    before = [p.detach().clone() for p in game.parameters()]
    history = fit_game(game, images(12), y=torch.arange(12) % 3, num_rounds=2, batch_size=6, device="cpu")
    assert history.num_rounds == 2
    moved = [not torch.equal(a, b) for a, b in zip(before, game.parameters(), strict=True)]
    assert sum(moved) > len(moved) // 2


def test_an_interrupted_conditional_training_ends_bit_identical(tmp_path):
    def trained(stop_at=None, checkpoint=None):
        def look(_game):
            if stop_at is not None:
                raise KeyboardInterrupt
            return {}

        game = ConditionalGame(small_generator("embedding"), small_critic("projection"))
        fit_game(game, images(12), y=torch.arange(12) % 3, num_rounds=4, batch_size=6, average=0.9, seed=3,
                 watch=look, watch_every=stop_at or 99, checkpoint=checkpoint, checkpoint_every=2,
                 device="cpu")  # fmt: skip
        return game.state_dict()

    whole = trained()
    with pytest.raises(KeyboardInterrupt):
        trained(stop_at=3, checkpoint=tmp_path / "match")
    resumed = trained(checkpoint=tmp_path / "match")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_the_game_asks_for_the_classes_of_the_batch():
    class Answers(nn.Module):
        num_classes = 3

        def noise(self, n, _random):
            return torch.zeros(n, 1)

        def forward(self, _z, y):
            return y.float()

    asked = []

    class Listens(nn.Module):
        def forward(self, x, y):
            asked.append((x.tolist(), y.tolist()))
            return x

    game = ConditionalGame(Answers(), Listens())
    batch = Batch(torch.tensor([9.0, 9.0, 9.0]), Y)
    game.discriminator_turn(batch, new_generator(0))
    game.generator_loss(batch, new_generator(0))
    assert asked == [([9, 9, 9], [2, 0, 1]), ([2, 0, 1], [2, 0, 1]), ([2, 0, 1], [2, 0, 1])]


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (None, ValueError, "the class of each example is missing"),
        (torch.tensor([0, 1, 3]), ValueError, "from 0 to 3; this network knows the classes 0 to 2"),
        (torch.tensor([0, -1, 2]), ValueError, "from -1 to 2"),
        (torch.tensor([0, 1]), ValueError, r"shape \(2,\); expected one class index for each of 3"),
        (torch.tensor([0.0, 1.0, 2.0]), TypeError, "expected class indices"),
    ],
)
def test_one_message_for_each_wrong_class(y, error, message):
    with pytest.raises(error, match=message):
        check_classes(y, 3, 3)


def test_players_pass_the_message_on():
    game = ConditionalGame(small_generator(), small_critic("projection"))
    with pytest.raises(ValueError, match="the class of each example is missing"):
        fit_game(game, images(6), num_rounds=1, device="cpu")
    with pytest.raises(ValueError, match="knows the classes 0 to 2"):
        fit_game(game, images(6), y=torch.tensor([0, 1, 2, 3, 0, 1]), num_rounds=1, device="cpu")
    for how in WAYS:
        with pytest.raises(ValueError, match="knows the classes 0 to 2"):
            small_critic(how)(images(), Y + 1)


def test_unknown_ways_are_named():
    with pytest.raises(ValueError, match=r"how is 'telepathy'; expected one of \('concatenation', 'emb"):
        conditional_critic("telepathy")
    with pytest.raises(ValueError, match="how is 'projection'"):
        conditional_generator("projection")
    with pytest.raises(ValueError, match="num_classes is 1"):
        conditional_generator(num_classes=1)
    with pytest.raises(ValueError, match="norm is 'spectral'"):
        conditional_critic(norm="spectral")


def chapter_classes():
    """Return the networks and the game as the chapter writes them."""
    found = chapters.definitions(chapters.ROOT / "chapters" / "conditional_gan.ipynb")
    scope = vars(generative) | {"torch": torch, "nn": nn, "one_hot": one_hot}
    for name, node in found.items():
        if name == "score_with" or name.startswith(("Concat", "Embedding", "Projection", "ConditionalGame")):
            exec(compile(ast.unparse(node), name, "exec"), scope)
    return scope


@pytest.mark.parametrize("how", WAYS)
def test_the_chapter_writes_the_same_critics_and_the_same_game(how):
    ours, shown, x = conditional_critic(how, width=4), chapter_classes(), images()
    theirs = shown[f"{how.capitalize()}Critic"](copy.deepcopy(ours.backbone), copy.deepcopy(ours.head))
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(ours(x, Y), theirs(x, Y))

    generator = conditional_generator(width=4).eval()
    games = ConditionalGame(generator, ours), shown["ConditionalGame"](generator, theirs)
    turns = [game.discriminator_turn(Batch(x, Y), new_generator(0)) for game in games]
    assert all(torch.equal(a, b) for a, b in zip(*turns, strict=True))
    losses = [game.generator_loss(Batch(x, Y), new_generator(0)) for game in games]
    assert torch.equal(*losses)


@pytest.mark.parametrize("how", WAYS[:2])
def test_the_chapter_writes_the_same_generators(how):
    ours = conditional_generator(how, width=4).eval()
    theirs = chapter_classes()[f"{how.capitalize()}Generator"](ours.layers, ours.num_latent)
    theirs.load_state_dict(ours.state_dict())
    z = ours.noise(3, new_generator(0))
    assert torch.equal(ours(z, Y), theirs(z, Y))
