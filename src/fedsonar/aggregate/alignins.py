"""AlignIns: the updates whose direction and signs are neither far above nor far below the others'."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedsonar.aggregate.check import check_updates
from fedsonar.aggregate.columns import column_slices, weighted_mean
from fedsonar.aggregate.norms import clip_factors
from fedsonar.aggregate.rule import Aggregator, RoundContext

_TRAVELLED = "alignins.travelled"  # the global adapter's way so far: the sum of this rule's steps, in float64
_ROUNDING = 1e-12  # cosines and shares of at most 1 that spread less than this differ by rounding alone
_TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True, kw_only=True)
class AlignIns(Aggregator):
    """The mean of the clipped updates whose direction and signs agree with the others' by an ordinary amount.

    Two numbers of each update are compared: its cosine to the global direction (TDA), and of its largest coordinates
    the share whose sign is the principal sign, the sign of the sum of all clients' signs (MPSA). An update is kept
    when both lie nearer to their medians than the thresholds, in standard deviations (of the population). Kept updates
    are shrunk to at most the median of their norms and averaged. Unweighted: the clients' weights do not count. Medians
    of an even number are the mean of the middle two. When no update passes both tests, the step is zero, as in the
    authors' code.

    The paper's global direction is the global model itself. A rule sees no model but its own steps, so here it is the
    way that the adapter has gone since the first round, the sum of this rule's steps (our choice). It is carried from
    round to round; no client of the round can turn it. In the first round, and while it is zero, signs alone decide.

    The cosine of an update that is all zero counts as 0. Coordinates as large as the smallest of the largest all count.

    Args:
        sparsity: Part of the coordinates, by size, whose signs are compared; above 0 and at most 1, rounded down, at
            least one coordinate.
        sign_threshold: Deviations from the median sign share at which an update is dropped; above 0.
        direction_threshold: Deviations from the median cosine at which an update is dropped; above 0.

    Example:
        Updates [4, 0], [6, 0] and [-9, 1] with sparsity=.5 in the first round: the principal signs are [+, +], and
        the largest coordinates 4, 6 and -9 agree in shares of 1, 1 and 0. The last is 2.1 deviations from the median
        and dropped. The median norm left is 5, so [6, 0] is shrunk to [5, 0], and the result is [4.5, 0].

    Raises:
        ValueError: If a parameter is out of range.

    References:
        Xu et al., 2025, arXiv:2503.07978 (TDA, MPSA, MZ-score and post-filtering clipping).
    """

    sparsity: float = 0.3
    sign_threshold: float = 1.0
    direction_threshold: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.sparsity <= 1:
            raise ValueError(f"AlignIns needs 0 < sparsity <= 1, got sparsity={self.sparsity}")
        if not (self.sign_threshold > 0 and self.direction_threshold > 0):
            raise ValueError(
                f"AlignIns needs thresholds above 0, got sign_threshold={self.sign_threshold} and "
                f"direction_threshold={self.direction_threshold}"
            )

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed, or two, which always lie as far from their median.
        """
        norms_N = check_updates(updates_ND, context)
        n = len(updates_ND)
        if n == 2:
            raise ValueError("AlignIns needs n >= 3 clients to tell which is unlike the others, got n=2: bring another")
        travelled_D = context.state.get(_TRAVELLED, torch.zeros(updates_ND.shape[1], dtype=torch.float64))
        if len(travelled_D) != updates_ND.shape[1]:
            raise ValueError(
                f"AlignIns remembers a direction of {len(travelled_D)} coordinates, got updates of "
                f"{updates_ND.shape[1]}: start with an empty state"
            )
        kept_N = torch.from_numpy(
            (_deviations(_sign_shares(updates_ND, self.sparsity)) < self.sign_threshold)
            & (_deviations(_cosines(updates_ND, norms_N, travelled_D)) < self.direction_threshold)
        )
        shares_N = torch.zeros(n, dtype=torch.float64)
        if kept_N.any():
            shares_N[kept_N] = clip_factors(norms_N[kept_N], None) / kept_N.sum()
        step_D = weighted_mean(updates_ND, shares_N)
        context.record(shares_N.to(context.weights))
        context.state[_TRAVELLED] = travelled_D + step_D.to("cpu", torch.float64)
        return step_D


def _deviations(values_N: Float[np.ndarray, "clients"]) -> Float[np.ndarray, "clients"]:
    """Distance of each value from the median, in standard deviations; 0 for all when they are equal."""
    deviation = values_N.std()
    if deviation <= _ROUNDING:
        return np.zeros(len(values_N))
    deviations_N: Float[np.ndarray, "clients"] = np.abs(values_N - np.median(values_N)) / deviation
    return deviations_N


def _cosines(
    updates_ND: Float[Tensor, "clients dim"], norms_N: Float[Tensor, "clients"], direction_D: Float[Tensor, "dim"]
) -> Float[np.ndarray, "clients"]:
    """Cosine of each update to a direction; 0 where either is zero."""
    # Scaled to length 1 first, for the product of two large norms could overflow.
    unit_D = direction_D / torch.linalg.vector_norm(direction_D).clamp(min=_TINY)
    products_N = torch.zeros_like(norms_N)
    for columns in column_slices(updates_ND.shape[1]):
        products_N += updates_ND[:, columns].detach().to("cpu", torch.float64) @ unit_D[columns]
    return (products_N / norms_N.clamp(min=_TINY)).numpy()


def _sign_shares(updates_ND: Float[Tensor, "clients dim"], sparsity: float) -> Float[np.ndarray, "clients"]:
    """Of each update's largest coordinates the share whose sign is the principal one."""
    dim = updates_ND.shape[1]
    principal_D = np.empty(dim, dtype=np.int8)
    for columns in column_slices(dim):
        principal_D[columns] = (
            updates_ND[:, columns].detach().sign().sum(dim=0, dtype=torch.float32).sign().numpy(force=True)
        )
    num_largest = max(1, int(sparsity * dim + 1e-9))
    return np.array([_sign_share(row, principal_D, num_largest) for row in updates_ND])


def _sign_share(row_D: Float[Tensor, "dim"], principal_D: Int[np.ndarray, "dim"], num_largest: int) -> float:
    """Of an update's `num_largest` largest coordinates the share whose sign is the principal one."""
    dtype = torch.float64 if row_D.dtype == torch.float64 else torch.float32  # NumPy has no bfloat16
    values_D = row_D.detach().to("cpu", dtype).numpy()
    sizes_D = np.abs(values_D)
    least = np.partition(sizes_D, len(sizes_D) - num_largest)[len(sizes_D) - num_largest]
    largest_D = sizes_D >= least
    return float(np.count_nonzero((np.sign(values_D) == principal_D) & largest_D) / np.count_nonzero(largest_D))
