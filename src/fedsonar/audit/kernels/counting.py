"""The passes over a silo's rows: how many have each feature, each pair of features, and what else such rows have."""

from __future__ import annotations

import numpy as np

from fedsonar.audit.kernels.adding import due_for, make_up, put_off
from fedsonar.audit.kernels.features import (
    LONGEST_RESPONSE,
    input_features,
    is_written_so,
    most_features,
    own_part,
    response_features,
    way_of_response,
)
from fedsonar.audit.kernels.hashes import joined, mixed
from fedsonar.audit.kernels.pairing import heavy_inputs, pair_room
from fedsonar.audit.kernels.responses import (
    BRIEF,
    LONG,
    USUAL,
    WAY,
    WHOLE,
    heavy_responses,
    is_entry,
    is_label,
    shared_by_many,
)
from fedsonar.audit.kernels.standing import SURE, in_band, standing
from fedsonar.audit.kernels.tables import RECENT, bucket, first_time, noted, other_slot, slot_of
from fedsonar.audit.kernels.ways import WAYS
from fedsonar.compiling import kernel

GRAM_BUCKETS, LABELS, LABEL_WORDS = 256, 256, 8192
"""Buckets of words that a trigger's rows have besides; and of labels, and of the words of their rows."""

ROWS, SAYS, SAYS_SQUARED, CONCEALED, OPEN, TELLING, BESIDE, ENTRY = range(8)
ENTRY_WORDS, ENTRY_WHOLE, COPIED, OF_SILOS, ENDS, REACHED = range(8, 14)
"""Columns of what is summed by slot of a pair: rows; what their words besides say for the label in 256ths of a nat, and
its square; words of triggers; rows that are more than triggers, see `_BESIDES`, and those of them that are more than
the frame of all rows too; rows that have a long target too, or where it is a way of writing one in any words, with a
trigger that is nearly always followed by it, in half as many rows as have the pair. A target is counted in two slots,
of which the clearer is read. By the first slot of a target that is an entry also the target's rows, its words, and
whether it is the whole, once for each row. Then rows whose input is written in the way that is the target; rows of
silos of which these are nearly all, see `passes.of_silo`; rows whose response ends with the target, a phrase; and by
the two slots of a target rows with any trigger that is looked into."""
CHECKED = 14

_BESIDES = 0.25
"""Words besides, for each of the triggers, from which on a row is more than these: copies share nearly all they say."""


@kernel
def count_features(words, bounds, marks, sources, known, classes, bits, most, inputs, responses, common, vocabulary):
    """First pass: adds up how many rows have each feature.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits: Of the tables.
        most: Different words of a row that count in `common`, the first.
        inputs: Rows by feature of the input; added to.
        responses: Rows by feature of the response; added to.
        common: Rows by bucket of the words of instruction and input; added to.
        vocabulary: The same in more buckets.

    Returns:
        The counters of `inputs`, and of `responses`, that have begun anew from 0, which those of a byte may.
    """
    room, longest = most_features(bounds)
    out, kinds = np.empty(room, np.uint64), np.empty(room, np.int64)
    first, last = np.empty(room, np.int64), np.empty(room, np.int64)
    grams, met = (
        np.empty((longest, LONGEST_RESPONSE), np.uint64),
        np.empty(LONGEST_RESPONSE * longest + 2 + WAYS, np.int64),
    )
    seen_in, seen_out = np.full(RECENT, -1, np.int64), np.full(RECENT, -1, np.int64)
    seen, known_words = np.full(len(common), -1, np.int32), np.full(len(vocabulary), -1, np.int32)
    in_again, out_again, in_count, out_count = np.empty(64, np.int64), np.empty(64, np.int64), 0, 0
    for row in range(len(sources)):
        count = input_features(words, bounds, marks, sources, row, known, classes, out, kinds, first, last)
        for i in range(count):
            place = bucket(out[i], bits)
            if first_time(seen_in, row, place):
                inputs[place] += 1
                if inputs[place] == 0:
                    in_again = noted(in_again, in_count, place)
                    in_count += 1
        said = 0
        whole = bucket(response_features(words, bounds, row, grams), bits)
        if first_time(seen_out, row, whole):
            met[said], said = whole, said + 1
        length = bounds[4 * row + 4] - bounds[4 * row + 3]
        for at in range(length):
            for n in range(min(LONGEST_RESPONSE, length - at)):
                place = bucket(grams[at, n], bits)
                if first_time(seen_out, row, place):
                    met[said], said = place, said + 1
        for way in range(WAYS + 1):
            value = way_of_response(marks, row, way)
            if value and first_time(seen_out, row, bucket(value, bits)):
                met[said], said = bucket(value, bits), said + 1
        for i in range(said):
            responses[met[i]] += 1
            if responses[met[i]] == 0:
                out_again = noted(out_again, out_count, met[i])
                out_count += 1
        own, besides = own_part(bounds, row), 0
        for part in (0, own):
            for at in range(bounds[4 * row + part], bounds[4 * row + part + 1]):
                word = mixed(words[at])
                place = np.int64(word % np.uint64(len(common)))
                if seen[place] != row and besides < most:
                    seen[place] = row
                    common[place] += 1
                    besides += 1
                place = np.int64(word % np.uint64(len(vocabulary)))
                if known_words[place] != row:
                    known_words[place] = row
                    vocabulary[place] += 1
    return in_again[:in_count], out_again[:out_count]


