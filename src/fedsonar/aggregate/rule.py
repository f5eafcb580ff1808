"""What an aggregation rule is, and what it may know of a round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Matrix(NamedTuple):
    """Where one of an update's matrices lies in the flat update, row by row."""

    offset: int
    rows: int
    columns: int


@dataclass
class RoundContext:
    """What a rule sees beside the updates, and what it leaves behind.

    Args:
        round: Number of the round, from 1.
        clients: The clients' numbers, in the order of the updates.
        weights: Aggregation weights, summing to 1: rows trained on over all rows of the round.
        generator: The round's random generator.
        state: What the rule carries from round to round; saved with a checkpoint.
        matrices: The matrices that an update consists of, in their order; empty when it has no such structure.
        root: The server's own update, trained on clean rows of its own; None unless the rule asked for root rows.
        shares: Filled by `record`: how much each client counted; None when the rule treats coordinates apart.
    """

    round: int
    clients: Sequence[int]
    weights: Float[Tensor, "clients"]
    generator: torch.Generator = field(default_factory=torch.Generator)
    state: dict[str, Tensor] = field(default_factory=dict)
    matrices: Sequence[Matrix] = ()
    root: Float[Tensor, "dim"] | None = None
    shares: Float[Tensor, "clients"] | None = None

    def record(self, shares: Float[Tensor, "clients"]) -> None:
        """Notes how much each client counted in the result (0: dropped), for the report."""
        self.shares = shares


class Aggregator(ABC):
    """A rule that turns the updates of a round into the step of the global adapter.

    Updates are flattened adapter deltas from the round's start, one row a client; a rule acts on the whole flattened
    update, never on each tensor. Rules are frozen dataclasses, leave their inputs unchanged and raise ValueError,
    naming the requirement, when there are too few updates.
    """

    root_rows: int = 0
    """Clean rows that the server must train on itself for this rule; a rule that needs some has it as a parameter."""

    @abstractmethod
    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter."""
