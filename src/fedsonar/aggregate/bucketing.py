"""Bucketing: means of a few updates drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_result, check_round
from fedsonar.aggregate.columns import mixed
from fedsonar.aggregate.pre_aggregator import PreAggregator
from fedsonar.aggregate.rule import RoundContext


@dataclass(frozen=True, kw_only=True)
class Bucketing(PreAggregator):
    """The plain means of buckets of s updates, which a random permutation from the context's generator deals out.

    Of n updates there are ``ceil(n / s)`` buckets. When s does not divide n, the last bucket is the mean of the rest,
    not the sum of the rest over s: it would be shorter than the others. Unweighted: the clients' weights do not
    count. A bucket with one suspected client is suspect, so the rule behind must bear as many suspected buckets as
    there are suspected clients.

    Args:
        s: Updates in a bucket, at least 2; needs ``s <= n``.

    Example:
        Updates 0, 1, 3, 9 and 2 with s=2, in the order 9, 1, 0, 2, 3, become 5, 1 and 3.

    Raises:
        ValueError: If s is below 2.

    References:
        Karimireddy et al., 2020, arXiv:2006.09365, algorithm 1.
    """

    s: int = 2

    def __post_init__(self) -> None:
        if self.s < 2:
            raise ValueError(f"Bucketing needs s >= 2 updates in a bucket, got s={self.s}: leave the step out")

    def prepare(
        self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext
    ) -> tuple[Float[Tensor, "buckets dim"], Float[Tensor, "buckets clients"]]:
        """The buckets' means, and how much of each update is in each.

        Raises:
            ValueError: If the updates are malformed or too few.
        """
        check_round(updates_ND, context)
        n = len(updates_ND)
        if self.s > n:
            raise ValueError(f"Bucketing needs s <= n, got s={self.s} and n={n} clients: lower s")
        generator = context.generator
        order_N = torch.randperm(n, generator=generator, device=generator.device).numpy(force=True)
        parts_BN = np.zeros((-(-n // self.s), n))
        parts_BN[np.arange(n) // self.s, order_N] = 1.0
        parts_BN /= parts_BN.sum(axis=1, keepdims=True)
        means_BD = mixed(updates_ND, parts_BN)
        check_result(means_BD, updates_ND, context)
        return means_BD, torch.from_numpy(parts_BN)
