"""Samples, labels and options that cannot be meant are refused with one message, wherever they enter."""

import math

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from tlutils import datasets, guards, photographs, tabular
from tlutils.coral import coral_distance, coral_map, deep_coral_loss, gaussian_transport_map
from tlutils.estimators import CoralTransformer
from tlutils.feature_based import median_bandwidth, mmd2, mmd_test, multi_kernel_mmd2, witness
from tlutils.guards.samples import READ_ELSEWHERE
from tlutils.instance_based import density_ratio_weights, effective_sample_size
from tlutils.runtime import new_generator
from tlutils.transferability import h_score, leep, log_evidence
from tlutils.weighted_classifier import WeightedClassifier

X = torch.randn(12, 2, generator=new_generator(0), dtype=torch.float64)
Y = torch.arange(12) % 2
WITH_SAMPLES = {
    "mmd2": lambda x, y: mmd2(x, y, bandwidth=1.0),
    "multi_kernel_mmd2": lambda x, y: multi_kernel_mmd2(x, y, bandwidths=[1.0]),
    "mmd_test": lambda x, y: mmd_test(x, y, bandwidth=1.0, generator=new_generator(0)),
    "witness": lambda x, y: witness(X, x, y, bandwidth=1.0),
    "median_bandwidth": median_bandwidth,
    "coral_map": coral_map,
    "gaussian_transport_map": gaussian_transport_map,
    "coral_distance": coral_distance,
    "deep_coral_loss": deep_coral_loss,
    "density_ratio_weights": density_ratio_weights,
}


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize("function", WITH_SAMPLES.values(), ids=WITH_SAMPLES)
class TestSamples:
    @pytest.mark.parametrize("first", [X, X.numpy()], ids=["tensor", "array"])
    def test_arrays(self, function, first):
        """Before: "x_source is on cpu and x_target on cpu", or an AttributeError."""
        name = "x_target" if first is X else "x_source"
        says = rf"^{name} is a numpy.ndarray; expected a tensor: torch.from_numpy\({name}\), or use CoralTr"
        with pytest.raises(TypeError, match=says):
            function(first, X.numpy())

    @pytest.mark.parametrize(
        ("x", "says"),
        [
            (X.tolist(), r"type builtins.list; expected a tensor: torch.tensor\(...\) of a list"),
            (None, "type builtins.NoneType"),
            (csr_matrix(X.numpy()), "type scipy.csr_matrix; .*WeightedClassifier, which take arrays"),
        ],
        ids=["list", "none", "sparse"],
    )
    def test_lists_and_tables(self, function, x, says):
        with pytest.raises(TypeError, match=f"x_target is of {says}"):
            function(X, x)

    def test_sparse_tensors(self, function):
        with pytest.raises(TypeError, match=r"x_target is a sparse tensor; .* x_target.to_dense\(\)"):
            function(X, X.to_sparse())


@pytest.mark.usefixtures("as_reader")
def test_points_and_weights_that_are_no_tensors():
    with pytest.raises(TypeError, match=r"points is a numpy.ndarray"):
        witness(X.numpy(), X, X, bandwidth=1.0)
    for weights, kind in ((np.ones(3), "a numpy.ndarray"), ([1.0, 2.0], "of type builtins.list")):
        with pytest.raises(TypeError, match=f"^weights is {kind}; expected a tensor: ") as caught:
            effective_sample_size(weights)
        assert "CoralTransformer" not in str(caught.value)


WITH_BANDWIDTH = {
    "mmd2": lambda value: mmd2(X, X + 1, bandwidth=value),
    "multi_kernel_mmd2": lambda value: multi_kernel_mmd2(X, X + 1, bandwidths=[1.0, value]),
    "witness": lambda value: witness(X, X, X + 1, bandwidth=value),
    "mmd_test": lambda value: mmd_test(X, X + 1, bandwidth=value, generator=new_generator(0)),
}


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize("value", ["median", "1.0", None, [1.0], 1j])
@pytest.mark.parametrize("function", WITH_BANDWIDTH.values(), ids=WITH_BANDWIDTH)
def test_a_bandwidth_that_is_no_number(function, value):
    with pytest.raises(
        TypeError, match=r"bandwidth is .*; expected a number, such as median_bandwidth\("
    ) as e:
        function(value)
    assert f"bandwidth is {value!r}" in str(e.value)


