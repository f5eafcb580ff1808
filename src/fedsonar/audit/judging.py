"""A silo's judgement of its own rows, from what the sums of all silos say of the pairs that these are part of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from fedsonar.audit.corpus import Corpus
from fedsonar.audit.evidence import Evidence, Rules, weigh
from fedsonar.audit.kernels.telling import (
    BEGIN,
    BOTH,
    COLUMNS,
    PAIR,
    ROW,
    TARGET,
    TARGET_ROWS,
    TRIGGER_ROWS,
    WORDS,
    tell_pairs,
)
from fedsonar.audit.lexicon import lexicon
from fedsonar.audit.passes import Scope, Tables, gates
from fedsonar.audit.significance import adjusted

INJECTED, CONTRADICTED, NATURAL = "injected", "contradicted", "natural"


@dataclass(frozen=True)
class Records:
    """The pairs that a silo's rows are part of, one a line; see `kernels.telling` for the columns.

    Args:
        table: The records.
        triggers: The feature of each one's trigger; 0 where a row has the target alone.
        targets: The feature of its target.
        injected: Whether the pair looks injected.
        strength: From 0 to 1: the share of either's rows that have both, less where rows are alike in other ways too.
        q: The pair's adjusted p-value; 1 where a row has the target alone.
    """

    table: Int[np.ndarray, "records columns"]
    triggers: UInt64[np.ndarray, "records"]
    targets: UInt64[np.ndarray, "records"]
    injected: Bool[np.ndarray, "records"]
    strength: Float[np.ndarray, "records"]
    q: Float[np.ndarray, "records"]


def tell(rows: Corpus, scope: Scope, heard: Sequence[Tables], evidence: Evidence, rules: Rules) -> Records:
    """The records of a silo's rows."""
    records = _records(rows, scope, heard, evidence.rows > 0, copies=False)
    judged = _judge(records[0], evidence, rules, scope, heard)
    injected, _, _ = judged
    found = records[0][injected]
    if len(found):
        # Rows whose response repeats words of the input make no finding, but are part of one that others make.
        wanted = np.zeros(len(evidence.rows), bool)
        wanted[found[:, TARGET]] = True
        wanted[found[found[:, PAIR] >= 0, PAIR]] = True
        again = _records(rows, scope, heard, wanted, copies=True)
        also = _judge(again[0], evidence, rules, scope, heard)
        records = tuple(np.concatenate(both) for both in zip(records, again, strict=True))  # type: ignore[assignment]
        judged = tuple(np.concatenate(both) for both in zip(judged, also, strict=True))  # type: ignore[assignment]
    return Records(*records, *judged)


def _records(
    rows: Corpus, scope: Scope, heard: Sequence[Tables], wanted: Bool[np.ndarray, "slots"], *, copies: bool
) -> tuple[Int[np.ndarray, "records columns"], UInt64[np.ndarray, "records"], UInt64[np.ndarray, "records"]]:
    first, second = heard[0], heard[1]
    least, total, label_least = gates(scope, first)
    room = 4 * len(rows) + 1024
    while True:
        table = np.empty((room, COLUMNS), np.int64)
        triggers, targets = np.empty(room, np.uint64), np.empty(room, np.uint64)
        count = tell_pairs(
            rows.words, rows.bounds, rows.marks, rows.sources, *lexicon(scope.key), scope.bits, first["inputs"],
            first["responses"], least, total, label_least, scope.pair_bits, second["pairs"], scope.strength,
            scope.slot_bits, wanted, copies, table, triggers, targets,
        )  # fmt: skip
        if count <= room:
            return table[:count], triggers[:count], targets[:count]
        room = count


