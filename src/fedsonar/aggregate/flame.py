"""FLAME: the majority that points the same way, clipped to the median norm, with a little noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates
from fedsonar.aggregate.columns import in_range, weighted_mean
from fedsonar.aggregate.cosines import cosine_clusters, cosine_similarities, gram_matrix
from fedsonar.aggregate.norms import clip_factors
from fedsonar.aggregate.rule import Aggregator, RoundContext


@dataclass(frozen=True, kw_only=True)
class FLAME(Aggregator):
    """The plain mean of the largest cluster, each update clipped to the median norm S, plus noise N(0, (lam S)²).

    HDBSCAN clusters the updates by cosine distance, with clusters of at least ``n // 2 + 1`` updates, so it always
    keeps a majority: the first one that hangs together as the distance which links two updates grows. S is the median
    norm of all updates, those dropped too. The paper takes cosines between whole local models; here they are between
    updates, which the common start of the round does not make alike. Unweighted: the clients' weights do not count.
    A client's recorded share is its part of the mean after clipping. Zero updates get no noise, for S is 0.

    Args:
        lam: Noise level (lambda in the paper), at least 0: standard deviation of the noise over S.

    Example:
        Updates [1, 0], [4, 0] and [0, 9] with lam=0: the first two are parallel, two of three, and S is 4. The result
        is [2.5, 0].

    Raises:
        ValueError: If lam is negative or not finite.

    References:
        Nguyen et al., 2022, arXiv:2101.02281, algorithm 1.
    """

    lam: float = 0.001

    def __post_init__(self) -> None:
        if not (self.lam >= 0 and math.isfinite(self.lam)):
            raise ValueError(f"FLAME needs a finite lam >= 0, got lam={self.lam}")

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed or too few.
        """
        check_updates(updates_ND, context)
        n = len(updates_ND)
        if n < 2:
            raise ValueError(f"FLAME needs at least 2 clients to cluster, got n={n}: bring more")
        gram_NN = gram_matrix(updates_ND)
        kept_N = cosine_clusters(cosine_similarities(gram_NN), majority=True) >= 0
        norms_N = gram_NN.diagonal().sqrt()
        # Of an even number the mean of the two middle ones, where torch.median gives the lower one.
        median = norms_N.quantile(0.5).item()
        shares_N = kept_N * clip_factors(norms_N, median) / kept_N.sum()
        context.record(shares_N.to(context.weights))
        mean_D = weighted_mean(updates_ND, shares_N)
        generator = context.generator
        noise_D = torch.randn(len(mean_D), dtype=mean_D.dtype, device=generator.device, generator=generator)
        return in_range(mean_D + self.lam * median * noise_D.to(mean_D.device), mean_D.dtype)