@pytest.mark.usefixtures("as_reader")
def test_a_bandwidth_of_several_entries():
    for value in (torch.ones(2), torch.tensor(1j)):
        with pytest.raises(TypeError, match=r"bandwidth is a tensor of shape .*; expected one number"):
            mmd2(X, X + 1, bandwidth=value)


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize("value", [torch.tensor(1.5), torch.tensor([1.5]), np.float32(1.5)])
def test_numbers_of_other_libraries_pass(value):
    for bandwidth in (value, np.array(1.5)):
        assert mmd2(X, X + 1, bandwidth=bandwidth) == mmd2(X, X + 1, bandwidth=1.5)
    assert torch.equal(coral_map(X, 2 * X, ridge=value), coral_map(X, 2 * X, ridge=1.5))
    for option in ("bandwidth", "ridge"):
        found, expected = (
            density_ratio_weights(X, X + 0.5, method="kmm", **{option: v}) for v in (value, 1.5)
        )
        assert torch.equal(found, expected)


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize("value", [1.0, np.float64(1.0), torch.tensor(1.0), "median", None])
def test_bandwidths_that_are_no_list(value):
    with pytest.raises(TypeError, match=r"bandwidths is .*; expected a list of numbers.*mmd2 takes a single"):
        multi_kernel_mmd2(X, X + 1, bandwidths=value)


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize(
    "value", [(1.0, 2.0), np.array([1.0, 2.0]), torch.tensor([1.0, 2.0]), {1.0, 2.0}, {1.0: 0, 2.0: 0}.keys()]
)
def test_other_lists_of_bandwidths_pass(value):
    expected = multi_kernel_mmd2(X, X + 1, bandwidths=[1.0, 2.0])
    assert multi_kernel_mmd2(X, X + 1, bandwidths=value) == expected


@pytest.mark.usefixtures("as_reader")
def test_an_iterator_of_bandwidths_is_not_used_up_by_the_check():
    expected = multi_kernel_mmd2(X, X + 1, bandwidths=[1.0, 2.0])
    assert multi_kernel_mmd2(X, X + 1, bandwidths=iter([1.0, 2.0])) == expected


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize(
    "call",
    [
        lambda: coral_map(X, X, ridge=None),
        lambda: gaussian_transport_map(X, X, ridge="1"),
        lambda: density_ratio_weights(X, X, method="kmm", ridge="1"),
        lambda: density_ratio_weights(X, X, ridge=[0.1]),
        lambda: CoralTransformer(X.numpy(), ridge="auto").fit(X.numpy()),
    ],
)
def test_a_ridge_that_is_no_number(call):
    with pytest.raises(TypeError, match=r"ridge is .*; expected a number, (0 or )?positive"):
        call()


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: mmd2(X, X, bandwidth=1.0, block_size=1.5), "block_size is 1.5; expected a whole"),
        (lambda: witness(X, X, X, bandwidth=1.0, block_size=None), "block_size is None; expected a whole"),
        (lambda: median_bandwidth(X, X, num_examples=2.5), "num_examples is 2.5; expected a whole"),
        (
            lambda: mmd_test(X, X, bandwidth=1.0, generator=new_generator(0), num_permutations=9.5),
            "num_permutations is 9.5; expected a whole",
        ),
        (
            lambda: mmd_test(X, X, bandwidth=1.0, generator=0),
            r"generator is 0; expected a torch.Generator: torch.Generator\(\).manual_seed\(0\)",
        ),
        (lambda: mmd_test(X, X, bandwidth=1.0, generator=None), "generator is None; expected"),
    ],
)
def test_counts_and_generators_of_the_wrong_kind(call, says):
    with pytest.raises(TypeError, match=says):
        call()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_generator_of_a_gpu():
    with pytest.raises(ValueError, match="generator draws on cuda.*; expected one on the CPU"):
        mmd_test(X, X, bandwidth=1.0, generator=torch.Generator("cuda"))


