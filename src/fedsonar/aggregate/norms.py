"""Norms of updates, and the factors that shrink them to a limit."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.columns import as_matrix, on_strips
from fedsonar.aggregate.kernels.sums import squared_norms


def row_norms(updates_ND: Float[Tensor, "clients dim"]) -> Float[Tensor, "clients"]:
    """Euclidean norm of each update, in float64 on the CPU; not finite where the update, or its square, is not."""
    matrix_ND = as_matrix(updates_ND)
    squares = on_strips(matrix_ND, lambda first, last: squared_norms(matrix_ND, first, last))
    return torch.from_numpy(np.sqrt(np.sum(squares, axis=0)))


def clip_factors(norms_N: Float[Tensor, "clients"], limit: float | None) -> Float[Tensor, "clients"]:
    """Factor ``min(1, limit / norm)`` of each norm: what shrinks a vector of that norm to the limit, or leaves it.

    A norm of 0 has factor 1. A limit of 0, which only a median can be, has factor 0 for all other norms.

    Args:
        norms_N: Norms, at least 0.
        limit: The largest norm that is left alone. None: the median of the norms, of an even number the mean of the
            two middle ones.
    """
    if limit is None:
        limit = float(np.median(norms_N.numpy()))
    # A tensor divided: a number over a tensor is the number times the reciprocals, which overflow for tiny norms.
    return torch.where(norms_N > limit, norms_N.new_tensor(limit) / norms_N, 1.0)
