"""Median: each coordinate's middle value, the mean of two when the number is even."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate import Median


def test_hand_case_of_three_by_three(aggregate):
    # Columns sorted: 1 2 9 | -4 0 5 | 3 3 7
    result = aggregate(Median(), [[2.0, 5.0, 3.0], [9.0, 0.0, 7.0], [1.0, -4.0, 3.0]])
    assert result.tolist() == [2.0, 0.0, 3.0]


def test_of_an_even_number_the_mean_of_the_middle_two(aggregate):
    # 0 1 2 7 -> (1 + 2) / 2; torch.median gives 1.
    assert aggregate(Median(), [[7.0], [0.0], [2.0], [1.0]]).tolist() == [1.5]


@pytest.mark.parametrize("n", [1, 2, 3, 8, 31])
@pytest.mark.parametrize("dim", [1, 3, 5001])
def test_equals_numpy(aggregate, n, dim):
    rows = np.random.default_rng(n).normal(size=(n, dim)).astype(np.float32)
    expected = np.median(rows.astype(np.float64), axis=0).astype(np.float32)
    np.testing.assert_array_equal(aggregate(Median(), torch.from_numpy(rows)).numpy(), expected)


def test_half_precision(aggregate):
    result = aggregate(Median(), torch.tensor([[3.0], [1.0], [2.0]], dtype=torch.bfloat16))
    assert result.dtype == torch.bfloat16
    assert result.tolist() == [2.0]


def test_the_largest_values_do_not_overflow(aggregate):
    # In float32 their sum is infinite.
    assert aggregate(Median(), [[3e38], [3e38]]).tolist() == torch.tensor([3e38]).tolist()


@pytest.mark.parametrize("dim", [1, 2])
def test_updates_are_not_sorted_in_place(aggregate, dim):
    # One column is contiguous either way up, so an in-place sort of a transposed view would write through.
    rows = torch.tensor([[3.0], [1.0], [2.0]]).repeat(1, dim)
    before = rows.clone()
    aggregate(Median(), rows)
    assert torch.equal(rows, before)


def test_no_shares_are_recorded(new_round):
    context = new_round(3)
    Median().aggregate(torch.zeros(3, 2), context)
    assert context.shares is None
