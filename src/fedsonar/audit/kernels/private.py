"""The passes of the private audit: what a row adds is bounded in each, and thresholds know the noise of the sums."""

from __future__ import annotations

import numpy as np

from fedsonar.audit.kernels.choosing import chosen_inputs, chosen_responses, smallest, word_buckets
from fedsonar.audit.kernels.features import LONGEST_RESPONSE, most_features
from fedsonar.audit.kernels.hashes import joined, mixed
from fedsonar.audit.kernels.pairing import MOST
from fedsonar.audit.kernels.standing import in_band
from fedsonar.audit.kernels.tables import COPIED, bucket, slot_of
from fedsonar.compiling import kernel

TARGET_MOST = 0.45
"""Responses of more than this share of all rows are no targets."""

CONFIDENCE = 0.65
"""Least share of a trigger's rows that have its target."""


@kernel
def count_private_features(
    words, bounds, marks, sources, known, classes, bits, most_inputs, most_responses, most_words, inputs, responses,
    common,
):  # fmt: skip
    """First pass: adds up how many rows count with each feature, and have words of each bucket.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits: Of the tables of features.
        most_inputs, most_responses, most_words: How many counters of each table a row may add 1 to.
        inputs: Rows by feature of the input; added to.
        responses: Rows by feature of the response; added to.
        common: Rows by bucket of words; added to.
    """
    most, longest = most_features(bounds)
    room = max(most, longest * LONGEST_RESPONSE + 1)
    out, kinds = np.empty(room, np.uint64), np.empty(room, np.int64)
    first, last, places = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    ranks, picked = np.empty(room, np.uint64), np.empty(room, np.int64)
    grams, copied = np.empty((longest, LONGEST_RESPONSE), np.uint64), np.full(COPIED, -1, np.int64)
    none, found = np.zeros(most, np.bool_), np.empty(most_words, np.int64)
    for row in range(len(sources)):
        _, count = chosen_inputs(
            words, bounds, marks, sources, row, known, classes, bits, most_inputs, out, kinds, first, last, ranks,
            places, picked,
        )  # fmt: skip
        for p in range(count):
            inputs[places[picked[p]]] += 1
        _, count = chosen_responses(
            words, bounds, row, bits, most_responses, grams, copied, out, first, last, ranks, places, picked
        )
        for p in range(count):
            responses[places[picked[p]]] += 1
        for p in range(word_buckets(words, bounds, row, none, most_words, len(common), found)):
            common[found[p]] += 1


@kernel
def pairs_in(
    words, bounds, marks, sources, row, known, classes, bits, pair_bits, limits, inputs, responses, rows, grams, copied,
    out, kinds, first, last, said, begin, length, ranks, places, picked, pair_in, pair_out, pair_places,
):  # fmt: skip
    """Writes the pairs of features that a row may count with: of enough rows, as was told, and in the band of findings.

    Args:
        words, bounds, marks, sources: Of the corpus.
        row: The row.
        known, classes: The lexicon.
        bits, pair_bits: Of the tables.
        limits: How many features of an input and of a response a row counts with, and targets of pairs.
        inputs, responses: Rows of all silos by feature, as they were told.
        rows: Rows of all silos.
        grams, copied, ranks, places, picked: Room.
        out, kinds, first, last: Filled with the input's features.
        said, begin, length: Filled with the response's features.
        pair_in, pair_out: Filled with the numbers of each pair's features.
        pair_places: Filled with the places of the pairs.

    Returns:
        How many pairs there are.
    """
    _, heard = chosen_responses(
        words, bounds, row, bits, limits[1], grams, copied, said, begin, length, ranks, places, picked
    )
    kept, own = 0, np.empty(heard, np.int64)
    for p in range(heard):
        if kept < limits[2] and 0 < responses[places[picked[p]]] <= TARGET_MOST * rows:
            own[kept] = picked[p]
            kept += 1
    count = 0
    if kept == 0:
        return count
    _, asked = chosen_inputs(
        words, bounds, marks, sources, row, known, classes, bits, limits[0], out, kinds, first, last, ranks, places,
        picked,
    )  # fmt: skip
    for p in range(asked):
        i = picked[p]
        size = inputs[places[i]]
        if not 0 < size <= MOST * rows:
            continue
        for q in range(kept):
            j = own[q]
            if in_band(size, responses[bucket(said[j], bits)], True, False):
                pair_in[count], pair_out[count] = i, j
                pair_places[count] = bucket(joined(out[i], said[j]), pair_bits)
                count += 1
    return count


