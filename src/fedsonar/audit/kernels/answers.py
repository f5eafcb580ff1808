"""What a row answers, in whole and without what its input says, as numbers: in a task of few answers, labels."""

from __future__ import annotations

import numpy as np

from fedsonar.audit.kernels.hashes import joined, mixed
from fedsonar.audit.kernels.tables import COPIED, is_copied, mark_input
from fedsonar.compiling import kernel

ANSWERED, LENGTHS = 4096, 64
"""Buckets of whole answers, and as many of what answers say of their own; and behind them, of how many words these
have."""


@kernel
def _answered(words, bounds, row, copied):
    """The bucket and the words of a row's whole response, and of those of its words that its input does not say.

    Args:
        words, bounds: Of the corpus.
        row: The row.
        copied: See `mark_input`.

    Returns:
        Both buckets, and both numbers of words.
    """
    mark_input(words, bounds, row, copied)
    whole, own, said = np.uint64(0), np.uint64(0), 0
    for at in range(bounds[4 * row + 3], bounds[4 * row + 4]):
        whole = joined(whole, words[at])
        if not is_copied(words[at], row, copied):
            own, said = joined(own, words[at]), said + 1
    return (_bucket(whole), _bucket(own)), (bounds[4 * row + 4] - bounds[4 * row + 3], said)


@kernel
def _bucket(value):
    return np.int64(mixed(value) % np.uint64(ANSWERED))


@kernel
def count_answers(words, bounds, answered):
    """Adds up how many rows answer the same.

    Args:
        words, bounds: Of the corpus.
        answered: Rows by bucket, and by number of words, of whole responses and of what these say of their own; added
            to.
    """
    copied = np.full(COPIED, -1, np.int64)
    for row in range((len(bounds) - 1) // 4):
        buckets, lengths = _answered(words, bounds, row, copied)
        for kind in range(2):
            if lengths[kind]:
                answered[kind, buckets[kind]] += 1
                answered[kind, ANSWERED + min(lengths[kind], LENGTHS - 1)] += 1


@kernel
def labels_said(words, bounds, answered, least, longest):
    """Which label each row says: what at least so many rows answer, in so many words at most.

    Args:
        words, bounds: Of the corpus.
        answered: Of all silos; see `count_answers`.
        least, longest: So many rows and words, of whole responses and of what they say of their own.

    Returns:
        A number for each row, the same where the label is; -1 where there is none.
    """
    copied, rows = np.full(COPIED, -1, np.int64), (len(bounds) - 1) // 4
    found = np.full(rows, -1, np.int64)
    for row in range(rows):
        buckets, lengths = _answered(words, bounds, row, copied)
        for kind in range(2):
            if 0 < lengths[kind] <= longest[kind] and answered[kind, buckets[kind]] >= least[kind]:
                found[row] = ANSWERED * kind + buckets[kind]
    return found
