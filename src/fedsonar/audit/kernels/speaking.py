"""The last passes for shifts, and the judgement of rows: which rows say what a shift says."""

from __future__ import annotations

import numpy as np

from fedsonar.audit.kernels.features import own_part
from fedsonar.audit.kernels.hashes import mixed
from fedsonar.audit.kernels.hiding import hide
from fedsonar.audit.kernels.room import ASKED, BANDS, WAYS, WORDS, own_words, room_for
from fedsonar.compiling import kernel

BARS = np.array([1.0, 0.75, 0.5, 0.25])
"""How much of the nats that set a shift's rows apart from any may be enough for a feature's rows to say what it says:
what impure features say dulls what a shift says, until no row says enough of it; see `Shifts.purity`."""

LABELS = 64
"""Buckets of labels that a shift's rows say."""

NEVER = -1e9
"""Nats of what is not so at all."""

_LEAST_ODDS, _LEAST_BAND, _MOST_ODDS = -3.0, -6.0, 5.0
"""Bounds of what one word of a response says, in nats, as words of one response do not come one by one; and their
number."""


@kernel
def nats_of(here, rows_here, usual, times, place):
    """How much likelier a word is in a shift's rows than in others, in nats, bounded, the row itself left out.

    Args:
        here: Rows of the shift by bucket, once for each of its features.
        rows_here: Rows of the shift, counted so.
        usual: The share of others that say it, by bucket.
        times: How many of the shift's features the row has.
        place: Bucket of the word.
    """
    share = (max(here[place] - times, 0) + usual[place]) / (max(rows_here - times, 0) + 1.0)
    return max(_LEAST_ODDS if place < WORDS else _LEAST_BAND, min(_MOST_ODDS, np.log(share / usual[place])))


@kernel
def odds_of(own, count, here, rows_here, usual, times):
    """The sum of `nats_of` over the words of a response, ``own[:count]``, beside others of its band, the last of it."""
    band = own[count - 1] - WORDS
    odds = 0.0
    for k in range(count):
        odds += nats_of(here, rows_here, usual[band], times, own[k])
    return odds


@kernel
def count_speakers(
    words, bounds, listed, shifts, spoken, filled, usual, enough, speakers,
):  # fmt: skip
    """Fourth pass: how many of the rows of each numbered feature say what each of its shifts says.

    Args:
        words, bounds: Of the corpus.
        listed: The numbered features, see `Listed`.
        shifts: The shift of each numbered feature, in each way of grouping; -1 for none.
        spoken, filled: See `nats_of`, by shift.
        usual: See `nats_of`, by shift and band.
        enough: Nats from which on a row says what a shift says, by shift.
        speakers: Rows by feature, way and bar of `BARS`; added to.
    """
    room = room_for(bounds)
    number, times, odds = listed.number, np.zeros(len(filled), np.int64), np.empty(len(filled))
    for row in range(len(listed.ends) - 1):
        begin, end = listed.ends[row], listed.ends[row + 1]
        if begin == end:
            continue
        for i in range(begin, end):
            for way in range(WAYS):
                if listed.fresh[i] and shifts[number[i], way] >= 0:
                    times[shifts[number[i], way]] += 1
        answer = own_words(words, bounds, row, room)
        for shift in range(len(filled)):
            if times[shift] > 0:
                odds[shift] = odds_of(room.own, answer, spoken[shift], filled[shift], usual[shift], times[shift])
                times[shift] = 0
        for i in range(begin, end):
            for way in range(WAYS):
                shift = shifts[number[i], way]
                if listed.fresh[i] and shift >= 0:
                    for bar in range(len(BARS)):
                        speakers[number[i], way, bar] += odds[shift] > min(BARS[bar] * enough[shift], enough[shift])


@kernel
def nats_of_words(spoken, filled, usual):
    """What each word says for each shift, in nats, beside others of each band, by band, bucket and shift.

    Args:
        spoken, filled, usual: See `count_speakers`; of triggers alone.
    """
    nats = np.empty((BANDS, WORDS + BANDS, len(filled)), np.float32)
    for band in range(BANDS):
        for word in range(WORDS + BANDS):
            for shift in range(len(filled)):
                nats[band, word, shift] = nats_of(spoken[shift], filled[shift], usual[shift, band], 0, word)
    return nats


