"""Translators, the buffer of earlier images and the cycle game, against values computed by hand."""

import ast

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, l1_loss

import chapters
from second_device import computing_on, second_device
from tlutils import generative
from tlutils.domains import Domain, Labelled, TestSet
from tlutils.generative import (
    Batch,
    CycleGame,
    ImageBuffer,
    adversarial,
    fit_game,
    image_critic,
    image_translator,
    point_critic,
    translate,
)
from tlutils.models import Classifier, lenet
from tlutils.runtime import new_generator


class Shift(nn.Module):
    """Add a number: a translator whose losses can be computed by hand."""

    def __init__(self, by):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(float(by)))

    def forward(self, x):
        return x + self.by


class Sum(nn.Module):
    """Score an example by the sum of its numbers."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x):
        return self.factor * x.flatten(1).sum(dim=1)


def images(n=4, channels=1, seed=0):
    return torch.rand(n, channels, 16, 16, generator=new_generator(seed))


def small_game(reader=None, buffers=None, **weights):
    players = [image_translator(16, width=4, num_blocks=1, seed=s) for s in (0, 1)]
    players += [image_critic(16, width=4, norm="batch", seed=s) for s in (2, 3)]
    return CycleGame(*players, reader=reader, buffers=buffers, **weights)


LOSSES = ("adversarial_target", "adversarial_source", "cycle", "identity", "semantic")


class TestTranslator:
    @pytest.mark.parametrize(("size", "channels"), [(16, (1, 1)), (28, (1, 3)), (32, (3, 1)), (64, (3, 3))])
    def test_changes_channels_and_keeps_the_size(self, size, channels):
        x = torch.rand(2, channels[0], size, size, generator=new_generator(0))
        y = image_translator(size, channels=channels, width=2, num_blocks=1)(x)
        assert y.shape == (2, channels[1], size, size)
        assert 0 <= y.min() <= y.max() <= 1

    def test_blocks_start_as_additions(self):
        plain, deep = (image_translator(16, width=2, num_blocks=n) for n in (0, 3))
        sizes = [sum(p.numel() for p in network.parameters()) for network in (plain, deep)]
        assert sizes[1] - sizes[0] == 3 * 2 * (
            4 * 4 * 9 + 4 + 2 * 4
        )  # two convolutions with bias, a scale and a shift

    def test_the_same_seed_gives_the_same_weights(self):
        first, second, other = (image_translator(seed=s).state_dict() for s in (5, 5, 6))
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert not all(torch.equal(first[name], other[name]) for name in first)

    @pytest.mark.parametrize("wrong", [{"image_size": 18}, {"image_size": 12}, {"image_size": 68}])
    def test_sizes_that_do_not_fit(self, wrong):
        with pytest.raises(ValueError, match="expected a multiple of 4 from 16 to 64"):
            image_translator(**wrong)

    @pytest.mark.parametrize("wrong", [{"channels": (1, 2)}, {"width": 0}, {"num_blocks": -1}])
    def test_numbers_out_of_range(self, wrong):
        with pytest.raises(ValueError, match="expected 1 or 3 channels"):
            image_translator(**wrong)

    def test_images_of_other_channels_get_one_message(self):
        with pytest.raises(ValueError, match=r"shape \(1, 16, 16\), channels first, and got \(3, 16, 16\)"):
            image_translator(width=2)(images(channels=3))


class TestTranslate:
    def test_gives_the_same_whatever_the_batch(self):
        network = image_translator(width=2).train()
        whole, parts = translate(network, images(5)), translate(network, images(5), batch_size=2)
        assert torch.allclose(whole, parts, atol=1e-6)
        assert torch.allclose(whole, network(images(5)), atol=1e-6)  # no difference between training and use
        assert network.training
        assert not whole.requires_grad

    def test_uses_the_evaluation_mode(self):
        assert torch.equal(translate(nn.Dropout(0.5).train(), images()), images())

    @pytest.mark.parametrize("wrong", [{"x": images(0)}, {"x": images(), "batch_size": 0}])
    def test_nothing_to_translate(self, wrong):
        with pytest.raises(ValueError, match="expected at least 1 of each"):
            translate(nn.Identity(), **wrong)


class TestBuffer:
    def test_shows_new_ones_until_it_is_full(self):
        buffer, random = ImageBuffer(5, (1,)), new_generator(0)
        for start in (0.0, 2.0):
            new = torch.tensor([[start], [start + 1]])
            assert torch.equal(buffer.exchange(new, random), new)
        assert buffer.images.flatten().tolist() == [0, 1, 2, 3, 0]
        assert int(buffer.num_filled) == 4

    def test_loses_and_doubles_no_image(self):
        """What was inside and what came in is afterwards inside, or shown and not kept."""
        buffer, random = ImageBuffer(8, (1,)), new_generator(1)
        buffer.exchange(torch.arange(8.0).unsqueeze(1), random)
        for step in range(1, 6):
            new = torch.arange(8.0 * step, 8 * step + 6).unsqueeze(1)
            before = buffer.images.flatten().tolist() + new.flatten().tolist()
            shown = buffer.exchange(new, random)
            assert sorted(buffer.images.flatten().tolist() + shown.flatten().tolist()) == sorted(before)

    def test_shows_about_as_many_old_ones_as_new_ones(self):
        buffer, random = ImageBuffer(1000, (1,)), new_generator(2)
        buffer.exchange(torch.zeros(1000, 1), random)
        shown = buffer.exchange(torch.ones(1000, 1), random)
        assert 0.45 < shown.mean() < 0.55

    def test_a_batch_larger_than_the_buffer(self):
        buffer, random = ImageBuffer(2, (1,)), new_generator(0)
        new = torch.arange(9.0).unsqueeze(1)
        assert len(buffer.exchange(new, random)) == len(buffer.exchange(new + 9, random)) == 9
        assert int(buffer.num_filled) == 2

    def test_passes_no_gradient_and_changes_nothing_that_came_in(self):
        buffer, x = ImageBuffer(2, (1,)), torch.ones(2, 1, requires_grad=True)
        assert not buffer.exchange(x * 2, new_generator(0)).requires_grad
        assert x.tolist() == [[1], [1]]

    def test_no_places(self):
        with pytest.raises(ValueError, match="num_images is 0"):
            ImageBuffer(0, (1,))


class TestGame:
    batch = Batch(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 1]), torch.tensor([[10.0], [20.0]]))

    def game(self, **weights):
        reader = Classifier(nn.Identity(), nn.Linear(1, 2))
        nn.init.zeros_(reader.head.weight)
        reader.head.bias.data = torch.tensor([0.0, 1.0])
        return CycleGame(Shift(2), Shift(-5), Sum(), Sum(0.5), reader=reader, **weights)

    def test_losses_by_hand(self):
        found = {k: v.item() for k, v in self.game(semantic=1.0).losses(self.batch).items()}
        # G(x) = 3, 5 and F(x) = 5, 15; the critic of the target scores x, that of the source x / 2
        assert found["adversarial_target"] == pytest.approx(((3 - 1) ** 2 + (5 - 1) ** 2) / 2)
        assert found["adversarial_source"] == pytest.approx((1.5**2 + 6.5**2) / 2)
        assert found["cycle"] == pytest.approx(3 + 3)  # there and back moves everything by 2 - 5
        assert found["identity"] == pytest.approx(2 + 5)
        wanted = torch.log_softmax(torch.tensor([0.0, 1.0]), dim=0)
        assert found["semantic"] == pytest.approx(-wanted.mean().item())

    def test_the_generators_loss_is_their_weighted_sum(self):
        weights = dict(zip(LOSSES, (0.5, 0.7, 2.0, 3.0, 4.0), strict=True))
        game = self.game(**weights)
        losses = game.losses(self.batch)
        by_hand = sum(w * losses[name] for name, w in weights.items())
        assert game.generator_loss(self.batch, new_generator(0)).item() == pytest.approx(by_hand.item())

    @pytest.mark.parametrize("name", LOSSES)
    def test_a_loss_without_weight_is_left_out(self, name):
        weights = dict.fromkeys(LOSSES, 1.0) | {name: 0.0}
        assert {*self.game(**weights).losses(self.batch)} == {*weights} - {name}

    def test_the_discriminators_turn_by_hand(self):
        turn = self.game().discriminator_turn(self.batch, new_generator(0))
        on_target = ((10 - 1) ** 2 + (20 - 1) ** 2 + 3**2 + 5**2) / 2
        on_source = ((0.5 - 1) ** 2 + (1.5 - 1) ** 2 + 2.5**2 + 7.5**2) / 2
        assert turn.loss.item() == pytest.approx((on_target + on_source) / 2)
        assert sorted(turn.score_real.tolist()) == [0.0, 1.0, 9.5, 19.5]
        assert sorted(turn.score_fake.tolist()) == [2.0, 2.5, 4.5, 7.0]

    def test_the_critics_are_shown_what_the_buffers_give(self):
        buffers = tuple(ImageBuffer(2, (1,)) for _ in range(2))
        game = CycleGame(Shift(2), Shift(-5), Sum(), Sum(0.5), buffers=buffers)
        game.discriminator_turn(self.batch, new_generator(0))
        assert buffers[0].images.flatten().tolist() == [3, 5]
        assert buffers[1].images.flatten().tolist() == [5, 15]
        with torch.no_grad():
            game.generator["to_target"].by.fill_(100.0)
        seen = {score for s in range(20) for score in self.old_game(buffers, s)}
        assert 3.0 - 0.5 in seen  # an earlier translation, scored by its sum

    def old_game(self, buffers, seed):
        game = CycleGame(Shift(100), Shift(-5), Sum(), Sum(0.5), buffers=buffers)
        return game.discriminator_turn(self.batch, new_generator(seed)).score_fake.tolist()

    def test_the_reader_stays_as_it_was(self):
        reader = lenet(image_size=16, dropout=0.5)
        before = {name: value.clone() for name, value in reader.state_dict().items()}
        game = small_game(reader, semantic=1.0)
        fit_game(game, images(), y=torch.arange(4), x_target=images(seed=1), num_rounds=2, device="cpu")
        assert not game.train().reader.training
        assert all(torch.equal(before[name], value) for name, value in reader.state_dict().items())

    def test_learns_a_shift(self):
        critics = [point_critic(2, width=16, seed=s) for s in range(2)]
        game = CycleGame(Shift(0), Shift(0), *critics, cycle=1.0, identity=0.0)
        x = torch.randn(256, 2, generator=new_generator(0)) * 0.5
        other = torch.randn(300, 2, generator=new_generator(1)) * 0.5 + 1.0
        fit_game(game, x, x_target=other, num_rounds=300, learning_rate=1e-2, device="cpu")
        assert game.generator["to_target"].by.item() == pytest.approx(1.0, abs=0.3)
        assert game.generator["to_source"].by.item() == pytest.approx(-1.0, abs=0.3)

    def test_an_interrupted_training_ends_bit_identical(self, tmp_path):
        def trained(stop_at=None, checkpoint=None):
            def look(_game):
                if stop_at is not None:
                    raise KeyboardInterrupt
                return {}

            buffers = tuple(ImageBuffer(6, (1, 16, 16)) for _ in range(2))
            game = small_game(lenet(image_size=16), buffers, semantic=1.0)
            fit_game(game, images(12), y=torch.arange(12) % 10, x_target=images(9, seed=1), num_rounds=6,
                     batch_size=4, average=0.9, seed=3, watch=look, watch_every=stop_at or 99,
                     checkpoint=checkpoint, checkpoint_every=2, device="cpu")  # fmt: skip
            return game.state_dict()

        whole = trained()
        with pytest.raises(KeyboardInterrupt):
            trained(stop_at=5, checkpoint=tmp_path / "match")
        resumed = trained(checkpoint=tmp_path / "match")
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)
        assert int(whole["buffers_of.target.num_filled"]) == 6

    def test_domains_of_other_channels_without_an_identity_loss(self):
        players = [image_translator(16, channels=c, width=2, num_blocks=0) for c in ((1, 3), (3, 1))]
        critics = [image_critic(16, channels=c, width=2) for c in (3, 1)]
        game = CycleGame(*players, *critics, identity=0.0)
        history = fit_game(game, images(), x_target=images(6, channels=3), num_rounds=1, device="cpu")
        assert history.num_rounds == 1


class TestBadInput:
    def test_a_negative_weight(self):
        with pytest.raises(ValueError, match=r"'cycle': -1.*expected none below 0"):
            small_game(cycle=-1.0)

    def test_a_semantic_loss_without_a_reader(self):
        with pytest.raises(ValueError, match="there is no reader"):
            small_game(semantic=1.0)

    @pytest.mark.parametrize("place", [0, 1])
    def test_a_critic_that_gives_probabilities(self, place):
        critics = [Sum(), Sum()]
        critics[place] = nn.Sequential(Sum(), nn.Sigmoid())
        with pytest.raises(ValueError, match="ends in Sigmoid"):
            CycleGame(Shift(0), Shift(0), *critics)

    def test_no_second_domain(self):
        with pytest.raises(ValueError, match="no examples of the second domain"):
            fit_game(small_game(), images(), num_rounds=1, device="cpu")

    def test_an_empty_second_domain(self):
        with pytest.raises(ValueError, match="x_target is empty"):
            fit_game(small_game(), images(), x_target=images(0), num_rounds=1, device="cpu")

    def test_a_second_domain_of_other_channels(self):
        with pytest.raises(ValueError, match=r"got \(3, 16, 16\)"):
            fit_game(small_game(), images(), x_target=images(channels=3), num_rounds=1, device="cpu")

    def test_an_identity_loss_between_shapes(self):
        game = CycleGame(Shift(0), Shift(0), Sum(), Sum(), cycle=0.0)
        with pytest.raises(ValueError, match="set identity=0"):
            game.losses(Batch(torch.zeros(2, 1), x_target=torch.zeros(2, 3)))

    @pytest.mark.parametrize(
        ("y", "message"),
        [(None, "the class of each example is missing"), (torch.full((4,), 10), "from 10 to 10")],
    )
    def test_classes_that_the_reader_cannot_mean(self, y, message):
        with pytest.raises(ValueError, match=message):
            fit_game(small_game(lenet(image_size=16), semantic=1.0), images(), y=y, x_target=images(seed=1),
                     num_rounds=1, device="cpu")  # fmt: skip

    def test_a_translator_that_gives_nan(self):
        game = small_game()
        nn.init.constant_(game.generator["to_target"][-2].bias, float("nan"))
        with pytest.raises(FloatingPointError, match="loss is nan in round 0"):
            fit_game(game, images(), x_target=images(seed=1), num_rounds=1, device="cpu")


def test_the_chapter_writes_the_same_game():
    """Losses and turns of the class shown in the chapter equal those of the package, buffers included."""
    scope = vars(generative) | {"torch": torch, "nn": nn, "l1_loss": l1_loss, "cross_entropy": cross_entropy}
    shown = chapters.definitions(chapters.ROOT / "chapters" / "cyclegan.ipynb")["CycleGame"]
    exec(compile(ast.unparse(shown), "CycleGame", "exec"), scope)
    reader, batch = lenet(image_size=16), Batch(images(6), torch.arange(6), images(5, seed=1))
    weights = {"cycle": 10.0, "identity": 0.5, "semantic": 2.0}
    for keeps in (False, True):
        buffers = [[ImageBuffer(4, (1, 16, 16)) for _ in range(2)] if keeps else None for _ in range(2)]
        ours = small_game(reader, buffers[0] and tuple(buffers[0]), **weights)
        players = [*ours.generator.values(), ours.discriminator["target"], ours.discriminator["source"]]
        stores = buffers[1] and dict(zip(("target", "source"), buffers[1], strict=True))
        theirs = scope["CycleGame"](*players, [1.0, *weights.values()], reader, stores)
        for seed in range(3):
            turns = [game.discriminator_turn(batch, new_generator(seed)) for game in (ours, theirs)]
            assert torch.allclose(turns[0].loss, turns[1].loss)
            losses = [game.generator_loss(batch, new_generator(seed)) for game in (ours, theirs)]
            assert torch.allclose(*losses)


def test_another_device_changes_nothing_in_the_chapter(monkeypatch):
    """On points, and on images with readers that several trainings share."""
    scope, y = {}, torch.arange(60) % 10
    for cell in chapters.cells(chapters.ROOT / "chapters" / "cyclegan.ipynb"):
        if cell["id"] in ("imports", "blobs", "players", "trial"):
            exec(cell["source"], scope)
    parts = (Labelled(images(60), y, 10), Labelled(images(60, seed=1), y, 10), TestSet(images(60), y, 10))
    domain = Domain("digits", *parts, class_names=tuple("0123456789"))
    readers = {
        name: lenet(image_size=16, seed=seed).eval()
        for seed, name in enumerate(("teacher", "second", "measure", "plain"))
    }
    scope |= {"digit_domains": lambda *_: (domain, domain), "readers": lambda: readers}
    scope["estimated_shares"] = lambda *_: torch.full((10,), 0.1)
    monkeypatch.setattr(adversarial, "autocast_dtype", lambda _device: None)  # as there

    def measured():
        pair = [scope["judged"](*scope["translators"]("", seed, 2), 40) for seed in (0, 1)]
        return scope["turn_blobs"](80, 1.0, 0, 2), pair

    with computing_on("cpu"):
        wanted = measured()
    with second_device():
        assert measured() == wanted
    assert {weight.device.type for reader in readers.values() for weight in reader.parameters()} == {"cpu"}
