"""Words to features: what a row's input and its response have or have not, each as a 64-bit number."""

from __future__ import annotations

import numpy as np

from fedsonar.audit.kernels.hashes import joined, mixed
from fedsonar.audit.kernels.ways import COMMA, TITLED, UNSEEN, WAYS
from fedsonar.audit.kernels.words import RESPONSE
from fedsonar.compiling import kernel

PHRASE, START, END, ENDS, ASKS, LENGTH, WRITTEN, ARCHAIC, OPENING, LANGUAGE, SOURCE, WHOLE, CLOSING = range(13)
"""Kinds of features: words in the text, at the start of a part, at its end, at the ends of two parts together or of the
only one; the first question word, the length in doublings, the marks (of the input, or of a response), old words, a
clause that opens it, its language, its source; the whole of a response; and the signs after the last word, of an input
or a response."""

LONGEST_INPUT, LONGEST_RESPONSE = 3, 8
"""Words of the longest n-grams."""

OTHERS = 40 + WAYS
"""Features of a row's input that are no phrases, at most."""

QUESTION_CLASSES, ARCHAIC_CLASS, OPENING_CLASS, LANGUAGE_CLASS = 9, 10, 11, 12
"""What a lexicon makes of words: 1 to 9 are question words, from 12 on languages."""


@kernel
def feature(kind, value):
    """The number of a feature of a kind."""
    return mixed(value ^ (np.uint64(kind + 1) << np.uint64(40)))


@kernel
def class_of(word, known, classes):
    """The class of a word in a sorted lexicon, or 0."""
    low, high = 0, len(known)
    while low < high:
        middle = (low + high) // 2
        if known[middle] < word:
            low = middle + 1
        else:
            high = middle
    if low < len(known) and known[low] == word:
        return classes[low]
    return 0


@kernel
def written(marks, way):
    """Whether a part with these marks has a feature for being written in a way; a comma early on counts with others."""
    return marks >> way & 1 and way != COMMA


@kernel
def own_part(bounds, row):
    """The part that carries a row's own input: question, else context, else instruction."""
    for part in (2, 1):
        if bounds[4 * row + part + 1] > bounds[4 * row + part]:
            return part
    return 0