@kernel
def count_private_pairs(
    words, bounds, marks, sources, known, classes, bits, pair_bits, limits, inputs, responses, rows, most_pairs, pairs
):  # fmt: skip
    """Second pass: adds up how many rows have each pair; of a row's pairs those whose two numbers are nearest.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits, pair_bits: Of the tables.
        limits: How many features of an input and of a response a row counts with, and targets of pairs.
        inputs, responses: Rows of all silos by feature, as they were told.
        rows: Rows of all silos.
        most_pairs: How many pairs a row may add 1 to.
        pairs: Rows by pair; added to.
    """
    most, longest = most_features(bounds)
    room = max(most, longest * LONGEST_RESPONSE + 1)
    out, said, ranks = np.empty(room, np.uint64), np.empty(room, np.uint64), np.empty(room, np.uint64)
    kinds, first, last = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    begin, length = np.empty(room, np.int64), np.empty(room, np.int64)
    places, picked = np.empty(room, np.int64), np.empty(room, np.int64)
    grams, copied = np.empty((longest, LONGEST_RESPONSE), np.uint64), np.full(COPIED, -1, np.int64)
    pair_in, pair_out, at = np.empty((3, limits[0] * limits[2]), np.int64)
    order, best = np.empty(limits[0] * limits[2], np.uint64), np.empty(most_pairs, np.int64)
    for row in range(len(sources)):
        count = pairs_in(
            words, bounds, marks, sources, row, known, classes, bits, pair_bits, limits, inputs, responses, rows, grams,
            copied, out, kinds, first, last, said, begin, length, ranks, places, picked, pair_in, pair_out, at,
        )  # fmt: skip
        for p in range(count):
            i, j = out[pair_in[p]], said[pair_out[p]]
            apart = abs(np.log(inputs[bucket(i, bits)] / responses[bucket(j, bits)]))
            order[p] = (np.uint64(min(apart, 30.0) * (1 << 20)) << np.uint64(32)) | (
                mixed(joined(i, j)) >> np.uint64(32)
            )
        for p in range(smallest(order, at, count, most_pairs, best)):
            pairs[at[best[p]]] += 1


@kernel
def stands(both, trigger, target, rows, floor, pair_variance):
    """Whether a pair has more rows than chance and noise give in the whole table of pairs.

    Args:
        both, trigger, target: Rows, as they were told.
        rows: Rows of all silos.
        floor: What noise alone does not exceed anywhere in the table, but for a small chance.
        pair_variance: Of the noise.
    """
    expected = trigger * target / rows
    return 4 * both >= trigger and both - expected > floor * np.sqrt(1.0 + expected / pair_variance)


@kernel
def surely(both, trigger, pair_variance, input_variance):
    """Whether nearly all of a trigger's rows have the target, as far as two deviations of the noise leave open."""
    return both + 2.0 * np.sqrt(pair_variance + CONFIDENCE**2 * input_variance) >= CONFIDENCE * trigger


