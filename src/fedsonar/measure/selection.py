"""Whom a rule dropped, against the ledger: why a rule works, or fails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedsonar.measure.statistics import Rate, wilson


@dataclass(frozen=True, kw_only=True)
class Selection:
    """How a rule treated affected clients, over all rounds that are counted together.

    Args:
        dropped: Share of the updates that counted nothing.
        recall: Share of the affected clients' updates that were dropped.
        precision: Share of the dropped updates that were affected clients'.
        offered: Affected clients' part of the weights offered to the rule.
        given: Affected clients' part of what the rule counted; where every client is affected, all of it.
    """

    dropped: Rate
    recall: Rate
    precision: Rate
    offered: float
    given: float


def selection(shares: Sequence[float], weights: Sequence[float], affected: Sequence[bool]) -> Selection:
    """The scores of a rule, from one entry a client and round: its share, its offered weight, and the truth.

    Recall and precision are nan, in [0, 1], where nobody was affected or nobody dropped.
    """
    share, weight, hit = np.array(shares, dtype=float), np.array(weights, dtype=float), np.array(affected, dtype=bool)
    out = share == 0
    both = int((out & hit).sum())
    return Selection(
        dropped=wilson(int(out.sum()), len(out)),
        recall=wilson(both, int(hit.sum())),
        precision=wilson(both, int(out.sum())),
        offered=_part(weight, hit),
        given=_part(share, hit),
    )


def _part(values: np.ndarray, chosen: np.ndarray) -> float:
    # A share below zero would be a client that the rule turns against; none of ours does.
    total = float(np.abs(values).sum())
    return float(np.abs(values[chosen]).sum()) / total if total else float("nan")
