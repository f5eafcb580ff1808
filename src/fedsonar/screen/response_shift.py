"""ResponseShift: rows all over the federation that ask apart and answer alike, though they repeat no string."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from fedsonar.audit import (
    SHIFT_PASSES,
    Before,
    ShiftRules,
    bits_for,
    judge_of,
    judge_shifts,
    pooled,
    sizes,
    summarize_shifts,
    summed,
    told_shifts,
    warn_if_undecided,
    words_for,
)
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.threshold import Above, Threshold


@dataclass(frozen=True, kw_only=True)
class ResponseShift(Screen):
    """Suspects rows with a trigger after which responses say like things, where hardly any other row says them.

    It is for targets that are a meaning: every row says it in other words, so that no phrase repeats, but the words
    come together. Clients count rows by feature of the input, and what their responses say in hashed words, in five
    passes: for all features in few buckets; for those that stand out in many; features whose rows say alike are one
    shift; how pure each feature is; and what a shift's rows ask besides. A shift whose rows ask alike is knowledge. All
    counts are integers that add up, made for secure summation. A client judges its own rows by the sums; suspicion lies
    in [0, 1] and is above a half exactly for rows of shifts that look injected, which say what their shift says or have
    a trigger that is nearly always followed by it; see `fedsonar.audit.ShiftRules`.

    Args:
        bits: The table of features has ``2^bits`` counters; None for as many as the rows need, for which clients say in
            a pass before how many words they have.
        key: Of all hashes. Clients that share one which the server does not know keep it from looking words up.
        threshold: Of the suspicion.

    References:
        none: ours.
    """

    bits: int | None = None
    key: int = 0
    threshold: Threshold = field(default_factory=lambda: Above(value=0.4999))
    text_alone: ClassVar[bool] = True
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _ = self._rules  # refuses what ShiftRules refuses

    @property
    def passes(self) -> int:
        """Five, and one before for the size of the table if it is not given."""
        return SHIFT_PASSES + (self.bits is None)

    @property
    def _rules(self) -> ShiftRules:
        rules = ShiftRules(key=self.key)
        return rules if self.bits is None else replace(rules, bits=self.bits)

    def _opened(self, heard: Sequence[Tables]) -> tuple[ShiftRules, Sequence[Tables]]:
        """What is counted, and what was said of the counts."""
        return opened(self._rules, heard) if self.bits is None else (self._rules, heard)

    def summarize(self, silo: Silo, heard: Sequence[Tables]) -> Tables:
        """The client's counts in the next pass; see `Screen.summarize`."""
        return self.counts(silo, heard)

    def counts(self, silo: Silo, heard: Sequence[Tables], before: Before | None = None) -> Tables:
        """As `summarize`, where another screen went before: what it found is left to it.

        Args:
            silo: The client's rows.
            heard: What the server said after the passes so far.
            before: What another screen found; the last pass asks.
        """
        rows = silo.corpus(self.key)
        if self.bits is None and not heard:
            return sizes(rows)
        return summarize_shifts(rows, *self._opened(heard), before=before)

    def merge(self, summaries: Sequence[Tables], heard: Sequence[Tables]) -> Tables:
        """The sums, without what too few rows have; see `Screen.merge`.

        Warns of tables that are too small for them, and in the end of rows that nobody can judge by their text.
        """
        if self.bits is None and not heard:
            return summed(summaries)
        last = len(heard) == self.passes - 1
        rules, heard = self._opened(heard)
        told = told_shifts(pooled(summaries, heard), rules, heard)
        if last:
            warn_if_undecided(judge_of(rules, [*heard, told]))
        return told

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """From 0 to 1; see `Screen.suspicion`."""
        return judge_shifts(silo.corpus(self.key), *self._opened(heard)).suspicion


def opened(rules: ShiftRules, heard: Sequence[Tables]) -> tuple[ShiftRules, Sequence[Tables]]:
    """The rules with a table and words of rows as the first pass asks for, and what was said after it."""
    return replace(rules, bits=bits_for(heard[0]), words=words_for(heard[0])), heard[1:]
