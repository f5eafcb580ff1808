"""The part of the aggregation rules: ours beside ByzFL's and Flower's, on the same updates."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from fedsonar.aggregate import Aggregator, RoundContext
from fedsonar.bench.aggregation_peers import Peer, Turn, peers
from fedsonar.bench.aggregation_rules import copies, rounds_before, rules
from fedsonar.bench.contest import Measured, Prepare, Ratio, take_turns
from fedsonar.bench.memory import available_memory, forget_peak
from fedsonar.bench.options import Options
from fedsonar.bench.parts import Record
from fedsonar.rng import stream

OURS = "FedSonar"
"""The side whose records come last of a rule's."""
_MOST = 0.8
"""The part of the available memory that the updates and a side's copies of them may take."""

_FEW = 1000
"""Coordinates that a side aggregates before the first turn."""


@dataclass(frozen=True)
class RuleContest:
    """One rule, and the peers that have it.

    A side is left out where it would hold more than 0.8 of the memory that is available, updates included, or where
    n n d is beyond the peer's limit (see `aggregation_peers`). Where there is a GPU, ByzFL is measured on it too, on
    updates that lie there already; ratios are to the peers that compute where we do.

    Args:
        name: The rule's name.
        rule: The rule.
        peers: Its peers.
        clients: n, the number of updates.
        dim: d, the coordinates of each.
        available: Memory in MB, by device.
    """

    name: str
    rule: Aggregator
    peers: tuple[Peer, ...]
    clients: int
    dim: int
    available: Mapping[str, float]

    @cached_property
    def left_out(self) -> dict[str, str]:
        """Sides that are not measured, and why."""
        said = {peer.side: self._reason(peer.copies, peer.limit, peer.device) for peer in self.peers}
        said[OURS] = self._reason(copies(self.name), float("inf"), "cpu")
        return {side: reason for side, reason in said.items() if reason}

    def _reason(self, copies: float, limit: float, device: str) -> str:
        work, memory = self.clients**2 * self.dim, (1 + copies) * _megabytes(self.clients, self.dim)
        if work > limit:
            return f"n n d = {work:.0e}, over {limit:.0e}"
        if memory > _MOST * self.available[device]:
            return f"needs {memory:,.0f} MB, over {_MOST} of {self.available[device]:,.0f}"
        return ""

    def sides(self, folder: Path, seed: int) -> dict[str, Prepare[None]]:
        """How to prepare each side that is measured."""
        turns: dict[str, Callable[[Any], Turn]] = {peer.side: peer.prepare for peer in self.peers}
        turns[OURS] = partial(_Ours, self.rule, seed)
        return {side: partial(_prepare, turns[side], folder, side) for side in turns if side not in self.left_out}

    def records(self, measured: Mapping[str, Measured[Any]], folder: Path, refusal: str = "") -> list[Record]:
        """What every side measured, and why others did not: the contest's reasons, or a rule's refusal."""
        sides = [*(peer.side for peer in self.peers), OURS]
        return [self._record(side, measured, folder, refusal) for side in sides]

    def _record(self, side: str, measured: Mapping[str, Measured[Any]], folder: Path, refusal: str) -> Record:
        record: Record = {"part": "aggregate", "rule": self.name, "clients": self.clients, "dim": self.dim}
        record |= {"side": side}
        if side not in measured:
            return record | {"left_out": self.left_out.get(side, refusal)}
        found = measured[side]
        memory = found.memory
        record |= {"seconds": found.seconds, "cpu_seconds": found.cpu_seconds}
        record |= {"start_mb": memory.start, "peak_mb": memory.peak}
        record |= {"extra_memory": (memory.peak - memory.start) / _megabytes(self.clients, self.dim)}
        if side != OURS:
            agrees = next(peer.agrees for peer in self.peers if peer.side == side)
            if agrees and OURS in measured:
                record |= {"difference": _difference(_result(folder, side), _result(folder, OURS))}
            return record
        beside = (peer.side for peer in self.peers if peer.device == "cpu" and peer.side in measured)
        sides = sorted(beside, key=lambda side: measured[side].seconds)
        if sides:
            ratio = Ratio.of(measured[sides[0]].walls, found.walls)
            record |= {"fastest_peer": sides[0], "times_peer": ratio.value}
            record |= {"low": ratio.low, "high": ratio.high, "n": ratio.n}
        # ByzFL's variants compute the same rules as ours do; Flower has a few of them.
        byzfl = next((side for side in sides if side.startswith("ByzFL")), None)
        if byzfl is not None:
            ratio = Ratio.of(measured[byzfl].walls, found.walls)
            record |= {"times_byzfl": ratio.value, "byzfl_low": ratio.low, "byzfl_high": ratio.high}
        return record


