"""RLR: the weighted mean, turned round in the coordinates that too few clients agree on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.columns import column_slices
from fedsonar.aggregate.fedavg import FedAvg
from fedsonar.aggregate.rule import Aggregator, RoundContext


@dataclass(frozen=True, kw_only=True)
class RLR(Aggregator):
    """The weighted mean, with its sign flipped in each coordinate where ``|sum_k sign(delta_k)| < theta n``.

    The robust learning rate: 1 where enough clients agree on the direction, -1 elsewhere. Each client has one vote a
    coordinate, whatever its weight; a zero is no vote. A sum equal to the threshold is enough. Coordinates are treated
    apart, so no client's share is recorded. One client always agrees with itself. Needs 1 update.

    How large an update is plays no part in the votes, and nothing bounds the mean: clip the updates first where one
    may be huge.

    Args:
        theta: Part of the clients, above 0 and at most 1; the paper gives their number, ``theta n``. f clients can
            move a sum of signs by 2 f, so it should be more than that.

    Example:
        Updates [1, 3], [1, -1] and [1, 1] with theta=.4 have sums of signs 3 and 1, against .4 * 3 = 1.2:
        their mean [1, 1] becomes [1, -1].

    Raises:
        ValueError: If theta is out of range.

    References:
        Ozdayi et al., 2021, arXiv:2007.03767 (robust learning rate).
    """

    theta: float = 0.4

    def __post_init__(self) -> None:
        if not 0 < self.theta <= 1:
            raise ValueError(f"RLR needs 0 < theta <= 1, a part of the clients, got theta={self.theta}")

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed, or the weights are negative or do not sum to 1.
        """
        mean_D = FedAvg().aggregate(updates_ND, replace(context))  # a copy takes FedAvg's record
        # The margin makes .07 of 100 clients 7, though .07 * 100 is 7.000000000000001.
        needed = self.theta * len(updates_ND) - 1e-9
        step_D = torch.empty_like(mean_D)
        for columns in column_slices(updates_ND.shape[1]):
            # Counted in float32: a half-precision sum of more than a few hundred votes would round.
            votes_C = updates_ND[:, columns].sign().sum(dim=0, dtype=torch.float32)
            step_D[columns] = torch.where(votes_C.abs() < needed, -mean_D[columns], mean_D[columns])
        return step_D
