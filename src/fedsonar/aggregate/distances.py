"""Squared distances between all pairs of updates, by Gram matrices of centred rows, and of some to all."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fedsonar.aggregate.columns import as_matrix, on_strips
from fedsonar.aggregate.inner_products import inner_products
from fedsonar.aggregate.kernels.sums import squared_differences
from fedsonar.aggregate.norms import row_norms

# A squared distance this small beside the squared norms it is the difference of has lost 6 of float64's 16 digits.
_LOST = 1e-6


def squared_distances(updates_ND: Float[Tensor, "clients dim"]) -> Float[Tensor, "clients clients"]:
    """Squared Euclidean distance of every pair of updates, in float64 on the CPU.

    ``|x - y|^2 = |x|^2 + |y|^2 - 2 x.y`` costs one matrix product, but loses digits when x and y are close together
    and far from the origin. So the rows are centred on one of them first, and rows that are still much closer to each
    other than to that centre are centred again, among themselves. Identical rows get distance 0 and the same
    distances to all others, to the last bit. Memory: some clients-by-clients matrices.

    Args:
        updates_ND: Finite updates, one row a client.
    """
    matrix_ND, norms_N = as_matrix(updates_ND), row_norms(updates_ND).numpy()
    squared_NN = np.zeros((len(updates_ND), len(updates_ND)))
    groups = [np.arange(len(updates_ND))]
    while groups:
        rows = groups.pop()
        # The row of median norm: while most clients are honest, no attacker can push the centre far from them.
        # A row, not the mean, keeps whole numbers whole, so ties stay ties.
        centre = int(rows[np.argsort(norms_N[rows], kind="stable")[len(rows) // 2]])
        squared_NN[np.ix_(rows, rows)], lost_NN = _centred_distances(matrix_ND, rows, centre)
        # The centre itself never loses digits, so every new group is smaller than the one it came from.
        while lost_NN.any():
            first = lost_NN.any(axis=1).argmax()
            members = np.append(first, np.flatnonzero(lost_NN[first]))
            groups.append(rows[np.sort(members)])
            lost_NN[np.ix_(members, members)] = False
    twin_N = (squared_NN == 0).argmax(axis=1)  # the first row identical to each
    return torch.from_numpy(squared_NN[np.ix_(twin_N, twin_N)])


def squared_distances_from(
    updates_ND: Float[Tensor, "clients dim"], rows_R: Int[Tensor, "rows"]
) -> Float[Tensor, "rows clients"]:
    """Squared Euclidean distance of some updates to all, in float64 on the CPU, each from its differences.

    Identical rows have the same distances, to the last bit. Of some it takes less time than of all pairs at once.

    Args:
        updates_ND: Finite updates, one row a client.
        rows_R: The numbers of some rows.
    """
    matrix_ND, which_R = as_matrix(updates_ND), rows_R.numpy()
    parts = on_strips(matrix_ND, lambda first, last: squared_differences(matrix_ND, which_R, first, last))
    return torch.from_numpy(np.sum(parts, axis=0))


def _centred_distances(
    matrix_ND: Float[np.ndarray, "clients dim"], rows: Int[np.ndarray, "rows"], centre: int
) -> tuple[Float[np.ndarray, "rows rows"], Bool[np.ndarray, "rows rows"]]:
    """Squared distances among some rows, from their Gram matrix about the row `centre`, and which lost digits."""
    gram_NN = inner_products(matrix_ND, rows, matrix_ND[centre].astype(np.float64))
    norms_N = gram_NN.diagonal()
    sums_NN = norms_N[:, None] + norms_N[None, :]
    squared_NN = (sums_NN - 2 * gram_NN).clip(min=0)
    np.fill_diagonal(squared_NN, 0)
    lost_NN = squared_NN < _LOST * sums_NN
    np.fill_diagonal(lost_NN, False)
    return squared_NN, lost_NN
