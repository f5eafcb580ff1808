"""Inner products of all pairs of rows, a piece of columns at a time, and in it four rows by four."""

from __future__ import annotations

import numpy as np

from fedsonar.compiling import kernel

HELD = 4
"""Rows of a tile: its 16 sums and 8 values fit the 32 registers of a core."""

_NEAR = np.uint64(64)
"""Rows that all others meet before the next ones: 256 KB in float64, to stay in a second-level cache."""


@kernel(finite=False)
def add_products(rows, which, centre, first, last, room, out):
    """Adds the inner product of rows ``which[i]`` and ``which[j]``, both less the centre, to ``out[i, j]`` for j <= i.

    Differences are as precise as rows or centre, whichever is more; products of a piece as `room`, their sums as `out`.

    Args:
        rows: Matrix, rows one after the other.
        which: The numbers of some rows.
        centre: As long as a row.
        first: The first column.
        last: The column to stop before.
        room: For the differences of a piece: as many rows as `which`, rounded up to a multiple of `HELD`, and as many
            columns as a piece has. Zero in rows beyond those of `which`.
        out: Square, with as many rows as `room`; above the diagonal some of it is changed, without a meaning.
    """
    n, padded, width = np.uint64(len(which)), np.uint64(room.shape[0]), np.uint64(room.shape[1])
    start, end, one, held = np.uint64(first), np.uint64(last), np.uint64(1), np.uint64(HELD)
    high = len(room) // HELD
    tiles = np.zeros((high * (high + 1) // 2, 16))  # in the order in which they are met, to be read and written so
    while start < end:
        count = min(width, end - start)
        for i in range(n):
            row = np.uint64(which[i])
            for k in range(count):
                room[i, k] = rows[row, start + k] - centre[start + k]
        tile = np.uint64(0)
        for near in range(np.uint64(0), padded, _NEAR):
            for i in range(near, padded, held):
                for j in range(near, min(i + one, near + _NEAR), held):
                    _add_tile(room, i, j, count, tiles[tile])
                    tile += one
        start += count

    met = 0
    for near in range(np.uint64(0), padded, _NEAR):
        for i in range(near, padded, held):
            for j in range(near, min(i + one, near + _NEAR), held):
                for k in range(16):
                    out[i + k // 4, j + k % 4] += tiles[met, k]
                met += 1


@kernel(finite=False)
def _add_tile(room, i, j, count, sums):
    """Adds to 16 sums the inner products, over some columns, of four rows from `i` on with four from `j` on.

    The sums are variables, so that they stay in registers.
    """
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)
    a0, a1, a2, a3 = room[i], room[i + one], room[i + two], room[i + three]
    b0, b1, b2, b3 = room[j], room[j + one], room[j + two], room[j + three]
    zero = room.dtype.type(0)
    s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = zero
    s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = zero
    for k in range(count):
        x0, x1, x2, x3 = a0[k], a1[k], a2[k], a3[k]
        y0, y1, y2, y3 = b0[k], b1[k], b2[k], b3[k]
        s00, s01, s02, s03 = s00 + x0 * y0, s01 + x0 * y1, s02 + x0 * y2, s03 + x0 * y3
        s10, s11, s12, s13 = s10 + x1 * y0, s11 + x1 * y1, s12 + x1 * y2, s13 + x1 * y3
        s20, s21, s22, s23 = s20 + x2 * y0, s21 + x2 * y1, s22 + x2 * y2, s23 + x2 * y3
        s30, s31, s32, s33 = s30 + x3 * y0, s31 + x3 * y1, s32 + x3 * y2, s33 + x3 * y3
    totals = (s00, s01, s02, s03, s10, s11, s12, s13, s20, s21, s22, s23, s30, s31, s32, s33)
    for k in range(16):
        sums[k] += totals[k]
