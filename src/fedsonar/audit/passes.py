"""What silos count in each pass, and in tables of what size: integers that add up over silos, and nothing else."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from fedsonar.audit.corpus import Corpus
from fedsonar.audit.hearing import columns_of, pairs_of, singles_of
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
from fedsonar.audit.kernels.tables import slots_for
from fedsonar.audit.little import Little
from fedsonar.audit.scope import Scope, Tables

_ALL_OF_SILO, _SILO = 0.9, 20
"""Share of a silo's rows that are nearly all of them, and the rows it must have for that to say something."""

NewTable = Callable[[int], Any]
PASSES = 3


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
