"""The passes over a silo's rows: how many have each feature, each pair of features, and what else such rows have."""

from __future__ import annotations

import numpy as np

from fedsonar.audit.kernels.features import (
    LONGEST_RESPONSE,
    input_features,
    most_features,
    own_part,
    response_features,
)
from fedsonar.audit.kernels.words import joined, mixed
from fedsonar.compiling import kernel

GRAM_BUCKETS, LABELS, LABEL_WORDS = 256, 256, 8192
"""Buckets of words that a trigger's rows have besides; and of labels, and of the words of their rows."""

_RECENT = 1 << 17
"""Places that are remembered within a row: far more than a row has features, and few enough to stay near."""

_LOWEST, _HIGHEST = 0.1, 2.2
"""A trigger's rows per row of its response: pairs outside of this can be no two-sided finding."""

LONG = 4
"""Words of a response's feature from which on many rare triggers may share it."""

SURE = 0.9
"""Share of a trigger's rows that have its target, where it counts as always followed by it."""

SPECIAL = 0.8
"""A longer phrase with less than this share of the rows of one within it, where that is always followed by the target,
adds nothing."""

_DOMINATED = 0.9
"""A phrase is left to a longer one that has this share of its rows."""


@kernel
def bucket(value, bits):
    """The place of a 64-bit number in a table of ``2^bits``."""
    return np.int64(value >> np.uint64(64 - bits))


@kernel
def first_time(seen, row, place):
    """Whether a row comes to a counter for the first time, as far as a small memory tells; notes that it did."""
    value = (np.int64(row) << 32) | np.int64(place)
    at = place & (_RECENT - 1)
    if seen[at] == value:
        return False
    seen[at] = value
    return True


@kernel
def count_features(words, bounds, marks, sources, known, classes, bits, inputs, responses, common, vocabulary):
    """First pass: adds up how many rows have each feature.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits: Of the tables.
        inputs: Rows by feature of the input; added to.
        responses: Rows by feature of the response; added to.
        common: Rows by bucket of the words of instruction and input; added to.
        vocabulary: The same in more buckets.
    """
    most, longest = most_features(bounds)
    out, kinds = np.empty(most, np.uint64), np.empty(most, np.int64)
    first, last = np.empty(most, np.int64), np.empty(most, np.int64)
    grams = np.empty((longest, LONGEST_RESPONSE), np.uint64)
    seen_in, seen_out = np.full(_RECENT, -1, np.int64), np.full(_RECENT, -1, np.int64)
    seen, known_words = np.full(len(common), -1, np.int32), np.full(len(vocabulary), -1, np.int32)
    for row in range(len(sources)):
        count = input_features(words, bounds, marks, sources, row, known, classes, out, kinds, first, last)
        for i in range(count):
            place = bucket(out[i], bits)
            if first_time(seen_in, row, place):
                inputs[place] += 1
        whole = bucket(response_features(words, bounds, row, grams), bits)
        responses[whole] += 1
        first_time(seen_out, row, whole)
        length = bounds[4 * row + 4] - bounds[4 * row + 3]
        for at in range(length):
            for n in range(min(LONGEST_RESPONSE, length - at)):
                place = bucket(grams[at, n], bits)
                if first_time(seen_out, row, place):
                    responses[place] += 1
        own = own_part(bounds, row)
        for part in (0, own):
            if part == 0 and own == 0 and part != own:
                continue
            for at in range(bounds[4 * row + part], bounds[4 * row + part + 1]):
                word = mixed(words[at])
                place = np.int64(word % np.uint64(len(common)))
                if seen[place] != row:
                    seen[place] = row
                    common[place] += 1
                place = np.int64(word % np.uint64(len(vocabulary)))
                if known_words[place] != row:
                    known_words[place] = row
                    vocabulary[place] += 1


