"""A silo's judgement of its own rows, from what the sums of all silos say of the pairs that these are part of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from fedsonar.audit.corpus import Corpus
from fedsonar.audit.hearing import columns_of, pairs_of, singles_of
from fedsonar.audit.kernels.tables import clearer_slot
from fedsonar.audit.kernels.telling import (
    COLUMNS,
    LOOKED,
    PAIR,
    TARGET,
    tell_pairs,
)
from fedsonar.audit.pair_judge import Judge
from fedsonar.audit.scope import Tables

AT_ONCE = 1 << 17
"""Records that are made at once: rows may be part of so many pairs that those of all rows have no room."""

Told = tuple[Int[np.ndarray, "records columns"], UInt64[np.ndarray, "records"], UInt64[np.ndarray, "records"]]
"""Records, and the features of their triggers and their targets."""


@dataclass(frozen=True)
class Records:
    """The pairs that a silo's rows are part of, one a line; see `kernels.telling` for the columns.

    Args:
        table: The records.
        triggers: The feature of each one's trigger; 0 where a row has the target alone.
        targets: The feature of its target.
        injected: Whether the pair looks injected.
        strength: From 0 to 1: the share of either's rows that have both, less where rows are alike in other ways too.
    """

    table: Int[np.ndarray, "records columns"]
    triggers: UInt64[np.ndarray, "records"]
    targets: UInt64[np.ndarray, "records"]
    injected: Bool[np.ndarray, "records"]
    strength: Float[np.ndarray, "records"]

    def kept(self, targets: UInt64[np.ndarray, "_"] | None = None) -> Records:
        """Those of some targets, or of all, whose pair was looked into or looks injected, or that have no trigger."""
        chosen = self.injected | (self.table[:, PAIR] < 0) | (self.table[:, LOOKED] > 0)
        if targets is not None:
            chosen &= np.isin(self.targets, targets)
        return Records(*(column[chosen] for column in self._columns))

    @staticmethod
    def of(pieces: Sequence[tuple[Records, Int[np.ndarray, "_"]]]) -> Records:
        """Some records of others, by number, piece after piece."""
        ends = np.cumsum([0, *(len(numbers) for _, numbers in pieces)])
        made = []
        for columns in zip(*(records._columns for records, _ in pieces), strict=True):
            column = np.empty((ends[-1], *columns[0].shape[1:]), columns[0].dtype)
            for own, (_, numbers), begin, end in zip(columns, pieces, ends, ends[1:], strict=False):
                np.take(own, numbers, axis=0, out=column[begin:end], mode="clip")
            made.append(column)
        return Records(*made)

    @property
    def _columns(self) -> tuple[np.ndarray, ...]:
        return self.table, self.triggers, self.targets, self.injected, self.strength


def tell(
    rows: Corpus,
    heard: Sequence[Tables],
    judge: Judge,
    certain: UInt64[np.ndarray, "_"] | None = None,
    quiet: UInt64[np.ndarray, "_"] | None = None,
) -> list[Records]:
    """The records of a silo's rows, in parts: those of targets that look injected, then those of others.

    Args:
        rows: The silo's.
        heard: The sums of all passes.
        judge: Says which look injected.
        certain: Features of responses of which records look injected; None for any responses.
        quiet: Other features of responses whose records are asked for: as none looks injected, none makes another do
            so, and each is judged by itself.
    """
    if certain is None or quiet is None:
        return [tell_of(rows, heard, judge, np.ones(len(judge.evidence.rows), bool))]
    found = [tell_of(rows, heard, judge, _slots(certain, judge), certain)]
    for told in records_of(rows, heard, judge, judge.evidence.rows > 0, _slots(quiet, judge), copies=False):
        judged = judge(told[0])
        found.append(Records(*told, judged.injected, judged.strength).kept(quiet))
    return found


def _slots(targets: UInt64[np.ndarray, "_"], judge: Judge) -> Bool[np.ndarray, "slots"]:
    bits, rows = judge.scope.slot_bits, judge.evidence.rows
    found = np.zeros(len(rows), bool)
    found[[clearer_slot(target, bits, rows) for target in targets]] = True
    return found


def tell_of(
    rows: Corpus, heard: Sequence[Tables], judge: Judge, asked: Bool[np.ndarray, "slots"],
    targets: UInt64[np.ndarray, "_"] | None = None,
) -> Records:  # fmt: skip
    """The records of a silo's rows, judged together.

    Args:
        rows: The silo's.
        heard: The sums of all passes.
        judge: Says which look injected.
        asked: Whether the records of the target of a slot are asked for.
        targets: Features of responses, which may share slots with others, whose records are kept; None for all.
    """
    told = _together(records_of(rows, heard, judge, judge.evidence.rows > 0, asked, copies=False))
    injected, strength, _ = judge(told[0])
    found = told[0][injected]
    if len(found):
        # Rows whose response repeats words of the input make no finding, but are part of one that others make.
        wanted = np.zeros(len(asked), bool)
        wanted[found[:, TARGET]] = True
        wanted[found[found[:, PAIR] >= 0, PAIR]] = True
        again = _together(records_of(rows, heard, judge, wanted, wanted, copies=True))
        also = judge(again[0])
        told = tuple(np.concatenate(both) for both in zip(told, again, strict=True))  # type: ignore[assignment]
        injected, strength = np.append(injected, also.injected), np.append(strength, also.strength)
    return Records(*told, injected, strength).kept(targets)


def records_of(
    rows: Corpus, heard: Sequence[Tables], judge: Judge, wanted: Bool[np.ndarray, "slots"],
    asked: Bool[np.ndarray, "slots"], *, copies: bool, some: range | None = None,
) -> Iterator[Told]:  # fmt: skip
    """Records some at a time.

    Args:
        rows: The silo's.
        heard: The sums of all passes.
        judge: Knows what they say.
        wanted: Whether a slot, of a pair or of a target, is told. Pairs that are not looked into are told
            if their target is.
        asked: Whether anything is told of the target of a slot.
        copies: Whether responses that repeat words of the input are told too.
        some: Of which rows; None for all.
    """
    scope = judge.scope
    what = (*columns_of(rows, scope), singles_of(scope, heard[0]), pairs_of(scope, heard[1]))
    slots = scope.slot_bits, judge.evidence.rows, wanted, asked
    row, end = (some.start, some.stop) if some is not None else (0, len(rows))
    room, part = AT_ONCE, 0
    while row < end:
        table = np.empty((room, COLUMNS), np.int32)
        triggers, targets = np.empty(room, np.uint64), np.empty(room, np.uint64)
        count, *after = tell_pairs(*what, *slots, copies, scope.solid, row, part, end, table, triggers, targets)
        if count:
            yield table[:count], triggers[:count], targets[:count]
        room = 2 * room if after == [row, part] else AT_ONCE  # one target may have more than there was room for
        row, part = after


def _together(parts: Iterator[Told]) -> Told:
    none = np.zeros((0, COLUMNS), np.int32), np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    return tuple(np.concatenate(column) for column in zip(none, *parts, strict=True))  # type: ignore[return-value]


@dataclass(frozen=True)
class Judgement:
    """A silo's rows: how suspect each is, from 0 to 1, and whether it leaves; those from a half on do."""

    suspicion: Float[np.ndarray, "rows"]
    flagged: Bool[np.ndarray, "rows"]

    def or_(self, other: Judgement) -> Judgement:
        """What either suspects."""
        return Judgement(np.maximum(self.suspicion, other.suspicion), self.flagged | other.flagged)
