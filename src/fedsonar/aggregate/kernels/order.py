"""Columns sorted by a network: the same few comparisons for every column, so that many columns are sorted at once."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Int

from fedsonar.compiling import kernel

_WIDTH = np.uint64(256)
"""Columns that are sorted at once."""


@lru_cache(maxsize=32)
def comparators(count: int) -> Int[np.ndarray, "pairs 2"]:
    """Pairs of places that sort `count` values when each pair in turn is put in order, the lower value first.

    About ``n log2(n)^2 / 4`` of them: more than a sort that looks at its values needs, and the same for all.

    References:
        Batcher, 1968, "Sorting networks and their applications"; as the merge exchange sort, Knuth, 1998, "The Art of
        Computer Programming", volume 3, section 5.2.2, algorithm M.
    """
    pairs = [np.empty((0, 2), np.int64)]
    top = 1 << max(0, (count - 1).bit_length() - 1)
    part = top
    while part and count > 1:
        half, remainder, distance = top, 0, part
        while True:
            lower = np.arange(count - distance)
            lower = lower[(lower & part) == remainder]
            pairs.append(np.stack([lower, lower + distance], axis=1))
            if half == part:
                break
            half, remainder, distance = half // 2, part, half - part
        part //= 2
    return np.concatenate(pairs)


@kernel
def sort_tile(rows, start, count, pairs, tile):
    """Copies `count` columns from `start` on into `tile`, and sorts each from low to high over the rows."""
    n, first = np.uint64(rows.shape[0]), np.uint64(start)
    for i in range(n):
        for j in range(np.uint64(count)):
            tile[i, j] = rows[i, first + j]
    for p in range(np.uint64(pairs.shape[0])):
        low, high = np.uint64(pairs[p, 0]), np.uint64(pairs[p, 1])
        for j in range(np.uint64(count)):
            a, b = tile[low, j], tile[high, j]
            tile[low, j] = min(a, b)
            tile[high, j] = max(a, b)


@kernel
def sort_columns(rows, pairs, out):
    """Writes all columns into `out`, each sorted from low to high.

    Args:
        rows: Finite matrix, rows one after the other.
        pairs: From `comparators`, for as many values as there are rows.
        out: Matrix of the rows' shape and type.
    """
    n, end = np.uint64(rows.shape[0]), np.uint64(rows.shape[1])
    tile = np.empty((rows.shape[0], _WIDTH), rows.dtype)
    start = np.uint64(0)
    while start < end:
        count = min(_WIDTH, end - start)
        sort_tile(rows, start, count, pairs, tile)
        for i in range(n):
            for j in range(count):
                out[i, start + j] = tile[i, j]
        start += count


@kernel
def middle_means(rows, pairs, dropped, first, last, out):
    """Writes the mean of each column without its `dropped` lowest and highest values into `out`, in some columns.

    Args:
        rows: Finite matrix, rows one after the other.
        pairs: From `comparators`, for as many values as there are rows.
        dropped: Less than half of the rows.
        first: The first column.
        last: The column to stop before.
        out: As long as a row.
    """
    n, end, lowest = np.uint64(rows.shape[0]), np.uint64(last), np.uint64(dropped)
    highest = n - lowest - np.uint64(1)
    tile, sums = np.empty((rows.shape[0], _WIDTH), rows.dtype), np.empty(_WIDTH)
    start = np.uint64(first)
    while start < end:
        count = min(_WIDTH, end - start)
        sort_tile(rows, start, count, pairs, tile)
        for j in range(count):
            sums[j] = 0.0
        for i in range(lowest, highest + np.uint64(1)):
            for j in range(count):
                sums[j] += np.float64(tile[i, j])
        for j in range(count):
            mean = sums[j] / np.float64(highest - lowest + np.uint64(1))
            # Rounding must not carry a mean past the values it is the mean of.
            out[start + j] = min(max(mean, np.float64(tile[lowest, j])), np.float64(tile[highest, j]))
        start += count
