"""The aggregation rules of ByzFL and Flower, on updates that are in memory already."""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch
from jaxtyping import Float

from fedsonar.bench.aggregation_rules import suspected, suspected_by_bulyan

Turn = Callable[[], Float[np.ndarray, "dim"]]
"""Aggregates once."""

LOOPS, PRODUCTS = 1e11, 1e12
"""The largest n n d that is measured, for n updates of d coordinates: of rules that take the distance of one pair of
updates after the other, and of those that take all distances by a matrix product. Either takes about half a minute a
turn there, on two cores."""

INSTALL = {
    "ByzFL": "pip install matplotlib seaborn, then pip install --no-deps byzfl==0.0.11",
    "Flower": "pip install flwr==1.41.0",
}
_MODULES = {"ByzFL": ("byzfl", "matplotlib", "seaborn"), "Flower": ("flwr",)}


@dataclass(frozen=True)
class Peer:
    """A rule of a peer.

    Args:
        side: What it is called: the library, and what it is given.
        prepare: Takes the updates, and gives what aggregates them.
        copies: How many times the input it holds beside it at most, about.
        limit: The largest n n d that it is measured with.
        agrees: Whether its conventions are ours, so that the results should be equal.
        device: Where it computes; the updates lie there before its first turn.
    """

    side: str
    prepare: Callable[[Float[np.ndarray, "clients dim"]], Turn]
    copies: float
    limit: float = math.inf
    agrees: bool = True
    device: str = "cpu"


def missing() -> list[str]:
    """The libraries, of `INSTALL`, that cannot be imported."""
    return [name for name, modules in _MODULES.items() if not all(map(importlib.util.find_spec, modules))]


def import_byzfl() -> ModuleType:
    """The module ``byzfl``, without torchvision, which it imports for models and data that aggregation needs not."""
    names = ("torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.models")
    stand_ins = [name for name in names if name not in sys.modules]
    sys.modules.update({name: MagicMock() for name in stand_ins})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("byzfl")
    finally:  # so that nothing else takes a stand-in for the package
        for name in stand_ins:
            del sys.modules[name]


def peers(rule: str, clients: int) -> Iterator[Peer]:
    """The peers of one of our rules that can be imported.

    Conventions differ in these: ByzFL's Krum and MultiKrum count one neighbour more; its geometric median starts at
    zero, ours at the mean (both take 4 steps); its buckets are dealt out by another generator; behind
    NNM and buckets our FedAvg weighs a mixed update by what went into it, and ByzFL's mean does not; Flower's Bulyan
    takes the updates of the lowest Krum scores all at once, where the paper scores anew after each. ByzFL's Clipping
    is left out, as it overwrites the updates.

    Args:
        rule: Name of our rule.
        clients: Clients of the round.
    """
    absent = missing()
    if "ByzFL" not in absent:
        yield from _byzfl_peers(rule, clients)
    if "Flower" not in absent:
        yield from _flower_peers(rule, clients)


def _byzfl_peers(rule: str, clients: int) -> Iterator[Peer]:
    f = suspected(clients)
    mixes = clients - f + 1  # a copy of each update's neighbours, and their means
    # Steps, copies that the NumPy and the PyTorch side hold, whether they need distances, whether we agree.
    table: dict[str, tuple[list[tuple[str, dict[str, Any]]], float, float, bool, bool]] = {
        "Bucketing + FedAvg": ([("Bucketing", {"s": 2}), ("Average", {})], 2, 2, False, False),
        "CenteredClipping": ([("CenteredClipping", {"L": 5, "tau": 1.0})], 3, 2, False, True),
        "FedAvg": ([("Average", {})], 0, 0, False, True),
        "GeometricMedian": ([("GeometricMedian", {"T": 4})], 3, 3, False, False),
        "Krum": ([("Krum", {"f": f})], 4, 2, True, False),
        "Median": ([("Median", {})], 1, 4, False, True),
        "MultiKrum": ([("MultiKrum", {"f": f})], 5, 3, True, False),
        "NNM + FedAvg": ([("NNM", {"f": f}), ("Average", {})], mixes, mixes, True, False),
        "TrimmedMean": ([("TrMean", {"f": f})], 1, 3, False, True),
    }
    if rule in table:
        steps, copies, tensor_copies, distances, agrees = table[rule]
        limits = (LOOPS, PRODUCTS) if distances else (math.inf, math.inf)
        yield Peer("ByzFL numpy", partial(_byzfl, steps, np.asarray), copies, limits[0], agrees)
        yield Peer("ByzFL torch", partial(_byzfl, steps, torch.from_numpy), tensor_copies, limits[1], agrees)
        if torch.cuda.is_available():
            yield Peer("ByzFL GPU", partial(_byzfl, steps, _on_gpu), tensor_copies, math.inf, agrees, "cuda")


def _on_gpu(updates_ND: Float[np.ndarray, "clients dim"]) -> Float[torch.Tensor, "clients dim"]:
    return torch.from_numpy(updates_ND).cuda()


