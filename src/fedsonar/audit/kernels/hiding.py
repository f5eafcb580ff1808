"""Which words of a row make it have a shift's features: what its rows ask besides is told without these."""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from fedsonar.audit.kernels.hashes import mixed
from fedsonar.audit.kernels.room import AS_LONG, ASKED, PLAIN
from fedsonar.audit.kernels.standing import SPECIAL
from fedsonar.compiling import kernel

Standing = namedtuple("Standing", "rows pure surely asked")
"""Of each numbered feature its rows, and in each way of grouping the share of them that say what its shift says, and
that share less some standard errors; and the share of all rows that have a word of each bucket."""

_AS_ANY = 2.0
"""How many times as often as in any rows a word may stand beside a trigger, and be no part of it."""


@kernel
def _way_of(shifts, number, shift):
    """The way of grouping in which a feature is of a shift, or -1."""
    if shifts[number, PLAIN] == shift:
        return PLAIN
    return AS_LONG if shifts[number, AS_LONG] == shift else -1


@kernel
def _note_short(listed, row, pure, shifts, shift, start, begun, noting):
    """Writes a shift's purest features of one word and of two by the word that they begin with, or -1 again."""
    number, first, last = listed.number, listed.first, listed.last
    for i in range(listed.ends[row], listed.ends[row + 1]):
        way = _way_of(shifts, number[i], shift)
        if way >= 0 and first[i] >= start and last[i] - first[i] <= 2:
            at, more = first[i] - start, last[i] - first[i] - 1
            if not noting:
                begun[at, more] = -1
            elif begun[at, more] < 0 or pure[number[i], way] > pure[begun[at, more], way]:
                begun[at, more] = number[i]


@kernel
def _rarest(asked, words, first, last):
    """The share of all rows that have the rarest word of a phrase, those from `first` up to `last` left out."""
    share = 1.0
    for at in range(len(words)):
        if at < first or at >= last:
            share = min(share, asked[np.int64(mixed(words[at]) % np.uint64(ASKED))])
    return share


@kernel
def _is_special(standing, one, way, begun, words):
    """Whether a phrase is a rarer form of one within it, and no purer: it adds its neighbours; see `SPECIAL`.

    Args:
        standing: What is known of features.
        one: The phrase's number.
        way: Of grouping.
        begun: By the phrase's words the features of one word and of two that begin there; see `_note_short`.
        words: Its words.
    """
    for length in range(1, min(3, len(words))):
        for at in range(len(words) - length + 1):
            other = begun[at, length - 1]
            if other < 0 or standing.surely[one, way] > standing.pure[other, way]:
                continue
            by_chance = _AS_ANY * _rarest(standing.asked, words, at, at + length)
            if standing.rows[one] < min(SPECIAL, by_chance) * standing.rows[other]:
                return True
    return False


@kernel
def hide(words, listed, row, standing, shifts, shift, start, closing, begun, hidden, turn):
    """Marks the words of a row that make it have a shift's features.

    Args:
        words: Of the corpus.
        listed, row: The row's features.
        standing: What is known of features.
        shifts: The shift of each, in each way of grouping.
        shift: Which is meant.
        start: The row's first word.
        closing: The last word of its own part.
        begun: -1 everywhere, by word; the same afterwards.
        hidden: By word; filled with `turn`.
        turn: What marks words.
    """
    number, first, last = listed.number, listed.first, listed.last
    _note_short(listed, row, standing.pure, shifts, shift, start, begun, True)
    for i in range(listed.ends[row], listed.ends[row + 1]):
        way = _way_of(shifts, number[i], shift)
        if way < 0 or last[i] <= 0:
            continue
        if first[i] < 0:  # two ends, of two parts or of one
            hidden[last[i] - 1 - start] = turn
            hidden[closing - start] = turn
        elif not _is_special(standing, number[i], way, begun[first[i] - start :], words[first[i] : last[i]]):
            for at in range(first[i], last[i]):
                hidden[at - start] = turn
    _note_short(listed, row, standing.pure, shifts, shift, start, begun, False)
