"""Inner products of all pairs of updates, by all threads."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int

from fedsonar.aggregate.columns import on_strips
from fedsonar.aggregate.kernels.products import HELD, add_products, lay_out, tiles_of

PIECE = 752
"""Columns whose products are summed in the precision of the centre; from there on sums are in float64.

A multiple of all `LANES`, but of no higher power of two: rows of 1,024 would share the same few places of a cache. The
eight rows of a tile leave room in a first-level cache.
"""


def inner_products(
    matrix_ND: Float[np.ndarray, "clients dim"],
    rows_R: Int[np.ndarray, "rows"],
    centre_D: Float[np.ndarray, "dim"],
) -> Float[np.ndarray, "rows rows"]:
    """``(x - centre) . (y - centre)`` for every pair of some rows, symmetric to the last bit; not finite on overflow.

    Args:
        matrix_ND: From `columns.as_matrix`.
        rows_R: The numbers of the rows.
        centre_D: In float32, for differences and products that are as precise, or in float64.
    """
    padded = -(-len(rows_R) // HELD) * HELD

    def on_strip(first: int, last: int) -> Float[np.ndarray, "tiles kept"]:
        # PyTorch's memory begins where lines of the cache do, which saves a fifth of the time.
        room_PC = torch.from_numpy(centre_D).new_zeros(padded, PIECE).numpy()
        tiles_TK = np.zeros(tiles_of(padded))
        add_products(matrix_ND, rows_R, centre_D, first, last, room_PC, tiles_TK)
        return tiles_TK

    tiles_TK, *others = on_strips(matrix_ND, on_strip)
    for other_TK in others:
        tiles_TK += other_TK
    gram_NN = np.empty((len(rows_R), len(rows_R)))
    lay_out(tiles_TK, gram_NN)
    return gram_NN
