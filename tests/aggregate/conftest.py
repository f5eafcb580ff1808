"""What the tests of the rules share: a round of updates, and a call of a rule on it."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from fedsonar.aggregate import Aggregator, RoundContext

Rows = Tensor | Sequence[Sequence[float]]


def round_of(num_clients: int, weights: Sequence[float] | None = None) -> RoundContext:
    """A round of clients numbered from 10, weighed equally unless told."""
    weights = [1 / num_clients] * num_clients if weights is None else weights
    return RoundContext(round=1, clients=range(10, 10 + num_clients), weights=torch.tensor(weights))


@pytest.fixture(scope="session")
def new_round() -> Callable[..., RoundContext]:
    return round_of


@pytest.fixture(scope="session")
def aggregate() -> Callable[..., Tensor]:
    """Applies a rule to rows in a fresh round."""

    def apply(rule: Aggregator, rows: Rows, **context: Any) -> Tensor:
        updates = rows if isinstance(rows, Tensor) else torch.tensor(rows)
        made = round_of(len(updates), **context)
        if rule.root_rows:
            made.root = torch.arange(1.0, updates.shape[1] + 1, dtype=updates.dtype)
        return rule.aggregate(updates, made)

    return apply
