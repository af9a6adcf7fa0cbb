"""MMD against values by hand, independent implementations and its own theory; bad input; odd sizes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import pdist
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import KNeighborsClassifier

from tlutils.feature_based import (
    coral_distance,
    coral_map,
    deep_coral_loss,
    gaussian_transport_map,
    median_bandwidth,
    mmd2,
    mmd_test,
    multi_kernel_mmd2,
    witness,
)
from tlutils.instance_based import density_ratio_weights, effective_sample_size
from tlutils.runtime import best_device, new_generator

E = math.exp
# One example, one feature, more features than examples.
ODD_SIZES = pytest.mark.parametrize(("n", "m", "d"), [(1, 1, 1), (1, 3, 2), (2, 1, 1), (3, 2, 5), (5, 8, 20)])
# n unlike m, one feature, more features than examples.
NULL_SIZES = pytest.mark.parametrize(("n", "m", "d"), [(8, 12, 2), (9, 6, 1), (7, 5, 15)])


def samples(n=9, m=7, d=3, seed=0, dtype=torch.float64, shift=0.5):
    generator = new_generator(seed)
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    y = torch.randn(m, d, generator=generator, dtype=torch.float64) + shift
    return x.to(dtype), y.to(dtype)


def loops(x, y, bandwidth, is_unbiased):
    """The definition, pair by pair."""

    def mean(a, b, without_own):
        terms = [
            E(-sum((p - q) ** 2 for p, q in zip(a[i], b[j], strict=True)) / (2 * bandwidth**2))
            for i in range(len(a))
            for j in range(len(b))
            if not (without_own and i == j)
        ]
        return sum(terms) / len(terms)

    x, y = x.tolist(), y.tolist()
    return mean(x, x, is_unbiased) + mean(y, y, is_unbiased) - 2 * mean(x, y, False)


def with_scikit_learn(x, y, bandwidth, is_unbiased):
    xx, yy, xy = (
        rbf_kernel(a.numpy(), b.numpy(), gamma=1 / (2 * bandwidth**2)) for a, b in ((x, x), (y, y), (x, y))
    )
    n, m = xy.shape
    own = 1 if is_unbiased else 0
    within_x = (xx.sum() - own * np.trace(xx)) / (n * (n - own))
    return within_x + (yy.sum() - own * np.trace(yy)) / (m * (m - own)) - 2 * xy.mean()


def witness_by_scikit_learn(points, x, y, bandwidth):
    gamma = 1 / (2 * bandwidth**2)
    means = [rbf_kernel(points.double(), z.double(), gamma=gamma).mean(axis=1) for z in (x, y)]
    return torch.from_numpy(means[0] - means[1])


def gradients(function, x, y):
    pair = [sample.detach().requires_grad_() for sample in (x, y)]
    return torch.autograd.grad(function(*pair), pair)


class TestValues:
    def test_by_hand(self):
        # Pairs: k(0, 1) = k(2, 3) = e^(-1/2); across: distances 2, 3, 1, 2.
        x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0], [3.0]])
        across = (2 * E(-2) + E(-9 / 2) + E(-1 / 2)) / 4
        assert mmd2(x, y, bandwidth=1.0).item() == pytest.approx(2 * E(-0.5) - 2 * across)
        biased = (2 + 2 * E(-0.5)) / 4 * 2 - 2 * across
        assert mmd2(x, y, bandwidth=1.0, is_unbiased=False).item() == pytest.approx(biased)

    def test_the_kernel_is_gaussian_not_laplacian(self):
        one, other = torch.tensor([[0.0]]), torch.tensor([[3.0]])
        found = mmd2(one, other, bandwidth=2.0, is_unbiased=False).item()
        assert found == pytest.approx(2 - 2 * E(-9 / 8)), "exp(−d²/(2σ²)), not exp(−d/…)"

    @pytest.mark.parametrize("is_unbiased", [True, False])
    @pytest.mark.parametrize(
        ("n", "m", "d"), [(2, 2, 1), (2, 3, 1), (3, 2, 4), (9, 7, 3), (5, 8, 20), (33, 12, 1)]
    )
    def test_agrees_with_scikit_learn_and_with_loops(self, n, m, d, is_unbiased):
        x, y = samples(n, m, d, seed=n + m + d)
        for bandwidth in (0.5, 2.0):
            found = mmd2(x, y, bandwidth=bandwidth, is_unbiased=is_unbiased).item()
            assert found == pytest.approx(with_scikit_learn(x, y, bandwidth, is_unbiased), abs=1e-12)
            assert found == pytest.approx(loops(x, y, bandwidth, is_unbiased), abs=1e-12)

    @pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 3), (2, 1)])
    def test_one_example_is_enough_for_the_biased_estimate(self, n, m):
        x, y = samples(n, m, 2)
        found = mmd2(x, y, bandwidth=1.0, is_unbiased=False).item()
        assert found == pytest.approx(loops(x, y, 1.0, False), abs=1e-12)

    @pytest.mark.parametrize("is_unbiased", [True, False])
    def test_duplicated_rows(self, is_unbiased):
        x, y = samples(4, 4, 2)
        x, y = torch.cat([x, x, y[:1]]), torch.cat([y, y])
        found = mmd2(x, y, bandwidth=0.7, is_unbiased=is_unbiased).item()
        assert found == pytest.approx(with_scikit_learn(x, y, 0.7, is_unbiased), abs=1e-12)

    def test_several_kernels_are_the_mean_of_each(self):
        x, y = samples()
        single = [mmd2(x, y, bandwidth=bandwidth).item() for bandwidth in (0.3, 1.0, 5.0)]
        assert multi_kernel_mmd2(x, y, bandwidths=(0.3, 1.0, 5.0)).item() == pytest.approx(np.mean(single))
        assert multi_kernel_mmd2(x, y, bandwidths=(0.3,)).item() == pytest.approx(single[0])

    @ODD_SIZES
    @pytest.mark.parametrize("is_unbiased", [True, False])
    def test_several_kernels_agree_with_scikit_learn(self, n, m, d, is_unbiased):
        x, y = samples(n, m, d, seed=n + m + d)
        if is_unbiased and min(n, m) < 2:
            with pytest.raises(ValueError, match="has 1 examples; expected at least 2"):
                multi_kernel_mmd2(x, y, bandwidths=[1.0])
            return
        for widths in ([0.7], [0.5, 2.0], [4.0, 0.3, 1.0]):
            expected = np.mean([with_scikit_learn(x, y, width, is_unbiased) for width in widths])
            found = multi_kernel_mmd2(x, y, bandwidths=widths, is_unbiased=is_unbiased).item()
            assert found == pytest.approx(expected, abs=1e-12)

    def test_population_value_of_two_normal_distributions(self):
        # N(0, 1) against N(1, 1): 2 σ/√(σ² + 2) (1 − exp(−1/(2(σ² + 2)))); derived in the chapter.
        expected = 2 / math.sqrt(3) * (1 - E(-1 / 6))
        draws = [mmd2(*samples(60, 40, 1, seed, shift=1.0), bandwidth=1.0).item() for seed in range(300)]
        assert abs(np.mean(draws) - expected) < 3 * stats.sem(draws)


class TestProperties:
    @given(
        n=st.integers(2, 12),
        m=st.integers(2, 12),
        d=st.integers(1, 15),
        seed=st.integers(0, 10**6),
        bandwidth=st.floats(0.1, 10),
        is_unbiased=st.booleans(),
    )
    @settings(max_examples=40, deadline=None)
    def test_symmetric_and_blind_to_translation_and_rotation(self, n, m, d, seed, bandwidth, is_unbiased):
        x, y = samples(n, m, d, seed)
        options = {"bandwidth": bandwidth, "is_unbiased": is_unbiased}
        found = mmd2(x, y, **options)
        offset = 100 * torch.randn(d, generator=new_generator(seed), dtype=x.dtype)
        turn = torch.linalg.qr(torch.randn(d, d, generator=new_generator(seed), dtype=x.dtype)).Q
        torch.testing.assert_close(mmd2(y, x, **options), found, rtol=0, atol=1e-12)
        torch.testing.assert_close(mmd2(x + offset, y + offset, **options), found, rtol=0, atol=1e-10)
        torch.testing.assert_close(mmd2(x @ turn, y @ turn, **options), found, rtol=0, atol=1e-12)
        scaled = mmd2(3 * x, 3 * y, bandwidth=3 * bandwidth, is_unbiased=is_unbiased)
        torch.testing.assert_close(scaled, found, rtol=0, atol=1e-12)

    @given(n=st.integers(1, 12), d=st.integers(1, 15), seed=st.integers(0, 10**6))
    @settings(max_examples=30, deadline=None)
    def test_biased_is_zero_on_equal_samples_and_never_negative(self, n, d, seed):
        x, y = samples(n, n, d, seed)
        order = torch.randperm(n, generator=new_generator(seed))
        assert mmd2(x, x[order], bandwidth=1.0, is_unbiased=False).item() == pytest.approx(0, abs=1e-12)
        assert mmd2(x, y, bandwidth=1.0, is_unbiased=False).item() > -1e-12

    # A loop over seeds: a mean over draws is no property that hypothesis could shrink.
    @NULL_SIZES
    def test_unbiased_estimate_has_mean_zero_under_the_null_and_biased_has_not(self, n, m, d):
        draws, bandwidth = [samples(n, m, d, seed, shift=0.0) for seed in range(500)], math.sqrt(d / 2)
        unbiased = [mmd2(x, y, bandwidth=bandwidth).item() for x, y in draws]
        assert abs(np.mean(unbiased)) < 3 * stats.sem(unbiased)
        assert min(unbiased) < 0, "and so some estimates are negative"
        biased = [mmd2(x, y, bandwidth=bandwidth, is_unbiased=False).item() for x, y in draws]
        # E k(x, x') = (1 + 2/σ²)^(−d/2); the bias is (1/n + 1/m)(1 − E k(x, x')).
        expected = (1 / n + 1 / m) * (1 - (1 + 4 / d) ** (-d / 2))
        assert np.mean(biased) == pytest.approx(expected, abs=3 * stats.sem(biased))

    def test_every_argument_matters(self):
        x, y = samples()
        found = {
            mmd2(x, y, bandwidth=1.0).item(),
            mmd2(x, y, bandwidth=1.1).item(),
            mmd2(x, y, bandwidth=1.0, is_unbiased=False).item(),
        }
        assert len(found) == 3


class TestBlocksAndTypes:
    @pytest.mark.parametrize("block_size", [1, 2, 7, 64, 1000])
    @pytest.mark.parametrize("is_unbiased", [True, False])
    def test_blocks_change_nothing(self, block_size, is_unbiased):
        x, y = (sample.requires_grad_() for sample in samples(50, 41, 6))
        options = {"bandwidths": [1.5, 4.0], "is_unbiased": is_unbiased}
        whole = multi_kernel_mmd2(x, y, **options)
        blocked = multi_kernel_mmd2(x, y, **options, block_size=block_size)
        torch.testing.assert_close(blocked, whole, rtol=0, atol=1e-13)
        for a, b in zip(
            torch.autograd.grad(blocked, (x, y)), torch.autograd.grad(whole, (x, y)), strict=True
        ):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-13)

    @pytest.mark.parametrize("is_unbiased", [True, False])
    def test_gradcheck(self, is_unbiased):
        x, y = (sample.requires_grad_() for sample in samples(5, 4, 3))
        assert torch.autograd.gradcheck(
            lambda a, b: mmd2(a, b, bandwidth=1.3, is_unbiased=is_unbiased, block_size=2), (x, y)
        )
        assert torch.autograd.gradcheck(lambda a, b: multi_kernel_mmd2(a, b, bandwidths=[0.5, 2]), (x, y))

    def test_gradient_of_one_side_alone(self):
        x, y = samples()
        (both,) = torch.autograd.grad(mmd2(x.requires_grad_(), y, bandwidth=1.0), x)
        assert both.shape == x.shape
        assert not mmd2(x.detach(), y, bandwidth=1.0).requires_grad

    def test_autocast_does_not_take_digits_away(self):
        x, y = samples(40, 40, 30, dtype=torch.float32)
        plain = mmd2(x, y, bandwidth=8.0)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(mmd2(x, y, bandwidth=8.0), plain, rtol=0, atol=0)

    @pytest.mark.parametrize("scale", [1e4, 1e-4])
    @pytest.mark.parametrize("offset", [0.0, 1.0, 1000.0])
    def test_float32_at_any_scale(self, scale, offset):
        x, y = samples(60, 50, 10, dtype=torch.float32)
        x, y = (x + offset) * scale, (y + offset) * scale
        for bandwidth in (0.3, 3.0):
            exact = with_scikit_learn(x.double(), y.double(), bandwidth * scale, True)
            assert mmd2(x, y, bandwidth=bandwidth * scale).item() == pytest.approx(exact, abs=2e-7)
        assert median_bandwidth(x, y) == pytest.approx(np.median(pdist(torch.cat([x, y]).double())), rel=1e-6)

    @pytest.mark.parametrize("scale", [1e4, 1e-4])
    @pytest.mark.parametrize("offset", [0.0, 1000.0])
    def test_several_kernels_test_witness_and_gradient_in_float32_at_any_scale(self, scale, offset):
        x, y = ((sample + offset) * scale for sample in samples(60, 50, 10, dtype=torch.float32))
        widths, wide = [0.3 * scale, 3 * scale], 3 * scale
        exact = np.mean([with_scikit_learn(x.double(), y.double(), width, True) for width in widths])
        assert multi_kernel_mmd2(x, y, bandwidths=widths).item() == pytest.approx(exact, abs=2e-7)
        found = witness(y, x, y, bandwidth=wide)
        torch.testing.assert_close(found, witness_by_scikit_learn(y, x, y, wide).float(), rtol=0, atol=5e-7)
        tests = [
            mmd_test(*pair, bandwidth=wide, generator=new_generator(0), num_permutations=19)
            for pair in ((x, y), (x.double(), y.double()))
        ]
        torch.testing.assert_close(tests[0].null, tests[1].null, rtol=0, atol=5e-7)
        assert tests[0].p_value == tests[1].p_value
        single, double = (
            gradients(lambda a, b: multi_kernel_mmd2(a, b, bandwidths=widths), *pair)
            for pair in ((x, y), (x.double(), y.double()))
        )
        for found, exact in zip(single, double, strict=True):
            torch.testing.assert_close(found.double() * scale, exact * scale, rtol=1e-4, atol=1e-8)

    def test_near_copies_far_from_the_centre_in_float32(self):
        # Two pairs of near copies 2000 σ apart: ‖a‖² + ‖b‖² − 2a·b in float32 would lose their distance.
        x = torch.tensor([[0.0], [1.0], [2000.0], [2001.0]])
        exact = with_scikit_learn(x.double(), x.double() + 0.5, 1.0, True)
        assert mmd2(x, x + 0.5, bandwidth=1.0).item() == pytest.approx(exact, abs=1e-6)


LOSSES = {
    "mmd2": lambda x, y: mmd2(x, y, bandwidth=1.5),
    "multi_kernel_mmd2": lambda x, y: multi_kernel_mmd2(x, y, bandwidths=[0.75, 1.5, 3]),
    "coral_distance": coral_distance,
    "deep_coral_loss": deep_coral_loss,
}
TENSORS = {
    **LOSSES,
    "witness": lambda x, y: witness(y, x, y, bandwidth=1.5),
    "coral_map": coral_map,
    "gaussian_transport_map": gaussian_transport_map,
    "density_ratio_weights": density_ratio_weights,
}
NUMBERS = {
    "median_bandwidth": median_bandwidth,
    "mmd_test": lambda x, y: mmd_test(x, y, bandwidth=1.5, generator=new_generator(0), num_permutations=99),
    "effective_sample_size": lambda x, y: effective_sample_size((x @ y.T).abs().mean(dim=1)),
}
# Of the largest value; results are rounded to the type of the samples.
PRECISION = {torch.float64: 1e-10, torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}


def each(functions):
    return pytest.mark.parametrize("function", functions.values(), ids=functions)


@pytest.mark.parametrize("dtype", PRECISION, ids=str)
class TestDeviceAndDtype:
    """The public functions on tensors, of this module and of `instance_based`."""

    @pytest.fixture(params=["cpu", pytest.param("accelerator", marks=pytest.mark.gpu)])
    def device(self, request, dtype):
        if request.param == "cpu":
            return torch.device("cpu")
        device = best_device()
        if device.type == "cpu" or (device.type == "mps" and dtype == torch.float64):
            pytest.skip(f"no accelerator that knows {dtype}")
        return device

    def assert_same(self, found, expected, like):
        assert (found.dtype, found.device) == (like.dtype, like.device)
        atol = PRECISION[like.dtype] * expected.abs().max().item()
        torch.testing.assert_close(found.cpu().double(), expected, rtol=0, atol=atol)

    @each(TENSORS)
    def test_both_are_kept(self, function, dtype, device):
        x, y = samples(20, 15, dtype=dtype)
        near, far = x.to(device), y.to(device)
        self.assert_same(function(near, far), function(x.double(), y.double()), near)

    @each(LOSSES)
    def test_gradients_keep_both(self, function, dtype, device):
        x, y = samples(20, 15, dtype=dtype)
        near, far = x.to(device), y.to(device)
        pairs = gradients(function, near, far), gradients(function, x.double(), y.double())
        for found, expected in zip(*pairs, strict=True):
            self.assert_same(found, expected, near)

    @each(NUMBERS)
    def test_numbers_are_the_same(self, function, dtype, device):
        x, y = samples(20, 15, dtype=dtype)
        found, expected = function(x.to(device), y.to(device)), function(x.double(), y.double())
        if isinstance(found, float):
            assert found == pytest.approx(expected, rel=PRECISION[dtype])
        else:
            assert found.mmd2 == pytest.approx(expected.mmd2, abs=1e-5)
            assert found.p_value == expected.p_value
            torch.testing.assert_close(found.null, expected.null, rtol=0, atol=1e-5)


def ring_and_heap(seed, n=120):
    """A ring of one class around a heap of the other; no turn about the centre changes it."""
    generator = new_generator(seed)
    angle, noise = 2 * math.pi * torch.rand(n, generator=generator), torch.randn(n, 2, generator=generator)
    y = torch.arange(n) % 2
    ring = torch.stack([angle.cos(), angle.sin()], dim=1)
    return torch.where(y[:, None] == 1, ring + 0.05 * noise, 0.2 * noise), y


def moved(x):
    return x + torch.tensor([1.5, -1.0])


def turned_and_stretched(x):
    turn = torch.tensor([[math.cos(0.5), math.sin(0.5)], [-math.sin(0.5), math.cos(0.5)]])
    return x * torch.tensor([6.0, 3.0]) @ turn


def three_kernels(x, y):
    return multi_kernel_mmd2(x, y, bandwidths=[0.5, 1.0, 2.0])


def by_descent(loss):
    """Return a function that finds, from the identity, the affine map of the source with the least loss."""

    def align(x_source, x_target):
        matrix, offset = torch.eye(2, requires_grad=True), torch.zeros(2, requires_grad=True)
        optimizer = torch.optim.Adam([matrix, offset], lr=0.1)
        for _ in range(100):
            optimizer.zero_grad()
            loss(x_source @ matrix.T + offset, x_target).backward()
            optimizer.step()
        return (x_source @ matrix.T + offset).detach()

    return align


ALIGNMENTS = {
    "multi_kernel_mmd2": (by_descent(three_kernels), moved),
    "deep_coral_loss": (by_descent(deep_coral_loss), turned_and_stretched),
    "coral_map": (lambda x, y: x @ coral_map(x, y, ridge=0).T, turned_and_stretched),
    "gaussian_transport_map": (
        lambda x, y: x @ gaussian_transport_map(x, y, ridge=0).T,
        turned_and_stretched,
    ),
}


@pytest.mark.parametrize("name", ALIGNMENTS)
class TestAlignment:
    """A classifier of the source before and after the source is aligned with the unlabelled target."""

    def accuracies(self, align, shift):
        (x_source, y_source), (x_target, y_target) = ring_and_heap(0), ring_and_heap(1)
        x_target = shift(x_target)
        return [
            KNeighborsClassifier(5).fit(x, y_source).score(x_target, y_target)
            for x in (x_source, align(x_source, x_target))
        ]

    def test_hard_before_and_solved_after(self, name):
        before, after = self.accuracies(*ALIGNMENTS[name])
        assert before < 0.7
        assert after > 0.95

    def test_no_gain_and_no_loss_where_there_is_no_shift(self, name):
        before, after = self.accuracies(ALIGNMENTS[name][0], lambda x: x)
        assert after == pytest.approx(before, abs=0.02)


class TestPermutationTest:
    @NULL_SIZES
    def test_p_value_is_uniform_under_the_null(self, n, m, d):
        generator, bandwidth = new_generator(0), math.sqrt(d / 2)
        p = []
        for _ in range(200):
            x, y = torch.randn(n + m, d, generator=generator).split([n, m])
            p.append(mmd_test(x, y, bandwidth=bandwidth, generator=generator, num_permutations=99).p_value)
        assert stats.kstest(p, "uniform").pvalue > 0.01
        assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / 200))

    def test_null_agrees_with_shuffling_by_hand(self):
        x, y = samples(6, 4, 2)
        found = mmd_test(x, y, bandwidth=1.0, generator=new_generator(1), num_permutations=20)
        order = torch.rand(20, 10, generator=new_generator(1), dtype=torch.float64).argsort(dim=1)
        pooled = torch.cat([x, y])
        by_hand = [mmd2(pooled[row[:6]], pooled[row[6:]], bandwidth=1.0).item() for row in order]
        np.testing.assert_allclose(found.null, by_hand, atol=1e-12)
        assert found.mmd2 == pytest.approx(mmd2(x, y, bandwidth=1.0).item())
        assert found.p_value == (1 + sum(value >= found.mmd2 for value in by_hand)) / 21

    def test_finds_what_is_there_and_not_what_is_not(self):
        x, y = samples(80, 60, 2, shift=1.0)
        assert mmd_test(x, y, bandwidth=1.0, generator=new_generator(1)).p_value == 0.001
        assert mmd_test(x[:40], x[40:], bandwidth=1.0, generator=new_generator(1)).p_value > 0.05

    def test_copies_of_one_example_give_no_evidence(self):
        x = torch.ones(5, 2)
        found = mmd_test(x, x, bandwidth=1.0, generator=new_generator(0), num_permutations=19)
        assert (found.mmd2, found.p_value) == (0, 1)

    def test_many_rows_go_through_several_blocks(self):
        x, y = samples(900, 700, 1, dtype=torch.float32, shift=0.0)
        found = mmd_test(x, y, bandwidth=1.0, generator=new_generator(3), num_permutations=4)
        assert found.mmd2 == pytest.approx(mmd2(x.double(), y.double(), bandwidth=1.0).item(), abs=1e-6)

    def test_the_caller_s_generator_moves_on_and_the_global_one_does_not(self):
        x, y = samples()
        generator, before = new_generator(0), torch.get_rng_state()
        first = mmd_test(x, y, bandwidth=1.0, generator=generator, num_permutations=9).null
        second = mmd_test(x, y, bandwidth=1.0, generator=generator, num_permutations=9).null
        assert not torch.equal(first, second)
        assert torch.equal(torch.get_rng_state(), before)


class TestWitness:
    def test_by_hand_and_its_means_differ_by_the_biased_mmd2(self):
        x, y = samples(11, 6, 2)
        points = torch.tensor([[0.0, 0.0], [3.0, 1.0]], dtype=torch.float64)
        expected = witness_by_scikit_learn(points, x, y, 1.0)
        np.testing.assert_allclose(witness(points, x, y, bandwidth=1.0, block_size=1), expected, atol=1e-12)
        gap = witness(x, x, y, bandwidth=1.0).mean() - witness(y, x, y, bandwidth=1.0).mean()
        assert gap.item() == pytest.approx(mmd2(x, y, bandwidth=1.0, is_unbiased=False).item())

    @ODD_SIZES
    @pytest.mark.parametrize("num_points", [1, 4])
    def test_agrees_with_scikit_learn(self, n, m, d, num_points):
        x, y = samples(n, m, d, seed=n + m + d)
        points, _ = samples(num_points, 1, d, seed=7)
        for bandwidth in (0.5, 2.0):
            found = witness(points, x, y, bandwidth=bandwidth)
            expected = witness_by_scikit_learn(points, x, y, bandwidth)
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)

    def test_duplicated_rows(self):
        x, y = samples(4, 5, 2)
        x, y = torch.cat([x, x, y[:1]]), torch.cat([y, y[:2]])
        points = torch.cat([x, x[:3]])
        expected = witness_by_scikit_learn(points, x, y, 0.7)
        np.testing.assert_allclose(witness(points, x, y, bandwidth=0.7), expected, atol=1e-12)

    def test_its_slope_is_the_gradient_of_the_loss(self):
        # ∂ MMD²_biased / ∂xᵢ = (2/n) ∇f(xᵢ), as the chapter derives.
        x, y = samples(8, 6, 2)
        (gradient,) = torch.autograd.grad(mmd2(x.requires_grad_(), y, bandwidth=1.0, is_unbiased=False), x)
        x, step = x.detach(), 1e-5 * torch.eye(2, dtype=torch.float64)
        slope = torch.stack(
            [
                (witness(x + s, x, y, bandwidth=1.0) - witness(x - s, x, y, bandwidth=1.0)) / 2e-5
                for s in step
            ],
            dim=1,
        )
        torch.testing.assert_close(gradient, 2 / 8 * slope, rtol=0, atol=1e-8)


class TestMedianBandwidth:
    def test_by_hand(self):
        assert median_bandwidth(torch.tensor([[0.0], [1.0]]), torch.tensor([[5.0]])) == 4.0

    @ODD_SIZES
    @pytest.mark.parametrize("copies", [1, 3])
    def test_agrees_with_scipy(self, n, m, d, copies):
        x, y = (sample.repeat(copies, 1) for sample in samples(n, m, d, seed=n + m + d))
        distances = pdist(torch.cat([x, y]))
        assert median_bandwidth(x, y) == pytest.approx(np.median(distances[distances > 0]), rel=1e-12)

    def test_copies_set_no_scale(self):
        x = torch.tensor([[0.0], [0.0], [0.0]])
        assert median_bandwidth(x, torch.tensor([[2.0]])) == 2.0

    def test_a_large_sample_is_thinned_at_equal_steps(self):
        x, y = samples(3000, 2000, 2)
        found = median_bandwidth(x, y, num_examples=400)
        assert found == pytest.approx(median_bandwidth(x, y, num_examples=1000), rel=0.05)
        assert found == median_bandwidth(x[::8], y[::5])
        assert found != median_bandwidth(x, y, num_examples=300)


X = torch.zeros(3, 2) + torch.arange(3.0)[:, None]
PAIR_FUNCTIONS = {
    "mmd2": lambda x, y: mmd2(x, y, bandwidth=1.0),
    "multi_kernel_mmd2": lambda x, y: multi_kernel_mmd2(x, y, bandwidths=[1.0]),
    "mmd_test": lambda x, y: mmd_test(x, y, bandwidth=1.0, generator=new_generator(0)),
    "witness": lambda x, y: witness(x, x, y, bandwidth=1.0),
    "median_bandwidth": median_bandwidth,
}


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize("function", PAIR_FUNCTIONS.values(), ids=PAIR_FUNCTIONS)
class TestBadInput:
    def test_different_features(self, function):
        with pytest.raises(ValueError, match="x_source has 2 features and x_target 3"):
            function(X, torch.zeros(3, 3))

    def test_empty_domain(self, function):
        with pytest.raises(ValueError, match="x_target has 0 examples; expected at least"):
            function(X, X[:0])

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_not_finite(self, function, value):
        x = X.clone()
        x[1, 0] = value
        with pytest.raises(ValueError, match="NaN or infinite values in 1 of 3 rows"):
            function(X, x)

    def test_integers(self, function):
        with pytest.raises(TypeError, match=r"x_source holds torch.int64; .*\.float\(\)"):
            function(X.long(), X)

    def test_two_types(self, function):
        with pytest.raises(TypeError, match=r"x_source is torch.float32 and x_target torch.float64"):
            function(X, X.double())

    def test_two_devices(self, function):
        with pytest.raises(ValueError, match=r"x_source is on cpu and x_target on meta; move"):
            function(X, X.to("meta"))

    @pytest.mark.parametrize("shape", [(3,), (3, 2, 1), (3, 0)])
    def test_no_matrix(self, function, shape):
        with pytest.raises(ValueError, match="one row per example"):
            function(torch.zeros(shape), X)


@pytest.mark.usefixtures("as_reader")
class TestBadOptions:
    @pytest.mark.parametrize("bandwidth", [0, -1.0, math.nan, math.inf])
    def test_bandwidth(self, bandwidth):
        for call in (
            mmd2,
            lambda x, y, bandwidth: witness(x, x, y, bandwidth=bandwidth),
            lambda x, y, bandwidth: multi_kernel_mmd2(x, y, bandwidths=[1, bandwidth]),
            lambda x, y, bandwidth: mmd_test(x, y, bandwidth=bandwidth, generator=new_generator(0)),
        ):
            with pytest.raises(ValueError, match="bandwidth is .*expected positive.*median_bandwidth"):
                call(X, X, bandwidth=bandwidth)

    def test_no_bandwidth(self):
        with pytest.raises(ValueError, match=r"bandwidth is \[\]"):
            multi_kernel_mmd2(X, X, bandwidths=[])

    def test_one_example_has_no_pair(self):
        with pytest.raises(ValueError, match="x_target has 1 examples.*no pair"):
            mmd2(X, X[:1], bandwidth=1.0)
        with pytest.raises(ValueError, match="at least 2"):
            mmd_test(X[:1], X, bandwidth=1.0, generator=new_generator(0))

    def test_block_size(self):
        for call in (
            lambda: mmd2(X, X, bandwidth=1.0, block_size=0),
            lambda: witness(X, X, X, bandwidth=1.0, block_size=0),
        ):
            with pytest.raises(ValueError, match="block_size is 0"):
                call()

    def test_permutations(self):
        with pytest.raises(ValueError, match="num_permutations is 0"):
            mmd_test(X, X, bandwidth=1.0, generator=new_generator(0), num_permutations=0)

    def test_all_distances_zero(self):
        with pytest.raises(ValueError, match="all distances between the 5 examples are zero"):
            median_bandwidth(torch.ones(3, 2), torch.ones(2, 2))

    def test_number_of_examples(self):
        with pytest.raises(ValueError, match="num_examples is 0"):
            median_bandwidth(X, X, num_examples=0)
