"""Squared distances between all pairs of updates in float32, sooner than exact ones, and how wrong they may be."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.columns import as_matrix
from fedsonar.aggregate.inner_products import PIECE, inner_products
from fedsonar.aggregate.kernels.products import LANES

_UNIT = 2.0**-24
"""The largest relative error of one operation in float32."""

_UNDERFLOW = 2.0**-123
"""What squared distances lose in each coordinate where products are too small for float32."""

_ROUNDINGS = PIECE // LANES + LANES.bit_length() - 1
"""The most that a product of a piece goes through: those of its lane's sum, and those of the lanes' sum."""

_ERROR = 1.01 * (2 * _ROUNDINGS * _UNIT + 4 * _UNIT)
"""Of a squared distance, as a part of both rows' squared distances to the centre.

Each of the three inner products that it is made of errs by at most so many roundings of the product of norms (Higham,
2002, "Accuracy and Stability of Numerical Algorithms", section 3.1), and each centred value by one. The rest is for
products of such errors.
"""

_LEAST = 2**21
"""Values from which on float32 is worth the while."""


def worth_a_rough_look(updates_ND: Float[Tensor, "clients dim"]) -> bool:
    """Whether rough distances save time: for large rounds in float32 or less."""
    return updates_ND.dtype != torch.float64 and updates_ND.numel() > _LEAST


def rough_distances(
    updates_ND: Float[Tensor, "clients dim"],
) -> tuple[Float[Tensor, "clients clients"], Float[Tensor, "clients clients"]]:
    """Squared Euclidean distance of every pair of updates, and the most that each may be off.

    Both are infinite or NaN for all pairs of an update that is not finite, and for pairs whose products overflow.

    Args:
        updates_ND: One row a client, in float32 or less.
    """
    matrix_ND = as_matrix(updates_ND)
    n, dim = matrix_ND.shape
    with np.errstate(all="ignore"):
        # As exact distances are centred, but for one row of median norm in its first columns.
        norms_N = np.linalg.norm(matrix_ND[:, :PIECE], axis=1)
        gram_NN = inner_products(matrix_ND, np.arange(n), matrix_ND[norms_N.argsort(kind="stable")[n // 2]])
        norms_N = gram_NN.diagonal()
        sums_NN = norms_N[:, None] + norms_N[None, :]
        # In place: fresh memory for a thousand clients takes longer than the arithmetic.
        squared_NN = np.add(np.multiply(gram_NN, -2, out=gram_NN), sums_NN, out=gram_NN)
        error_NN = np.add(np.multiply(sums_NN, _ERROR, out=sums_NN), dim * _UNDERFLOW, out=sums_NN)
    return torch.from_numpy(squared_NN), torch.from_numpy(error_NN)
