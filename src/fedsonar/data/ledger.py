"""Ground truth: which samples are poisoned, kept apart from the rows so that no screen or rule can read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from fedsonar.data.sample import Sample


@dataclass(frozen=True, slots=True)
class Planted:
    """What was done to one sample.

    Args:
        client: The client that holds the row.
        trigger: Class name of the trigger.
        target: Class name of the target.
        original: The row as it was before.
    """

    client: int
    trigger: str
    target: str
    original: Sample


@dataclass(frozen=True)
class Ledger(Mapping[str, Planted]):
    """Id of a poisoned sample -> what was planted there. Written by `plant`, read by `measure` and the oracle alone.

    Args:
        entries: The poisoned rows.
        drills: Clean rows that the attack added beside them, by their own ids; they do not count as poisoned.
    """

    entries: Mapping[str, Planted] = field(default_factory=lambda: MappingProxyType({}))
    drills: Mapping[str, Planted] = field(default_factory=lambda: MappingProxyType({}))

    def __getitem__(self, sample_id: str) -> Planted:
        return self.entries[sample_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def clients(self) -> frozenset[int]:
        """The clients that hold at least one poisoned row."""
        return frozenset(planted.client for planted in self.entries.values())

    def count(self, client: int) -> int:
        """How many poisoned rows `client` holds."""
        return sum(planted.client == client for planted in self.entries.values())
