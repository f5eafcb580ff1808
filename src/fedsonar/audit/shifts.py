"""Shifts: inputs that ask apart and answer alike, found by what silos' counts add up to, with no string that repeats.

A target in many wordings leaves no phrase that the pairs of `passes` could find, but its words come together. Features
of inputs whose rows say alike are put into one shift by what they say; see `shift_judge` for which look injected.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Float, Int

from fedsonar.audit.closed import labels_of
from fedsonar.audit.corpus import Corpus
from fedsonar.audit.grouping import Spoken, beside_all, beside_as_long, grouped, others_as_long, without_twins
from fedsonar.audit.kernels.answers import labels_said
from fedsonar.audit.kernels.hiding import Standing
from fedsonar.audit.kernels.room import AS_LONG, BANDS, PLAIN, WAYS, WORDS, Listed, list_numbered
from fedsonar.audit.kernels.speaking import NEVER, nats_of_words, weigh_shifts
from fedsonar.audit.kernels.tables import Sparse, filled, sparse
from fedsonar.audit.lexicon import lexicon
from fedsonar.audit.scope import Tables
from fedsonar.audit.shift_rules import ShiftRules
from fedsonar.audit.signs import sign_places

ROWS, SPEAKERS, ALL_SPEAKERS, NEW, CONCEALED, OF_SILOS = range(6)
"""Columns of the sums of the last pass: rows with a trigger, those that say what the shift says, all that do, those of
the second that are not suspected for another reason, and words of the shift's features; and rows of silos of which
these are nearly all, see `passes.of_silo`."""


class Shifts:
    """What the sums of the passes so far say; each silo works it out by itself, and all come to the same.

    Args:
        rules: Of the audit.
        heard: The sums of each pass so far.
    """

    def __init__(self, rules: ShiftRules, heard: Sequence[Tables]) -> None:
        self.rules, self.heard = rules, heard

    def further(self, heard: Sequence[Tables]) -> Shifts:
        """What these sums with more passes say; what was worked out from these stays as it is."""
        more = copy(self)
        more.heard = tuple(heard)
        return more

    @cached_property
    def total(self) -> int:
        """All rows."""
        return max(1, int(self.heard[0]["size"][0]))

    @cached_property
    def heavy(self) -> Int[np.ndarray, "features"]:
        """Places of the features that enough rows have, and not too many."""
        inputs, least = self.heard[0]["inputs"], self.rules.least
        if isinstance(inputs, Sparse):
            places, rows = np.flatnonzero(filled(inputs)), inputs.values[:-1]
            places, rows = places[rows >= least], rows[rows >= least]
        else:
            places = np.flatnonzero(inputs >= least)
            rows = inputs[places]
        places, rows = places[rows <= self.rules.widest * self.total], rows[rows <= self.rules.widest * self.total]
        while len(places) > self.rules.features:
            least = int(1.25 * least) + 1
            places, rows = places[rows >= least], rows[rows >= least]
        return np.asarray(places)

    @cached_property
    def heavy_numbers(self) -> Sparse:
        """One more than the number in `heavy` of the feature at each place."""
        return _numbered(self.heavy, self.rules.bits)

    @cached_property
    def standing(self) -> Int[np.ndarray, "standing"]:
        """Places of those whose rows say alike, the surest first."""
        said = beside_all(self.heard[1]["spoken"], self.heard[1]["filled"], self.heard[0]["tones"], self.total)
        chosen = np.flatnonzero(said.alike > 0.5 * self.rules.apart + (self.rules.errors + 0.5) * said.error)
        order = np.argsort(-(said.alike / said.error)[chosen], kind="stable")
        return self.heavy[chosen[order][: self.rules.standing]]

    @cached_property
    def _kinds(self) -> tuple[list[Int[np.ndarray, "_"]], ...]:
        """The features of each shift, as numbers in `standing`: found beside all rows, beside rows as long, and wide.

        Wide ones have features, but signs, that more than `ShiftRules.most` of the rows have; see `grouping` for the
        others.
        """
        spoken, rows = self.heard[2]["spoken"], self.heard[2]["filled"]
        plain = beside_all(spoken[:, :WORDS], rows, self.everywhere[:WORDS], self.total)
        signs = np.isin(self.standing, sign_places(self.rules.bits))
        narrow = rows <= np.where(signs, self.rules.signs, self.rules.most) * self.total

        def groups(
            said: Spoken, some: Bool[np.ndarray, "standing"], lead: float, member: float
        ) -> list[Int[np.ndarray, "_"]]:
            sure = self.rules.errors * said.error
            leads, members = some & (said.alike > lead + sure), some & (said.alike > member + sure)
            return grouped(said, leads, members, self.rules.same, self.rules.shifts)

        apart = self.rules.apart
        found = groups(plain, narrow, apart, apart)
        beside = beside_as_long(spoken, rows, self.heard[0]["spoken"], self.total)
        long = groups(beside, narrow, self.rules.apart_as_long, self.rules.joins_as_long)
        return found, without_twins(long, found), groups(plain, ~narrow & ~signs, apart, apart)

    @cached_property
    def groups(self) -> list[Int[np.ndarray, "_"]]:
        """The features of all shifts, as numbers in `standing`; what is in none says too little."""
        return [members for kind in self._kinds for members in kind]

    @cached_property
    def way_of(self) -> Int[np.ndarray, "shifts"]:
        """What each shift's rows are held against: all others, or others as long."""
        return np.repeat([PLAIN, AS_LONG, PLAIN], [len(kind) for kind in self._kinds])

    @cached_property
    def wide(self) -> Bool[np.ndarray, "shifts"]:
        """Which shifts have triggers in so many rows that the text cannot tell which rows are poison."""
        return np.repeat([False, False, True], [len(kind) for kind in self._kinds])

    @cached_property
    def everywhere(self) -> Int[np.ndarray, "buckets"]:
        """All rows by what they say."""
        return np.asarray(self.heard[0]["spoken"].sum(axis=0))

    @cached_property
    def purity(self) -> Float[np.ndarray, "standing ways"]:
        """The share of each feature's rows that say what its shift in each way says, pulled to a half by one row.

        What a shift says is told from all its features, and impure ones dull it. Where so few rows of even its purest
        feature say enough of it, the bar is lowered until they do; where they never do, it stays.
        """
        rows = self.heard[2]["filled"]
        shares = (self.heard[3]["speakers"] + 0.5) / (rows[:, None, None] + 1.0)
        least = shares - _error(shares, rows[:, None, None])
        found: Float[np.ndarray, "standing ways"] = shares[:, :, 0].copy()
        for way, members in zip(self.way_of, self.groups, strict=True):
            bar = np.argmax(least[members, way].max(axis=0) >= self.rules.purest)
            found[members, way] = shares[members, way, bar]
        return found

    @cached_property
    def triggers(self) -> list[Int[np.ndarray, "_"]]:
        """Those of each shift's features that are nearly as pure as its purest."""
        found = []
        for way, members in zip(self.way_of, self.groups, strict=True):
            pure = self.purity[members, way]
            error = _error(pure, self.heard[2]["filled"][members])
            found.append(members[pure + error >= self.rules.pure * (pure - error).max()])
        return found

    @cached_property
    def by_group(self) -> tuple[np.ndarray, ...]:
        """What the rows of each shift's features say; see `_pooled`."""
        return self._pooled(self.groups)

    @cached_property
    def by_trigger(self) -> tuple[np.ndarray, ...]:
        """What the rows of each shift's triggers say; see `_pooled`."""
        return self._pooled(self.triggers)

    def _pooled(
        self, members: Sequence[Int[np.ndarray, "_"]]
    ) -> tuple[
        Int[np.ndarray, "shifts buckets"], Float[np.ndarray, "shifts"], Float[np.ndarray, "shifts bands buckets"],
        Float[np.ndarray, "shifts"],
    ]:  # fmt: skip
        """What the rows of some features of each shift say, their number, what others say, and how rare the shift is.

        Rows are counted once for each of the features that they have. What others say is the share of all rows, or
        of other rows of each band, as the shift was found; rarity is in nats, the odds against any row.
        """
        spoken, rows = self.heard[2]["spoken"], self.heard[2]["filled"]
        said = np.array([spoken[some].sum(axis=0) for some in members], np.int64).reshape(len(members), WORDS + BANDS)
        filled = np.array([rows[some].sum() for some in members], np.float64)
        most = np.array([rows[some].max() for some in members], np.float64)
        plain = np.maximum(self.everywhere - 0.5, 0.5) / self.total
        usual = np.tile(plain, (len(members), BANDS, 1))
        long, shares = self.way_of == AS_LONG, said / np.maximum(filled, 1)[:, None]
        for band in range(BANDS):
            own = shares[long, WORDS + band] * most[long]
            usual[long, band, :WORDS] = others_as_long(
                shares[long, :WORDS], own, self.heard[0]["spoken"], band, plain[:WORDS]
            )
        return said, filled, usual, np.log(np.maximum(self.total - most, 1.0) / np.maximum(most, 1.0))

    @cached_property
    def numbers(self) -> Sparse:
        """One more than the number in `standing` of the feature at each place."""
        return _numbered(self.standing, self.rules.bits)

    @cached_property
    def _listed(self) -> WeakKeyDictionary[Corpus, Listed]:
        return WeakKeyDictionary()

    def listed(self, rows: Corpus) -> Listed:
        """Those features of a silo's rows that stand, listed once for all passes that read them."""
        if rows not in self._listed:
            self._listed[rows] = list_numbered(*arrays(rows, self.rules), self.numbers)
        return self._listed[rows]

    @cached_property
    def shift_of(self) -> Int[np.ndarray, "standing ways"]:
        """The shift of each feature in each way; -1 for none."""
        found = np.full((len(self.standing), WAYS), -1, np.int64)
        for shift, (way, members) in enumerate(zip(self.way_of, self.groups, strict=True)):
            found[members, way] = shift
        return found

    @cached_property
    def sure(self) -> Float[np.ndarray, "standing ways"]:
        """How sure each feature is followed by its shift in each way, in nats; `NEVER` where it is no trigger of it."""
        found = np.full((len(self.standing), WAYS), NEVER)
        for way, some in zip(self.way_of, self.triggers, strict=True):
            pure = self.purity[some, way]
            found[some, way] = np.log(pure / (1 - pure))
        return found

    def weighed(
        self,
        rows: Corpus,
        suspected: Bool[np.ndarray, "rows"],
        rest: Int[np.ndarray, "shifts asked"],
        sums: Int[np.ndarray, "shifts sums"],
        labels: Int[np.ndarray, "shifts labels"],
    ) -> None:
        """Adds a silo's rows to the last pass's tables.

        Args:
            rows: Of a silo.
            suspected: Rows that are suspected already, for another reason.
            rest: See `kernels.speaking.weigh_shifts`; added to.
            sums: The same.
            labels: The same.
        """
        said, filled, usual, enough = self.by_trigger
        answered = self.heard[0]["answered"]
        own = labels_said(rows.words, rows.bounds, answered, *labels_of(answered, self.total))
        weigh_shifts(
            rows.words, rows.bounds, self.listed(rows), self._of_standing, self.shift_of, self.sure, said, filled,
            usual, self._nats, enough, self.rules.words, suspected, own, rest, sums, labels,
        )  # fmt: skip

    @cached_property
    def _of_standing(self) -> Standing:
        rows = self.heard[2]["filled"]
        surely = self.purity - self.rules.errors * _error(self.purity, rows[:, None])
        return Standing(rows, self.purity, surely, self.heard[0]["asked"] / self.total)

    @cached_property
    def _nats(self) -> Float[np.ndarray, "bands buckets shifts"]:
        said, filled, usual, _ = self.by_trigger
        return np.asarray(nats_of_words(said, filled, usual))


def arrays(rows: Corpus, rules: ShiftRules) -> tuple[object, ...]:
    """What kernels read of a silo's rows."""
    return rows.words, rows.bounds, rows.marks, rows.sources, *lexicon(rules.key), rules.bits


def _error(share: Float[np.ndarray, "..."], rows: Int[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    return np.asarray(np.sqrt(share * (1 - share) / np.maximum(rows, 1)))


def _numbered(places: Int[np.ndarray, "numbered"], bits: int) -> Sparse:
    filled = np.zeros(1 << bits, bool)
    filled[places] = True
    return Sparse(sparse(filled, 1).lines, np.append(np.argsort(places) + 1, 0).astype(np.int32))
