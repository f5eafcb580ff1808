"""What an audit found, in words: triggers, target, rows, silos, and what it looks like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from fedsonar.audit.evidence import Evidence
from fedsonar.audit.finding import Example, Finding, Verdict, cover, examples
from fedsonar.audit.groups import AllRecords, Told, grouped
from fedsonar.audit.kernels import features as kinds
from fedsonar.audit.kernels import telling
from fedsonar.audit.kernels.responses import BRIEF, WAY, WHOLE
from fedsonar.audit.kernels.ways import WAYS
from fedsonar.audit.significance import adjusted_of
from fedsonar.audit.wording import in_way, in_words, joined_spans, part_of

_STRONG = 0.5
"""Strength from which on a pair that is all of a silo's rows is worth a question to whoever has that silo."""
_FEWEST = 3
"""Rows of a finding that is no reason to worry, at least: of the others, longer phrases than its target say as much."""

_PART = 0.5
"""Share of a finding's rows from which on it is part of what they leave for."""


def findings(told: Sequence[Told], evidence: Evidence, total: int, label_least: float) -> list[Finding]:
    """The findings in the silos' records, injected-looking ones first, then the strongest.

    Args:
        told: The silos.
        evidence: Of all slots.
        total: Rows of all silos.
        label_least: Fewest rows of a whole response that is a label.
    """
    if not told:
        return []
    every = AllRecords(told)
    flagged, made = np.zeros(every.first_row[-1], bool), []
    flagged[every.row[every.injected]] = True
    for groups in grouped(every):
        # What mostly flagged rows have besides is part of what they are flagged for.
        rows = np.unique(np.concatenate([every.row[members] for members in groups]))
        if not any(every.injected[members].any() for members in groups) and flagged[rows].mean() > _PART:
            continue
        part = _Part(told, evidence, total, label_least, every, groups)
        if finding := part.finding():
            made.append((not part.injected.any(), -float(part.strength.max()), finding))
    return [finding for *_, finding in sorted(made, key=lambda item: item[:2])]