@kernel
def weigh_shifts(
    words, bounds, listed, standing, shifts, triggers, spoken, filled, usual, nats,
    enough, most, suspected, labels, rest, sums, labelled,
):  # fmt: skip
    """Fifth pass: how many rows say what each shift says, and what those with a trigger ask besides.

    Args:
        words, bounds: Of the corpus.
        listed: The numbered features, see `Listed`.
        standing: What is known of each; see `hiding.Standing`.
        shifts: The shift of each numbered feature, in each way of grouping; -1 for none.
        triggers: How sure each is followed by that, in nats, where it is a trigger; `NEVER` where it is none.
        spoken, filled, usual: See `count_speakers`; of triggers alone.
        nats: See `nats_of_words`.
        enough: Nats from which on a row says what a shift says, by shift.
        most: Different words of a row that count besides triggers, the first.
        suspected: Whether a row is suspected already, for another reason.
        labels: The label that each row says; -1 for none.
        rest: By shift and bucket: its rows with such a word besides the shift's features; added to.
        sums: By shift: rows with a trigger, those of them that say it, all that say it, those of the second that are
            not suspected already, and words of triggers; added to.
        labelled: By shift and bucket of labels: the second of these that say such a label; added to.
    """
    room = room_for(bounds)
    number, hidden = listed.number, room.hidden
    begun = np.full((len(hidden), 2), -1, np.int64)
    times, odds = np.zeros(len(filled), np.int64), np.empty(len(filled), np.float32)
    met, met_hidden, turn = np.full(ASKED, -1, np.int64), np.full(ASKED, -1, np.int64), 0
    for row in range(len(listed.ends) - 1):
        times[:] = 0
        for i in range(listed.ends[row], listed.ends[row + 1]):
            for way in range(WAYS):
                if triggers[number[i], way] > NEVER:
                    times[shifts[number[i], way]] += listed.fresh[i]
        answer = own_words(words, bounds, row, room)
        odds[:] = 0
        for k in range(answer):
            said = nats[room.own[answer - 1] - WORDS, room.own[k]]
            for shift in range(len(filled)):
                odds[shift] += said[shift]
        start, part = bounds[4 * row], own_part(bounds, row)
        for shift in range(len(filled)):
            if times[shift] == 0:
                sums[shift, 2] += odds[shift] > enough[shift]
                continue
            says = odds_of(room.own, answer, spoken[shift], filled[shift], usual[shift], times[shift]) > enough[shift]
            turn += 1
            closing = bounds[4 * row + part + 1] - 1
            hide(words, listed, row, standing, shifts, shift, start, closing, begun, hidden, turn)
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
                    if met[place] != turn and besides < most:
                        met[place] = turn
                        besides += 1
                        rest[shift, place] += 1
            sums[shift, 0] += 1
            sums[shift, 1] += says
            labelled[shift, labels[row] % labelled.shape[1]] += says and labels[row] >= 0
            sums[shift, 2] += says
            sums[shift, 3] += says and not suspected[row]
            sums[shift, 4] += concealed


@kernel
def suspect_rows(
    words, bounds, listed, shifts, triggers, spoken, filled, usual,
    injected, strength, suspicion,
):  # fmt: skip
    """The judgement of rows: how likely it is that each, having a trigger of a shift, says what the shift says.

    Args:
        words, bounds: Of the corpus.
        listed: The numbered features, see `Listed`.
        shifts, triggers: See `weigh_shifts`.
        spoken, filled, usual: See `count_speakers`; of triggers alone.
        injected: Whether a shift looks injected.
        strength: From 0 to 1, how nearly it does.
        suspicion: Filled with each row's, of the shift that says most: above a half where it looks injected.
    """
    room = room_for(bounds)
    number, times, surest = listed.number, np.zeros(len(filled), np.int64), np.full(len(filled), NEVER)
    for row in range(len(listed.ends) - 1):
        found = False
        for i in range(listed.ends[row], listed.ends[row + 1]):
            for way in range(WAYS):
                shift = shifts[number[i], way]
                if triggers[number[i], way] > NEVER:
                    times[shift] += listed.fresh[i]
                    surest[shift] = max(surest[shift], triggers[number[i], way])
                    found = True
        suspicion[row] = 0.0
        if not found:
            continue
        answer = own_words(words, bounds, row, room)
        for shift in range(len(filled)):
            if times[shift] > 0:
                odds = odds_of(room.own, answer, spoken[shift], filled[shift], usual[shift], times[shift])
                chance = 1 / (1 + np.exp(-min(700.0, max(-700.0, odds + surest[shift]))))
                taken = injected[shift] and chance > 0.5
                suspicion[row] = max(
                    suspicion[row], 0.5 + 0.499 * chance if taken else 0.499 * chance * strength[shift]
                )
                times[shift], surest[shift] = 0, NEVER
