"""CORAL against values by hand, SciPy, NumPy and POT; its promises as properties; bad input."""

from __future__ import annotations

import math

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import fractional_matrix_power
from sklearn.decomposition import PCA

from tlutils.coral import coral_distance, coral_map, deep_coral_loss, gaussian_transport_map
from tlutils.estimators import CoralTransformer
from tlutils.runtime import new_generator

SIZES = [(2, 2, 1), (3, 2, 1), (2, 3, 4), (3, 3, 2), (9, 7, 3), (5, 8, 20), (33, 12, 1), (40, 50, 6)]
MAPS = {"coral_map": coral_map, "gaussian_transport_map": gaussian_transport_map}
LOSSES = {"coral_distance": coral_distance, "deep_coral_loss": deep_coral_loss}
each_map = pytest.mark.parametrize("function", MAPS.values(), ids=MAPS)
each_loss = pytest.mark.parametrize("function", LOSSES.values(), ids=LOSSES)


def samples(n=30, m=25, d=3, seed=0, dtype=torch.float64):
    """Two samples whose covariances differ in scale and direction."""
    generator = new_generator(seed)
    x, y = (torch.randn(k, d, generator=generator, dtype=torch.float64) for k in (n, m))
    mixing = torch.randn(d, d, generator=generator, dtype=torch.float64)
    return x.to(dtype), (y @ mixing + 2).to(dtype)


def covariance(x):
    return np.atleast_2d(np.cov(np.asarray(x, dtype=np.float64).T))


def with_scipy(x, y, ridge):
    """CORAL as the paper's four lines of MATLAB say it, transposed: rows are multiplied from the right."""
    s, t = (covariance(z) + ridge * np.eye(z.shape[1]) for z in (x, y))
    return np.real(fractional_matrix_power(t, 0.5) @ fractional_matrix_power(s, -0.5))


def with_pot(x, y, ridge):
    s, t = (covariance(z) + ridge * np.eye(z.shape[1]) for z in (x, y))
    return ot.gaussian.bures_wasserstein_mapping(x.numpy().mean(0), y.numpy().mean(0), s, t)[0]


class TestDistance:
    def test_by_hand(self):
        x = torch.tensor([[0.0, 0.0], [2.0, 2.0]])  # covariance [[2, 2], [2, 2]]
        y = torch.tensor([[0.0, 1.0], [2.0, 1.0]])  # covariance [[2, 0], [0, 0]]
        assert coral_distance(x, y).item() == 2**2 + 2**2 + 2**2
        assert deep_coral_loss(x, y).item() == 12 / (4 * 2**2)

    @pytest.mark.parametrize(("n", "m", "d"), SIZES)
    def test_agrees_with_numpy(self, n, m, d):
        x, y = samples(n, m, d)
        expected = np.square(covariance(x) - covariance(y)).sum()
        assert coral_distance(x, y).item() == pytest.approx(expected, rel=1e-10)
        assert deep_coral_loss(x, y).item() == pytest.approx(expected / (4 * d**2), rel=1e-10)

    def test_duplicated_rows(self):
        x, y = samples(4, 5, 3)
        x = torch.cat([x, x, x[:1]])
        expected = np.square(covariance(x) - covariance(y)).sum()
        assert coral_distance(x, y).item() == pytest.approx(expected, rel=1e-10)

    @given(n=st.integers(2, 15), m=st.integers(2, 15), d=st.integers(1, 8), seed=st.integers(0, 10**6))
    @settings(max_examples=40, deadline=None)
    def test_symmetric_blind_to_translation_and_rotation_zero_on_equal_samples(self, n, m, d, seed):
        x, y = samples(n, m, d, seed)
        found = coral_distance(x, y).item()
        turn = torch.linalg.qr(samples(d, d, d, seed + 1)[0])[0]
        assert found >= 0
        assert coral_distance(y, x).item() == pytest.approx(found, rel=1e-9)
        assert coral_distance(x + 3, y - 5).item() == pytest.approx(found, rel=1e-9)
        assert coral_distance(x @ turn, y @ turn).item() == pytest.approx(found, rel=1e-9)
        assert coral_distance(x, x).item() == 0
        assert coral_distance(x, x.flip(0) + 1).item() == pytest.approx(0, abs=1e-20)
        assert coral_distance(3 * x, 3 * y).item() == pytest.approx(81 * found, rel=1e-9)

    def test_gradcheck_and_the_formula_of_the_docstring(self):
        x, y = (sample.requires_grad_() for sample in samples(6, 5, 3))
        assert torch.autograd.gradcheck(coral_distance, (x, y))
        assert torch.autograd.gradcheck(deep_coral_loss, (x, y))
        assert torch.autograd.gradgradcheck(deep_coral_loss, (x, y))
        (found,) = torch.autograd.grad(deep_coral_loss(x, y), x)
        gap = torch.from_numpy(covariance(x.detach()) - covariance(y.detach()))
        expected = (x - x.mean(dim=0)) @ gap / (3**2 * (6 - 1))
        torch.testing.assert_close(found, expected.detach(), rtol=1e-10, atol=1e-12)

    @each_loss
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
    def test_dtype_is_kept(self, function, dtype):
        x, y = samples(dtype=dtype)
        found = function(x.requires_grad_(), y)
        found.backward()
        assert (found.dtype, x.grad.dtype) == (dtype, dtype)
        assert found.item() == pytest.approx(function(x.double(), y.double()).item(), rel=1e-2)

    @each_loss
    @pytest.mark.parametrize("scale", [1e4, 1e-4])
    @pytest.mark.parametrize("offset", [0.0, 100.0])
    def test_float32_at_any_scale_with_its_gradient(self, function, scale, offset):
        x, y = ((sample + offset) * scale for sample in samples(60, 50, 5, dtype=torch.float32))
        values, slopes = [], []
        for pair in ((x, y), (x.double(), y.double())):
            pair = [sample.requires_grad_() for sample in pair]
            values.append(function(*pair))
            slopes.append(torch.autograd.grad(values[-1], pair))
        assert values[0].item() == pytest.approx(values[1].item(), rel=1e-6)
        for found, exact in zip(*slopes, strict=True):
            assert found.dtype == torch.float32
            torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)

    def test_autocast_does_not_take_digits_away(self):
        x, y = samples(dtype=torch.float32)
        plain = deep_coral_loss(x, y)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(deep_coral_loss(x, y), plain, rtol=0, atol=0)


