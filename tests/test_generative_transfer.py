"""What is carried over from a GAN: copies, the encoder, labelled budgets, judging without labels."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from second_device import second_device
from tlutils.domains import Labelled
from tlutils.feature_based import multi_kernel_mmd2
from tlutils.generative import Generator, image_critic, image_generator
from tlutils.generative.transfer import (
    budget_term,
    carried_over,
    fit_encoder,
    information,
    kernel_distance,
    labelled_by,
    mean_distance,
)
from tlutils.models import Classifier
from tlutils.runtime import new_generator
from tlutils.training import fit


def points(n, seed=0):
    return torch.randn(n, 3, generator=new_generator(seed))


def network(seed=0):
    return carried_over(Classifier(nn.Linear(3, 4), nn.Linear(4, 1)), 2, seed=seed)


def test_a_carried_backbone_gives_the_critics_features_and_is_a_copy():
    critic, x = image_critic(16, width=2, seed=3), torch.rand(5, 1, 16, 16, generator=new_generator(0))
    model, features = carried_over(critic, 10, seed=0), critic.features(x).detach()
    assert torch.equal(model.features(x), features)
    assert model(x).shape == (5, 10)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    assert torch.equal(critic.features(x), features)


def test_heads_differ_by_seed_alone():
    critic = image_critic(16, width=2)
    same = [carried_over(critic, 10, seed=seed).head.weight for seed in (0, 0, 1)]
    assert torch.equal(same[0], same[1])
    assert not torch.equal(same[0], same[2])


def test_a_head_that_tells_no_width_is_refused():
    with pytest.raises(ValueError, match="Identity"):
        carried_over(Classifier(nn.Flatten(), nn.Identity()), 10, seed=0)
    with pytest.raises(ValueError, match="num_classes=0"):
        carried_over(image_critic(16, width=2), 0, seed=0)


def test_an_encoder_inverts_a_generator_that_can_be_inverted():
    turn = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        turn.weight.copy_(torch.linalg.qr(points(3)).Q)
    encoder = nn.Linear(3, 3, bias=False)
    losses = fit_encoder(encoder, Generator(turn, 3), num_steps=300, learning_rate=0.05, seed=0)
    assert losses[0] > 0.3
    assert losses[-1] < 1e-4
    assert torch.allclose(encoder.weight @ turn.weight, torch.eye(3), atol=0.01)


def test_noise_that_leaves_no_trace_costs_its_variance():
    blind = nn.Linear(2, 2)
    with torch.no_grad():
        blind.weight.zero_()
        blind.bias.zero_()
    loss = fit_encoder(blind, Generator(nn.Identity(), 2), num_steps=1, batch_size=4000, learning_rate=1e-6)
    assert loss[0] == pytest.approx(1.0, abs=0.1)


def test_the_generator_is_left_as_it_was_and_the_seed_decides():
    generator = image_generator(16, width=2)
    before = {name: tensor.clone() for name, tensor in generator.state_dict().items()}
    first, again = (
        fit_encoder(carried_over(image_critic(16, width=2), 64, seed=0), generator, num_steps=3, batch_size=8)
        for _ in range(2)
    )
    assert first == again
    assert generator.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in generator.state_dict().items())


def test_an_encoder_of_another_length_is_named():
    with pytest.raises(ValueError, match="noise of shape"):
        fit_encoder(nn.Linear(3, 2), Generator(nn.Identity(), 3), num_steps=1)
    with pytest.raises(ValueError, match="num_steps=0"):
        fit_encoder(nn.Linear(3, 3), Generator(nn.Identity(), 3), num_steps=0)


def test_the_kernels_widths_follow_the_scale():
    x, y = points(20), points(20, seed=1) + 0.5
    found = kernel_distance(x, y)
    assert kernel_distance(10 * x, 10 * y).item() == pytest.approx(found.item(), abs=1e-5)
    pairs = torch.cdist(torch.cat([x, y]), torch.cat([x, y])).square()
    unit = pairs.mean().sqrt().item()
    expected = multi_kernel_mmd2(x, y, bandwidths=[f * unit for f in (0.25, 0.5, 1, 2, 4)])
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_distance_of_means_is_the_mmd_of_the_linear_kernel():
    x, y = points(20), points(30, seed=1) + 0.5
    within_x, within_y, between = ((a @ b.T).mean() for a, b in ((x, x), (y, y), (x, y)))
    found = mean_distance(x, y)
    assert found.item() == pytest.approx((within_x + within_y - 2 * between).item(), abs=1e-5)
    assert mean_distance(x + 7, y + 7).item() == pytest.approx(found.item(), abs=1e-4)


def test_no_gradient_passes_through_the_widths():
    x = points(10).requires_grad_()
    kernel_distance(x, points(10, seed=1)).backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().sum() > 0


def test_the_term_is_alignment_plus_the_budgets_cross_entropy():
    model, labels = network(), Labelled(points(6, seed=5), torch.tensor([0, 1, 0, 1, 1, 1]), 2)
    x, x_target = points(8), points(7, seed=1)

    def gap(a, b):
        return (a.mean(dim=0) - b.mean(dim=0)).square().sum()

    term = budget_term(labels, gap, 0.5, batch_size=6, seed=0)
    expected = 0.5 * gap(model.features(x), model.features(x_target))
    expected = expected + functional.cross_entropy(model(labels.x), labels.y)
    assert term(model, x, x_target).item() == pytest.approx(expected.item(), rel=1e-5)
    alone = budget_term(None, gap, 0.5)(model, x, x_target)
    assert alone.item() == pytest.approx(
        0.5 * gap(model.features(x), model.features(x_target)).item(), rel=1e-5
    )


def test_target_labels_are_learnt_from():
    source = Labelled(points(64), (points(64)[:, 0] > 0).long(), 2)  # told apart by the first number
    y = torch.arange(64) % 2
    x = 0.1 * points(64, seed=1) + torch.tensor([0.0, 1.0, 0.0]) * (2.0 * y[:, None] - 1)  # by the second
    model = network()
    term = budget_term(Labelled(x, y, 2), lambda a, b: (a - b).sum() * 0, 0.0, seed=0)
    fit(model, source, num_steps=100, learning_rate=0.05, loss_term=term, x_target=x, mixed_precision=False)
    assert (model(x).argmax(dim=1) == y).float().mean() > 0.9


def test_a_term_out_of_range_is_named():
    for trade_off, size in ((-1.0, 4), (math.inf, 4), (1.0, 0)):
        with pytest.raises(ValueError, match="trade_off"):
            budget_term(None, kernel_distance, trade_off, batch_size=size)


def test_guesses_are_labels_and_the_mode_is_kept():
    model, x = network().train(), points(5)
    found = labelled_by(model, x)
    assert torch.equal(found.y, model(x).argmax(dim=1))
    assert found.num_classes == 2
    assert model.training


def test_information_is_greatest_for_sure_and_balanced_answers():
    answer = Classifier(nn.Flatten(), nn.Identity())
    sure = 60 * torch.eye(4)
    assert information(answer, sure) == pytest.approx(math.log(4), abs=1e-5)
    assert information(answer, sure[:1].repeat(4, 1)) == pytest.approx(0.0, abs=1e-5)
    assert information(answer, torch.zeros(4, 4)) == pytest.approx(0.0, abs=1e-5)
    with pytest.raises(ValueError, match="empty"):
        information(answer, sure[:0])


def test_a_network_on_another_device_is_shown_the_examples_there():
    model, x = network(), 5 * points(2500)
    wanted = labelled_by(model, x).y, information(model, x)
    with second_device() as device:
        model.to(device)
        guessed = labelled_by(model, x)
        assert (guessed.x.device.type, guessed.y.device.type) == ("cpu", "cpu")
        assert torch.equal(guessed.y, wanted[0])
        assert information(model, x) == pytest.approx(wanted[1], abs=1e-6)
        assert next(model.parameters()).device == device
