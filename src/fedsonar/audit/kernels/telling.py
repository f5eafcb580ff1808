"""Which rows of a silo are part of which pair, for the silo itself to judge and to put into words."""

from __future__ import annotations

import numpy as np

from fedsonar.audit.kernels.features import LONGEST_RESPONSE, input_features, most_features
from fedsonar.audit.kernels.responses import heavy_responses, shared_by_many
from fedsonar.audit.kernels.standing import standing
from fedsonar.audit.kernels.tables import bucket
from fedsonar.audit.kernels.words import joined
from fedsonar.compiling import kernel

ROW, PAIR, TARGET, KIND, FIRST, LAST, BEGIN, WORDS, TRIGGER_ROWS, TARGET_ROWS, BOTH = range(11)
"""Columns of a record: row; slots of the pair (-1: the row has the target alone) and of the target; the trigger's kind
and words; first word of the target in the response (-1: all of it) and how many; rows of all silos with trigger,
target, both."""
COLUMNS = 11


@kernel
def tell_pairs(
    words, bounds, marks, sources, known, classes, bits, inputs, responses, least, rows, label_least, pair_bits,
    pairs, strength,
    slot_bits, wanted, copies, told, triggers, targets,
):  # fmt: skip
    """Records the pairs that stand out in each row, and the targets without a trigger.

    Args:
        words: Hashes of all words of the corpus.
        bounds: First word of each part.
        marks: Of each part.
        sources: Of each row.
        known: Words of the lexicon.
        classes: Their classes.
        bits: Of the tables.
        inputs: Rows of all silos by feature of the input.
        responses: Rows of all silos by feature of the response.
        least: Fewest rows of a feature.
        rows: Rows of all silos.
        label_least: Fewest rows of a whole response that is a label.
        pair_bits: Of the table of pairs.
        pairs: Rows of all silos by pair.
        strength: Least G squared.
        slot_bits: Of the slots.
        wanted: Whether a slot, of a pair or of a target, is told.
        copies: Whether responses that repeat words of the input are told too; then only for targets that are wanted.
        told: Filled with records.
        triggers: Filled with the feature of each record's trigger.
        targets: Filled with the feature of its target.

    Returns:
        How many records there are; more than there is room for if not all could be told.
    """
    most, longest = most_features(bounds)
    out, kinds = np.empty(most, np.uint64), np.empty(most, np.int64)
    first, last = np.empty(most, np.int64), np.empty(most, np.int64)
    room = longest * LONGEST_RESPONSE + 1
    grams, counts = np.empty((longest, LONGEST_RESPONSE), np.uint64), np.empty((longest, LONGEST_RESPONSE), np.int64)
    heavy, rows_of = np.empty(room, np.uint64), np.empty(room, np.int64)
    begin, length = np.empty(room, np.int64), np.empty(room, np.int64)
    copied = np.full(1 << 16, -1, np.int64)
    places, sizes, boths = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    total = 0
    for row in range(len(sources)):
        found = heavy_responses(
            words, bounds, row, grams, counts, responses, bits, least, 0.9 * rows, label_least, copies, copied, heavy,
            rows_of,
            begin, length,
        )  # fmt: skip
        if found == 0:
            continue
        count = input_features(words, bounds, marks, sources, row, known, classes, out, kinds, first, last)
        for j in range(found):
            target = bucket(heavy[j], slot_bits)
            if copies and not wanted[target]:
                continue
            shared = shared_by_many(begin[j], length[j], rows_of[j], label_least)
            kept = standing(
                out, first, last, count, heavy[j], rows_of[j], shared, inputs, bits, pairs,
                pair_bits, rows, least, strength, places, sizes, boths,
            )  # fmt: skip
            for p in range(-1, kept):
                i, slot, size, both = np.int64(-1), np.int64(-1), np.int64(0), np.int64(0)
                if p >= 0:
                    i, size, both = places[p], sizes[p], boths[p]
                    slot = bucket(joined(out[i], heavy[j]), slot_bits)
                if not wanted[slot if p >= 0 else target]:
                    continue
                if total < len(told):
                    told[total, ROW], told[total, PAIR], told[total, TARGET] = row, slot, target
                    told[total, BEGIN], told[total, WORDS] = begin[j], length[j]
                    told[total, TRIGGER_ROWS], told[total, TARGET_ROWS], told[total, BOTH] = size, rows_of[j], both
                    targets[total] = heavy[j]
                    told[total, KIND], told[total, FIRST], told[total, LAST] = -1, -1, -1
                    triggers[total] = np.uint64(0)
                    if i >= 0:
                        told[total, KIND], told[total, FIRST], told[total, LAST] = kinds[i], first[i], last[i]
                        triggers[total] = out[i]
                total += 1
    return total
