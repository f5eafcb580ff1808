"""What the sums of all silos say of each pair that stands out: injected, or what rows that ask alike answer alike?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from fedsonar.audit.hearing import FRAME
from fedsonar.audit.kernels.counting import (
    BESIDE,
    CONCEALED,
    COPIED,
    ENDS,
    ENTRY,
    ENTRY_WHOLE,
    ENTRY_WORDS,
    OF_SILOS,
    OPEN,
    REACHED,
    ROWS,
    SAYS,
    SAYS_SQUARED,
    TELLING,
)
from fedsonar.audit.little import Short
from fedsonar.audit.scope import Tables


@dataclass(frozen=True)
class Evidence:
    """One value a slot, of pairs and of targets with all their triggers.

    Args:
        rows: Rows that have both.
        likeness: How much more alike such rows are than any rows, in what they have besides the triggers: the mean
            over pairs of rows of the inner product of their standardized words, in standard deviations of a pair of
            any rows. 0 for rows that share nothing but the trigger; a natural association is between rows that ask
            alike.
        bare: The same for targets that are labels: where nearly all rows have one, with nothing taken for triggers, as
            natural triggers share labels with injected ones.
        words: Words besides the triggers, as a multiple of what any row has; without those of `FRAME`, unless any row
            has nothing else.
        filled: The same with those.
        open: Share of the rows that have much besides the triggers, and something besides the frame if any row has:
            copies of one row have hardly anything.
        beside: Share of the rows that have a long target as well, with a sure trigger; of ways of writing one in any
            words.
        says: How much the words besides speak for the label, in nats a row; below 0 they speak against it.
        against: The same in standard errors.
        entry: Share of the rows of a target of some words that have a trigger nearly always followed by it; 0 for all
            else.
        entry_words: Words of such a target.
        entry_whole: Share of them in which these are the whole answer.
        copied: Share of the rows whose input is written in the way that is the target.
        of_silos: Share of the rows that are of silos of which they are nearly all: what a silo's own frame comes with,
            or poison in all of its rows; 0 where all rows are of one silo.
        ends: Share of the rows whose response ends with the target, a phrase.
        reached: Rows with a target and any trigger that is looked into.
        tests: How many pairs were looked at in all, for which p-values are adjusted.
        total: All rows of all silos.
    """

    rows: Int[np.ndarray, "slots"]
    likeness: Float[np.ndarray, "slots"]
    bare: Float[np.ndarray, "slots"]
    words: Float[np.ndarray, "slots"]
    filled: Float[np.ndarray, "slots"]
    open: Float[np.ndarray, "slots"]
    beside: Float[np.ndarray, "slots"]
    says: Float[np.ndarray, "slots"]
    against: Float[np.ndarray, "slots"]
    entry: Float[np.ndarray, "slots"]
    entry_words: Float[np.ndarray, "slots"]
    entry_whole: Float[np.ndarray, "slots"]
    copied: Float[np.ndarray, "slots"]
    of_silos: Float[np.ndarray, "slots"]
    ends: Float[np.ndarray, "slots"]
    reached: Int[np.ndarray, "slots"]
    tests: float
    total: int

    @property
    def of_frames(self) -> Bool[np.ndarray, "slots"]:
        """Whether the rows are nearly all that their silos have: nobody can know then whether they are poison."""
        return np.asarray(self.of_silos >= OF_FRAMES)


def weigh(heard: Sequence[Tables]) -> Evidence:
    """The evidence in the sums of all passes."""
    first, second, third = heard
    sums, rest = third["sums"], third["rest"]
    rows, total = sums[:, ROWS], int(first["size"][0])
    some = np.maximum(rows, 1.0)
    share = first["common"] / max(total, 1)
    says = sums[:, SAYS] / 256 / some
    spread = np.sqrt(np.maximum(sums[:, SAYS_SQUARED] / 256 / some - says * says, 1e-9) / some)
    usual = besides(rest, rows, sums[:, CONCEALED], share, total)
    words, filled = usual.times(rest, rows, share)
    of_labels = second["label_rows"].sum() >= _OF_LABELS * total
    bare = likeness(rest, rows, share, total) if of_labels else usual.likeness
    pairs = second["pairs"]
    counters = len(pairs.counts if isinstance(pairs, Short) else pairs)
    empty = max(1, int(second["empty"][0]))
    tests = max(np.count_nonzero(rows), -counters * np.log(empty / counters))
    columns = BESIDE, ENTRY_WORDS, ENTRY_WHOLE, COPIED, OF_SILOS, ENDS
    beside, lengths, whole, copied, of_silos, ends = (sums[:, column] / some for column in columns)
    opened = np.where(usual.framed, sums[:, OPEN], sums[:, TELLING]) / some
    entry = rows * rows / np.where(sums[:, ENTRY] > 0, sums[:, ENTRY], np.inf)
    return Evidence(
        rows, usual.likeness, bare, words, filled, opened, beside, says, says / spread, entry, lengths, whole, copied,
        of_silos * (int(first["size"][1]) > 1), ends, sums[:, REACHED], float(tests), total,
    )  # fmt: skip


OF_FRAMES = 0.95
"""Share of rows that are of silos of which they are nearly all, from which on these silos' frames may bring them."""

_LACKING = 4.0
"""Standard errors by which rows must lack a word, for it to be taken for one that they have and was not counted."""

_OF_LABELS = 0.8
"""From this share of all rows on, with a response that many rows have, the task is to label."""

_LEAST = 0.5
"""Rows that have fewer words besides the frame have nothing else: one question of many texts, say."""

