"""GeometricMedian (RFA): the point with the least weighted distance to the updates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates, unit_weights
from fedsonar.aggregate.columns import moved, weighted_mean
from fedsonar.aggregate.rule import Aggregator, RoundContext


@dataclass(frozen=True, kw_only=True)
class GeometricMedian(Aggregator):
    """Nearly the point z with the least ``sum_k w_k |z - delta_k|``, by a few steps of smoothed Weiszfeld.

    From the weighted mean, each step takes the mean with weights ``w_k / max(eps, |z - delta_k|)``, made to sum to 1.
    Distances are Euclidean, not squared, over the whole flattened update. The clients' weights count. The shares
    recorded are the weights of the last step. Needs 1 update.

    A few steps are not the median yet: of the pull of far-away rows of weight w on the mean, each step leaves about
    ``w / (1 - w)``. More steps (and ftol=0) follow the majority as closely as you like.

    Args:
        steps: Steps at most, at least 1.
        eps: Least distance to divide by, above 0, in the unit of the updates' norms. Updates within it of each other
            are averaged as by FedAvg.
        ftol: Stops after a step that lowered the sum of distances by at most this part of it, at least 0.

    Example:
        Updates 0, 0 and 3 of equal weight: from the mean 1, distances 1, 1 and 2 weigh them 1, 1 and 1/2, and the
        first step is 1.5 / 2.5 = .6. With many steps the result is 0.

    Raises:
        ValueError: If a parameter is out of range.

    References:
        Pillutla et al., 2022, arXiv:1912.13445 (RFA, smoothed Weiszfeld algorithm).
    """

    steps: int = 4
    eps: float = 1e-5
    ftol: float = 1e-6

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"GeometricMedian needs steps >= 1, got steps={self.steps}")
        if not 0 < self.eps < math.inf:
            raise ValueError(f"GeometricMedian needs a finite eps > 0, got eps={self.eps}")
        if not self.ftol >= 0:
            raise ValueError(f"GeometricMedian needs ftol >= 0, got ftol={self.ftol}")

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed, or the weights are negative or do not sum to 1.
        """
        check_updates(updates_ND, context)
        weights_N = torch.from_numpy(unit_weights(self, context))
        parts_N, objective, mean_D = weights_N, math.inf, np.zeros(updates_ND.shape[1])
        for _ in range(self.steps):
            # From the mean of the parts before to that of these, which sum to 1: wherever it starts it ends there.
            distances_N = moved(mean_D, updates_ND, parts_N)
            before, objective = objective, (weights_N @ distances_N).item()
            if before - objective <= self.ftol * objective:
                break
            parts_N = weights_N / distances_N.clamp(min=self.eps)
            parts_N = parts_N / parts_N.sum()
        context.record(parts_N.to(context.weights))
        return weighted_mean(updates_ND, parts_N)
