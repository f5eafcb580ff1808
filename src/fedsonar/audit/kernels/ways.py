"""How a part of a row is written: the ways, and what single signs and words tell of them."""

from __future__ import annotations

import numpy as np

from fedsonar.audit.kernels.letters import is_odd_space
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