@kernel
def heavy_responses(
    words,
    bounds,
    row,
    grams,
    counts,
    responses,
    bits,
    least,
    most,
    label_least,
    copies,
    copied,
    heavy,
    size,
    begin,
    length,
):
    """Writes the features of a row's response that enough rows have, without phrases of which longer ones say as much.

    Phrases all of whose words stand in the row's input are left out: a response may repeat what it is asked about.

    Args:
        words, bounds: Of the corpus.
        row: The row.
        grams, counts: Room for the n-grams and how many rows have them.
        responses: Rows by feature of the response.
        bits: Of the table.
        least: Fewest rows.
        most: Most rows.
        label_least: Fewest rows of a whole response that is a label, which may be one of the input's words.
        copies: Whether phrases of the input are kept all the same.
        copied: Room: the last row whose input had a word, by bucket.
        heavy: Filled with features.
        size: Filled with how many rows have each.
        begin: Filled with the first word of each in the response; -1 for the whole.
        length: Filled with its number of words.

    Returns:
        How many there are.
    """
    for at in range(bounds[4 * row], bounds[4 * row + 3]):
        copied[np.int64(words[at] >> np.uint64(48))] = row
    whole = response_features(words, bounds, row, grams)
    whole_count = responses[bucket(whole, bits)]
    start = bounds[4 * row + 3]
    total = bounds[4 * row + 4] - start
    count = 0
    own = 0
    for at in range(total):
        if copied[np.int64(words[start + at] >> np.uint64(48))] != row:
            own += 1
    if least <= whole_count <= most and (own or copies or total == 0 or whole_count >= label_least):
        heavy[count], size[count], begin[count], length[count] = whole, whole_count, -1, total
        count += 1
    for at in range(total):
        for n in range(min(LONGEST_RESPONSE, total - at)):
            counts[at, n] = responses[bucket(grams[at, n], bits)]
    for at in range(total):
        fresh = copies
        for n in range(min(LONGEST_RESPONSE, total - at)):
            if copied[np.int64(words[start + at + n] >> np.uint64(48))] != row:
                fresh = True
            c = counts[at, n]
            if c < least:
                break
            if c > most or not fresh:
                continue
            if n + 1 == total and whole_count >= _DOMINATED * c:
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
    return count


@kernel
def in_band(trigger, target, shared):
    """Whether a pair's two numbers of rows are near enough for a finding.

    Labels and long phrases, which many triggers may share, may have many more rows.
    """
    return trigger <= _HIGHEST * target + 1 and (shared or trigger >= _LOWEST * target)


@kernel
def count_pairs(
    words,
    bounds,
    marks,
    sources,
    known,
    classes,
    bits,
    inputs,
    responses,
    least,
    rows,
    label_least,
    pair_bits,
    pairs,
    labels,
    label_rows,
):
    """Second pass: adds up how many rows have each pair of an input's and a response's feature, among heavy ones.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits: Of the tables of the first pass.
        inputs: Rows of all silos by feature of the input.
        responses: Rows of all silos by feature of the response.
        least: Fewest rows of a feature.
        rows: Rows of all silos.
        label_least: Fewest rows of a whole response that is a label.
        pair_bits: Of the table of pairs.
        pairs: Rows by pair; added to.
        labels: Rows by label and bucket of the words of instruction and input; added to.
        label_rows: Rows by label; added to.
    """
    most, longest = most_features(bounds)
    out, kinds = np.empty(most, np.uint64), np.empty(most, np.int64)
    first, last = np.empty(most, np.int64), np.empty(most, np.int64)
    size = np.empty(most, np.int64)
    room = longest * LONGEST_RESPONSE + 1
    grams, counts = np.empty((longest, LONGEST_RESPONSE), np.uint64), np.empty((longest, LONGEST_RESPONSE), np.int64)
    heavy, rows_of = np.empty(room, np.uint64), np.empty(room, np.int64)
    begin, length = np.empty(room, np.int64), np.empty(room, np.int64)
    copied = np.full(1 << 16, -1, np.int64)
    seen, seen_word = np.full(_RECENT, -1, np.int64), np.full(labels.shape[1], -1, np.int32)
    for row in range(len(sources)):
        found = heavy_responses(
            words,
            bounds,
            row,
            grams,
            counts,
            responses,
            bits,
            least,
            0.9 * rows,
            label_least,
            False,
            copied,
            heavy,
            rows_of,
            begin,
            length,
        )
        if found == 0:
            continue
        if begin[0] == -1 and rows_of[0] >= label_least:
            label = np.int64(heavy[0] % np.uint64(len(labels)))
            label_rows[label] += 1
            own = own_part(bounds, row)
            for part in (0, own):
                for at in range(bounds[4 * row + part], bounds[4 * row + part + 1]):
                    place = np.int64(mixed(words[at]) % np.uint64(labels.shape[1]))
                    if seen_word[place] != row:
                        seen_word[place] = row
                        labels[label, place] += 1
        count = input_features(words, bounds, marks, sources, row, known, classes, out, kinds, first, last)
        kept = 0
        for i in range(count):
            place = bucket(out[i], bits)
            c = inputs[place]
            if least <= c <= 0.6 * rows and first_time(seen, row, place):
                out[kept], size[kept] = out[i], c
                kept += 1
        for j in range(found):
            shared = (begin[j] == -1 and rows_of[j] >= label_least) or length[j] >= LONG
            for i in range(kept):
                if in_band(size[i], rows_of[j], shared):
                    pairs[bucket(joined(out[i], heavy[j]), pair_bits)] += 1


