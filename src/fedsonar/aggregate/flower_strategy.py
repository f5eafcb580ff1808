"""FlowerStrategy: any of Flower's own strategies as a rule."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.aggregate.check import check_updates
from fedsonar.aggregate.columns import as_matrix
from fedsonar.aggregate.rule import Aggregator, RoundContext

_STATE = "flower."


@dataclass(frozen=True, kw_only=True)
class FlowerStrategy(Aggregator):
    """What one of Flower's strategies makes of a round's updates, by its own code.

    The strategy is asked to aggregate the updates as if they were arrays that clients sent, and the server's arrays are
    zero, so that its result is a step. Each client counts by its weight. What a strategy keeps between rounds as
    arrays (moments, momentum) is carried in the round's state, so that a stopped run goes on with it. No share is
    recorded: a strategy does not say whom it kept. Needs Flower: ``pip install 'fedsonar[flower]'``.

    Args:
        name: The strategy's name in ``flwr.serverapp.strategy``, or the full path of a class with its interface.
        arguments: What the strategy is made with.

    Example:
        ``FlowerStrategy(name="Krum", arguments={"num_malicious_nodes": 2})``.

    Raises:
        ValueError: If Flower is not installed, there is no such strategy, or it refuses the arguments or the updates.

    References:
        Beutel et al., 2020, arXiv:2007.14390.
    """

    name: str = "FedAvg"
    arguments: dict[str, Any] = field(default_factory=dict)

    def aggregate(self, updates_ND: Float[Tensor, "clients dim"], context: RoundContext) -> Float[Tensor, "dim"]:
        """The step to add to the global adapter.

        Raises:
            ValueError: If the updates are malformed, or the strategy gives no result for them.
        """
        check_updates(updates_ND, context)
        strategy, array, arrays = self._strategy()
        updates = as_matrix(updates_ND)
        if hasattr(strategy, "m_t"):  # the adaptive ones hold plain arrays
            strategy.current_arrays = {"update": np.zeros_like(updates[0])}
        elif hasattr(strategy, "current_arrays"):
            strategy.current_arrays = arrays({"update": array(np.zeros_like(updates[0]))})
        _restore(strategy, context.state)
        # A copy of each row: some strategies take the arrays out of a reply or change them.
        replies = [
            _reply(client, arrays({"update": array(row.copy())}), float(weight))
            for client, row, weight in zip(context.clients, updates, context.weights, strict=True)
        ]
        try:
            result, _ = strategy.aggregate_train(context.round, replies)
        except (ArithmeticError, IndexError, TypeError) as error:
            raise ValueError(f"Flower's {self.name} failed on {len(updates)} updates: {error}") from error
        if result is None:
            raise ValueError(f"Flower's {self.name} gave no result for {len(updates)} updates: see its log")
        context.state.update(_arrays_of(strategy))
        return torch.from_numpy(result["update"].numpy().copy()).to(updates_ND)

    def _strategy(self) -> tuple[Any, Any, Any]:
        """The strategy, and Flower's two kinds of arrays."""
        try:
            app = importlib.import_module("flwr.app")
            path, _, name = (self.name if "." in self.name else f"flwr.serverapp.strategy.{self.name}").rpartition(".")
            made = getattr(importlib.import_module(path), name)(**self.arguments)
        except ModuleNotFoundError as error:
            raise ValueError(f"FlowerStrategy needs Flower ({error}): pip install 'fedsonar[flower]'") from error
        except (AttributeError, TypeError) as error:
            raise ValueError(f"FlowerStrategy cannot make {self.name} with {self.arguments}: {error}") from error
        return made, app.Array, app.ArrayRecord


def _reply(client: int, record: Any, weight: float) -> Any:
    """What a strategy reads of a client's message; Flower's own messages want a running network."""
    app = importlib.import_module("flwr.app")
    content = app.RecordDict({"arrays": record, "metrics": app.MetricRecord({"num-examples": weight})})
    return SimpleNamespace(content=content, has_error=lambda: False, metadata=SimpleNamespace(src_node_id=client))


def _arrays_of(strategy: Any) -> dict[str, Tensor]:
    """What a strategy holds as arrays, or as dictionaries or lists of them, but for the server's own arrays."""
    found = {}
    for name, value in vars(strategy).items():
        if name == "current_arrays":
            continue
        if isinstance(value, dict):
            parts = {f"{name}.{key}": part for key, part in value.items()}
        elif isinstance(value, list):
            parts = {f"{name}.{place}": part for place, part in enumerate(value)}
        else:
            parts = {name: value}
        arrays = {key: torch.from_numpy(part.copy()) for key, part in parts.items() if isinstance(part, np.ndarray)}
        found.update({f"{_STATE}{key}": part for key, part in arrays.items()})
    return found


def _restore(strategy: Any, state: dict[str, Tensor]) -> None:
    """Puts back what `_arrays_of` took."""
    parts: dict[str, dict[str, np.ndarray]] = {}
    for key, value in state.items():
        if key.startswith(_STATE):
            name, _, part = key.removeprefix(_STATE).partition(".")
            parts.setdefault(name, {})[part] = value.numpy().copy()
    for name, held in parts.items():
        as_list = all(part.isdigit() for part in held)
        setattr(strategy, name, held.get("") if "" in held else [*held.values()] if as_list else held)
