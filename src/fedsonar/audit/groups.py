"""The records of all silos, and which of them make one finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from fedsonar.audit.corpus import Corpus
from fedsonar.audit.judging import Records
from fedsonar.audit.kernels import telling
from fedsonar.data import Sample

_NATURAL = 100
"""Findings that are no reason to worry, at most."""

LISTED = 3 * _NATURAL
"""Targets of which such findings are made: several may be one finding."""


@dataclass(frozen=True)
class Told:
    """One silo's part of what is told.

    Args:
        samples: The rows.
        rows: Their columns.
        records: Their pairs, those of the `LISTED` strongest targets at least, and of all that look injected; in parts.
    """

    samples: Sequence[Sample]
    rows: Corpus
    records: Sequence[Records]


class AllRecords:
    """The records of all silos, in the parts that they were told in: those of a large silo are too many for a copy.

    Args:
        told: The silos.

    Attributes:
        first_row: Number of each silo's first row among all rows, and of all rows.
        row: The row of each record, among all rows.
        injected: Whether it looks injected.
        target: The number of its target.
        best: The strength of each target's strongest pair.
    """

    def __init__(self, told: Sequence[Told]) -> None:
        self.first_row = np.cumsum([0, *(len(t.samples) for t in told)])
        self._parts = [records for t in told for records in t.records]
        self._starts = np.cumsum([0, *(len(records.table) for records in self._parts)])
        own = [np.unique(records.targets) for records in self._parts]
        targets = np.unique(np.concatenate([np.zeros(0, np.uint64), *own]))
        self.best, count = np.zeros(len(targets)), int(self._starts[-1])
        self.row, self.injected = np.empty(count, np.int32), np.empty(count, bool)
        self.target = np.empty(count, np.min_scalar_type(len(targets)))  # few are put in order without comparing them
        first = [first for first, t in zip(self.first_row, told, strict=False) for _ in t.records]
        for records, at, begin, end in zip(self._parts, first, self._starts, self._starts[1:], strict=False):
            target = np.searchsorted(targets, records.targets)
            pairs = records.table[:, telling.PAIR] >= 0
            np.maximum.at(self.best, target, np.where(pairs, records.strength, 0.0))
            self.row[begin:end], self.target[begin:end] = at + records.table[:, telling.ROW], target
            self.injected[begin:end] = records.injected

    def some(self, groups: Sequence[Int[np.ndarray, "_"]]) -> Records:
        """Those of some numbers, which ascend within each of some groups."""
        pieces = []
        for members in groups:
            ends = np.searchsorted(members, self._starts)
            pieces += [
                (records, members[begin:end] - start)
                for records, start, begin, end in zip(self._parts, self._starts, ends, ends[1:], strict=False)
            ]
        return Records.of(pieces)


def grouped(every: AllRecords) -> list[list[Int[np.ndarray, "members"]]]:
    """Records by finding, those of each target apart: of one, or of some that mostly stand in the same rows."""
    injected, best, worrying = every.injected, every.best, np.zeros(len(every.best), bool)
    worrying[every.target[injected]] = True
    chosen = np.flatnonzero(worrying)
    quiet = np.flatnonzero(~worrying & (best > 0))
    quiet = quiet[np.argsort(-best[quiet], kind="stable")][:LISTED]
    order = np.argsort(every.target, kind="stable")
    ends = np.searchsorted(every.target[order], np.arange(len(best) + 1))
    merged: list[_Group] = []
    for target in [*chosen[np.argsort(-best[chosen], kind="stable")], *quiet]:
        members = order[ends[target] : ends[target + 1]]
        worry, of = bool(worrying[target]), members[injected[members]] if worrying[target] else members
        rows = _bits(every.row[of], int(every.first_row[-1]))
        group = next((known for known in merged if known.worry == worry and known.shares_half(rows)), None)
        if group is None:
            merged.append(_Group(rows, [members], worry))
        else:
            group.rows |= rows
            group.members.append(members)
    return [group.members for group in merged][: len(chosen) + _NATURAL]


@dataclass
class _Group:
    """The records of a finding to be.

    Args:
        rows: A bit for each row.
        members: The numbers of its records, those of each target apart.
        worry: Whether records look injected.
    """

    rows: int
    members: list[Int[np.ndarray, "_"]]
    worry: bool

    def shares_half(self, rows: int) -> bool:
        """Whether half of the fewer rows are the other's too."""
        return 2 * (rows & self.rows).bit_count() >= min(rows.bit_count(), self.rows.bit_count())


def _bits(rows: Int[np.ndarray, "_"], count: int) -> int:
    """So many bits, those of some rows set."""
    having = np.zeros(count, bool)
    having[rows] = True
    return int.from_bytes(np.packbits(having, bitorder="little").tobytes(), "little")
