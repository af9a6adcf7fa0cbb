"""The blocks behind the kernel estimates: what is summed, in which type, and what is refused."""

from __future__ import annotations

import pytest
import torch

from tlutils.kernels import (
    KernelMmd2,
    blocks,
    centred,
    check_bandwidths,
    check_samples,
    squared_distances,
    wide_type,
)
from tlutils.runtime import new_generator


def test_blocks_cover_every_row_once():
    for num_rows, size in ((1, 4), (8, 4), (9, 4), (3, 1)):
        rows = [row for block in blocks(num_rows, size) for row in range(num_rows)[block]]
        assert rows == list(range(num_rows))


def test_squared_distances_are_those_of_the_definition():
    a, b = torch.randn(2, 6, 4, generator=new_generator(0), dtype=torch.float64).unbind()
    expected = (a[:, None] - b[None]).square().sum(dim=2)
    torch.testing.assert_close(squared_distances(a, b), expected)
    assert squared_distances(a * 1e8, a * 1e8).min() >= 0, "rounding never makes a distance negative"


def test_the_type_follows_the_spread_in_units_of_the_bandwidth():
    x = torch.randn(20, 3, generator=new_generator(0))
    assert centred([x, x + 1000], unit=1.0)[0].dtype == torch.float64, "far apart"
    assert centred([x + 1000, x + 1000], unit=10.0)[0].dtype == torch.float32, (
        "a common offset does not count"
    )
    assert centred([x, x], unit=0.1)[0].dtype == torch.float64, "a narrow kernel"
    assert centred([x.double(), x.double()], unit=10.0)[0].dtype == torch.float64
    assert centred([x.half(), x.half()], unit=10.0)[0].dtype == torch.float32
    assert wide_type(torch.device("cpu")) == torch.float64
    assert wide_type(torch.device("mps")) == torch.float32


def test_no_second_derivative():
    x = torch.randn(4, 2, generator=new_generator(0), dtype=torch.float64, requires_grad=True)
    value = KernelMmd2.apply(x, x.detach() + 1, (1.0,), True, 1024)
    (gradient,) = torch.autograd.grad(value, x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable|does not require grad"):
        gradient.sum().backward()


@pytest.mark.usefixtures("as_reader")
def test_refusals_name_the_sample():
    x = torch.zeros(2, 3)
    check_samples(2, x_source=x, points=x)
    with pytest.raises(ValueError, match="x_source has 3 features and points 1;"):
        check_samples(2, x_source=x, points=x[:, :1])
    with pytest.raises(ValueError, match="points has 1 examples"):
        check_samples(2, x_source=x, points=x[:1])
    with pytest.raises(TypeError, match=r"points holds torch.bool"):
        check_samples(1, x_source=x, points=x.bool())
    with pytest.raises(TypeError, match=r"points torch.float64"):
        check_samples(1, x_source=x, points=x.double())
    with pytest.raises(ValueError, match="expected positive"):
        check_bandwidths([1, 0])
    assert check_bandwidths([1, 2.5]) == (1.0, 2.5)
