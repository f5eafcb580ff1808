"""Bulyan: repeated Krum picks, then each coordinate's mean around the median."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates, or_lower
from fedsonar.aggregate.columns import column_slices, sorted_columns
from fedsonar.aggregate.distances import squared_distances
from fedsonar.aggregate.rule import Aggregator, RoundContext


@dataclass(frozen=True, kw_only=True)
class Bulyan(Aggregator):
    """Per coordinate the mean of the ``theta - 2 f`` values nearest the median of ``theta = n - 2 f`` Krum picks.

    Krum picks one update after the other; each pick leaves, and the scores of the r updates that remain are taken
    among them, over ``r - f - 2`` neighbours. The last picks would have none left, so they take 1 neighbour. Of equal
    scores the one with the nearer next neighbour wins, then the first client's. The median of an even number is the
    mean of the middle two; of values equally far from it the lower counts. Unweighted: the clients' weights do not
    count.

    The shares recorded are ``1 / theta`` for each pick and 0 for the others. They say who came through the first step
    only: the second treats coordinates apart.

    Args:
        f: Suspected clients, at least 1; needs ``n >= 4 f + 3``. None: a fifth of the round's clients, rounded down,
            or as many as that allows where it is fewer, but at least 1.

    Example:
        Updates 0, 1, 2, 3, 4, 5 and -90 with f=1: the five picks are 2, 3, 1, 4 and 0, their median is 2, the three
        values nearest it are 1, 2 and 3, and the result is 2.

    Raises:
        ValueError: If f is below 1.

    References:
        El Mhamdi et al., 2018, arXiv:1802.07927, section 4.
    """

    f: int | None = None

    def __post_init__(self) -> None:
        # With f=0 nothing would be dropped: a plain mean, silently.
        if self.f is not None and self.f < 1:
            raise ValueError(f"Bulyan needs f >= 1 suspected clients, got f={self.f}: use FedAvg if you suspect none")

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed or too few.
        """
        check_updates(updates_ND, context)
        n = len(updates_ND)
        f = max(1, min(n // 5, (n - 3) // 4)) if self.f is None else self.f
        if n < 4 * f + 3:
            raise ValueError(
                f"Bulyan needs n >= 4f + 3, got f={f} and n={n} clients: bring at least {4 * f + 3}"
                + or_lower((n - 3) // 4, least=1)
            )
        theta = n - 2 * f
        picks = _krum_picks(squared_distances(updates_ND), f, theta)
        shares_N = torch.zeros_like(context.weights)
        shares_N[picks] = 1 / theta
        context.record(shares_N)
        mean_D = torch.empty_like(updates_ND[0])
        for columns in column_slices(updates_ND.shape[1]):
            values_TC = sorted_columns(updates_ND[picks, columns])
            mean_D[columns] = torch.from_numpy(_mean_near_median(values_TC, theta - 2 * f))
        return mean_D


def _krum_picks(squared_NN: Float[Tensor, "clients clients"], f: int, num_picks: int) -> list[int]:
    """The clients that Krum picks one after the other, each from those that remain; numbers are rows of the matrix."""
    others_NN = squared_NN.numpy().copy()
    np.fill_diagonal(others_NN, np.inf)
    # Sorted once: from then on a pick only leaves a gap in each row. Sorting anew for each pick of 1,000 clients takes
    # 14 times as long.
    order_RR = others_NN.argsort(axis=1, kind="stable")
    values_RR = np.take_along_axis(others_NN, order_RR, axis=1)
    remaining = list(range(len(others_NN)))
    picks = []
    for _ in range(num_picks):
        neighbours = max(1, len(remaining) - f - 2)
        scores_R = values_RR[:, :neighbours].sum(axis=1)
        # With 1 neighbour two clients that are each other's nearest always tie: their order must not decide.
        tied = np.flatnonzero(scores_R == scores_R.min())
        row = int(tied[values_RR[tied, neighbours].argmin()])
        picks.append(remaining.pop(row))
        order_RR, values_RR = np.delete(order_RR, row, axis=0), np.delete(values_RR, row, axis=0)
        stays_RR = order_RR != picks[-1]
        order_RR = order_RR[stays_RR].reshape(len(remaining), -1)
        values_RR = values_RR[stays_RR].reshape(len(remaining), -1)
    return picks


def _mean_near_median(values_TC: Float[np.ndarray, "picks cols"], num_near: int) -> Float[np.ndarray, "cols"]:
    """Mean of the values nearest the median in each column; columns are sorted from low to high."""
    theta = len(values_TC)
    median_C = np.add(values_TC[(theta - 1) // 2], values_TC[theta // 2], dtype=np.float64) / 2
    # The nearest values lie side by side. The lowest of them gives way while the next above is nearer.
    gives_way_C = (median_C - values_TC[: theta - num_near] > values_TC[num_near:] - median_C).sum(axis=0)
    near_MC = np.take_along_axis(values_TC, gives_way_C + np.arange(num_near)[:, None], axis=0)
    # Rounding must not carry a mean past the values it is the mean of.
    mean_C: Float[np.ndarray, "cols"] = near_MC.mean(axis=0, dtype=np.float64).clip(near_MC[0], near_MC[-1])
    return mean_C
