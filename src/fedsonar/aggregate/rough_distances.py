"""Squared distances between all pairs of updates in float32, sooner than exact ones, and how wrong they may be."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from threadpoolctl import ThreadpoolController
from torch import Tensor

from fedsonar.aggregate.columns import LANES, as_matrix

_COLUMNS = 512
"""Columns whose products are summed in float32; from there on sums are in float64."""

_UNIT = 2.0**-24
"""The largest relative error of one operation in float32."""

_UNDERFLOW = 2.0**-123
"""What squared distances lose in each coordinate where products are too small for float32."""

_ERROR = 1.01 * (2 * _COLUMNS * _UNIT + 4 * _UNIT)
"""Of a squared distance, as a part of both rows' squared distances to the centre.

Each of the three inner products that it is made of errs by at most ``_COLUMNS`` roundings of the product of norms,
whatever the order of the sum (Higham, 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1), and each
centred value by one. The rest is for products of such errors.
"""

_LEAST = 2**21
"""Values from which on float32 is worth the while."""


def worth_a_rough_look(updates_ND: Float[Tensor, "clients dim"]) -> bool:
    """Whether rough distances save time: for large rounds in float32 or less."""
    return updates_ND.dtype != torch.float64 and updates_ND.numel() > _LEAST


def rough_distances(
    updates_ND: Float[Tensor, "clients dim"], norms_N: Float[Tensor, "clients"]
) -> tuple[Float[Tensor, "clients clients"], Float[Tensor, "clients clients"]]:
    """Squared Euclidean distance of every pair of updates, and the most that each may be off; not finite on overflow.

    Args:
        updates_ND: Finite updates, one row a client, in float32 or less.
        norms_N: Their norms, roughly: rows are centred on the one of median norm.
    """
    matrix_ND = as_matrix(updates_ND)
    n, dim = matrix_ND.shape
    centre_D = matrix_ND[int(norms_N.argsort(stable=True)[n // 2])]
    share = _COLUMNS * -(-dim // (_COLUMNS * LANES.count))

    def gram(start: int) -> Float[np.ndarray, "clients clients"]:
        gram_NN = np.zeros((n, n))
        room_NC = np.empty((n, _COLUMNS), np.float32)
        for first in range(start, min(start + share, dim), _COLUMNS):
            last = min(first + _COLUMNS, start + share, dim)
            with np.errstate(all="ignore"):  # of this thread
                piece_NC = np.subtract(matrix_ND[:, first:last], centre_D[first:last], out=room_NC[:, : last - first])
                gram_NN += piece_NC @ piece_NC.T  # SciPy's symmetric product would hold Python's lock
        return gram_NN

    with np.errstate(all="ignore"), _libraries().limit(limits=1, user_api="blas"):
        gram_NN = np.sum(LANES.each(gram, range(0, dim, share)), axis=0)
        norms = gram_NN.diagonal()
        sums_NN = norms[:, None] + norms[None, :]
        squared_NN = sums_NN - (gram_NN + gram_NN.T)  # as symmetric as the sums
    return torch.from_numpy(squared_NN), torch.from_numpy(_ERROR * sums_NN + dim * _UNDERFLOW)


@cache
def _libraries() -> ThreadpoolController:
    """The libraries whose threads can be counted, NumPy's among them."""
    return ThreadpoolController()
