"""FLTrust: the mean of the updates that point where the server's own update points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates
from fedsonar.aggregate.columns import weighted_mean
from fedsonar.aggregate.norms import row_norms
from fedsonar.aggregate.rule import Aggregator, RoundContext

_ZERO_NORM = 1e-150  # squares of smaller numbers are lost in float64, so such an update has no direction


@dataclass(frozen=True, kw_only=True)
class FLTrust(Aggregator):
    """The mean of the updates, rescaled to the norm of the server's own update and weighted by trust.

    Trust is ``max(0, cos(delta_k, root))``, over the whole flattened update; the root is the server's own update,
    trained on clean rows of its own. An update or a root that is zero has no direction and no trust; when nobody has
    any, the step is zero. Not weighted by the clients' rows. Recorded is the trust, summing to 1, or zeros. Needs
    1 update and the context's root.

    Args:
        root_rows: Clean rows that the server trains on each round, at least 1.

    Example:
        Root [0, 2] and updates [0, 5], [3, 4] and [1, -1]: the trusts are 1, .8 and 0, the rescaled updates [0, 2]
        and [1.2, 1.6], and the result is ([0, 2] + .8 [1.2, 1.6]) / 1.8 = [.533, 1.822].

    Raises:
        ValueError: If root_rows is not positive.

    References:
        Cao et al., 2020, arXiv:2012.13995, section IV and algorithm 2.
    """

    root_rows: int = 100

    def __post_init__(self) -> None:
        if self.root_rows < 1:
            raise ValueError(f"FLTrust needs root_rows >= 1 clean rows at the server, got root_rows={self.root_rows}")

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed, or the context's root is missing or malformed.
        """
        norms_N = check_updates(updates_ND, context)
        root_D = self._root(updates_ND.shape[1], context).to(updates_ND.device)
        root_norm = row_norms(root_D[None])
        dots_N = torch.stack([torch.dot(row_D.double(), root_D) for row_D in updates_ND.detach()]).cpu()
        directed_N = (norms_N > _ZERO_NORM) & (root_norm > _ZERO_NORM)
        trusts_N = torch.where(directed_N, dots_N / norms_N / root_norm, 0.0).clamp(0, 1)
        shares_N = trusts_N / trusts_N.sum().clamp(min=torch.finfo(torch.float64).tiny)
        context.record(shares_N.to(context.weights))
        return weighted_mean(updates_ND, torch.where(directed_N, shares_N * (root_norm / norms_N), 0.0))

    def _root(self, dim: int, context: RoundContext) -> Float[Tensor, "dim"]:
        """The server's own update in float64, refused when it is missing or malformed."""
        if context.root is None:
            raise ValueError(
                f"FLTrust needs the server's own update, trained on root_rows={self.root_rows} clean rows, "
                "got none: give it as the context's root"
            )
        if context.root.shape != (dim,):
            raise ValueError(
                f"FLTrust needs a root of {dim} coordinates, as the updates have, got shape {tuple(context.root.shape)}"
            )
        root_D = context.root.detach().double()
        if not root_D.isfinite().all():
            raise ValueError("FLTrust needs a finite root, got NaN or Inf: train the server's update again")
        return root_D
