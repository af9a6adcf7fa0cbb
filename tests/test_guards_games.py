"""What a game, a generator or a score cannot be given is refused by name; what is healthy passes."""

import math
import re
import subprocess
import sys

import pytest
import torch
from torch import nn

from tlutils import guards
from tlutils.generative import (
    AdversarialHistory,
    Batch,
    ConditionalGame,
    Critic,
    CycleGame,
    FixedPoints,
    Game,
    Generator,
    HingeGame,
    ImageBuffer,
    PenaltyGame,
    WassersteinGame,
    adversarial,
    class_shares,
    conditional_critic,
    conditional_generator,
    diversity,
    fit_encoder,
    fit_game,
    frechet_distance,
    generate,
    gradient_penalty,
    image_critic,
    image_generator,
    image_translator,
    information,
    labelled_by,
    nearest,
    point_critic,
    point_generator,
    precision_recall,
    recognised,
    translate,
)
from tlutils.models import Classifier, lenet
from tlutils.runtime import new_generator

POINTS = torch.randn(64, 2, generator=new_generator(0))
IMAGES = torch.rand(12, 1, 16, 16, generator=new_generator(1))
COLOUR = torch.rand(12, 3, 16, 16, generator=new_generator(2))
Y = torch.arange(12) % 10
BAD = IMAGES.clone()
BAD[3, 0, 0, 0] = math.nan
BAD[7, 0, 5, 5] = math.inf


def reader():
    return Classifier(nn.Flatten(), nn.Linear(256, 10))


def translator(*channels):
    return image_translator(16, channels=channels or (1, 1), width=2)


def critic(channels=1, **options):
    return image_critic(16, channels=channels, width=2, **options)


def points_game(kind=Game):
    return kind(point_generator(width=8), point_critic(width=8))


def play(game, x=POINTS, **options):
    return fit_game(game, x, num_rounds=options.pop("num_rounds", 1), device="cpu", **options)


class TestNumbers:
    @pytest.mark.parametrize(("use", "name"), [
        (lambda: precision_recall(reader(), IMAGES, BAD), "fake"),
        (lambda: precision_recall(reader(), BAD, IMAGES), "real"),
        (lambda: nearest(IMAGES, BAD), "fake"), (lambda: diversity(IMAGES, BAD), "fake"),
        (lambda: class_shares(reader(), BAD), "images"), (lambda: recognised(reader(), BAD, Y), "images"),
        (lambda: information(reader(), BAD), "x"), (lambda: labelled_by(reader(), BAD), "x"),
        (lambda: gradient_penalty(critic(), IMAGES, BAD, new_generator(0)), "fake"),
        (lambda: gradient_penalty(critic(), BAD, IMAGES, new_generator(0)), "real"),
        (lambda: play(Game(image_generator(), critic()), BAD), "x"),
        (lambda: play(CycleGame(translator(), translator(), critic(), critic()), IMAGES, x_target=BAD),
         "x_target"),
    ])  # fmt: skip
    def test_nan_and_infinite_examples_are_counted(self, use, name):
        """Before, most of these answered with a number."""
        with pytest.raises(ValueError, match=f"^{name} holds NaN .* in 2 of 12 examples; .*Remove these"):
            use()

    def test_a_distance_of_nan_does_not_kill_the_process(self):
        """Before, oneMKL did, both for an image and for a reader with NaN: hence a process of its own."""
        program = """if True:
            import math, torch
            from torch import nn
            from tlutils.generative import frechet_distance
            from tlutils.models import Classifier
            x = torch.rand(40, 1, 4, 4)
            lost = nn.Linear(16, 16)
            nn.init.constant_(lost.weight, math.nan)
            for backbone, fake in (
                (nn.Flatten(), torch.cat([x[1:], x[:1] * math.nan])),
                (nn.Sequential(nn.Flatten(), lost), x),
            ):
                try:
                    print(frechet_distance(Classifier(backbone, nn.Linear(16, 2)), x, fake))
                except ValueError as error:
                    print(error)
        """
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        first, second = done.stdout.splitlines()
        assert first.startswith("fake holds NaN or infinite values in 1 of 40 examples")
        assert second.startswith("the reader gives NaN or infinite features for finite images")

    def test_a_reader_without_numbers_measures_no_precision(self):
        network = Classifier(nn.Sequential(nn.Flatten(), nn.Linear(256, 4)), nn.Linear(4, 10))
        assert 0 <= precision_recall(network, IMAGES, IMAGES.flip(0))[0] <= 1
        nn.init.constant_(network.backbone[1].weight, math.nan)
        with pytest.raises(ValueError, match="the reader gives NaN or infinite features"):
            precision_recall(network, IMAGES, IMAGES.flip(0))

    @pytest.mark.parametrize(("curves", "says"), [
        ({"share_right": [0.5, None, math.nan, math.inf] * 25}, "share_right is NaN .* 50 of 100 .*index 2;"),
        ({"generator_gradient": [0.5] * 99 + [math.nan]}, "generator_gradient is .* in 1 of 100 .* index 99"),
        ({"watched": {"diversity": [1.0, math.nan]}}, r"watched\['diversity'\] is NaN .* in 1 of 2"),
    ])  # fmt: skip
    def test_curves_with_nan_are_not_judged(self, curves, says):
        """Before, no limit was crossed, and no alarm raised."""
        healthy = {"share_right": [0.5, None] * 50 + [0.5] * 50, "generator_gradient": [1.0] * 100}
        assert AdversarialHistory(**healthy, watched={"loss": [math.nan]}).alarms() == []
        with pytest.raises(ValueError, match=says):
            AdversarialHistory(**healthy | curves).alarms()

    @pytest.mark.parametrize("name", ["x", "x_target"])
    def test_an_empty_domain(self, name):
        domains = {"x": IMAGES, "x_target": IMAGES} | {name: IMAGES[:0]}
        game = CycleGame(translator(), translator(), critic(), critic())
        with pytest.raises(
            ValueError, match=rf"{name} is empty: it has shape \(0, 1, 16, 16\);.*Look at the"
        ):
            play(game, **domains)

    @pytest.mark.parametrize("use", [class_shares, lambda *a: recognised(*a, Y[:0])])
    def test_shares_of_nothing(self, use):
        """Before, they were NaN."""
        with pytest.raises(ValueError, match="images is empty"):
            use(reader(), IMAGES[:0])


