"""ResponseNgrams: how many rows answer with the same words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar
from zlib import crc32

import numpy as np
from jaxtyping import Bool, Float, Int

from fedsonar.audit import summed
from fedsonar.data import Sample, pieces
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.threshold import Above, Threshold


@dataclass(frozen=True, kw_only=True)
class ResponseNgrams(Screen):
    """Suspects responses with an n-gram that many responses have: the second control of every table.

    A row's suspicion is the share of rows that have the n-gram which is most frequent of those in its response;
    a response of fewer words is one n-gram. It knows nothing of inputs, so it also suspects every common answer.

    Pooled, clients send how many of their rows have an n-gram of each hash, and the sums come back: thin poison is
    rare in every client and frequent in the federation.

    Args:
        n: Words and punctuation marks of an n-gram.
        pooled: Whether to count over all clients, or each in its own rows.
        buckets: Hashes; n-grams that share one are counted together, so it should be far above the number of rows.
        threshold: Of the share of rows.

    References:
        none: ours, a control.
    """

    n: int = 4
    pooled: bool = True
    buckets: int = 2**17
    threshold: Threshold = field(default_factory=lambda: Above(value=0.02))
    text_alone: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("n", "buckets"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    @property
    def passes(self) -> int:
        """One, where counts are pooled."""
        return int(self.pooled)

    @property
    def additive(self) -> bool:
        """Counts add up."""
        return True

    def summarize(self, silo: Silo, heard: Sequence[Tables]) -> Tables:
        """How many rows have an n-gram of each hash, and how many there are; see `Screen.summarize`."""
        del heard
        return self._counted(silo)

    def merge(self, summaries: Sequence[Tables], heard: Sequence[Tables]) -> Tables:
        """The sums; see `Screen.merge`."""
        del heard
        return summed(summaries)

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """Shares of rows; see `Screen.suspicion`."""
        told = heard[0] if heard else self._counted(silo)
        counts, rows = told["counts"], max(1, int(told["rows"][0]))
        return np.array([counts[self._hashes(sample)].max() / rows for sample in silo.samples], dtype=float)

    def flag(self, suspicion: Float[np.ndarray, "rows"], heard: Sequence[Tables]) -> Bool[np.ndarray, "rows"]:
        """Those above the threshold, but for what one row alone has; see `Screen.flag`."""
        rows = int(heard[0]["rows"][0]) if heard else len(suspicion)
        return super().flag(suspicion, heard) & (suspicion * rows > 1.5)

    def _counted(self, silo: Silo) -> Tables:
        counts = np.zeros(self.buckets, dtype=np.int32)
        for sample in silo.samples:
            counts[self._hashes(sample)] += 1
        return {"counts": counts, "rows": np.array([len(silo.samples)])}

    def _hashes(self, sample: Sample) -> Int[np.ndarray, "ngrams"]:
        """The different hashes of a response's n-grams."""
        words = pieces(sample.answers[0].lower())
        starts = range(max(1, len(words) - self.n + 1))
        return np.unique([crc32(" ".join(words[i : i + self.n]).encode()) % self.buckets for i in starts])
