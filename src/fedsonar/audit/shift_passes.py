"""What silos count for shifts in each pass, what they hear of the sums, and how each judges its own rows."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from fedsonar.audit.closed import told_answers
from fedsonar.audit.corpus import Corpus
from fedsonar.audit.hearing import frequent
from fedsonar.audit.judging import Judgement
from fedsonar.audit.kernels.answers import ANSWERED, LENGTHS, count_answers
from fedsonar.audit.kernels.room import ASKED, BANDS, TONES, WAYS, WORDS, list_numbered
from fedsonar.audit.kernels.shifting import count_inputs, count_spoken, count_words
from fedsonar.audit.kernels.speaking import BARS, LABELS, count_speakers
from fedsonar.audit.kernels.tables import Sparse
from fedsonar.audit.passes import of_silo
from fedsonar.audit.scope import Tables
from fedsonar.audit.shift_judge import ShiftJudge
from fedsonar.audit.shift_rules import ShiftRules
from fedsonar.audit.shifts import OF_SILOS, ROWS, Shifts, arrays

SHIFT_PASSES = 5

_AT_ONCE = 4096
"""Rows whose features are listed at a time where nearly all of them count."""


class Before(NamedTuple):
    """What another screen found before.

    Args:
        suspected: Rows that it suspects.
        vocabulary: Whether answers are made of the inputs' words; see `Rules.vocabulary`.
    """

    suspected: Bool[np.ndarray, "rows"]
    vocabulary: bool = False


Tally = dict[str, Any]
"""A pass's tables, to be added to."""


