"""What silos count in each pass, and in tables of what size: integers that add up over silos, and nothing else."""

from __future__ import annotations

import math
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from fedsonar.audit.closed import told_answers
from fedsonar.audit.corpus import Corpus
from fedsonar.audit.kernels.answers import ANSWERED, LENGTHS, count_answers
from fedsonar.audit.kernels.counting import (
    CHECKED,
    GRAM_BUCKETS,
    LABEL_WORDS,
    LABELS,
    OF_SILOS,
    ROWS,
    check_pairs,
    count_features,
    count_pairs,
)
from fedsonar.audit.kernels.pairing import Pairs, Singles
from fedsonar.audit.kernels.tables import FULL, Sparse, shortened, slots_for, sparse
from fedsonar.audit.lexicon import lexicon
from fedsonar.audit.little import Little, Short

FRAME = 0.9
"""Words that this share of all rows have are the frame that all rows are set in, and tell nothing of any."""

_ALL_OF_SILO, _SILO = 0.9, 20
"""Share of a silo's rows that are nearly all of them, and the rows it must have for that to say something."""

EVERY_WORD = 1 << 16
"""More words than any row is held against others by."""

Tables = Mapping[str, Any]
"""Arrays by name; some are `Sparse` or `Short` where one process goes through all passes, see `Little`."""
NewTable = Callable[[int], Any]
PASSES = 3


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What is counted, equal for all silos of an audit.

    Args:
        bits: Tables of features have ``2^bits`` counters; more rows and longer ones need more. Collisions add to
            counts, so that too few bits cost recall and precision.
        pair_bits: The same of pairs.
        slot_bits: Tables of the pairs that stand out have ``2^slot_bits`` rows for pairs and targets, and a quarter as
            many in which targets are counted once more.
        least: Fewest rows of a pair that is counted.
        solid: Fewest rows of a pair that can make a finding; rarer ones join the finding that their target is part of.
        label_share: From this share of all rows on a whole response is a label.
        strength: Least G squared of a pair that is looked into.
        words: Different words that a row is held against others by, the first of instruction and input.
        key: Goes into every hash. Silos that share a key which the server does not know keep it from looking words up.
    """

    bits: int = 22
    pair_bits: int = 23
    slot_bits: int = 14
    least: int = 3
    solid: int = 5
    label_share: float = 0.02
    strength: float = 25.0
    words: int = EVERY_WORD
    key: int = 0

    def __post_init__(self) -> None:
        for name in ("bits", "pair_bits", "slot_bits"):
            if not 6 <= getattr(self, name) <= 28:
                raise ValueError(f"{name} must be 6 to 28, got {getattr(self, name)}")
        if self.least < 2:
            raise ValueError(f"least must be 2 rows or more, got {self.least}: one row is no pattern")
        if not 0 < self.label_share < 1:
            raise ValueError(f"label_share must lie between 0 and 1, got {self.label_share}")


def summarize(rows: Corpus, scope: Scope, heard: Sequence[Tables]) -> dict[str, np.ndarray]:
    """A silo's counts in the next pass.

    Args:
        rows: Its rows.
        scope: What is counted.
        heard: The sums of the passes so far.
    """
    counts = uncounted(scope, heard)
    count(rows, scope, heard, counts)
    return counts


def _integers(bits: int) -> np.ndarray:
    return np.zeros(1 << bits, np.int32)


def uncounted(scope: Scope, heard: Sequence[Tables], table: NewTable = _integers) -> dict[str, Any]:
    """The tables of the next pass, in which nothing is counted yet.

    Args:
        scope: What is counted.
        heard: The sums of the passes so far.
        table: Makes a table of ``2^bits`` counters of features or pairs: of integers, which can be added up, or
            `Little` ones, where all silos lie in one place.
    """
    return (_no_features, _no_pairs, _no_checks)[len(heard)](scope, table)


def count(rows: Corpus, scope: Scope, heard: Sequence[Tables], onto: Tables) -> None:
    """Adds a silo's rows to the tables of the next pass.

    Args:
        rows: Its rows.
        scope: What is counted.
        heard: The sums of the passes so far.
        onto: From `uncounted`.
    """
    (_features, _pairs, _checks)[len(heard)](rows, scope, heard, onto)


def summed(summaries: Iterable[Tables]) -> dict[str, np.ndarray]:
    """The sum of silos' counts, which stay as they are."""
    total: dict[str, np.ndarray] = {}
    for number, tables in enumerate(summaries):
        for name, values in tables.items():
            if number < 2:  # the first is the silo's own, to which nothing may be added
                total[name] = total[name] + values if number else values
            else:
                total[name] += values
    return total


