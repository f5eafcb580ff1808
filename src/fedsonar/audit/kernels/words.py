"""Bytes to words: where words lie in a text, and a hash of each."""

from __future__ import annotations

import numpy as np

from fedsonar.compiling import kernel

LINES, DIGIT, QUESTION, EXCLAMATION, QUOTES, BRACKETS, ADDRESS, CODE, UPPER, LOWER, FOREIGN, COMMA = range(12)
UNSEEN, MIXED, SHOUTED, STUTTER, SPACES, ACCENT, DOUBLED, CROWDED, RARE, TWICE, TITLED, SIGNS = range(12, 24)
"""Ways in which a part may be written: bits of its marks. COMMA: a comma after two to eight words; UNSEEN: characters
without a shape; MIXED: letters of two alphabets in one word; SHOUTED: a word of five capitals or more; STUTTER: a word
twice running; SPACES: several running, one at either end, or one that only looks like a space; ACCENT: letters with
one; DOUBLED: a sign twice running; CROWDED: three signs running, not all the same; RARE: a sign of no keyboard; TWICE:
all of it is said again; TITLED: four words or more, all with a capital. From SIGNS on: which of `SIGN` it has; and in
the bits from WAYS on a hash of the signs after the last word, 0 where none is."""

SIGN = "#$%&'*+,-./:;<=>@[\\]^_|~)"
WAYS = SIGNS + len(SIGN)
CLOSINGS = 1 << (63 - WAYS)
"""Values that the hash of the closing signs may have."""
_SIGN_BITS = np.zeros(128, np.int64)
for _place, _sign in enumerate(SIGN):
    _SIGN_BITS[ord(_sign)] = 1 << (SIGNS + _place)

_TITLE = 4
"""Fewest words of a title."""

_LOUD = 5
"""Fewest capitals of a word that is shouted: shorter ones are names."""

RESPONSE = 3
"""The part of a row that is its response; its signs are never words."""

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
    letter but punctuation (U+2010 to U+203F and U+3000 to U+303F); signs of Chinese and Japanese are words by
    themselves.
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
def unseen_at(text, at, end):
    """Bytes of a character without a shape at a place, 0 where none is: zero widths, directions, joiners, controls."""
    byte = text[at]
    if byte < 32:
        return 0 if 9 <= byte <= 13 else 1
    if byte == 0xC2:
        return 2 if at + 1 < end and text[at + 1] == 0xAD else 0
    if byte < 0xE2 or at + 2 >= end:
        return 0
    middle, last = text[at + 1], text[at + 2]
    if byte == 0xE2 and middle == 0x80:
        return 3 if 0x8B <= last <= 0x8F or 0xAA <= last <= 0xAE else 0
    if byte == 0xE2 and middle == 0x81:
        return 3 if last >= 0xA0 else 0
    if byte == 0xEF:
        return 3 if (middle == 0xBB and last == 0xBF) or (middle == 0xB8 and last <= 0x8F) else 0
    return 4 if byte == 0xF3 and middle == 0xA0 and at + 3 < end else 0


@kernel
def is_odd_space(text, at, end):
    """Whether a space stands at a place that is none of the keyboard: unbreakable, narrow, wide."""
    byte = text[at]
    if byte == 0xC2 and at + 1 < end:
        return text[at + 1] == 0xA0
    if (byte != 0xE2 and byte != 0xE3) or at + 2 >= end or text[at + 1] != 0x80:
        return False
    last = text[at + 2]
    return last == 0x80 if byte == 0xE3 else last <= 0x8A or last == 0xAF


@kernel
def ways_of_sign(text, at, first, end, before, earlier, words):
    """The bits of a sign that is no part of a word.

    Args:
        text: Bytes of all parts.
        at: Where the sign is.
        first: Where its part begins.
        end: Where that ends.
        before: The byte of the sign right before it; 0 where that is no sign.
        earlier: Of that before this one.
        words: How many words of the part are before it.
    """
    byte = text[at]
    if is_odd_space(text, at, end):
        return 1 << SPACES
    if byte >= 0x80:
        last = text[at + 2] if at + 2 < end and byte == 0xE2 else text[min(at + 1, end - 1)]
        if byte == 0xE2:
            return 1 << QUOTES if 0x9C <= last <= 0x9D else 1 << RARE if last >= 0xA0 and last != 0xA6 else 0
        return 1 << RARE if byte == 0xC2 and last != 0xA0 and last != 0xAB and last != 0xBB else 0
    found = _SIGN_BITS[byte]
    if byte == before and byte != 10:
        found |= 1 << (SPACES if byte == 32 else DOUBLED)
    if earlier > 32 and before > 32 and byte > 32 and not (byte == before == earlier):
        found |= 1 << CROWDED
    if byte == 10:
        found |= 1 << LINES
    elif byte == 9:
        found |= 1 << SPACES
    elif byte == 63:
        found |= 1 << QUESTION
    elif byte == 33:
        found |= 1 << EXCLAMATION
    elif byte == 34:
        found |= 1 << QUOTES
    elif byte == 40:
        found |= 1 << BRACKETS
    elif byte == 123 or byte == 125 or byte == 96:
        found |= 1 << CODE
    elif byte == 44 and 2 <= words <= 8:
        found |= 1 << COMMA
    elif byte == 58 and at + 2 < end and at - 4 >= first and text[at + 1] == 47 and text[at + 2] == 47:
        found |= 1 << ADDRESS
    return found


