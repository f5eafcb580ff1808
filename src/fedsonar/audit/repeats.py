"""Long phrases that many answers share: worth a look even where the audit cannot tell them from a turn of phrase.

A natural trigger that is followed by its target in some of its rows only makes no finding, since most of what has the
trigger is answered as ever. The target still repeats, and its rows still have the trigger in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt64

from fedsonar.audit.closed import repeated_share
from fedsonar.audit.corpus import PARTS, Corpus
from fedsonar.audit.finding import Example, examples
from fedsonar.audit.hearing import columns_of, frequent_inputs, singles_of
from fedsonar.audit.kernels.responses import LONG
from fedsonar.audit.kernels.telling import repeated_phrases, tell_inputs
from fedsonar.audit.scope import Scope, Tables
from fedsonar.audit.wording import in_words
from fedsonar.data import Sample

_REPEATING, _SHORT = 0.3, 0.1
"""Suspicion of a row with a phrase that all rows say; and with a short answer that all give."""

_USUAL, _FREE = 0.2, 0.4
"""From this share of all rows on an answer is usual; and fewer than this share may give the same answer as others
otherwise, or a short one that many give tells nothing: real sets lie below .12, and the embedded world above .6."""

_FEWEST, _MOST = 10, 10
"""Rows of a phrase that is listed, at least; and phrases, at most."""

_PART = 0.5
"""Share of a phrase's rows from which on these are suspected anyway."""

_ASKED = 500
"""Rows of a phrase that are asked what they have in common, at most."""

_COMMON, _LIFT = 0.8, 2.0
"""Share of these rows that must have a feature for it to be told, and how much rarer it must be among all rows."""


@dataclass(frozen=True)
class Repeats:
    """What each row of a silo says in four words or more as others do.

    Args:
        rows: How many rows of all silos say the commonest such phrase; 0 where hardly any other row says any.
        answers: How many give the same answer of fewer words; 0 where hardly any other row does, or such answers tell
            nothing.
        phrases: The feature of the most telling one, of which the longer needs fewer rows.
        begin: Its first word in the answer; below 0 where it is all of it.
        words: How many words it has.
    """

    rows: Int[np.ndarray, "rows"]
    answers: Int[np.ndarray, "rows"]
    phrases: UInt64[np.ndarray, "rows"]
    begin: Int[np.ndarray, "rows"]
    words: Int[np.ndarray, "rows"]

    @classmethod
    def of(cls, rows: Corpus, scope: Scope, counts: Tables) -> Repeats:
        """Those of a silo.

        Args:
            rows: The silo's.
            scope: What is counted.
            counts: The sums of the first pass.
        """
        phrases, singles = np.zeros(len(rows), np.uint64), singles_of(scope, counts)
        (said, answers), (begin, words) = np.zeros((2, len(rows)), np.int64), np.zeros((2, len(rows)), np.int32)
        repeated_phrases(rows.words, rows.bounds, rows.marks, singles, said, answers, phrases, begin, words)
        free = repeated_share(counts["answered"], singles.rows, _USUAL) < _FREE
        answers *= free & (answers < _USUAL * singles.rows)
        return cls(said, answers, phrases, begin, words)

    def suspicion(self, total: float) -> Float[np.ndarray, "rows"]:
        """How suspect each row is for it, where there are so many rows in all."""
        phrases, answers = (np.log(np.maximum(rows, 1)) for rows in (self.rows, self.answers))
        return np.asarray(np.maximum(_REPEATING * phrases, _SHORT * answers) / np.log(max(total, 2)))


@dataclass(frozen=True)
class Repeated:
    """A phrase that many answers share.

    Args:
        phrase: The phrase, of eight words at most unless it is the whole answer.
        rows: Rows that say it, and nothing more telling.
        silos: Silos that hold one.
        all_silos: Silos that were audited.
        common: What tells their inputs from others, in words; empty where nothing does.
        share: Share of its rows that have that.
        base_rate: Share of all rows that have it.
        examples: Some of its rows.
    """

    phrase: str
    rows: int
    silos: int
    all_silos: int
    common: str
    share: float
    base_rate: float
    examples: tuple[Example, ...]

    def __str__(self) -> str:
        silos = f" in {self.silos} of {self.all_silos} silos" if self.all_silos > 1 else ""
        said = f"“{self.phrase}” in the answers of {self.rows:,} rows{silos}"
        if not self.common:
            return said
        return f"{said}; {self.common}: {100 * self.share:.0f} % of these, {100 * self.base_rate:.2g} % of all rows"


