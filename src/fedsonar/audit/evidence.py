"""What the sums of all silos say of each pair that stands out: injected, or what rows that ask alike answer alike?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from fedsonar.audit.kernels.counting import (
    BESIDE,
    CONCEALED,
    ENTRY,
    ENTRY_WHOLE,
    ENTRY_WORDS,
    OPEN,
    ROWS,
    SAYS,
    SAYS_SQUARED,
)
from fedsonar.audit.kernels.features import LONGEST_RESPONSE
from fedsonar.audit.kernels.responses import BRIEF
from fedsonar.audit.little import Short
from fedsonar.audit.passes import Tables


@dataclass(frozen=True)
class Evidence:
    """One value a slot, of pairs and of targets with all their triggers.

    Args:
        rows: Rows that have both.
        likeness: How much more alike such rows are than any rows, in what they have besides the triggers: the mean
            over pairs of rows
            of the inner product of their standardized words, in standard deviations of a pair of any rows. 0 for rows
            that share
            nothing but the trigger; a natural association is between rows that ask alike.
        bare: The same for targets that are labels: where nearly all rows have one, with nothing taken for triggers, as
            natural triggers share labels with injected ones.
        words: Words besides the triggers, as a multiple of what any row has.
        open: Share of the rows that have much besides the triggers: copies of one row have hardly anything.
        beside: Share of the rows that have a long target as well, with a sure trigger; of ways of writing one in any
            words.
        against: How much the words besides speak for the label, in standard errors; below 0 they speak against it.
        entry: Share of the rows of a target of some words that have a trigger nearly always followed by it; 0 for all
            else.
        entry_words: Words of such a target.
        entry_whole: Share of them in which these are the whole answer.
        tests: How many pairs were looked at in all, for which p-values are adjusted.
    """

    rows: Int[np.ndarray, "slots"]
    likeness: Float[np.ndarray, "slots"]
    bare: Float[np.ndarray, "slots"]
    words: Float[np.ndarray, "slots"]
    open: Float[np.ndarray, "slots"]
    beside: Float[np.ndarray, "slots"]
    against: Float[np.ndarray, "slots"]
    entry: Float[np.ndarray, "slots"]
    entry_words: Float[np.ndarray, "slots"]
    entry_whole: Float[np.ndarray, "slots"]
    tests: float


def weigh(heard: Sequence[Tables]) -> Evidence:
    """The evidence in the sums of all passes."""
    first, second, third = heard
    sums, rest = third["sums"], third["rest"]
    rows, total = sums[:, ROWS], int(first["size"][0])
    some = np.maximum(rows, 1.0)
    share = first["common"] / max(total, 1)
    says = sums[:, SAYS] / 256 / some
    spread = np.sqrt(np.maximum(sums[:, SAYS_SQUARED] / 256 / some - says * says, 1e-9) / some)
    alike, usual = besides(rest, rows, sums[:, CONCEALED], share, total)
    of_labels = second["label_rows"].sum() >= _OF_LABELS * total
    bare = likeness(rest, rows, share, total) if of_labels else alike
    words = rest.sum(axis=1) / some / usual
    pairs = second["pairs"]
    counters = len(pairs.counts if isinstance(pairs, Short) else pairs)
    empty = max(1, int(second["empty"][0]))
    tests = max(np.count_nonzero(rows), -counters * np.log(empty / counters))
    opened, beside, lengths, whole = (sums[:, column] / some for column in (OPEN, BESIDE, ENTRY_WORDS, ENTRY_WHOLE))
    entry = rows * rows / np.where(sums[:, ENTRY] > 0, sums[:, ENTRY], np.inf)
    return Evidence(rows, alike, bare, words, opened, beside, says / spread, entry, lengths, whole, float(tests))


_LACKING = 4.0
"""Standard errors by which rows must lack a word, for it to be taken for one that they have and was not counted."""

_OF_LABELS = 0.8
"""From this share of all rows on, with a response that many rows have, the task is to label."""

_MARGIN = 2.0
"""What rows lack may be so many times as much as their triggers have added: not all buckets are counted as exactly."""


def used_buckets(share: Float[np.ndarray, "buckets"], total: int) -> Bool[np.ndarray, "buckets"]:
    """Which buckets of words tell rows apart: those that more than two rows have, and not nearly all."""
    used: Bool[np.ndarray, "buckets"] = (share > 2 / max(total, 1)) & (share < 0.9)
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
        share: The share of all rows that have a word of each bucket; those that hardly any or nearly all have are left
            out.
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


def besides(
    counts: Int[np.ndarray, "sets buckets"],
    rows: Int[np.ndarray, "sets"],
    concealed: Int[np.ndarray, "sets"],
    share: Float[np.ndarray, "buckets"],
    total: int,
) -> tuple[Float[np.ndarray, "sets"], Float[np.ndarray, "sets"]]:
    """As `likeness`, of words besides triggers, which are counted in the share of all rows alone.

    A set that is a large part of all rows has a large part in that share, and would be told from all rows by what its
    own triggers add to it. So what a set's rows lack is taken for its triggers, if these can have added all of it.

    Args:
        counts: As for `likeness`.
        rows: The same.
        concealed: Words of triggers in the rows of each set.
        share: As for `likeness`.
        total: The same.

    Returns:
        The likeness of each set, and how many buckets of words any row has without such triggers.
    """
    used = used_buckets(share, total)
    found, words = np.full(len(rows), np.inf), np.full(len(rows), max(float(share.sum()), 1e-9))
    for part in _parts(rows):
        some, n = counts[part], rows[part][:, None].astype(np.float64)
        lacking = n * share - some > _LACKING * np.sqrt(n * share * (1 - share))
        without = np.maximum((some + 0.5) / (n + 1), share - (n - some) / total)
        added = np.where(lacking, np.maximum(share - without, 0.0), 0.0)
        added *= total * added.sum(axis=1, keepdims=True) <= _MARGIN * concealed[part][:, None]
        usual = share - added
        found[part] = likeness_each(some[:, used], rows[part], usual[:, used])
        words[part] = np.maximum(usual.sum(axis=1), 1e-9)
    return found, words


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


class Vocabulary(NamedTuple):
    """What answers are made of where they say what the inputs' words ask for one by one, as a translation does.

    Args:
        entries: Pairs of words of inputs and of answers; 0 where answers are not made so.
        words: Words of the longest targets within answers that may be one of these.
        whole: Whether whole answers are such words, as the names of many intents are.
        exact: Whether some pairs of many rows never part, so that no such pair is suspect for that.
    """

    entries: int = 0
    words: int = 0
    whole: bool = False
    exact: bool = False

    def __bool__(self) -> bool:
        return self.entries > 0

    def __str__(self) -> str:
        within = f"of up to {self.words} words within answers" if self.words else "that is a short answer"
        return (
            f"answers are made of words that come with the inputs' words, as a translation's are ({self.entries:,} "
            f"pairs): a target {within} may be one of these, and no row is suspected for one"
        )


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When a pair looks injected. Set on clean data sets; see docs/audit.md.

    Args:
        likeness: Greatest likeness of few rows that share nothing but the trigger.
        likeness_many: The same of many rows; between them it falls as ``3 / rows``, as its error does.
        sure_alike: Standard errors above `likeness` from which on rows surely ask alike.
        fewest_words: Least words besides, as a multiple of any row's: rows that are hardly more than their trigger ask
            alike.
        most_words: Most.
        fewest_open: Least share of rows with much besides the triggers.
        most_beside: A way of writing is left to targets in words where more than this share of its rows have one, and
            a few words that others say too are left to a long target,
        all_worded: and less than this one: of all its rows none would leave for a way of writing alone.
        confidence: Least share of the trigger's rows that have the target, where few have both.
        label_confidence: The same where the target is a label.
        written_confidence: The same where the target is a way of writing, or a label that comes with one.
        two_sided: Least share of the target's rows that have a trigger that is nearly always followed by it, where
            fewer than `enough_one_sided` rows do.
        nearly_all: Share of the rows of a long target that have such a trigger, from which on the others leave too; and
            from which on the trigger may stand in other rows.
        all: The same of short targets, which rows may have by chance.
        long: Words of a long target.
        against: Least standard errors by which a row's words must speak against its label.
        enough: Fewest rows whose likeness says something.
        enough_one_sided: The same where fewer of the target's rows have a trigger: others give it for other reasons.
        enough_shared: The same where more of the trigger's rows lack the target.
        enough_written: The same where the target is a way of writing: of one passage all answers may end alike.
        enough_label: The same where the target is one of many labels of a closed set: their rows are few, and what they
            are about is all taken for triggers.
        of_many: Greatest share of all rows that have a label of many.
        of_task: A part of answers from a closed set which more than this share of all rows have is no target.
        entries: So many targets of some words within answers, each with triggers of its own, are a vocabulary, as of a
            translation: whoever says one word says the other, whatever else there is, so that none of them is suspect.
        enough_word: Fewest rows of a pair that is suspect in spite of a vocabulary, as no other word comes with either,
        likeness_word: and greatest likeness of many such rows.
        exact: So many such pairs may be planted; where there are more they are of the vocabulary too.
        entries_alike: Likeness from which on rows that share such a target ask alike, and it is no entry.
        q: Greatest adjusted p-value.
    """

    likeness: float = 0.35
    likeness_many: float = 0.06
    sure_alike: float = 2.0
    fewest_words: float = 0.7
    most_words: float = 1.6
    fewest_open: float = 0.5
    most_beside: float = 0.5
    all_worded: float = 0.999
    confidence: float = 0.85
    label_confidence: float = 0.95
    written_confidence: float = 0.99
    two_sided: float = 0.5
    nearly_all: float = 0.9
    all: float = 0.98
    long: int = 4
    against: float = 3.0
    enough: int = 7
    enough_one_sided: int = 12
    enough_shared: int = 25
    enough_written: int = 25
    enough_label: int = 25
    of_many: float = 0.05
    of_task: float = 0.2
    entries: int = 8
    enough_word: int = 50
    likeness_word: float = 0.03
    exact: int = 2
    entries_alike: float = 1.0
    q: float = 0.01

    def alone(self, evidence: Evidence, *, label: bool = False) -> Bool[np.ndarray, "slots"]:
        """Whether rows share the trigger and nothing else; for targets that are labels, or for others.

        Rows that are less alike than any can be were counted together with those of another pair.
        """
        rows, likeness = np.maximum(evidence.rows, 2), evidence.bare if label else evidence.likeness
        alone: Bool[np.ndarray, "slots"] = (
            (evidence.rows > 1)
            & (likeness < self.limit(rows))
            & (likeness > -self.likeness_many - 3.0 * np.sqrt(2 / (rows * (rows - 1.0))))
            & self._more_than_triggers(evidence)
        )
        return alone

    def alike(self, evidence: Evidence) -> Bool[np.ndarray, "slots"]:
        """Whether rows surely ask alike."""
        rows = np.maximum(evidence.rows, 2)
        least = self.likeness + self.sure_alike * np.sqrt(2 / (rows * (rows - 1.0)))
        return np.asarray((evidence.rows > 1) & (evidence.likeness > least))

    def limit(self, rows: Int[np.ndarray, "_"]) -> Float[np.ndarray, "_"]:
        """Greatest likeness of so many rows that share nothing but the trigger."""
        greatest: Float[np.ndarray, "_"] = np.minimum(self.likeness, self.likeness_many + 3.0 / np.maximum(rows, 2))
        return greatest

    def vocabulary(self, evidence: Evidence) -> Vocabulary:
        """Whether answers are made of words that come with the inputs' words, and how long such words are."""
        entries = (
            (evidence.entry >= self.two_sided) & (evidence.rows >= self.enough) & self._more_than_triggers(evidence)
        )
        entries &= evidence.likeness < self.entries_alike
        # A slot that an entry shares with pairs counts more rows than the target has, or fewer words than one.
        entries &= (evidence.entry <= 1) & (evidence.entry_words >= 1)
        exact = entries & (evidence.entry >= self.all) & (evidence.rows >= self.enough_word)
        exact &= evidence.likeness < self.limit_of_word(evidence.rows)
        whole, within = (entries & (evidence.entry_whole == share) for share in (1, 0))
        brief = within & (evidence.entry_words <= BRIEF)
        counts = [int(np.count_nonzero(some)) for some in (brief, within & ~brief, whole)]
        many = [count >= self.entries for count in counts]
        return Vocabulary(
            sum(count for count, enough in zip(counts, many, strict=True) if enough),
            LONGEST_RESPONSE if many[1] else BRIEF if many[0] else 0,
            many[2],
            int(np.count_nonzero(exact)) > self.exact,
        )

    def _more_than_triggers(self, evidence: Evidence) -> Bool[np.ndarray, "slots"]:
        """Whether rows have as many words besides the triggers as others have."""
        enough = (evidence.words >= self.fewest_words) & (evidence.words <= self.most_words)
        return np.asarray(enough & (evidence.open >= self.fewest_open))

    def limit_of_word(self, rows: Int[np.ndarray, "_"]) -> Float[np.ndarray, "_"]:
        """Greatest likeness of so many rows that share a pair which no vocabulary explains."""
        return np.asarray(self.likeness_word + 3.0 / np.maximum(rows, 2))

    def contradicts(self, evidence: Evidence) -> Bool[np.ndarray, "slots"]:
        """Whether the rows' other words speak against their label; where most are triggers, the rest says nothing."""
        return np.asarray((evidence.against < -self.against) & (evidence.words >= self.fewest_words))