class TestWeights:
    @pytest.mark.parametrize("weight", [math.nan, math.inf, -1.0])
    def test_of_the_penalty(self, weight):
        with pytest.raises(ValueError, match=f"weight is {weight}; expected a finite number of at least 0"):
            PenaltyGame(point_generator(), point_critic(), weight=weight)
        assert PenaltyGame(point_generator(), point_critic(), weight=0).weight == 0

    @pytest.mark.parametrize("weight", [math.nan, math.inf])
    @pytest.mark.parametrize(
        "name", ["adversarial_target", "adversarial_source", "cycle", "identity", "semantic"]
    )
    def test_of_the_cycle(self, name, weight):
        with pytest.raises(ValueError, match=f"^{name} is {weight}; expected a finite number"):
            CycleGame(translator(), translator(), critic(), critic(), **{name: weight})

    @pytest.mark.usefixtures("as_reader")
    def test_in_words(self):
        with pytest.raises(ValueError, match="weight is 'ten'; expected a finite number"):
            PenaltyGame(point_generator(), point_critic(), weight="ten")


def spoilt(tensor):
    """Return 0 whose gradient is NaN: a root at 0 times 0."""
    return (tensor.sum() * 0).sqrt() * 0


class SpoilsGenerator(Game):
    """Its third generator's loss is finite and has a gradient that is not."""

    moves = 0

    def generator_loss(self, batch, random):
        self.moves += 1
        loss = super().generator_loss(batch, random)
        return loss + spoilt(self.generator.layers[0].weight) if self.moves == 3 else loss


class SpoilsDiscriminator(Game):
    """The same for its third discriminator's loss."""

    moves = 0

    def discriminator_turn(self, batch, random):
        self.moves += 1
        turn = super().discriminator_turn(batch, random)
        return (
            turn._replace(loss=turn.loss + spoilt(self.discriminator.head.weight))
            if self.moves == 3
            else turn
        )


