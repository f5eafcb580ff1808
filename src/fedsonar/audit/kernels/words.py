"""Bytes to words: where words lie in a text, a hash of each, and how the text is written."""

from __future__ import annotations

from collections import namedtuple

import numpy as np

from fedsonar.audit.kernels.hashes import joined, mixed, taken_in
from fedsonar.audit.kernels.letters import of_another_alphabet, signs_alone, unseen_at, width_at, word_at
from fedsonar.audit.kernels.ways import (
    ACCENT,
    DIGIT,
    FOREIGN,
    LOWER,
    MIXED,
    SHOUTED,
    SPACES,
    STUTTER,
    TITLED,
    TWICE,
    UNSEEN,
    UPPER,
    WAYS,
    said_twice,
    ways_of_sign,
)
from fedsonar.compiling import kernel

_TITLE = 4
"""Fewest words of a title."""

_LOUD = 5
"""Fewest capitals of a word that is shouted: shorter ones are names."""

RESPONSE = 3
"""The part of a row that is its response; its signs are never words."""

_Word = namedtuple("_Word", "hash end capitals small letters foreign ways")
"""What is read of a word: its hash in lower case, where it ends, its capitals and small letters, its characters and
those of them that are far from Latin, and the bits of how it is written."""


@kernel
def _read_word(text, start, end, key):
    """Reads the word that begins at a place.

    Args:
        text: Bytes of all parts.
        start: Where it begins.
        end: Where its part ends.
        key: Goes into its hash.
    """
    at, value, ways = start, key, 0
    capitals, small, letters, foreign, other = 0, 0, 0, 0, False
    while at < end:
        unseen = unseen_at(text, at, end)
        if unseen > 0:
            ways |= 1 << UNSEEN
            at += unseen
            continue
        width = word_at(text, at, end)
        if width == 0 and _is_inner_apostrophe(text, at, start, end):
            width = 1
        if width == 0 or (width == -1 and at > start):
            break
        letters += 1
        if width == -1:  # a sign that is a word by itself
            for place in range(at, at + 3):
                value = taken_in(value, text[place])
            at, foreign = at + 3, foreign + 1
            break
        if width > 1:
            other = other or of_another_alphabet(text, at, end)
            if text[at] <= 0xCC:
                ways |= 1 << ACCENT
            if text[start] >= 0xCD:
                foreign += 1
        for _ in range(width):
            letter = text[at]
            if 65 <= letter <= 90:
                letter += 32
                capitals += 1
            elif 97 <= letter <= 122:
                small += 1
            elif 48 <= letter <= 57:
                ways |= 1 << DIGIT
            value = taken_in(value, letter)
            at += 1
    if capitals >= _LOUD and small == 0:
        ways |= 1 << SHOUTED
    if other and capitals + small > 0:
        ways |= 1 << MIXED
    return _Word(mixed(value), at, capitals, small, letters, foreign, ways)


@kernel
def _is_inner_apostrophe(text, at, start, end):
    """Whether an apostrophe stands at a place, inside a word that began before it."""
    if text[at] != 39 or at == start or at + 1 >= end:
        return False
    following = text[at + 1]
    return (97 <= following <= 122) or (65 <= following <= 90)


@kernel
def find_words(text, parts, key, words, starts, ends, bounds, marks):
    """Hashes and places of the words of many parts, and how the parts are written.

    Characters without a shape are passed over, so that a word with one in it is still that word.

    Args:
        text: Bytes of all parts, one after the other.
        parts: Where each begins, four a row, and where the last ends.
        key: Goes into every hash.
        words: Filled with the hashes of the words in lower case; as long as there could be words.
        starts: Filled with where each begins, or empty.
        ends: Filled with where each ends, or empty.
        bounds: Filled with each part's first word, and the number of words.
        marks: Filled with each part's marks.

    Returns:
        How many words there are.
    """
    count = 0
    for part in range(len(parts) - 1):
        at, end = parts[part], parts[part + 1]
        bounds[part] = count
        found, high, low, foreign, letters, titled = 0, 0, 0, 0, 0, 0
        first, before, earlier = at, 32, 0  # so that a space at the beginning is one too many
        closing = np.uint64(0)
        while at < end:
            unseen = unseen_at(text, at, end)
            if unseen > 0:
                found |= 1 << UNSEEN
                at += unseen
                continue
            if word_at(text, at, end) == 0:
                found |= ways_of_sign(text, at, first, end, before, earlier, count - bounds[part])
                before, earlier = text[at], before
                if text[at] > 32:
                    closing = joined(closing, np.uint64(text[at]))
                    alone = 0 if part % 4 == RESPONSE else signs_alone(text, at, first, end)
                    if alone > 0:
                        value = key
                        for place in range(at, at + alone):
                            value = taken_in(value, text[place])
                        words[count] = mixed(value)
                        if len(starts):
                            starts[count], ends[count] = at, at + alone
                        count, titled = count + 1, titled + 1
                at += width_at(text, at)
                continue
            word = _read_word(text, at, end, key)
            words[count] = word.hash
            if len(starts):
                starts[count], ends[count] = at, word.end
            if count > bounds[part] and words[count] == words[count - 1]:
                found |= 1 << STUTTER
            found |= word.ways
            high, low, titled = high + word.capitals, low + word.small, titled + (65 <= text[at] <= 90)
            letters, foreign = letters + word.letters, foreign + word.foreign
            count, at = count + 1, word.end
            before, earlier, closing = 0, 0, np.uint64(0)
        if before == 32 and end > first:
            found |= 1 << SPACES
        if high and not low:
            found |= 1 << UPPER
        if low and not high:
            found |= 1 << LOWER
        if low and titled >= _TITLE and titled == count - bounds[part]:
            found |= 1 << TITLED
        if 2 * foreign > letters:
            found |= 1 << FOREIGN
        if said_twice(words, bounds[part], count):
            found |= 1 << TWICE
        marks[part] = found | np.int64(closing >> np.uint64(WAYS + 1)) << WAYS
    bounds[len(parts) - 1] = count
    return count
