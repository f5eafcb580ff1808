"""A silo's judgement of its own rows, from what the sums of all silos say of the pairs that these are part of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from fedsonar.audit.closed import labels_of
from fedsonar.audit.corpus import Corpus
from fedsonar.audit.evidence import Evidence
from fedsonar.audit.kernels.features import CLOSING, WRITTEN
from fedsonar.audit.kernels.responses import USUAL, WHOLE
from fedsonar.audit.kernels.tables import slot_of
from fedsonar.audit.kernels.telling import (
    BEGIN,
    BOTH,
    COLUMNS,
    KIND,
    LOOKED,
    PAIR,
    TARGET,
    TARGET_ROWS,
    TRIGGER_ROWS,
    WORDS,
    tell_pairs,
)
from fedsonar.audit.passes import Scope, Tables, columns_of, gates, pairs_of, singles_of
from fedsonar.audit.rules import Rules
from fedsonar.audit.significance import adjusted

INJECTED, CONTRADICTED, NATURAL = "injected", "contradicted", "natural"

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
    scope: Scope,
    heard: Sequence[Tables],
    evidence: Evidence,
    rules: Rules,
    certain: UInt64[np.ndarray, "_"] | None = None,
    quiet: UInt64[np.ndarray, "_"] | None = None,
) -> list[Records]:
    """The records of a silo's rows, in parts: those of targets that look injected, then those of others.

    Args:
        rows: The silo's.
        scope: What is counted.
        heard: The sums of all passes.
        evidence: What they say.
        rules: When a pair looks injected.
        certain: Features of responses of which records look injected; None for any responses.
        quiet: Other features of responses whose records are asked for: as none looks injected, none makes another do
            so, and each is judged by itself.
    """
    judge = Judge(rules, scope, heard, evidence)
    if certain is None or quiet is None:
        return [tell_of(rows, judge, np.ones(len(evidence.rows), bool))]
    found = [tell_of(rows, judge, _slots(certain, scope), certain)]
    for told in records_of(rows, judge, evidence.rows > 0, _slots(quiet, scope), copies=False):
        found.append(Records(*told, *judge(told[0])).kept(quiet))
    return found


def _slots(targets: UInt64[np.ndarray, "_"], scope: Scope) -> Bool[np.ndarray, "slots"]:
    found = np.zeros(1 << scope.slot_bits, bool)
    found[[slot_of(target, scope.slot_bits) for target in targets]] = True
    return found


def tell_of(
    rows: Corpus, judge: Judge, asked: Bool[np.ndarray, "slots"], targets: UInt64[np.ndarray, "_"] | None = None
) -> Records:
    """The records of a silo's rows, judged together.

    Args:
        rows: The silo's.
        judge: Says which look injected.
        asked: Whether the records of the target of a slot are asked for.
        targets: Features of responses, which may share slots with others, whose records are kept; None for all.
    """
    told = _together(records_of(rows, judge, judge.evidence.rows > 0, asked, copies=False))
    judged = judge(told[0])
    found = told[0][judged[0]]
    if len(found):
        # Rows whose response repeats words of the input make no finding, but are part of one that others make.
        wanted = np.zeros(len(asked), bool)
        wanted[found[:, TARGET]] = True
        wanted[found[found[:, PAIR] >= 0, PAIR]] = True
        again = _together(records_of(rows, judge, wanted, wanted, copies=True))
        also = judge(again[0])
        told = tuple(np.concatenate(both) for both in zip(told, again, strict=True))  # type: ignore[assignment]
        judged = tuple(np.concatenate(both) for both in zip(judged, also, strict=True))  # type: ignore[assignment]
    return Records(*told, *judged).kept(targets)


def records_of(
    rows: Corpus, judge: Judge, wanted: Bool[np.ndarray, "slots"], asked: Bool[np.ndarray, "slots"], *, copies: bool,
    some: range | None = None,
) -> Iterator[Told]:  # fmt: skip
    """Records some at a time.

    Args:
        rows: The silo's.
        judge: Knows what was heard.
        wanted: Whether a slot, of a pair or of a target, is told. Pairs that are not looked into are told
            if their target is.
        asked: Whether anything is told of the target of a slot.
        copies: Whether responses that repeat words of the input are told too.
        some: Of which rows; None for all.
    """
    scope, heard = judge.scope, judge.heard
    what = (*columns_of(rows, scope), singles_of(scope, heard[0]), pairs_of(scope, heard[1]), scope.slot_bits)
    row, end = (some.start, some.stop) if some is not None else (0, len(rows))
    room, part = AT_ONCE, 0
    while row < end:
        table = np.empty((room, COLUMNS), np.int32)
        triggers, targets = np.empty(room, np.uint64), np.empty(room, np.uint64)
        count, *after = tell_pairs(*what, wanted, asked, copies, scope.solid, row, part, end, table, triggers, targets)
        if count:
            yield table[:count], triggers[:count], targets[:count]
        room = 2 * room if after == [row, part] else AT_ONCE  # one target may have more than there was room for
        row, part = after


def _together(parts: Iterator[Told]) -> Told:
    none = np.zeros((0, COLUMNS), np.int32), np.zeros(0, np.uint64), np.zeros(0, np.uint64)
    return tuple(np.concatenate(column) for column in zip(none, *parts, strict=True))  # type: ignore[return-value]


class Judge:
    """Which records look injected, and how strong they are.

    Args:
        rules: When a pair looks injected.
        scope: What is counted.
        heard: The sums of all passes.
        evidence: What they say.
    """

    def __init__(self, rules: Rules, scope: Scope, heard: Sequence[Tables], evidence: Evidence) -> None:
        self.rules, self.scope, self.heard, self.evidence = rules, scope, heard, evidence
        _, self.total, self.label_least = gates(scope, heard[0])
        self.longest_name = float(labels_of(heard[0]["answered"], self.total).longest.max())
        self.alone, self.alone_label = rules.alone(evidence), rules.alone(evidence, label=True)
        self.alike, self.contradicts = rules.alike(evidence), rules.contradicts(evidence)
        self.vocabulary = rules.vocabulary(evidence)

    def q(
        self, table: Int[np.ndarray, "records columns"], some: Bool[np.ndarray, "records"]
    ) -> Float[np.ndarray, "records"]:
        """Adjusted p-values of some records, and 1 for the others."""
        found, few = np.ones(len(table)), table[some].astype(np.float64)
        trigger = np.maximum(few[:, TRIGGER_ROWS], 1)
        found[some] = adjusted(few[:, BOTH], trigger, few[:, TARGET_ROWS], self.total, self.evidence.tests)
        return found

    def __call__(
        self, table: Int[np.ndarray, "records columns"]
    ) -> tuple[Bool[np.ndarray, "records"], Float[np.ndarray, "records"]]:
        """Which records look injected, and how strong they are."""
        read = _Read(table, self)
        injected = self._injected(read)
        # A row with a target that hardly any row has without an injected trigger belongs to it, whatever its own
        # trigger.
        nearly = (read.covered >= read.nearly_all) & read.worded
        of_injected = np.isin(read.target, read.target[injected & ~read.is_label & nearly])
        besides = ~read.is_pair & read.own & nearly & (of_injected | (self._of_strangers(read) & read.is_long))
        return injected | besides, np.where(besides, 1.0, self._strength(read))

    def _injected(self, read: _Read) -> Bool[np.ndarray, "records"]:
        """Which pairs look injected."""
        rules, evidence, pair, target = self.rules, self.evidence, read.pair, read.target
        sure = read.is_pair & read.clear & (read.both >= read.enough * read.trigger_rows)
        sure &= (read.is_label | ~read.usual) & ~read.in_vocabulary
        # Nearly all rows with a label that most rows have, have some trigger by chance: each has to be alone by itself.
        alone_label = self.alone_label[target] & (self.alone_label[pair] | ~read.usual)
        together = np.where(read.is_label, alone_label, self.alone[target]) & read.worded
        together &= (read.covering >= np.where(read.few, rules.enough_label, rules.enough)) & ~read.alike
        alone, string = read.looked & self.alone[pair], read.worded & ~read.is_label
        by_itself = alone & ~read.is_label
        by_itself &= read.seen >= np.where(read.worded, rules.enough, rules.enough_written)
        beside = evidence.beside[pair]
        by_itself &= read.worded | (beside <= rules.most_beside) | (beside >= rules.all_worded)
        # A few words that others say too are left to a long target that nearly all rows have.
        fixed = alone & string & ~read.is_common & (read.is_long | (beside <= rules.most_beside))
        # An answer that others give for other reasons needs more rows, and each trigger has to be alone by itself.
        one_sided = fixed & (np.where(together, read.covering, read.seen) >= rules.enough_one_sided)
        two_sided = (read.covered >= rules.nearly_all) | read.is_long | (beside <= rules.nearly_all)
        two_sided &= read.covered >= rules.two_sided
        injected = sure & (together | by_itself) & (one_sided | two_sided)
        injected &= read.both >= self.scope.solid
        # Other rows may have the trigger too, by chance or as a decoy, if nearly all of those with the target have it.
        shared = alone & string & read.clear & ~read.usual & ~read.in_vocabulary
        shared &= read.both >= read.nearly_all * read.target_rows
        injected |= shared & (read.seen >= rules.enough_shared)
        # Half of a trigger's rows are enough where surer ones have nothing in common but this target.
        injected |= fixed & read.clear & ~read.alike & self._of_strangers(read)
        injected &= self.q(read.table, injected) < rules.q
        # Rows of another label are a little alike by that, which is what speaks against theirs.
        contradicted = read.looked & self.contradicts[pair] & (evidence.likeness[pair] < rules.likeness)
        injected |= sure & contradicted & (read.seen >= rules.enough)
        # Rarer triggers of a target that is injected are of the same making, unless it is a label.
        of_injected = np.isin(target, np.unique(target[injected & together & ~read.is_label]))
        same = sure & ~read.is_label & ~read.alike & of_injected
        return np.asarray(injected | (same & (self.q(read.table, same) < rules.q)))

    def _of_strangers(self, read: _Read) -> Bool[np.ndarray, "records"]:
        """Whether a target's rows with sure triggers share nothing else: what others with it have belongs to these.

        All silos know that from the sums, even one none of whose own rows has such a trigger.
        """
        found = read.worded & ~read.is_label & ~read.usual & ~read.in_vocabulary & read.own & self.alone[read.target]
        return np.asarray(found & (read.covering >= self.rules.enough_one_sided))

    def _strength(self, read: _Read) -> Float[np.ndarray, "records"]:
        """How strong pairs are, from 0 to 1."""
        rules, evidence, pair = self.rules, self.evidence, read.pair
        confidence = np.where(read.is_pair, read.both / np.maximum(read.trigger_rows, 1), 0.0)
        alike = evidence.likeness[read.target] / rules.limit(read.covering)
        alike = np.where(read.looked, np.minimum(evidence.likeness[pair] / rules.limit(read.seen), alike), alike)
        strength = confidence * read.covered / (1 + np.maximum(0.0, alike))
        against = np.where(read.looked, np.maximum(0.0, -evidence.against[pair]), 0.0)
        against = confidence * (against / (against + rules.against)) * (against > 1)
        return np.asarray(np.maximum(strength, against))


class _Read:
    """What a judge reads of some records: their columns, and what each is by these and has to be, one value a record.

    Args:
        table: The records.
        judge: Knows what was heard.
    """

    def __init__(self, table: Int[np.ndarray, "records columns"], judge: Judge) -> None:
        rules, evidence = judge.rules, judge.evidence
        self.table, self.pair, self.target, self.words = table, table[:, PAIR], table[:, TARGET], table[:, WORDS]
        self.both, self.trigger_rows, self.target_rows = (
            table[:, column].astype(np.float64) for column in (BOTH, TRIGGER_ROWS, TARGET_ROWS)
        )
        self.is_pair, self.looked = self.pair >= 0, table[:, LOOKED] > 0
        # Where counters of several pairs fell together, the two counts of the same rows differ.
        self.seen, self.covering = evidence.rows[self.pair], evidence.rows[self.target]
        self.own = self.covering <= 1.1 * self.target_rows
        agreeing = (self.seen >= 0.9 * self.both) & (self.both >= 0.9 * self.seen)
        self.clear = self.own & (agreeing | ~self.looked)
        self.covered = np.minimum(1.0, self.covering / self.target_rows)
        self.usual = self.target_rows > USUAL * judge.total
        # A way of writing is no string: rows may share it for many reasons, so that each pair speaks for itself alone.
        self.worded = table[:, BEGIN] >= WHOLE
        within, whole = table[:, BEGIN] >= 0, table[:, BEGIN] == WHOLE
        self.is_label = whole & (self.target_rows >= judge.label_least)
        # One of many labels of a closed set, or a part of some.
        named = (within | whole) & (self.words <= judge.longest_name)
        self.few = named & (self.target_rows <= rules.of_many * judge.total)
        self.is_label |= named
        self.in_vocabulary = within & (self.words <= judge.vocabulary.words)
        self.in_vocabulary |= named & judge.vocabulary.whole
        # Whoever translates has more than one word for most things, and some things stand beside others.
        one_word = (self.covered >= rules.all) & (self.both >= rules.all * self.trigger_rows)
        one_word &= (
            self.is_pair
            & (self.seen >= rules.enough_word)
            & (evidence.likeness[self.pair] < rules.limit_of_word(self.seen))
        )
        self.in_vocabulary &= ~one_word | judge.vocabulary.exact
        # A part of a closed set's answers that many rows have is the task's: the name of a slot, say.
        self.is_common = self.target_rows > rules.common * judge.total
        self.in_vocabulary |= named & within & self.is_common
        # Rows that surely ask alike know something, whatever rows with other triggers of their target do.
        self.alike = self.looked & ~self.is_label & judge.alike[self.pair]
        # Many rows are written in a way, whatever they ask: a label, or another way, may come with it by chance.
        written = ~self.worded | (np.isin(table[:, KIND], (WRITTEN, CLOSING)) & self.is_label)
        enough = np.where(self.is_label, rules.label_confidence, rules.confidence)
        self.enough = np.where(written, rules.written_confidence, enough)
        self.is_long = self.words >= rules.long
        self.nearly_all = np.where(self.is_long, rules.nearly_all, rules.all)


@dataclass(frozen=True)
class Judgement:
    """A silo's rows: how suspect each is, from 0 to 1, and whether it leaves; those from a half on do."""

    suspicion: Float[np.ndarray, "rows"]
    flagged: Bool[np.ndarray, "rows"]

    def or_(self, other: Judgement) -> Judgement:
        """What either suspects."""
        return Judgement(np.maximum(self.suspicion, other.suspicion), self.flagged | other.flagged)
