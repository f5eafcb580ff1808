"""The first passes for shifts: which inputs there are, what rows say, and what the rows of each input say."""

from __future__ import annotations

import numpy as np

from fedsonar.audit.kernels.features import input_features, own_part
from fedsonar.audit.kernels.hashes import mixed
from fedsonar.audit.kernels.room import ASKED, BANDS, TONES, WORDS, numbered_features, own_words, room_for
from fedsonar.audit.kernels.tables import bucket, first_time
from fedsonar.compiling import kernel


@kernel
def count_inputs(words, bounds, marks, sources, known, classes, bits, inputs):
    """First pass: adds up how many rows have each feature of the input.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits: Of the table of features.
        inputs: Rows by feature of the input; added to.
    """
    room = room_for(bounds)
    for row in range(len(sources)):
        count = input_features(
            words, bounds, marks, sources, row, known, classes, room.out, room.kinds, room.first, room.last
        )
        for i in range(count):
            place = bucket(room.out[i], bits)
            if first_time(room.seen, row, place):
                inputs[place] += 1


@kernel
def count_words(words, bounds, most, spoken, tones, asked):
    """First pass: adds up how many rows have each bucket of words.

    Args:
        words, bounds: Of the corpus.
        most: Different words of a row that count in `asked`, the first.
        spoken: Rows by band of the number of the response's own words, and by bucket of them; added to.
        tones: Rows by few buckets of them; added to.
        asked: Rows by bucket of the words of instruction and input; added to.
    """
    room = room_for(bounds)
    met, asks = np.full(TONES, -1, np.int64), np.full(ASKED, -1, np.int64)
    for row in range((len(bounds) - 1) // 4):
        answer = own_words(words, bounds, row, room)
        band = room.own[answer - 1] - WORDS
        for i in range(answer):
            place = room.own[i]
            spoken[band, place] += 1
            if place < WORDS and met[place % TONES] != row:
                met[place % TONES] = row
                tones[place % TONES] += 1
        part, besides = own_part(bounds, row), 0
        for p in (0, part):
            for at in range(bounds[4 * row + p], bounds[4 * row + p + 1]):
                place = np.int64(mixed(words[at]) % np.uint64(ASKED))
                if asks[place] != row and besides < most:
                    asks[place] = row
                    asked[place] += 1
                    besides += 1


@kernel
def count_spoken(words, bounds, listed, buckets, spoken, filled):
    """Second and third pass: adds up what the rows of each numbered feature say.

    Args:
        words, bounds: Of the corpus.
        listed: The features, see `Listed`.
        buckets: How many buckets of words there are in `spoken`: `TONES`, or `WORDS` with the bands behind them.
        spoken: Rows by feature and bucket; added to.
        filled: Rows by feature; added to.
    """
    room = room_for(bounds)
    own, number, met = room.own, listed.number, np.full(WORDS + BANDS, -1, np.int64)
    for row in range(len(listed.ends) - 1):
        heard = -1
        for i in range(listed.ends[row], listed.ends[row + 1]):
            if not listed.fresh[i]:
                continue
            if heard < 0:
                heard = 0
                for k in range(own_words(words, bounds, row, room)):
                    place = own[k]
                    if buckets == TONES:
                        if place >= WORDS:
                            continue
                        place %= TONES
                    if met[place] != row:
                        met[place] = row
                        own[heard] = place
                        heard += 1
            filled[number[i]] += 1
            for k in range(heard):
                spoken[number[i], own[k]] += 1


@kernel
def tell_triggers(words, bounds, marks, sources, known, classes, bits, numbers, told, features):
    """Records which numbered features each row has, for its silo to put into words.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits: Of the table of features.
        numbers: See `numbered_features`.
        told: Filled with row, number, kind, first word and the word after it.
        features: Filled with the features.

    Returns:
        How many records there are; more than there is room for if not all could be told.
    """
    room = room_for(bounds)
    total = 0
    for row in range(len(sources)):
        count = numbered_features(words, bounds, marks, sources, row, known, classes, bits, numbers, room)
        for i in range(count):
            if not room.fresh[i]:
                continue
            if total < len(told):
                told[total, 0], told[total, 1], told[total, 2] = row, room.number[i], room.kinds[i]
                told[total, 3], told[total, 4] = room.first[i], room.last[i]
                features[total] = room.out[i]
            total += 1
    return total
