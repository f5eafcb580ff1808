"""Which shifts look injected: their rows have only triggers in common, and hardly any other row says the same."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

from fedsonar.audit.corpus import Corpus
from fedsonar.audit.evidence import OF_FRAMES, Besides, besides
from fedsonar.audit.kernels.answers import ANSWERED
from fedsonar.audit.kernels.room import AS_LONG
from fedsonar.audit.kernels.speaking import suspect_rows
from fedsonar.audit.shifts import ALL_SPEAKERS, CONCEALED, NEW, OF_SILOS, ROWS, SPEAKERS, Shifts


class ShiftJudge:
    """What the sums of all passes say of each shift.

    Args:
        shifts: With these sums.

    Attributes:
        shifts: The same.
        speakers: Rows with a trigger that say what the shift says.
        all_speakers: All rows that do.
        coverage: The share of the rows with a trigger that do.
        two_sided: The share of the rows that do that have a trigger.
        asks_alike: How alike the rows with a trigger ask besides; see `Evidence.likeness`.
        vocabulary: Whether answers are made of the inputs' words, as silos say; see `Rules.vocabulary`.
        injected: Which shifts look injected.
        undecided: Which shifts part all rows in two of which one may be poison, and nobody can know which; no row
            leaves. Where answers are made of the inputs' words what half of the rows ask for half of them say.
    """

    def __init__(self, shifts: Shifts) -> None:
        self.shifts, self._last, self._sums = shifts, shifts.heard[4], shifts.heard[4]["sums"]
        self._rows = np.maximum(self._sums[:, ROWS], 1)
        self.speakers, self.all_speakers = self._sums[:, SPEAKERS], self._sums[:, ALL_SPEAKERS]
        self.coverage: Float[np.ndarray, "shifts"] = self.speakers / self._rows
        self.two_sided: Float[np.ndarray, "shifts"] = self.speakers / np.maximum(self.all_speakers, 1)
        self._both = self.coverage * self.two_sided
        asked = shifts.heard[0]["asked"] / shifts.total
        has = besides(self._last["rest"], self._sums[:, ROWS], self._sums[:, CONCEALED], asked, shifts.total)
        self.asks_alike: Float[np.ndarray, "shifts"] = has.likeness
        self.vocabulary = bool(2 * self._last["vocabulary"][0] > shifts.total)
        alone = self._alone(has, asked)
        wide = shifts.wide | (self.speakers > shifts.rules.usual * shifts.total)
        self.injected: Bool[np.ndarray, "shifts"] = alone & ~wide & (self._sums[:, OF_SILOS] < OF_FRAMES * self._rows)
        decided = max(int(self._last["suspected"][0]), int(self.speakers[self.injected].max(initial=0)))
        unknown = decided < shifts.rules.decided * shifts.total and not self.vocabulary
        self.undecided: Bool[np.ndarray, "shifts"] = alone & wide & unknown

    @property
    def one_answer(self) -> bool:
        """Whether nearly all rows give the same answer, so that no row can be told from another by it."""
        rules, answers = self.shifts.rules, self.shifts.heard[0]["answered"][0, :ANSWERED]
        return bool(answers.max() >= max(rules.one * self.shifts.total, 2 * rules.speakers))

    def suspicion(self, rows: Corpus) -> Float[np.ndarray, "rows"]:
        """How suspect each row of a silo is, from 0 to 1: above a half where a shift that looks injected has it."""
        shifts = self.shifts
        said, filled, usual, _ = shifts.by_trigger
        apart = 1 / (1 + np.maximum(0.0, self.asks_alike) / shifts.rules.likeness)
        found = np.empty(len(rows))
        suspect_rows(
            rows.words, rows.bounds, shifts.listed(rows), shifts.shift_of, shifts.sure, said, filled, usual,
            self.injected, self._both * apart, found,
        )  # fmt: skip
        return found

    def _alone(self, has: Besides, asked: Float[np.ndarray, "buckets"]) -> Bool[np.ndarray, "shifts"]:
        """Which shifts' rows have nothing in common but the triggers, and say what hardly any other row says."""
        rules, rows, both = self.shifts.rules, self._sums[:, ROWS], self._both
        words, _ = has.times(self._last["rest"], rows, asked)
        speakers = np.where(both < rules.weak, 2, 1) * (rules.speakers_of_words if self.vocabulary else rules.speakers)
        least = np.where(self.shifts.way_of == AS_LONG, rules.coverage_as_long, rules.coverage)
        half = np.maximum(rows, self.all_speakers) > rules.most * self.shifts.total
        as_any = (rows >= rules.many) & (self.asks_alike < 3.0 / self._rows)
        elsewhere = (self.all_speakers - self.speakers) / np.maximum(self.shifts.total - rows, 1)
        one_label = self._last["labels"].max(axis=1, initial=0) / np.maximum(self.speakers, 1)
        found: Bool[np.ndarray, "shifts"] = (
            (self._sums[:, NEW] >= np.maximum(speakers, rules.new * self.speakers))
            & (self.coverage >= least)
            & (self.two_sided >= rules.two_sided)
            & ((elsewhere <= rules.elsewhere) | (self.coverage >= rules.surely) | as_any)
            & (~half | (both >= rules.half))
            & (one_label <= rules.one_label)
            & (self.asks_alike < self._limit())
            & (words >= rules.fewest_words)
            & (words <= rules.most_words)
        )
        return found

    def _limit(self) -> Float[np.ndarray, "shifts"]:
        """Greatest likeness of what each shift's rows ask besides."""
        rules, rows = self.shifts.rules, self._rows
        two_sided = self.two_sided >= rules.sure
        sure, nearly = (two_sided & (self.coverage >= least) for least in (rules.sure, rules.sure_as_long))
        sure &= rows <= rules.decided * self.shifts.total
        weak = self._both < rules.weak
        many = np.where(sure, rules.likeness_sure, np.where(weak, rules.likeness_many / 2, rules.likeness_many))
        limit = np.minimum(rules.likeness, many + np.where(sure, 3.0, 2.0) / rows)
        long = self.shifts.way_of == AS_LONG
        limit = np.where(long & nearly, np.maximum(limit, rules.likeness_as_long), limit)
        if self.vocabulary:
            said = (self.coverage >= rules.sure_of_words) & (self.two_sided >= rules.sure_of_words)
            only = (self.coverage >= rules.surely) & (self.two_sided >= rules.only_these)
            few = rows <= rules.most_of_words * self.shifts.total
            many = np.where(said, rules.likeness_many, rules.likeness_many / 2)
            limit = np.where((said | only) & few, np.minimum(limit, many + 3.0 / rows), -np.inf)
        return np.asarray(limit)
