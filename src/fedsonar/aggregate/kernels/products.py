"""Inner products of all pairs of rows, a piece of columns at a time, and in it a tile of some rows by some others."""

from __future__ import annotations

import platform

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fedsonar.compiling import kernel

_FEATURES = llvm.get_host_cpu_features()
_BITS = 512 if _FEATURES.get("avx512f") else 256 if _FEATURES.get("avx2") else 128
"""Of a vector register."""

_MANY = _BITS == 512 or platform.machine() in ("aarch64", "arm64")
"""Whether a core has 32 vector registers, or 16."""

HELD, _ACROSS = (4, 4) if _MANY else (6, 2)
"""Rows of a tile, and those that they meet: its sums, a vector of each row met and one more fit a core's registers.

There are more sums than eight, as a core begins two multiply-adds before each of four that it waits for is done.
"""

_SUMS = HELD * _ACROSS

_KEPT = 1 << (_SUMS - 1).bit_length()
"""Numbers that a tile's sums are kept in: vectors are added up by twos, so that there have to be a power of two."""

LANES = _BITS // 32
"""Sums beside one another in float32, each of every so many columns, of which an inner product is made in the end.

They are as many as a vector holds, and no more than a tile has products. The fewer numbers a sum has, the less it errs;
see `rough_distances`.
"""

_NEAR = np.uint64(72)
"""Rows that all others meet before the next ones, whole tiles: 220 KB in float32, to stay in a second-level cache."""


def tiles_of(count: int) -> tuple[int, int]:
    """Shape of the sums of all tiles of so many rows, a multiple of `HELD`."""
    high = count // HELD
    return high * (high + 1) // 2 * (HELD // _ACROSS), _KEPT


@kernel(finite=False)
def add_products(rows, which, centre, first, last, room, tiles):
    """Adds the inner products of all pairs of some rows, each less the centre, to the sums of tiles.

    Differences are as precise as rows or centre, whichever is more; products of a piece as `room`, their sums as
    `tiles`.

    Args:
        rows: Matrix, rows one after the other.
        which: The numbers of some rows.
        centre: As long as a row.
        first: The first column.
        last: The column to stop before.
        room: For the differences of a piece: as many rows as `which`, rounded up to a multiple of `HELD`, and as many
            columns as a piece has, a multiple of `LANES`. Zero in rows beyond those of `which`.
        tiles: As `tiles_of` says, in the order in which tiles are met.
    """
    n, padded, width = np.uint64(len(which)), np.uint64(room.shape[0]), np.uint64(room.shape[1])
    start, end, one, held, lanes = np.uint64(first), np.uint64(last), np.uint64(1), np.uint64(HELD), np.uint64(LANES)
    across = np.uint64(_ACROSS)
    while start < end:
        count = min(width, end - start)
        whole = (count + lanes - one) // lanes * lanes
        for i in range(n):
            row = np.uint64(which[i])
            for k in range(count):
                room[i, k] = rows[row, start + k] - centre[start + k]
            for k in range(count, whole):
                room[i, k] = 0
        tile = np.uint64(0)
        for near in range(np.uint64(0), padded, _NEAR):
            for i in range(near, padded, held):
                for j in range(near, min(i + held, near + _NEAR), across):
                    _add_tile(room, i, j, whole, tiles, tile)
                    tile += one
        start += count


@kernel(finite=False)
def lay_out(tiles, out):
    """Writes the products of all pairs of rows to a square, symmetric matrix.

    Args:
        tiles: From `add_products`.
        out: As many rows as there were, without those that filled up a tile.
    """
    n = np.uint64(len(out))
    held, across = np.uint64(HELD), np.uint64(_ACROSS)
    tile = 0
    for near in range(np.uint64(0), n, _NEAR):
        for i in range(near, n, held):
            for j in range(near, min(i + held, near + _NEAR), across):
                for y in range(i, min(i + held, n)):
                    for x in range(j, min(j + across, y + np.uint64(1))):
                        out[y, x] = out[x, y] = tiles[tile, (y - i) * across + x - j]
                tile += 1


@intrinsic
def _add_tile(context, room, i, j, count, tiles, tile):
    """Adds inner products of `HELD` rows from `i` on with `_ACROSS` from `j` on to row `tile` of `tiles`.

    Takes the first `count` columns, a multiple of `LANES`. Written in LLVM's terms, so that it is certain how many
    numbers each sum has, and so that the lanes of many sums are added up together, in a fraction of the steps.
    """

    def codegen(context, builder, signature, arguments):
        room_type, tiles_type = signature.args[0], signature.args[4]
        whole = ir.IntType(64)
        scalar, bits = context.get_value_type(room_type.dtype), room_type.dtype.bitwidth
        width = _BITS // bits
        vector = ir.VectorType(scalar, width)
        room = context.make_array(room_type)(context, builder, arguments[0])
        length = builder.udiv(cgutils.unpack_tuple(builder, room.strides)[0], whole(bits // 8))
        fused = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{width}f{bits}"
        )

        def rows_from(first, count):
            return [builder.gep(room.data, [builder.mul(length, builder.add(first, whole(k)))]) for k in range(count)]

        def read(row, place):
            value = builder.load(builder.bitcast(builder.gep(row, [place]), vector.as_pointer()))
            value.align = bits // 8
            return value

        left, right = rows_from(arguments[1], HELD), rows_from(arguments[2], _ACROSS)
        sums = [cgutils.alloca_once(builder, vector) for _ in range(_SUMS)]
        for total in sums:
            builder.store(ir.Constant(vector, [0.0] * width), total)
        with cgutils.for_range(builder, builder.udiv(arguments[3], whole(width)), intp=whole) as loop:
            place = builder.mul(loop.index, whole(width))
            across = [read(row, place) for row in right]
            for r, row in enumerate(left):
                along = read(row, place)
                for total, other in zip(sums[_ACROSS * r : _ACROSS * (r + 1)], across, strict=True):
                    builder.store(builder.call(fused, [along, other, builder.load(total)]), total)

        # Two vectors become one with half as many lanes of each sum, until each has one lane of every sum in it.
        vectors = [builder.load(total) for total in sums] + [ir.Constant(vector, [0.0] * width)] * (_KEPT - _SUMS)
        lanes = width
        while lanes > 1:
            half = lanes // 2
            starts = range(0, 2 * width, lanes)
            firsts = ir.Constant(ir.VectorType(ir.IntType(32), width), [s + k for s in starts for k in range(half)])
            seconds = ir.Constant(
                ir.VectorType(ir.IntType(32), width), [s + half + k for s in starts for k in range(half)]
            )
            vectors = [
                builder.fadd(builder.shuffle_vector(a, b, firsts), builder.shuffle_vector(a, b, seconds))
                for a, b in zip(vectors[::2], vectors[1::2], strict=True)
            ]
            lanes = half
        exact = ir.VectorType(ir.DoubleType(), width)
        tiles = context.make_array(tiles_type)(context, builder, arguments[4])
        first = builder.mul(arguments[5], whole(_KEPT))
        for k, found in enumerate(vectors):
            place = builder.add(first, whole(k * width))
            at = builder.bitcast(builder.gep(tiles.data, [place]), exact.as_pointer())
            before = builder.load(at)
            before.align = 8
            wide = builder.fpext(found, exact) if scalar != ir.DoubleType() else found
            builder.store(builder.fadd(before, wide), at).align = 8
        return context.get_dummy_value()

    number = types.uint64
    return types.void(room, number, number, number, tiles, number), codegen
