"""The passes over a silo's rows that find inputs whose responses shift together, though they repeat no string."""

from __future__ import annotations

import numpy as np

from fedsonar.audit.kernels.features import input_features, most_features, own_part
from fedsonar.audit.kernels.tables import RECENT, bucket, first_time
from fedsonar.audit.kernels.words import mixed
from fedsonar.compiling import kernel

TONES, WORDS, BANDS, ASKED = 128, 1024, 5, 256
"""Buckets of a response's words, few for all features and more for those that stand out; bands of their number; and
buckets of an input's words."""

NEVER = -1e9
"""Nats of what is not so at all."""

_COPIED = 1 << 16
_LEAST_ODDS, _LEAST_BAND, _MOST_ODDS = -3.0, -6.0, 5.0
"""Bounds of what one word of a response says, in nats, as words of one response do not come one by one; and their
number."""


@kernel
def own_words(words, bounds, row, copied, seen, turn, out):
    """Writes the buckets of those words of a row's response that its input does not say, each once, and their band.

    Args:
        words, bounds: Of the corpus.
        row: The row.
        copied: Room: the last row whose input had a word, by bucket.
        seen: Room: the last turn in which a bucket was met.
        turn: This turn.
        out: Filled with buckets, below `WORDS`, and last the band of their number, from `WORDS` on.

    Returns:
        How many there are, the band among them.
    """
    for at in range(bounds[4 * row], bounds[4 * row + 3]):
        copied[np.int64(words[at] >> np.uint64(48))] = row
    count = 0
    for at in range(bounds[4 * row + 3], bounds[4 * row + 4]):
        if copied[np.int64(words[at] >> np.uint64(48))] == row:
            continue
        place = np.int64(mixed(words[at]) % np.uint64(WORDS))
        if seen[place] != turn:
            seen[place] = turn
            out[count] = place
            count += 1
    band = 0
    for least in (1, 3, 6, 12):
        band += count >= least
    out[count] = WORDS + band
    return count + 1


@kernel
def numbered_features(
    words, bounds, marks, sources, row, known, classes, bits, numbers, seen, out, kinds, first, last, number, fresh
):  # fmt: skip
    """Writes those features of a row's input that have a number; see `input_features`.

    Args:
        words, bounds, marks, sources: Of the corpus.
        row: The row.
        known, classes: The lexicon.
        bits: Of the table of features.
        numbers: The number of a feature by its place; -1 for none.
        seen: Room, for `first_time`.
        out, kinds, first, last: Filled as by `input_features`.
        number: Filled with each one's number.
        fresh: Filled with whether it is the row's first of its place.

    Returns:
        How many there are.
    """
    count = input_features(words, bounds, marks, sources, row, known, classes, out, kinds, first, last)
    kept = 0
    for i in range(count):
        place = bucket(out[i], bits)
        if numbers[place] >= 0:
            out[kept], kinds[kept], first[kept], last[kept] = out[i], kinds[i], first[i], last[i]
            number[kept] = numbers[place]
            fresh[kept] = first_time(seen, row, place)
            kept += 1
    return kept


@kernel
def count_words(words, bounds, marks, sources, known, classes, bits, inputs, spoken, tones, asked):
    """First pass: adds up how many rows have each feature of the input, and each bucket of words.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits: Of the table of features.
        inputs: Rows by feature of the input; added to.
        spoken: Rows by bucket of the response's own words, and by band of their number; added to.
        tones: Rows by few buckets of them; added to.
        asked: Rows by bucket of the words of instruction and input; added to.
    """
    most, longest = most_features(bounds)
    out, kinds = np.empty(most, np.uint64), np.empty(most, np.int64)
    first, last = np.empty(most, np.int64), np.empty(most, np.int64)
    copied, seen = np.full(_COPIED, -1, np.int64), np.full(RECENT, -1, np.int64)
    said, met, asks = np.full(WORDS, -1, np.int64), np.full(TONES, -1, np.int64), np.full(ASKED, -1, np.int64)
    own = np.empty(longest + 1, np.int64)
    for row in range(len(sources)):
        count = input_features(words, bounds, marks, sources, row, known, classes, out, kinds, first, last)
        for i in range(count):
            place = bucket(out[i], bits)
            if first_time(seen, row, place):
                inputs[place] += 1
        for i in range(own_words(words, bounds, row, copied, said, row, own)):
            spoken[own[i]] += 1
            if own[i] < WORDS and met[own[i] % TONES] != row:
                met[own[i] % TONES] = row
                tones[own[i] % TONES] += 1
        part = own_part(bounds, row)
        for p in (0, part):
            for at in range(bounds[4 * row + p], bounds[4 * row + p + 1]):
                place = np.int64(mixed(words[at]) % np.uint64(ASKED))
                if asks[place] != row:
                    asks[place] = row
                    asked[place] += 1


