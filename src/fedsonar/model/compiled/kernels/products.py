"""Small matrix products inside kernels: too small, and too ragged, for a library call each."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fedsonar.model.compiled.kernels.numbers import kernel

LANES = 16
"""Columns are taken by so many; a product with fewer in its last group takes those slowly."""


def padded(count: int) -> int:
    """The next multiple of `LANES`."""
    return -(-count // LANES) * LANES


def _tile(rows: int, vectors: int) -> Any:
    """A function that adds a product to a tile of so many rows and ``vectors * LANES`` columns, kept in registers.

    Its arguments: the array that holds the tile and the tile's place in it; the left factor, the place of its first
    number, and the steps from one row to the next and along the inner dimension; the right factor and the place of its
    first number; and the inner dimension. Places and steps count numbers, not bytes.
    """

    @intrinsic
    def add_tile(context, out, at, left, left_at, row_step, inner_step, right, right_at, inner):
        def codegen(context, builder, signature, arguments):
            kinds = dict(zip(("out", "left", "right"), (signature.args[i] for i in (0, 2, 6)), strict=True))
            values = dict(zip(kinds, (arguments[i] for i in (0, 2, 6)), strict=True))
            arrays = {name: context.make_array(kinds[name])(context, builder, values[name]) for name in kinds}
            scalar = context.get_value_type(kinds["out"].dtype)
            vector, whole = ir.VectorType(scalar, LANES), ir.IntType(64)
            bits = kinds["out"].dtype.bitwidth
            bytes_each = bits // 8
            fused = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{LANES}f{bits}"
            )
            places = {"out": arguments[1], "left": arguments[3], "right": arguments[7]}
            starts = {name: builder.gep(arrays[name].data, [places[name]]) for name in kinds}

            def row_length(name):
                return builder.sdiv(cgutils.unpack_tuple(builder, arrays[name].strides)[0], whole(bytes_each))

            def vectors_at(pointer):
                first = builder.bitcast(pointer, vector.as_pointer())
                return [builder.gep(first, [whole(v)]) for v in range(vectors)]

            def read(pointer):
                value = builder.load(pointer)
                value.align = bytes_each
                return value

            out_length, right_length = row_length("out"), row_length("right")
            places_out = [
                place
                for i in range(rows)
                for place in vectors_at(builder.gep(starts["out"], [builder.mul(out_length, whole(i))]))
            ]
            sums = [cgutils.alloca_once(builder, vector) for _ in places_out]
            for place, total in zip(places_out, sums, strict=True):
                builder.store(read(place), total)
            steps = [builder.mul(arguments[4], whole(i)) for i in range(rows)]
            with cgutils.for_range(builder, arguments[8], intp=whole) as loop:
                across = [
                    read(place)
                    for place in vectors_at(builder.gep(starts["right"], [builder.mul(loop.index, right_length)]))
                ]
                along = builder.gep(starts["left"], [builder.mul(loop.index, arguments[5])])
                for i in range(rows):
                    number = builder.load(builder.gep(along, [steps[i]]))
                    single = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.IntType(32)(0))
                    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
                    spread = builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), zeros)
                    for total, factor in zip(sums[i * vectors : (i + 1) * vectors], across, strict=True):
                        builder.store(builder.call(fused, [spread, factor, builder.load(total)]), total)
            for place, total in zip(places_out, sums, strict=True):
                builder.store(builder.load(total), place).align = bytes_each
            return context.get_dummy_value()

        integer = types.int64
        return types.void(out, integer, left, integer, integer, integer, right, integer, integer), codegen

    return add_tile


_wide_tile, _narrow_tile = _tile(4, 2), _tile(4, 1)
_wide_line, _narrow_line = _tile(1, 2), _tile(1, 1)


@kernel
def _add(out, left, row_step, inner_step, right, rows, inner, columns):
    length = out.shape[1]
    full, half = columns - columns % (2 * LANES), columns - columns % LANES
    whole = rows - rows % 4
    for j in range(0, full, 2 * LANES):
        for i in range(0, whole, 4):
            _wide_tile(out, i * length + j, left, i * row_step, row_step, inner_step, right, j, inner)
        for i in range(whole, rows):
            _wide_line(out, i * length + j, left, i * row_step, row_step, inner_step, right, j, inner)
    for j in range(full, half, LANES):
        for i in range(0, whole, 4):
            _narrow_tile(out, i * length + j, left, i * row_step, row_step, inner_step, right, j, inner)
        for i in range(whole, rows):
            _narrow_line(out, i * length + j, left, i * row_step, row_step, inner_step, right, j, inner)
    if half < columns:
        flat = left.reshape(left.size)
        for i in range(rows):
            for k in range(inner):
                number = flat[i * row_step + k * inner_step]
                for j in range(half, columns):
                    out[i, j] += number * right[k, j]


@kernel
def clear(rows, count):
    """Sets the first rows to 0; faster than a slice, which counts references."""
    for i in range(count):
        for j in range(rows.shape[1]):
            rows[i, j] = 0


@kernel
def add_product(out, left, right, rows, inner, columns):
    """``out += left @ right`` on the upper left corners: rows x inner times inner x columns."""
    _add(out, left, left.shape[1], 1, right, rows, inner, columns)


@kernel
def add_transposed_product(out, left, right, rows, inner, columns):
    """``out += left.T @ right`` on the upper left corners: inner x rows, read transposed, times inner x columns."""
    _add(out, left, 1, left.shape[1], right, rows, inner, columns)
