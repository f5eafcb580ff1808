"""Median: the middle value of each coordinate."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates
from fedsonar.aggregate.columns import middle_mean
from fedsonar.aggregate.rule import Aggregator, RoundContext


@dataclass(frozen=True, kw_only=True)
class Median(Aggregator):
    """The median of each coordinate over the clients.

    Of an even number of clients it is the mean of the two middle values, as in NumPy (`torch.median` gives the lower
    one). Unweighted: the clients' weights do not count. Coordinates are treated apart, so no client's share is
    recorded. Needs 1 update.

    Example:
        Updates [0, 9], [1, 5], [2, 4] and [7, 6] give [1.5, 5.5].

    References:
        Yin et al., 2018, arXiv:1803.01498, definition 1.
    """

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed.
        """
        check_updates(updates_ND, context)
        return middle_mean(updates_ND, (len(updates_ND) - 1) // 2)