def repeated(
    silos: Sequence[Sequence[Sample]], columns: Sequence[Corpus], repeats: Sequence[Repeats],
    flagged: Sequence[Bool[np.ndarray, "_"]], scope: Scope, inputs: object,
) -> tuple[Repeated, ...]:  # fmt: skip
    """The phrases that most answers share, those whose rows have something in common first.

    Phrases of which most rows are suspected anyway are left out.

    Args:
        silos: The rows of each silo.
        columns: The same in columns.
        repeats: What repeats in each.
        flagged: Which of its rows are suspected.
        scope: What is counted.
        inputs: Rows of all silos by feature of the input, as the first pass told them.
    """
    phrases, words = (np.concatenate(column) for column in zip(*((r.phrases, r.words) for r in repeats), strict=True))
    distinct, first, which, count = np.unique(phrases, return_index=True, return_inverse=True, return_counts=True)
    share = np.bincount(which, np.concatenate(list(flagged)), len(distinct)) / count
    worth = count * (words[first] - LONG + 1)
    chosen = np.flatnonzero((distinct > 0) & (count >= _FEWEST) & (share <= _PART))
    first_row = np.cumsum([0, *map(len, silos)])
    made = []
    for phrase in chosen[np.argsort(-worth[chosen], kind="stable")][:_MOST]:
        members = np.flatnonzero(which == phrase)
        silo = np.searchsorted(first_row, members, side="right") - 1
        places = list(zip(silo.tolist(), (members - first_row[silo]).tolist(), strict=True))
        at, row = places[0]
        begin = int(columns[at].bounds[PARTS * row + PARTS - 1]) + max(0, int(repeats[at].begin[row]))
        first_of_silos = np.unique(silo, return_index=True)[1]
        made.append(
            Repeated(
                columns[at].phrase(begin, begin + int(repeats[at].words[row])),
                len(members),
                len(first_of_silos),
                len(silos),
                *_common(silos, columns, places, scope, inputs, int(first_row[-1])),
                examples(silos, [*(places[i] for i in first_of_silos), *places]),
            )
        )
    return tuple(sorted(made, key=lambda one: not one.common))


def _common(
    silos: Sequence[Sequence[Sample]], columns: Sequence[Corpus], places: Sequence[tuple[int, int]], scope: Scope,
    inputs: object, total: int,
) -> tuple[str, float, float]:  # fmt: skip
    """What tells some rows' inputs from others, in words, with the shares of these and of all rows that have it."""
    places = places[:: -(-len(places) // _ASKED)]
    parts = []
    for at in sorted({silo for silo, _ in places}):
        rows = np.array([row for silo, row in places if silo == at], np.int64)
        table, features = _told(columns[at], rows, scope, inputs)
        parts.append((np.full(len(table), at), table, features))
    silo, table, features = (np.concatenate(column) for column in zip(*parts, strict=True))
    _, once = np.unique(np.stack([silo, table[:, 0], features.view(np.int64)]), axis=1, return_index=True)
    _, first, count = np.unique(features[once], return_index=True, return_counts=True)
    having, base = count / len(places), table[once[first], 4] / total
    rare = np.flatnonzero((having >= _COMMON) & (having >= _LIFT * base))
    if not len(rare):
        return "", 0.0, 0.0
    has, may = having[rare], base[rare]
    lacks = (1 - has) * np.log(np.maximum(1 - has, 1e-9) / (1 - may))
    best = rare[np.argmax(has * np.log(has / may) + lacks)]
    record = once[first[best]]
    at, (row, kind, begin, end, _) = int(silo[record]), table[record].tolist()
    words = in_words(silos[at][row], columns[at], row, kind, begin, end, int(features[record]))
    return words, float(having[best]), float(base[best])


def _told(
    rows: Corpus, some: Int[np.ndarray, "_"], scope: Scope, inputs: object
) -> tuple[Int[np.ndarray, "records 5"], UInt64[np.ndarray, "records"]]:
    """The features that some rows' inputs have; see `tell_inputs`."""
    room = 1024
    while True:
        table, features = np.empty((room, 5), np.int64), np.empty(room, np.uint64)
        kept = frequent_inputs(scope, inputs)
        count = tell_inputs(*columns_of(rows, scope), scope.bits, kept, some, table, features)
        if count <= room:
            return table[:count], features[:count]
        room = count
