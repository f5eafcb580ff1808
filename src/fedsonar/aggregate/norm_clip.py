"""NormClip: the weighted mean of updates shrunk to a largest norm."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates
from fedsonar.aggregate.columns import weighted_mean
from fedsonar.aggregate.kept import kept_weights
from fedsonar.aggregate.norms import clip_factors
from fedsonar.aggregate.rule import Aggregator, RoundContext


@dataclass(frozen=True, kw_only=True)
class NormClip(Aggregator):
    """The weighted mean of the updates, each divided by ``max(1, |delta| / c)``; also called NDC.

    Norms are Euclidean, over the whole flattened update. The mean has the context's weights, as in FedAvg. Recorded
    is what is left of a client's weight: its weight times its factor ``min(1, c / |delta|)``. Needs 1 update; with a
    fixed c a single client is clipped too.

    Args:
        c: The largest norm, above 0. None: the median norm of the round, of an even number of clients the mean of the
            two middle ones. When more than half of the updates are zero, that is 0 and so is the step.

    Example:
        Updates [3, 4] and [0, 1] with equal weights and c=2.5 become [1.5, 2] and [0, 1]: the result is [.75, 1.5].

    Raises:
        ValueError: If c is not a positive number.

    References:
        Sun et al., 2019, arXiv:1911.07963 (norm thresholding of updates); the median as in FLAME, Nguyen et al.,
        2021, arXiv:2101.02281.
    """

    c: float | None = None

    def __post_init__(self) -> None:
        if self.c is not None and not 0 < self.c < math.inf:
            raise ValueError(f"NormClip needs a largest norm c > 0, got c={self.c}: leave it out for the median norm")

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed, or the weights are negative or all zero.
        """
        norms_N = check_updates(updates_ND, context)
        everyone_N = torch.ones(len(updates_ND), dtype=torch.bool)
        shares_N = kept_weights(context, everyone_N) * clip_factors(norms_N, self.c)
        context.record(shares_N.to(context.weights))
        return weighted_mean(updates_ND, shares_N)
