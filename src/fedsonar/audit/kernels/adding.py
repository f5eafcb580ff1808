"""Adds to the lines of a large table, many at a time and in the order in which they lie, so that each is near."""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from fedsonar.compiling import kernel

_MOST, _MOST_MASKS = 1 << 21, 1 << 17
"""What is put off at most: additions, and different ones among them."""

_TOGETHER = 9
"""Additions to ``2^9`` lines are made together: so many lines stay near."""

Due = namedtuple("Due", "entries ordered masks filled")
"""Additions that are put off: line and mask of each, room to order them, the masks, each a 1 or 0 for every column, and
how many there are of both."""


@kernel
def due_for(table, most):
    """Room for additions to a table, and for so many of one mask."""
    count = max(_MOST, most)
    masks = np.empty((_MOST_MASKS, table.shape[1]), np.uint8)
    return Due(np.empty(count, np.int64), np.empty(count, np.int64), masks, np.zeros(2, np.int64))


@kernel
def put_off(table, lines, count, columns, width, due):
    """Adds 1 to some columns of some lines of a table, later: see `make_up`.

    Args:
        table: The table.
        lines: The lines; the first `count` of them.
        columns: The columns, each once; the first `width` of them.
        due: What is put off.
    """
    if due.filled[0] + count > len(due.entries) or due.filled[1] == len(due.masks):
        make_up(table, due)
    which = due.filled[1]
    due.masks[which] = 0
    for at in range(width):
        due.masks[which, columns[at]] = 1
    for at in range(count):
        due.entries[due.filled[0] + at] = lines[at] << 32 | which
    due.filled[0] += count
    due.filled[1] += 1


@kernel
def make_up(table, due):
    """Makes all additions that were put off."""
    count, entries, ordered = due.filled[0], due.entries, due.ordered
    starts = np.zeros((len(table) >> _TOGETHER) + 2, np.int64)
    for at in range(count):
        starts[(entries[at] >> 32 >> _TOGETHER) + 1] += 1
    for part in range(1, len(starts)):
        starts[part] += starts[part - 1]
    for at in range(count):
        part = entries[at] >> 32 >> _TOGETHER
        ordered[starts[part]] = entries[at]
        starts[part] += 1
    for at in range(count):
        line, mask = table[ordered[at] >> 32], due.masks[ordered[at] & 0xFFFFFFFF]
        for column in range(len(line)):
            line[column] += mask[column]
    due.filled[:] = 0
