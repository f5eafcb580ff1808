"""Clipping: updates shrunk to a largest norm, for the rule behind."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates
from fedsonar.aggregate.columns import mixed
from fedsonar.aggregate.norms import clip_factors
from fedsonar.aggregate.pre_aggregator import PreAggregator
from fedsonar.aggregate.rule import RoundContext


@dataclass(frozen=True, kw_only=True)
class Clipping(PreAggregator):
    """Each update is divided by ``max(1, |delta| / c)``; its direction stays.

    Norms are Euclidean, over the whole flattened update. Each clipped update consists of one client's alone, so the
    mixing is the identity; unlike `NormClip`, the shares recorded do not show how much was clipped. The adaptive
    limit is the median norm; ARC, another one, takes the norm at a rank that depends on the suspected clients.

    Args:
        c: The largest norm, above 0. None: the median norm of the round, of an even number of clients the mean of the
            two middle ones. When more than half of the updates are zero, that is 0 and so are all clipped ones.

    Example:
        Updates [3, 4] and [0, 1] with c=2.5 become [1.5, 2] and [0, 1].

    Raises:
        ValueError: If c is not a positive number.

    References:
        Allouah et al., 2024, arXiv:2405.14432 (static clipping, and ARC); the median as in FLAME, Nguyen et al.,
        2021, arXiv:2101.02281.
    """

    c: float | None = None

    def __post_init__(self) -> None:
        if self.c is not None and not 0 < self.c < math.inf:
            raise ValueError(f"Clipping needs a largest norm c > 0, got c={self.c}: leave it out for the median norm")

    def prepare(
        self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext
    ) -> tuple[Float[Tensor, "clients dim"], Float[Tensor, "clients clients"]]:
        """The clipped updates, and the identity.

        Raises:
            ValueError: If the updates are malformed.
        """
        norms_N = check_updates(updates_ND, context)
        factors_N = clip_factors(norms_N, self.c).numpy()
        return mixed(updates_ND, np.diag(factors_N)), torch.eye(len(updates_ND), dtype=torch.float64)
