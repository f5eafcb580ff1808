"""Rotary position embedding."""

from __future__ import annotations

import numpy as np

from fedsonar.compiling import kernel
from fedsonar.model.compiled.kernels.numbers import load, put


@kernel
def rotate(source, positions, cos, sin, direction, factor, tokens, out):
    """Turns every head's vector by its position's angles, and multiplies by a factor.

    Args:
        source: Queries, keys or their gradients, (tokens, heads * size).
        positions: (tokens,).
        cos: Cosines of every position's angles, (positions, size / 2), wide.
        sin: Sines, likewise.
        direction: 1, or -1 to turn back.
        factor: On the result.
        tokens: How many rows count.
        out: Takes the result; may be `source`.

    References:
        Su et al., 2021, arXiv:2104.09864, equation 34.
    """
    half, width = np.uint64(cos.shape[1]), np.uint64(source.shape[1])
    turned = np.empty(width, cos.dtype)  # not `out`: the compiler must see that no result is read again
    for t in range(tokens):
        c, s = cos[positions[t]], sin[positions[t]]
        for first in range(np.uint64(0), width, np.uint64(2) * half):
            for i in range(half):
                x, y = load(source[t, first + i]), load(source[t, first + half + i])
                turn = s[i] * direction
                turned[first + i] = (x * c[i] - y * turn) * factor
                turned[first + half + i] = (y * c[i] + x * turn) * factor
        for i in range(width):
            put(out, t, i, turned[i])