def pooled(summaries: Iterable[Tables], heard: Sequence[Tables]) -> dict[str, np.ndarray]:
    """The sum of silos' counts in a pass; the first warns where tables are too small for what was counted."""
    sums = summed(summaries)
    if not heard:
        warn_if_crowded(sums["inputs"], "bits")
    return sums


def told(sums: Tables, scope: Scope, heard: Sequence[Tables]) -> dict[str, Any]:
    """What silos hear of the sums of a pass: what the rest of the audit reads of them.

    Features, pairs and words of fewer rows than `Scope.least` are not told: the audit takes no notice of them, and
    whoever heard of them could look up whether somebody has a row.

    Args:
        sums: Of all silos, or of what was counted in one place.
        scope: What is counted.
        heard: What silos heard of the passes before.
    """
    names = (("inputs", "responses"), ("pairs",), ())[len(heard)]
    found = {**sums, **{name: _told(sums[name], scope.least, small=name == "pairs") for name in names}}
    if not heard:
        found |= {name: frequent(sums[name], scope.least) for name in ("common", "vocabulary")}
        found["answered"] = told_answers(sums["answered"], scope.least)
    if len(heard) == 1:
        found["labels"] = sums["labels"] * (heard[0]["vocabulary"] > 0)
        pairs = found["pairs"].counts if isinstance(found["pairs"], Short) else sums["pairs"]
        found["empty"] = np.array([np.count_nonzero(pairs == 0)])
    return found


def _told(counts: np.ndarray | Little, least: int, *, small: bool) -> Any:
    """What is heard of a table; of one that was counted in one place in little room, for small counts or for few."""
    if isinstance(counts, Little):
        return counts.short() if small else counts.sparse(least)
    return frequent(counts, least)


def frequent(counts: np.ndarray, least: int) -> np.ndarray:
    """The counts, with 0 in place of those below the least."""
    return np.asarray(counts * (counts >= least))


CROWDED = 0.2
"""Share of a table's counters that are taken, from which on collisions matter."""


def warn_if_crowded(counts: np.ndarray, name: str, most: float = CROWDED) -> None:
    """Warns where a table has too few counters for what was counted.

    Args:
        counts: The table's sums.
        name: What the user sets to make it larger.
        most: Share of its counters that may be taken.
    """
    taken = np.count_nonzero(counts) / len(counts)
    if taken > most:
        bits = (len(counts) - 1).bit_length()
        more = math.ceil(math.log2(-math.log1p(-min(taken, 1 - 1e-9)) / most))
        warnings.warn(
            f"{name}={bits} is small for these rows: {taken:.0%} of the counters are taken, so that counts of "
            f"different things fall together; use {name}={min(28, bits + more)}",
            stacklevel=2,
        )  # fmt: skip


class Gates(NamedTuple):
    """What the first pass says of all rows.

    Args:
        least: Fewest rows of a feature.
        rows: Rows of all silos.
        label_least: Fewest rows of a label.
    """

    least: int
    rows: int
    label_least: float


def gates(scope: Scope, first: Tables) -> Gates:
    """What the first pass says of all rows."""
    rows = int(first["size"][0])
    return Gates(scope.least, rows, max(20.0, scope.label_share * rows))


def _no_features(scope: Scope, table: NewTable) -> dict[str, Any]:
    inputs, responses = table(scope.bits), table(scope.bits)
    common, vocabulary = np.zeros(GRAM_BUCKETS, np.int64), np.zeros(LABEL_WORDS, np.int64)
    size, answered = np.zeros(2, np.int64), np.zeros((2, ANSWERED + LENGTHS), np.int64)
    tables = {"size": size, "inputs": inputs, "responses": responses, "common": common, "vocabulary": vocabulary}
    return tables | {"answered": answered}