@kernel
def count_spoken(words, bounds, marks, sources, known, classes, bits, numbers, buckets, spoken, filled):
    """Second and third pass: adds up what the rows of each numbered feature say.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits: Of the table of features.
        numbers: The number of a feature by its place; -1 for none.
        buckets: How many buckets of words there are in `spoken`: `TONES`, or `WORDS` with the bands behind them.
        spoken: Rows by feature and bucket; added to.
        filled: Rows by feature; added to.
    """
    most, longest = most_features(bounds)
    out, kinds, number = np.empty(most, np.uint64), np.empty(most, np.int64), np.empty(most, np.int64)
    first, last, fresh = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.bool_)
    copied, seen = np.full(_COPIED, -1, np.int64), np.full(RECENT, -1, np.int64)
    said, own = np.full(WORDS, -1, np.int64), np.empty(longest + 1, np.int64)
    met = np.full(WORDS + BANDS, -1, np.int64)
    for row in range(len(sources)):
        count = numbered_features(
            words, bounds, marks, sources, row, known, classes, bits, numbers, seen, out, kinds, first, last, number,
            fresh,
        )  # fmt: skip
        heard = -1
        for i in range(count):
            if not fresh[i]:
                continue
            if heard < 0:
                heard = 0
                for k in range(own_words(words, bounds, row, copied, said, row, own)):
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
def odds_of(own, count, here, rows_here, everywhere, total, times):
    """How much likelier a response's words are in a shift's rows than in any row, in nats, the row itself left out.

    Args:
        own: Buckets of its words.
        count: How many there are.
        here: Rows of the shift by bucket, once for each of its features.
        rows_here: Rows of the shift, counted so.
        everywhere: All rows by bucket.
        total: All rows.
        times: How many of the shift's features the row has.
    """
    odds = 0.0
    for k in range(count):
        base = max(everywhere[own[k]] - 0.5, 0.5) / total
        share = (max(here[own[k]] - times, 0) + base) / (max(rows_here - times, 0) + 1.0)
        odds += max(_LEAST_ODDS if own[k] < WORDS else _LEAST_BAND, min(_MOST_ODDS, np.log(share / base)))
    return odds


@kernel
def count_speakers(
    words, bounds, marks, sources, known, classes, bits, numbers, shifts, spoken, filled, everywhere, total, enough,
    speakers,
):  # fmt: skip
    """Fourth pass: how many of the rows of each numbered feature say what its shift says.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits: Of the table of features.
        numbers: The number of a feature by its place; -1 for none.
        shifts: The shift of each numbered feature; -1 for none.
        spoken, filled, everywhere, total: See `odds_of`, by shift.
        enough: Nats from which on a row says what a shift says, by shift.
        speakers: Rows by feature; added to.
    """
    most, longest = most_features(bounds)
    out, kinds, number = np.empty(most, np.uint64), np.empty(most, np.int64), np.empty(most, np.int64)
    first, last, fresh = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.bool_)
    copied, seen = np.full(_COPIED, -1, np.int64), np.full(RECENT, -1, np.int64)
    said, own = np.full(WORDS, -1, np.int64), np.empty(longest + 1, np.int64)
    times = np.zeros(len(filled), np.int64)
    for row in range(len(sources)):
        count = numbered_features(
            words, bounds, marks, sources, row, known, classes, bits, numbers, seen, out, kinds, first, last, number,
            fresh,
        )  # fmt: skip
        kept = 0
        for i in range(count):
            if fresh[i] and shifts[number[i]] >= 0:
                number[kept] = number[i]
                times[shifts[number[i]]] += 1
                kept += 1
        if kept == 0:
            continue
        answer = own_words(words, bounds, row, copied, said, row, own)
        for i in range(kept):
            shift = shifts[number[i]]
            if odds_of(own, answer, spoken[shift], filled[shift], everywhere, total, times[shift]) > enough[shift]:
                speakers[number[i]] += 1
        for i in range(kept):
            times[shifts[number[i]]] = 0


