"""Numbers inside kernels: bfloat16 as PyTorch rounds it, and the exponential within its bounds."""

import math

import numba
import numpy as np
import pytest
import torch

from fedsonar.model.compiled.kernels.numbers import array, exponential, keep_rows, load, put, wide_rows


def compiled(function):
    """As `kernel` compiles, but anew in every session: a kept result does not notice a change in numbers.py."""
    return numba.njit(function, fastmath=True, error_model="numpy")


@compiled
def load_all(source, out):
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            out[i, j] = load(source[i, j])


@compiled
def put_all(source, out):
    for i in range(source.shape[0]):
        for j in range(source.shape[1]):
            put(out, i, j, source[i, j])


@compiled
def powers_of_e(x, out):
    for i in range(len(x)):
        out[i] = exponential(x[i])


@compiled
def add_one(matrix, first, count, room):
    rows = wide_rows(matrix, first, count, room)
    for i in range(count):
        for j in range(rows.shape[1]):
            rows[i, j] += 1
    before_kept = load(matrix[first, 0])
    keep_rows(rows, matrix, first, count)
    return before_kept


def powers(x):
    found = np.empty_like(x)
    powers_of_e(x, found)
    return found


def finite_patterns():
    """Every bfloat16 that is neither infinite nor subnormal, as its 16 bits."""
    bits = np.arange(2**16, dtype=np.uint32)
    exponents = (bits >> 7) & 0xFF
    return bits[(exponents > 0) & (exponents < 255)].astype(np.uint16)


def bits(numbers):
    return numbers.view(np.uint32)


def test_every_bfloat16_is_read_as_pytorch_reads_it():
    source = finite_patterns()[None]
    expected = torch.from_numpy(source).view(torch.bfloat16).float().numpy()
    found = np.empty_like(expected)
    load_all(source, found)
    assert (bits(found) == bits(expected)).all()


@pytest.mark.parametrize("below", ["random", 0x0000, 0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
def test_a_number_is_stored_as_the_bfloat16_that_pytorch_rounds_to(below):
    """The upper 16 bits take all values, even and odd, of both signs; those below decide where to round."""
    upper = finite_patterns().astype(np.uint32) << 16
    draw = np.random.default_rng(3)
    lower = draw.integers(0, 2**16, len(upper), dtype=np.uint32) if below == "random" else np.uint32(below)
    source = (upper | lower).view(np.float32).reshape(2, -1)
    expected = array(torch.from_numpy(source).to(torch.bfloat16))
    found = np.zeros(source.shape, np.uint16)
    put_all(source, found)
    assert (found == expected).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wide_numbers_are_read_and_stored_as_they_are(dtype):
    source = np.random.default_rng(0).normal(size=(3, 5)).astype(dtype)
    read, stored = np.zeros_like(source), np.zeros_like(source)
    load_all(source, read)
    put_all(source, stored)
    assert (read == source).all()
    assert (stored == source).all()


def test_exponential_in_float32_is_within_its_bounds():
    x = np.linspace(-87, 87, 400_001, dtype=np.float32)
    exact = np.exp(x.astype(np.float64))
    error = np.abs(powers(x) / exact - 1)
    assert error.max() < 4e-6
    near = np.abs(x) < 0.4
    assert error[near].max() < 3e-7
    assert powers(np.zeros(1, np.float32))[0] == 1


def test_exponential_in_float32_stays_finite_beyond_its_range():
    small, large = powers(np.array([-1e4, 1e4], np.float32))
    assert 0 <= small < math.exp(-87)
    assert math.exp(87) < large < math.inf


def test_exponential_in_float64_is_that_of_the_library():
    x = np.random.default_rng(1).uniform(-700, 700, 10_000)
    assert (powers(x) == np.array([math.exp(number) for number in x])).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_some_rows_are_changed_in_their_wide_form_and_written_back(dtype):
    matrix = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = matrix.clone()
    expected[2:5] += 1
    before = float(matrix[2, 0])
    room = np.full((4, 5), np.nan, np.float64 if dtype == torch.float64 else np.float32)
    seen = add_one(array(matrix), 2, 3, room)
    assert matrix.equal(expected)
    if dtype == torch.bfloat16:
        assert seen == before  # the rows were a copy until then
        assert np.isnan(room[3]).all()
    else:
        assert seen == before + 1 or math.isclose(seen, before + 1, rel_tol=1e-6)
        assert np.isnan(room).all()  # the rows were used where they lie
