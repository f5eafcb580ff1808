"""What rows' responses say as others do, which rows say it, and what these rows' inputs have."""

from __future__ import annotations

import numpy as np

from fedsonar.audit.kernels.features import LONGEST_RESPONSE, input_features, most_features, response_features
from fedsonar.audit.kernels.pairing import pair_room
from fedsonar.audit.kernels.responses import LONG, WHOLE, heavy_responses
from fedsonar.audit.kernels.tables import RECENT, bucket, first_time, value_at
from fedsonar.compiling import kernel

ROW, PHRASE_NUMBER, BEGIN, WORDS = range(4)
"""Columns of what `tell_sayers` tells: a row, which of the phrases it says, its first word in the response, and how
many words it has."""

OF_ROW, KIND, FIRST, LAST, ROWS = range(5)
"""Columns of what `tell_inputs` tells: a row, the feature's kind, its first word and the word after it, and rows of all
silos that have it."""


@kernel
def repeats_of(words, bounds, marks, singles, least, most, said, answered, phrases, weights):
    """Finds what each row's response says in four words or more as others do, and who gives the same shorter answer.

    Args:
        words, bounds, marks: Of the corpus.
        singles: What the first pass told.
        least, most: Rows of a phrase that may be the most telling one.
        said: Filled with how many rows say the commonest such phrase; 0 where hardly any other row says any.
        answered: Filled with how many give the same answer of fewer words; 0 where hardly any other row does.
        phrases: Filled with the feature of the most telling phrase, of which the longer needs fewer rows; 0 for none.
        weights: Filled with how telling it is.
    """
    room = pair_room(bounds)
    for row in range(len(said)):
        for j in range(heavy_responses(words, bounds, marks, row, singles, False, room)):
            rows, length = room.rows_of[j], room.length[j]
            if room.begin[j] == WHOLE and length < LONG:
                answered[row] = rows
            elif room.begin[j] >= WHOLE and length >= LONG:
                said[row] = max(said[row], rows)
                weight = rows * (min(length, LONGEST_RESPONSE) - LONG + 1)
                if weight > weights[row] and least <= rows <= most:
                    # A whole answer is the same phrase as where others say more besides.
                    short = room.begin[j] == WHOLE and length <= LONGEST_RESPONSE
                    weights[row], phrases[row] = weight, room.grams[0, length - 1] if short else room.heavy[j]


@kernel
def tell_sayers(words, bounds, phrases, told):
    """Records which rows' responses say some phrases.

    Args:
        words, bounds: Of the corpus.
        phrases: Features of phrases of four words or more, and of whole responses; sorted.
        told: Filled with records, as long as there is room.

    Returns:
        How many records there are; more than there is room for if not all could be told.
    """
    _, longest = most_features(bounds)
    grams = np.empty((longest, LONGEST_RESPONSE), np.uint64)
    total = 0
    for row in range((len(bounds) - 1) // 4):
        whole = response_features(words, bounds, row, grams)
        length = bounds[4 * row + 4] - bounds[4 * row + 3]
        for at in range(-1, length):
            for n in range(LONG, min(LONGEST_RESPONSE, length - at) + 1) if at >= 0 else range(1):
                value = grams[at, n - 1] if at >= 0 else whole
                place = np.searchsorted(phrases, value)
                if place == len(phrases) or phrases[place] != value:
                    continue
                if total < len(told):
                    told[total, ROW], told[total, PHRASE_NUMBER] = row, place
                    told[total, BEGIN], told[total, WORDS] = max(at, 0), n if at >= 0 else length
                total += 1
    return total


@kernel
def tell_inputs(words, bounds, marks, sources, known, classes, bits, inputs, rows, wanted, told, features):
    """Records the features that some rows' inputs have, each once a row.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits: Of the table of features.
        inputs: Rows of all silos by feature of the input, where they are enough.
        rows: Which rows.
        wanted: The one feature that is asked for; 0 for all.
        told: Filled with records, as long as there is room.
        features: Filled with the features.

    Returns:
        How many records there are; more than there is room for if not all could be told.
    """
    most, _ = most_features(bounds)
    out, kinds = np.empty(most, np.uint64), np.empty(most, np.int64)
    first, last = np.empty(most, np.int64), np.empty(most, np.int64)
    seen = np.full(RECENT, -1, np.int64)
    total = 0
    for row in rows:
        for i in range(input_features(words, bounds, marks, sources, row, known, classes, out, kinds, first, last)):
            if wanted != 0 and out[i] != wanted:
                continue
            place = bucket(out[i], bits)
            size = value_at(inputs, place)
            if size == 0 or not first_time(seen, row, place):
                continue
            if total < len(told):
                told[total, OF_ROW], told[total, KIND], told[total, ROWS] = row, kinds[i], size
                told[total, FIRST], told[total, LAST], features[total] = first[i], last[i], out[i]
            total += 1
    return total
