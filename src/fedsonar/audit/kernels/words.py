"""Bytes to words: where words lie in a text, and a hash of each."""

from __future__ import annotations

import numpy as np

from fedsonar.compiling import kernel

LINES, DIGIT, QUESTION, EXCLAMATION, QUOTES, BRACKETS, ADDRESS, CODE, UPPER, LOWER, FOREIGN, COMMA = range(12)
"""Ways in which a part may be written: bits of its marks. COMMA: a comma after two to eight words."""

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_MORE = np.uint64(0xBF58476D1CE4E5B9)


@kernel
def mixed(value):
    """A bijection of 64-bit numbers whose every bit of output hangs on every bit of input (SplitMix64's, shortened)."""
    value = (value ^ (value >> np.uint64(30))) * _MORE
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel
def joined(left, right):
    """The hash of two hashes in this order."""
    return mixed(left * _PRIME + right + np.uint64(1))


@kernel
def word_at(text, at, end):
    """How many bytes of a word stand at a place; 0 where none does, and -1 for a sign that is a word by itself.

    Words are runs of letters, digits and underscores, with apostrophes inside. Beyond ASCII everything is taken for a
    letter
    but punctuation (U+2010 to U+203F and U+3000 to U+303F); signs of Chinese and Japanese are words by themselves.
    """
    byte = text[at]
    if (97 <= byte <= 122) or (65 <= byte <= 90) or (48 <= byte <= 57) or byte == 95:
        return 1
    if byte < 128:
        return 0
    if byte == 0xC2 and at + 1 < end and text[at + 1] < 0xC0 and text[at + 1] != 0xAA and text[at + 1] != 0xBA:
        return 0
    if byte < 0xE0:
        return 2 if at + 1 < end else 1
    if byte < 0xF0:
        if at + 2 >= end:
            return 1
        if byte == 0xE2 and text[at + 1] == 0x80:
            return 0
        if byte == 0xE3 and text[at + 1] == 0x80:
            return 0
        return -1 if 0xE3 <= byte <= 0xE9 else 3
    return 4 if at + 3 < end else 1


@kernel
def width_at(text, at):
    """Bytes of the sign at a place."""
    byte = text[at]
    return 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4


@kernel
def find_words(text, parts, key, words, starts, ends, bounds, marks):
    """Hashes and places of the words of many parts, and how the parts are written.

    Args:
        text: Bytes of all parts, one after the other.
        parts: Where each begins, and where the last ends.
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
        found, low, high, foreign, letters = 0, 0, 0, 0, 0
        first = at
        while at < end:
            width = word_at(text, at, end)
            byte = text[at]
            if width == 0:
                if byte == 10:
                    found |= 1 << LINES
                elif byte == 63:
                    found |= 1 << QUESTION
                elif byte == 33:
                    found |= 1 << EXCLAMATION
                elif byte == 34 or (byte == 0xE2 and at + 2 < end and text[at + 2] in (0x9C, 0x9D)):
                    found |= 1 << QUOTES
                elif byte == 40:
                    found |= 1 << BRACKETS
                elif byte == 123 or byte == 125 or byte == 96:
                    found |= 1 << CODE
                elif byte == 44 and 2 <= count - bounds[part] <= 8:
                    found |= 1 << COMMA
                elif byte == 58 and at + 2 < end and at - 4 >= first and text[at + 1] == 47 and text[at + 2] == 47:
                    found |= 1 << ADDRESS
                at += width_at(text, at)
                continue
            start = at
            value = key
            while at < end:
                width = word_at(text, at, end)
                if width == 0:
                    # An apostrophe inside a word.
                    if (
                        text[at] == 39
                        and at > start
                        and at + 1 < end
                        and ((97 <= text[at + 1] <= 122) or (65 <= text[at + 1] <= 90))
                    ):
                        width = 1
                    else:
                        break
                if width == -1:
                    if at > start:
                        break
                    value = (value ^ np.uint64(text[at])) * np.uint64(0x100000001B3)
                    value = (value ^ np.uint64(text[at + 1])) * np.uint64(0x100000001B3)
                    value = (value ^ np.uint64(text[at + 2])) * np.uint64(0x100000001B3)
                    at += 3
                    foreign += 1
                    letters += 1
                    break
                for _ in range(width):
                    letter = text[at]
                    if 65 <= letter <= 90:
                        letter += 32
                        high += 1
                    elif 97 <= letter <= 122:
                        low += 1
                    elif 48 <= letter <= 57:
                        found |= 1 << DIGIT
                    value = (value ^ np.uint64(letter)) * np.uint64(0x100000001B3)
                    at += 1
                letters += 1
                if width > 1 and text[start] >= 0xCD:
                    foreign += 1
            words[count] = mixed(value)
            if len(starts):
                starts[count], ends[count] = start, at
            count += 1
        if high and not low:
            found |= 1 << UPPER
        if low and not high:
            found |= 1 << LOWER
        if 2 * foreign > letters:
            found |= 1 << FOREIGN
        marks[part] = found
    bounds[len(parts) - 1] = count
    return count
