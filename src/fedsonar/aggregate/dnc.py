"""DnC: the mean without the updates that stick out along the direction of largest spread."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedsonar.aggregate.check import check_updates, suspected
from fedsonar.aggregate.columns import weighted_mean
from fedsonar.aggregate.rule import Aggregator, RoundContext


def outlier_scores(rows_NC: Float[np.ndarray, "clients coords"]) -> Float[np.ndarray, "clients"]:
    """Squared projection of each row, less the rows' mean, on the top right singular vector of all of them.

    Args:
        rows_NC: Float64 values, one row a client.

    References:
        Shejwalkar and Houmansadr, 2021, "Manipulating the Byzantine", NDSS (DnC).
    """
    from scipy.linalg import eigh  # it takes a fifth of a second to load

    centred_NC = rows_NC - rows_NC.mean(axis=0)
    # The projections are the top left singular vector times its value, which the clients' Gram matrix knows: far less
    # work than singular vectors of 10,000 coordinates.
    last = len(rows_NC) - 1
    values_1, vectors_N1 = eigh(centred_NC @ centred_NC.T, subset_by_index=[last, last])
    scores_N: Float[np.ndarray, "clients"] = max(values_1[0], 0.0) * vectors_N1[:, 0] ** 2
    return scores_N


@dataclass(frozen=True, kw_only=True)
class DnC(Aggregator):
    """The plain mean of the updates that no draw of coordinates finds to stick out (divide and conquer).

    A draw takes some coordinates at random, without replacement, centres the updates there and drops the
    ``floor(c f)`` with the largest squared projections on the top right singular vector. Kept are the updates that no
    draw dropped; when each was dropped by some draw, those that the fewest dropped (our convention). Unweighted: the
    clients' weights do not count. Of equal projections the first clients' are kept.

    Args:
        f: Suspected clients; needs ``2 f < n``. None: a fifth of the round's clients, rounded down.
        c: Updates dropped in a draw over f, above 0; needs ``1 <= floor(c f) < n``, for a rule that drops nobody is a
            silent plain mean.
        draws: Draws of coordinates, at least 1. Updates of no more coordinates than a draw takes need only one.
        coordinates: Coordinates in a draw, at least 1.

    Example:
        Updates 0, 1, 2 and 9 with f=1 have the mean 3, so squared projections 9, 4, 1 and 36: the result is 1.

    Raises:
        ValueError: If a parameter is out of range.

    References:
        Shejwalkar and Houmansadr, 2021, "Manipulating the Byzantine", NDSS (DnC).
    """

    f: int | None = None
    c: float = 1.0
    draws: int = 5
    coordinates: int = 10_000

    def __post_init__(self) -> None:
        if self.f is not None and self.f < 0:
            raise ValueError(f"DnC needs f >= 0 suspected clients, got f={self.f}")
        if not (self.c > 0 and math.isfinite(self.c)):
            raise ValueError(f"DnC needs a finite c > 0, got c={self.c}")
        if self.draws < 1 or self.coordinates < 1:
            raise ValueError(
                f"DnC needs at least 1 draw of 1 coordinate, got draws={self.draws} and coordinates={self.coordinates}"
            )

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed or too few.
        """
        check_updates(updates_ND, context)
        n, dim = updates_ND.shape
        dropped = self._dropped(n)
        draws = self.draws if dim > self.coordinates else 1
        survived_N = torch.zeros(n, dtype=torch.int64)
        for _ in range(draws):
            drawn_C = self._draw(dim, context.generator).to(updates_ND.device)
            scores_N = outlier_scores(updates_ND.detach()[:, drawn_C].to("cpu", torch.float64).numpy())
            survived_N[np.argsort(scores_N, kind="stable")[: n - dropped].copy()] += 1
        kept_N = (survived_N == survived_N.max()).double()
        shares_N = kept_N / kept_N.sum()
        context.record(shares_N.to(context.weights))
        return weighted_mean(updates_ND, shares_N)

    def _dropped(self, n: int) -> int:
        """Updates that a draw drops of n."""
        f = suspected("DnC", self.f, n)
        # The margin makes .29 of 100 suspects 29, though .29 * 100 is 28.999999999999996.
        dropped = math.floor(self.c * f + 1e-9)
        if not 1 <= dropped < n:
            raise ValueError(
                f"DnC needs 1 <= floor(c f) < n, got c={self.c}, f={f} and n={n} clients: "
                f"bring 5 for each f if you leave f out, or set f and c so that it holds"
            )
        return dropped

    def _draw(self, dim: int, generator: torch.Generator) -> Int[Tensor, "coords"]:
        """Coordinates of one draw, in their order, for quicker reading."""
        order_D = torch.randperm(dim, generator=generator, device=generator.device)
        return order_D[: self.coordinates].sort().values