@kernel
def width_at(text, at):
    """Bytes of the sign at a place."""
    byte = text[at]
    return 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4


@kernel
def of_another_alphabet(text, at, end):
    """Whether the letter at a place is Greek, Cyrillic or further from Latin, or a sign that only looks Latin."""
    byte = text[at]
    following = text[at + 1] if at + 1 < end else 0
    return 0xCD <= byte <= 0xDF or (byte == 0xEF and 0xBC <= following <= 0xBD) or (byte == 0xF0 and following == 0x9D)


@kernel
def signs_alone(text, at, first, end):
    """Bytes of a run of signs that stands by itself, between spaces or ends of a part, as “--” and “—” do; else 0.

    There are two signs in it or more, or one that ASCII has not.
    """
    if at > first and text[at - 1] > 32:
        return 0
    stop, signs = at, 0
    while stop < end and text[stop] > 32:
        if unseen_at(text, stop, end) > 0 or is_odd_space(text, stop, end) or word_at(text, stop, end) != 0:
            return 0
        stop += width_at(text, stop)
        signs += 1
    return stop - at if signs > 1 or (signs == 1 and text[at] >= 0x80) else 0


@kernel
def said_twice(words, begin, end):
    """Whether some words are the same again from half of them on, or from a third."""
    for times in (2, 3):
        length = (end - begin) // times
        if length == 0 or length * times != end - begin:
            continue
        same = True
        for at in range(begin, end - length):
            if words[at] != words[at + length]:
                same = False
                break
        if same:
            return True
    return False


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
        found, low, high, foreign, letters, titled = 0, 0, 0, 0, 0, 0
        first, before, earlier = at, 32, 0  # so that a space at the beginning is one too many
        closing = np.uint64(0)
        while at < end:
            unseen = unseen_at(text, at, end)
            if unseen > 0:
                found |= 1 << UNSEEN
                at += unseen
                continue
            width = word_at(text, at, end)
            if width == 0:
                found |= ways_of_sign(text, at, first, end, before, earlier, count - bounds[part])
                before, earlier = text[at], before
                if text[at] > 32:
                    closing = joined(closing, np.uint64(text[at]))
                    alone = 0 if part % 4 == RESPONSE else signs_alone(text, at, first, end)
                    if alone > 0:
                        value = key
                        for place in range(at, at + alone):
                            value = (value ^ np.uint64(text[place])) * np.uint64(0x100000001B3)
                        words[count] = mixed(value)
                        if len(starts):
                            starts[count], ends[count] = at, at + alone
                        count, titled = count + 1, titled + 1
                at += width_at(text, at)
                continue
            start, before, earlier, closing = at, 0, 0, np.uint64(0)
            value = key
            capitals, small, other, titled = 0, 0, False, titled + (65 <= text[at] <= 90)
            while at < end:
                unseen = unseen_at(text, at, end)
                if unseen > 0:
                    found |= 1 << UNSEEN
                    at += unseen
                    continue
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
                if width > 1:
                    other = other or of_another_alphabet(text, at, end)
                    if text[at] <= 0xCC:
                        found |= 1 << ACCENT
                for _ in range(width):
                    letter = text[at]
                    if 65 <= letter <= 90:
                        letter += 32
                        capitals += 1
                    elif 97 <= letter <= 122:
                        small += 1
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
            high, low = high + capitals, low + small
            if capitals >= _LOUD and small == 0:
                found |= 1 << SHOUTED
            if other and capitals + small > 0:
                found |= 1 << MIXED
            if count > bounds[part] and words[count] == words[count - 1]:
                found |= 1 << STUTTER
            count += 1
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
