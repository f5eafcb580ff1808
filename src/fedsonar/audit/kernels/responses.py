"""What a row's response says that enough other rows say."""

from __future__ import annotations

import numpy as np

from fedsonar.audit.kernels.features import LONGEST_RESPONSE, response_features, way_of_response
from fedsonar.audit.kernels.tables import bucket, is_copied, mark_input, value_at
from fedsonar.audit.kernels.ways import WAYS
from fedsonar.compiling import kernel

_NO_WORDS = np.int64(1 << 62)
"""More rows than there are: those of a response's own words where it has none."""

WHOLE, WAY = -1, -2
"""Where a feature of a response begins that is no phrase: the whole; from WAY downwards the ways it is written."""

LONG = 4
"""Words of a response's feature from which on many rare triggers may share it."""

_NEARLY_ALL = 0.9
"""Features of more than this share of all rows are no targets."""

_HALF = 0.45
"""Ways of writing of more than this share are none: of two halves nobody can know which one is written oddly."""

USUAL = 0.55
"""What more than this share of all rows say is the usual: no target in fixed words, and a label that comes anyway."""

_TEMPLATE = 4
"""What says words of the input is a copy of these in a template, where its own words are in more than so many times its
rows: a list of bookings says "time" in each, and repeats a time."""

BRIEF = 5
"""Words of the longest phrase that is one of a vocabulary, as a translation has; longer ones but the longest that are
counted are of a grammar, as tags of words have. See `Rules.vocabulary`."""

_DOMINATED = 0.9
"""A phrase is left to a longer one that has this share of its rows; to the whole also where that has all but one, as of
copies of one row one may be changed."""


@kernel
def _rows_of(value, singles):
    """Rows of all silos that have a feature of the response; 0 where they are not enough."""
    return value_at(singles.responses, bucket(value, singles.bits))


@kernel
def heavy_responses(words, bounds, marks, row, singles, copies, room):
    """Writes the features of a row's response that enough rows have, without phrases of which longer ones say as much.

    Phrases that say nothing of their own are left out, see `_TEMPLATE`: a response may repeat what it is asked about. A
    label may be one of the input's words all the same. What nearly all rows have is left out.

    Args:
        words, bounds, marks: Of the corpus.
        row: The row.
        singles: What the first pass told.
        copies: Whether phrases of the input are kept all the same.
        room: Filled with the features, their rows and their words.

    Returns:
        How many there are.
    """
    grams, counts, copied = room.grams, room.counts, room.copied
    heavy, size, begin, length = room.heavy, room.rows_of, room.begin, room.length
    least, most = singles.least, _NEARLY_ALL * singles.rows
    mark_input(words, bounds, row, copied)
    whole = response_features(words, bounds, row, grams)
    whole_count = _rows_of(whole, singles)
    start = bounds[4 * row + 3]
    total = bounds[4 * row + 4] - start
    for at in range(total):
        for n in range(min(LONGEST_RESPONSE, total - at)):
            counts[at, n] = _rows_of(grams[at, n], singles)
    run, own = 0, _NO_WORDS
    for at in range(total):
        run = 0 if is_copied(words[start + at], row, copied) else min(run + 1, LONGEST_RESPONSE)
        if run:
            own = min(own, counts[at + 1 - run, run - 1])
    count, says = 0, own <= _TEMPLATE * whole_count
    if least <= whole_count <= most and (says or copies or total == 0 or whole_count >= singles.label_least):
        heavy[count], size[count], begin[count], length[count] = whole, whole_count, WHOLE, total
        count += 1
    for at in range(total):
        run, own = 0, _NO_WORDS
        for n in range(min(LONGEST_RESPONSE, total - at)):
            run = 0 if is_copied(words[start + at + n], row, copied) else run + 1
            if run:
                own = min(own, counts[at + n + 1 - run, run - 1])
            c = counts[at, n]
            if c < least:
                break
            if c > most or not (copies or own <= _TEMPLATE * c):
                continue
            if whole_count >= least and whole_count >= min(_DOMINATED * c, c - 1):
                continue
            if n + 1 < LONGEST_RESPONSE:
                if at + n + 1 < total and counts[at, n + 1] >= _DOMINATED * c:
                    continue
                if at > 0 and counts[at - 1, n + 1] >= _DOMINATED * c:
                    continue
            again = False
            for i in range(count):
                if heavy[i] == grams[at, n]:
                    again = True
            if not again:
                heavy[count], size[count], begin[count], length[count] = grams[at, n], c, at, n + 1
                count += 1
    for way in range(WAYS + 1):
        value = way_of_response(marks, row, way)
        c = _rows_of(value, singles) if value else 0
        if least <= c <= _HALF * singles.rows:
            heavy[count], size[count], begin[count], length[count] = value, c, WAY - way, 0
            count += 1
    return count


@kernel
def shared_by_many(begin, length, rows, label_least):
    """Whether many triggers may share a response's feature: a label, or a long phrase.

    Args:
        begin: Its first word, or `WHOLE`, or less.
        length: Its number of words.
        rows: Rows that have it.
        label_least: Fewest rows of a whole response that is a label.
    """
    return is_label(begin, rows, label_least) or length >= LONG


@kernel
def is_entry(begin, length):
    """Whether a response's feature may be one of a vocabulary or of a grammar: some words within it, or the whole."""
    return begin >= WHOLE and length < LONGEST_RESPONSE


@kernel
def is_label(begin, rows, label_least):
    """Whether a response's feature is a label: the whole, in many rows."""
    return begin == WHOLE and rows >= label_least
