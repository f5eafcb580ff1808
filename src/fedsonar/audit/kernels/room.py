"""What the passes for shifts read of rows: those features that have a number, and their responses' own words."""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from fedsonar.audit.kernels.features import LONGEST_INPUT, OTHERS, input_features, most_features
from fedsonar.audit.kernels.hashes import mixed
from fedsonar.audit.kernels.tables import COPIED, RECENT, bucket, first_time, is_copied, mark_input, value_at
from fedsonar.compiling import kernel

TONES, WORDS, BANDS, ASKED = 128, 2048, 5, 256
"""Buckets of a response's words, few for all features and more for those that stand out; bands of their number; and
buckets of an input's words."""

WAYS = 2
PLAIN, AS_LONG = range(WAYS)
"""Ways of grouping features into shifts: beside all rows, and beside rows of as many words; see `grouping`."""

Room = namedtuple("Room", "out kinds first last number fresh seen copied said own hidden")
"""What a kernel writes into, row by row: a row's features with their numbers, and its response's own words."""


@kernel
def room_for(bounds):
    """Room for any row's features and words."""
    most, longest = most_features(bounds)
    words = 0
    for row in range((len(bounds) - 1) // 4):
        words = max(words, bounds[4 * row + 3] - bounds[4 * row])
    return Room(
        np.empty(most, np.uint64), np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64),
        np.empty(most, np.int64), np.empty(most, np.bool_), np.full(RECENT, -1, np.int64),
        np.full(COPIED, -1, np.int64), np.full(WORDS, -1, np.int64), np.empty(longest + 1, np.int64),
        np.full(words, -1, np.int64),
    )  # fmt: skip


@kernel
def own_words(words, bounds, row, room):
    """Writes the buckets of those words of a row's response that its input does not say, each once, and their band.

    Args:
        words, bounds: Of the corpus.
        row: The row.
        room: Its `own` is filled with buckets, below `WORDS`, and last the band of their number, from `WORDS` on.

    Returns:
        How many there are, the band among them.
    """
    copied, said, out = room.copied, room.said, room.own
    mark_input(words, bounds, row, copied)
    count = 0
    for at in range(bounds[4 * row + 3], bounds[4 * row + 4]):
        if is_copied(words[at], row, copied):
            continue
        place = np.int64(mixed(words[at]) % np.uint64(WORDS))
        if said[place] != row:
            said[place] = row
            out[count] = place
            count += 1
    band = 0
    for least in (1, 3, 6, 12):
        band += count >= least
    out[count] = WORDS + band
    return count + 1


@kernel
def numbered_features(words, bounds, marks, sources, row, known, classes, bits, numbers, room):
    """Writes into the room those features of a row's input that have a number; see `input_features`.

    Args:
        words, bounds, marks, sources: Of the corpus.
        row: The row.
        known, classes: The lexicon.
        bits: Of the table of features.
        numbers: One more than the number of a feature by its place.
        room: Filled with the features, their numbers, and whether each is the row's first of its place.

    Returns:
        How many there are.
    """
    out, kinds, first, last = room.out, room.kinds, room.first, room.last
    count = input_features(words, bounds, marks, sources, row, known, classes, out, kinds, first, last)
    kept = 0
    for i in range(count):
        place = bucket(out[i], bits)
        number = value_at(numbers, place) - 1
        if number >= 0:
            out[kept], kinds[kept], first[kept], last[kept] = out[i], kinds[i], first[i], last[i]
            room.number[kept] = number
            room.fresh[kept] = first_time(room.seen, row, place)
            kept += 1
    return kept


Listed = namedtuple("Listed", "ends number first last fresh")
"""Rows' numbered features, one row's after the other's: where each row's end, behind a 0; and of each its number, its
first word and the word after it, and whether it is the row's first of that number."""


@kernel
def list_numbered(words, bounds, marks, sources, known, classes, bits, numbers):
    """Lists those features of rows' inputs that have a number, once for all that read them.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits: Of the table of features.
        numbers: See `numbered_features`.

    Returns:
        What is `Listed`.
    """
    room, most = room_for(bounds), 0
    for row in range(len(sources)):
        most += LONGEST_INPUT * (bounds[4 * row + 3] - bounds[4 * row]) + OTHERS
    ends, number = np.zeros(len(sources) + 1, np.int64), np.empty(most, np.int32)
    first, last, fresh = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most, np.bool_)
    total = 0
    for row in range(len(sources)):
        count = numbered_features(words, bounds, marks, sources, row, known, classes, bits, numbers, room)
        for i in range(count):
            number[total], fresh[total] = room.number[i], room.fresh[i]
            first[total], last[total] = room.first[i], room.last[i]
            total += 1
        ends[row + 1] = total
    return Listed(ends, number[:total].copy(), first[:total].copy(), last[:total].copy(), fresh[:total].copy())
