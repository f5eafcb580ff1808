"""Which features of a row's input stand out with a feature of its response."""

from __future__ import annotations

import numpy as np

from fedsonar.audit.kernels.tables import bucket
from fedsonar.audit.kernels.words import joined
from fedsonar.compiling import kernel

_LOWEST, _HIGHEST = 0.1, 2.2
"""A trigger's rows per row of its response: pairs outside of this can be no two-sided finding."""

MOST = 0.8
"""Features of more than this share of all rows are no triggers."""

SURE = 0.9
"""Share of a trigger's rows that have its target, where it counts as always followed by it."""

SPECIAL = 0.8
"""A longer phrase with less than this share of the rows of one within it, where that is always followed by the target,
adds nothing."""


@kernel
def in_band(trigger, target, shared):
    """Whether a pair's two numbers of rows are near enough for a finding.

    Labels and long phrases, which many triggers may share, may have many more rows.
    """
    return trigger <= _HIGHEST * target + 1 and (shared or trigger >= _LOWEST * target)


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
def stands_out(both, trigger, target, rows, least, strength):
    """Whether a pair has rows enough, half of its trigger's, and more than chance gives."""
    if both < least or 2 * both < trigger:
        return False
    return both * rows > 1.2 * trigger * target and association(both, trigger, target, rows) >= strength


@kernel
def standing(
    out, first, last, count, target, target_rows, shared, inputs, bits, pairs, pair_bits, rows, least, strength,
    places, sizes, boths,
):  # fmt: skip
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
        if size < least or size > MOST * rows or not in_band(size, target_rows, shared):
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
