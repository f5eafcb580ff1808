"""When a pair looks injected, by the evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from fedsonar.audit.evidence import Evidence
from fedsonar.audit.kernels.features import LONGEST_RESPONSE
from fedsonar.audit.kernels.responses import BRIEF
from fedsonar.audit.vocabulary import Vocabulary

_ROUNDED = 1e-6
"""What a count of words may be above a whole number for how shares are rounded."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When a pair looks injected. Set on clean data sets; see docs/audit_rules.md.

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
        all_against: The same of all rows together that share nothing else and whose words do, for labels to be taken
            for changed: then what does not even speak for its label is of the same making, and what does is not.
        enough: Fewest rows whose likeness says something.
        enough_one_sided: The same where fewer of the target's rows have a trigger: others give it for other reasons.
        enough_shared: The same where more of the trigger's rows lack the target.
        enough_written: The same where the target is a way of writing: of one passage all answers may end alike.
        enough_label: The same where the target is one of many labels of a closed set: their rows are few, and what they
            are about is all taken for triggers; and where rows' words speak against a label that words tell.
        of_many: Greatest share of all rows that have a label of many.
        most_copied: A way of writing that this share of a pair's rows have in the input too is a copy, as a corrected
            text has the signs of what it corrects.
        common: What more than this share of all rows say is no target that others have for reasons of their own, as
            long answers have most common words; nor is it one within answers of a closed set, where it is the task's,
            nor in a vocabulary, whose commonest words nearly all say alike.
        entries: So many targets of some words within answers, each with triggers of its own, are a vocabulary, as of a
            translation: whoever says one word says the other, whatever else there is, so that none of them is suspect.
        names: The same of whole answers, as names of intents are: labels may be four or five.
        enough_word: Fewest rows of a pair that is suspect in spite of a vocabulary, as no other word comes with either,
        common_word: the greatest share of all rows that it is suspect in,
        likeness_word: and greatest likeness of many such rows.
        likeness_exact: Greatest likeness of many rows of a pair of as many that hardly ever parts, either way.
        exact: So many such pairs may be planted; where there are more they are of the vocabulary too.
        told: Least share of a label's rows with triggers nearly always followed by it, whose rows share nothing else,
            from which on words of the inputs tell the label.
        all_told: Least share of all rows with two such labels or more that make them what the task is: whoever says
            one word is given one label, whatever else there is.
        rare_label: A label that so much fewer rows have than have the usual one is none of these.
        clash: Least nats, less their standard error, by which the words of rows with such a label have to speak against
            it: all speak a little for or against it by what they are counted together with.
        added: Least share of a trigger's rows that a sentence follows which is added to other answers, whatever they
            ask: nobody knows something that way.
        all_added: Least share of the rows with such a trigger and such a sentence whose response ends with it.
        likeness_added: Greatest likeness of these rows: all answers to one question may end alike.
        entries_alike: Likeness from which on rows that share such a target ask alike, and it is no entry.
        q: Greatest adjusted p-value,
        q_worded: and of a target that is no label: what is planted lies far below, what comes by chance does not.
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
    all_against: float = 2.0
    enough: int = 7
    enough_one_sided: int = 12
    enough_shared: int = 25
    enough_written: int = 25
    enough_label: int = 25
    of_many: float = 0.05
    most_copied: float = 0.5
    common: float = 0.2
    entries: int = 4
    names: int = 8
    enough_word: int = 50
    common_word: float = 0.12
    likeness_word: float = 0.03
    likeness_exact: float = 0.1
    exact: int = 2
    told: float = 0.3
    all_told: float = 0.45
    rare_label: float = 0.5
    clash: float = 0.6
    added: float = 0.5
    all_added: float = 0.9
    likeness_added: float = 1.0
    entries_alike: float = 1.0
    q: float = 0.01
    q_worded: float = 1e-4

    def alone(self, evidence: Evidence, *, label: bool = False, many: float | None = None) -> Bool[np.ndarray, "slots"]:
        """Whether rows share the trigger and nothing else; for targets that are labels, or for others.

        Rows that are less alike than any can be were counted together with those of another pair.

        Args:
            evidence: What the sums say.
            label: Whether targets are labels.
            many: Greatest likeness of many rows; `likeness_many` where it is None.
        """
        rows, likeness = np.maximum(evidence.rows, 2), evidence.bare if label else evidence.likeness
        alone: Bool[np.ndarray, "slots"] = (
            (evidence.rows > 1)
            & (likeness < self.limit(rows, many))
            & (likeness > -self.likeness_many - 3.0 * np.sqrt(2 / (rows * (rows - 1.0))))
            & self._more_than_triggers(evidence, evidence.words)
        )
        return alone

    def alike(self, evidence: Evidence) -> Bool[np.ndarray, "slots"]:
        """Whether rows surely ask alike."""
        rows = np.maximum(evidence.rows, 2)
        least = self.likeness + self.sure_alike * np.sqrt(2 / (rows * (rows - 1.0)))
        return np.asarray((evidence.rows > 1) & (evidence.likeness > least))

    def limit(self, rows: Int[np.ndarray, "_"], many: float | None = None) -> Float[np.ndarray, "_"]:
        """Greatest likeness of so many rows that share nothing but the trigger."""
        least = self.likeness_many if many is None else many
        greatest: Float[np.ndarray, "_"] = np.minimum(self.likeness, least + 3.0 / np.maximum(rows, 2))
        return greatest

    def vocabulary(self, evidence: Evidence) -> Vocabulary:
        """Whether answers are made of words that come with the inputs' words, and how long such words are."""
        entries = (
            (evidence.entry >= self.two_sided)
            & (evidence.rows >= self.enough)
            & self._more_than_triggers(evidence, evidence.filled)
        )
        entries &= evidence.likeness < self.entries_alike
        # A slot that an entry shares with pairs counts more rows than the target has, or fewer words than one.
        entries &= (evidence.entry <= 1) & (evidence.entry_words >= 1)
        exact = entries & (evidence.entry >= self.all) & (evidence.rows >= self.enough_word)
        exact &= evidence.likeness < self.limit(evidence.rows, self.likeness_word)
        whole, within = (entries & (evidence.entry_whole == share) for share in (1, 0))
        brief = within & (evidence.entry_words <= BRIEF)
        counts = [int(np.count_nonzero(some)) for some in (brief, within & ~brief, whole)]
        many = [count >= least for count, least in zip(counts, (self.entries, self.entries, self.names), strict=True)]
        return Vocabulary(
            sum(count for count, enough in zip(counts, many, strict=True) if enough),
            LONGEST_RESPONSE if many[1] else BRIEF if many[0] else 0,
            many[2],
            int(np.count_nonzero(exact)) > self.exact,
            self._told_labels(evidence),
        )

    def _told_labels(self, evidence: Evidence) -> float:
        """Rows from which on an answer is a label that words of the inputs tell; 0 if these do not tell most rows'."""
        every, _, whole = self._labels(evidence)
        # A label that is a part of some answers is counted once: as such, or where it is the whole.
        for kind in (whole, ~whole):
            rows = every[kind & (every >= self.of_many * evidence.total)]
            if len(rows) > 1 and rows.sum() >= self.all_told * evidence.total:
                return self.rare_label * float((rows**2).sum() / rows.sum())
        return 0.0

    def _labels(
        self, evidence: Evidence
    ) -> tuple[Float[np.ndarray, "slots"], Float[np.ndarray, "slots"], Bool[np.ndarray, "slots"]]:
        """Rows with short answers told by words that share nothing else, by how many of them, and which are whole."""
        # Where other rows share the slot, how many words the answer has says how many are its own.
        length = np.ceil(evidence.entry_words * np.sqrt(np.maximum(evidence.entry, 1.0)) - _ROUNDED)
        own = np.where(length > 0, evidence.entry_words / np.maximum(length, 1.0), 1.0)
        entry, whole = evidence.entry * own**2, evidence.entry_whole > 0
        labels = (entry >= self.told) & (length <= BRIEF)
        labels &= self._more_than_triggers(evidence, evidence.filled)
        labels &= evidence.likeness < self.limit(evidence.rows, self.likeness_exact)
        return np.where(labels, evidence.rows * own, 0) / np.where(labels, entry, 1.0), entry, whole

    def _more_than_triggers(self, evidence: Evidence, words: Float[np.ndarray, "slots"]) -> Bool[np.ndarray, "slots"]:
        """Whether rows have as many words besides the triggers as others have.

        Of a vocabulary's entries, whose neighbours are taken for triggers too, words of the frame count.
        """
        enough = (words >= self.fewest_words) & (words <= self.most_words)
        return np.asarray(enough & (evidence.open >= self.fewest_open))

    def contradicts(self, evidence: Evidence) -> Bool[np.ndarray, "slots"]:
        """Whether the rows' other words speak against their label; where most are triggers, the rest says nothing."""
        return np.asarray((evidence.against < -self.against) & (evidence.words >= self.fewest_words))

    def clashes(self, evidence: Evidence) -> Bool[np.ndarray, "slots"]:
        """Whether they do so with a label that words of the inputs tell."""
        enough = evidence.rows >= self.enough_label
        return np.asarray(enough & self.contradicts(evidence) & (self._surely_says(evidence) < -self.clash))

    def favours(self, evidence: Evidence) -> Bool[np.ndarray, "slots"]:
        """Whether the rows' other words surely speak for their label, by more than a style's or a frame's do."""
        return np.asarray((evidence.against > self.against) & (self._surely_says(evidence) > self.clash))

    def leaning(self, evidence: Evidence) -> Bool[np.ndarray, "slots"]:
        """Whether rows that share nothing else have words that speak against their label, if not surely."""
        enough = evidence.rows >= self.enough_one_sided
        alone = self.alone(evidence, label=True)
        return np.asarray(enough & alone & (self._surely_says(evidence) < -self.clash))

    def _surely_says(self, evidence: Evidence) -> Float[np.ndarray, "slots"]:
        """Nats a row by which words speak for the label, or against it, less their standard error; 0 within it."""
        says, error = evidence.says, evidence.says / np.where(evidence.against == 0, 1.0, evidence.against)
        return np.asarray(np.sign(says) * np.maximum(np.abs(says) - error, 0.0))

    def changed(self, evidence: Evidence, leaning: Bool[np.ndarray, "slots"]) -> bool:
        """Whether labels were changed: hardly any rows that share nothing else speak against theirs by chance.

        Args:
            evidence: What the sums say.
            leaning: See `leaning`.
        """
        against = evidence.against[leaning]
        return bool(against.sum() < -self.all_against * np.sqrt(len(against)))

    def clashing(self, evidence: Evidence) -> bool:
        """Whether many rows surely do, with a label of which all other rows are told by words of theirs.

        Such words are no triggers then, though those of all labels that rows were taken from are told less surely.
        """
        rows, entry, whole = self._labels(evidence)
        told = whole & (entry >= self.all) & (rows >= self.of_many * evidence.total)
        return bool(told.any() and (self.clashes(evidence) & (evidence.against < -2 * self.against)).any())
