"""NNM: each update replaced by the mean of its nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates
from fedsonar.aggregate.columns import column_slices
from fedsonar.aggregate.distances import squared_distances
from fedsonar.aggregate.pre_aggregator import PreAggregator
from fedsonar.aggregate.rule import RoundContext


@dataclass(frozen=True, kw_only=True)
class NNM(PreAggregator):
    """Each update becomes the plain mean of its ``n - f`` nearest updates, itself included.

    Distances are Euclidean, over the whole flattened update. Of updates at the same distance the first clients' are
    taken. Unweighted: the clients' weights do not count.

    Args:
        f: Suspected clients; needs ``2 f < n``. None: a fifth of the round's clients, rounded down.

    Example:
        Updates 0, 1, 3 and 9 with f=1 become 4/3, 4/3, 4/3 and 13/3.

    Raises:
        ValueError: If f is negative.

    References:
        Allouah et al., 2023, arXiv:2302.01772 (nearest neighbour mixing).
    """

    f: int | None = None

    def __post_init__(self) -> None:
        if self.f is not None and self.f < 0:
            raise ValueError(f"NNM needs f >= 0 suspected clients, got f={self.f}")

    def prepare(
        self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext
    ) -> tuple[Float[Tensor, "clients dim"], Float[Tensor, "clients clients"]]:
        """The mixed updates, one a client, and how much of each update is in each.

        Raises:
            ValueError: If the updates are malformed or too few.
        """
        check_updates(updates_ND, context)
        n = len(updates_ND)
        f = n // 5 if self.f is None else self.f
        if 2 * f >= n:
            raise ValueError(f"NNM needs 2f < n, got f={f} and n={n} clients: bring at least {2 * f + 1} or lower f")
        # Below every distance, so that an update comes before the updates that equal it.
        squared_NN = squared_distances(updates_ND).fill_diagonal_(-1)
        nearest_NK = squared_NN.sort(dim=1, stable=True).indices[:, : n - f]
        parts_NN = torch.zeros_like(squared_NN).scatter_(1, nearest_NK, 1 / (n - f))
        device_parts_NN = parts_NN.to(updates_ND.device)
        mixed_ND = torch.empty_like(updates_ND)
        for columns in column_slices(updates_ND.shape[1]):
            mixed_ND[:, columns] = device_parts_NN @ updates_ND[:, columns].double()
        return mixed_ND, parts_NN
