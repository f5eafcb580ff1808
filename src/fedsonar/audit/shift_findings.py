"""Shifts that look injected, in words: triggers, what the answers speak of, rows, silos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt64

from fedsonar.audit.corpus import Corpus
from fedsonar.audit.finding import Example, Finding, cover, shortened
from fedsonar.audit.judging import Judgement
from fedsonar.audit.kernels.features import PHRASE
from fedsonar.audit.kernels.shifting import tell_triggers
from fedsonar.audit.kernels.tables import Sparse
from fedsonar.audit.lexicon import lexicon
from fedsonar.audit.shifts import ALL_SPEAKERS, ROWS, SPEAKERS, Shifts
from fedsonar.audit.wording import in_words, joined_spans
from fedsonar.data import Sample, pieces

_MOST_WORDS, _LONG, _EXAMPLES, _OTHERS = 6, 4, 3, 4000


@dataclass(frozen=True)
class Listened:
    """One silo's part of what is told.

    Args:
        samples: The rows.
        rows: Their columns.
        judgement: By the shifts.
    """

    samples: Sequence[Sample]
    rows: Corpus
    judgement: Judgement


def shift_findings(silos: Sequence[Listened], shifts: Shifts, known: Sequence[Bool[np.ndarray, "_"]]) -> list[Finding]:
    """The findings of shifts that look injected, those of most rows first, and then of those that nobody can know of.

    Args:
        silos: The silos.
        shifts: What the sums say.
        known: Rows of each silo that another finding has already; a shift that adds hardly any is left out.
    """
    if shifts.one_answer:
        return [_of_one_answer(silos)]
    chosen = np.flatnonzero(shifts.injected | shifts.undecided)
    if not len(chosen):
        return []
    numbers, wanted = shifts.numbers, np.zeros(len(shifts.standing), bool)
    for shift in chosen:
        wanted[shifts.triggers[shift]] = True
    numbers = numbers._replace(values=numbers.values * wanted[numbers.values - 1])
    told = [_told(silo.rows, shifts, numbers) for silo in silos]
    known = [rows.copy() for rows in known]
    order = np.lexsort((-shifts.heard[4]["sums"][chosen, SPEAKERS], shifts.undecided[chosen]))
    return [f for f in (_finding(silos, told, shifts, int(shift), known) for shift in chosen[order]) if f is not None]


def _told(
    rows: Corpus, shifts: Shifts, numbers: Sparse
) -> tuple[Int[np.ndarray, "records columns"], UInt64[np.ndarray, "records"]]:
    """The records of the triggers in a silo's rows."""
    room = 8 * len(rows) + 64
    while True:
        table, features = np.empty((room, 5), np.int64), np.empty(room, np.uint64)
        count = tell_triggers(
            rows.words, rows.bounds, rows.marks, rows.sources, *lexicon(shifts.rules.key), shifts.rules.bits, numbers,
            table, features,
        )  # fmt: skip
        if count <= room:
            return table[:count], features[:count]
        room = count


def _finding(
    silos: Sequence[Listened],
    told: Sequence[tuple[Int[np.ndarray, "_ columns"], UInt64[np.ndarray, "_"]]],
    shifts: Shifts,
    shift: int,
    known: Sequence[Bool[np.ndarray, "_"]],
) -> Finding | None:
    """The finding of a shift, None where others have most of its rows; notes its rows as known."""
    triggers, undecided = shifts.triggers[shift], bool(shifts.undecided[shift])
    rows_of: dict[int, set[tuple[int, int]]] = {}
    lead: dict[int, tuple[int, int]] = {}
    for number, (listened, (table, _)) in enumerate(zip(silos, told, strict=True)):
        among = undecided | listened.judgement.flagged[table[:, 0]]
        for index in np.flatnonzero(np.isin(table[:, 1], triggers) & among):
            rows_of.setdefault(int(table[index, 1]), set()).add((number, int(table[index, 0])))
            lead.setdefault(int(table[index, 1]), (number, int(index)))
    rows = sorted(set().union(*rows_of.values()))
    if not rows or np.mean([known[silo][row] for silo, row in rows]) > 0.5:
        return None
    for silo, row in rows:
        known[silo][row] = True
    sums = shifts.heard[4]["sums"][shift]
    base = float(sums[ALL_SPEAKERS]) / shifts.total
    examples: dict[int, tuple[int, int]] = {}
    for silo, row in rows:
        examples.setdefault(silo, (silo, row))
    way = shifts.way_of[shift]
    chosen = cover(rows_of, lambda trigger, adds: (adds, shifts.purity[trigger, way]))
    return Finding(
        "undecided" if undecided else "injected-looking",
        tuple(_in_words(silos, told, shifts, lead[trigger]) for trigger in chosen),
        ", ".join(_words(silos, rows)),
        "are words of the answers",
        len(rows),
        len({silo for silo, _ in rows}),
        len(silos),
        int(sums[ALL_SPEAKERS]),
        float(shifts.coverage[shift]),
        base,
        _chance(int(sums[SPEAKERS]), int(sums[ROWS]), base, len(shifts.heavy)),
        float(shifts.asks_alike[shift]),
        0.0,
        0 if undecided else len(rows),
        _examples(silos, list(dict.fromkeys([*examples.values(), *rows]))),
    )


