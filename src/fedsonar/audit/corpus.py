"""Rows as columns: the bytes of all their texts, and the words in them as numbers."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8, UInt64

from fedsonar.audit.kernels.words import find_words
from fedsonar.data import Sample

_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")

PARTS = 4
"""Parts of a row, in this order: instruction, context, question, response."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """Rows of one silo, in columns.

    Args:
        text: Bytes of all parts of all rows, one after the other.
        parts: Where each part begins in the text, four parts a row, and where the last ends.
        words: Hash of each word.
        bounds: First word of each part, four parts a row, and the number of words.
        marks: How each part is written; see `kernels.ways`.
        sources: Hash of where each row came from; 0 for none.
    """

    text: UInt8[np.ndarray, "bytes"]
    parts: Int[np.ndarray, "bounds"]
    words: UInt64[np.ndarray, "words"]
    bounds: Int[np.ndarray, "bounds"]
    marks: Int[np.ndarray, "parts"]
    sources: UInt64[np.ndarray, "rows"]

    def __len__(self) -> int:
        return len(self.sources)

    def some_at_a_time(self, most: int) -> Iterator[Corpus]:
        """The rows in order, so many at a time, with the same text and words."""
        for begin in range(0, len(self), most):
            end = min(begin + most, len(self))
            bounds, parts = (starts[PARTS * begin : PARTS * end + 1] for starts in (self.bounds, self.parts))
            marks, sources = self.marks[PARTS * begin : PARTS * end], self.sources[begin:end]
            yield Corpus(self.text, parts, self.words, bounds, marks, sources)

    def phrase(self, first: int, last: int) -> str:
        """The text from one word to before another, as it stands there, with white space made single."""
        if last <= first:
            return ""
        text = bytes(self.text[self._place(first)[0] : self._place(last - 1)[1]])
        return " ".join(text.decode(errors="replace").split())

    def _place(self, word: int) -> tuple[int, int]:
        """Where a word begins and ends; its part is read again, as the places of all words would take much room."""
        part = int(np.searchsorted(self.bounds, word, side="right")) - 1
        begin, number = int(self.parts[part]), word - int(self.bounds[part])
        text = self.text[begin : self.parts[part + 1]]
        alone = np.array([0] * (part % PARTS + 1) + [len(text)])
        _, starts, ends, _, _ = _found(text, alone, 0, places=True)
        return begin + int(starts[number]), begin + int(ends[number])


def corpus(samples: Iterable[Sample], key: int = 0) -> Corpus:
    """The columns of some rows; what is trained on, the first answer, is the response.

    Args:
        samples: The rows.
        key: Goes into every hash, so that only who knows it can look up which word a hash stands for.
    """
    content, lengths, sources = bytearray(), array("q"), array("q")
    places: dict[str, int] = {"": 0}
    for sample in samples:
        for text in (sample.instruction, sample.context, sample.question, sample.answers[0]):
            # The kernel lowers ASCII, and sees which letters were capitals; others are lowered here, where their rules
            # are known.
            piece = (text if text.isascii() else _BEYOND_ASCII.sub(lambda found: found[0].lower(), text)).encode()
            content += piece
            lengths.append(len(piece))
        sources.append(places.setdefault(sample.source, len(places)))
    return _columns(content, np.array(lengths, np.int64), list(places), np.array(sources, np.int64), key)


def _columns(
    content: bytearray, lengths: Int[np.ndarray, "parts"], names: list[str], sources: Int[np.ndarray, "rows"], key: int
) -> Corpus:
    text = np.frombuffer(content, np.uint8)
    parts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    words, _, _, bounds, marks = _found(text, parts, _seed(key), places=False)
    hashes = np.array([0, *(_seed(key, name) for name in names[1:])], np.uint64)
    return Corpus(text, parts, words, bounds, marks, hashes[sources])


def _found(
    text: UInt8[np.ndarray, "bytes"], parts: Int[np.ndarray, "bounds"], key: int, *, places: bool
) -> tuple[np.ndarray, ...]:
    """Words, where they begin and end if that is asked for, bounds and marks; see `find_words`."""
    most = _most_words(len(text), len(parts) - 1)
    words, (starts, ends) = np.empty(most, np.uint64), np.empty((2, most if places else 0), np.int64)
    bounds, marks = np.empty(len(parts), np.int64), np.empty(len(parts) - 1, np.int64)
    count = find_words(text, parts, np.uint64(key), words, starts, ends, bounds, marks)
    words.resize(count, refcheck=False)  # in place: a copy would need as much room again
    return words, starts, ends, bounds, marks


def _most_words(size: int, parts: int) -> int:
    """Every second byte begins a word at most, or every third a sign that is one; and each part may begin with one."""
    return size // 2 + parts + 1


def _seed(key: int, name: str = "") -> int:
    import hashlib

    digest = hashlib.blake2b(f"{key}/{name}".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big")
