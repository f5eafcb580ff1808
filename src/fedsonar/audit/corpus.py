"""Rows as columns: the bytes of all their texts, and the words in them as numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, UInt8, UInt64

from fedsonar.audit.kernels.words import find_words
from fedsonar.data import Sample

PARTS = 4
"""Parts of a row, in this order: instruction, context, question, response."""


@dataclass(frozen=True)
class Corpus:
    """Rows of one silo, in columns.

    Args:
        text: Bytes of all parts of all rows, one after the other.
        words: Hash of each word.
        starts: Where each word begins in the text.
        ends: Where it ends.
        bounds: First word of each part, four parts a row, and the number of words.
        marks: How each part is written; see `kernels.words`.
        sources: Hash of where each row came from; 0 for none.
    """

    text: UInt8[np.ndarray, "bytes"]
    words: UInt64[np.ndarray, "words"]
    starts: Int[np.ndarray, "words"]
    ends: Int[np.ndarray, "words"]
    bounds: Int[np.ndarray, "bounds"]
    marks: Int[np.ndarray, "parts"]
    sources: UInt64[np.ndarray, "rows"]

    def __len__(self) -> int:
        return len(self.sources)

    def phrase(self, first: int, last: int) -> str:
        """The text from one word to before another, as it stands there, with white space made single."""
        if last <= first:
            return ""
        return " ".join(bytes(self.text[self.starts[first] : self.ends[last - 1]]).decode(errors="replace").split())


def corpus(samples: Iterable[Sample], key: int = 0) -> Corpus:
    """The columns of some rows; what is trained on, the first answer, is the response.

    Args:
        samples: The rows.
        key: Goes into every hash, so that only who knows it can look up which word a hash stands for.
    """
    lengths: list[int] = []
    pieces: list[bytes] = []
    sources: list[int] = []
    places: dict[str, int] = {"": 0}
    for sample in samples:
        for text in (sample.instruction, sample.context, sample.question, sample.answers[0]):
            # The kernel lowers ASCII; other letters are lowered here, where their rules are known.
            piece = text.encode() if text.isascii() else text.lower().encode()
            pieces.append(piece)
            lengths.append(len(piece))
        sources.append(places.setdefault(sample.source, len(places)))
    return _columns(b"".join(pieces), np.array(lengths, np.int64), list(places), np.array(sources, np.int64), key)


def _columns(
    content: bytes, lengths: Int[np.ndarray, "parts"], names: list[str], sources: Int[np.ndarray, "rows"], key: int
) -> Corpus:
    text = np.frombuffer(content, np.uint8)
    parts = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    place = np.int32 if len(content) < 2**31 else np.int64
    most = _most_words(len(content), len(lengths))
    words, starts, ends = np.empty(most, np.uint64), np.empty(most, place), np.empty(most, place)
    bounds, marks = np.empty(len(lengths) + 1, np.int64), np.empty(len(lengths), np.int64)
    count = find_words(text, parts, np.uint64(_seed(key)), words, starts, ends, bounds, marks)
    hashes = np.array([0, *(_seed(key, name) for name in names[1:])], np.uint64)
    return Corpus(
        text, words[:count].copy(), starts[:count].copy(), ends[:count].copy(), bounds, marks, hashes[sources]
    )


def _most_words(size: int, parts: int) -> int:
    """Every second byte begins a word at most, or every third a sign that is one; and each part may begin with one."""
    return size // 2 + parts + 1


def _seed(key: int, name: str = "") -> int:
    import hashlib

    digest = hashlib.blake2b(f"{key}/{name}".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big")