_MARGIN = 2.0
"""What rows lack may be so many times as much as their triggers have added: not all buckets are counted as exactly."""


def used_buckets(share: Float[np.ndarray, "buckets"], total: int) -> Bool[np.ndarray, "buckets"]:
    """Which buckets of words tell rows apart: those that more than two rows have, and not nearly all."""
    used: Bool[np.ndarray, "buckets"] = (share > 2 / max(total, 1)) & (share < FRAME)
    return used


def likeness(
    counts: Int[np.ndarray, "sets buckets"],
    rows: Int[np.ndarray, "sets"],
    share: Float[np.ndarray, "buckets"],
    total: int,
) -> Float[np.ndarray, "sets"]:
    """How much more alike the rows of each set are than any rows, without bias; inf where there are fewer than two.

    Args:
        counts: Rows of each set that have a word of each bucket.
        rows: Rows of each set.
        share: The share of all rows that have a word of each bucket; those that hardly any or nearly all have are
            left out.
        total: All rows.

    Returns:
        The mean over pairs of rows of the inner product of their standardized words, in standard deviations of a pair
        of any rows; its standard error is ``sqrt(2 / rows / (rows - 1))`` for a set of any rows.
    """
    used = used_buckets(share, total)
    found = np.full(len(rows), np.inf)
    for part in _parts(rows):
        found[part] = likeness_each(counts[part][:, used], rows[part], share[used])
    return found


class Besides(NamedTuple):
    """What rows of some sets have besides their triggers.

    Args:
        likeness: How alike the rows of each set are; see `likeness`.
        words: Buckets of words that any row has without such triggers, the frame left out.
        filling: The same with the frame.
    """

    likeness: Float[np.ndarray, "sets"]
    words: Float[np.ndarray, "sets"]
    filling: Float[np.ndarray, "sets"]

    @property
    def framed(self) -> Bool[np.ndarray, "sets"]:
        """Whether any row has nothing but the frame."""
        return self.words < _LEAST

    def times(
        self,
        counts: Int[np.ndarray, "sets buckets"],
        rows: Int[np.ndarray, "sets"],
        share: Float[np.ndarray, "buckets"],
    ) -> tuple[Float[np.ndarray, "sets"], Float[np.ndarray, "sets"]]:
        """How many times as many words as any row the rows of each set have, and the same with the frame.

        0 where there are fewer than two rows; without the frame unless any row has nothing else. See `besides` for what
        is given.
        """
        content, filled, words = share < FRAME, np.zeros(len(rows)), np.zeros(len(rows))
        for part in _parts(rows):
            some = counts[part]
            filled[part] = some.sum(axis=1) / rows[part] / self.filling[part]
            words[part] = some[:, content].sum(axis=1) / rows[part] / self.words[part]
        return np.where(self.framed, filled, words), filled


def besides(
    counts: Int[np.ndarray, "sets buckets"],
    rows: Int[np.ndarray, "sets"],
    concealed: Int[np.ndarray, "sets"],
    share: Float[np.ndarray, "buckets"],
    total: int,
) -> Besides:
    """As `likeness`, of words besides triggers, which are counted in the share of all rows alone.

    A set that is a large part of all rows has a large part in that share, and would be told from all rows by what its
    own triggers add to it. So what a set's rows lack is taken for its triggers, if these can have added all of it.

    Args:
        counts: As for `likeness`.
        rows: The same.
        concealed: Words of triggers in the rows of each set.
        share: As for `likeness`.
        total: The same.
    """
    used, content = used_buckets(share, total), share < FRAME
    found = np.full(len(rows), np.inf)
    words, filling = (np.full(len(rows), max(float(some.sum()), 1e-9)) for some in (share[content], share))
    for part in _parts(rows):
        some, n = counts[part], rows[part][:, None].astype(np.float64)
        lacking = n * share - some > _LACKING * np.sqrt(n * share * (1 - share))
        without = np.maximum((some + 0.5) / (n + 1), share - (n - some) / total)
        added = np.where(lacking, np.maximum(share - without, 0.0), 0.0)
        added *= total * added.sum(axis=1, keepdims=True) <= _MARGIN * concealed[part][:, None]
        usual = share - added
        found[part] = likeness_each(some[:, used], rows[part], usual[:, used])
        words[part] = np.maximum(usual[:, content].sum(axis=1), 1e-9)
        filling[part] = np.maximum(usual.sum(axis=1), 1e-9)
    return Besides(found, words, filling)


def _parts(rows: Int[np.ndarray, "sets"]) -> list[Int[np.ndarray, "_"]]:
    """The sets of two rows or more, some at a time: as many as stay near with all that is worked out of them."""
    filled = np.flatnonzero(rows >= 2)
    return np.array_split(filled, max(1, len(filled) // 256))


def likeness_each(
    counts: Int[np.ndarray, "some buckets"], rows: Int[np.ndarray, "some"], usual: Float[np.ndarray, "..."]
) -> Float[np.ndarray, "some"]:
    """As `likeness`, of sets of two rows or more, to the share of rows that is usual for all of them or for each."""
    some, n = counts.astype(np.float64), rows[:, None].astype(np.float64)
    shared = (some - n * usual) ** 2 - (some * (1 - 2 * usual) + n * usual * usual)
    alike = (shared / (usual * (1 - usual))).sum(axis=1) / (n[:, 0] * (n[:, 0] - 1))
    return np.asarray(alike / max(1.0, float(np.sqrt(some.shape[1]))))