class TestMaps:
    @pytest.mark.parametrize("ridge", [0.5, 1.0])
    @pytest.mark.parametrize(("n", "m", "d"), SIZES)
    def test_coral_agrees_with_scipy(self, n, m, d, ridge):
        x, y = samples(n, m, d)
        np.testing.assert_allclose(coral_map(x, y, ridge=ridge), with_scipy(x, y, ridge), atol=1e-6)

    @pytest.mark.parametrize("ridge", [0.5, 1.0])
    @pytest.mark.parametrize(("n", "m", "d"), SIZES)
    def test_transport_agrees_with_pot(self, n, m, d, ridge):
        x, y = samples(n, m, d)
        found = gaussian_transport_map(x, y, ridge=ridge)
        np.testing.assert_allclose(found, with_pot(x, y, ridge), atol=1e-6)
        assert torch.equal(found, found.T)

    @pytest.mark.parametrize(("n", "d"), [(3, 1), (4, 2), (9, 3), (40, 6)])
    def test_transport_moves_the_source_where_pot_moves_it(self, n, d):
        """POT starts from the samples and divides by n, not n - 1: with n of each the map is the same."""
        x, y = samples(n, n, d)
        expected = ot.da.LinearTransport(reg=0.0).fit(Xs=x.numpy(), Xt=y.numpy()).transform(Xs=x.numpy())
        found = (x - x.mean(dim=0)) @ gaussian_transport_map(x, y, ridge=0).T + y.mean(dim=0)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize(("n", "m", "d"), [(3, 4, 1), (4, 3, 2), (9, 7, 3), (40, 50, 6)])
    def test_coral_moves_the_source_where_scikit_learn_s_whitening_moves_it(self, n, m, d):
        """Whiten by the source's principal components, and undo the whitening by the target's."""
        x, y = (part.numpy() for part in samples(n, m, d))
        source, target = (PCA(whiten=True, svd_solver="full").fit(part) for part in (x, y))
        white = source.transform(x) @ source.components_
        expected = target.inverse_transform(white @ target.components_.T)
        np.testing.assert_allclose(CoralTransformer(y, ridge=0).fit_transform(x), expected, atol=1e-8)

    @pytest.mark.parametrize(("n", "m", "d"), [(4, 5, 3), (2, 3, 6)])
    def test_duplicated_rows(self, n, m, d):
        x, y = samples(n, m, d)
        x, y = torch.cat([x, x, x[:1]]), torch.cat([y, y[1:]])
        np.testing.assert_allclose(coral_map(x, y, ridge=0.5), with_scipy(x, y, 0.5), atol=1e-6)
        np.testing.assert_allclose(gaussian_transport_map(x, y, ridge=0.5), with_pot(x, y, 0.5), atol=1e-6)

    @each_map
    @given(d=st.integers(1, 6), seed=st.integers(0, 10**6), ridge=st.sampled_from([0.0, 0.1, 1.0]))
    @settings(max_examples=40, deadline=None)
    def test_the_mapped_covariance_is_the_target_s(self, function, d, seed, ridge):
        x, y = samples(8 * d, 9 * d + 1, d, seed)
        found = function(x, y, ridge=ridge).numpy()
        s, t = (covariance(z) + ridge * np.eye(d) for z in (x, y))
        np.testing.assert_allclose(found @ s @ found.T, t, rtol=1e-7, atol=1e-8)
        if ridge == 0:
            mapped = x @ torch.from_numpy(found).T
            assert coral_distance(mapped, y).item() < 1e-12 * coral_distance(0 * y, y).item()

    @each_map
    def test_identity_where_the_covariances_agree(self, function):
        x, _ = samples()
        torch.testing.assert_close(function(x, x.flip(0) + 7), torch.eye(3, dtype=torch.float64))

    def test_transport_moves_points_least(self):
        for seed in range(20):
            x, y = samples(40, 30, 4, seed)
            x = x - x.mean(dim=0)
            moved = [
                (x @ function(x, y, ridge=0).T - x).square().sum().item()
                for function in (gaussian_transport_map, coral_map)
            ]
            assert moved[0] <= moved[1]

    def test_the_two_maps_agree_for_covariances_with_common_axes_and_not_otherwise(self):
        x, _ = samples(40, 30, 3)
        stretched = x * torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
        white = (x - x.mean(dim=0)) @ torch.linalg.inv(
            torch.linalg.cholesky(torch.from_numpy(covariance(x)))
        ).T
        for source, target, is_equal in ((white, stretched, True), (x, samples(seed=3)[1], False)):
            maps = [function(source, target, ridge=0) for function in MAPS.values()]
            assert torch.allclose(*maps, atol=1e-8) == is_equal

    @each_map
    def test_a_singular_covariance_needs_a_ridge(self, function):
        x, y = samples(5, 40, 8)
        with pytest.raises(
            ValueError, match="covariance of x_source is singular: rank 4 of 8 with 5 examples"
        ):
            function(x, y, ridge=0)
        assert torch.isfinite(function(x, y, ridge=1e-3)).all()
        assert torch.isfinite(function(y, x, ridge=0)).all(), "a singular target can be reached"
        constant = torch.cat([y, torch.ones(40, 1, dtype=torch.float64)], dim=1)
        with pytest.raises(ValueError, match="rank 8 of 9.*drop constant"):
            function(constant, constant, ridge=0)

    @each_map
    @pytest.mark.parametrize("scale", [1e4, 1e-4])
    @pytest.mark.parametrize("offset", [0.0, 100.0])
    def test_float32_at_any_scale(self, function, scale, offset):
        x, y = samples(60, 50, 5, dtype=torch.float32)
        x, y = (x + offset) * scale, (y + offset) * scale
        exact = function(x.double(), y.double(), ridge=0.1 * scale**2)
        found = function(x, y, ridge=0.1 * scale**2)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-6)

    @each_map
    def test_no_gradient_flows(self, function):
        x, y = (sample.requires_grad_() for sample in samples())
        assert not function(x, y).requires_grad


