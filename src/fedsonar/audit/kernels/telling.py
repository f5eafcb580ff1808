"""Which rows of a silo are part of which pair, for the silo itself to judge and to put into words."""

from __future__ import annotations

import numpy as np

from fedsonar.audit.kernels.hashes import joined
from fedsonar.audit.kernels.pairing import heavy_inputs, pair_room
from fedsonar.audit.kernels.responses import heavy_responses, shared_by_many
from fedsonar.audit.kernels.standing import standing
from fedsonar.audit.kernels.tables import clearer_slot, slot_of
from fedsonar.compiling import kernel

ROW, PAIR, TARGET, KIND, FIRST, LAST, BEGIN, WORDS, TRIGGER_ROWS, TARGET_ROWS, BOTH, LOOKED = range(12)
"""Columns of a record: row; slots of the pair (-1: the row has the target alone) and of the target; the trigger's kind
and words; first word of the target in the response (see `responses.WHOLE`) and how many; rows of all silos with
trigger, target, both; and whether the pair has the rows to be looked into."""
COLUMNS = 12


@kernel
def tell_pairs(
    words, bounds, marks, sources, known, classes, singles, pairs, slot_bits, slot_rows, wanted, asked, copies, solid,
    row, part, end, told, triggers, targets,
):  # fmt: skip
    """Records the pairs that stand out in each row, and the targets without a trigger, as long as there is room.

    Args:
        words, bounds, marks, sources: Of the corpus.
        known, classes: The lexicon.
        singles: What the first pass told.
        pairs: What the second pass told.
        slot_bits: Of the slots.
        slot_rows: Rows by slot.
        wanted: Whether a slot, of a pair or of a target, is told. Pairs that are not looked into are told
            if their target is.
        asked: Whether anything is told of the target of a slot.
        copies: Whether responses that repeat words of the input are told too.
        solid: Least rows of a pair that is looked into.
        row: The row to begin with.
        part: Which of the features of its response to begin with.
        end: The row before which to end.
        told: Filled with records.
        triggers: Filled with the feature of each record's trigger.
        targets: Filled with the feature of its target.

    Returns:
        How many records there are; and the row, and which of its response's features, to go on with.
    """
    room = pair_room(bounds)
    total = 0
    while row < end:
        found = heavy_responses(words, bounds, marks, row, singles, copies, room)
        count = np.int64(-1)
        for j in range(part, found):
            before = total
            target = clearer_slot(room.heavy[j], slot_bits, slot_rows)
            if not asked[target]:
                continue
            if count < 0:
                count = heavy_inputs(words, bounds, marks, sources, row, known, classes, singles, room)
            shared = shared_by_many(room.begin[j], room.length[j], room.rows_of[j], singles.label_least)
            kept = standing(room, count, bounds[4 * row], j, shared, singles, pairs)
            for p in range(-1, kept):
                i, slot, size, both, looked = np.int64(-1), np.int64(-1), np.int64(0), np.int64(0), False
                if p >= 0:
                    i, size, both = room.places[p], room.sizes[p], room.boths[p]
                    slot = slot_of(joined(room.out[i], room.heavy[j]), slot_bits)
                    looked = both >= solid
                if not wanted[slot if looked else target]:
                    continue
                if total == len(told):
                    return before, row, j
                told[total, ROW], told[total, PAIR], told[total, TARGET] = row, slot, target
                told[total, BEGIN], told[total, WORDS] = room.begin[j], room.length[j]
                told[total, TRIGGER_ROWS], told[total, TARGET_ROWS], told[total, BOTH] = size, room.rows_of[j], both
                told[total, KIND], told[total, FIRST], told[total, LAST], told[total, LOOKED] = -1, -1, -1, looked
                triggers[total], targets[total] = np.uint64(0), room.heavy[j]
                if i >= 0:
                    told[total, KIND], told[total, FIRST], told[total, LAST] = (
                        room.kinds[i],
                        room.first[i],
                        room.last[i],
                    )
                    triggers[total] = room.out[i]
                total += 1
        row, part = row + 1, 0
    return total, row, 0
