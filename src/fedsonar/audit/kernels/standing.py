"""Which features of a row's input stand out with a feature of its response."""

from __future__ import annotations

import numpy as np

from fedsonar.audit.kernels.hashes import joined
from fedsonar.audit.kernels.responses import BRIEF
from fedsonar.audit.kernels.tables import FULL, bucket, value_at
from fedsonar.compiling import kernel

_LOWEST, _HIGHEST = 0.1, 2.2
"""A trigger's rows per row of its response: pairs outside of this can be no two-sided finding."""

_OF_SEVERAL = 8.0
"""The second of these where the response's feature is more than brief: a trigger may have several such targets."""

_THEIRS = 0.9
"""Share of the rows of such a target that have the trigger, where fewer than half of the trigger's rows have it."""

SURE = 0.9
"""Share of a trigger's rows that have its target, where it counts as always followed by it."""

SPECIAL = 0.8
"""A longer phrase with less than this share of the rows of one within it, where that is always followed by the target,
adds nothing."""


@kernel
def in_band(trigger, target, shared, several):
    """Whether a pair's two numbers of rows are near enough for a finding.

    Labels and long phrases, which many triggers may share, may have many more rows; sentences, of which a trigger may
    have several, fewer.
    """
    return trigger <= (_OF_SEVERAL if several else _HIGHEST) * target + 1 and (shared or trigger >= _LOWEST * target)


@kernel
def fewest(trigger, target, several):
    """Fewest rows of a pair for a finding: half of its trigger's, or of a sentence nearly all of the target's."""
    half = (trigger + 1) // 2
    return min(half, np.int64(np.ceil(_THEIRS * target))) if several else half


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
def stands_out(both, trigger, target, rows, least, strength, rare, several):
    """Whether a pair has rows enough, and more than by chance.

    G squared is above ``2 (both ln(rows / target) - trigger ln 2)``, which most pairs are told by without its
    logarithms.

    Args:
        both, trigger, target, rows: Rows that have both, the trigger, the target, and all.
        least: Fewest rows of a pair.
        strength: Least G squared.
        rare: ``ln(rows / target)``.
        several: Whether the target is one of which a trigger may have several.
    """
    if both < max(least, fewest(trigger, target, several)) or both * rows <= 1.2 * trigger * target:
        return False
    if 2.0 * (both * rare - 0.7 * trigger) > strength + 1.0:
        return True
    return association(both, trigger, target, rows) >= strength


@kernel
def standing(room, count, start, j, shared, singles, pairs):
    """Finds which of a row's features stand out with a target, without phrases that are a rarer form of a shorter one.

    Args:
        room: The row's features, of `heavy_inputs` and `heavy_responses`; filled with the places of those that stand
            out, their rows, and the rows of the pairs.
        count: How many features of the input there are.
        start: The row's first word.
        j: Which feature of the response is the target.
        shared: Whether many triggers may share it; see `in_band`.
        singles: What the first pass told.
        pairs: What the second pass told.

    Returns:
        How many there are.
    """
    places, sizes, boths = room.places, room.sizes, room.boths
    target, target_rows, several = room.heavy[j], room.rows_of[j], room.length[j] > BRIEF
    near = 0
    for i in range(count):
        if in_band(room.size[i], target_rows, shared, several):
            places[near] = i
            near += 1
    for p in range(near):  # without a branch, so that a processor fetches many at a time
        room.at[p] = bucket(joined(room.out[places[p]], target), pairs.bits)
        boths[p] = pairs.short[room.at[p]]
    found, rare = 0, np.log(singles.rows / target_rows)
    for p in range(near):
        size = room.size[places[p]]
        if boths[p] < min(FULL, fewest(size, target_rows, several)):
            continue
        both = boths[p] if boths[p] < FULL else value_at(pairs.large, room.at[p])
        both = min(both, size, target_rows)
        if stands_out(both, size, target_rows, singles.rows, singles.least, pairs.strength, rare, several):
            places[found], sizes[found], boths[found] = places[p], size, both
            found += 1
    _leave_out_special(room, found, start)
    kept = 0
    for p in range(found):
        if places[p] >= 0:
            places[kept], sizes[kept], boths[kept] = places[p], sizes[p], boths[p]
            kept += 1
    return kept


@kernel
def _leave_out_special(room, found, start):
    """Writes -1 for the places of phrases that are a rarer form of a shorter one within them; see `SPECIAL`.

    What stands at words has three of them at most, so what lies within it has one or two.

    Args:
        room: With the features that stand out.
        found: How many there are.
        start: The row's first word.
    """
    first, last, places, sizes, surest = room.first, room.last, room.places, room.sizes, room.surest
    for p in range(found):
        i = places[p]
        if first[i] >= 0 and last[i] - first[i] <= 2 and room.boths[p] >= SURE * sizes[p]:
            at, more = first[i] - start, last[i] - first[i] - 1
            surest[at, more] = max(surest[at, more], sizes[p])
    for p in range(found):
        i, within = places[p], np.int64(0)
        if first[i] >= 0 and last[i] - first[i] > 1:
            for at in range(first[i], last[i]):
                within = max(within, surest[at - start, 0])
                if last[i] - first[i] > 2 and at + 2 <= last[i]:
                    within = max(within, surest[at - start, 1])
        room.special[p] = sizes[p] < SPECIAL * within
    for p in range(found):
        i = places[p]
        if first[i] >= 0:
            surest[first[i] - start, 0] = surest[first[i] - start, 1] = 0
        if room.special[p]:
            places[p] = -1
