"""Where the poison lies: how many rows of which client."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from fedsonar.data.sample import InstructionDataset, Sample


class Placement(ABC):
    """How many rows of each client are poisoned, and which rows may be. Placements are frozen dataclasses."""

    @abstractmethod
    def counts(self, shards: Sequence[InstructionDataset], rng: np.random.Generator) -> Int[np.ndarray, "clients"]:
        """Poisoned rows for each client."""

    def allows(self, sample: Sample) -> bool:  # noqa: ARG002
        """Whether the placement has this row poisoned at all, if trigger and target can."""
        return True


@dataclass(frozen=True)
class _Affected(Placement):
    """Poison in a fraction of the clients."""

    affected: float = 1.0

    def __post_init__(self) -> None:
        _check_fractions(self, "affected")

    def counts(self, shards: Sequence[InstructionDataset], rng: np.random.Generator) -> Int[np.ndarray, "clients"]:
        """Poisoned rows for each client; warns where that rounds to none."""
        number = math.floor(self.affected * len(shards) + 0.5)
        chosen = rng.permutation(len(shards))[:number]
        if self.affected > 0 and number == 0:
            warnings.warn(
                f"affected {self.affected} of {len(shards)} clients rounds to no client: nothing is poisoned",
                stacklevel=3,
            )
        counts = np.zeros(len(shards), dtype=np.int64)
        if number:
            counts[chosen] = self.within(np.array([len(shards[client]) for client in chosen]), rng)
        return counts

    @abstractmethod
    def within(self, sizes: Int[np.ndarray, "affected"], rng: np.random.Generator) -> Int[np.ndarray, "affected"]:
        """Poisoned rows for each affected client, given its number of rows."""


@dataclass(frozen=True, kw_only=True)
class ConstantRate(_Affected):
    """A fraction of the clients is affected, and the same fraction of the rows is poisoned in each of those.

    The two dials are independent: poison concentrated in few clients and poison spread thin over all are equally many
    rows when ``affected * rate`` is equal.

    Args:
        affected: Fraction rho of the clients that hold poison, in [0, 1]; rounded to whole clients.
        rate: Fraction of an affected client's rows, in [0, 1]; rounded to whole rows.

    References:
        Zhao, Hu and Liu, 2026, arXiv:2602.15671.
    """

    rate: float = 0.1

    def __post_init__(self) -> None:
        _check_fractions(self, "affected", "rate")

    def within(self, sizes: Int[np.ndarray, "affected"], rng: np.random.Generator) -> Int[np.ndarray, "affected"]:  # noqa: ARG002
        """The rate's share of each client's rows; warns where a rate above 0 rounds to none."""
        counts = np.floor(self.rate * sizes + 0.5).astype(np.int64)
        empty = counts == 0
        if self.rate > 0 and empty.any():
            warnings.warn(
                f"rate {self.rate} rounds to no poisoned row in {empty.sum()} of {len(sizes)} affected clients; "
                f"a rate of at least {0.5 / sizes[empty].max():.2g} is needed there",
                stacklevel=4,
            )
        return counts


@dataclass(frozen=True, kw_only=True)
class UniformRate(_Affected):
    """Each affected client has a rate of its own, drawn uniformly: the literature's NIID-1.

    Args:
        affected: Fraction of the clients that hold poison, in [0, 1]; rounded to whole clients.
        low: Least rate.
        high: Greatest rate.

    References:
        ProtegoFed, arXiv:2603.00516, the experimental set-up.
    """

    low: float = 0.0
    high: float = 0.4

    def __post_init__(self) -> None:
        _check_fractions(self, "affected", "low", "high")
        if self.low > self.high:
            raise ValueError(f"placement.low {self.low} is above placement.high {self.high}")

    def within(self, sizes: Int[np.ndarray, "affected"], rng: np.random.Generator) -> Int[np.ndarray, "affected"]:
        """The drawn rates' shares of the clients' rows, rounded."""
        rates = rng.uniform(self.low, self.high, len(sizes))
        counts: Int[np.ndarray, "affected"] = np.floor(rates * sizes + 0.5).astype(np.int64)
        return counts


@dataclass(frozen=True, kw_only=True)
class DirichletRate(_Affected):
    """A number of poisoned rows dealt out to the affected clients by proportions from a Dirichlet distribution.

    With a cap this is the literature's NIID-2, without one NIID-3. What a client cannot hold goes to the others in
    proportion (ours).

    Args:
        affected: Fraction of the clients that hold poison, in [0, 1]; rounded to whole clients.
        rate: Poisoned rows as a fraction of all rows of the affected clients.
        alpha: Concentration: near 0, few clients hold nearly all of the poison.
        cap: Greatest fraction of a client's rows; 1 for no cap.

    References:
        ProtegoFed, arXiv:2603.00516, the experimental set-up.
    """

    rate: float = 0.1
    alpha: float = 0.5
    cap: float = 0.5

    def __post_init__(self) -> None:
        _check_fractions(self, "affected", "rate", "cap")
        if not 0 < self.alpha <= 1e6:
            raise ValueError(f"placement.alpha must be above 0 and at most 1e6, got {self.alpha}")
        if self.rate > self.cap:
            raise ValueError(f"placement.rate {self.rate} is above placement.cap {self.cap}: there is no room for it")

    def within(self, sizes: Int[np.ndarray, "affected"], rng: np.random.Generator) -> Int[np.ndarray, "affected"]:
        """The clients' parts of the poisoned rows, as near to the proportions as the cap and whole rows allow."""
        room = np.floor(self.cap * sizes).astype(np.int64)
        total = min(math.floor(self.rate * sizes.sum() + 0.5), int(room.sum()))
        shares = rng.dirichlet(np.full(len(sizes), self.alpha)) + 1e-12
        counts = np.zeros(len(sizes), dtype=np.int64)
        while (left := total - int(counts.sum())) > 0:
            open_shares = np.where(counts < room, shares, 0.0)
            counts += np.minimum(_whole(left * open_shares / open_shares.sum(), left), room - counts)
        return counts


