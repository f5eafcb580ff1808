"""Sums over the rows of a matrix, in float64 and a piece of columns at a time, so that what is added up stays near."""

from __future__ import annotations

import numpy as np

from fedsonar.compiling import kernel

_FEW = np.uint64(12)
"""Rows that a processor reads side by side about as fast as one."""

_NARROWEST, _WIDE = np.uint64(128), np.uint64(2**16)
"""Columns of a piece of few rows, whose sums stay at hand; and of many, each read in long stretches: 1.4 and 2.5 times
as fast as pieces of 2^14 for 100 and 10 rows."""

_NARROW = np.uint64(256)
"""Columns of a piece that is read twice: with 1,000 rows, a second-level cache of 1 MB."""


@kernel(finite=False)
def weighted_sum(rows, which, weights, first, last, out):
    """Writes ``sum_i weights[i] rows[which[i]]`` into `out`, in the columns from `first` to before `last`.

    A value that is not finite makes its column's sum not finite, whatever its weight.

    Args:
        rows: Matrix, rows one after the other.
        which: The numbers of the rows that are summed.
        weights: One for each of them, in float64.
        first: The first column.
        last: The column to stop before.
        out: As long as a row.

    Returns:
        0 where all of these sums are finite, and NaN otherwise.
    """
    n, end, one, lost = np.uint64(len(which)), np.uint64(last), np.uint64(1), 0.0
    width = _NARROWEST if n <= _FEW else _WIDE
    sums = np.empty(width)
    start = np.uint64(first)
    while start < end:
        count = min(width, end - start)
        for j in range(count):
            sums[j] = 0.0
        i = np.uint64(0)
        # Four rows at a time read and write the sums a fourth as often.
        while i + np.uint64(4) <= n:
            w0, w1, w2, w3 = weights[i], weights[i + one], weights[i + np.uint64(2)], weights[i + np.uint64(3)]
            a, b, c, d = which[i], which[i + one], which[i + np.uint64(2)], which[i + np.uint64(3)]
            for j in range(count):
                k = start + j
                sums[j] += (
                    w0 * np.float64(rows[np.uint64(a), k])
                    + w1 * np.float64(rows[np.uint64(b), k])
                    + w2 * np.float64(rows[np.uint64(c), k])
                    + w3 * np.float64(rows[np.uint64(d), k])
                )
            i += np.uint64(4)
        while i < n:
            w0, a = weights[i], which[i]
            for j in range(count):
                sums[j] += w0 * np.float64(rows[np.uint64(a), start + j])
            i += one
        for j in range(count):
            lost += sums[j] * 0.0
            out[start + j] = sums[j]
        start += count
    return lost


@kernel(finite=False)
def squared_norms(rows, first, last):
    """The sum of squares of each row, in some columns.

    Args:
        rows: Matrix, rows one after the other.
        first: The first column.
        last: The column to stop before.
    """
    end, squares = np.uint64(last), np.empty(rows.shape[0])
    for i in range(np.uint64(rows.shape[0])):
        square = 0.0
        for j in range(np.uint64(first), end):
            value = np.float64(rows[i, j])
            square += value * value
        squares[i] = square
    return squares


@kernel(finite=False)
def squared_differences(rows, which, first, last):
    """The sum of squares of what some rows differ from all others by, in some columns.

    Args:
        rows: Matrix, rows one after the other.
        which: The numbers of some rows.
        first: The first column.
        last: The column to stop before.

    Returns:
        A sum for each of these rows and each row.
    """
    some, n, end = np.uint64(len(which)), np.uint64(rows.shape[0]), np.uint64(last)
    squares, held = np.zeros((len(which), rows.shape[0])), np.empty((len(which), _NARROW))
    start = np.uint64(first)
    while start < end:
        count = min(_NARROW, end - start)
        for i in range(some):
            row = np.uint64(which[i])
            for j in range(count):
                held[i, j] = rows[row, start + j]
        for k in range(n):
            for i in range(some):
                square = 0.0
                for j in range(count):
                    difference = held[i, j] - np.float64(rows[k, start + j])
                    square += difference * difference
                squares[i, k] += square
        start += count
    return squares


@kernel
def move_and_measure(rows, factors, centre, first, last):
    """Adds ``sum_i factors[i] (rows[i] - centre)`` to `centre` in some columns, and measures from where it is then.

    Args:
        rows: Matrix, rows one after the other.
        factors: One a row, in float64.
        centre: As long as a row, in float64; changed.
        first: The first column.
        last: The column to stop before.

    Returns:
        The squared distance of each row to the new centre, in these columns.
    """
    n, end = np.uint64(rows.shape[0]), np.uint64(last)
    squares, step = np.zeros(rows.shape[0]), np.empty(_NARROW)
    start = np.uint64(first)
    while start < end:
        count = min(_NARROW, end - start)
        for j in range(count):
            step[j] = 0.0
        for i in range(n):
            factor = factors[i]
            for j in range(count):
                step[j] += factor * (np.float64(rows[i, start + j]) - centre[start + j])
        for j in range(count):
            centre[start + j] += step[j]
        for i in range(n):
            square = 0.0
            for j in range(count):
                difference = np.float64(rows[i, start + j]) - centre[start + j]
                square += difference * difference
            squares[i] += square
        start += count
    return squares
