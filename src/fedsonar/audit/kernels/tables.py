"""Hashed tables: where a number is counted, which counters hold enough, and what is counted once a row."""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from fedsonar.compiling import kernel

_OTHER, _FEWER = 20, 2
"""Bits below those of `other_slot`, where those of `slot_of` are; and how many fewer it has."""

RECENT = 1 << 17
"""Places that are remembered within a row: far more than a row has features, and few enough to stay near."""


@kernel
def bucket(value, bits):
    """The place of a 64-bit number in a table of ``2^bits``."""
    return np.int64(value >> np.uint64(64 - bits))


@kernel
def slot_of(value, bits):
    """Its place in a second table, by other bits: what falls together in the first does not in this one too."""
    return np.int64(value & ((np.uint64(1) << np.uint64(bits)) - np.uint64(1)))


@kernel
def other_slot(value, bits):
    """Its place behind all of those, in a quarter as many, by bits of their own."""
    return (np.int64(1) << bits) + slot_of(value >> np.uint64(_OTHER), bits - _FEWER)


def slots_for(bits: int) -> int:
    """How many places `slot_of` and `other_slot` have together."""
    return (1 << bits) + (1 << bits - _FEWER)


@kernel
def clearer_slot(value, bits, rows):
    """Which of the two places of a number that is counted in both holds less of others'.

    Args:
        value: The number.
        bits: Of the table.
        rows: Rows by place.
    """
    one, other = slot_of(value, bits), other_slot(value, bits)
    return other if rows[other] < rows[one] else one


COPIED = 1 << 16
"""Marks of words, by the first bits of their hashes; see `mark_input`."""


@kernel
def mark_input(words, bounds, row, copied):
    """Marks the words of a row's input.

    Args:
        words, bounds: Of the corpus.
        row: The row.
        copied: Of `COPIED` rows, those below every row before the first call; set to the row where it has such a word.
    """
    for at in range(bounds[4 * row], bounds[4 * row + 3]):
        copied[np.int64(words[at] >> np.uint64(48))] = row


@kernel
def is_copied(word, row, copied):
    """Whether a word is one of the row's input, which `mark_input` marked."""
    return copied[np.int64(word >> np.uint64(48))] == row


@kernel
def first_time(seen, row, place):
    """Whether a row comes to a counter for the first time, as far as a small memory tells; notes that it did."""
    value = (np.int64(row) << 32) | np.int64(place)
    at = place & (RECENT - 1)
    if seen[at] == value:
        return False
    seen[at] = value
    return True


Sparse = namedtuple("Sparse", "lines values")
"""A large table of which few counters hold anything, in little room, so that it stays near: for every 64 counters,
which of them do, a bit each, and how many do before these; and what they hold, one after another."""

_TWOS, _FOURS, _EIGHTS = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
_ONES = np.uint64(0x0101010101010101)


@kernel
def ones(word):
    """How many bits of 64 are set."""
    word -= word >> np.uint64(1) & _TWOS
    word = (word & _FOURS) + (word >> np.uint64(2) & _FOURS)
    return np.int64((word + (word >> np.uint64(4)) & _EIGHTS) * _ONES >> np.uint64(56))


FULL = 255
"""The most that a short counter holds."""


@kernel
def noted(places, count, place):
    """Notes a place behind others.

    Args:
        places: Room, the first `count` of it taken.
        count: How many are noted.
        place: One more.

    Returns:
        The same room, or more if it was full.
    """
    if count == len(places):
        more = np.empty(2 * count, np.int64)
        more[:count] = places
        places = more
    places[count] = place
    return places


@kernel
def shortened(counts):
    """A table's counters in a byte each, the largest as `FULL`, so that four times as many are near."""
    short = np.empty(len(counts), np.uint8)
    for at in range(len(counts)):
        short[at] = counts[at] if counts[at] < FULL else FULL
    return short


@kernel
def sparse(counts, least):
    """The counters of a table that hold so much.

    Args:
        counts: The table, of a multiple of 64 counters.
        least: The least that counts, above 0.
    """
    lines, found = np.empty(len(counts) >> 5, np.uint64), 0
    for word in range(len(counts) >> 6):
        bits = np.uint64(0)
        for at in range(64):
            bits |= np.uint64(counts[64 * word + at] >= least) << np.uint64(at)
        lines[2 * word], lines[2 * word + 1] = bits, np.uint64(found)
        found += ones(bits)
    values, found = np.zeros(found + 1, np.int32), 0
    for word in range(len(counts) >> 6):
        if lines[2 * word]:
            for at in range(64):
                if counts[64 * word + at] >= least:
                    values[found] = counts[64 * word + at]
                    found += 1
    return Sparse(lines, values)


def filled(table: Sparse) -> np.ndarray:
    """Which counters of a sparse table hold anything."""
    return np.unpackbits(table.lines[::2].astype("<u8").view(np.uint8), bitorder="little")


@kernel
def value_at(table, place):
    """What a counter of a sparse table holds; 0 where it holds nothing.

    Without a branch, so that a processor fetches many at a time.
    """
    line = place >> 6 << 1
    bits, at = table.lines[line], np.uint64(place & 63)
    held = np.int64(bits >> at & np.uint64(1))
    rank = np.int64(table.lines[line + 1]) + ones(bits & ((np.uint64(1) << at) - np.uint64(1)))
    return held * np.int64(table.values[held * rank])
