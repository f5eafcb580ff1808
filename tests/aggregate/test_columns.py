"""What rules do to columns, piece by piece: sorting networks, means, and a centre that moves."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsonar.aggregate import columns
from fedsonar.aggregate.columns import middle_mean, moved, sorted_columns, weighted_mean
from fedsonar.aggregate.kernels.order import comparators

SIZES = [(1, 5), (2, 300), (7, 2049), (12, 40_000), (64, 1), (130, 17_000)]
DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def updates(n, dim, dtype=torch.float32):
    return torch.from_numpy(np.random.default_rng(n).normal(size=(n, dim))).to(dtype)


def wide(rows):
    return rows.to(torch.float64).numpy()


@given(data=st.data(), count=st.integers(1, 200))
@settings(max_examples=300)
def test_networks_sort(data, count):
    # A network that sorts all columns of zeros and ones sorts everything.
    column = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)), dtype=int)
    for low, high in comparators(count):
        column[[low, high]] = sorted(column[[low, high]])
    assert (np.diff(column) >= 0).all()


def test_networks_are_as_small_as_published():
    assert [len(comparators(n)) for n in (1, 2, 4, 8, 16, 32)] == [0, 1, 5, 19, 63, 191]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "dim"), SIZES)
def test_columns_come_sorted(n, dim, dtype):
    rows = updates(n, dim, dtype)
    np.testing.assert_array_equal(sorted_columns(rows), np.sort(wide(rows), axis=0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "dim"), SIZES)
def test_means_are_those_of_numpy_in_float64(n, dim, dtype):
    rows, weights = updates(n, dim, dtype), torch.rand(n, generator=torch.Generator().manual_seed(0))
    dropped = (n - 1) // 3
    expected = torch.from_numpy(np.sort(wide(rows), axis=0)[dropped : n - dropped].mean(axis=0)).to(dtype)
    found = middle_mean(rows, dropped)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected)
    mean = weighted_mean(rows, weights)
    assert mean.dtype == dtype
    torch.testing.assert_close(mean, torch.from_numpy(weights.double().numpy() @ wide(rows)).to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "dim"), SIZES)
def test_a_centre_moves_and_is_measured_from(n, dim, dtype):
    rows, factors = updates(n, dim, dtype), torch.rand(n, generator=torch.Generator().manual_seed(0))
    centre = np.random.default_rng(0).normal(size=dim)
    expected = centre + factors.double().numpy() @ (wide(rows) - centre)
    distances = moved(centre, rows, factors)
    np.testing.assert_allclose(centre, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(distances, np.linalg.norm(wide(rows) - expected, axis=1), rtol=1e-12)


def test_views_that_are_not_contiguous_are_read_rightly():
    rows = updates(40, 30)
    for view in (rows[:, ::2], rows.T, rows[3:20, 5:9]):
        torch.testing.assert_close(weighted_mean(view, torch.ones(len(view))), view.sum(dim=0))
        torch.testing.assert_close(middle_mean(view, (len(view) - 1) // 2), view.quantile(0.5, dim=0))


@pytest.mark.parametrize("bad", [torch.inf, -torch.inf, torch.nan])
@pytest.mark.parametrize("weight", [0.0, 0.5])
@pytest.mark.parametrize("n", [1, 4, 6, 9])
def test_what_is_not_finite_shows_in_the_mean(bad, weight, n):
    rows, weights = torch.ones(n, 3000), torch.full((n,), 1 / n)
    rows[-1, 2500], weights[-1] = bad, weight
    mean = weighted_mean(rows, weights)
    assert (~mean.isfinite()).nonzero().flatten().tolist() == [2500]


def test_threads_change_no_bit(monkeypatch):
    rows, weights = updates(9, 60_000), torch.rand(9, generator=torch.Generator().manual_seed(0))

    def everything():
        centre = np.zeros(60_000)
        return [weighted_mean(rows, weights), middle_mean(rows, 2), moved(centre, rows, weights), torch.tensor(centre)]

    alone = everything()
    monkeypatch.setattr(columns, "_FEW", 0)
    torch.set_num_threads(3)
    try:
        together = everything()
    finally:
        torch.set_num_threads(1)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