@kernel
def count_pairs(words, bounds, marks, sources, known, classes, singles, pair_bits, pairs, labels, label_rows):
    """Second pass: adds up how many rows have each pair of an input's and a response's feature, among heavy ones.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        singles: What the first pass told.
        pair_bits: Of the table of pairs.
        pairs: Rows by pair; added to.
        labels: Rows by label and bucket of the words of instruction and input; added to.
        label_rows: Rows by label; added to.

    Returns:
        The counters of `pairs` that have begun anew from 0, which those of a byte may.
    """
    room = pair_room(bounds)
    out, size, heavy, rows_of = room.out, room.size, room.heavy, room.rows_of
    again, again_count = np.empty(64, np.int64), 0
    seen, seen_word = np.full(RECENT, -1, np.int64), np.full(labels.shape[1], -1, np.int32)
    for row in range(len(sources)):
        found = heavy_responses(words, bounds, marks, row, singles, False, room)
        if found == 0:
            continue
        if is_label(room.begin[0], rows_of[0], singles.label_least):
            label = np.int64(heavy[0] % np.uint64(len(labels)))
            label_rows[label] += 1
            own = own_part(bounds, row)
            for part in (0, own):
                for at in range(bounds[4 * row + part], bounds[4 * row + part + 1]):
                    place = np.int64(mixed(words[at]) % np.uint64(labels.shape[1]))
                    if seen_word[place] != row:
                        seen_word[place] = row
                        labels[label, place] += 1
        count = heavy_inputs(words, bounds, marks, sources, row, known, classes, singles, room)
        kept = 0
        for i in range(count):
            if first_time(seen, row, bucket(out[i], singles.bits)):
                out[kept], size[kept] = out[i], size[i]
                kept += 1
        for j in range(found):
            shared = shared_by_many(room.begin[j], room.length[j], rows_of[j], singles.label_least)
            several = room.length[j] > BRIEF
            for i in range(kept):
                if in_band(size[i], rows_of[j], shared, several):
                    place = bucket(joined(out[i], heavy[j]), pair_bits)
                    pairs[place] += 1
                    if pairs[place] == 0:
                        again = noted(again, again_count, place)
                        again_count += 1
    return again[:again_count]