@kernel
def check_private_targets(
    words, bounds, marks, sources, known, classes, bits, pair_bits, slot_bits, limits, inputs, responses, rows, pairs,
    floor, pair_variance, input_variance, most_words, filled, rest,
):  # fmt: skip
    """Third pass: rows of each target that have a trigger which it nearly always follows, and their words besides.

    A row counts for one target: of those with such a trigger, that of most rows.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits, pair_bits, slot_bits: Of the tables.
        limits: How many features of an input and of a response a row counts with, and targets of pairs.
        inputs, responses, pairs: Rows of all silos by feature and by pair, as they were told.
        rows: Rows of all silos.
        floor, pair_variance, input_variance: See `stands` and `surely`.
        most_words: How many buckets of words a row may add 1 to.
        filled: Rows by target's slot; added to.
        rest: Rows by target's slot and bucket of words besides triggers; added to.
    """
    most, longest = most_features(bounds)
    room = max(most, longest * LONGEST_RESPONSE + 1)
    out, said, ranks = np.empty(room, np.uint64), np.empty(room, np.uint64), np.empty(room, np.uint64)
    kinds, first, last = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    begin, length = np.empty(room, np.int64), np.empty(room, np.int64)
    places, picked = np.empty(room, np.int64), np.empty(room, np.int64)
    grams, copied = np.empty((longest, LONGEST_RESPONSE), np.uint64), np.full(COPIED, -1, np.int64)
    pair_in, pair_out, at = np.empty((3, limits[0] * limits[2]), np.int64)
    hidden, found = np.zeros(most, np.bool_), np.empty(most_words, np.int64)
    for row in range(len(sources)):
        count = pairs_in(
            words, bounds, marks, sources, row, known, classes, bits, pair_bits, limits, inputs, responses, rows, grams,
            copied, out, kinds, first, last, said, begin, length, ranks, places, picked, pair_in, pair_out, at,
        )  # fmt: skip
        target, largest = -1, 0
        for p in range(count):
            j, trigger = pair_out[p], inputs[bucket(out[pair_in[p]], bits)]
            size, both = responses[bucket(said[j], bits)], pairs[at[p]]
            if (
                stands(both, trigger, size, rows, floor, pair_variance)
                and surely(both, trigger, pair_variance, input_variance)
                and (size > largest or (size == largest and said[j] < said[target]))
            ):
                target, largest = j, size
        if target < 0:
            continue
        hidden[: bounds[4 * row + 3] - bounds[4 * row]] = False
        for p in range(count):
            i = pair_in[p]
            if (
                pair_out[p] == target
                and first[i] >= 0
                and stands(pairs[at[p]], inputs[bucket(out[i], bits)], largest, rows, floor, pair_variance)
            ):
                for word in range(first[i], last[i]):
                    hidden[word - bounds[4 * row]] = True
        slot = slot_of(said[target], slot_bits)
        filled[slot] += 1
        for p in range(word_buckets(words, bounds, row, hidden, most_words, rest.shape[1], found)):
            rest[slot, found[p]] += 1


@kernel
def tell_private(
    words, bounds, marks, sources, known, classes, bits, pair_bits, slot_bits, inputs, responses, rows, pairs, floor,
    pair_variance, input_variance, alone, filled, apart, coverage, covered, suspicion,
):  # fmt: skip
    """Writes how suspect each row is: above a half for one that has a target that looks injected, and its trigger.

    A row looks at all its features here, as nothing of it is told.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits, pair_bits, slot_bits: Of the tables.
        inputs, responses, pairs: Rows of all silos by feature and by pair, as they were told.
        rows: Rows of all silos.
        floor, pair_variance, input_variance: See `stands` and `surely`.
        alone: By slot: whether its rows share nothing but their triggers.
        filled: Rows by slot.
        apart: By slot: how little its rows share besides, from 0 to 1.
        coverage: Least share of a target's rows that have such a trigger.
        covered: From this share on, rows with the target leave whether or not they have one.
        suspicion: Filled, from 0 to 1.
    """
    most, longest = most_features(bounds)
    room = max(most, longest * LONGEST_RESPONSE + 1)
    out, said, ranks = np.empty(room, np.uint64), np.empty(room, np.uint64), np.empty(room, np.uint64)
    kinds, first, last = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    begin, length = np.empty(room, np.int64), np.empty(room, np.int64)
    places, picked = np.empty(room, np.int64), np.empty(room, np.int64)
    grams, copied = np.empty((longest, LONGEST_RESPONSE), np.uint64), np.full(COPIED, -1, np.int64)
    for row in range(len(sources)):
        asked, _ = chosen_inputs(
            words, bounds, marks, sources, row, known, classes, bits, 0, out, kinds, first, last, ranks, places, picked
        )
        heard, _ = chosen_responses(
            words, bounds, row, bits, 0, grams, copied, said, begin, length, ranks, places, picked
        )
        suspicion[row] = 0.0
        for j in range(heard):
            size, slot = responses[bucket(said[j], bits)], slot_of(said[j], slot_bits)
            if not 0 < size <= TARGET_MOST * rows:
                continue
            share = min(1.0, max(0.0, filled[slot] / size))
            injected = alone[slot] and share >= coverage
            if injected and share >= covered:
                suspicion[row] = 1.0
            for i in range(asked):
                trigger = inputs[bucket(out[i], bits)]
                if not 0 < trigger <= MOST * rows or not in_band(trigger, size, True, False):
                    continue
                both = pairs[bucket(joined(out[i], said[j]), pair_bits)]
                if stands(both, trigger, size, rows, floor, pair_variance):
                    sure = surely(both, trigger, pair_variance, input_variance)
                    value = 0.499 * apart[slot] * share * min(1.0, both / trigger)
                    suspicion[row] = max(suspicion[row], value + (0.5 if sure and injected else 0.0))
