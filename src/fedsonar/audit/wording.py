"""Features of inputs in words, as people read them in findings."""

from __future__ import annotations

import re

import numpy as np
from jaxtyping import Int

from fedsonar.audit.corpus import Corpus
from fedsonar.audit.kernels import features as kinds
from fedsonar.audit.kernels.ways import SIGN, WAYS
from fedsonar.audit.lexicon import LANGUAGES
from fedsonar.data import Sample
from fedsonar.data.feature import QUESTION_WORDS

WRITTEN = (
    "has several lines", "has digits", "has a question mark", "has an exclamation mark", "has quotation marks",
    "has brackets", "holds an address", "holds code", "is in capitals", "is in small letters", "is in another script",
    "has a comma early on", "has a character that nobody sees", "has letters of two alphabets in one word",
    "has a word in capitals", "says a word twice running", "has spaces too many", "has letters with an accent",
    "has a sign twice running", "has three signs running", "has a sign of no keyboard", "says all of it again",
    "has a capital in every word",
    *(f"has “{sign}” in it" for sign in SIGN),
)  # fmt: skip
"""Ways in which a text may be written, by the bits of `kernels.ways`."""
_AFTER_WORDS = re.compile(r"\W*$")
_PART_NAMES = ("instruction", "context", "question", "answer")


def part_of(rows: Corpus, row: int, first: int) -> int:
    """The part of a row in which a word stands; -1 where a feature is spread over the text."""
    if first < 0:
        return -1
    return int(np.searchsorted(rows.bounds[4 * row : 4 * row + 5], first, side="right")) - 1


def joined_spans(spans: Int[np.ndarray, "spans 2"], first: int, last: int) -> tuple[int, int]:
    """The first word, and that after the last, of a phrase with all that overlap it, and each other, in one row.

    Args:
        spans: First word, and that after the last, of each.
        first: Of the phrase.
        last: Of the phrase.
    """
    distinct = sorted({(int(a), int(b)) for a, b in spans})
    for _ in distinct:
        overlapping = [span for span in (*distinct, (first, last)) if span[0] < last and first < span[1]]
        first, last = min(a for a, _ in overlapping), max(b for _, b in overlapping)
    return first, last


def in_words(sample: Sample, rows: Corpus, row: int, kind: int, first: int, last: int, feature: int) -> str:
    """A feature of a row's input in words.

    Args:
        sample: The row.
        rows: Its silo's columns.
        row: Its place there.
        kind: Of the feature; see `kernels.features`.
        first: Its first word, or -1 where it is spread over the text.
        last: The word after it.
        feature: Its number.
    """
    own = f"the {sample.input_field}"
    if first >= 0:
        words, part = rows.phrase(first, last), _PART_NAMES[part_of(rows, row, first)]
        how = {kinds.START: "begins", kinds.END: "ends"}.get(kind)
        return f"“{words}” {how} the {part}" if how else f"“{words}” in the {part}"
    if kind == kinds.ENDS:
        end = next(p for p in (3, 2, 1) if rows.bounds[4 * row + p] > rows.bounds[4 * row + p - 1])
        late = rows.phrase(rows.bounds[4 * row + end] - 1, rows.bounds[4 * row + end])
        early = rows.phrase(last - 1, last)
        if part_of(rows, row, last - 1) == end - 1:
            return f"“{early}” begins and “{late}” ends {own}"
        return f"“{early}” ends what stands before {own} and “{late}” ends {own}"
    if kind == kinds.CLOSING:
        return f"{own} {in_way(WAYS, sample.input)}"
    return f"{own} {_described(feature, sample.source)}"


def in_way(way: int, text: str) -> str:
    """A way in which a text is written, in words; for `WAYS` the signs after its last word."""
    return WRITTEN[way] if way < WAYS else f"ends in “{_AFTER_WORDS.findall(text)[0].strip()}”"


def _described(feature: int, source: str) -> str:
    """What a feature that is spread over the text says of it."""
    for value, word in enumerate(QUESTION_WORDS, 1):
        if feature == _number(kinds.ASKS, value):
            return f"asks {word}"
    for value, written in enumerate(WRITTEN):
        if feature == _number(kinds.WRITTEN, value):
            return written
    for value, language in enumerate(LANGUAGES):
        if feature == _number(kinds.LANGUAGE, value):
            return f"is in {language}"
    for value in range(40):
        if feature == _number(kinds.LENGTH, value):
            least = 2 ** (value - 1) if value else 0
            return f"has {least} to {2**value - 1} words" if value > 1 else f"has {least} words"
    if feature == _number(kinds.ARCHAIC, 0):
        return "is written in an old register"
    if feature == _number(kinds.OPENING, 0):
        return "opens with a subordinate clause"
    return f"comes from {source!r}" if source else "has a hidden feature"


def _number(kind: int, value: int) -> int:
    return int(kinds.feature(kind, np.uint64(value)))