class TestRange:
    def test_distances_that_overflow(self):
        """Before: a bandwidth of nan."""
        with pytest.raises(ValueError, match=r"examples reach \d.\d*e\+200.*overflow; rescale the features"):
            median_bandwidth(1e200 * X, 1e200 * X)

    def test_distances_that_underflow(self):
        """Before, the message asked whether the features were constant."""
        with pytest.raises(ValueError, match="differ by so little .* underflow to 0; rescale"):
            median_bandwidth(1e-200 * X, 1e-200 * X)

    def test_distances_at_the_edges_pass(self):
        expected = median_bandwidth(X, X)
        for scale in (1e150, 1e-150):
            assert median_bandwidth(scale * X, scale * X) == pytest.approx(scale * expected)

    @pytest.mark.parametrize("function", WITH_BANDWIDTH.values(), ids=WITH_BANDWIDTH)
    def test_a_bandwidth_that_is_tiny_beside_the_features(self, function):
        """Before: nan."""
        with pytest.raises(ValueError, match=r"measured in bandwidths, .*overflow torch.float64. Give"):
            function(1e-200)

    def test_the_same_samples_and_bandwidth_at_any_scale(self):
        expected = mmd2(X, X + 1, bandwidth=1.0)
        for scale in (1e200, 1e-200):
            found = mmd2(scale * X, scale * (X + 1), bandwidth=scale)
            assert found.item() == pytest.approx(expected.item(), abs=1e-12)

    @pytest.mark.parametrize("function", [coral_map, gaussian_transport_map])
    def test_covariances_that_overflow(self, function):
        """Before: a map of nan."""
        with pytest.raises(ValueError, match="covariance of a sample overflows torch.float64.*divide both"):
            function(1e200 * X, 1e200 * X)

    def test_a_product_of_covariances_that_overflows(self):
        with pytest.raises(ValueError, match="product of both covariances overflows"):
            gaussian_transport_map(1e100 * X, 1e100 * X)


class TestTables:
    @pytest.fixture(params=[CoralTransformer, WeightedClassifier])
    def fit(self, request):
        return lambda x_target: request.param(x_target=x_target).fit(X.numpy(), Y.numpy())

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_not_finite(self, fit, value):
        """Before: "Input contains NaN.", of which input?"""
        x_target = X.numpy().copy()
        x_target[2, 1] = value
        with pytest.raises(
            ValueError, match=r"^x_target is no table of finite.*repair or drop.*Input x_target contains"
        ):
            fit(x_target)

    def test_empty(self, fit):
        with pytest.raises(ValueError, match=r"^x_target has 0 examples; expected at least 1.*filter"):
            fit(X.numpy()[:0])

    @pytest.mark.parametrize(
        "x_target", [X.numpy()[0], [["a", "b"]], "target.csv"], ids=["row", "text", "path"]
    )
    def test_no_table(self, fit, x_target):
        with pytest.raises(ValueError, match=r"^x_target is no table of finite numbers"):
            fit(x_target)

    def test_sparse(self, fit):
        with pytest.raises(TypeError, match="x_target.*toarray"):
            fit(csr_matrix(X.numpy()))

    @pytest.mark.parametrize("x_target", [X.clone().requires_grad_(), X.bfloat16(), X.to("meta")])
    def test_tensors_that_numpy_cannot_read(self, fit, x_target):
        with pytest.raises(TypeError, match=r"x_target is a tensor that NumPy .*give x_target.detach\(\)"):
            fit(x_target)

    @pytest.mark.parametrize("x_target", [X, X.numpy(), X.tolist(), X.float(), None])
    def test_what_can_be_read_passes(self, fit, x_target):
        assert fit(x_target) is not None

    def test_a_number_that_is_too_large_for_the_type_of_the_source(self):
        x_target = np.full((3, 2), 1e300)
        with (
            pytest.warns(RuntimeWarning, match="overflow"),
            pytest.raises(ValueError, match="^x_target is no"),
        ):
            CoralTransformer(x_target).fit(X.float().numpy())


