"""WeakDP: the mean of clipped updates, with Gaussian noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.columns import in_range
from fedsonar.aggregate.norm_clip import NormClip
from fedsonar.aggregate.rule import Aggregator, RoundContext


@dataclass(frozen=True, kw_only=True)
class WeakDP(Aggregator):
    """The result of `NormClip`, plus independent noise ``N(0, sigma^2)`` on each coordinate.

    Sigma is absolute, as in the paper: it follows no norm. So updates that are all zero give a step of pure noise,
    where every other rule gives none, and a single client does not get its own update back. The noise's norm is about
    ``sigma sqrt(dim)``; compare it with the norm of a step before you trust the default. Far too little noise for
    differential privacy, hence the name. Weights and what is recorded are those of `NormClip`. Needs 1 update.

    Args:
        c: The largest norm, above 0, as in `NormClip`; or ``median``: the median norm of the round.
        sigma: Standard deviation of the noise on each coordinate of the mean, at least 0.

    Example:
        Updates [3, 4] and [0, 1] with equal weights, c=2.5 and sigma=.1: [.75, 1.5] and noise of about .1 on each.

    Raises:
        ValueError: If c is not a positive number or sigma is negative or not finite.

    References:
        Sun et al., 2019, arXiv:1911.07963 (weak differential privacy).
    """

    c: float | Literal["median"] = 3.0
    sigma: float = 0.002

    def __post_init__(self) -> None:
        if self.c != "median" and not 0 < self.c < math.inf:
            raise ValueError(f"WeakDP needs a largest norm c > 0, got c={self.c}: give 'median' for the median norm")
        if not 0 <= self.sigma < math.inf:
            raise ValueError(f"WeakDP needs a standard deviation sigma >= 0, got sigma={self.sigma}")

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed, or the weights are negative or all zero.
        """
        step_D = NormClip(c=None if self.c == "median" else self.c).aggregate(updates_ND, context)
        generator = context.generator
        noise_D = torch.randn(len(step_D), generator=generator, device=generator.device, dtype=torch.float64)
        return in_range(step_D + self.sigma * noise_D.to(step_D.device), step_D.dtype)