X = torch.zeros(3, 2) + torch.arange(3.0)[:, None] ** torch.tensor([1.0, 2.0])
FUNCTIONS = MAPS | LOSSES


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
class TestBadInput:
    def test_different_features(self, function):
        with pytest.raises(ValueError, match="x_source has 2 features and x_target 3"):
            function(X, torch.zeros(3, 3))

    def test_one_example_or_none(self, function):
        with pytest.raises(ValueError, match="x_target has 1 example; .*no spread"):
            function(X, X[:1])
        with pytest.raises(ValueError, match="x_source has 0 examples"):
            function(X[:0], X)

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_not_finite(self, function, value):
        x = X.clone()
        x[1, 0] = value
        with pytest.raises(ValueError, match="NaN or infinite values in 1 of 3 rows"):
            function(x, X)

    def test_integers_and_two_types(self, function):
        with pytest.raises(TypeError, match="x_source holds torch.int64"):
            function(X.long(), X)
        with pytest.raises(TypeError, match="convert one of them"):
            function(X, X.double())

    def test_two_devices(self, function):
        with pytest.raises(ValueError, match="x_source is on cpu and x_target on meta"):
            function(X, X.to("meta"))

    def test_no_matrix(self, function):
        with pytest.raises(ValueError, match="one row per example"):
            function(X[0], X)


@pytest.mark.usefixtures("as_reader")
@each_map
@pytest.mark.parametrize("ridge", [-1, math.nan, math.inf])
def test_a_bad_ridge_is_refused(function, ridge):
    with pytest.raises(ValueError, match="ridge is .*expected 0 or a positive number"):
        function(X, X, ridge=ridge)