@kernel
def surplus(seen, expected):
    """``O ln(O / E)``, which is 0 where nothing is seen."""
    return seen * np.log(seen / expected) if seen > 0 and expected > 0 else 0.0


@kernel
def association(both, trigger, target, rows):
    """G squared of a two-by-two table: twice the sum of ``O ln(O / E)``."""
    share = target / rows
    return 2.0 * (
        surplus(both, trigger * share)
        + surplus(trigger - both, trigger * (1.0 - share))
        + surplus(target - both, (rows - trigger) * share)
        + surplus(rows - trigger - target + both, (rows - trigger) * (1.0 - share))
    )


@kernel
def standing(
    out,
    first,
    last,
    count,
    target,
    target_rows,
    shared,
    inputs,
    bits,
    pairs,
    pair_bits,
    rows,
    least,
    strength,
    places,
    sizes,
    boths,
):
    """Finds which of a row's features stand out with a target, without phrases that are a rarer form of a shorter one.

    Args:
        out: Features of the row's input.
        first: First word of each.
        last: The word after it.
        count: How many there are.
        target: A feature of its response.
        target_rows: Rows of all silos that have it.
        shared: Whether many triggers may share it; see `in_band`.
        inputs: Rows of all silos by feature of the input.
        bits: Of that table.
        pairs: Rows of all silos by pair.
        pair_bits: Of that table.
        rows: Rows of all silos.
        least: Fewest rows of a pair.
        strength: Least G squared.
        places: Filled with the places of those that stand out.
        sizes: Filled with their rows.
        boths: Filled with the rows of the pairs.

    Returns:
        How many there are.
    """
    found = 0
    for i in range(count):
        size = np.int64(inputs[bucket(out[i], bits)])
        if size < least or size > 0.6 * rows or not in_band(size, target_rows, shared):
            continue
        both = min(np.int64(pairs[bucket(joined(out[i], target), pair_bits)]), size, target_rows)
        if stands_out(both, size, target_rows, rows, least, strength):
            places[found], sizes[found], boths[found] = i, size, both
            found += 1
    kept = 0
    for p in range(found):
        i = places[p]
        special = False
        if first[i] >= 0 and last[i] - first[i] > 1:
            for q in range(found):
                j = places[q] if places[q] >= 0 else -1 - places[q]
                if (
                    first[i] <= first[j] < last[j] <= last[i]
                    and last[j] - first[j] < last[i] - first[i]
                    and boths[q] >= SURE * sizes[q]
                    and sizes[p] < SPECIAL * sizes[q]
                ):
                    special = True
        if special:
            places[p] = -1 - i
    for p in range(found):
        if places[p] >= 0:
            places[kept], sizes[kept], boths[kept] = places[p], sizes[p], boths[p]
            kept += 1
    return kept