def _byzfl(
    steps: list[tuple[str, dict[str, Any]]],
    given: Callable[[Float[np.ndarray, "clients dim"]], Any],
    updates_ND: Float[np.ndarray, "clients dim"],
) -> Turn:
    aggregators = import_byzfl()
    vectors = given(updates_ND)

    def turn() -> Float[np.ndarray, "dim"]:
        result: Any = vectors
        for name, parameters in steps:
            result = getattr(aggregators, name)(**parameters)(result)  # anew: some remember the round before
        return np.asarray(result.cpu() if isinstance(result, torch.Tensor) else result)

    return turn


def _flower_peers(rule: str, clients: int) -> Iterator[Peer]:
    f = suspected(clients)
    table = {
        "Bulyan": Peer("Flower", partial(_flower_bulyan, suspected_by_bulyan(clients)), 4, PRODUCTS, agrees=False),
        "FedAvg": Peer("Flower", _flower_mean, 0),
        "Krum": Peer("Flower", partial(_flower_krum, f, 1), 2, PRODUCTS),
        "Median": Peer("Flower", _flower_median, 2),
        "MultiKrum": Peer("Flower", partial(_flower_krum, f, clients - f), 2, PRODUCTS),
        "TrimmedMean": Peer("Flower", _flower_trimmed_mean, 1),
    }
    if rule in table:
        yield table[rule]


class _Record:
    """An update as it is, where Flower's records hold bytes that must be unpacked: that is no part of aggregation."""

    def __init__(self, update_D: Float[np.ndarray, "dim"]) -> None:
        self._update_D = update_D

    def numpy(self) -> Float[np.ndarray, "dim"]:
        return self._update_D

    def to_numpy_ndarrays(self) -> list[Float[np.ndarray, "dim"]]:
        return [self._update_D]

    def items(self) -> list[tuple[str, _Record]]:
        return [("update", self)]


class _Reply:
    """What Flower's functions read of a client's reply."""

    metric_records = {"metrics": {"num-examples": 1.0}}  # noqa: RUF012  # the same for all, and nobody writes to it

    def __init__(self, update_D: Float[np.ndarray, "dim"]) -> None:
        self.array_records = {"arrays": _Record(update_D)}

    def __getitem__(self, key: str) -> _Record:
        return self.array_records[key]


def _averaging() -> Callable[[list[_Reply]], Float[np.ndarray, "dim"]]:
    """Flower's mean of replies, with a result that is not packed into bytes either."""
    utils: Any = importlib.import_module("flwr.serverapp.strategy.strategy_utils")
    utils.Array, utils.ArrayRecord = np.asarray, dict  # in a process that does nothing else

    def average(replies: list[_Reply]) -> Float[np.ndarray, "dim"]:
        mean_D: Float[np.ndarray, "dim"] = utils.aggregate_arrayrecords(replies, "num-examples")["update"]
        return mean_D

    return average


def _flower_mean(updates_ND: Float[np.ndarray, "clients dim"]) -> Turn:
    """As ``FedAvg`` of ``flwr.serverapp.strategy``."""
    return partial(_averaging(), [_Reply(update_D) for update_D in updates_ND])


def _flower_krum(f: int, selected: int, updates_ND: Float[np.ndarray, "clients dim"]) -> Turn:
    """As ``Krum`` and ``MultiKrum`` of ``flwr.serverapp.strategy``."""
    from flwr.serverapp.strategy.multikrum import select_multikrum

    average, replies = _averaging(), [_Reply(update_D) for update_D in updates_ND]
    return lambda: average(select_multikrum(replies, f, selected))


def _flower_median(updates_ND: Float[np.ndarray, "clients dim"]) -> Turn:
    """As ``FedMedian`` of both of Flower's families; only the older one has a function for it."""
    from flwr.server.strategy.aggregate import aggregate_median

    results = [([update_D], 1) for update_D in updates_ND]
    return lambda: aggregate_median(results)[0]


def _flower_trimmed_mean(updates_ND: Float[np.ndarray, "clients dim"]) -> Turn:
    """As ``FedTrimmedAvg`` of ``flwr.serverapp.strategy``, with its default part of the clients dropped."""
    from flwr.serverapp.strategy.fedtrimmedavg import trim_mean

    return partial(trim_mean, updates_ND, 0.2)


def _flower_bulyan(f: int, updates_ND: Float[np.ndarray, "clients dim"]) -> Turn:
    """The steps of ``Bulyan.aggregate_train`` of ``flwr.serverapp.strategy``."""
    from flwr.serverapp.strategy.bulyan import aggregate_n_closest_weights
    from flwr.serverapp.strategy.multikrum import select_multikrum

    replies = [_Reply(update_D) for update_D in updates_ND]
    theta = len(updates_ND) - 2 * f

    def turn() -> Float[np.ndarray, "dim"]:
        picks = [reply["arrays"].to_numpy_ndarrays() for reply in select_multikrum(replies, f, theta)]
        medians = [np.median(arrays, axis=0) for arrays in zip(*picks, strict=True)]
        mean_D: Float[np.ndarray, "dim"] = aggregate_n_closest_weights(medians, picks, theta - 2 * f)[0]
        return mean_D

    return turn