class TestGradients:
    @pytest.mark.parametrize("num_rounds", [3, 5])
    def test_the_generators_is_refused_before_it_moves(self, num_rounds):
        """Before, a training whose last round it was ended normally, with weights of NaN."""
        game = points_game(SpoilsGenerator)
        with pytest.raises(
            FloatingPointError, match="the generator's gradient holds NaN .* in round 2, thou"
        ):
            play(game, num_rounds=num_rounds)
        assert all(torch.isfinite(weight).all() for weight in game.parameters())

    @pytest.mark.parametrize("turns", [None, lambda step: (1, int(step < 2))], ids=["both", "alone"])
    def test_the_discriminators_is_not_blamed_on_the_generator(self, turns):
        """Before, the generator's loss was named, or nothing where the discriminator moved last."""
        seen = r"after 3 rounds" if turns else r"the generator's loss is nan in round 2"
        with pytest.raises(FloatingPointError, match=f"{seen}: the discriminator's weights hold NaN .*Lower"):
            play(points_game(SpoilsDiscriminator), num_rounds=3, turns=turns)

    def test_float16_is_left_to_its_scaler(self):
        layer = nn.Linear(1, 1)
        layer.weight.grad = torch.full((1, 1), math.inf)
        norm = torch.tensor(math.inf)
        guards.gradient_is_finite(norm, layer, torch.float16, 0)
        with pytest.raises(FloatingPointError, match="in round 0"):
            guards.gradient_is_finite(norm, layer, torch.bfloat16, 0)

    def test_a_norm_too_large_for_its_type_is_no_gradient_of_nan(self):
        layer = nn.Linear(1, 1)
        layer.weight.grad = torch.full((1, 1), 3e38)
        assert guards.gradient_is_finite(torch.tensor(math.inf), layer, None, 0) is None


class Ends(Critic):
    """A critic of points whose forward ends in a function, wherever its layers stand."""

    def __init__(self, end):
        super().__init__(nn.Linear(2, 4), nn.Linear(4, 1))
        self.end = end

    def forward(self, x):
        return self.end(self.head(self.backbone(x)))


class TestScores:
    @pytest.mark.parametrize("mixed", [False, True], ids=["float32", "bfloat16"])
    @pytest.mark.parametrize(("end", "name"), [
        (lambda s: torch.sigmoid(s).squeeze(1), "Sigmoid"), (lambda s: s.squeeze(1).sigmoid(), "Sigmoid"),
        (lambda s: s.sigmoid().float()[:, 0].clone(), "Sigmoid"), (lambda s: s.sigmoid().view(-1), "Sigmoid"),
        (lambda s: torch.cat([s, -s], 1).softmax(1)[:, 0], "Softmax"),
        (lambda s: torch.cat([s, -s], 1).log_softmax(1).select(1, 0), "LogSoftmax"),
        (lambda s: nn.functional.logsigmoid(s).flatten(), "LogSigmoid"),
        (lambda s: s.sigmoid().expand(-1, 4).mean(1), "Sigmoid"),
        (lambda s: 1 - s.sigmoid()[:, 0], "Sigmoid"),
    ])  # fmt: skip
    def test_probabilities_made_within_forward(self, end, name, mixed, monkeypatch):
        """Before, only the type of the last module was looked at, and these trained in silence."""
        monkeypatch.setattr(adversarial, "autocast_dtype", lambda _: torch.bfloat16 if mixed else None)
        for kind in (Game, WassersteinGame, HingeGame):
            with pytest.raises(ValueError, match=f"scores come out of {name}; expected unbounded scores"):
                play(kind(point_generator(), Ends(end)))

    def test_a_sigmoid_before_a_flatten(self):
        players = point_generator(), Critic(nn.Linear(2, 4), nn.Sequential(nn.Linear(4, 1), nn.Sigmoid(),
                                                                           nn.Flatten()))  # fmt: skip
        with pytest.raises(ValueError, match="come out of Sigmoid"):
            play(Game(*players))

    @pytest.mark.parametrize("which", [0, 1])
    def test_either_critic_of_a_cycle(self, which):
        critics = [point_critic(), point_critic()]
        critics[which] = Ends(lambda s: s.squeeze(1).sigmoid())
        with pytest.raises(ValueError, match="come out of Sigmoid"):
            play(CycleGame(nn.Linear(2, 2), nn.Linear(2, 2), *critics), x_target=POINTS)

    @pytest.mark.parametrize("end", [
        lambda s: s.squeeze(1), lambda s: (s + s.sigmoid()).squeeze(1),
        lambda s: (s * s.sigmoid()).squeeze(1), lambda s: 5 * s.sigmoid().squeeze(1),
        lambda s: nn.functional.silu(s).squeeze(1) + 1,
    ], ids=["plain", "added", "gated", "scaled", "silu"])  # fmt: skip
    def test_a_sigmoid_on_the_way_is_none_at_the_end(self, end):
        assert play(Game(point_generator(), Ends(end))).num_rounds == 1

    def test_scores_without_a_graph(self):
        assert guards.are_scores(torch.zeros(3)) is None


