"""What silos count for shifts in each pass, what they hear of the sums, and how each judges its own rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from fedsonar.audit.corpus import Corpus
from fedsonar.audit.judging import Judgement
from fedsonar.audit.kernels.shifting import (
    ASKED,
    BANDS,
    NEVER,
    TONES,
    WORDS,
    count_speakers,
    count_spoken,
    count_words,
)
from fedsonar.audit.passes import Tables, frequent
from fedsonar.audit.shifts import CONCEALED, ShiftRules, Shifts, arrays

SHIFT_PASSES = 5
Tally = dict[str, np.ndarray]
"""A pass's tables, to be added to."""


def summarize_shifts(
    rows: Corpus, rules: ShiftRules, heard: Sequence[Tables], onto: dict[str, np.ndarray] | None = None,
    suspected: Bool[np.ndarray, "rows"] | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """A silo's counts in the next pass: integers that add up over silos, and nothing else.

    Args:
        rows: Its rows.
        rules: What is counted.
        heard: What silos heard of the passes so far.
        onto: Counts of other silos that these are added to, where all lie in one place; None for the silo's own.
        suspected: Rows that are suspected already, for another reason; the last pass asks.
    """
    if not heard:
        made = _no_words(rules) if onto is None else onto
        made["size"] += len(rows)
        count_words(*arrays(rows, rules), made["inputs"], made["spoken"], made["tones"], made["asked"])
        return made
    shifts = shifts_of(rules, heard)
    empty, count = ((_no_tones, _tones), (_no_spoken, _spoken), (_no_speakers, _speakers), (_no_sums, _sums))[
        len(heard) - 1
    ]
    made = empty(shifts) if onto is None else onto
    count(shifts, rows, suspected, made)
    return made


def told_shifts(sums: Tables, rules: ShiftRules, heard: Sequence[Tables]) -> dict[str, np.ndarray]:
    """What silos hear of the sums of a pass, without features of fewer rows than are looked into; see `passes.told`."""
    return {**sums} if heard else {**sums, "inputs": frequent(sums["inputs"], rules.least)}


def judge_shifts(rows: Corpus, rules: ShiftRules, heard: Sequence[Tables]) -> Judgement:
    """What becomes of a silo's rows, by what it heard in all passes."""
    shifts = shifts_of(rules, heard)
    odds, surest = shifts.weighed(rows, None, **_no_sums(shifts))
    if not odds.shape[1]:
        return Judgement(np.zeros(len(rows)), np.zeros(len(rows), bool))
    has = surest > NEVER / 2
    with np.errstate(over="ignore"):
        chance = np.where(has, 1 / (1 + np.exp(-(odds + np.where(has, surest, 0.0)).astype(np.float64))), 0.0)
    apart = 1 / (1 + np.maximum(0.0, shifts.asks_alike) / rules.likeness)
    strength = shifts.coverage * shifts.two_sided * apart
    taken = shifts.injected & (chance > 0.5)
    suspicion = np.where(taken, 0.5 + 0.499 * chance, 0.499 * chance * strength).max(axis=1)
    return Judgement(suspicion, suspicion >= 0.5)


_last: list[Shifts] = []
"""What was worked out last in this process: all its silos hear the same."""


def shifts_of(rules: ShiftRules, heard: Sequence[Tables]) -> Shifts:
    """What the sums so far say, worked out once for all silos of a process."""
    same = bool(_last) and _last[0].rules == rules and len(_last[0].heard) == len(heard)
    if not (same and all(one is other for one, other in zip(_last[0].heard, heard, strict=True))):
        _last[:] = [Shifts(rules, tuple(heard))]
    return _last[0]


def _no_words(rules: ShiftRules) -> Tally:
    spoken, tones, asked = np.zeros(WORDS + BANDS, np.int64), np.zeros(TONES, np.int64), np.zeros(ASKED, np.int64)
    inputs = np.zeros(1 << rules.bits, np.int32)
    return {"size": np.zeros(1, np.int64), "inputs": inputs, "spoken": spoken, "tones": tones, "asked": asked}


def _no_tones(shifts: Shifts) -> Tally:
    return _none_said(len(shifts.heavy), TONES)


def _tones(shifts: Shifts, rows: Corpus, suspected: object, made: Tally) -> None:  # noqa: ARG001
    count_spoken(*arrays(rows, shifts.rules), shifts.heavy_numbers, TONES, made["spoken"], made["filled"])


def _no_spoken(shifts: Shifts) -> Tally:
    return _none_said(len(shifts.standing), WORDS + BANDS)


def _spoken(shifts: Shifts, rows: Corpus, suspected: object, made: Tally) -> None:  # noqa: ARG001
    count_spoken(*arrays(rows, shifts.rules), shifts.numbers, WORDS, made["spoken"], made["filled"])


def _none_said(features: int, buckets: int) -> Tally:
    return {"spoken": np.zeros((features, buckets), np.int32), "filled": np.zeros(features, np.int64)}


def _no_speakers(shifts: Shifts) -> Tally:
    return {"speakers": np.zeros(len(shifts.standing), np.int64)}


def _speakers(shifts: Shifts, rows: Corpus, suspected: object, made: Tally) -> None:  # noqa: ARG001
    said, filled, enough = shifts.by_group
    count_speakers(
        *arrays(rows, shifts.rules), shifts.numbers, shifts.shift_of, said, filled, shifts.heard[0]["spoken"],
        shifts.total, enough, made["speakers"],
    )  # fmt: skip


def _no_sums(shifts: Shifts) -> Tally:
    count = len(shifts.groups)
    return {"rest": np.zeros((count, ASKED), np.int32), "sums": np.zeros((count, CONCEALED + 1), np.int64)}


def _sums(shifts: Shifts, rows: Corpus, suspected: Bool[np.ndarray, "rows"] | None, made: Tally) -> None:
    shifts.weighed(rows, suspected, made["rest"], made["sums"])
