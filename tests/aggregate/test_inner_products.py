"""Inner products are the same for any number of threads, and as precise as their centre."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate.inner_products import PIECE, inner_products
from fedsonar.aggregate.kernels.products import HELD


def exact(rows, centre):
    wide = rows.astype(np.float64) - centre
    return wide @ wide.T


@pytest.mark.parametrize("rows", [1, HELD - 1, HELD, HELD + 1, 3 * HELD + 2, 150])
@pytest.mark.parametrize("dim", [1, PIECE - 1, PIECE, PIECE + 1, 40 * PIECE + 3])
def test_all_shapes(rows, dim):
    rng = np.random.default_rng(rows * dim)
    matrix, centre = rng.normal(size=(rows, dim)).astype(np.float32), rng.normal(size=dim)
    found = inner_products(matrix, np.arange(rows), centre)
    np.testing.assert_allclose(found, exact(matrix, centre), atol=1e-12 * dim)
    assert np.array_equal(found, found.T)


def test_some_rows_in_any_order():
    matrix = np.random.default_rng(0).normal(size=(9, 700))
    which = np.array([7, 0, 3, 7, 1])
    found = inner_products(matrix, which, matrix[7])
    np.testing.assert_allclose(found, exact(matrix[which], matrix[7]), atol=1e-10)
    assert not found[0].any()
    assert not found[3].any()


def test_the_centre_says_how_precise_they_are():
    matrix = (1 + 1e-6 * np.random.default_rng(1).normal(size=(6, 3000))).astype(np.float32)
    wide, narrow = (inner_products(matrix, np.arange(6), np.zeros(3000, dtype)) for dtype in (np.float64, np.float32))
    np.testing.assert_allclose(wide, exact(matrix, 0), rtol=1e-14)
    np.testing.assert_allclose(narrow, exact(matrix, 0), rtol=2e-5)
    assert not np.allclose(narrow, exact(matrix, 0), rtol=1e-12)


def test_any_number_of_threads_gives_the_same_bits():
    dim = 400 * PIECE + 7  # enough to be shared out
    matrix = np.random.default_rng(2).normal(size=(13, dim)).astype(np.float32)
    found = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        found.append(inner_products(matrix, np.arange(13), np.zeros(dim)))
    torch.set_num_threads(1)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_an_overflow_shows():
    matrix = np.full((3, 2000), 3e38, np.float32)
    assert not np.isfinite(inner_products(matrix, np.arange(3), np.zeros(2000, np.float32))).any()
