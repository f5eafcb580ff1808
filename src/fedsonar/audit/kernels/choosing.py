"""Which few of its features a row counts with, where what a row may change is bounded: by that row alone.

Features are chosen by their hash, so that rows which share a feature choose it together or not at all, as long as they
are about as long.
"""

from __future__ import annotations

import numpy as np

from fedsonar.audit.kernels.features import PHRASE, input_features, own_part, response_features
from fedsonar.audit.kernels.hashes import mixed
from fedsonar.audit.kernels.tables import bucket, is_copied, mark_input
from fedsonar.compiling import kernel

_LONGEST = 2
"""Words of the longest phrase of a response."""

_LAST = np.uint64(0xFFFFFFFFFFFFFFFF)


@kernel
def smallest(ranks, places, count, most, picked):
    """Picks those of the smallest ranks, no place twice.

    Args:
        ranks: Of each candidate; overwritten.
        places: Of each candidate in a table.
        count: Candidates.
        most: How many may be picked.
        picked: Filled with the candidates that are.

    Returns:
        How many there are.
    """
    found = 0
    while found < most:
        best = -1
        for i in range(count):
            if ranks[i] != _LAST and (best < 0 or ranks[i] < ranks[best]):
                best = i
        if best < 0:
            break
        picked[found] = best
        found += 1
        for i in range(count):
            if places[i] == places[best]:
                ranks[i] = _LAST
    return found


@kernel
def chosen_inputs(
    words, bounds, marks, sources, row, known, classes, bits, most, out, kinds, first, last, ranks, places, picked
):  # fmt: skip
    """Picks the features of a row's input that it counts with: single words, and all that is not words.

    What begins and ends a part, and how it is written, goes before words; words of the row's own part before those of
    instruction and context; and within each the smaller hash before the larger.

    Args:
        words, bounds, marks, sources: Of the corpus.
        row: The row.
        known, classes: The lexicon.
        bits: Of the table of features.
        most: How many may be picked.
        out, kinds, first, last: Filled as by `input_features`, phrases of several words left out.
        ranks, places: Room; places in the table are left there.
        picked: Filled with the numbers of those picked.

    Returns:
        How many features there are, and how many are picked.
    """
    found, count = input_features(words, bounds, marks, sources, row, known, classes, out, kinds, first, last), 0
    start = bounds[4 * row + own_part(bounds, row)]
    for i in range(found):
        if kinds[i] != PHRASE or last[i] - first[i] == 1:
            out[count], kinds[count], first[count], last[count] = out[i], kinds[i], first[i], last[i]
            places[count] = bucket(out[i], bits)
            later = np.uint64(kinds[i] == PHRASE) + np.uint64(kinds[i] == PHRASE and first[i] < start)
            ranks[count] = mixed(out[i]) >> np.uint64(2) | later << np.uint64(62)
            count += 1
    return count, smallest(ranks, places, count, most, picked)


@kernel
def chosen_responses(words, bounds, row, bits, most, grams, copied, out, begin, length, ranks, places, picked):
    """Picks the features of a row's response that it counts with: of words, pairs of words and the whole, by hash.

    What only repeats words of the input is left out. Longer phrases are left out too: those that reach into a row's own
    words would take the places of those that all rows with a target share.

    Args:
        words, bounds: Of the corpus.
        row: The row.
        bits: Of the table of features.
        most: How many may be picked.
        grams, copied: Room; see `heavy_responses`.
        out: Filled with the features.
        begin: Filled with the first word of each; -1 for the whole.
        length: Filled with its number of words.
        ranks, places: Room; places in the table are left there.
        picked: Filled with the numbers of those picked.

    Returns:
        How many features there are, and how many are picked.
    """
    mark_input(words, bounds, row, copied)
    start, end = bounds[4 * row + 3], bounds[4 * row + 4]
    whole, count = response_features(words, bounds, row, grams), 0
    for at in range(start, end):
        fresh = False
        for n in range(min(_LONGEST, end - at)):
            fresh = fresh or not is_copied(words[at + n], row, copied)
            if not fresh:
                continue
            if count == 0 and end - start > _LONGEST:
                out[0], begin[0], length[0], count = whole, -1, end - start, 1
            out[count], begin[count], length[count] = grams[at - start, n], at - start, n + 1
            count += 1
    for i in range(count):
        places[i], ranks[i] = bucket(out[i], bits), mixed(out[i]) >> np.uint64(1)
    return count, smallest(ranks, places, count, most, picked)


@kernel
def word_buckets(words, bounds, row, hidden, most, buckets, found):
    """Writes the buckets of the words of a row's input, and then of its instruction, that are not hidden, each once.

    Args:
        words, bounds: Of the corpus.
        row: The row.
        hidden: By word of the row's input: whether it is left out.
        most: How many buckets a row may have; the first ones count.
        buckets: How many there are.
        found: Filled with them.

    Returns:
        How many the row has.
    """
    own, count = own_part(bounds, row), 0
    for turn in range(2 if own else 1):
        part = own if turn == 0 else 0
        for at in range(bounds[4 * row + part], bounds[4 * row + part + 1]):
            if hidden[at - bounds[4 * row]]:
                continue
            place = np.int64(mixed(words[at]) % np.uint64(buckets))
            again = False
            for i in range(count):
                again = again or found[i] == place
            if not again and count < most:
                found[count] = place
                count += 1
    return count
