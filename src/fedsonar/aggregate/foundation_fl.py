"""FoundationFL: copies of the update farthest from both extremes join the round before a rule of each coordinate."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates
from fedsonar.aggregate.columns import column_slices
from fedsonar.aggregate.median import Median
from fedsonar.aggregate.rule import Aggregator, RoundContext
from fedsonar.aggregate.trimmed_mean import TrimmedMean


def extreme_scores(updates_ND: Float[Tensor, "clients dim"]) -> Float[Tensor, "clients"]:
    """Each update's distance to the nearer of the two extremes, the largest and the least values of the coordinates.

    Args:
        updates_ND: Finite updates, one row a client.

    References:
        Fang et al., 2025, arXiv:2501.17381.
    """
    squared_2N = torch.zeros(2, len(updates_ND), dtype=torch.float64, device=updates_ND.device)
    for columns in column_slices(updates_ND.shape[1]):
        piece_NC = updates_ND[:, columns].detach().double()
        for row, extreme_C in enumerate((piece_NC.amax(dim=0), piece_NC.amin(dim=0))):
            squared_2N[row] += (piece_NC - extreme_C).square_().sum(dim=1)
    return squared_2N.amin(dim=0).sqrt()


@dataclass(frozen=True, kw_only=True)
class FoundationFL(Aggregator):
    """A rule of each coordinate over the n updates and m copies of the one that is farthest from the extremes.

    The extremes are the largest and the least value of each coordinate; an update's score is its Euclidean distance
    to the nearer of them, and the update of the highest score is copied. Of equal scores the first client's wins.
    Unweighted: the clients' weights do not count. Coordinates are treated apart, so no client's share is recorded.

    Attackers on one side at different distances make the least far of them the one that is copied. `Median` then
    still holds while ``2 (f + m) <= n + m``, up to a fourth of the clients with the default m; `TrimmedMean` drops only
    beta (n + m) values at an end, and follows.

    Args:
        rule: What comes after: `Median` or `TrimmedMean`, which sees n + m updates.
        m: Copies, at least 1. None: half of the clients, rounded down. That default is ours: we did not find the
            paper's.

    Example:
        Updates 0, 1, 4 and 9 have the extremes 9 and 0, so scores 0, 1, 4 and 0. Two copies of 4 join them, and the
        median of 0, 1, 4, 4, 4 and 9 is 4.

    Raises:
        ValueError: If m is not positive or the rule is another one.

    References:
        Fang et al., 2025, arXiv:2501.17381.
    """

    rule: Aggregator = field(default_factory=Median)
    m: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.rule, Median | TrimmedMean):
            raise ValueError(f"FoundationFL needs Median or TrimmedMean as its rule, got {type(self.rule).__name__}")
        if self.m is not None and self.m < 1:
            raise ValueError(f"FoundationFL needs m >= 1 copies, got m={self.m}")

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed, or too few for the rule.
        """
        check_updates(updates_ND, context)
        n = len(updates_ND)
        m = n // 2 if self.m is None else self.m
        chosen = int(extreme_scores(updates_ND).argmax())
        joined = RoundContext(round=context.round, clients=range(n + m), weights=torch.full((n + m,), 1 / (n + m)))
        result_D = torch.empty_like(updates_ND[0])
        # The rule treats coordinates apart, so pieces of columns do, and no matrix of n + m updates is made.
        for columns in column_slices(updates_ND.shape[1]):
            piece_NC = updates_ND[:, columns]
            joined_MC = torch.cat([piece_NC, piece_NC[chosen].expand(m, -1)])
            try:
                result_D[columns] = self.rule.aggregate(joined_MC, joined)
            except ValueError as error:
                raise ValueError(f"FoundationFL hands {n} updates and {m} copies to its rule: {error}") from error
        return result_D
