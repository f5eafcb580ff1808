"""Fine-mixing: a part of the tuned weights becomes the base model's again, then clean rows close the gap."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fedsonar.repair.repair import Repair, Repaired, Tuned, check_rows, check_share
from fedsonar.rng import torch_stream


@dataclass(frozen=True, kw_only=True)
class FineMixing(Repair):
    """Sets a random share of the change of the weights back to zero, then tunes on clean rows.

    The paper draws single weights. Here whole rows of ``ΔW = scale B A`` are drawn, a row being all that one output of
    a layer has learnt, so that the result is still an adapter of the same rank.

    Args:
        clean_rows: Clean rows at the server.
        share: Share of each layer's rows that become the base model's again. The paper chooses it by the loss of
            clean accuracy it leads to; half is our choice.
        epochs: Passes over the clean rows; 0 to mix alone.

    Raises:
        ValueError: If the share is not in [0, 1], or there are epochs without rows.

    References:
        Zhang et al., 2022, arXiv:2210.09545, section 3.
    """

    clean_rows: int = 64
    share: float = 0.5
    epochs: int = 3

    def __post_init__(self) -> None:
        check_share(self, "share", self.share)
        check_rows(self, self.epochs)

    def apply(self, tuned: Tuned) -> Repaired:
        """The mixed adapter, tuned."""
        mixed = tuned.adapter.clone()
        generator = torch_stream(tuned.seed, "repair/mixing")
        for site, _, b in tuned.network.layout.factors(mixed):
            back = torch.randperm(site.out_features, generator=generator)[: round(self.share * site.out_features)]
            b[back] = 0
        return Repaired(tuned.trained(mixed, self.epochs))
