"""Tables behind the figures of the chapter on negative transfer."""

import math

import numpy as np
import pytest

from tlutils.figures import negative_transfer as figures


def test_gain_tables_have_a_row_per_seed_and_a_column_per_level():
    cases = [{"dial": "d", "level": level, "seed": seed, "gains": [10 * seed + level, -1.0]}
             for level in (0.0, 0.5, 1.0) for seed in (0, 1)]  # fmt: skip
    tables = figures.gain_tables(cases, (1, 5))
    assert tables["d"][1].tolist() == [[0.0, 0.5, 1.0], [10.0, 10.5, 11.0]]
    assert (tables["d"][5] == -1).all()


def test_pair_table_is_a_mean_over_seeds():
    cases = [{"source": "a", "target": "b", "result": {"gain": gain}} for gain in (1.0, 3.0)]
    table = figures.pair_table(cases, ("a", "b"), "gain")
    assert table[0, 1] == 2
    assert np.isnan(table[[0, 1, 1], [0, 0, 1]]).all()


@pytest.mark.parametrize(
    ("gains", "expected"), [([2.0, 1.0, -1.0], 1.5), ([2.0, 1.0, 0.5], 2.0), ([1.0, -1.0, 1.0], 0.5)]
)
def test_zero_crossing(gains, expected):
    assert figures.zero_crossing([0.0, 1.0, 2.0], gains) == expected


def test_no_crossing_from_below():
    assert math.isnan(figures.zero_crossing([0.0, 1.0], [-1.0, 1.0]))


def test_lab_says_where_the_gain_ends():
    rows = np.array([[0.2, -0.2], [0.3, -0.1]])
    lab = figures.dial_lab([0.0, 1.0], {"spoiled": {3: rows, 9: rows}})
    assert "spoiled at 0.62" in lab["describe"](budget=3)
    assert lab["start"] == {"budget": 9}


def test_ranks_leave_the_diagonal_out_and_share_ties():
    table = np.array([[np.nan, 3.0, 1.0], [1.0, np.nan, 5.0], [4.0, 0.0, np.nan]])
    ranked = figures.off_diagonal_ranks(table)
    assert ranked.tolist() == [[0, 4, 2.5], [2.5, 0, 6], [5, 1, 0]]