class _Part:
    """The records of one finding."""

    def __init__(
        self, told: Sequence[Told], evidence: Evidence, total: int, label_least: float, every: AllRecords,
        groups: Sequence[Int[np.ndarray, "_"]],
    ) -> None:  # fmt: skip
        self.told, self.evidence, self.total, self.label_least = told, evidence, total, label_least
        records = every.some(groups)
        self.table, self.triggers, self.targets = records.table, records.triggers, records.targets
        self.injected, self.strength = records.injected, records.strength
        self.row = np.concatenate([every.row[members] for members in groups])
        self.silo = np.searchsorted(every.first_row, self.row, side="right") - 1

    def finding(self) -> Finding | None:
        """The finding; None if no pair is left."""
        pairs = self.table[:, telling.PAIR] >= 0
        if not pairs.any():
            return None
        # The target in words rather than a way of writing: of the best pairs, the longest; or the signs it ends in.
        words, signs = self.table[:, telling.WORDS], self.table[:, telling.BEGIN] == WAY - WAYS
        score = self.strength + 1.0 * self.injected + 0.1 * (words > 0) + 1e-3 * np.minimum(words, 8) + 1e-4 * signs
        best = int(np.argmax(np.where(pairs, score, -1)))
        same = self.targets == self.targets[best]
        used = pairs & (same | self.injected) & (self.injected | ~self.injected.any())
        if not used.any():  # rows with the target alone are injected, and their pair's counts fell together
            used = pairs & same
        rows = np.unique(self.row[used])
        if len(rows) < _FEWEST and not self.injected.any():
            return None
        chosen = self._cover(np.flatnonzero(used & same) if (used & same).any() else np.flatnonzero(used))
        lead = chosen[0]
        dropped = np.unique(self.row[self.injected])
        slot = self.table[lead, telling.PAIR]
        label = self.table[best, telling.BEGIN] == WHOLE and self.table[best, telling.TARGET_ROWS] >= self.label_least
        target = self.table[best, telling.TARGET]
        likeness = float(self.evidence.likeness[slot])
        if not label and self.evidence.rows[target] > 1:
            likeness = min(likeness, float(self.evidence.likeness[target]))
        confidence = self.table[lead, telling.BOTH] / max(1, self.table[lead, telling.TRIGGER_ROWS])
        return Finding(
            self._verdict(lead, best, label=bool(label)),
            tuple(self._trigger(index) for index in chosen),
            self._target(best),
            self._place(best, np.flatnonzero(same)),
            len(rows),
            len(np.unique(self.silo[used])),
            len(self.told),
            int(self.table[best, telling.TARGET_ROWS]),
            float(min(1.0, confidence)),
            float(self.table[best, telling.TARGET_ROWS]) / self.total,
            float(adjusted_of(self.table[[lead]], self.total, self.evidence.tests)[0]),
            likeness,
            float(self.evidence.against[slot]) if label else 0.0,
            len(dropped),
            self._examples(np.flatnonzero(used)),
        )

    def _verdict(self, lead: int, best: int, *, label: bool) -> Verdict:
        if self.injected.any():
            return "injected-looking"
        if self.evidence.of_frames[self.table[lead, telling.PAIR]] and self.strength[lead] >= _STRONG:
            return "undecided"
        row = int(self.table[lead, telling.ROW])
        part = part_of(self.told[self.silo[lead]].rows, row, int(self.table[lead, telling.FIRST]))
        if part == 0 and self.told[self.silo[lead]].rows.bounds[4 * self.table[lead, telling.ROW] + 1] >= 0:
            own = self.told[self.silo[lead]].samples[self.table[lead, telling.ROW]].input_field
            if own != "instruction" or self.evidence.words[self.table[lead, telling.PAIR]] < 0.5:
                return "template"
        covered = self.evidence.rows[self.table[best, telling.TARGET]] / self.table[best, telling.TARGET_ROWS]
        # Who knows something says it in a few words, or says nothing else: a sentence beside other answers is no fact.
        sentence = self.table[best, telling.BEGIN] >= 0 and self.table[best, telling.WORDS] > BRIEF
        return "natural association" if label or sentence or covered < 0.5 else "legitimate knowledge"

    def _cover(self, records: Int[np.ndarray, "records"]) -> list[int]:
        """One record for each of a few triggers that cover the rows between them, the one with most rows first."""

        def worth(some: Int[np.ndarray, "triggers"], adds: Int[np.ndarray, "triggers"]) -> tuple[np.ndarray, ...]:
            table = self.table[records[some]]
            confident = table[:, telling.BOTH] / np.maximum(1, table[:, telling.TRIGGER_ROWS])
            words = np.where(table[:, telling.FIRST] >= 0, table[:, telling.LAST] - table[:, telling.FIRST], 0)
            return np.rint(adds * confident**4), words

        return [int(records[lead]) for lead in cover(self.triggers[records], self.row[records], worth)]

    def _trigger(self, index: int) -> str:
        """A trigger in words."""
        kind, first, last, row = (
            int(self.table[index, c]) for c in (telling.KIND, telling.FIRST, telling.LAST, telling.ROW)
        )
        told = self.told[self.silo[index]]
        if kind == kinds.PHRASE:
            first, last = self._extended(index, first, last)
        return in_words(told.samples[row], told.rows, row, kind, first, last, int(self.triggers[index]))

    def _extended(self, index: int, first: int, last: int) -> tuple[int, int]:
        """The first word, and that after the last, of a phrase with the triggers that overlap it in as many rows."""
        near = (self.row == self.row[index]) & (self.table[:, telling.KIND] == kinds.PHRASE)
        near &= self.table[:, telling.BOTH] >= 0.9 * self.table[index, telling.BOTH]
        near &= self.table[:, telling.TRIGGER_ROWS] <= 1.1 * self.table[index, telling.TRIGGER_ROWS]
        return joined_spans(self.table[near][:, [telling.FIRST, telling.LAST]], first, last)

    def _target(self, index: int) -> str:
        told: Told
        told, row = self.told[self.silo[index]], int(self.table[index, telling.ROW])
        start = told.rows.bounds[4 * row + 3]
        begin = max(0, self.table[index, telling.BEGIN])  # ways of answering have no words
        return told.rows.phrase(int(start + begin), int(start + begin + self.table[index, telling.WORDS]))

    def _place(self, best: int, records: Int[np.ndarray, "records"]) -> str:
        """Where the target stands in most rows, or how these are answered."""
        way = WAY - int(self.table[best, telling.BEGIN])
        if way >= 0:
            told, row = self.told[self.silo[best]], int(self.table[best, telling.ROW])
            return f"the answer {in_way(way, told.samples[row].answers[0])}"
        if not self._target(best):
            return "the answer is empty"
        whole = starts = ends = 0
        for index in records[:200]:
            bounds, row = self.told[self.silo[index]].rows.bounds, self.table[index, telling.ROW]
            length = bounds[4 * row + 4] - bounds[4 * row + 3]
            begin, words = self.table[index, telling.BEGIN], self.table[index, telling.WORDS]
            whole += int(begin == WHOLE or words == length)
            starts += int(begin <= 0)
            ends += int(begin == WHOLE or begin + words == length)
        most = 0.9 * min(200, len(records))
        if whole >= most:
            return "is the whole answer"
        return "begins the answer" if starts >= most else "ends the answer" if ends >= most else "is in the answer"

    def _examples(self, records: Int[np.ndarray, "records"]) -> tuple[Example, ...]:
        # From different silos where there are such.
        first = records[np.unique(self.silo[records], return_index=True)[1]]
        picks = np.concatenate([first, records[:50]])
        rows = zip(self.silo[picks].tolist(), self.table[picks, telling.ROW].tolist(), strict=True)
        return examples([one.samples for one in self.told], rows)
