"""Krum: the update with the closest neighbours, and the scores that its relatives share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedsonar.aggregate.check import check_round, check_updates, suspected
from fedsonar.aggregate.distances import squared_distances, squared_distances_from
from fedsonar.aggregate.rough_distances import rough_distances, worth_a_rough_look
from fedsonar.aggregate.rule import Aggregator, RoundContext

_FEW = 0.1
"""The part of the clients whose exact distances to all take less time than those of all pairs, by matrix products."""


def krum_scores(squared_NN: Float[Tensor, "clients clients"], f: int) -> Float[Tensor, "clients"]:
    """Krum score of each client: the sum of its squared distances to its ``n - f - 2`` nearest others.

    An update is not its own neighbour. Low scores are central.

    Args:
        squared_NN: Squared distances between updates, from `squared_distances`.
        f: Suspected clients.

    Raises:
        ValueError: If there would be no neighbour to sum over.

    References:
        Blanchard et al., 2017, arXiv:1703.02757, section 4.
    """
    return _scores(squared_NN, torch.arange(len(squared_NN)), f)


def _scores(squared_RN: Float[Tensor, "rows clients"], rows_R: Int[Tensor, "rows"], f: int) -> Float[Tensor, "rows"]:
    """Scores of some clients, by their squared distances to all."""
    n = squared_RN.shape[1]
    if n - f - 2 < 1:
        raise ValueError(f"Krum scores need n - f - 2 >= 1 neighbours, got n={n} clients and f={f}: lower f")
    others_RN = squared_RN.clone()
    others_RN[torch.arange(len(rows_R)), rows_R] = math.inf
    nearest_RN = np.sort(others_RN.numpy(), axis=1)[:, : n - f - 2]  # twice as quick as PyTorch's
    return torch.from_numpy(nearest_RN.sum(axis=1))


def lowest_scores(
    updates_ND: Float[Tensor, "clients dim"], context: RoundContext, f: int, count: int
) -> Int[Tensor, "count"]:
    """The rows of the `count` lowest Krum scores, in no certain order; of equal scores the first rows count as lower.

    Large rounds are looked at in float32 first, which tells of nearly all whether they are among the lowest. Of those
    of whom it cannot, within its bounds of error, exact distances decide, so the answer is always theirs.

    Args:
        updates_ND: One row a client, as many as clients of the context.
        context: Says whose row is which.
        f: Suspected clients.
        count: From 1 to the number of updates.

    Raises:
        ValueError: If an update is not finite.
    """
    if worth_a_rough_look(updates_ND) and count < len(updates_ND):
        squared_NN, error_NN = rough_distances(updates_ND)
        least_N, most_N = krum_scores(squared_NN - error_NN, f), krum_scores(squared_NN + error_NN, f)
        if most_N.isfinite().all():  # not so where an update is not finite: its own score is not
            low, open_rows = _decided(least_N, most_N, count)
            if len(open_rows) <= _FEW * len(updates_ND):
                exact = _scores(squared_distances_from(updates_ND, open_rows), open_rows, f)
                return torch.cat([low, open_rows[exact.sort(stable=True).indices[: count - len(low)]]])
    check_updates(updates_ND, context)
    return krum_scores(squared_distances(updates_ND), f).sort(stable=True).indices[:count]


def _decided(
    least_N: Float[Tensor, "clients"], most_N: Float[Tensor, "clients"], count: int
) -> tuple[Int[Tensor, "low"], Int[Tensor, "open"]]:
    """Who is surely among the `count` lowest, by bounds of every score, and of whom the bounds leave it open."""
    surely_N = torch.searchsorted(least_N.sort().values, most_N, right=True) <= count  # itself among them
    perhaps_N = torch.searchsorted(most_N.sort().values, least_N) < count
    return surely_N.nonzero()[:, 0], (perhaps_N & ~surely_N).nonzero()[:, 0]


def suspected_clients(f: int | None, num_clients: int) -> int:
    """The number of suspected clients: `f`, or a fifth of the clients (rounded down) when it is None.

    Raises:
        ValueError: If Krum's requirement ``2 f + 2 < n`` does not hold.
    """
    return suspected("Krum", f, num_clients, margin=2)


@dataclass(frozen=True, kw_only=True)
class Krum(Aggregator):
    """The one update with the lowest Krum score: closest to its ``n - f - 2`` nearest others.

    Distances are squared Euclidean, over the whole flattened update; an update is not its own neighbour. Unweighted:
    the clients' weights do not count. Of equal scores the first client's wins.

    Args:
        f: Suspected clients; needs ``2 f + 2 < n``. None: a fifth of the round's clients, rounded down.

    Example:
        Updates 0, 1, 2 and 9 with f=0 have scores 1+4, 1+1, 1+4 and 49+64: the result is 1.

    Raises:
        ValueError: If f is negative.

    References:
        Blanchard et al., 2017, arXiv:1703.02757, section 4.
    """

    f: int | None = None

    def __post_init__(self) -> None:
        if self.f is not None and self.f < 0:
            raise ValueError(f"Krum needs f >= 0 suspected clients, got f={self.f}")

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed or too few.
        """
        check_round(updates_ND, context)
        f = suspected_clients(self.f, len(updates_ND))
        chosen = int(lowest_scores(updates_ND, context, f, 1))
        shares_N = torch.zeros_like(context.weights)
        shares_N[chosen] = 1
        context.record(shares_N)
        return updates_ND[chosen].clone()
