"""FreqFed: the mean of the largest cluster of updates with alike low frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fedsonar.aggregate.check import check_updates
from fedsonar.aggregate.columns import weighted_mean
from fedsonar.aggregate.cosines import cosine_clusters, cosine_similarities, gram_matrix
from fedsonar.aggregate.rule import Aggregator, Matrix, RoundContext

Matrices = Literal["all", "last"]
Variant = Literal["authors", "majority"]

_BATCH = 2**20  # values transformed at once: 8 MB in float64


def low_frequencies(
    updates_ND: Float[Tensor, "clients dim"], matrices: Sequence[Matrix]
) -> Float[Tensor, "clients kept"]:
    """The low frequencies of each update's matrices, one after the other, in float64 on the CPU.

    Of the coefficients of the orthonormal two-dimensional DCT-II of an H x W matrix, those with i < H / 2, j < W / 2
    and ``i + j <= (H + W) / 4``: about an eighth of them, or a quarter of a single row's.

    Args:
        updates_ND: Finite updates, one row a client.
        matrices: Where the matrices lie in an update.
    """
    from scipy.fft import dctn  # it takes a tenth of a second to load

    masks = [_low(matrix) for matrix in matrices]
    low_NK = torch.empty(len(updates_ND), sum(mask_HW.sum() for mask_HW in masks), dtype=torch.float64)
    start = 0
    for (offset, rows, columns), mask_HW in zip(matrices, masks, strict=True):
        end, batch = start + int(mask_HW.sum()), max(1, _BATCH // (rows * columns))
        for first in range(0, len(updates_ND), batch):
            flat_BD = updates_ND[first : first + batch, offset : offset + rows * columns].detach()
            values_BHW = flat_BD.to("cpu", torch.float64).numpy().reshape(-1, rows, columns)
            low_BK = dctn(values_BHW, type=2, axes=(1, 2), norm="ortho")[:, mask_HW]
            low_NK[first : first + batch, start:end] = torch.from_numpy(low_BK)
        start = end
    return low_NK


def _low(matrix: Matrix) -> Bool[np.ndarray, "rows columns"]:
    """Which of a matrix's frequencies are low."""
    i_H1, j_W = np.arange(matrix.rows)[:, None], np.arange(matrix.columns)
    low_HW: Bool[np.ndarray, "rows columns"] = (
        (i_H1 < matrix.rows / 2) & (j_W < matrix.columns / 2) & (i_H1 + j_W <= (matrix.rows + matrix.columns) / 4)
    )
    return low_HW


def largest_label(labels_N: Int[Tensor, "clients"], cosines_NN: Float[Tensor, "clients clients"]) -> int:
    """The label that most updates have, -1 (noise) among them.

    Of equally many a cluster's wins before noise, and then the one whose updates have the larger sum of cosines to
    all: numbers of clusters depend on the order of the clients.
    """
    sums_N = cosines_NN.sum(dim=1)

    def rank(label: int) -> tuple[float, bool, float]:
        members_N = labels_N == label
        return members_N.sum().item(), label >= 0, sums_N[members_N].sum().item()

    labels: list[int] = sorted(set(labels_N.tolist()))
    return max(labels, key=rank)


@dataclass(frozen=True, kw_only=True)
class FreqFed(Aggregator):
    """The plain mean of the updates in the largest cluster, by cosine distances between their low frequencies.

    Each matrix goes through an orthonormal two-dimensional DCT-II; an update without matrices counts as one row. The
    low frequencies (see `low_frequencies`) of an update's matrices are taken as one vector, and HDBSCAN clusters these.
    Unweighted: the clients' weights do not count.

    Args:
        matrices: Which matrices are looked at: all of an update's, or the last one only. The mean is always of whole
            updates.
        variant: "authors": clusters of at least 2, and the largest label wins, where -1 counts as a label. So when
            most updates are noise, the mean is of the noise, and benign clients that form a cluster are dropped.
            "majority": the first group of more than half of the updates to hang together, as in FLAME.

    Example:
        One-row updates [1, 1, 1, 1], [2, 2, 2, 2] and [-3, -3, -3, -3] have the low frequencies [2, 0], [4, 0] and
        [-6, 0]. For the majority two of three are needed, and the first two are parallel: the result is
        [1.5, 1.5, 1.5, 1.5].

    Raises:
        ValueError: If matrices or variant is unknown.

    References:
        Fereidooni et al., 2024, arXiv:2312.04432.
    """

    matrices: Matrices = "all"
    variant: Variant = "authors"

    def __post_init__(self) -> None:
        for name, value, known in (
            ("matrices", self.matrices, get_args(Matrices)),
            ("variant", self.variant, get_args(Variant)),
        ):
            if value not in known:
                raise ValueError(f"FreqFed knows {name} {' and '.join(known)}, got {name}={value!r}")

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed or too few.
        """
        check_updates(updates_ND, context)
        n, dim = updates_ND.shape
        if n < 2:
            raise ValueError(f"FreqFed needs at least 2 clients to cluster, got n={n}: bring more")
        matrices = context.matrices or [Matrix(0, 1, dim)]
        low_NK = low_frequencies(updates_ND, matrices if self.matrices == "all" else matrices[-1:])
        cosines_NN = cosine_similarities(gram_matrix(low_NK))
        labels_N = cosine_clusters(cosines_NN, majority=self.variant == "majority")
        kept_N = (labels_N == largest_label(labels_N, cosines_NN)).double()
        shares_N = kept_N / kept_N.sum()
        context.record(shares_N.to(context.weights))
        return weighted_mean(updates_ND, shares_N)
