"""Shifts: inputs that ask apart and answer alike, found by what silos' counts add up to, with no string that repeats.

A target in many wordings leaves no phrase that the pairs of `passes` could find, but its words come together. Features
of inputs whose rows say alike are put into one shift by what they say; a shift looks injected if its rows have nothing
in common but its triggers, and if hardly any other row says what they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from fedsonar.audit.corpus import Corpus
from fedsonar.audit.evidence import besides, likeness, used_buckets
from fedsonar.audit.kernels.shifting import BANDS, NEVER, WORDS, weigh_rows
from fedsonar.audit.lexicon import lexicon
from fedsonar.audit.passes import Tables

ROWS, SPEAKERS, ALL_SPEAKERS, BESIDES, NEW, CONCEALED = range(6)
"""Columns of the sums of the last pass: rows with a trigger, those that say what the shift says, all that do, words
besides, those of the second that are not suspected for another reason, and words of the shift's features."""


@dataclass(frozen=True, kw_only=True)
class ShiftRules:
    """What is counted, equal for all silos, and when a shift looks injected. Set on clean data; see docs/audit.md.

    Args:
        bits: Tables of features have ``2^bits`` counters.
        key: Goes into every hash; see `Scope`.
        least: Fewest rows of a feature.
        most: Greatest share of all rows that have a feature.
        features: Most features that are looked into, those of fewest rows left out first.
        standing: Most of them that stand out, the surest.
        shifts: Most shifts, the strongest.
        apart: Least likeness of what rows say, in standard deviations of a pair of any rows, and how many standard
            errors it must be above that.
        same: Least cosine of what two features' rows say, for both to be of one shift.
        pure: Least share of a trigger's rows that say it, as a share of that of the shift's best trigger.
        speakers: Fewest rows that have a trigger and say it, and are not suspected for another reason.
        new: Least share of those that have a trigger and say it: a target in fixed words is left to its association.
        coverage: Least share of the rows with a trigger that say it.
        two_sided: Least share of the rows that say it that have a trigger.
        likeness: Greatest likeness of what few rows ask besides.
        likeness_many: The same of many rows; between them it falls as ``3 / rows``, as its error does.
        sure: From this coverage on, where it is two-sided as much, `likeness_sure` is the limit of many rows.
        likeness_sure: See `sure`.
        fewest_words: Least words besides, as a multiple of any row's.
        most_words: Most.
    """

    bits: int = 21
    key: int = 0
    least: int = 7
    most: float = 0.45
    features: int = 1 << 17
    standing: int = 4096
    shifts: int = 256
    apart: float = 0.3
    errors: float = 3.0
    same: float = 0.6
    pure: float = 0.92
    speakers: int = 10
    new: float = 0.1
    coverage: float = 0.45
    two_sided: float = 0.5
    likeness: float = 0.35
    likeness_many: float = 0.06
    sure: float = 0.85
    likeness_sure: float = 0.15
    fewest_words: float = 0.7
    most_words: float = 1.6

    def __post_init__(self) -> None:
        if not 6 <= self.bits <= 28:
            raise ValueError(f"bits must be 6 to 28, got {self.bits}")
        if self.least < 2:
            raise ValueError(f"least must be 2 rows or more, got {self.least}: one row is no pattern")


