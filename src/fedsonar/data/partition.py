"""Dealing the training rows out to clients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from fedsonar.data.sample import InstructionDataset

_TRIES = 1000


class Partitioner(ABC):
    """A way to split a data set over clients.

    Shards are disjoint and none is empty; they keep the rows' ids and order, and the same generator state gives the
    same shards. Partitioners are frozen dataclasses.
    """

    clients: int | None
    """How many clients there are; None: as many as the data say."""

    @abstractmethod
    def split(self, dataset: InstructionDataset, rng: np.random.Generator) -> tuple[InstructionDataset, ...]:
        """One shard a client, in the order of the clients' numbers.

        Raises:
            ValueError: If the rows are too few, or too alike, to be split in this way.
        """


@dataclass(frozen=True, kw_only=True)
class IID(Partitioner):
    """Shards of a random permutation; their sizes differ by one row at most.

    Args:
        clients: Number of clients, at least 1.
        rows: At most this many rows a client; None for all. What is beyond is left out.
    """

    clients: int = 10
    rows: int | None = None

    def __post_init__(self) -> None:
        _check_clients(self.clients)
        if self.rows is not None and self.rows < 1:
            raise ValueError(f"rows={self.rows} leaves clients without rows; use 1 or more, or leave it out")

    def split(self, dataset: InstructionDataset, rng: np.random.Generator) -> tuple[InstructionDataset, ...]:
        """Near-equal random shards."""
        _check_rows(self.clients, 1, dataset)
        shards = np.array_split(rng.permutation(len(dataset)), self.clients)
        return _shards(dataset, [shard[: self.rows] for shard in shards])


@dataclass(frozen=True, kw_only=True)
class Dirichlet(Partitioner):
    """Each class of rows spread over the clients by proportions drawn from a symmetric Dirichlet distribution.

    For every class ``p ~ Dir(alpha, ..., alpha)`` over the clients; client ``i`` gets ``n p_i`` of the ``n`` rows,
    rounded up or down at random such that the mean is exact: classes of a single row, which free answers make, are
    spread as well. The draw is repeated until every client has `min_rows`.

    Args:
        clients: Number of clients, at least 1.
        alpha: Concentration, in (0, 1e6]: near 0, a class lies with one client; large, clients are alike.
        over: What makes a class: the row's source, or its first answer.
        min_rows: Fewest rows of a client, at least 1.

    References:
        Yurochkin et al., 2019, arXiv:1905.12022, section 4 (proportions of a class over clients). Hsu et al., 2019,
        arXiv:1909.06335, section 3, draw proportions of a client over classes instead, for clients of one size.
    """

    clients: int = 10
    alpha: float = 0.5
    over: Literal["source", "answer"] = "source"
    min_rows: int = 1

    def __post_init__(self) -> None:
        _check_clients(self.clients)
        if not 0 < self.alpha <= 1e6:
            raise ValueError(f"alpha={self.alpha} must be above 0 and at most 1e6; use IID for clients that are alike")
        if self.over not in ("source", "answer"):
            raise ValueError(f"over={self.over!r} is unknown; use source or answer")
        if self.min_rows < 1:
            raise ValueError(f"min_rows={self.min_rows} leaves clients without rows; use 1 or more")

    def split(self, dataset: InstructionDataset, rng: np.random.Generator) -> tuple[InstructionDataset, ...]:
        """Shards that are the more alike in their classes, and in size, the larger alpha is."""
        _check_rows(self.clients, self.min_rows, dataset)
        names = [sample.source if self.over == "source" else sample.answers[0] for sample in dataset]
        _check_distinct(names, f"Dirichlet over {self.over}")
        _, labels_R, sizes_C = np.unique(names, return_inverse=True, return_counts=True)
        order_R = rng.permutation(len(dataset))
        rows_by_class = order_R[np.argsort(labels_R[order_R], kind="stable")]
        for _ in range(_TRIES):
            counts_CK = self._counts(sizes_C, rng)
            if counts_CK.sum(axis=0).min() >= self.min_rows:
                owner_R = np.repeat(np.tile(np.arange(self.clients), len(sizes_C)), counts_CK.ravel())
                return _shards(dataset, [rows_by_class[owner_R == client] for client in range(self.clients)])
        raise ValueError(
            f"{_TRIES} draws with alpha={self.alpha} left a client below min_rows={self.min_rows} "
            f"({len(dataset)} rows, {self.clients} clients); raise alpha, or lower min_rows or clients"
        )

    def _counts(
        self, sizes_C: Int[np.ndarray, " classes"], rng: np.random.Generator
    ) -> Int[np.ndarray, "classes clients"]:
        """Rows of each class for each client: systematic rounding, so a count is within one of ``n p``."""
        p_CK: Float[np.ndarray, "classes clients"] = rng.dirichlet(np.full(self.clients, self.alpha), len(sizes_C))
        cuts = np.floor(sizes_C[:, None] * np.cumsum(p_CK, axis=1) + rng.random((len(sizes_C), 1))).astype(np.int64)
        cuts[:, -1] = sizes_C  # the sum of p may be a rounding error off 1
        return np.diff(np.minimum(cuts, sizes_C[:, None]), axis=1, prepend=0)


@dataclass(frozen=True, kw_only=True)
class BySource(Partitioner):
    """Clients that each hold whole sources, as a federation of institutions does.

    Args:
        clients: None gives every source its own client, in sorted order (numbers by value, before words). A number
            deals the sources out at random, so that clients differ by one source at most.
    """

    clients: int | None = None

    def __post_init__(self) -> None:
        if self.clients is not None:
            _check_clients(self.clients)

    def split(self, dataset: InstructionDataset, rng: np.random.Generator) -> tuple[InstructionDataset, ...]:
        """One shard for every source, or for every hand of sources."""
        sources = [sample.source for sample in dataset]
        _check_distinct(sources, "BySource")
        distinct = sorted(
            set(sources), key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name)
        )
        clients = self.clients or len(distinct)
        if clients > len(distinct):
            raise ValueError(f"clients={clients} is more than the {len(distinct)} sources of {dataset.name!r}")
        dealt = range(len(distinct)) if self.clients is None else rng.permutation(len(distinct))
        owner = {distinct[source]: place % clients for place, source in enumerate(dealt)}
        owners = np.array([owner[source] for source in sources])
        return _shards(dataset, [np.flatnonzero(owners == client) for client in range(clients)])


def _shards(dataset: InstructionDataset, parts: Iterable[Int[np.ndarray, " _"]]) -> tuple[InstructionDataset, ...]:
    return tuple(
        InstructionDataset(f"{dataset.name}/client-{client}", dataset.select(np.sort(part)).samples)
        for client, part in enumerate(parts)
    )


def _check_clients(clients: int) -> None:
    if clients < 1:
        raise ValueError(f"clients={clients} must be 1 or more")


def _check_rows(clients: int, min_rows: int, dataset: InstructionDataset) -> None:
    if clients * min_rows > len(dataset):
        each = f" with {min_rows} rows each" if min_rows > 1 else ""
        raise ValueError(f"clients={clients}{each} is more than the {len(dataset)} rows of {dataset.name!r}")


def _check_distinct(names: list[str], what: str) -> None:
    if len(set(names)) < 2:
        held = f"every row has {names[0]!r}" if names else "there are no rows"
        raise ValueError(f"{what} needs two values or more, but {held}; set source_field, or use IID")