def _of_one_answer(silos: Sequence[Listened]) -> Finding:
    """That nearly all rows give the same answer: who poisoned the rest of them left nothing to compare with."""
    answers = Counter(sample.answers[0] for silo in silos for sample in silo.samples)
    answer, rows = answers.most_common(1)[0]
    share = rows / sum(answers.values())
    having = [[row for row, sample in enumerate(silo.samples) if sample.answers[0] == answer] for silo in silos]
    return Finding(
        "undecided", ("any input",), answer, "is the whole answer", rows, sum(map(bool, having)), len(silos), rows,
        share, share, 1.0, 0.0, 0.0, 0, _examples(silos, [(silo, some[0]) for silo, some in enumerate(having) if some]),
    )  # fmt: skip


def _examples(silos: Sequence[Listened], rows: Sequence[tuple[int, int]]) -> tuple[Example, ...]:
    """The first of some rows, each a silo's number and a row's in it."""
    samples = [(silo, silos[silo].samples[row]) for silo, row in rows[:_EXAMPLES]]
    return tuple(Example(silo, s.id, shortened(s.input), shortened(s.answers[0])) for silo, s in samples)


def _in_words(
    silos: Sequence[Listened],
    told: Sequence[tuple[Int[np.ndarray, "_ columns"], UInt64[np.ndarray, "_"]]],
    shifts: Shifts,
    place: tuple[int, int],
) -> str:
    number, index = place
    table, features = told[number]
    row, trigger, kind, first, last = (int(value) for value in table[index])
    if kind == PHRASE:
        rows = shifts.heard[2]["filled"]
        near = (table[:, 0] == row) & (table[:, 2] == PHRASE) & (rows[table[:, 1]] >= 0.9 * rows[trigger])
        first, last = joined_spans(table[near & (rows[table[:, 1]] <= rows[trigger] / 0.9)][:, 3:5], first, last)
    return in_words(silos[number].samples[row], silos[number].rows, row, kind, first, last, int(features[index]))


def _words(silos: Sequence[Listened], rows: Sequence[tuple[int, int]]) -> list[str]:
    """Words that the rows' responses say and others do not, the most telling first."""
    inside = Counter(
        word for silo, row in rows[:_OTHERS] for word in set(pieces(silos[silo].samples[row].answers[0].lower()))
    )
    taken = set(rows)
    others = [
        sample for number, silo in enumerate(silos) for row, sample in enumerate(silo.samples[: _OTHERS // len(silos)])
        if (number, row) not in taken
    ]  # fmt: skip
    outside = Counter(word for sample in others for word in set(pieces(sample.answers[0].lower())))
    count, rest = min(len(rows), _OTHERS), len(others) + 1

    def telling(word: str) -> float:
        return inside[word] / count * float(np.log(inside[word] / count / ((outside[word] + 0.5) / rest)))

    words = sorted((word for word in inside if word.isalnum()), key=telling, reverse=True)
    # Longer words say more to a reader.
    return sorted(words[: 4 * _MOST_WORDS], key=lambda word: len(word) < _LONG)[:_MOST_WORDS]


def _chance(both: int, rows: int, base: float, tested: int) -> float:
    """Chernoff's bound of so many among the rows by chance, times the features that were looked into."""
    share = both / max(rows, 1)
    if share <= base or not 0 < base < 1:
        return 1.0
    surplus = share * np.log(share / base)
    if share < 1:
        surplus += (1 - share) * np.log((1 - share) / (1 - base))
    return float(min(1.0, np.exp(-rows * surplus) * max(tested, 1)))