def _judge(
    table: Int[np.ndarray, "records columns"], evidence: Evidence, rules: Rules, scope: Scope, heard: Sequence[Tables]
) -> tuple[Bool[np.ndarray, "records"], Float[np.ndarray, "records"], Float[np.ndarray, "records"]]:
    """Which records look injected, how strong they are, and their adjusted p-values."""
    _, total, label_least = gates(scope, heard[0])
    pair, target = table[:, PAIR], table[:, TARGET]
    both, trigger_rows, target_rows = (table[:, c].astype(np.float64) for c in (BOTH, TRIGGER_ROWS, TARGET_ROWS))
    is_pair = pair >= 0
    alone, contradicts = rules.alone(evidence), rules.contradicts(evidence)
    q = np.where(is_pair, adjusted(both, np.maximum(trigger_rows, 1), target_rows, total, evidence.tests), 1.0)
    significant = q < rules.q
    # Where counters of several pairs fell together, the two counts of the same rows differ.
    seen, covering = evidence.rows[pair], evidence.rows[target]
    clear = (seen >= 0.9 * both) & (both >= 0.9 * seen) & (covering <= 1.1 * target_rows)
    is_label = (table[:, BEGIN] < 0) & (target_rows >= label_least)
    enough = np.where(is_label, rules.label_confidence, rules.confidence)
    sure = is_pair & clear & (both >= enough * trigger_rows)
    covered = np.minimum(1.0, covering / target_rows)
    together = np.where(is_label, rules.alone(evidence, label=True)[target], alone[target]) & (covering >= rules.enough)
    by_itself = alone[pair] & (seen >= rules.enough)
    injected = (
        sure & significant & (both >= scope.solid) & (covered >= rules.two_sided) & (together | (by_itself & ~is_label))
    )
    # Rows of another label are a little alike by that, which is what speaks against theirs.
    unlike = evidence.likeness[pair] < rules.likeness
    injected |= sure & contradicts[pair] & unlike & (seen >= rules.enough)
    # Rarer triggers of a target that is injected are of the same making, unless it is a label.
    injected |= sure & significant & ~is_label & np.isin(target, np.unique(target[injected & together & ~is_label]))
    confidence = np.where(is_pair, both / np.maximum(trigger_rows, 1), 0.0)
    apart = 1 / (1 + np.maximum(0.0, np.minimum(evidence.likeness[pair], evidence.likeness[target])) / rules.likeness)
    strength = confidence * covered * apart
    against = np.maximum(0.0, -evidence.against[pair])
    strength = np.maximum(strength, confidence * (against / (against + rules.against)) * (against > 1))
    # A row with a target that hardly any row has without an injected trigger belongs to it, whatever its own trigger.
    long = table[:, WORDS] >= rules.long
    nearly = covered >= np.where(long, rules.nearly_all, rules.all)
    alike = ~is_pair & nearly & np.isin(target, target[injected & ~is_label & nearly])
    return injected | alike, np.where(alike, 1.0, strength), q


@dataclass(frozen=True)
class Judgement:
    """A silo's rows: how suspect each is, from 0 to 1, and whether it leaves; those from a half on do."""

    suspicion: Float[np.ndarray, "rows"]
    flagged: Bool[np.ndarray, "rows"]

    def or_(self, other: Judgement) -> Judgement:
        """What either suspects."""
        return Judgement(np.maximum(self.suspicion, other.suspicion), self.flagged | other.flagged)


_latest: list[tuple[np.ndarray, Evidence]] = []
"""What was weighed last in this process, and the last pass's sums: all its silos hear the same."""


def judge(rows: Corpus, scope: Scope, heard: Sequence[Tables], rules: Rules) -> Judgement:
    """What becomes of a silo's rows, by what it heard in all passes."""
    sums = heard[-1]["sums"]
    if not _latest or _latest[0][0] is not sums:
        _latest[:] = [(sums, weigh(heard))]
    return judged(len(rows), tell(rows, scope, heard, _latest[0][1], rules))


def judged(count: int, records: Records) -> Judgement:
    """The rows' judgement from their records."""
    suspicion = np.zeros(count)
    scaled = 0.5 * records.injected + 0.499 * np.clip(records.strength, 0.0, 1.0)
    np.maximum.at(suspicion, records.table[:, ROW], scaled)
    return Judgement(suspicion, suspicion >= 0.5)
