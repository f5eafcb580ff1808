"""What may come before a rule: a step that mixes or shrinks the updates, and the chain of steps and rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_round, check_updates
from fedsonar.aggregate.rule import Aggregator, RoundContext


class PreAggregator(ABC):
    """A step before a rule: it turns the updates of a round into others, fewer or as many.

    As many means that each new update is still that of the client in its row. Pre-aggregators are frozen dataclasses,
    leave their inputs unchanged and raise ValueError, naming the requirement, when there are too few updates.
    """

    @abstractmethod
    def prepare(
        self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext
    ) -> tuple[Float[Tensor, "mixed dim"], Float[Tensor, "mixed clients"]]:
        """The new updates, and how much of each client's update is in each of them (rows sum to 1)."""


@dataclass(frozen=True, kw_only=True)
class Chain(Aggregator):
    """A rule behind steps that prepare the updates for it, in their order.

    A mixed update weighs what its clients weigh together, each in the part of it that went in there. The shares that
    are recorded are those of the clients, through all steps. A step that leaves fewer updates numbers them from 0, so
    what a rule behind it remembers of a client belongs to none.

    Args:
        steps: What comes before the rule.
        rule: The rule at the end.

    Example:
        ``Chain(steps=(Bucketing(s=2),), rule=Median())`` is the median of means of two clients.

    References:
        Those of the steps and the rule; Karimireddy et al., 2020, arXiv:2006.09365, and Allouah et al., 2023,
        arXiv:2302.01772, mix before any rule.
    """

    steps: Sequence[PreAggregator]
    rule: Aggregator

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        object.__setattr__(self, "root_rows", self.rule.root_rows)

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed or too few for a step or the rule.
        """
        try:
            return self._aggregate(updates_ND, context)
        except ValueError:
            check_updates(updates_ND, context)  # a step may have mixed them, or numbered them anew, before it was seen
            raise

    def _aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        check_round(updates_ND, context)
        mixing_MN = np.eye(len(updates_ND))
        inner = replace(context, shares=None)
        for step in self.steps:
            updates_ND, parts = step.prepare(updates_ND, inner)
            parts_MN = parts.double().numpy(force=True)
            mixing_MN = parts_MN @ mixing_MN
            # What a client's weight is spread over: its parts of all mixed updates.
            spread_MN = parts_MN / np.maximum(parts_MN.sum(axis=0), np.finfo(np.float64).tiny)
            weights_M = spread_MN @ inner.weights.double().numpy(force=True)
            weights = torch.from_numpy(weights_M / weights_M.sum()).to(context.weights.dtype)
            clients = inner.clients if len(parts_MN) == len(inner.clients) else range(len(parts_MN))
            inner = replace(inner, clients=clients, weights=weights)
        result_D = self.rule.aggregate(updates_ND, inner)
        if inner.shares is not None:
            shares_N = inner.shares.double().numpy(force=True) @ mixing_MN
            context.record(torch.from_numpy(shares_N).to(context.weights.dtype))
        return result_D
