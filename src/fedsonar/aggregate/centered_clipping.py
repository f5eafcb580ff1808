"""CenteredClipping: a centre that moves towards the updates, by clipped steps, from round to round."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates
from fedsonar.aggregate.columns import moved
from fedsonar.aggregate.norms import clip_factors
from fedsonar.aggregate.rule import Aggregator, RoundContext

_CENTRE = "centered_clipping.centre"


@dataclass(frozen=True, kw_only=True)
class CenteredClipping(Aggregator):
    """The centre v after L steps ``v += mean_i((delta_i - v) min(1, tau / |delta_i - v|))``.

    In the first round v starts at zero, later at the last round's result, which is kept in the state; it belongs to
    no client, so other clients may come. Distances are Euclidean, over the whole flattened update. Unweighted: the
    clients' weights do not count. The result is a sum of the first v and the updates, each times a number; recorded
    are the updates' numbers, which sum to at most 1. Needs 1 update.

    Args:
        L: Steps in a round, at least 1.
        tau: The distance beyond which a difference is clipped, above 0; it should follow the norm of honest updates.
            None: the median distance to v (of an even number of clients the mean of the two middle ones), anew in
            each step, so that updates on the scale of the median are followed at once.

    Example:
        Updates 0, 1 and 9 with L=1 and tau=3, in a first round: (0 + 1 + 3) / 3 = 4/3. With L=2 the second step is
        (-4/3 - 1/3 + 3) / 3 = 4/9, and the result 16/9.

    Raises:
        ValueError: If L or tau is not positive.

    References:
        Karimireddy et al., 2020, arXiv:2012.10333 (centered clipping).
    """

    L: int = 5
    tau: float | None = None

    def __post_init__(self) -> None:
        if self.L < 1:
            raise ValueError(f"CenteredClipping needs L >= 1 steps, got L={self.L}")
        if self.tau is not None and not 0 < self.tau < math.inf:
            raise ValueError(
                f"CenteredClipping needs tau > 0, got tau={self.tau}: leave it out for the median distance"
            )

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed, or not as long as those of the rounds before.
        """
        check_updates(updates_ND, context)
        n, dim = updates_ND.shape
        last_D = context.state.get(_CENTRE, torch.zeros(dim))
        if len(last_D) != dim:
            raise ValueError(
                f"CenteredClipping remembers a centre of {len(last_D)} coordinates, got updates of {dim}: "
                "start with an empty state"
            )
        centre_D = last_D.numpy(force=True).astype(np.float64)
        shares_N = torch.zeros(n, dtype=torch.float64)
        distances_N = moved(centre_D, updates_ND, shares_N)
        for _ in range(self.L):
            factors_N = clip_factors(distances_N, self.tau) / n
            distances_N = moved(centre_D, updates_ND, factors_N)
            shares_N = (1 - factors_N.sum()) * shares_N + factors_N
        context.record(shares_N.to(context.weights))
        context.state[_CENTRE] = torch.from_numpy(centre_D)
        # As NumPy, since PyTorch would wake up its threads for it; and a copy, which the caller may change.
        result_D = centre_D.astype(np.float32) if updates_ND.dtype == torch.float32 else centre_D.copy()
        return torch.from_numpy(result_D).to(updates_ND)
