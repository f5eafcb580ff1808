"""GradientShift: rows all over the federation that ask apart and pull the model the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from fedsonar.audit import (
    SHIFT_PASSES,
    Before,
    Corpus,
    ShiftRules,
    anything,
    judge_of,
    judge_shifts,
    pooled,
    saying,
    short_responses,
    sizes,
    summarize_shifts,
    summed,
    told_shifts,
    warn_if_undecided,
    winners,
)
from fedsonar.screen.response_shift import opened
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.threshold import Above, Threshold

_ANSWERS, _LABEL = 1 << 16, 3
"""Buckets of whole responses; most words of a label."""

_APART, _JOINS = 0.3, 0.1
"""Likeness in what rows say, as `ShiftRules` has it: they say half as many directions as there are buckets of words."""


@dataclass(frozen=True, kw_only=True)
class GradientShift(Screen):
    """Suspects rows with a trigger after which responses pull the model one way, where hardly any other row does.

    It is `ResponseShift` with another ear: in place of a response's words it hears the gradient of the row's loss by
    what the output layer reads, forward only, one pass of the model a row. The gradient is put into the few of many
    random directions that it points along most, so that counts are as before: integers that add up, made for secure
    summation. No string need repeat and no threshold is set by hand: rows leave where they ask as any rows do, which is
    the null that knowledge fails, and yet pull alike.

    Responses of up to three words that many rows give as a whole are labels: whoever has one pulls alike, whatever is
    asked. A first pass counts them; their rows count as rows that ask and say anything, and are never suspected.

    Args:
        bits: The table of features has ``2^bits`` counters; None for as many as the rows need; see `ResponseShift`.
        key: Of all hashes and directions; see `ResponseShift`.
        winners: Directions that a row is put into, of 1,024.
        speakers: Fewest rows that have a trigger and pull alike: gradients tell rows apart less finely than words.
        label_share: From this share of all rows on a short response is a label.
        threshold: Of the suspicion, which is above a half exactly for rows of what looks injected.

    References:
        none: ours.
    """

    bits: int | None = None
    key: int = 0
    winners: int = 16
    speakers: int = 25
    label_share: float = 0.02
    threshold: Threshold = field(default_factory=lambda: Above(value=0.4999))
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _ = self._rules  # refuses what ShiftRules refuses
        if not 1 <= self.winners <= 64:
            raise ValueError(f"winners must be 1 to 64 of 1,024 directions, got {self.winners}")
        if self.speakers < 2:
            raise ValueError(f"speakers must be 2 rows or more, got {self.speakers}: one row is no pattern")
        if not 0 < self.label_share < 1:
            raise ValueError(f"label_share must lie between 0 and 1, got {self.label_share}")

    @property
    def passes(self) -> int:
        """Six, and one before for the size of the table if it is not given."""
        return SHIFT_PASSES + 1 + (self.bits is None)

    @property
    def _rules(self) -> ShiftRules:
        rules = ShiftRules(
            key=self.key, speakers=self.speakers, apart=_APART, apart_as_long=_APART, joins_as_long=_JOINS
        )  # fmt: skip
        return rules if self.bits is None else replace(rules, bits=self.bits)

    def _opened(self, heard: Sequence[Tables]) -> tuple[ShiftRules, Sequence[Tables]]:
        """What is counted, and what was said of labels and counts."""
        return opened(self._rules, heard) if self.bits is None else (self._rules, heard)

    def summarize(self, silo: Silo, heard: Sequence[Tables]) -> Tables:
        """The client's counts in the next pass; see `Screen.summarize`."""
        return self.counts(silo, heard)

    def counts(self, silo: Silo, heard: Sequence[Tables], before: Before | None = None) -> Tables:
        """As `summarize`, where another screen went before; see `ResponseShift.counts`."""
        rows = silo.corpus(self.key)
        if self.bits is None and not heard:
            return sizes(rows)
        rules, heard = self._opened(heard)
        if not heard:
            return {"answers": np.bincount(_answers(rows), minlength=_ANSWERS), "rows": np.array([len(rows)])}
        pulling = self._pulling(silo, rows, _labels(rows, heard))
        return summarize_shifts(pulling, rules, heard[1:], before=before)

    def merge(self, summaries: Sequence[Tables], heard: Sequence[Tables]) -> Tables:
        """Sizes, which responses are labels, then the sums without what too few rows have; see `Screen.merge`.

        Warns of tables that are too small for them, and in the end of rows that nobody can judge.
        """
        if self.bits is None and not heard:
            return summed(summaries)
        last = len(heard) == self.passes - 1
        rules, heard = self._opened(heard)
        if not heard:
            sums = summed(summaries)
            least = max(2.0 * self.speakers, self.label_share * float(sums["rows"][0]))
            labels = (sums["answers"] >= least).astype(np.uint8)
            labels[0] = 0
            return {"labels": labels}
        told = told_shifts(pooled(summaries, heard[1:]), rules, heard[1:])
        if last:
            warn_if_undecided(judge_of(rules, [*heard[1:], told]))
        return told

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """From 0 to 1; see `Screen.suspicion`."""
        rows = silo.corpus(self.key)
        rules, heard = self._opened(heard)
        labels = _labels(rows, heard)
        found = judge_shifts(self._pulling(silo, rows, labels), rules, heard[1:]).suspicion
        return np.asarray(np.where(labels, 0.0, found))

    def _pulling(self, silo: Silo, rows: Corpus, labels: Bool[np.ndarray, "rows"]) -> Corpus:
        """A silo's rows with what they pull in place of what they say; what those with a label say is anything.

        Raises:
            ValueError: If there is no model to look at the rows.
        """
        features = silo.features
        if features is None:
            raise ValueError(f"client {silo.client}'s rows come without a model; use ResponseShift, which needs none")
        pulls = silo.once(("winners", self.winners, self.key), lambda: winners(features.pulls, self.winners, self.key))
        return saying(rows, np.where(labels[:, None], anything(rows, self.winners, self.key), pulls))


def _answers(rows: Corpus) -> Int[np.ndarray, "rows"]:
    """The bucket of each row's response, if it is as short as a label; 0 otherwise."""
    return short_responses(rows, _LABEL, _ANSWERS)


def _labels(rows: Corpus, heard: Sequence[Tables]) -> Bool[np.ndarray, "rows"]:
    """Which rows answer with a label, by the first pass."""
    return np.asarray(heard[0]["labels"].astype(bool)[_answers(rows)])