@dataclass(frozen=True)
class AggregationContest:
    """All rules on the same updates, one rule after the other.

    The updates are made once, in a temporary file that every side maps copy-on-write, so that they take their
    memory once however many sides there are.

    Args:
        clients: Number of updates.
        dim: Coordinates of each.
        contests: The rules.
        options: Repeats, threads and the seed.
    """

    clients: int
    dim: int
    contests: tuple[RuleContest, ...]
    options: Options

    @property
    def turns(self) -> int:
        """How many turns the contest takes, the uncounted ones included."""
        sides = sum(1 + len(contest.peers) - len(contest.left_out) for contest in self.contests)
        return sides * (self.options.repeats + 1)

    def measure(self, observe: Callable[[str], object]) -> Iterator[Record]:
        """The contest's records, rule by rule; `observe` is told after every turn what took it."""
        with tempfile.TemporaryDirectory(prefix="fedsonar-bench-") as name:
            folder = Path(name)
            write_updates(folder, self.clients, self.dim, self.options.seed, self.options.spread)
            for contest in self.contests:
                yield from self._measure(contest, folder, observe)

    def _measure(self, contest: RuleContest, folder: Path, observe: Callable[[str], object]) -> list[Record]:
        where = f"{self.clients} x {self.dim:,}, {contest.name}"
        try:
            measured = take_turns(
                contest.sides(folder, self.options.seed), repeats=self.options.repeats, threads=self.options.threads,
                observe=lambda side: observe(f"{where}, {side}"),
            )  # fmt: skip
        except (ValueError, ImportError, ChildProcessError) as error:  # too few clients, say: other rules go on
            return contest.records({}, folder, str(error))
        records = contest.records(measured, folder)
        for result in folder.glob("result-*.npy"):
            result.unlink()
        return records


def aggregate(options: Options) -> Iterator[AggregationContest]:
    """Aggregation alone: every rule on updates of 100,000 and 1,000,000 coordinates from 10, 100 and 1,000 clients."""
    available = {"cpu": available_memory()}
    if torch.cuda.is_available():
        available["cuda"] = torch.cuda.mem_get_info()[0] / 2**20
    for clients, dim in product(options.clients or (10, 100, 1000), options.dims):
        contests = (
            RuleContest(name, rule, tuple(peers(name, clients)) if options.peers else (), clients, dim, available)
            for name, rule in rules(clients).items()
            if not options.rules or name in options.rules
        )
        yield AggregationContest(clients, dim, tuple(contests), options)


def write_updates(folder: Path, clients: int, dim: int, seed: int, spread: float) -> None:
    """Leaves in a folder the updates of a round: one direction that all share, and each client's noise.

    Norms are around 1: a client's noise is normal, with a deviation that is log-normal over the clients, `spread` being
    the deviation of its logarithm.
    """
    random = stream(seed, "bench/updates", clients, dim)
    updates_ND = np.lib.format.open_memmap(folder / "updates.npy", mode="w+", dtype=np.float32, shape=(clients, dim))
    shared_D = random.standard_normal(dim, dtype=np.float32)
    for row in range(clients):
        noise_D = random.standard_normal(dim, dtype=np.float32)
        updates_ND[row] = (shared_D + random.lognormal(sigma=spread) * noise_D) / np.sqrt(2 * dim)
    updates_ND.flush()


@dataclass(frozen=True)
class _Side:
    """What one side does each turn.

    Args:
        updates: What it aggregates.
        turn: Aggregates them.
        path: Where the first turn, which does not count, leaves its result. No turn returns one: sending it would take
            memory that is not the rule's.
    """

    updates: Float[np.ndarray, "clients dim"]
    turn: Turn
    path: Path

    def ready(self) -> None:
        """Reads all updates: while others had their turns, the system may have put them out of reach."""
        self.updates.sum()
        getattr(self.turn, "ready", lambda: None)()

    def __call__(self) -> None:
        """Aggregates."""
        result_D = self.turn()
        if not self.path.exists():
            np.save(self.path, result_D)


def _prepare(start: Callable[[Any], Turn], folder: Path, side: str) -> _Side:
    """In a side's process: has its memory hold all updates, and its code loaded by aggregating a few coordinates."""
    updates_ND = np.asarray(np.load(folder / "updates.npy", mmap_mode="c"))
    prepared = _Side(updates_ND, start(updates_ND), folder / _file(side))
    prepared.ready()
    start(updates_ND[:, :_FEW].copy())()
    forget_peak()
    return prepared


class _Ours:
    """Our rule in its first round, or in the first round in which it does all of its work.

    What a rule is told of the round is made off the clock, as are the replies in which Flower's peers find it.
    """

    def __init__(self, rule: Aggregator, seed: int, updates_ND: Float[np.ndarray, "clients dim"]) -> None:
        self._rule, self._seed, self._updates_ND = rule, seed, torch.from_numpy(updates_ND)
        self._state: dict[str, torch.Tensor] = {}
        for _ in range(rounds_before(rule)):
            rule.aggregate(self._updates_ND, self._round(self._state))
        self.ready()

    def ready(self) -> None:
        self._context = self._round(dict(self._state))

    def _round(self, state: dict[str, torch.Tensor]) -> RoundContext:
        n = len(self._updates_ND)
        return RoundContext(
            round=1, clients=range(n), weights=torch.full((n,), 1 / n),
            generator=torch.Generator().manual_seed(self._seed), state=state, root=self._updates_ND[0],
        )  # fmt: skip

    def __call__(self) -> Float[np.ndarray, "dim"]:
        return self._rule.aggregate(self._updates_ND, self._context).numpy()


def _file(side: str) -> str:
    return f"result-{side.replace(' ', '-')}.npy"


def _result(folder: Path, side: str) -> Float[np.ndarray, "dim"]:
    result_D: Float[np.ndarray, "dim"] = np.load(folder / _file(side)).astype(np.float64)
    return result_D


def _difference(one_D: Float[np.ndarray, "dim"], other_D: Float[np.ndarray, "dim"]) -> float:
    """The largest difference of two results over the largest coordinate of the second."""
    return float(np.abs(one_D - other_D).max() / np.abs(other_D).max())


def _megabytes(clients: int, dim: int) -> float:
    return clients * dim * 4 / 2**20