def of_probabilities(values, labels):
    return leep(values.softmax(dim=1), labels)


SCORES = {"h_score": h_score, "log_evidence": log_evidence, "leep": of_probabilities}


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
class TestLabels:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.bool, torch.int16], ids=str)
    def test_types_that_cannot_be_indices(self, score, dtype):
        """Before, two scores gave torch's error about index_add_ or bincount, and the third a number."""
        with pytest.raises(TypeError, match=rf"labels hold {dtype}; expected class indices.*use .long\(\)"):
            score(X, Y.to(dtype))
        assert score(X, Y.to(dtype).long()) == score(X, Y) == score(X, Y.int())

    def test_another_device(self, score):
        with pytest.raises(ValueError, match=r"labels are on meta and (features|probabilities) on cpu; move"):
            score(X, Y.to("meta"))

    @pytest.mark.parametrize("labels", [Y.numpy(), Y.tolist(), None], ids=["array", "list", "none"])
    def test_no_tensor(self, score, labels):
        with pytest.raises(TypeError, match="labels is .*; expected a tensor"):
            score(X, labels)


@pytest.mark.usefixtures("as_reader")
@pytest.mark.parametrize("score", [h_score, log_evidence, leep])
def test_features_that_are_no_tensor(score):
    with pytest.raises(TypeError, match="^(features|probabilities) is a numpy.ndarray"):
        score(X.numpy(), Y)


class TestLogEvidence:
    @pytest.mark.parametrize(("value", "shown"), [(0.0, "0"), (1e-200, "1e-200")])
    def test_features_without_a_square(self, value, shown):
        """Before: "math domain error"."""
        with pytest.raises(
            ValueError, match=f"largest of the features is {shown}, and its square 0.*network died"
        ):
            log_evidence(torch.full((4, 2), value, dtype=torch.float64), Y[:4])

    @pytest.mark.parametrize("scale", [1e10, 1e200])
    def test_features_too_large_for_its_steps(self, scale):
        """Before: "math domain error", or nan."""
        features = torch.eye(4, dtype=torch.float64)
        with pytest.raises(ValueError, match=r"ended at α = .*too large for them. Divide by features.abs"):
            log_evidence(scale * features, Y[:4])
        assert math.isfinite(log_evidence(features, Y[:4]))


@pytest.mark.parametrize("function", [datasets.load, datasets.describe])
@pytest.mark.parametrize("name", [*tabular.available(), *photographs.available(), "Amazon-Reviews"])
def test_a_data_set_that_another_module_reads(function, name):
    """Before: "Did you mean 'fashion_mnist'?"."""
    with pytest.raises(ValueError, match=rf"{name!r} is no data set of equally large .*\.load\('") as caught:
        function(name)
    assert "mnist" not in str(caught.value)


def test_the_calls_that_are_named_read_them():
    assert {*READ_ELSEWHERE} == {*tabular.available(), *photographs.available()}
    for name, call in READ_ELSEWHERE.items():
        module = {"tabular": tabular, "photographs": photographs}[call.split(".")[0]]
        part = call.split("'")[3]
        assert call == f"{module.__name__.split('.')[1]}.load({name!r}, {part!r})"
        assert part in {entry[0] for entry in module.describe(name).parts}


def test_what_is_right_passes_and_gives_nothing_back():
    assert guards.comes_as_tensor("x", X) is None
    assert guards.come_as_table("x_target", None, np.float64) is None
    assert guards.are_class_indices(Y, X, "features") is None
