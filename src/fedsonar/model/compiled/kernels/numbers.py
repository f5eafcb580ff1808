"""What kernels are made of: bfloat16 as it lies in memory, and a fast exponential."""

from __future__ import annotations

import math

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload
from torch import Tensor


def array(tensor: Tensor) -> np.ndarray:
    """A tensor's memory as a kernel takes it: bfloat16 as the 16 bits that it is."""
    return tensor.view(torch.uint16).numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def _reinterpret(value, result):
    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(result))

    return result(value), codegen


@intrinsic
def _as_float(context, bits):
    return _reinterpret(types.uint32, types.float32)


@intrinsic
def _as_bits(context, number):
    return _reinterpret(types.float32, types.uint32)


@intrinsic
def _nearest(context, number):
    """The nearest whole number, as a float32; unlike NumPy's, LLVM computes it for many numbers at once."""

    def codegen(context, builder, signature, arguments):
        kind = ir.FloatType()
        nearest = builder.module.declare_intrinsic("llvm.rint", [kind], ir.FunctionType(kind, [kind]))
        return builder.call(nearest, arguments)

    return types.float32(types.float32), codegen


def load(stored):
    """The number that an array's element stands for: itself, or a bfloat16."""
    raise NotImplementedError("for kernels")


@overload(load, inline="always")
def _load(stored):
    if stored == types.uint16:
        return lambda stored: _as_float(np.uint32(stored) << np.uint32(16))
    return lambda stored: stored


def put(array, row, column, number):
    """Stores a number in an array, rounded to the nearest bfloat16, ties to even, where the array holds those."""
    raise NotImplementedError("for kernels")


@overload(put, inline="always")
def _put(array, row, column, number):
    if array.dtype == types.uint16:

        def as_bfloat16(array, row, column, number):
            bits = _as_bits(np.float32(number))
            array[row, column] = np.uint16(
                (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
            )

        return as_bfloat16

    def plainly(array, row, column, number):
        array[row, column] = number

    return plainly


def exponential(x):
    """E to the power of x. In float32 to 4e-6 of its value, near 0 to 3e-7, and from e^-87 to e^87 only."""
    raise NotImplementedError("for kernels")


_LOG2_E = np.float32(math.log2(math.e))
_C1, _C2, _C3, _C4, _C5, _C6 = (
    np.float32(c)
    for c in (0.69314718, 0.24022646, 0.055503286, 0.009618489, 0.0013399931, 0.00015345812)
)  # fmt: skip
"""2^f on [-1/2, 1/2] to 2e-9: weights of f, f^2, ... fitted to the least greatest relative error."""


@overload(exponential, inline="always")
def _exponential(x):
    if x == types.float32:

        def fast(x):
            power = min(max(x * _LOG2_E, np.float32(-126)), np.float32(126))
            whole = _nearest(power)
            f = power - whole
            fraction = np.float32(1) + f * (_C1 + f * (_C2 + f * (_C3 + f * (_C4 + f * (_C5 + f * _C6)))))
            return fraction * _as_float(np.uint32(np.int32(whole) + np.int32(127)) << np.uint32(23))

        return fast
    return lambda x: math.exp(x)


def wide_rows(matrix, first, count, room):
    """Some rows of a matrix in its numbers' wide form: as they lie, or copied from bfloat16 into `room`."""
    raise NotImplementedError("for kernels")


@overload(wide_rows, inline="always")
def _wide_rows(matrix, first, count, room):
    if matrix.dtype == types.uint16:

        def copied(matrix, first, count, room):
            start = np.uint64(first)
            for i in range(np.uint64(count)):
                for j in range(np.uint64(matrix.shape[1])):
                    room[i, j] = load(matrix[start + i, j])
            return room

        return copied
    return lambda matrix, first, count, room: matrix[first : first + count]


def keep_rows(wide, matrix, first, count):
    """Writes back what `wide_rows` gave, where it was a copy."""
    raise NotImplementedError("for kernels")


@overload(keep_rows, inline="always")
def _keep_rows(wide, matrix, first, count):
    if matrix.dtype == types.uint16:

        def written(wide, matrix, first, count):
            start = np.uint64(first)
            for i in range(np.uint64(count)):
                for j in range(np.uint64(matrix.shape[1])):
                    put(matrix, start + i, j, wide[i, j])

        return written
    return lambda wide, matrix, first, count: None
