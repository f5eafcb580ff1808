"""The low-rank term of each client's adapter, on a stream in which clients' tokens lie one after another."""

from __future__ import annotations

import numpy as np

from fedsonar.compiling import kernel
from fedsonar.model.compiled.kernels.numbers import keep_rows, wide_rows
from fedsonar.model.compiled.kernels.products import add_product, add_transposed_product, clear

_TILE = 32
"""Tokens at a time: few enough to stay in the innermost cache."""


@kernel
def add_low_rank(x, adapters, offset, rank, scale, segments, low, out):
    """``out += scale B A x`` with the A and B of each segment's client.

    Args:
        x: Inputs, (tokens, in).
        adapters: Flat adapters, (adapters, dim), wide.
        offset: Where A, (rank, in), starts in an adapter; B, (out, rank), follows.
        rank: r.
        scale: alpha / r.
        segments: First token, one past the last, place in `adapters` and place in the gradients of each client's
            tokens, (segments, 4).
        low: Takes A x, (tokens, rank up to a multiple of `FEW`), wide.
        out: Outputs, (tokens, out), added to.

    References:
        Hu et al., 2021, arXiv:2106.09685, equation 3.
    """
    inner, outer = x.shape[1], out.shape[1]
    x_room, out_room = np.empty((_TILE, inner), low.dtype), np.empty((_TILE, outer), low.dtype)
    across, up = np.zeros((inner, low.shape[1]), low.dtype), np.empty((rank, outer), low.dtype)
    for segment in range(len(segments)):
        first, end, flat = segments[segment, 0], segments[segment, 1], adapters[segments[segment, 2]]
        down = flat[offset : offset + rank * inner].reshape((rank, inner))
        b = flat[offset + rank * inner : offset + rank * (inner + outer)].reshape((outer, rank))
        for r in range(rank):
            for i in range(inner):
                across[i, r] = down[r, i]
            for o in range(outer):
                up[r, o] = b[o, r] * scale
        for t in range(first, end, _TILE):
            count = min(_TILE, end - t)
            own = low[t : t + count]
            clear(own, count)
            add_product(own, wide_rows(x, t, count, x_room), across, count, inner, low.shape[1])
            rows = wide_rows(out, t, count, out_room)
            add_product(rows, own, up, count, rank, outer)
            keep_rows(rows, out, t, count)


@kernel
def low_rank_backward(d_out, x, low, adapters, offset, rank, scale, segments, gradients, rest, d_x):
    """Adds the gradients of A and B to the clients' flat gradients, and that of `x` to `d_x` unless it is None.

    Args:
        d_out: Gradient of the outputs, (tokens, out).
        x: Inputs, (tokens, in).
        low: As `add_low_rank` left it.
        adapters: As there; so are `offset`, `rank`, `scale` and `segments`.
        gradients: Flat gradients, (gradients, dim), wide.
        rest: One more, (dim,), that segments name -1.
        d_x: Gradient of the inputs, (tokens, in), or None.
    """
    inner, outer = x.shape[1], d_out.shape[1]
    x_room, out_room = np.empty((_TILE, inner), low.dtype), np.empty((_TILE, outer), low.dtype)
    across, d_up = np.zeros((outer, low.shape[1]), low.dtype), np.empty((rank, outer), low.dtype)
    d_low = np.empty((_TILE, low.shape[1]), low.dtype)
    for segment in range(len(segments)):
        first, end = segments[segment, 0], segments[segment, 1]
        flat, place = adapters[segments[segment, 2]], segments[segment, 3]
        grad = rest if place < 0 else gradients[place]
        middle = offset + rank * inner
        down = flat[offset:middle].reshape((rank, inner))
        d_down = grad[offset:middle].reshape((rank, inner))
        b = flat[middle : middle + rank * outer].reshape((outer, rank))
        d_b = grad[middle : middle + rank * outer].reshape((outer, rank))
        for r in range(rank):
            for o in range(outer):
                across[o, r] = b[o, r] * scale
                d_up[r, o] = 0
        for t in range(first, end, _TILE):
            count = min(_TILE, end - t)
            rows = wide_rows(d_out, t, count, out_room)
            clear(d_low, count)
            add_product(d_low, rows, across, count, outer, low.shape[1])
            add_transposed_product(d_up, low[t:], rows, rank, count, outer)
            add_transposed_product(d_down, d_low, wide_rows(x, t, count, x_room), rank, count, inner)
            if d_x is not None:
                inputs = wide_rows(d_x, t, count, x_room)
                add_product(inputs, d_low, down, count, rank, inner)
                keep_rows(inputs, d_x, t, count)
        for r in range(rank):
            for o in range(outer):
                d_b[o, r] += d_up[r, o] * scale