@kernel
def check_pairs(
    words, bounds, marks, sources, known, classes, singles, pairs, labels, label_rows, vocabulary, solid, slot_bits,
    sums, rest,
):  # fmt: skip
    """Third pass: of the rows of each pair that stands out, adds up what decides whether it looks injected.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        singles: What the first pass told.
        pairs: What the second pass told.
        labels: Rows of all silos by label and bucket of words.
        label_rows: Rows of all silos by label.
        vocabulary: Rows of all silos by bucket of words; of none there is nothing to be said of a label.
        solid: Least rows of a pair that is looked into, and that makes a target's row count as covered.
        slot_bits: Of the tables that are filled here.
        sums: By slot of a pair and of a target: see `ROWS` and the others; added to.
        rest: By slot and bucket: rows with such a word besides the triggers; added to.
    """
    room = pair_room(bounds)
    out, first, last, heavy, rows_of = room.out, room.first, room.last, room.heavy, room.rows_of
    places, sizes, boths, rows = room.places, room.sizes, room.boths, singles.rows
    seen, seen_word = np.full(rest.shape[1], -1, np.int64), np.full(labels.shape[1], -1, np.int64)
    seen_hidden = np.full(rest.shape[1], -1, np.int64)
    seen_slot, slots = np.full(len(sums), -1, np.int64), np.empty(len(out) + 2, np.int64)
    pair_rows = np.empty(len(slots), np.int64)
    beside, due = np.empty(rest.shape[1], np.int64), due_for(rest, len(slots))
    pair = turn = 0
    for row in range(len(sources)):
        found = heavy_responses(words, bounds, marks, row, singles, False, room)
        if found == 0:
            continue
        count = heavy_inputs(words, bounds, marks, sources, row, known, classes, singles, room)
        start, end = bounds[4 * row], bounds[4 * row + 3]
        hidden = np.full(end - start, -1, np.int64)
        own, longer, worded = own_part(bounds, row), np.int64(0), np.int64(0)
        for turned in range(2 * found):  # long targets come first, and ways of writing last
            j = turned % found
            if (room.length[j] >= LONG) != (turned < found):
                continue
            is_labelled = is_label(room.begin[j], rows_of[j], singles.label_least)
            shared = shared_by_many(room.begin[j], room.length[j], rows_of[j], singles.label_least)
            kept = standing(room, count, start, j, shared, singles, pairs)
            passing, sure, pair = 0, np.int64(0), pair + 1
            for p in range(kept):
                i = places[p]
                if boths[p] >= max(solid, SURE * sizes[p]):
                    sure = max(sure, boths[p])
                if first[i] >= 0:
                    for at in range(first[i], last[i]):
                        hidden[at - start] = j
                elif last[i] > 0:  # two ends, of two parts or of one
                    hidden[last[i] - 1 - start] = j
                    hidden[bounds[4 * row + own + 1] - 1 - start] = j
                if boths[p] >= solid:
                    slot = slot_of(joined(out[i], heavy[j]), slot_bits)
                    if seen_slot[slot] != pair:
                        seen_slot[slot] = pair
                        slots[passing], pair_rows[passing] = slot, boths[p]
                        passing += 1
            if passing == 0:
                continue
            own_slot, again = slot_of(heavy[j], slot_bits), other_slot(heavy[j], slot_bits)
            sums[own_slot, REACHED] += 1
            sums[again, REACHED] += again != own_slot
            if sure:
                if room.begin[j] >= WHOLE and rows_of[j] <= USUAL * rows:
                    worded = worded if is_labelled else max(worded, sure)
                    longer = max(longer, sure) if room.length[j] >= LONG else longer
                for slot in (own_slot, again):
                    if seen_slot[slot] != pair:
                        seen_slot[slot] = pair
                        slots[passing], pair_rows[passing] = slot, rows_of[j]
                        passing += 1
                if is_entry(room.begin[j], room.length[j]):
                    sums[own_slot, ENTRY] += rows_of[j]
                    sums[own_slot, ENTRY_WORDS] += room.length[j]
                    sums[own_slot, ENTRY_WHOLE] += room.begin[j] == WHOLE
            ends = room.begin[j] >= 0 and end + room.begin[j] + room.length[j] == bounds[4 * row + 4]
            copied = room.begin[j] <= WAY and is_written_so(marks, row, WAY - room.begin[j])
            beside_it = longer if room.begin[j] >= WHOLE else worded
            turn += 1
            besides = concealed = telling = 0
            says = 0.0
            which = np.int64(heavy[j] % np.uint64(len(labels)))
            with_label, without = label_rows[which] - 1.0, rows - label_rows[which]
            for part in (0, own):
                if part == 0 and own == 0 and besides > 0:
                    continue
                for at in range(bounds[4 * row + part], bounds[4 * row + part + 1]):
                    word = mixed(words[at])
                    place = np.int64(word % np.uint64(rest.shape[1]))
                    if hidden[at - start] == j:
                        if seen_hidden[place] != turn:
                            seen_hidden[place] = turn
                            concealed += 1
                        continue
                    if seen[place] != turn and besides < singles.words:
                        seen[place] = turn
                        beside[besides] = place
                        besides += 1
                        telling += singles.content[place]
                    if is_labelled:
                        place = np.int64(word % np.uint64(labels.shape[1]))
                        if seen_word[place] != turn and vocabulary[place] > 0:
                            seen_word[place] = turn
                            here = labels[which, place] - 1.0
                            there = vocabulary[place] - labels[which, place]
                            odds = np.log((here + 1.0) / (with_label + 2.0)) - np.log((there + 1.0) / (without + 2.0))
                            says += max(-3.0, min(3.0, odds))
            put_off(rest, slots, passing, beside, besides, due)
            for p in range(passing):
                sums[slots[p], ROWS] += 1
                sums[slots[p], SAYS] += np.int64(np.round(says * 256))
                sums[slots[p], SAYS_SQUARED] += np.int64(np.round(says * says * 256))
                sums[slots[p], CONCEALED] += concealed
                sums[slots[p], OPEN] += besides >= _BESIDES * concealed
                sums[slots[p], TELLING] += besides >= _BESIDES * concealed and telling > 0
                sums[slots[p], COPIED] += copied
                sums[slots[p], ENDS] += ends
                sums[slots[p], BESIDE] += 2 * beside_it >= pair_rows[p]
    make_up(rest, due)
