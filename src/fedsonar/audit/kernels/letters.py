"""What stands at a place of a text: a letter, a sign, a space, or a character that nobody sees."""

from __future__ import annotations

from fedsonar.compiling import kernel


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
