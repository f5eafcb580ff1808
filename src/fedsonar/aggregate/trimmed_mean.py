"""TrimmedMean: the mean of each coordinate without its extremes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates
from fedsonar.aggregate.columns import middle_mean
from fedsonar.aggregate.rule import Aggregator, RoundContext


@dataclass(frozen=True, kw_only=True)
class TrimmedMean(Aggregator):
    """The mean of each coordinate without its ``floor(beta n)`` smallest and as many largest values.

    Unweighted: the clients' weights do not count. Coordinates are treated apart, so no client's share is recorded.
    A `beta` too small to drop anything is an error, never a silent plain mean.

    Args:
        beta: Part of the clients dropped at each end, above 0 and below .5; needs ``floor(beta n) >= 1``.

    Example:
        Updates 0, 1, 2, 6 and 90 with beta=.2 give (1 + 2 + 6) / 3 = 3.

    Raises:
        ValueError: If beta is out of range.

    References:
        Yin et al., 2018, arXiv:1803.01498, definition 2.
    """

    beta: float = 0.2

    def __post_init__(self) -> None:
        if not 0 < self.beta < 0.5:
            raise ValueError(f"TrimmedMean needs 0 < beta < 0.5, got beta={self.beta}")

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed or too few.
        """
        check_updates(updates_ND, context)
        n = len(updates_ND)
        # The margin makes .29 of 100 clients 29, though .29 * 100 is 28.999999999999996.
        dropped = math.floor(self.beta * n + 1e-9)
        if dropped < 1:
            raise ValueError(
                f"TrimmedMean needs floor(beta n) >= 1, got beta={self.beta} and n={n} clients: "
                f"bring at least {math.ceil(1 / self.beta - 1e-9)} or raise beta"
            )
        return middle_mean(updates_ND, dropped)
