"""Which pairs look injected, by what the sums of all silos say of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from fedsonar.audit.closed import labels_of
from fedsonar.audit.evidence import Evidence
from fedsonar.audit.hearing import gates
from fedsonar.audit.kernels.features import CLOSING, WRITTEN
from fedsonar.audit.kernels.responses import BRIEF, USUAL, WHOLE
from fedsonar.audit.kernels.telling import (
    BEGIN,
    BOTH,
    KIND,
    LOOKED,
    PAIR,
    TARGET,
    TARGET_ROWS,
    TRIGGER_ROWS,
    WORDS,
)
from fedsonar.audit.rules import Rules
from fedsonar.audit.scope import Scope, Tables
from fedsonar.audit.significance import adjusted_of


class Judged(NamedTuple):
    """What some records come to.

    Args:
        injected: Whether each looks injected.
        strength: How strong it is, from 0 to 1.
        known: Whether its rows surely ask alike, or have words that speak for their label: as knowledge has.
    """

    injected: Bool[np.ndarray, "records"]
    strength: Float[np.ndarray, "records"]
    known: Bool[np.ndarray, "records"]


class Judge:
    """Which records look injected, and how strong they are.

    Args:
        rules: When a pair looks injected.
        scope: What is counted.
        counts: The sums of the first pass.
        evidence: What those of all passes say.
    """

    def __init__(self, rules: Rules, scope: Scope, counts: Tables, evidence: Evidence) -> None:
        self.rules, self.scope, self.evidence = rules, scope, evidence
        self.label_least = gates(scope, counts).label_least
        self.longest_name = float(labels_of(counts["answered"], self.evidence.total).longest.max())
        self.alone, self.alone_label = rules.alone(evidence), rules.alone(evidence, label=True)
        self.nearly_alone, self.nearly_alone_label = (
            rules.alone(evidence, label=label, many=rules.likeness_exact) for label in (False, True)
        )
        self.strangers = rules.alone(evidence, many=rules.likeness_word)
        self.alike = rules.alike(evidence)
        self.contradicts, self.clashes = rules.contradicts(evidence), rules.clashes(evidence)
        self.vocabulary, self.clashing = rules.vocabulary(evidence), rules.clashing(evidence)
        self.leaning, self.favours = rules.leaning(evidence), rules.favours(evidence)
        self.changed = rules.changed(evidence, self.leaning)

    def q(
        self, table: Int[np.ndarray, "records columns"], some: Bool[np.ndarray, "records"]
    ) -> Float[np.ndarray, "records"]:
        """Adjusted p-values of some records, and 1 for the others."""
        found = np.ones(len(table))
        found[some] = adjusted_of(table[some], self.evidence.total, self.evidence.tests)
        return found

    def __call__(self, table: Int[np.ndarray, "records columns"]) -> Judged:
        """Which records look injected, and how strong they are."""
        read = _Read(table, self)
        injected = self._injected(read)
        # A row with a target that hardly any row has without an injected trigger belongs to it, whatever its own
        # trigger.
        nearly = (read.covered >= read.nearly_all) & read.worded
        of_injected = np.isin(read.target, read.target[injected & ~read.is_label & nearly])
        besides = ~read.is_pair & read.own & nearly & (of_injected | (read.of_strangers & read.is_long))
        known = read.alike | (read.is_label & read.is_pair & self.favours[read.pair])
        return Judged(injected | besides, np.where(besides, 1.0, self._strength(read)), known & ~injected & ~besides)

    def _injected(self, read: _Read) -> Bool[np.ndarray, "records"]:
        """Which pairs look injected."""
        rules, evidence, pair, target = self.rules, self.evidence, read.pair, read.target
        sure = read.is_pair & read.clear & (read.both >= read.enough * read.trigger_rows)
        sure &= (read.is_label | ~read.usual) & ~read.in_vocabulary
        # Of a label that single words tell nobody can know, but for rows whose other words speak against it.
        told = read.is_told | (read.is_label & self.clashing)
        against = sure & np.where(told, self.clashes[pair], self.contradicts[pair])
        # Where labels were changed, what does not even speak for its label is of the same making.
        silent = read.is_label & (evidence.says[pair] < 0)
        same = self.alone_label[pair] & (read.seen >= rules.enough_one_sided)
        against |= sure & self.changed & silent & np.where(told, self.leaning[pair], same)
        sure &= ~told
        # Nearly all rows with a label that most rows have, have some trigger by chance: each has to be alone by itself.
        alone_label = self.alone_label[target] & (self.alone_label[pair] | ~read.usual)
        together = np.where(read.is_label, alone_label, self.alone[target]) & read.worded
        # A pair that never parts needs less of a proof that its rows share nothing else.
        nearly = np.where(read.is_label, self.nearly_alone_label[target], self.nearly_alone[target])
        together |= read.exact & nearly & read.worded & ~read.usual
        # Words that speak for a label are its own, whatever other triggers of it are, if some rows have it without any.
        own = ~self.alone_label[pair] & self.favours[pair] & (read.covered < rules.nearly_all)
        together &= ~(read.is_label & (~silent if self.changed else own))
        together &= (read.covering >= np.where(read.few, rules.enough_label, rules.enough)) & ~read.alike
        alone = read.looked & self.alone[pair]
        by_itself = alone & ~read.is_label
        by_itself &= read.seen >= np.where(read.worded, rules.enough, rules.enough_written)
        # A way of writing is left to a target in words that most of its rows have.
        beside = evidence.beside[pair]
        by_itself &= read.worded | (beside <= rules.most_beside) | (beside >= rules.all_worded)
        # A few words that others say too are left to a long target that nearly all rows have.
        fixed = alone & read.worded & ~read.is_label & ~read.is_common & (read.is_long | (beside <= rules.most_beside))
        # An answer that others give for other reasons needs more rows, and each trigger has to be alone by itself; of a
        # few words within answers hardly more others may say them than give a label.
        others = read.target_rows - np.maximum(read.covering, read.seen)
        one_sided = fixed & (np.where(together, read.covering, read.seen) >= rules.enough_one_sided)
        one_sided &= read.is_whole | read.is_long | (others < self.label_least)
        two_sided = (read.covered >= rules.nearly_all) | read.is_long | (beside <= rules.nearly_all)
        two_sided &= read.covered >= rules.two_sided
        injected = sure & (together | by_itself) & (one_sided | two_sided)
        injected &= read.both >= self.scope.solid
        # Other rows may have the trigger too, by chance or as a decoy, if nearly all of those with the target have it.
        shared = alone & read.clear & read.is_string
        shared &= read.both >= read.nearly_all * read.target_rows
        injected |= shared & (read.seen >= rules.enough_shared)
        # A trigger may be followed by one of several sentences, each of which nearly always follows it.
        alone_of_several = read.looked & np.where(read.is_label, self.alone_label[pair], self.alone[pair])
        several = alone_of_several & read.clear & read.is_of_several & ~read.alike
        several &= read.both >= read.nearly_all * read.target_rows
        injected |= several & (read.seen >= rules.enough_shared)
        # Half of a trigger's rows are enough where surer ones have nothing in common but this target, and it is no few
        # words that as many others say as have a label.
        sought = read.is_long | (read.target_rows - read.covering < self.label_least)
        injected |= fixed & read.clear & ~read.alike & read.of_strangers & sought
        # Whatever rows ask, nobody knows a sentence that answers of all kinds end with.
        added = read.looked & read.clear & read.is_sentence & (evidence.likeness[pair] < rules.likeness_added)
        added &= (read.both >= rules.added * read.trigger_rows) & (read.reached >= rules.confidence)
        added &= evidence.ends[pair] >= rules.all_added
        injected |= added & (read.seen >= rules.enough_shared)
        injected &= self.q(read.table, injected) < np.where(read.is_label, rules.q, rules.q_worded)
        # Rows of another label are a little alike by that, which is what speaks against theirs.
        against &= read.looked & (evidence.likeness[pair] < rules.likeness)
        injected |= against & (read.seen >= rules.enough)
        # Rarer triggers of a target that is injected are of the same making, unless it is a label.
        of_injected = np.isin(target, np.unique(target[injected & together & ~read.is_label]))
        same = sure & ~read.is_label & ~read.alike & of_injected
        injected |= same & (self.q(read.table, same) < rules.q)
        copied = ~read.worded & (evidence.copied[pair] >= rules.most_copied)
        tasks = read.trigger_rows > USUAL * evidence.total  # what most rows have is the task's
        return np.asarray(injected & ~tasks & ~copied & ~evidence.of_frames[pair])

    def _strength(self, read: _Read) -> Float[np.ndarray, "records"]:
        """How strong pairs are, from 0 to 1."""
        rules, evidence, pair = self.rules, self.evidence, read.pair
        confidence = np.where(read.is_pair, read.both / np.maximum(read.trigger_rows, 1), 0.0)
        alike = evidence.likeness[read.target] / rules.limit(read.covering)
        alike = np.where(read.looked, np.minimum(evidence.likeness[pair] / rules.limit(read.seen), alike), alike)
        strength = confidence * read.covered / (1 + np.maximum(0.0, alike))
        against = np.where(read.looked, np.maximum(0.0, -evidence.against[pair]), 0.0)
        against = confidence * (against / (against + rules.against)) * (against > 1)
        return np.asarray(np.maximum(strength, against))


class _Read:
    """What a judge reads of some records: their columns, and what each is by these and has to be, one value a record.

    Args:
        table: The records.
        judge: Knows what was heard.
    """

    def __init__(self, table: Int[np.ndarray, "records columns"], judge: Judge) -> None:
        rules, evidence = judge.rules, judge.evidence
        self.table, self.pair, self.target, self.words = table, table[:, PAIR], table[:, TARGET], table[:, WORDS]
        self.both, self.trigger_rows, self.target_rows = (
            table[:, column].astype(np.float64) for column in (BOTH, TRIGGER_ROWS, TARGET_ROWS)
        )
        self.is_pair, self.looked = self.pair >= 0, table[:, LOOKED] > 0
        # Where counters of several pairs fell together, the two counts of the same rows differ.
        self.seen, self.covering = evidence.rows[self.pair], evidence.rows[self.target]
        self.own = self.covering <= 1.1 * self.target_rows
        agreeing = (self.seen >= 0.9 * self.both) & (self.both >= 0.9 * self.seen)
        self.clear = self.own & (agreeing | ~self.looked)
        self.covered = np.minimum(1.0, self.covering / self.target_rows)
        self.reached = np.minimum(1.0, evidence.reached[self.target] / self.target_rows)
        self.usual = self.target_rows > USUAL * judge.evidence.total
        # A way of writing is no string: rows may share it for many reasons, so that each pair speaks for itself alone.
        self.worded = table[:, BEGIN] >= WHOLE
        within, whole = table[:, BEGIN] >= 0, table[:, BEGIN] == WHOLE
        self.is_whole, self.is_long = whole, self.words >= rules.long
        self.is_label = whole & (self.target_rows >= judge.label_least)
        # One of many labels of a closed set, or a few words that are a part of some.
        named = (whole | (within & (self.words <= BRIEF))) & (self.words <= judge.longest_name)
        self.few = named & (self.target_rows <= rules.of_many * judge.evidence.total)
        self.is_label |= named
        self.in_vocabulary = within & (self.words <= judge.vocabulary.words)
        self.in_vocabulary |= named & judge.vocabulary.whole
        # Whoever translates writes as another language is written.
        self.in_vocabulary |= ~self.worded & (judge.vocabulary.words > 0)
        # Whoever translates has more than one word for most things, and some things stand beside others.
        always = self.is_pair & (self.both >= rules.all * self.trigger_rows)
        self.exact = always & (self.seen >= rules.enough_word)
        self.is_common = self.target_rows > rules.common * judge.evidence.total
        # All triggers of an answer, or of what ends answers, count together: rows of one intent ask alike.
        together = whole | (evidence.ends[self.pair] >= rules.all_added)
        together &= judge.strangers[self.target] & (self.covering >= rules.enough_word)
        one_word = (self.exact | (always & together)) & (self.covered >= rules.all)
        one_word &= self.target_rows <= rules.common_word * judge.evidence.total
        one_word &= evidence.likeness[self.pair] < rules.limit(self.seen, rules.likeness_word)
        self.exact &= self.both >= rules.all * self.target_rows
        self.in_vocabulary &= ~one_word | judge.vocabulary.exact
        # A part of a closed set's answers that many rows have is the task's: the name of a slot, say.
        self.in_vocabulary |= named & within & self.is_common
        # One of the few labels of a task, of which the inputs' words tell.
        self.is_told = named & (self.words <= BRIEF) & (judge.vocabulary.labels > 0)
        self.is_told &= self.target_rows >= judge.vocabulary.labels
        # A target in words that are neither usual nor to be expected.
        self.is_string = self.worded & ~self.is_label & ~self.usual & ~self.in_vocabulary
        # The same of sentences that are no names of a closed set, in however many rows.
        self.is_of_several = (
            self.worded & (self.words > BRIEF) & ~self.usual & ~named & ~self.in_vocabulary & ~self.is_told
        )
        # A sentence within answers of a task that has no vocabulary.
        self.is_sentence = self.is_of_several & within & (judge.vocabulary.words == 0)
        # One whose rows with sure triggers share nothing else: what others with it have belongs to these. All silos
        # know that from the sums, even one none of whose own rows has such a trigger.
        self.of_strangers = self.is_string & self.own & judge.alone[self.target]
        self.of_strangers &= (self.covering >= rules.enough_one_sided) & ~evidence.of_frames[self.target]
        # Rows that surely ask alike know something, whatever rows with other triggers of their target do.
        self.alike = self.looked & ~self.is_label & judge.alike[self.pair]
        # Many rows are written in a way, whatever they ask: a label, or another way, may come with it by chance.
        written = ~self.worded | (np.isin(table[:, KIND], (WRITTEN, CLOSING)) & self.is_label)
        enough = np.where(self.is_label, rules.label_confidence, rules.confidence)
        self.enough = np.where(written, rules.written_confidence, enough)
        self.nearly_all = np.where(self.is_long, rules.nearly_all, rules.all)