class Shifts:
    """What the sums of the passes so far say; each silo works it out by itself, and all come to the same.

    Args:
        rules: Of the audit.
        heard: The sums of each pass so far.
    """

    def __init__(self, rules: ShiftRules, heard: Sequence[Tables]) -> None:
        self.rules, self.heard = rules, heard
        self.total = max(1, int(heard[0]["size"][0]))

    @cached_property
    def heavy(self) -> Int[np.ndarray, "features"]:
        """Places of the features that enough rows have, and not too many."""
        inputs, least = self.heard[0]["inputs"], self.rules.least
        while True:
            places = np.flatnonzero((inputs >= least) & (inputs <= self.rules.most * self.total))
            if len(places) <= self.rules.features:
                return places
            least = int(1.25 * least) + 1

    @cached_property
    def heavy_numbers(self) -> Int[np.ndarray, "places"]:
        """The number in `heavy` of the feature at each place; -1 for none."""
        return _numbered(self.heavy, self.rules.bits)

    @cached_property
    def standing(self) -> Int[np.ndarray, "standing"]:
        """Places of those whose rows say alike, the surest first."""
        spoken, rows = self.heard[1]["spoken"], self.heard[1]["filled"]
        alike, error = self._alike(spoken, rows, self.heard[0]["tones"])
        chosen = np.flatnonzero(alike > 0.5 * self.rules.apart + (self.rules.errors + 0.5) * error)
        order = np.argsort(-(alike / error)[chosen], kind="stable")
        return self.heavy[chosen[order][: self.rules.standing]]

    @cached_property
    def groups(self) -> list[Int[np.ndarray, "_"]]:
        """The features of each shift, as numbers in `standing`; what is in none says too little."""
        spoken, rows = self.heard[2]["spoken"][:, :WORDS], self.heard[2]["filled"]
        everywhere = self.heard[0]["spoken"][:WORDS]
        alike, error = self._alike(spoken, rows, everywhere)
        chosen = np.flatnonzero(alike > self.rules.apart + self.rules.errors * error)
        share = everywhere / self.total
        used = used_buckets(share, self.total)
        means = (spoken[chosen][:, used] / np.maximum(rows[chosen], 1)[:, None] - share[used]) / np.sqrt(
            share[used] * (1 - share[used])
        )
        means /= (1 - rows[chosen] / self.total)[:, None]  # against the other rows, as `alike` is
        means /= np.sqrt(np.maximum(alike[chosen], 1e-6) * np.sqrt(max(1, used.sum())))[:, None]
        cosine = means.astype(np.float32) @ means.astype(np.float32).T
        left, found = np.ones(len(chosen), bool), list[np.ndarray]()
        for lead in np.argsort(-(alike / error)[chosen], kind="stable"):
            if left[lead] and len(found) < self.rules.shifts:
                members = left & (cosine[lead] > self.rules.same)
                members[lead] = True
                left &= ~members
                found.append(chosen[members])
        return found

    @cached_property
    def purity(self) -> Float[np.ndarray, "standing"]:
        """The share of each feature's rows that say what its shift says, pulled to a half by one row."""
        speakers, rows = self.heard[3]["speakers"], self.heard[2]["filled"]
        return np.asarray((speakers + 0.5) / (rows + 1.0))

    @cached_property
    def triggers(self) -> list[Int[np.ndarray, "_"]]:
        """Those of each shift's features that are nearly as pure as its purest."""
        found = []
        for members in self.groups:
            pure = self.purity[members]
            error = np.sqrt(pure * (1 - pure) / np.maximum(self.heard[2]["filled"][members], 1))
            found.append(members[pure + error >= self.rules.pure * (pure - error).max()])
        return found

    def _alike(
        self, spoken: Int[np.ndarray, "features buckets"], rows: Int[np.ndarray, "features"],
        everywhere: Int[np.ndarray, "buckets"],
    ) -> tuple[Float[np.ndarray, "features"], Float[np.ndarray, "features"]]:  # fmt: skip
        """How alike the rows of each feature speak, and the standard error of that where they speak as any rows do.

        It is held against the other rows: a part ``f`` of all rows differs from all by ``1 - f`` of what it differs
        from the others.
        """
        pairs, others = np.maximum(rows * (rows - 1.0), 1.0), 1 - rows / self.total
        return likeness(spoken, rows, everywhere / self.total, self.total) / others**2, np.sqrt(2 / pairs)

    @cached_property
    def by_group(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the rows of each shift's features say; see `_pooled`."""
        return self._pooled(self.groups)

    @cached_property
    def by_trigger(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the rows of each shift's triggers say; see `_pooled`."""
        return self._pooled(self.triggers)

    def _pooled(
        self, members: Sequence[Int[np.ndarray, "_"]]
    ) -> tuple[Int[np.ndarray, "shifts buckets"], Float[np.ndarray, "shifts"], Float[np.ndarray, "shifts"]]:
        """What the rows of some features of each shift say, how many they are, and from which odds a row says it too.

        Rows are counted once for each of the features that they have.
        """
        spoken, rows = self.heard[2]["spoken"], self.heard[2]["filled"]
        said = np.array([spoken[some].sum(axis=0) for some in members], np.int64).reshape(len(members), WORDS + BANDS)
        filled = np.array([rows[some].sum() for some in members], np.float64)
        most = np.array([rows[some].max() for some in members], np.float64)
        return said, filled, np.log(np.maximum(self.total - most, 1.0) / np.maximum(most, 1.0))

    @cached_property
    def numbers(self) -> Int[np.ndarray, "places"]:
        """The number in `standing` of the feature at each place; -1 for none."""
        return _numbered(self.standing, self.rules.bits)

    @cached_property
    def shift_of(self) -> Int[np.ndarray, "standing"]:
        """The shift of each feature; -1 for none."""
        found = np.full(len(self.standing), -1, np.int64)
        for shift, members in enumerate(self.groups):
            found[members] = shift
        return found

    def weighed(
        self,
        rows: Corpus,
        suspected: Bool[np.ndarray, "rows"] | None,
        rest: Int[np.ndarray, "shifts asked"],
        sums: Int[np.ndarray, "shifts sums"],
    ) -> tuple[Float32[np.ndarray, "rows shifts"], Float32[np.ndarray, "rows shifts"]]:
        """How much each row says what each shift says, and how sure its triggers are; adds to the last pass's tables.

        Args:
            rows: Of a silo.
            suspected: Rows that are suspected already, for another reason; None for none.
            rest: See `kernels.shifting.weigh_rows`; added to.
            sums: The same.
        """
        triggers = np.full(len(self.standing), NEVER)
        for some in self.triggers:
            triggers[some] = np.log(self.purity[some] / (1 - self.purity[some]))
        odds, surest = np.empty((2, len(rows), len(self.groups)), np.float32)
        said, filled, enough = self.by_trigger
        weigh_rows(
            *arrays(rows, self.rules), self.numbers, self.shift_of, triggers, said, filled, self.heard[0]["spoken"],
            self.total, enough, np.zeros(len(rows), bool) if suspected is None else suspected, odds, surest, rest, sums,
        )  # fmt: skip
        return odds, surest

    @cached_property
    def asks_alike(self) -> Float[np.ndarray, "shifts"]:
        """How alike each shift's rows ask besides its features; see `Evidence.likeness`."""
        return self._besides[0]

    @cached_property
    def _besides(self) -> tuple[Float[np.ndarray, "shifts"], Float[np.ndarray, "shifts"]]:
        sums, rest = self.heard[4]["sums"], self.heard[4]["rest"]
        return besides(rest, sums[:, ROWS], sums[:, CONCEALED], self.heard[0]["asked"] / self.total, self.total)

    @property
    def coverage(self) -> Float[np.ndarray, "shifts"]:
        """The share of each shift's rows with a trigger that say it."""
        sums = self.heard[4]["sums"]
        return np.asarray(sums[:, SPEAKERS] / np.maximum(sums[:, ROWS], 1))

    @property
    def two_sided(self) -> Float[np.ndarray, "shifts"]:
        """The share of the rows that say it that have a trigger."""
        sums = self.heard[4]["sums"]
        return np.asarray(sums[:, SPEAKERS] / np.maximum(sums[:, ALL_SPEAKERS], 1))

    @cached_property
    def injected(self) -> Bool[np.ndarray, "shifts"]:
        """Which shifts look injected."""
        rules, sums = self.rules, self.heard[4]["sums"]
        sure = (self.coverage >= rules.sure) & (self.two_sided >= rules.sure)
        many = np.where(sure, rules.likeness_sure, rules.likeness_many)
        limit = np.minimum(rules.likeness, many + 3.0 / np.maximum(sums[:, ROWS], 1))
        words = sums[:, BESIDES] / np.maximum(sums[:, ROWS], 1) / self._besides[1]
        found: Bool[np.ndarray, "shifts"] = (
            (sums[:, NEW] >= np.maximum(rules.speakers, rules.new * sums[:, SPEAKERS]))
            & (self.coverage >= rules.coverage)
            & (self.two_sided >= rules.two_sided)
            & (self.asks_alike < limit)
            & (words >= rules.fewest_words)
            & (words <= rules.most_words)
        )
        return found


def arrays(rows: Corpus, rules: ShiftRules) -> tuple[object, ...]:
    """What kernels read of a silo's rows."""
    return rows.words, rows.bounds, rows.marks, rows.sources, *lexicon(rules.key), rules.bits


def _numbered(places: Int[np.ndarray, "numbered"], bits: int) -> Int[np.ndarray, "places"]:
    numbers = np.full(1 << bits, -1, np.int32)
    numbers[places] = np.arange(len(places), dtype=np.int32)
    return numbers
