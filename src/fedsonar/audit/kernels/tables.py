"""Hashed tables: where a number is counted, and once a row."""

from __future__ import annotations

import numpy as np

from fedsonar.compiling import kernel

RECENT = 1 << 17
"""Places that are remembered within a row: far more than a row has features, and few enough to stay near."""


@kernel
def bucket(value, bits):
    """The place of a 64-bit number in a table of ``2^bits``."""
    return np.int64(value >> np.uint64(64 - bits))


@kernel
def first_time(seen, row, place):
    """Whether a row comes to a counter for the first time, as far as a small memory tells; notes that it did."""
    value = (np.int64(row) << 32) | np.int64(place)
    at = place & (RECENT - 1)
    if seen[at] == value:
        return False
    seen[at] = value
    return True
