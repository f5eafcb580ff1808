"""Small matrix products inside kernels: too small, and too ragged, for a library call each."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fedsonar.compiling import kernel

LANES = 16
"""Numbers in a vector."""
FEW = 8
"""Numbers in a short vector; a product with fewer columns than that in its last group takes those slowly."""


def padded(count: int, multiple: int = LANES) -> int:
    """The next multiple."""
    return -(-count // multiple) * multiple


def _tile(rows: int, vectors: int, lanes: int) -> Any:
    """A function that adds a product to a tile of so many rows and ``vectors * lanes`` columns, kept in registers.

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
            vector, whole = ir.VectorType(scalar, lanes), ir.IntType(64)
            bits = kinds["out"].dtype.bitwidth
            bytes_each = bits // 8
            fused = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{lanes}f{bits}"
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
                    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
                    spread = builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), zeros)
                    for total, factor in zip(sums[i * vectors : (i + 1) * vectors], across, strict=True):
                        builder.store(builder.call(fused, [spread, factor, builder.load(total)]), total)
            for place, total in zip(places_out, sums, strict=True):
                builder.store(builder.load(total), place).align = bytes_each
            return context.get_dummy_value()

        integer = types.int64
        return types.void(out, integer, left, integer, integer, integer, right, integer, integer), codegen

    return add_tile


# Sums that do not wait for each other keep the processor busy, so that fewer columns are taken with more rows at once.
_wide_tile, _wide_line = _tile(4, 2, LANES), _tile(1, 2, LANES)
_narrow_tile, _narrow_line = _tile(8, 1, LANES), _tile(1, 1, LANES)
_short_tile, _short_line = _tile(8, 1, FEW), _tile(1, 1, FEW)


# These three are written out, as `kernel` wants it.
@kernel
def _add_wide(out, column, left, row_step, inner_step, right, rows, inner):
    length, whole = out.shape[1], rows - rows % 4
    for i in range(0, whole, 4):
        _wide_tile(out, i * length + column, left, i * row_step, row_step, inner_step, right, column, inner)
    for i in range(whole, rows):
        _wide_line(out, i * length + column, left, i * row_step, row_step, inner_step, right, column, inner)


@kernel
def _add_narrow(out, column, left, row_step, inner_step, right, rows, inner):
    length, whole = out.shape[1], rows - rows % 8
    for i in range(0, whole, 8):
        _narrow_tile(out, i * length + column, left, i * row_step, row_step, inner_step, right, column, inner)
    for i in range(whole, rows):
        _narrow_line(out, i * length + column, left, i * row_step, row_step, inner_step, right, column, inner)


@kernel
def _add_short(out, column, left, row_step, inner_step, right, rows, inner):
    length, whole = out.shape[1], rows - rows % 8
    for i in range(0, whole, 8):
        _short_tile(out, i * length + column, left, i * row_step, row_step, inner_step, right, column, inner)
    for i in range(whole, rows):
        _short_line(out, i * length + column, left, i * row_step, row_step, inner_step, right, column, inner)


@kernel
def _add(out, left, row_step, inner_step, right, rows, inner, columns):
    two, one, few = columns - columns % (2 * LANES), columns - columns % LANES, columns - columns % FEW
    for j in range(0, two, 2 * LANES):
        _add_wide(out, j, left, row_step, inner_step, right, rows, inner)
    if two < one:
        _add_narrow(out, two, left, row_step, inner_step, right, rows, inner)
    if one < few:
        _add_short(out, one, left, row_step, inner_step, right, rows, inner)
    if few < columns:
        flat = left.reshape(left.size)
        for i in range(rows):
            for k in range(inner):
                number = flat[i * row_step + k * inner_step]
                for j in range(few, columns):
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
