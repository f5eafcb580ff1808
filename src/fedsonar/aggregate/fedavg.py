"""FedAvg: the weighted mean."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_round, check_updates, unit_weights
from fedsonar.aggregate.columns import mean_if_finite
from fedsonar.aggregate.rule import Aggregator, RoundContext


@dataclass(frozen=True, kw_only=True)
class FedAvg(Aggregator):
    """The weighted mean ``sum_k w_k delta_k``, with the context's weights.

    No defence: one client with a large update moves the result as far as it likes. Needs 1 update.

    Example:
        Updates [0, 4] and [4, 0] with weights .75 and .25 give [1, 3].

    References:
        McMahan et al., 2017, arXiv:1602.05629, algorithm 1.
    """

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed, or the weights are negative or do not sum to 1.
        """
        check_round(updates_ND, context)
        mean_D, finite = mean_if_finite(updates_ND, unit_weights(self, context))
        if not finite:
            check_updates(updates_ND, context)  # says whose
        context.record(context.weights)
        return mean_D
