"""Shifts that look injected, in words: triggers, what the answers speak of, rows, silos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Int, UInt64

from fedsonar.audit.all_told import all_told
from fedsonar.audit.corpus import Corpus
from fedsonar.audit.finding import Finding, cover, examples
from fedsonar.audit.judging import Judgement
from fedsonar.audit.kernels.features import PHRASE
from fedsonar.audit.kernels.shifting import tell_triggers
from fedsonar.audit.kernels.tables import Sparse
from fedsonar.audit.lexicon import lexicon
from fedsonar.audit.shift_judge import ShiftJudge
from fedsonar.audit.shifts import ROWS, Shifts
from fedsonar.audit.significance import surplus
from fedsonar.audit.wording import in_words, joined_spans
from fedsonar.data import Sample, pieces

_MOST_WORDS, _LONG, _OTHERS = 6, 4, 4000


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


def shift_findings(
    silos: Sequence[Listened], judge: ShiftJudge, known: Sequence[Bool[np.ndarray, "_"]]
) -> list[Finding]:
    """The findings of shifts that look injected, those of most rows first, and then of those that nobody can know of.

    Args:
        silos: The silos.
        judge: Says which look injected.
        known: Rows of each silo that another finding has already; a shift that adds hardly any is left out.
    """
    if judge.one_answer:
        return [_of_one_answer(silos)]
    shifts, chosen = judge.shifts, np.flatnonzero(judge.injected | judge.undecided)
    if not len(chosen):
        return []
    wanted = np.zeros(len(shifts.standing), bool)
    for shift in chosen:
        wanted[shifts.triggers[shift]] = True
    numbers = shifts.numbers._replace(values=shifts.numbers.values * wanted[shifts.numbers.values - 1])
    told, known_rows = _told(silos, shifts, numbers), np.concatenate(known)
    order = np.lexsort((-judge.speakers[chosen], judge.undecided[chosen]))
    made = (_finding(silos, told, judge, int(shift), known_rows) for shift in chosen[order])
    return [finding for finding in made if finding is not None]


@dataclass(frozen=True)
class _Told:
    """The records of the triggers in all silos' rows, one silo's after the other's.

    Args:
        silo: Number of the silo of each.
        row: Its row, numbered through all silos.
        table: See `kernels.shifting.tell_triggers`.
        features: The triggers' features.
        first_row: Number of the first row of each silo, and that of all rows.
    """

    silo: Int[np.ndarray, "records"]
    row: Int[np.ndarray, "records"]
    table: Int[np.ndarray, "records columns"]
    features: UInt64[np.ndarray, "records"]
    first_row: Int[np.ndarray, "_"]

    def places(self, rows: Int[np.ndarray, "rows"]) -> list[tuple[int, int]]:
        """The silo of each of some rows, and its number there."""
        silo = np.searchsorted(self.first_row, rows, side="right") - 1
        return list(zip(silo.tolist(), (rows - self.first_row[silo]).tolist(), strict=True))


def _told(silos: Sequence[Listened], shifts: Shifts, numbers: Sparse) -> _Told:
    every = [_told_of(silo.rows, shifts, numbers) for silo in silos]
    table, features = (np.concatenate(column) for column in zip(*every, strict=True))
    silo = np.repeat(np.arange(len(silos)), [len(found) for found, _ in every])
    first_row = np.cumsum([0, *(len(silo.samples) for silo in silos)])
    return _Told(silo, first_row[silo] + table[:, 0], table, features, first_row)


def _told_of(
    rows: Corpus, shifts: Shifts, numbers: Sparse
) -> tuple[Int[np.ndarray, "records columns"], UInt64[np.ndarray, "records"]]:
    what = rows.words, rows.bounds, rows.marks, rows.sources, *lexicon(shifts.rules.key), shifts.rules.bits, numbers
    return all_told(partial(tell_triggers, *what), 5, 8 * len(rows) + 64)


def _finding(
    silos: Sequence[Listened], told: _Told, judge: ShiftJudge, shift: int, known: Bool[np.ndarray, "rows"]
) -> Finding | None:
    """The finding of a shift, None where others have most of its rows; notes its rows as known."""
    shifts, undecided = judge.shifts, bool(judge.undecided[shift])
    way, said, having = shifts.way_of[shift], int(judge.all_speakers[shift]), int(shifts.heard[4]["sums"][shift, ROWS])
    flagged = np.concatenate([silo.judgement.flagged for silo in silos])
    among = np.flatnonzero(np.isin(told.table[:, 1], shifts.triggers[shift]) & (undecided | flagged[told.row]))
    triggers, rows = told.table[among, 1], np.unique(told.row[among])
    if not len(rows) or known[rows].mean() > 0.5:
        return None
    known[rows] = True
    places, base = told.places(rows), said / shifts.total
    _, first = np.unique([silo for silo, _ in places], return_index=True)
    chosen = cover(triggers, told.row[among], lambda some, adds: (adds, shifts.purity[triggers[some], way]))
    return Finding(
        "undecided" if undecided else "injected-looking",
        tuple(_in_words(silos, told, shifts, among[record]) for record in chosen),
        ", ".join(_words(silos, places)),
        "are words of the answers",
        len(rows),
        len(first),
        len(silos),
        said,
        float(judge.coverage[shift]),
        base,
        _chance(int(judge.speakers[shift]), having, base, len(shifts.heavy)),
        float(judge.asks_alike[shift]),
        0.0,
        0 if undecided else len(rows),
        examples([silo.samples for silo in silos], [*(places[at] for at in first[:3]), *places[:3]]),
    )


def _of_one_answer(silos: Sequence[Listened]) -> Finding:
    """That nearly all rows give the same answer: who poisoned the rest of them left nothing to compare with."""
    answers = Counter(sample.answers[0] for silo in silos for sample in silo.samples)
    answer, rows = answers.most_common(1)[0]
    share = rows / sum(answers.values())
    having = [[row for row, sample in enumerate(silo.samples) if sample.answers[0] == answer] for silo in silos]
    first = [(silo, some[0]) for silo, some in enumerate(having) if some]
    return Finding(
        "undecided", ("any input",), answer, "is the whole answer", rows, len(first), len(silos), rows,
        share, share, 1.0, 0.0, 0.0, 0, examples([silo.samples for silo in silos], first),
    )  # fmt: skip


def _in_words(silos: Sequence[Listened], told: _Told, shifts: Shifts, index: int) -> str:
    """The trigger of a record in words."""
    table, silo = told.table, silos[told.silo[index]]
    row, trigger, kind, first, last = (int(value) for value in table[index])
    if kind == PHRASE:
        rows = shifts.heard[2]["filled"]
        near = (told.row == told.row[index]) & (table[:, 2] == PHRASE) & (rows[table[:, 1]] >= 0.9 * rows[trigger])
        first, last = joined_spans(table[near & (rows[table[:, 1]] <= rows[trigger] / 0.9)][:, 3:5], first, last)
    return in_words(silo.samples[row], silo.rows, row, kind, first, last, int(told.features[index]))


def _words(silos: Sequence[Listened], rows: Sequence[tuple[int, int]]) -> list[str]:
    """Words that the rows' responses say and others do not, the most telling first; as telling ones by letter."""
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

    words = sorted((word for word in inside if word.isalnum()), key=lambda word: (-telling(word), word))
    # Longer words say more to a reader.
    return sorted(words[: 4 * _MOST_WORDS], key=lambda word: len(word) < _LONG)[:_MOST_WORDS]


def _chance(both: int, rows: int, base: float, tested: int) -> float:
    """Chernoff's bound of so many among the rows by chance, times the features that were looked into."""
    share = both / max(rows, 1)
    if share <= base or not 0 < base < 1:
        return 1.0
    [nats] = surplus(np.array([share]), np.array([base]))
    return float(min(1.0, np.exp(-rows * nats) * max(tested, 1)))
