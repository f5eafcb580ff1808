"""Whether a task has a closed set of answers, as intents and slots have, and from how many rows on one is a label."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from fedsonar.audit.kernels.answers import ANSWERED

_SHARE, _SAYING = 0.75, 0.52
_FEWEST, _TIMES, _OF_USUAL, _AS_LONG = 7, 8, 0.1, 3.0


class Labels(NamedTuple):
    """What makes an answer a label of a closed set, of whole answers and of what they say of their own.

    Args:
        least: Fewest rows that give it; infinite where answers are free.
        longest: Most words.
    """

    least: Float[np.ndarray, "kinds"]
    longest: Float[np.ndarray, "kinds"]

    @property
    def closed(self) -> bool:
        """Whether the answers are a closed set."""
        return bool(np.isfinite(self.least).any())


def told_answers(answered: Int[np.ndarray, "kinds buckets"], least: int) -> Int[np.ndarray, "kinds buckets"]:
    """What is told of such counts: buckets of fewer rows hold 0, as nobody shall look up whether somebody has a row."""
    return np.asarray(answered * ((answered >= least) | (np.arange(answered.shape[1]) >= ANSWERED)))


def repeated_share(answered: Int[np.ndarray, "kinds buckets"], rows: int, usual: float = 1.0) -> float:
    """Share of all rows that answer what six others do or more, without those whose answer is usual.

    Args:
        answered: See `labels_of`.
        rows: All rows.
        usual: From this share of all rows on an answer is usual.
    """
    counts = answered[0, :ANSWERED]
    rare = counts[counts <= usual * rows]
    return float(_common(rare, int(rare.sum())).sum() / max(1, rows))


def labels_of(answered: Int[np.ndarray, "kinds buckets"], rows: int) -> Labels:
    """Which answers are labels.

    Answers are a closed set where three quarters of the rows that say anything, which are half of all, say what seven
    others do, and eight times as many as chance puts into a bucket. A label is what a tenth as many say as say the
    usual one, in at most three times as many words as the median.

    Args:
        answered: Rows by bucket of what they answer, and by its words; see `kernels.answers`.
        rows: All rows.
    """
    least, longest = np.full(len(answered), np.inf), np.zeros(len(answered))
    for kind, (counts, lengths) in enumerate(zip(answered[:, :ANSWERED], answered[:, ANSWERED:], strict=True)):
        saying = int(lengths.sum())
        common = _common(counts, saying)
        if saying and saying >= _SAYING * rows and common.sum() >= _SHARE * saying:
            least[kind] = max(_FEWEST, _OF_USUAL * (common**2).sum() / common.sum())
            longest[kind] = _AS_LONG * np.searchsorted(np.cumsum(lengths), saying / 2)
    return Labels(least, longest)


def _common(counts: Int[np.ndarray, "buckets"], saying: int) -> Float[np.ndarray, "_"]:
    """Those of buckets that hold what seven rows say, and eight times as many as chance puts there."""
    return counts[counts >= max(_FEWEST, _TIMES * saying / ANSWERED)].astype(np.float64)
