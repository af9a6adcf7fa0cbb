"""The losses of the two players: values by hand, gradients, agreement with other formulas, errors."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from tlutils.generative import (
    consistency_penalty,
    discriminator_loss,
    gradient_penalty,
    hinge_loss,
    least_squares_loss,
    minimax_loss,
    non_saturating_loss,
    soft_label_loss,
    wasserstein_estimate,
)
from tlutils.runtime import new_generator

scores = st.lists(st.floats(-20, 20), min_size=1, max_size=8).map(
    lambda s: torch.tensor(s, dtype=torch.float64)
)


class TestCrossEntropy:
    def test_by_hand(self):
        # sigmoid(log 3) = 3/4, sigmoid(-log 4) = 1/5
        real, fake = torch.tensor([math.log(3)]), torch.tensor([-math.log(4)])
        assert discriminator_loss(real, fake).item() == pytest.approx(-math.log(3 / 4) - math.log(4 / 5))
        assert minimax_loss(fake).item() == pytest.approx(math.log(4 / 5))
        assert non_saturating_loss(fake).item() == pytest.approx(-math.log(1 / 5))

    @given(scores, scores)
    def test_equals_the_definition(self, real, fake):
        wanted = -functional.logsigmoid(real).mean() - functional.logsigmoid(-fake).mean()
        assert torch.allclose(discriminator_loss(real, fake), wanted)
        assert torch.allclose(non_saturating_loss(fake), -torch.sigmoid(fake).log().mean())

    def test_a_sure_discriminator_leaves_minimax_flat_and_the_flipped_loss_steep(self):
        score = torch.tensor([-10.0], requires_grad=True)
        (flat,) = torch.autograd.grad(minimax_loss(score), score)
        (steep,) = torch.autograd.grad(non_saturating_loss(score), score)
        # d/ds log(1 - sigmoid(s)) = -sigmoid(s); d/ds (-log sigmoid(s)) = sigmoid(s) - 1
        assert flat.item() == pytest.approx(-torch.sigmoid(score).item(), rel=1e-4)
        assert steep.item() == pytest.approx(-1, abs=1e-4)

    def test_both_losses_of_the_generator_fall_when_it_is_believed(self):
        for loss in (minimax_loss, non_saturating_loss):
            assert loss(torch.tensor([1.0])) < loss(torch.tensor([-1.0]))

    def test_huge_scores_stay_finite(self):
        far = torch.tensor([1e4, -1e4])
        for loss in (minimax_loss(far), non_saturating_loss(far), discriminator_loss(far, far)):
            assert torch.isfinite(loss)

    @given(scores, scores)
    def test_hard_labels_are_the_discriminators_loss(self, real, fake):
        hard = soft_label_loss(real, 1.0) + soft_label_loss(fake, 0.0)
        assert torch.allclose(hard, discriminator_loss(real, fake))

    @given(scores, st.floats(0, 1))
    def test_a_soft_label_is_torchs_cross_entropy(self, score, label):
        wanted = functional.binary_cross_entropy_with_logits(score, torch.full_like(score, label))
        assert torch.allclose(soft_label_loss(score, label), wanted)

    @pytest.mark.parametrize("label", [0.1, 0.5, 0.9])
    def test_the_best_answer_to_a_soft_label_is_its_log_odds(self, label):
        best = torch.tensor([math.log(label / (1 - label))], requires_grad=True)
        (slope,) = torch.autograd.grad(soft_label_loss(best, label), best)
        assert slope.item() == pytest.approx(0, abs=1e-6)


class TestSquares:
    def test_by_hand(self):
        # (1 - 0)² = 1 and (4 - 0)² = 16; less 1: 0 and 9
        score = torch.tensor([1.0, 4.0])
        assert least_squares_loss(score, 0.0).item() == 8.5
        assert least_squares_loss(score, 1.0).item() == 4.5

    def test_its_best_critic_is_the_share_of_real_examples(self):
        # three real and one generated example at one place: (s - 1)² three times, s² once, least at s = 3/4
        score = torch.tensor(0.75, requires_grad=True)
        loss = 3 * least_squares_loss(score.expand(3), 1.0) + least_squares_loss(score.expand(1), 0.0)
        (slope,) = torch.autograd.grad(loss, score)
        assert slope.item() == pytest.approx(0, abs=1e-6)

    def test_a_push_that_changes_nothing_costs_nothing(self):
        score = torch.tensor([1.0, -2.0])
        assert consistency_penalty(score, score).item() == 0
        assert consistency_penalty(score, score + torch.tensor([1.0, 3.0])).item() == 5.0  # (1 + 9) / 2


class TestCritics:
    def test_hinge_by_hand(self):
        # max(0, 1-0) and max(0, 1-2) average to 0.5; max(0, 1+1) and max(0, 1-5) average to 1
        assert hinge_loss(torch.tensor([0.0, 2.0]), torch.tensor([1.0, -5.0])).item() == 1.5

    @given(scores, scores, st.floats(-5, 5))
    def test_a_constant_added_to_the_critic_changes_nothing(self, real, fake, shift):
        moved = wasserstein_estimate(real + shift, fake + shift)
        assert torch.allclose(wasserstein_estimate(real, fake), moved, atol=1e-9)

    def test_sign(self):
        assert wasserstein_estimate(torch.tensor([2.0]), torch.tensor([-1.0])).item() == 3.0


class TestGradientPenalty:
    @pytest.mark.parametrize("slope", [0.0, 1.0, 2.5])
    def test_a_linear_critic_of_known_slope(self, slope):
        critic = nn.Linear(3, 1, bias=False).double()
        with torch.no_grad():
            critic.weight.copy_(slope * torch.tensor([[2.0, -1.0, 2.0]]) / 3)
        real, fake = torch.randn(2, 6, 3, generator=new_generator(0), dtype=torch.float64)
        penalty = gradient_penalty(lambda x: critic(x).squeeze(1), real, fake, new_generator(1))
        assert penalty.item() == pytest.approx((slope - 1) ** 2)

    def test_a_critic_whose_slope_varies(self):
        # f(x) = x²/2 has slope x; between 0 and 1 it is the share u itself, so the mean of (u-1)² is 1/3.
        n = 20_000
        penalty = gradient_penalty(
            lambda x: x[:, 0] ** 2 / 2, torch.ones(n, 1), torch.zeros(n, 1), new_generator(0)
        )
        assert penalty.item() == pytest.approx(1 / 3, abs=0.01)

    def test_the_penalty_has_a_gradient_for_the_critic(self):
        critic = nn.Linear(2, 1)
        penalty = gradient_penalty(
            lambda x: critic(x).squeeze(1), torch.ones(4, 2), torch.zeros(4, 2), new_generator(0)
        )
        penalty.backward()
        norm = critic.weight.norm()
        by_hand = 2 * (norm - 1) * critic.weight / norm
        assert torch.allclose(critic.weight.grad, by_hand, atol=1e-6)

    def test_the_real_and_generated_examples_get_no_gradient(self):
        real = torch.ones(3, 2, requires_grad=True)
        gradient_penalty(lambda x: (x**2).sum(1), real, torch.zeros(3, 2), new_generator(0)).backward()
        assert real.grad is None

    def test_images_are_mixed_one_share_per_image(self):
        seen = []

        def critic(x):
            seen.append(x.detach())
            return x.flatten(1).sum(1)

        gradient_penalty(critic, torch.ones(5, 1, 4, 4), torch.zeros(5, 1, 4, 4), new_generator(0))
        per_image = seen[0].flatten(1)
        assert torch.equal(per_image, per_image[:, :1].expand_as(per_image))
        assert len(per_image[:, 0].unique()) == 5

    def test_target_slope(self):
        found = gradient_penalty(
            lambda x: 3 * x[:, 0], torch.ones(2, 1), torch.zeros(2, 1), new_generator(0), target=0
        )
        assert found.item() == 9.0

    def test_under_no_grad(self):
        with torch.no_grad(), pytest.raises(RuntimeError, match=r"under torch.no_grad\(\).*Call it outside"):
            gradient_penalty(lambda x: x.sum(1), torch.ones(2, 1), torch.zeros(2, 1), new_generator(0))

    def test_unequal_numbers(self):
        with pytest.raises(ValueError, match=r"\(2, 1\) real and \(3, 1\) generated"):
            gradient_penalty(lambda x: x.sum(1), torch.ones(2, 1), torch.zeros(3, 1), new_generator(0))
