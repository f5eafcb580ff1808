"""Small products: of the corners that are asked for, and of nothing else."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from fedsonar.model.compiled.kernels.products import FEW, LANES, add_product, add_transposed_product, padded

sides = st.integers(1, 70)
margins = st.tuples(*[st.integers(0, 3)] * 6)


def factors(rows, inner, columns, margins, dtype, seed, *, transposed):
    """Whole numbers, so that every order of summing gives the same result, in arrays larger than their corners."""
    draw = np.random.default_rng(seed)
    shapes = [(rows, columns), (inner, rows) if transposed else (rows, inner), (inner, columns)]
    return [
        draw.integers(-9, 10, (height + margins[2 * i], width + margins[2 * i + 1])).astype(dtype)
        for i, (height, width) in enumerate(shapes)
    ]


def check(rows, inner, columns, margins, dtype, seed, *, transposed):
    out, left, right = factors(rows, inner, columns, margins, dtype, seed, transposed=transposed)
    expected = out.copy()
    corner = left[:inner, :rows].T if transposed else left[:rows, :inner]
    expected[:rows, :columns] += corner @ right[:inner, :columns]
    left_before, right_before = left.copy(), right.copy()
    (add_transposed_product if transposed else add_product)(out, left, right, rows, inner, columns)
    assert (out == expected).all()
    assert (left == left_before).all()
    assert (right == right_before).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transposed", [False, True])
@given(rows=sides, inner=sides, columns=sides, margins=margins, seed=st.integers(0, 99))
@settings(max_examples=60)
def test_products_of_all_small_shapes(dtype, transposed, rows, inner, columns, margins, seed):
    check(rows, inner, columns, margins, dtype, seed, transposed=transposed)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    "columns",
    [1, FEW - 1, FEW, FEW + 1, LANES - 1, LANES, LANES + FEW, 2 * LANES, 2 * LANES + 1, 3 * LANES, 3 * LANES + FEW + 5],
)
@pytest.mark.parametrize("rows", [1, 3, 4, 5, 8, 9, 16])
def test_products_where_tiles_end(transposed, columns, rows):
    check(rows, 7, columns, (1, 2, 0, 3, 2, 1), np.float32, 0, transposed=transposed)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_of_fractions_have_the_precision_of_their_type(dtype):
    draw = np.random.default_rng(0)
    left, right = draw.normal(size=(33, 57)).astype(dtype), draw.normal(size=(57, 45)).astype(dtype)
    out = np.zeros((33, 45), dtype)
    add_product(out, left, right, 33, 57, 45)
    exact = left.astype(np.longdouble) @ right.astype(np.longdouble)
    bound = np.abs(left).astype(np.longdouble) @ np.abs(right).astype(np.longdouble)
    assert (np.abs(out - exact) <= 8 * np.finfo(dtype).eps * bound).all()


def test_a_product_over_nothing_adds_nothing():
    out = np.ones((5, 40))
    add_product(out, np.ones((5, 3)), np.ones((3, 40)), 5, 0, 40)
    assert (out == 1).all()


def test_padded_is_the_next_multiple():
    assert [padded(n) for n in (0, 1, LANES - 1, LANES, LANES + 1)] == [0, LANES, LANES, LANES, 2 * LANES]