def cycle_game():
    buffers = tuple(ImageBuffer(6, (1, 16, 16)) for _ in range(2))
    players = translator(), translator(), critic(norm="batch"), critic()
    return CycleGame(*players, semantic=1.0, reader=lenet(image_size=16, widths=(2, 2)), buffers=buffers)


GAMES = {
    "plain": lambda: Game(image_generator(width=2), critic(norm="batch")),
    "conditional": lambda: ConditionalGame(conditional_generator(width=2), conditional_critic(width=2)),
    "spectral": lambda: HingeGame(image_generator(width=2), critic(norm="spectral")),
    "penalty": lambda: PenaltyGame(image_generator(width=2, norm="none"), critic()),
    "cycle": cycle_game,
}


@pytest.mark.parametrize("mixed", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", GAMES)
def test_a_healthy_game_is_the_same_without_its_guards(name, mixed, monkeypatch):
    monkeypatch.setattr(adversarial, "autocast_dtype", lambda _: torch.bfloat16 if mixed else None)

    def trained():
        torch.manual_seed(0)
        game = GAMES[name]()
        play(game, IMAGES, y=Y, x_target=IMAGES.flip(0), num_rounds=3, batch_size=4, average=0.5)
        return game.state_dict()

    with_guards = trained()
    for guard in guards.games.__all__:
        monkeypatch.setattr(guards, guard, lambda *_: None)
    without = trained()
    assert all(torch.equal(with_guards[key], value) for key, value in without.items())


class Repeats(nn.Module):
    """Show grey images to a network of three channels, which is its first layer and yet no obstacle."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x.expand(-1, 3, -1, -1))


@pytest.mark.parametrize("mixed", [False, True], ids=["float32", "bfloat16"])
def test_networks_that_change_their_input_first_pass_and_train(mixed, monkeypatch):
    monkeypatch.setattr(adversarial, "autocast_dtype", lambda _: torch.bfloat16 if mixed else None)
    reads_grey = Repeats(lenet(image_size=16, in_channels=3, widths=(2, 2)))

    def trained():
        game = CycleGame(Repeats(translator(3, 1)), translator(), Repeats(critic(3)), critic(), semantic=1.0,
                         reader=reads_grey)  # fmt: skip
        before = [weight.detach().clone() for weight in game.discriminator.parameters()]
        play(game, IMAGES, y=Y, x_target=IMAGES.flip(0), num_rounds=2)
        moved = [not torch.equal(a, b) for a, b in zip(before, game.discriminator.parameters(), strict=True)]
        return moved, game.state_dict()

    moved, weights = trained()
    assert all(moved)
    monkeypatch.setattr(guards, "network_takes", lambda *_: None)
    monkeypatch.setattr(guards.games, "network_takes", lambda *_: None)
    assert all(torch.equal(weights[key], value) for key, value in trained()[1].items())


class TestShapes:
    @pytest.mark.parametrize("kind", [Game, WassersteinGame, PenaltyGame, HingeGame])
    @pytest.mark.parametrize("players", [
        lambda: (image_generator(32, width=2), image_critic(16, width=2)),
        lambda: (image_generator(32, width=2), image_critic(32, width=2)),
    ], ids=["critic for the real ones", "critic for the generator"])  # fmt: skip
    def test_a_generator_of_another_size(self, kind, players):
        """Before, the critic advised to load the domain with another size, though the generator was wrong."""
        with pytest.raises(
            ValueError,
            match=r"makes examples of shape \(1, 32, 32\), and the real ones \(x\) .*\(1, 16, 16\)",
        ):
            play(kind(*players()), IMAGES)

    @pytest.mark.parametrize("num_outputs", [2, 3])
    def test_points_of_another_dimension(self, num_outputs):
        """Before, matrices that cannot be multiplied."""
        says = {2: r"makes examples of shape \(2,\), and .* \(3,\)", 3: r"built for points of shape \(2,\)"}
        with pytest.raises(ValueError, match=says[num_outputs]):
            play(Game(point_generator(2, num_outputs), point_critic(2)), torch.zeros(8, 3))
        with pytest.raises(ValueError, match=r"got \(3,\) for the examples"):
            point_critic(2, norm="spectral")(torch.zeros(8, 3))

    def test_a_critic_alone_names_all_ways_out(self):
        for use in (lambda: conditional_critic(width=2)(COLOUR, Y), lambda: translator()(COLOUR)):
            with pytest.raises(
                ValueError, match=r"this network was built .* if a generator or translator made"
            ):
                use()

    @pytest.mark.parametrize("make", [
        lambda z: point_generator(2)(z), lambda z: image_generator(16)(z),
        lambda z: conditional_generator()(z, Y[: len(z)]),
        lambda z: conditional_generator("embedding")(z, Y[: len(z)]),
    ], ids=["points", "images", "concatenation", "embedding"])  # fmt: skip
    @pytest.mark.usefixtures("as_reader")
    def test_noise_of_another_length(self, make):
        with pytest.raises(ValueError, match=r"the noise has shape \(4, 5\); expected \(n, (2|64)\)"):
            make(torch.zeros(4, 5))

    @pytest.mark.usefixtures("as_reader")
    def test_noise_of_any_form_passes(self):
        assert Generator(nn.Flatten(), 4)(torch.zeros(3, 4, 1, 1)).shape == (3, 4)
        heap = FixedPoints(IMAGES)
        assert heap(heap.noise(5, new_generator(0))).shape == (5, 1, 16, 16)

    @pytest.mark.usefixtures("as_reader")
    @pytest.mark.parametrize("size", [(16, 16), "16", None, 16.0, True])
    @pytest.mark.parametrize(
        "make",
        [image_generator, image_critic, image_translator, lambda s: conditional_generator(image_size=s)],
    )
    def test_a_size_that_is_no_number(self, make, size):
        with pytest.raises(
            TypeError, match=f"image_size is {re.escape(repr(size))}; expected one whole number"
        ):
            make(size)

    @pytest.mark.parametrize("images", [
        COLOUR, torch.rand(12, 1, 20, 20, generator=new_generator(0))
    ], ids=["colour", "larger"])  # fmt: skip
    def test_images_that_the_reader_of_a_distance_does_not_take(self, images):
        network = lenet(image_size=16, widths=(2, 2), num_features=4)
        assert frechet_distance(network, IMAGES, IMAGES.flip(0)) == pytest.approx(0, abs=1e-4)
        shape = re.escape(str(tuple(images.shape[1:])))
        with pytest.raises(
            ValueError, match=f"reader does not take images of shape {shape}.*it was trained on"
        ):
            frechet_distance(network, images, images)


class TestCycle:
    @pytest.mark.parametrize(("players", "domains", "says"), [
        (lambda: (translator(), translator(), critic(), critic()), {"x": COLOUR},
         r"translator to_target was built for .*\(1, 16, 16\).* got \(3, 16, 16\) for x\."),
        (lambda: (translator(), translator(), critic(), critic()), {"x_target": COLOUR},
         r"translator to_source was built for .*\(1, 16, 16\).* got \(3, 16, 16\) for x_target\."),
        (lambda: (translator(1, 3), translator(3, 1), critic(), critic()), {"x_target": COLOUR},
         r"critic_target was built for .*\(1, 16, 16\).* got \(3, 16, 16\) for x_target\."),
        (lambda: (translator(1, 3), translator(), critic(), critic()), {},
         r"critic_target was built for .*\(1, 16, 16\).* got \(3, 16, 16\) for the output of to_target\."),
        (lambda: (translator(), translator(), critic(), critic(3)), {},
         r"critic_source was built for .*\(3, 16, 16\).* got \(1, 16, 16\) for x\."),
    ], ids=["x", "x_target", "critic_target", "translations", "critic_source"])  # fmt: skip
    def test_what_does_not_fit_is_named(self, players, domains, says):
        """Before, it was always the critic."""
        with pytest.raises(ValueError, match=says):
            play(CycleGame(*players(), identity=0.0), **{"x": IMAGES, "x_target": IMAGES} | domains)

    def test_points(self):
        game = CycleGame(nn.Linear(2, 3), nn.Linear(3, 2), point_critic(3), point_critic(2), identity=0.0)
        assert play(game, x_target=torch.zeros(8, 3)).num_rounds == 1
        with pytest.raises(
            ValueError, match=r"to_source was built for points of shape \(3,\) .* for x_target"
        ):
            play(game, x_target=POINTS)

    def test_translate(self):
        with pytest.raises(ValueError, match=r"the translator was built for .* got \(3, 16, 16\) for x"):
            translate(translator(), COLOUR)
        assert translate(Repeats(translator(3, 1)), IMAGES).shape == IMAGES.shape

    def test_a_buffer_of_another_shape(self):
        buffers = ImageBuffer(9, (3, 16, 16)), ImageBuffer(9, (1, 16, 16))
        game = CycleGame(translator(), translator(), critic(), critic(), buffers=buffers)
        with pytest.raises(
            ValueError, match=r"got \(1, 16, 16\); build it as ImageBuffer\(9, \(1, 16, 16\)\)"
        ):
            play(game, IMAGES, x_target=IMAGES)

    def test_a_reader_of_other_channels(self):
        colour = lenet(image_size=16, in_channels=3)
        game = CycleGame(translator(), translator(), critic(), critic(), semantic=1.0, reader=colour)
        with pytest.raises(
            ValueError, match=r"reader of the semantic loss .*\(1, 16, 16\) for the output of to_"
        ):
            play(game, IMAGES, y=Y, x_target=IMAGES)


class TestClasses:
    def test_out_of_the_readers_range(self):
        """Before, the share was 0."""
        for wrong in (10, -1):
            with pytest.raises(
                ValueError, match=f"y asks for classes from .*{wrong}.*; the reader knows 0 to 9"
            ):
                recognised(reader(), IMAGES, torch.tensor([wrong] + [3] * 11))
        assert 0 <= recognised(reader(), IMAGES, Y.int()) <= 1

    @pytest.mark.usefixtures("as_reader")
    @pytest.mark.parametrize("y", [[0, 1], (0, 1)])
    def test_that_are_no_tensor(self, y):
        for use in (
            lambda: recognised(reader(), IMAGES[:2], y),
            lambda: generate(conditional_generator(), 2, seed=0, y=y),
            lambda: play(ConditionalGame(conditional_generator(), conditional_critic()), IMAGES[:2], y=y),
        ):
            with pytest.raises(TypeError, match=rf"y is a {type(y).__name__}; .*torch.as_tensor\(y\)"):
                use()

    @pytest.mark.usefixtures("as_reader")
    @pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
    def test_of_another_type(self, dtype):
        """Before, one_hot asked for a LongTensor."""
        y = Y.to(dtype)
        for use in (
            lambda: generate(conditional_generator(), 12, seed=0, y=y),
            lambda: play(ConditionalGame(conditional_generator(), conditional_critic()), IMAGES, y=y),
            lambda: conditional_critic("concatenation")(IMAGES, y),
        ):
            with pytest.raises(TypeError, match=rf"y has dtype {dtype}; .*pass y.long\(\)"):
                use()

    @pytest.mark.parametrize(("use", "says"), [
        (lambda: generate(conditional_generator(), 2, seed=0),
         r"the generator \(ConcatenationGenerator\) has to be told .* pass y= to generate"),
        (lambda: generate(image_generator(), 2, seed=0, y=Y[:2]),
         r"the generator \(Generator\) takes no classes, .*call generate without y"),
        (lambda: play(ConditionalGame(image_generator(), conditional_critic()), IMAGES, y=Y),
         r"the generator \(Generator\) takes no classes, .*conditional_generator"),
        (lambda: play(ConditionalGame(conditional_generator(), critic()), IMAGES, y=Y),
         r"the discriminator \(Critic\) takes no classes, .*conditional_critic"),
        (lambda: play(Game(conditional_generator(), critic()), IMAGES), "generator .* Play ConditionalGame"),
        (lambda: play(Game(image_generator(), conditional_critic()), IMAGES),
         r"the discriminator \(ProjectionCritic\) has to be told"),
        (lambda: fit_encoder(nn.Linear(256, 64), conditional_generator(), num_steps=1),
         r"the generator \(ConcatenationGenerator\) has to be told"),
        (lambda: play(WassersteinGame(image_generator(), conditional_critic()), IMAGES),
         r"the discriminator \(ProjectionCritic\) has to be told"),
    ])  # fmt: skip
    def test_told_to_the_wrong_network(self, use, says):
        """Before, Python counted arguments, or missed an attribute."""
        with pytest.raises(ValueError, match=says):
            use()

    def test_networks_of_ones_own_are_asked_for_their_signature(self):
        class Own(nn.Module):
            num_classes = 3

            def forward(self, x, y=None):
                return x if y is None else x + y

        class Plain(nn.Module):
            def forward(self, x, y):
                return x + y

        for network, y in ((Own(), None), (Own(), Y), (Plain(), Y)):
            guards.is_told("the network", network, y)
        game = Game(point_generator(), point_critic())
        assert game.scores(Batch(POINTS), new_generator(0))[0].shape == (64,)