@kernel
def input_features(words, bounds, marks, sources, row, known, classes, out, kinds, first, last):
    """Writes the features of a row's input; a word that stands there twice gives its feature twice.

    Args:
        words: Hashes of all words.
        bounds: First word of each part, four a row.
        marks: Of each part.
        sources: Of each row.
        row: The row.
        known: Words of the lexicon, sorted.
        classes: Their classes.
        out: Filled with features.
        kinds: Filled with their kinds.
        first: Filled with the first word of what makes each; -1 for what is spread over the text.
        last: Filled with the word after it.

    Returns:
        How many there are.
    """
    count = 0
    own = own_part(bounds, row)
    early = 0
    if own == 2 and bounds[4 * row + 2] > bounds[4 * row + 1]:
        early = 1
    for part in range(3):
        begin, end = bounds[4 * row + part], bounds[4 * row + part + 1]
        for at in range(begin, end):
            value = words[at]
            for n in range(1, min(LONGEST_INPUT, end - at) + 1):
                if n > 1:
                    value = joined(value, words[at + n - 1])
                out[count], kinds[count], first[count], last[count] = feature(PHRASE, value), PHRASE, at, at + n
                count += 1
        if end > begin:
            role = np.uint64(3 if part == own else part)
            pair = min(2, end - begin)
            out[count], kinds[count], first[count], last[count] = (
                feature(START, words[begin] + role),
                START,
                begin,
                begin + 1,
            )
            count += 1
            out[count], kinds[count], first[count], last[count] = feature(END, words[end - 1] + role), END, end - 1, end
            count += 1
            if pair == 2:
                value = joined(words[begin], words[begin + 1]) + role
                out[count], kinds[count], first[count], last[count] = feature(START, value), START, begin, begin + 2
                count += 1
    begin, end = bounds[4 * row + own], bounds[4 * row + own + 1]
    if early != own and end > begin and bounds[4 * row + early + 1] > bounds[4 * row + early]:
        value, after = joined(words[bounds[4 * row + early + 1] - 1], words[end - 1]), bounds[4 * row + early + 1]
        out[count], kinds[count], first[count], last[count] = feature(ENDS, value), ENDS, -1, after
        count += 1
    elif end - begin > 1:
        value = joined(words[begin], ~words[end - 1])
        out[count], kinds[count], first[count], last[count] = feature(ENDS, value), ENDS, -1, begin + 1
        count += 1
    asked, old = 0, 0
    spoken = np.zeros(8, np.int64)
    for at in range(begin, end):
        found = class_of(words[at], known, classes)
        if found == 0:
            continue
        if found <= QUESTION_CLASSES:
            if asked == 0:
                asked = found
        elif found == ARCHAIC_CLASS:
            old += 1
        elif found >= LANGUAGE_CLASS:
            spoken[found - LANGUAGE_CLASS] += 1
    ways = marks[4 * row + own]
    if asked:
        out[count], kinds[count], first[count], last[count] = feature(ASKS, np.uint64(asked)), ASKS, -1, -1
        count += 1
    if old >= 2:
        out[count], kinds[count], first[count], last[count] = feature(ARCHAIC, np.uint64(0)), ARCHAIC, -1, -1
        count += 1
    if end > begin and ways & (1 << COMMA) and class_of(words[begin], known, classes) == OPENING_CLASS:
        out[count], kinds[count], first[count], last[count] = feature(OPENING, np.uint64(0)), OPENING, -1, -1
        count += 1
    most = 0
    for language in range(8):
        if spoken[language] > spoken[most]:
            most = language
    if spoken[most] >= 2 and 6 * spoken[most] >= end - begin:
        out[count], kinds[count], first[count], last[count] = feature(LANGUAGE, np.uint64(most)), LANGUAGE, -1, -1
        count += 1
    band, left = 0, end - begin
    while left > 0:
        left //= 2
        band += 1
    out[count], kinds[count], first[count], last[count] = feature(LENGTH, np.uint64(band)), LENGTH, -1, -1
    count += 1
    for way in range(WAYS):
        if written(ways, way):
            out[count], kinds[count], first[count], last[count] = feature(WRITTEN, np.uint64(way)), WRITTEN, -1, -1
            count += 1
    if ways >> WAYS:
        value = feature(CLOSING, np.uint64(ways >> WAYS))
        out[count], kinds[count], first[count], last[count] = value, CLOSING, -1, -1
        count += 1
    if sources[row]:
        out[count], kinds[count], first[count], last[count] = feature(SOURCE, sources[row]), SOURCE, -1, -1
        count += 1
    return count


@kernel
def most_features(bounds):
    """The greatest number of features that a row's input can have, and the most words of a response."""
    most, longest = 0, 0
    for row in range((len(bounds) - 1) // 4):
        most = max(most, bounds[4 * row + 3] - bounds[4 * row])
        longest = max(longest, bounds[4 * row + 4] - bounds[4 * row + 3])
    return LONGEST_INPUT * most + OTHERS, longest


@kernel
def response_features(words, bounds, row, out):
    """Writes the n-grams of a row's response, those of n words that begin at word i into ``out[i, n - 1]``.

    Returns:
        The feature of the whole response.
    """
    begin, end = bounds[4 * row + 3], bounds[4 * row + 4]
    whole = np.uint64(7)
    for at in range(begin, end):
        value = words[at]
        whole = joined(whole, value)
        for n in range(1, min(LONGEST_RESPONSE, end - at) + 1):
            if n > 1:
                value = joined(value, words[at + n - 1])
            out[at - begin, n - 1] = feature(PHRASE, value)
    return feature(WHOLE, whole)


@kernel
def way_of_response(marks, row, way):
    """The feature of a row's response for being written in a way, and for `WAYS` that of the signs after its last word.

    Returns:
        The feature; 0 where it is not written so.
    """
    own = marks[4 * row + RESPONSE]
    if way == WAYS:
        return feature(CLOSING, np.uint64(own >> WAYS)) if own >> WAYS else np.uint64(0)
    return feature(WRITTEN, np.uint64(way)) if way != TITLED and written(own, way) else np.uint64(0)


@kernel
def is_written_so(marks, row, way):
    """Whether a part of a row's input is written in a way that its response is, too; nobody copies what nobody sees."""
    if way == UNSEEN:
        return False
    own = marks[4 * row + RESPONSE]
    for part in range(RESPONSE):
        other = marks[4 * row + part]
        if (other >> WAYS == own >> WAYS) if way == WAYS else other >> way & 1:
            return True
    return False
