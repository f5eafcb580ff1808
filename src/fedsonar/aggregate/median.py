"""Median: the middle value of each coordinate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates
from fedsonar.aggregate.columns import sorted_columns
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
        n = len(updates_ND)
        median_D = torch.empty_like(updates_ND[0])
        for columns, values_CN in sorted_columns(updates_ND):
            # In float64, where the sum of two large float32 values cannot overflow.
            middle_C = np.add(values_CN[:, (n - 1) // 2], values_CN[:, n // 2], dtype=np.float64) / 2
            median_D[columns] = torch.from_numpy(middle_C)
        return median_D