def _no_pairs(scope: Scope, table: NewTable) -> dict[str, Any]:
    labels = np.zeros((LABELS, LABEL_WORDS), np.int32)
    return {"pairs": table(scope.pair_bits), "labels": labels, "label_rows": np.zeros(LABELS, np.int64)}


def _no_checks(scope: Scope, table: NewTable) -> dict[str, Any]:  # noqa: ARG001
    slots = slots_for(scope.slot_bits)
    return {"sums": np.zeros((slots, CHECKED), np.int64), "rest": np.zeros((slots, GRAM_BUCKETS), np.int32)}


def columns_of(rows: Corpus, scope: Scope) -> tuple[np.ndarray, ...]:
    """What kernels read of a silo's rows."""
    return rows.words, rows.bounds, rows.marks, rows.sources, *lexicon(scope.key)


def singles_of(scope: Scope, first: Tables) -> Singles:
    """What kernels read of the first pass."""
    inputs, responses = (_sparse(first[name], scope.least) for name in ("inputs", "responses"))
    content = first["common"] < FRAME * max(1, int(first["size"][0]))
    return Singles(scope.bits, inputs, responses, *gates(scope, first), scope.words, content)


def pairs_of(scope: Scope, second: Tables) -> Pairs:
    """What kernels read of the second pass."""
    counts = second["pairs"]
    short, large = counts if isinstance(counts, Short) else _kept(counts, FULL, _short)
    return Pairs(scope.pair_bits, short, large, scope.strength)


def _short(counts: np.ndarray) -> Short:
    return Short(shortened(counts), sparse(counts, FULL))


_known: list[tuple[weakref.ref[np.ndarray], int, Any]] = []
"""Tables, the least that counts, and what was made of them: all silos of a process hear the same few."""


def _sparse(counts: np.ndarray | Sparse, least: int) -> Sparse:
    if isinstance(counts, Sparse):
        return counts
    made: Sparse = _kept(counts, least, lambda table: sparse(table, least))
    return made


def _kept(counts: np.ndarray, least: int, make: Callable[[np.ndarray], Any]) -> Any:
    for table, what, known in _known:
        if table() is counts and what == least:
            return known
    made = make(counts)
    _known[:] = [(weakref.ref(counts), least, made), *(one for one in _known if one[0]() is not None)][:4]
    return made


def _features(rows: Corpus, scope: Scope, heard: Sequence[Tables], tables: Tables) -> None:  # noqa: ARG001
    tables["size"][:] += len(rows), 1
    inputs, responses = tables["inputs"], tables["responses"]
    counted = _counters(inputs), _counters(responses), tables["common"], tables["vocabulary"]
    count_answers(rows.words, rows.bounds, tables["answered"])
    again = count_features(*columns_of(rows, scope), scope.bits, scope.words, *counted)
    for table, places in zip((inputs, responses), again, strict=True):
        if isinstance(table, Little):
            table.note(places)


def _pairs(rows: Corpus, scope: Scope, heard: Sequence[Tables], tables: Tables) -> None:
    singles = singles_of(scope, heard[0])
    counted = _counters(tables["pairs"]), tables["labels"], tables["label_rows"]
    again = count_pairs(*columns_of(rows, scope), singles, scope.pair_bits, *counted)
    if isinstance(tables["pairs"], Little):
        tables["pairs"].note(again)


def _counters(table: np.ndarray | Little) -> np.ndarray:
    return table.counts if isinstance(table, Little) else table


def _checks(rows: Corpus, scope: Scope, heard: Sequence[Tables], tables: Tables) -> None:
    first, second = heard
    sums, before = tables["sums"], tables["sums"][:, ROWS].copy()
    check_pairs(
        *columns_of(rows, scope), singles_of(scope, first), pairs_of(scope, second), second["labels"],
        second["label_rows"], first["vocabulary"], scope.solid, scope.slot_bits, sums, tables["rest"],
    )  # fmt: skip
    sums[:, OF_SILOS] += of_silo(sums[:, ROWS] - before, len(rows))


def of_silo(some: Int[np.ndarray, "sets"], rows: int) -> Int[np.ndarray, "sets"]:
    """Those of a silo's rows that nearly all of them are, and 0 for other sets of them and of silos of few rows."""
    return np.where(some >= max(_ALL_OF_SILO * rows, _SILO), some, 0)
