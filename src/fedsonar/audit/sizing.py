"""How large tables have to be for the rows that are counted in them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fedsonar.audit.corpus import Corpus
from fedsonar.audit.kernels.features import LONGEST_INPUT, LONGEST_RESPONSE
from fedsonar.audit.passes import summed
from fedsonar.audit.scope import Scope, Tables

_SMALLEST, _LARGEST = 14, 24
"""Least and most bits of tables that travel."""

_LEAST_SLOTS, _MOST_SLOTS = 12, 17
"""The same of those of pairs that stand out."""

_FEWEST_WORDS, _TIMES = 32, 3.0
"""See `words_for`."""

_PARTS = 256
"""Logarithms are told in so many parts of a nat, as silos tell whole numbers."""


def scope_for(corpora: Sequence[Corpus], key: int = 0) -> Scope:
    """A scope whose tables have room for some rows in one place: eight counters a word and an n-gram, up to 2^26."""
    told = summed(map(sizes, corpora))
    bits = max(18, min(26, math.ceil(math.log2(max(*told["features"], 1))) + 3))
    slot_bits = max(14, min(18, bits - 6))
    return Scope(bits=bits, pair_bits=min(26, bits + 1), slot_bits=slot_bits, words=words_for(told), key=key)


def sizes(rows: Corpus) -> dict[str, np.ndarray]:
    """What a silo tells before anything is counted, so that tables may be as large as all silos' rows need.

    About how many features inputs have, and how many responses, each row's by itself; and, of instruction and own
    input, the sum of the logarithms of rows' words, and rows.
    """
    words = np.diff(rows.bounds).reshape(-1, 4)
    inputs, responses = words[:, :3].sum(), words[:, 3].sum()
    own = np.where(words[:, 2] > 0, words[:, 2], words[:, 1]) + words[:, 0]
    return {
        "features": np.array([LONGEST_INPUT * inputs + 15 * len(rows), LONGEST_RESPONSE * responses], np.int64),
        "lengths": np.array([np.round(_PARTS * np.log1p(own)).astype(np.int64).sum(), len(rows)]),
    }


def bits_for(sizes: Tables) -> int:
    """Bits of a table of features that travels: four counters a feature, most of which rows share, up to 2^24.

    Args:
        sizes: The sum of what silos told.
    """
    most = max(1, int(np.max(sizes["features"])))
    return min(_LARGEST, max(_SMALLEST, math.ceil(math.log2(most)) + 2))


def words_for(sizes: Tables) -> int:
    """Different words that a row is held against others by: three times as many as the rows' geometric mean, or 32.

    A text of hundreds would be unlike all short ones, whatever it says, and make any set of rows that it is in look as
    if they had nothing in common. Where most rows are as long, all their words count.

    Args:
        sizes: The sum of what silos told.
    """
    logs, rows = (int(value) for value in sizes["lengths"])
    return max(_FEWEST_WORDS, math.ceil(_TIMES * math.expm1(logs / _PARTS / max(1, rows))))


def slot_bits_for(pairs: np.ndarray) -> int:
    """Bits of a table of pairs that stand out, two counters for each that enough rows have: 2^12 to 2^17, of 1 KB each.

    Far fewer are looked into. With room for those that have rows enough for that, up to 8 in a hundred fell together
    with others, and a client of few rows may have no pair but one of them.

    Args:
        pairs: Rows by pair, as the second pass tells them.
    """
    count = max(1, int(np.count_nonzero(pairs)))
    return min(_MOST_SLOTS, max(_LEAST_SLOTS, math.ceil(math.log2(2 * count))))