@dataclass(frozen=True, kw_only=True)
class PerSource(Placement):
    """Poison in the rows of some sources, whichever clients hold them: one site, one annotator, one region.

    Args:
        sources: Values of the samples' source.
        rate: Fraction of the rows of those sources in each client, in [0, 1]; rounded to whole rows.
    """

    sources: tuple[str, ...]
    rate: float = 1.0

    def __post_init__(self) -> None:
        _check_fractions(self, "rate")
        if not self.sources:
            raise ValueError("placement.sources must name at least one source")

    def counts(self, shards: Sequence[InstructionDataset], rng: np.random.Generator) -> Int[np.ndarray, "clients"]:  # noqa: ARG002
        """The rate's share of the rows of the sources in each client.

        Raises:
            ValueError: If no row is of any of them; names some that there are.
        """
        held = [sum(self.allows(sample) for sample in shard) for shard in shards]
        if not any(held):
            known = sorted({sample.source for shard in shards for sample in shard})
            shown = ", ".join(map(repr, known[:8])) + (", ..." if len(known) > 8 else "")
            raise ValueError(f"no row is of placement.sources {list(self.sources)}; there are {shown}")
        counts: Int[np.ndarray, "clients"] = np.floor(self.rate * np.array(held) + 0.5).astype(np.int64)
        return counts

    def allows(self, sample: Sample) -> bool:
        """Whether the row is of one of the sources."""
        return sample.source in self.sources


def _whole(parts: Float[np.ndarray, "clients"], total: int) -> Int[np.ndarray, "clients"]:
    """Whole numbers of the same sum: rounded down, the greatest remainders up."""
    counts: Int[np.ndarray, "clients"] = np.floor(parts).astype(np.int64)
    up = np.argsort(-(parts - counts), kind="stable")[: max(0, total - int(counts.sum()))]
    counts[up] += 1
    return counts


def _check_fractions(placement: Placement, *names: str) -> None:
    for name in names:
        value = getattr(placement, name)
        if not 0 <= value <= 1:
            raise ValueError(f"placement.{name} must lie in [0, 1], got {value}")
