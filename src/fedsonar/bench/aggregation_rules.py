"""The aggregation rules that are measured: all there are, each with parameters that a peer's rule can match."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any

from fedsonar import aggregate
from fedsonar.aggregate import Aggregator
from fedsonar.aggregate.bulyan import Bulyan
from fedsonar.aggregate.centered_clipping import CenteredClipping
from fedsonar.aggregate.fedavg import FedAvg
from fedsonar.aggregate.fldetector import FLDetector
from fedsonar.aggregate.flower_strategy import FlowerStrategy
from fedsonar.aggregate.geometric_median import GeometricMedian
from fedsonar.aggregate.pre_aggregator import Chain, PreAggregator

_COPIES = {
    "Bucketing + FedAvg": 1, "Clipping + FedAvg": 1, "FLDetector": 2, "FoolsGold": 1, "FreqFed": 2, "MultiMetrics": 2,
    "NNM + FedAvg": 1,
}  # fmt: skip
"""How many times the input a rule holds beside it, where that grows with the input."""


def suspected(clients: int) -> int:
    """The suspected clients of every rule but Bulyan: a fifth, the default of our rules."""
    return clients // 5


def suspected_by_bulyan(clients: int) -> int:
    """The suspected clients of Bulyan: a fifth, or as many as it can bear where that is too many; at least 1."""
    return max(1, min(suspected(clients), (clients - 3) // 4))


def rules(clients: int) -> dict[str, Aggregator]:
    """Every rule of `fedsonar.aggregate` by its name, and every step before a rule, with a plain mean behind it.

    Parameters are the defaults, but for three rules: Bulyan may suspect fewer clients; CenteredClipping has a fixed
    tau, as ByzFL's has; GeometricMedian takes all of its 4 steps.

    Args:
        clients: Clients of the round.
    """
    found = {kind.__name__: kind() for kind in _kinds(Aggregator) if kind not in (Chain, FlowerStrategy)}
    found |= {f"{kind.__name__} + FedAvg": Chain(steps=(kind(),), rule=FedAvg()) for kind in _kinds(PreAggregator)}
    found["Bulyan"] = Bulyan(f=suspected_by_bulyan(clients))
    found["CenteredClipping"] = CenteredClipping(tau=1.0)
    found["GeometricMedian"] = GeometricMedian(ftol=0.0)
    return dict(sorted(found.items()))


def rounds_before(rule: Aggregator) -> int:
    """How many rounds a rule must have seen before it does all of its work."""
    return rule.window + 1 if isinstance(rule, FLDetector) else 0


def copies(name: str) -> int:
    """How many times the input our rule of a name holds beside it, where that grows with the input."""
    return _COPIES.get(name, 0)


def _kinds(family: type) -> list[Any]:
    """The concrete classes of a family that the package itself defines; plugins are not ours to measure."""
    kinds = []
    for module in pkgutil.iter_modules(aggregate.__path__, f"{aggregate.__name__}."):
        for kind in vars(importlib.import_module(module.name)).values():
            own = inspect.isclass(kind) and kind.__module__ == module.name and issubclass(kind, family)
            if own and not inspect.isabstract(kind) and not kind.__name__.startswith("_"):
                kinds.append(kind)
    return kinds
