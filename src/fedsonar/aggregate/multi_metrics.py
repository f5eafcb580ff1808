"""MultiMetrics: the updates closest to all others in three distances at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates
from fedsonar.aggregate.columns import column_slices, weighted_mean
from fedsonar.aggregate.distances import squared_distances
from fedsonar.aggregate.kept import kept_weights
from fedsonar.aggregate.rule import Aggregator, RoundContext

# A feature that spreads less than this part of its size, or a direction less than this part of the widest, is rounding.
_ROUNDING = 1e-9


def manhattan_sums(updates_ND: Float[Tensor, "clients dim"]) -> Float[np.ndarray, "clients"]:
    """Sum of each update's L1 distances to all others, in ``n log n`` steps a coordinate instead of ``n^2``.

    Of sorted values the lowest is ``sum_k (n - k) gap_k`` from all others together, and a step over the gap above the
    k-th of n changes that sum by ``(2 k - n) gap_k``.
    """
    n = len(updates_ND)
    # The client's row sits in the lowest bits of the value while it is sorted, so that one quick sort gives both the
    # values and their order. Float32 leaves 29 bits of a float64 empty; of float64 values it costs the last few.
    row_bits = (1 << n.bit_length()) - 1
    rows_N = np.arange(n)
    up_K, change_K = np.arange(n - 1, 0, -1.0), 2.0 * np.arange(1, n) - n
    sums_N = np.zeros(n)
    for columns in column_slices(updates_ND.shape[1]):
        transposed = updates_ND[:, columns].detach().T
        values_CN = transposed.to("cpu", torch.float64, copy=True, memory_format=torch.contiguous_format).numpy()
        bits_CN = values_CN.view(np.int64)
        bits_CN &= ~row_bits
        bits_CN |= rows_N
        values_CN.sort(axis=1)
        order_CN = bits_CN & row_bits
        bits_CN &= ~row_bits
        gaps_CK = np.diff(values_CN, axis=1)
        values_CN[:, 0] = gaps_CK @ up_K
        np.multiply(gaps_CK, change_K, out=values_CN[:, 1:])
        distances_CN = np.cumsum(values_CN, axis=1, out=values_CN)
        sums_N += np.bincount(order_CN.ravel(), weights=distances_CN.ravel(), minlength=n)
    return sums_N


def mahalanobis_scores(features_NF: Float[np.ndarray, "clients features"]) -> Float[np.ndarray, "clients"]:
    """``x^T C^-1 x`` for the features x of each client, with C their covariance over the clients.

    Features are divided by their deviations first, which changes nothing but the digits. A feature that is the same
    for all clients counts for nothing, and where C is singular its pseudo-inverse is taken.
    """
    deviations_F = features_NF.std(axis=0)
    varies_F = deviations_F > _ROUNDING * np.abs(features_NF).max(axis=0)
    scaled_NF = features_NF[:, varies_F] / deviations_F[varies_F]
    if scaled_NF.shape[1] == 0:
        return np.zeros(len(features_NF))
    covariance_FF = np.atleast_2d(np.cov(scaled_NF, rowvar=False))
    inverse_FF = np.linalg.pinv(covariance_FF, rcond=_ROUNDING, hermitian=True)
    scores_N: Float[np.ndarray, "clients"] = ((scaled_NF @ inverse_FF) * scaled_NF).sum(axis=1)
    return scores_N


@dataclass(frozen=True, kw_only=True)
class MultiMetrics(Aggregator):
    """The weighted mean of the updates with the lowest scores, from distances to all others by three metrics.

    A client's features are the sums of its cosine distances ``1 - cos``, L1 and L2 distances to the other clients.
    Its score is ``x^T C^-1 x`` for the features x and their covariance C over the round's clients, so that each
    metric counts as much as it is worth. The `keep` part with the lowest scores (rounded down, at least one client) is
    averaged with the context's weights. Of equal scores the first clients' win.

    The cosine of an update that is all zero counts as 0. Where C is singular (as with fewer than 4 clients) its
    pseudo-inverse is taken. The authors' code differs: it squares the cosine distances, takes differences of norms
    for L2, and stops at a singular C.

    Args:
        keep: Part of the clients to keep, above 0 and at most 1.

    Example:
        Updates 0, 1, 2 and 9 with equal weights have L1 and L2 sums of 12, 10, 10 and 24, and cosine sums of 3, 1, 1
        and 1: with keep=.5 updates 1 and 2 stay, and the result is 1.5.

    Raises:
        ValueError: If keep is out of range.

    References:
        Huang et al., 2023, arXiv:2303.06601 (multi-metrics with dynamic weighting by whitening).
    """

    keep: float = 0.3

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(f"MultiMetrics needs 0 < keep <= 1, got keep={self.keep}")

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed, or the kept clients weigh nothing.
        """
        norms_N = check_updates(updates_ND, context)
        n = len(updates_ND)
        # The margin makes .3 of 10 clients 3, though .29 * 100 is 28.999999999999996.
        num_kept = max(1, math.floor(self.keep * n + 1e-9))
        scores_N = mahalanobis_scores(_features(updates_ND, norms_N.numpy()))
        kept_N = torch.zeros(n, dtype=torch.bool)
        kept_N[torch.from_numpy(scores_N.argsort(kind="stable")[:num_kept])] = True
        weights_N = kept_weights(context, kept_N)
        context.record(weights_N.to(context.weights.dtype))
        return weighted_mean(updates_ND, weights_N)


def _features(
    updates_ND: Float[Tensor, "clients dim"], norms_N: Float[np.ndarray, "clients"]
) -> Float[np.ndarray, "clients 3"]:
    """Sums of each client's cosine, L1 and L2 distances to all others."""
    n = len(updates_ND)
    squared_NN = squared_distances(updates_ND).numpy()
    # 1 - cos = (|x - y|^2 - (|x| - |y|)^2) / (2 |x| |y|) keeps its digits where x and y nearly agree.
    products_NN = 2 * np.outer(norms_N, norms_N)
    cosine_NN = np.ones((n, n))
    numerator_NN = squared_NN - np.subtract.outer(norms_N, norms_N) ** 2
    with np.errstate(over="ignore"):  # beside an update that is nearly zero, rounding leaves what no cosine has
        np.divide(numerator_NN, products_NN, out=cosine_NN, where=products_NN > 0)
    np.clip(cosine_NN, 0, 2, out=cosine_NN)
    np.fill_diagonal(cosine_NN, 0)
    return np.stack([cosine_NN.sum(axis=1), manhattan_sums(updates_ND), np.sqrt(squared_NN).sum(axis=1)], axis=1)
