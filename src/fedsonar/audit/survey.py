"""What a silo's records come to in little room: how suspect its rows are, and which targets are worth telling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from fedsonar.audit.corpus import Corpus
from fedsonar.audit.evidence import Evidence, weigh
from fedsonar.audit.judging import AT_ONCE, Judgement, records_of, tell_of
from fedsonar.audit.kernels.telling import PAIR, ROW, TARGET
from fedsonar.audit.pair_judge import Judge
from fedsonar.audit.repeats import Repeats
from fedsonar.audit.rules import Rules
from fedsonar.audit.scope import Scope, Tables
from fedsonar.compiling import Lanes

_SHARES = 16
"""Stretches of rows for each thread, as some rows are part of many more pairs than others."""

_QUIET = 0.25
"""Suspicion of a row with a pair of full strength that does not look injected."""

_lanes = Lanes()
"""The threads that judge rows."""


@dataclass(frozen=True)
class Survey:
    """What a silo's records come to, in little room however many there are.

    Args:
        suspicion: How suspect each row is, from 0 to 1.
        injected: The targets of records that look injected, sorted.
        targets: The targets of pairs, sorted.
        best: The strength of the strongest pair of each.
        repeats: What rows say as others do.
    """

    suspicion: Float[np.ndarray, "rows"]
    injected: UInt64[np.ndarray, "_"]
    targets: UInt64[np.ndarray, "targets"]
    best: Float[np.ndarray, "targets"]
    repeats: Repeats

    @property
    def judgement(self) -> Judgement:
        """What becomes of the rows."""
        return Judgement(self.suspicion, self.suspicion >= 0.5)


def survey(rows: Corpus, heard: Sequence[Tables], judge: Judge) -> Survey:
    """Judges all records of a silo's rows, some at a time; see `tell`.

    What makes a record look injected may be another record, so those of such targets are judged once more, together.
    Rows with no pair that is any suspect have some suspicion for what they say as others do.
    """
    evidence, every = judge.evidence, np.ones(len(judge.evidence.rows), bool)
    repeats = Repeats.of(rows, judge.scope, heard[0])
    suspicion, worrying = repeats.suspicion(evidence.total), np.zeros(len(evidence.rows), bool)

    def part(some: range) -> _Best:
        best = _Best()
        for table, _, targets in records_of(rows, heard, judge, evidence.rows > 0, every, copies=False, some=some):
            injected, strength, known = judge(table)
            worrying[table[injected, TARGET]] = True
            _raise(suspicion, table, injected, np.where(known, 0.0, strength))
            best.note(targets, np.where(table[:, PAIR] >= 0, strength, 0.0))
        return best

    best = _Best()
    count = min(len(rows), _SHARES * _lanes.count) if _lanes.count > 1 else 1
    for one in _lanes.each(part, [range(len(rows) * i // count, len(rows) * (i + 1) // count) for i in range(count)]):
        best.note(*one.merged)
    certain = np.zeros(0, np.uint64)
    if worrying.any():
        records = tell_of(rows, heard, judge, worrying)
        _raise(suspicion, records.table, records.injected, records.injected * records.strength)
        best.note(records.targets, np.where(records.table[:, PAIR] >= 0, records.strength, 0.0))
        certain = np.unique(records.targets[records.injected])
    return Survey(suspicion, certain, *best.merged, repeats)


def strongest(
    surveys: Sequence[Survey], most: int
) -> tuple[UInt64[np.ndarray, "injected"], UInt64[np.ndarray, "others"]]:
    """The targets that look injected in any silo; and of the others those of the strongest pairs.

    Args:
        surveys: Of all silos.
        most: How many others there may be.
    """
    injected = np.unique(np.concatenate([one.injected for one in surveys]))
    merged = _Best()
    for one in surveys:
        merged.note(one.targets, one.best)
    targets, best = merged.merged
    quiet = np.flatnonzero((best > 0) & ~np.isin(targets, injected))
    quiet = quiet[np.argsort(-best[quiet], kind="stable")][:most]
    return injected, targets[quiet]


def _raise(
    suspicion: Float[np.ndarray, "rows"], table: Int[np.ndarray, "records columns"],
    injected: Bool[np.ndarray, "records"], strength: Float[np.ndarray, "records"],
) -> None:  # fmt: skip
    """Raises the suspicion of rows to that of their records; records of a row mostly stand one after another."""
    if len(table):
        row, strength = table[:, ROW], np.clip(strength, 0.0, 1.0)
        to = np.where(injected, 0.5 + 0.499 * strength, _QUIET * strength)
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        np.maximum.at(suspicion, row[starts], np.maximum.reduceat(to, starts))


class _Best:
    """The strength of the strongest record of each target."""

    def __init__(self) -> None:
        self._parts = [(np.zeros(0, np.uint64), np.zeros(0))]

    def note(self, targets: UInt64[np.ndarray, "records"], strength: Float[np.ndarray, "records"]) -> None:
        """Takes in some records; those of a target mostly stand one after another."""
        if len(targets):
            starts = np.flatnonzero(np.concatenate([[True], targets[1:] != targets[:-1]]))
            self._parts.append((targets[starts], np.maximum.reduceat(strength, starts)))
        if sum(len(part) for part, _ in self._parts[1:]) > max(len(self._parts[0][0]), AT_ONCE):
            self._parts = [self.merged]

    @property
    def merged(self) -> tuple[UInt64[np.ndarray, "targets"], Float[np.ndarray, "targets"]]:
        """The targets, sorted, and the strength of each one's strongest record."""
        targets, strength = (np.concatenate(column) for column in zip(*self._parts, strict=True))
        distinct, which = np.unique(targets, return_inverse=True)
        best = np.zeros(len(distinct))
        np.maximum.at(best, which, strength)
        return distinct, best


_latest: list[tuple[np.ndarray, Evidence]] = []
"""What was weighed last in this process, and the last pass's sums: all its silos hear the same."""

_latest_judge: list[Judge] = []
"""Who judged by that."""


def weighed(heard: Sequence[Tables]) -> Evidence:
    """The evidence in the sums of all passes, worked out once for all silos of a process."""
    sums = heard[-1]["sums"]
    if not _latest or _latest[0][0] is not sums:
        _latest[:] = [(sums, weigh(heard))]
    return _latest[0][1]


def judge(rows: Corpus, scope: Scope, heard: Sequence[Tables], rules: Rules) -> Judgement:
    """What becomes of a silo's rows, by what it heard in all passes."""
    evidence = weighed(heard)
    known = [one for one in _latest_judge if one.evidence is evidence and (one.scope, one.rules) == (scope, rules)]
    _latest_judge[:] = known or [Judge(rules, scope, heard[0], evidence)]
    return survey(rows, heard, _latest_judge[0]).judgement
