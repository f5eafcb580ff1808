"""NNM: each update replaced by the mean of its nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates, suspected
from fedsonar.aggregate.columns import mixed
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
        f = suspected("NNM", self.f, n)
        # Below every distance, so that an update comes before the updates that equal it.
        squared_NN = squared_distances(updates_ND).fill_diagonal_(-1)
        nearest_NK = squared_NN.sort(dim=1, stable=True).indices[:, : n - f]
        parts_NN = np.zeros((n, n))
        np.put_along_axis(parts_NN, nearest_NK.numpy(), 1 / (n - f), axis=1)
        return mixed(updates_ND, parts_NN), torch.from_numpy(parts_NN)
