"""MultiKrum: the mean of the updates with the closest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_round
from fedsonar.aggregate.columns import weighted_mean
from fedsonar.aggregate.krum import lowest_scores, suspected_clients
from fedsonar.aggregate.rule import Aggregator, RoundContext


@dataclass(frozen=True, kw_only=True)
class MultiKrum(Aggregator):
    """The plain mean of the m updates with the lowest Krum scores.

    Scores are those of `Krum`, computed once: squared Euclidean distances to the ``n - f - 2`` nearest others.
    Unweighted: the clients' weights do not count. Of equal scores the first clients' win.

    Args:
        f: Suspected clients; needs ``2 f + 2 < n``. None: a fifth of the round's clients, rounded down.
        m: Updates to average, from 1 to n. None: ``n - f``.

    Example:
        Updates 0, 1, 2 and 9 with f=0 and m=3 have scores 5, 2, 5 and 113: the result is 1.

    Raises:
        ValueError: If f is negative or m is not positive.

    References:
        Blanchard et al., 2017, arXiv:1703.02757 (Multi-Krum).
    """

    f: int | None = None
    m: int | None = None

    def __post_init__(self) -> None:
        if self.f is not None and self.f < 0:
            raise ValueError(f"MultiKrum needs f >= 0 suspected clients, got f={self.f}")
        if self.m is not None and self.m < 1:
            raise ValueError(f"MultiKrum needs m >= 1 updates to average, got m={self.m}")

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed or too few.
        """
        check_round(updates_ND, context)
        n = len(updates_ND)
        f = suspected_clients(self.f, n)
        m = n - f if self.m is None else self.m
        if m > n:
            raise ValueError(f"MultiKrum needs m <= n, got m={m} and n={n} clients: lower m")
        shares_N = torch.zeros_like(context.weights, dtype=torch.float64)
        shares_N[lowest_scores(updates_ND, context, f, m)] = 1 / m
        context.record(shares_N.to(context.weights.dtype))
        return weighted_mean(updates_ND, shares_N)
