"""Association: triggers and targets that come together all over the federation, and nothing else does."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from fedsonar.audit import (
    PASSES,
    Privacy,
    Rules,
    Scope,
    bits_for,
    judge,
    pooled,
    sizes,
    slot_bits_for,
    summarize,
    summed,
    told,
    warn_if_crowded,
    weighed,
    words_for,
)
from fedsonar.audit.private import PrivateRules, judge_private, noised, summarize_private, told_private
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.threshold import Above, Threshold

_PRIVATE = Scope(bits=21, pair_bits=22, slot_bits=13)
"""Sizes of tables where privacy is promised and none are given."""


@dataclass(frozen=True, kw_only=True)
class Association(Screen):
    """Suspects rows with a trigger and a target that go together in the whole federation, where nothing else does.

    The input has a feature that comes with one feature of the response, and the response's with the input's, though the
    rows have nothing else in common.

    Clients count in three passes: features of inputs and of responses; pairs of frequent ones; and, for pairs that
    stand out, what else such rows say. Before, they say how many words they have, so that tables are as large as all
    rows need, unless their sizes are given. All counts are integers in hashed tables that add up, made for secure
    summation. A client looks up its own rows' words in the sums and judges by itself. Suspicion lies in [0, 1] and is
    above a half exactly for rows of pairs that look injected; see `fedsonar.audit.Rules`.

    With `privacy` all that is told is differentially private: a row counts with a few of its features, clients add
    noise, and a pair has to stand out from it. It finds triggers of single words, of how inputs begin and end, and of
    how they are written, with targets in fixed words that are no labels, if enough rows have them.

    Args:
        bits: Tables of features have ``2^bits`` counters; None for as many as the rows need, or 2^21 with `privacy`.
        pair_bits: The same of pairs; None for as many as of features, or 2^22 with `privacy`.
        slot_bits: Tables of pairs that stand out have ``2^slot_bits`` rows; None for twice as many as there are pairs
            that enough rows have, or 2^13 with `privacy`.
        key: Of all hashes. Clients that share one which the server does not know keep it from looking words up.
        privacy: What is promised of single rows; None for exact counts.
        threshold: Of the suspicion.

    References:
        Dunning, 1993, "Accurate methods for the statistics of surprise and coincidence", Computational Linguistics
        19(1),
        for the association; what rows have besides is ours. Agarwal, Kairouz and Liu, 2021, "The Skellam mechanism for
        differentially private federated learning", NeurIPS, for the noise.
    """

    bits: int | None = None
    pair_bits: int | None = None
    slot_bits: int | None = None
    key: int = 0
    privacy: Privacy | None = None
    threshold: Threshold = field(default_factory=lambda: Above(value=0.4999))
    text_alone: ClassVar[bool] = True
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _ = self._scope  # refuses what Scope refuses

    @property
    def _sizing(self) -> bool:
        """Whether clients say how many words they have; with privacy they do not."""
        return self.privacy is None and None in (self.bits, self.pair_bits)

    @property
    def passes(self) -> int:
        """Three, and one before for the sizes of tables that are not given."""
        return PASSES + self._sizing

    @property
    def _scope(self) -> Scope:
        """What is counted, in tables of the sizes that are given, or of those with privacy."""
        given = {name: getattr(self, name) for name in ("bits", "pair_bits", "slot_bits")}
        return replace(_PRIVATE, key=self.key, **{name: bits for name, bits in given.items() if bits is not None})

    def _opened(self, heard: Sequence[Tables]) -> tuple[Scope, Sequence[Tables]]:
        """What is counted, in tables as large as was said so far, and what was said of the counts."""
        scope = self._scope
        if self._sizing:
            bits, words, heard = bits_for(heard[0]), words_for(heard[0]), heard[1:]
            scope = replace(scope, bits=self.bits or bits, pair_bits=self.pair_bits or bits, words=words)
        if self.slot_bits is None and self.privacy is None and len(heard) > 1:
            scope = replace(scope, slot_bits=slot_bits_for(heard[1]["pairs"]))
        return scope, heard

    def summarize(self, silo: Silo, heard: Sequence[Tables]) -> Tables:
        """The client's counts in the next pass; see `Screen.summarize`."""
        rows = silo.corpus(self.key)
        if self._sizing and not heard:
            return sizes(rows)
        scope, heard = self._opened(heard)
        return summarize_private(rows, scope, self.privacy, heard) if self.privacy else summarize(rows, scope, heard)

    @property
    def epsilon(self) -> float | None:
        """What `privacy` promises; see `Screen.epsilon`."""
        return self.privacy.epsilon if self.privacy else None

    @property
    def fewest(self) -> int:
        """Those that share the noise of `privacy`; see `Screen.fewest`."""
        return self.privacy.clients if self.privacy else 1

    def noised(self, summary: Tables, rng: np.random.Generator) -> Tables:
        """The counts with the client's share of noise, if there is `privacy`; see `Screen.noised`."""
        return noised(summary, self.privacy, rng) if self.privacy else summary

    def merge(self, summaries: Sequence[Tables], heard: Sequence[Tables]) -> Tables:
        """The sums, without what too few rows have; warns of tables that are too small for them. See `Screen.merge`."""
        if self._sizing and not heard:
            return summed(summaries)
        scope, heard = self._opened(heard)
        if self.privacy:
            return told_private(summed(summaries), self.privacy, heard)
        sums = pooled(summaries, heard)
        said = told(sums, scope, heard)
        if len(heard) == PASSES - 1:
            warn_if_crowded(sums["sums"][: 1 << scope.slot_bits, 0], "slot_bits", 0.5)
            if vocabulary := Rules().vocabulary(weighed([*heard, said])):
                warnings.warn(str(vocabulary), stacklevel=2)
        return said

    def vocabulary(self, heard: Sequence[Tables]) -> bool:
        """Whether answers are made of the inputs' words; see `fedsonar.audit.Rules`."""
        return self.privacy is None and bool(Rules().vocabulary(weighed(self._opened(heard)[1])))

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """From 0 to 1; see `Screen.suspicion`."""
        rows = silo.corpus(self.key)
        scope, heard = self._opened(heard)
        if self.privacy:
            return judge_private(rows, scope, self.privacy, heard, PrivateRules())
        return judge(rows, scope, heard, Rules()).suspicion
