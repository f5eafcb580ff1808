"""What a silo's rows say as others do, whatever they ask: how suspect that makes them, and which phrases these are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt64

from fedsonar.audit.closed import repeated_share
from fedsonar.audit.corpus import Corpus
from fedsonar.audit.hearing import singles_of
from fedsonar.audit.kernels.repeating import repeats_of
from fedsonar.audit.scope import Scope, Tables

FEWEST, _TEMPLATE = 10, 0.45
"""Rows of a phrase that is worth telling, at least; and the share of all rows above which it is the task's own."""

_PHRASE, _SHORT = 0.3, 0.1
"""Suspicion of a row with a phrase that all rows say; and with a short answer that all give."""

_FREE, _USUAL = 0.4, 0.2
"""Answers are free where fewer than this share of the rows give the same as others; and what more than this share of
all rows have is what is usual: real questions lie below .12, and the embedded world, without its labels, above .6."""


@dataclass(frozen=True)
class Repeats:
    """What each row of a silo says as others do.

    Args:
        said: How many rows of all silos say the commonest phrase of four words or more in its answer; 0 where hardly
            any other row says any.
        answered: How many give the same answer of fewer words; 0 where hardly any other row does, or that tells
            nothing.
        phrases: The feature of the most telling such phrase, of which the longer needs fewer rows; 0 for none.
        weights: How telling it is.
    """

    said: Int[np.ndarray, "rows"]
    answered: Int[np.ndarray, "rows"]
    phrases: UInt64[np.ndarray, "rows"]
    weights: Int[np.ndarray, "rows"]

    @classmethod
    def of(cls, rows: Corpus, scope: Scope, first: Tables) -> Repeats:
        """Those of a silo, by what it heard of the first pass."""
        singles = singles_of(scope, first)
        said, answered, weights = np.zeros((3, len(rows)), np.int64)
        phrases, usual = np.zeros(len(rows), np.uint64), _USUAL * singles.rows
        between = FEWEST, _TEMPLATE * singles.rows
        repeats_of(rows.words, rows.bounds, rows.marks, singles, *between, said, answered, phrases, weights)
        if repeated_share(first["answered"], singles.rows) >= _FREE:
            # Beside labels, which are usual, other answers may be free.
            free = repeated_share(first["answered"], singles.rows, _USUAL) < _FREE
            answered *= free & (answered < usual)
        return cls(said, answered, phrases, weights)

    def suspicion(self, total: float) -> Float[np.ndarray, "rows"]:
        """How suspect each row is for it, where there are so many rows in all."""
        said, answered = (np.log(np.maximum(rows, 1)) for rows in (self.said, self.answered))
        return np.asarray(np.maximum(_PHRASE * said, _SHORT * answered) / np.log(max(total, 2)))