@kernel
def check_pairs(
    words,
    bounds,
    marks,
    sources,
    known,
    classes,
    bits,
    inputs,
    responses,
    least,
    rows,
    label_least,
    pair_bits,
    pairs,
    labels,
    label_rows,
    vocabulary,
    strength,
    solid,
    slot_bits,
    sums,
    rest,
):
    """Third pass: of the rows of each pair that stands out, adds up what decides whether it looks injected.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        bits: Of the tables of the first pass.
        inputs: Rows of all silos by feature of the input.
        responses: Rows of all silos by feature of the response.
        least: Fewest rows of a feature.
        rows: Rows of all silos.
        label_least: Fewest rows of a whole response that is a label.
        pair_bits: Of the table of pairs.
        pairs: Rows of all silos by pair.
        labels: Rows of all silos by label and bucket of words.
        label_rows: Rows of all silos by label.
        vocabulary: Rows of all silos by bucket of words.
        strength: Least G squared.
        solid: Least rows of a pair that makes a target's row count as covered.
        slot_bits: Of the tables that are filled here.
        sums: By slot of a pair: rows, rows of its trigger and of its target, each summed over the rows; words besides
            the triggers;
            and what these say for the label, and its square; added to.
        rest: By slot and bucket: rows with such a word besides the triggers; added to.
    """
    most, longest = most_features(bounds)
    out, kinds = np.empty(most, np.uint64), np.empty(most, np.int64)
    first, last = np.empty(most, np.int64), np.empty(most, np.int64)
    room = longest * LONGEST_RESPONSE + 1
    grams, counts = np.empty((longest, LONGEST_RESPONSE), np.uint64), np.empty((longest, LONGEST_RESPONSE), np.int64)
    heavy, rows_of = np.empty(room, np.uint64), np.empty(room, np.int64)
    begin, length = np.empty(room, np.int64), np.empty(room, np.int64)
    copied = np.full(1 << 16, -1, np.int64)
    seen, seen_word = np.full(rest.shape[1], -1, np.int64), np.full(labels.shape[1], -1, np.int64)
    slots, firsts = np.empty(most + 1, np.int64), np.empty(most + 1, np.int64)
    places, sizes, boths = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    turn = 0
    for row in range(len(sources)):
        found = heavy_responses(
            words,
            bounds,
            row,
            grams,
            counts,
            responses,
            bits,
            least,
            0.9 * rows,
            label_least,
            False,
            copied,
            heavy,
            rows_of,
            begin,
            length,
        )
        if found == 0:
            continue
        count = input_features(words, bounds, marks, sources, row, known, classes, out, kinds, first, last)
        start, end = bounds[4 * row], bounds[4 * row + 3]
        hidden = np.full(end - start, -1, np.int64)
        own = own_part(bounds, row)
        for j in range(found):
            label = begin[j] == -1 and rows_of[j] >= label_least
            kept = standing(
                out,
                first,
                last,
                count,
                heavy[j],
                rows_of[j],
                label or length[j] >= LONG,
                inputs,
                bits,
                pairs,
                pair_bits,
                rows,
                least,
                strength,
                places,
                sizes,
                boths,
            )
            passing = 0
            sure = False
            for p in range(kept):
                i = places[p]
                if boths[p] >= max(solid, SURE * sizes[p]):
                    sure = True
                if first[i] >= 0:
                    for at in range(first[i], last[i]):
                        hidden[at - start] = j
                elif last[i] > 0:  # the ends of two parts
                    hidden[last[i] - 1 - start] = j
                    hidden[bounds[4 * row + own + 1] - 1 - start] = j
                slot = bucket(joined(out[i], heavy[j]), slot_bits)
                again = False
                for q in range(passing):
                    if slots[q] == slot:
                        again = True
                if not again:
                    slots[passing], firsts[passing] = slot, sizes[p]
                    passing += 1
            if passing == 0:
                continue
            if sure:
                slots[passing], firsts[passing] = bucket(heavy[j], slot_bits), 0
                passing += 1
            turn += 1
            besides = 0
            says = 0.0
            which = np.int64(heavy[j] % np.uint64(len(labels)))
            with_label, without = label_rows[which] - 1.0, rows - label_rows[which]
            for part in (0, own):
                if part == 0 and own == 0 and besides > 0:
                    continue
                for at in range(bounds[4 * row + part], bounds[4 * row + part + 1]):
                    if hidden[at - start] == j:
                        continue
                    word = mixed(words[at])
                    place = np.int64(word % np.uint64(rest.shape[1]))
                    if seen[place] != turn:
                        seen[place] = turn
                        besides += 1
                        for p in range(passing):
                            rest[slots[p], place] += 1
                    if label:
                        place = np.int64(word % np.uint64(labels.shape[1]))
                        if seen_word[place] != turn:
                            seen_word[place] = turn
                            here = labels[which, place] - 1.0
                            there = vocabulary[place] - labels[which, place]
                            odds = np.log((here + 1.0) / (with_label + 2.0)) - np.log((there + 1.0) / (without + 2.0))
                            says += max(-3.0, min(3.0, odds))
            for p in range(passing):
                sums[slots[p], 0] += 1
                sums[slots[p], 1] += firsts[p]
                sums[slots[p], 2] += rows_of[j]
                sums[slots[p], 3] += besides
                sums[slots[p], 4] += np.int64(np.round(says * 256))
                sums[slots[p], 5] += np.int64(np.round(says * says * 256))


@kernel
def stands_out(both, trigger, target, rows, least, strength):
    """Whether a pair has rows enough, half of its trigger's, and more than chance gives."""
    if both < least or 2 * both < trigger:
        return False
    return both * rows > 1.2 * trigger * target and association(both, trigger, target, rows) >= strength