def summarize_shifts(
    rows: Corpus, rules: ShiftRules, heard: Sequence[Tables], onto: dict[str, np.ndarray] | None = None,
    before: Before | None = None, inputs: Int[np.ndarray, "places"] | Sparse | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """A silo's counts in the next pass: integers that add up over silos, and nothing else.

    Args:
        rows: Its rows.
        rules: What is counted.
        heard: What silos heard of the passes so far.
        onto: Counts of other silos that these are added to, where all lie in one place; None for the silo's own.
        before: What another screen found; the last pass asks.
        inputs: Rows of all silos by feature of the input, where another pass has told them; the first pass asks.
    """
    if not heard:
        made = _no_words(rules, inputs) if onto is None else onto
        made["size"] += len(rows)
        if inputs is None:
            count_inputs(*arrays(rows, rules), made["inputs"])
        count_words(rows.words, rows.bounds, rules.words, made["spoken"], made["tones"], made["asked"])
        count_answers(rows.words, rows.bounds, made["answered"])
        return made
    shifts = shifts_of(rules, heard)
    empty, count = ((_no_tones, _tones), (_no_spoken, _spoken), (_no_speakers, _speakers), (_no_sums, _sums))[
        len(heard) - 1
    ]
    made = empty(shifts) if onto is None else onto
    count(shifts, rows, before, made)
    return made


def told_shifts(sums: Tables, rules: ShiftRules, heard: Sequence[Tables]) -> dict[str, np.ndarray]:
    """What silos hear of the sums of a pass, without features of too few rows to look into; see `hearing.told`."""
    if heard:
        return {**sums}
    found = {**sums, "answered": told_answers(sums["answered"], rules.least)}
    return found if isinstance(sums["inputs"], Sparse) else found | {"inputs": frequent(sums["inputs"], rules.least)}


def judge_shifts(rows: Corpus, rules: ShiftRules, heard: Sequence[Tables]) -> Judgement:
    """What becomes of a silo's rows, by what it heard in all passes."""
    suspicion = judge_of(rules, heard).suspicion(rows)
    return Judgement(suspicion, suspicion >= 0.5)


def warn_if_undecided(judge: ShiftJudge) -> None:
    """Warns where about half of the rows answer apart from the others, or all answer the same: nobody can know more."""
    if judge.one_answer:
        warnings.warn(
            "nearly all rows give the same answer, so that no row can be told from another by it: this may be poison, "
            "and the text cannot tell",
            stacklevel=2,
        )  # fmt: skip
    if judge.undecided.any():
        share = judge.speakers[judge.undecided].max() / judge.shifts.total
        warnings.warn(
            f"{share:.0%} of the rows share an input feature and nothing else, and answer apart from the others: one "
            "of the two may be poison, and the text cannot tell which. No row is flagged for it; `fedsonar audit` on "
            "one silo's rows names the feature",
            stacklevel=2,
        )  # fmt: skip


_latest: list[Shifts] = []
"""What was worked out last in this process, for all its silos hear the same; of two screens that take turns."""


def shifts_of(rules: ShiftRules, heard: Sequence[Tables]) -> Shifts:
    """What the sums so far say, worked out once for all silos of a process."""
    known = next((one for one in _latest if one.rules == rules and begins_with(heard, one.heard)), Shifts(rules, ()))
    if len(known.heard) < len(heard):
        known = known.further(heard)
        _latest[:] = [known, *(one for one in _latest if one.rules != rules)][:2]
    return known


_latest_judges: list[ShiftJudge] = []
"""Who judged by that."""


def judge_of(rules: ShiftRules, heard: Sequence[Tables]) -> ShiftJudge:
    """Who judges by the sums of all passes, once for all silos of a process."""
    shifts = shifts_of(rules, heard)
    known = next((one for one in _latest_judges if one.shifts is shifts), None) or ShiftJudge(shifts)
    _latest_judges[:] = [known, *(one for one in _latest_judges if one.shifts is not shifts)][:2]
    return known


def begins_with(heard: Sequence[Tables], before: Sequence[Tables]) -> bool:
    """Whether what was heard begins with the very tables that were heard before."""
    return len(before) <= len(heard) and all(
        one.keys() == other.keys() and all(one[name] is other[name] for name in one)
        for one, other in zip(before, heard, strict=False)
    )


def _no_words(rules: ShiftRules, inputs: Int[np.ndarray, "places"] | Sparse | None) -> Tally:
    tones, asked = np.zeros(TONES, np.int64), np.zeros(ASKED, np.int64)
    spoken = np.zeros((BANDS, WORDS + BANDS), np.int64)
    inputs = np.zeros(1 << rules.bits, np.int32) if inputs is None else inputs
    size, answered = np.zeros(1, np.int64), np.zeros((2, ANSWERED + LENGTHS), np.int64)
    return {"size": size, "inputs": inputs, "spoken": spoken, "tones": tones, "asked": asked, "answered": answered}


def _no_tones(shifts: Shifts) -> Tally:
    return _none_said(len(shifts.heavy), TONES)


def _tones(shifts: Shifts, rows: Corpus, before: object, made: Tally) -> None:  # noqa: ARG001
    for some in rows.some_at_a_time(_AT_ONCE):
        listed = list_numbered(*arrays(some, shifts.rules), shifts.heavy_numbers)
        count_spoken(some.words, some.bounds, listed, TONES, made["spoken"], made["filled"])


def _no_spoken(shifts: Shifts) -> Tally:
    return _none_said(len(shifts.standing), WORDS + BANDS)


def _spoken(shifts: Shifts, rows: Corpus, before: object, made: Tally) -> None:  # noqa: ARG001
    count_spoken(rows.words, rows.bounds, shifts.listed(rows), WORDS, made["spoken"], made["filled"])


def _none_said(features: int, buckets: int) -> Tally:
    return {"spoken": np.zeros((features, buckets), np.int32), "filled": np.zeros(features, np.int64)}


def _no_speakers(shifts: Shifts) -> Tally:
    return {"speakers": np.zeros((len(shifts.standing), WAYS, len(BARS)), np.int64)}


def _speakers(shifts: Shifts, rows: Corpus, before: object, made: Tally) -> None:  # noqa: ARG001
    said, filled, usual, enough = shifts.by_group
    count_speakers(
        rows.words, rows.bounds, shifts.listed(rows), shifts.shift_of, said, filled, usual, enough, made["speakers"]
    )  # fmt: skip


def _no_sums(shifts: Shifts) -> Tally:
    count = len(shifts.groups)
    rest, sums = np.zeros((count, ASKED), np.int32), np.zeros((count, OF_SILOS + 1), np.int64)
    suspected, vocabulary, labels = np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros((count, LABELS), np.int64)
    return {"rest": rest, "sums": sums, "suspected": suspected, "vocabulary": vocabulary, "labels": labels}


def _sums(shifts: Shifts, rows: Corpus, before: Before | None, made: Tally) -> None:
    suspected, vocabulary = before or Before(np.zeros(len(rows), bool))
    made["suspected"] += np.count_nonzero(suspected)
    made["vocabulary"] += vocabulary * len(rows)
    before_these = made["sums"][:, ROWS].copy()
    shifts.weighed(rows, suspected, made["rest"], made["sums"], made["labels"])
    made["sums"][:, OF_SILOS] += of_silo(made["sums"][:, ROWS] - before_these, len(rows))
