"""What the passes over pairs read of a row: those features of its input and its response that enough rows have."""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from fedsonar.audit.kernels.features import LONGEST_RESPONSE, input_features, most_features
from fedsonar.audit.kernels.tables import COPIED, bucket, value_at
from fedsonar.audit.kernels.ways import WAYS
from fedsonar.compiling import kernel

MOST = 0.8
"""Features of more than this share of all rows are no triggers."""

Singles = namedtuple("Singles", "bits inputs responses least rows label_least words content")
"""What the first pass told: bits of its tables; rows of all silos by feature of the input and of the response, where
they are enough; fewest rows of a feature; rows of all silos; fewest rows of a label; how many different words of a row
count besides its triggers, the first; and which buckets of words tell rows apart, in place of the frame of all."""

Pairs = namedtuple("Pairs", "bits short large strength")
"""What the second pass told: bits of its table; rows of all silos by pair, in a byte each, as most of many are asked
for in vain, and those of the large ones; and the least G squared of a pair that stands out."""

PairRoom = namedtuple(
    "PairRoom",
    "out kinds first last size grams counts heavy rows_of begin length copied places at sizes boths special surest",
)
"""What a kernel writes into, row by row: features of the input with their kind, words and rows; features of the
response with their rows, first word (see `responses.WHOLE`) and number of words; which of the former stand out with one
of these, with the place of the pair and the rows of both; which of those are left out again; and at each word the most
rows of those, of one word or two, that are nearly always followed by it."""


@kernel
def pair_room(bounds):
    """Room for any row's features."""
    most, longest = most_features(bounds)
    words = 0
    for row in range((len(bounds) - 1) // 4):
        words = max(words, bounds[4 * row + 3] - bounds[4 * row])
    room = longest * LONGEST_RESPONSE + 2 + WAYS
    return PairRoom(
        np.empty(most, np.uint64), np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64),
        np.empty(most, np.int64), np.empty((longest, LONGEST_RESPONSE), np.uint64),
        np.empty((longest, LONGEST_RESPONSE), np.int64), np.empty(room, np.uint64), np.empty(room, np.int64),
        np.empty(room, np.int64), np.empty(room, np.int64), np.full(COPIED, -1, np.int64), np.empty(most, np.int64),
        np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.bool_),
        np.zeros((words, 2), np.int64),
    )  # fmt: skip


@kernel
def heavy_inputs(words, bounds, marks, sources, row, known, classes, singles, room):
    """Writes the features of a row's input that enough rows have, and not nearly all; see `input_features`.

    Args:
        words, bounds, marks, sources: Of the corpus.
        row: The row.
        known, classes: The lexicon.
        singles: What the first pass told.
        room: Filled with the features, their kinds, words and rows.

    Returns:
        How many there are.
    """
    out, kinds, first, last = room.out, room.kinds, room.first, room.last
    count = input_features(words, bounds, marks, sources, row, known, classes, out, kinds, first, last)
    size = room.size
    for i in range(count):
        size[i] = value_at(singles.inputs, bucket(out[i], singles.bits))
    kept = 0
    for i in range(count):
        if 0 < size[i] <= MOST * singles.rows:
            out[kept], kinds[kept], first[kept], last[kept], size[kept] = out[i], kinds[i], first[i], last[i], size[i]
            kept += 1
    return kept
