"""Long phrases that many answers share: worth a look even where the audit cannot tell them from a turn of phrase.

A natural trigger that is followed by its target in some of its rows only makes no finding, since most of what has the
trigger is answered as ever. The target still repeats, and its rows still have the trigger in common.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, UInt64

from fedsonar.audit.all_told import all_told
from fedsonar.audit.corpus import PARTS, Corpus
from fedsonar.audit.finding import Example, examples, in_silos, shortened
from fedsonar.audit.hearing import columns_of
from fedsonar.audit.kernels.features import PHRASE
from fedsonar.audit.kernels.repeating import (
    BEGIN,
    FIRST,
    KIND,
    LAST,
    OF_ROW,
    PHRASE_NUMBER,
    ROW,
    ROWS,
    WORDS,
    tell_inputs,
    tell_sayers,
)
from fedsonar.audit.kernels.tables import Sparse
from fedsonar.audit.repeats import FEWEST, Repeats
from fedsonar.audit.scope import Scope
from fedsonar.audit.significance import surplus
from fedsonar.audit.wording import in_words, joined_spans
from fedsonar.data import Sample
from fedsonar.rng import stream

_MOST, _CANDIDATES = 10, 30
"""Phrases that are listed, at most, and among how many these are chosen."""

_PART = 0.5
"""Share of a phrase's rows above which it is told already: these leave, or are of another phrase."""

_ASKED = 100
"""Rows of a phrase among which what they have in common is looked for, at most."""

_COMMON, _LIFT, _CHANCE = 0.8, 2.0, 0.01
"""Share of its rows that must have a feature for it to be told, how much rarer it must be among all rows, and how
unlikely by chance."""

_ALIKE = 0.9
"""Features of a phrase that so nearly as many rows have are told as one, where they overlap."""

_EVERY = np.uint64(0)
"""In place of one feature that is asked for."""

_ROOM = 1 << 14
"""Records that kernels have room for at first."""