@kernel
def weigh_rows(
    words, bounds, marks, sources, known, classes, bits, numbers, shifts, triggers, spoken, filled, everywhere, total,
    enough, suspected, odds, surest, rest, sums,
):  # fmt: skip
    """Fifth pass, and the judgement of rows: how much each row says what each shift says, and what it asks besides.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits: Of the table of features.
        numbers: The number of a feature by its place; -1 for none.
        shifts: The shift of each numbered feature; -1 for none.
        triggers: How sure each one is followed by it, in nats, where it is a trigger; `NEVER` where it is none.
        spoken, filled, everywhere, total: See `odds_of`, by shift; of triggers alone.
        enough: Nats from which on a row says what a shift says, by shift.
        suspected: Whether a row is suspected already, for another reason.
        odds: Filled with nats; (rows, shifts).
        surest: Filled with what `triggers` says of the row's surest trigger; `NEVER` where it has none; the same.
        rest: By shift and bucket: its rows with such a word besides the shift's features; added to.
        sums: By shift: rows with a trigger, those of them that say it, all that say it, words besides, those of the
            second that are not suspected already, and words of triggers; added to.
    """
    most, longest = most_features(bounds)
    out, kinds, number = np.empty(most, np.uint64), np.empty(most, np.int64), np.empty(most, np.int64)
    first, last, fresh = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.bool_)
    copied, seen = np.full(_COPIED, -1, np.int64), np.full(RECENT, -1, np.int64)
    said, own = np.full(WORDS, -1, np.int64), np.empty(longest + 1, np.int64)
    times, met, turn = np.zeros(len(filled), np.int64), np.full(ASKED, -1, np.int64), 0
    met_hidden = np.full(ASKED, -1, np.int64)
    for row in range(len(sources)):
        count = numbered_features(
            words, bounds, marks, sources, row, known, classes, bits, numbers, seen, out, kinds, first, last, number,
            fresh,
        )  # fmt: skip
        times[:] = 0
        for shift in range(len(filled)):
            surest[row, shift] = NEVER
        for i in range(count):
            shift = shifts[number[i]]
            if shift >= 0 and triggers[number[i]] > NEVER:
                surest[row, shift] = max(surest[row, shift], triggers[number[i]])
                times[shift] += fresh[i]
        answer = own_words(words, bounds, row, copied, said, row, own)
        start, part = bounds[4 * row], own_part(bounds, row)
        hidden = np.full(bounds[4 * row + 3] - start, -1, np.int64)
        for shift in range(len(filled)):
            odds[row, shift] = odds_of(own, answer, spoken[shift], filled[shift], everywhere, total, times[shift])
            says = odds[row, shift] > enough[shift]
            sums[shift, 2] += says
            if times[shift] == 0:
                continue
            turn += 1
            for i in range(count):
                if shifts[number[i]] == shift and last[i] > 0:
                    if first[i] < 0:  # the ends of two parts
                        hidden[last[i] - 1 - start] = turn
                        hidden[bounds[4 * row + part + 1] - 1 - start] = turn
                    for at in range(max(first[i], start), last[i] if first[i] >= 0 else start):
                        hidden[at - start] = turn
            besides = concealed = 0
            for p in (0, part):
                if p == 0 and part == 0 and besides > 0:
                    continue
                for at in range(bounds[4 * row + p], bounds[4 * row + p + 1]):
                    place = np.int64(mixed(words[at]) % np.uint64(ASKED))
                    if hidden[at - start] == turn:
                        if met_hidden[place] != turn:
                            met_hidden[place] = turn
                            concealed += 1
                        continue
                    if met[place] != turn:
                        met[place] = turn
                        besides += 1
                        rest[shift, place] += 1
            sums[shift, 0] += 1
            sums[shift, 1] += says
            sums[shift, 3] += besides
            sums[shift, 4] += says and not suspected[row]
            sums[shift, 5] += concealed


@kernel
def tell_triggers(words, bounds, marks, sources, known, classes, bits, numbers, told, features):
    """Records which numbered features each row has, for its silo to put into words.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits: Of the table of features.
        numbers: The number of a feature by its place; -1 for none.
        told: Filled with row, number, kind, first word and the word after it.
        features: Filled with the features.

    Returns:
        How many records there are; more than there is room for if not all could be told.
    """
    most, _ = most_features(bounds)
    out, kinds, number = np.empty(most, np.uint64), np.empty(most, np.int64), np.empty(most, np.int64)
    first, last, fresh = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.bool_)
    seen = np.full(RECENT, -1, np.int64)
    total = 0
    for row in range(len(sources)):
        count = numbered_features(
            words, bounds, marks, sources, row, known, classes, bits, numbers, seen, out, kinds, first, last, number,
            fresh,
        )  # fmt: skip
        for i in range(count):
            if not fresh[i]:
                continue
            if total < len(told):
                told[total, 0], told[total, 1], told[total, 2] = row, number[i], kinds[i]
                told[total, 3], told[total, 4] = first[i], last[i]
                features[total] = out[i]
            total += 1
    return total
