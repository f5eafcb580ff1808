"""Answers that are vectors, as words that the passes for shifts can count.

A vector says the few of many random directions that it points along most, so that vectors which lie close together say
much the same. What was made for words then serves for anything that a model makes of an answer: counts of such words
add up over silos, and rows that say alike point alike.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from zlib import crc32

import numpy as np
from jaxtyping import Float, Int, UInt64

from fedsonar.audit.corpus import Corpus
from fedsonar.audit.kernels.hashes import mixed
from fedsonar.audit.kernels.room import WORDS
from fedsonar.rng import stream

DIRECTIONS = 1024
"""Random directions, one a bucket of words at most."""

_DRAWN = 4096
"""Different answers of rows that say anything."""


def winners(vectors: Float[np.ndarray, "rows width"], count: int, key: int) -> Int[np.ndarray, "rows count"]:
    """The directions, of `DIRECTIONS` random ones, that each vector points along most; how long it is does not matter.

    Args:
        vectors: A row each.
        count: Directions a row.
        key: Draws the directions; the same for all silos.

    References:
        Dasgupta, Stevens and Navlakha, 2017, "A neural algorithm for a fundamental computing problem", Science 358,
        whose sparse hash it is, with dense directions.
    """
    directions = _directions(vectors.shape[1], key)
    found = np.empty((len(vectors), count), np.int64)
    for start in range(0, len(vectors), 1024):
        some = slice(start, start + 1024)
        along = vectors[some].astype(np.float32) @ directions
        found[some] = np.argpartition(-along, count - 1, axis=1)[:, :count]
    return found


@lru_cache(maxsize=2)
def _directions(width: int, key: int) -> Float[np.ndarray, "width directions"]:
    return stream(key, "patterns").standard_normal((width, DIRECTIONS)).astype(np.float32)


def anything(rows: Corpus, count: int, key: int) -> Int[np.ndarray, "rows count"]:
    """As `winners`, of rows that shall say nothing in common: directions that hang on the words of the row alone.

    Args:
        rows: The rows; those of the same words say the same.
        count: Directions a row.
        key: Draws them; the same for all silos.
    """
    ends = zip(rows.bounds[:-1:4], rows.bounds[4::4], strict=True)
    drawn = [crc32(rows.words[begin:end].tobytes()) % _DRAWN for begin, end in ends]
    return _answers(count, key)[drawn]


@lru_cache(maxsize=2)
def _answers(count: int, key: int) -> Int[np.ndarray, "answers count"]:
    """Different directions, drawn for each of so many answers."""
    drawn = stream(key, "patterns/anything")
    return np.array([drawn.permutation(DIRECTIONS)[:count] for _ in range(_DRAWN)])


def saying(rows: Corpus, said: Int[np.ndarray, "rows count"]) -> Corpus:
    """The same inputs with other responses: words that lie in these of the `WORDS` buckets of the passes for shifts."""
    bounds = rows.bounds[:-1].reshape(len(rows), 4)
    inputs, responses = bounds[:, 3] - bounds[:, 0], rows.bounds[4::4] - bounds[:, 3]
    kept = np.repeat(np.tile([True, False], len(rows)), np.stack([inputs, responses], 1).reshape(-1))
    places = np.repeat(np.cumsum(inputs), said.shape[1])
    moved = (np.cumsum(responses) - responses) - said.shape[1] * np.arange(len(rows))
    words = np.insert(rows.words[kept], places, _words()[said.reshape(-1)])
    first = np.append((bounds - moved[:, None]).reshape(-1), len(words))
    return replace(rows, words=words, bounds=first)


def short_responses(rows: Corpus, longest: int, buckets: int) -> Int[np.ndarray, "rows"]:
    """The bucket of each row's whole response, the same for the same words; 0 for one of more words than `longest`."""
    found = np.zeros(len(rows), np.int64)
    for row, (begin, end) in enumerate(zip(rows.bounds[3::4], rows.bounds[4::4], strict=True)):
        if end - begin <= longest:
            found[row] = 1 + crc32(rows.words[begin:end].tobytes()) % (buckets - 1)
    return found


@lru_cache(maxsize=1)
def _words() -> UInt64[np.ndarray, "buckets"]:
    """The hash of a word of each bucket."""
    found, filled = np.zeros(WORDS, np.uint64), np.zeros(WORDS, bool)
    drawn = stream(0, "patterns/words")
    while not filled.all():
        for word in drawn.integers(1, 2**63, WORDS, dtype=np.uint64):
            bucket = int(mixed(word)) % WORDS
            found[bucket], filled[bucket] = word, True
    return found