@dataclass(frozen=True)
class SharedPhrase:
    """A phrase that many answers share.

    Args:
        phrase: The phrase, of eight words at most unless it is a whole answer.
        rows: Rows that say it and do not leave.
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
        said = f"“{self.phrase}” in the answers of {self.rows:,} rows{in_silos(self.silos, self.all_silos)}"
        if not self.common:
            return said
        return f"{said}; {self.common}: {_percent(self.share)} of these, {_percent(self.base_rate)} of all rows"


def _percent(share: float) -> str:
    """A share that says 100 only of all."""
    return f"{100 * share if share == 1 else min(100 * share, 99.9):.1f} %"


class Pool(NamedTuple):
    """Silos that lie in one place.

    Args:
        silos: The rows of each.
        columns: The same in columns.
        scope: What is counted.
        inputs: Rows of all silos by feature of the input, as the first pass told them.
    """

    silos: Sequence[Sequence[Sample]]
    columns: Sequence[Corpus]
    scope: Scope
    inputs: Sparse


def shared_phrases(
    pool: Pool, repeats: Sequence[Repeats], flagged: Sequence[Bool[np.ndarray, "_"]]
) -> tuple[SharedPhrase, ...]:
    """The most telling phrases that many answers share, those whose rows have something in common first.

    Phrases of which most rows leave are told already, and left out.

    Args:
        pool: The silos.
        repeats: What repeats in each.
        flagged: Which rows of each leave.
    """
    phrases, weights = (
        np.concatenate(column) for column in zip(*((r.phrases, r.weights) for r in repeats), strict=True)
    )
    distinct, first = np.unique(phrases, return_index=True)
    by_weight = distinct[np.argsort(-weights[first], kind="stable")]
    candidates = by_weight[by_weight > 0][:_CANDIDATES]
    wanted = np.sort(candidates)
    silo, told = _sayers(pool, wanted)
    leaves = np.concatenate([some[told[silo == at, ROW]] for at, some in enumerate(flagged)])
    shown: set[tuple[int, int]] = set()
    made = []
    for number in np.searchsorted(wanted, candidates):
        having = np.flatnonzero(told[:, PHRASE_NUMBER] == number)
        members = having[~leaves[having]]
        places = list(dict.fromkeys(zip(silo[members].tolist(), told[members, ROW].tolist(), strict=True)))
        if len(places) < FEWEST or leaves[having].mean() > _PART:
            continue
        if sum(place in shown for place in places) > _PART * len(places):
            continue
        text = _text(pool, silo[members[0]], told[members[0]])
        shown.update(places)
        made.append(_phrase(pool, shortened(text), places))
    return tuple(sorted(made, key=lambda phrase: not phrase.common)[:_MOST])


def _sayers(
    pool: Pool, wanted: UInt64[np.ndarray, "phrases"]
) -> tuple[Int[np.ndarray, "records"], Int[np.ndarray, "records columns"]]:
    """Which rows of which silos say some phrases; see `tell_sayers`."""
    tables = []
    for rows in pool.columns:
        table, _ = all_told(partial(_say, rows, wanted), 4, _ROOM)
        tables.append(table)
    return np.repeat(np.arange(len(tables)), [len(table) for table in tables]), np.concatenate(tables)


def _say(
    rows: Corpus, wanted: UInt64[np.ndarray, "phrases"], told: Int[np.ndarray, "room columns"], features: np.ndarray
) -> int:
    del features  # it is the phrase's number that is told
    return int(tell_sayers(rows.words, rows.bounds, wanted, told))


def _text(pool: Pool, silo: int, record: Int[np.ndarray, "columns"]) -> str:
    rows = pool.columns[silo]
    begin = int(rows.bounds[PARTS * record[ROW] + PARTS - 1] + record[BEGIN])
    return rows.phrase(begin, begin + int(record[WORDS]))


def _phrase(pool: Pool, text: str, places: Sequence[tuple[int, int]]) -> SharedPhrase:
    silos = [silo for silo, _ in places]
    _, first = np.unique(silos, return_index=True)
    common, share, base = _common(pool, places)
    shown = examples(pool.silos, [*(places[at] for at in first[:3]), *places[:3]])
    return SharedPhrase(text, len(places), len(first), len(pool.silos), common, share, base, shown)


def _common(pool: Pool, places: Sequence[tuple[int, int]]) -> tuple[str, float, float]:
    """What tells some rows' inputs from others, in words, with the shares of these and of all rows that have it."""
    some = stream(0, "audit/phrases").permutation(len(places))[:_ASKED]
    silo, table, features = _inputs(pool, [places[at] for at in np.sort(some)])
    _, first, which = np.unique(features, return_index=True, return_inverse=True)
    total = sum(map(len, pool.silos))
    having, base = np.bincount(which, minlength=len(first)) / len(some), table[first, ROWS] / total
    rare = np.flatnonzero((having >= _COMMON) & (having >= _LIFT * base))
    has, may = having[rare], base[rare]
    nats = surplus(has, may)
    # Chernoff's bound on the chance of so many, for as many features as were looked at.
    if not (len(some) * nats > np.log(len(first) / _CHANCE)).any():
        return "", 0.0, 0.0
    record = first[rare]
    span = table[record, LAST] - table[record, FIRST]
    best = rare[np.lexsort((table[record, KIND] == PHRASE, span, np.round(nats, 6)))[-1]]
    record = first[best]
    _, all_of_it, _ = _inputs(pool, places, features[record])
    row, kind, begin, end, _ = table[record].tolist()
    if kind == PHRASE:
        near = (silo == silo[record]) & (table[:, OF_ROW] == row) & (table[:, KIND] == PHRASE)
        near &= (having[which] >= _ALIKE * having[best]) & (base[which] <= base[best] / _ALIKE)
        begin, end = joined_spans(table[near][:, [FIRST, LAST]], begin, end)
    at = int(silo[record])
    words = in_words(pool.silos[at][row], pool.columns[at], row, kind, begin, end, int(features[record]))
    return words, len(all_of_it) / len(places), float(base[best])


def _inputs(
    pool: Pool, places: Sequence[tuple[int, int]], wanted: np.uint64 = _EVERY
) -> tuple[Int[np.ndarray, "records"], Int[np.ndarray, "records columns"], UInt64[np.ndarray, "records"]]:
    """The features that some rows' inputs have, or one of these, with the silo of each; see `tell_inputs`."""
    parts = []
    by_silo: dict[int, list[int]] = {}
    for silo, row in places:
        by_silo.setdefault(silo, []).append(row)
    for silo, some in by_silo.items():
        what = *columns_of(pool.columns[silo], pool.scope), pool.scope.bits, pool.inputs
        table, features = all_told(partial(tell_inputs, *what, np.array(some, np.int64), wanted), 5, _ROOM)
        parts.append((np.full(len(table), silo), table, features))
    silos, table, features = (np.concatenate(column) for column in zip(*parts, strict=True))
    return silos, table, features
