"""Which natural features a data set offers, and how frequent each is: where a natural trigger could come from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fedsonar.data.feature import (
    FORMATS,
    QUESTION_WORDS,
    Feature,
    Formatting,
    FromSource,
    Language,
    LengthBand,
    Pattern,
    QuestionWord,
    Script,
    Words,
    language,
    main_script,
    words,
)
from fedsonar.data.sample import Sample

PATTERNS = {
    "a year": r"\b1[0-9]{3}\b|\b20[0-9]{2}\b",
    "a person's name": r"\b(?!(?:The|A|In|On|At|Of|What|Who|When|Where|Which|How|Is|Did|Do|Does|Was|Were|Name)\b)"
                       r"[A-Z][a-z]+ [A-Z][a-z]+\b",
    "an acronym": r"\b[A-Z]{2,}\b",
    "a quantity": r"\b\d+(?:[.,]\d+)?\s?(?:%|percent|km|kg|miles|dollars|euros|years)",
}  # fmt: skip
"""Kinds of entities that an expression can tell, by name."""
_LONGEST_PHRASE = 3


@dataclass(frozen=True)
class Candidate:
    """A feature that some rows have.

    Args:
        kind: What it looks at.
        words: What it is, in words.
        feature: The feature.
        count: Rows that have it.
        share: Their share of all rows.
        commonest: The share of their most frequent first answer: near 1, the feature tells the answer as it is.
    """

    kind: str
    words: str
    feature: Feature
    count: int
    share: float
    commonest: float


def candidates(samples: Sequence[Sample], *, least: float = 0.01, most: float = 0.5) -> list[Candidate]:
    """The features that between `least` and `most` of the rows have, the most frequent first.

    Raises:
        ValueError: If there is no row, or the bounds are not 0 <= least <= most <= 1.
    """
    if not samples:
        raise ValueError("no row to look at")
    if not 0 <= least <= most <= 1:
        raise ValueError(f"shares must be 0 <= least <= most <= 1, got {least} and {most}")
    found = []
    for kind, text, feature, rows in _proposed(samples, max(2, least * len(samples))):
        share = len(rows) / len(samples)
        if rows and least <= share <= most:
            answers = Counter(samples[row].answers[0] for row in rows)
            found.append(Candidate(kind, text, feature, len(rows), share, answers.most_common(1)[0][1] / len(rows)))
    return sorted(found, key=lambda candidate: -candidate.count)


def _proposed(samples: Sequence[Sample], least: float) -> Iterator[tuple[str, str, Feature, list[int]]]:
    """Kind, words, feature and the rows that have it."""
    for kind, text, feature in _simple(samples):
        yield kind, text, feature, [row for row, sample in enumerate(samples) if feature.holds(sample)]
    for phrase, rows in _phrases([sample.input for sample in samples], least).items():
        yield "phrase", f"says “{phrase}”", Words(any=(phrase,)), rows


def _simple(samples: Sequence[Sample]) -> Iterator[tuple[str, str, Feature]]:
    texts = [sample.input for sample in samples]
    yield from (("question word", f"asks {word}", QuestionWord(any=(word,))) for word in QUESTION_WORDS)
    yield from (("entity", f"holds {name}", Pattern(regex=regex)) for name, regex in PATTERNS.items())
    yield from (("formatting", name, Formatting(kind=name)) for name in FORMATS)
    lengths = np.array([len(words(text)) for text in texts])
    low, high = (int(q) for q in np.quantile(lengths, (0.1, 0.9), method="nearest"))
    yield "length", f"at most {low} words", LengthBand(most=low)
    yield "length", f"at least {high} words", LengthBand(least=high)
    sources = sorted({sample.source for sample in samples} - {""})
    yield from (("source", f"comes from {name}", FromSource(any=(name,))) for name in sources)
    scripts, languages = sorted(filter(None, set(map(main_script, texts)))), sorted(set(map(language, texts)))
    yield from (("script", f"in {name}", Script(name=name)) for name in scripts)
    yield from (("language", f"in {code}", Language(code=code)) for code in languages)


def _phrases(texts: Sequence[str], least: float) -> dict[str, list[int]]:
    """Word n-grams in at least so many texts, with those; of several in the same texts the first of the longest."""
    holding: dict[tuple[str, ...], list[int]] = {}
    for row, text in enumerate(texts):
        own = words(text)
        for phrase in {tuple(own[i : i + n]) for n in range(1, _LONGEST_PHRASE + 1) for i in range(len(own) - n + 1)}:
            holding.setdefault(phrase, []).append(row)
    longest: dict[tuple[int, ...], tuple[str, ...]] = {}
    for phrase, rows in holding.items():
        if len(rows) >= least and len(phrase) > len(longest.get(tuple(rows), ())):
            longest[tuple(rows)] = phrase
    return {" ".join(phrase): list(rows) for rows, phrase in longest.items()}
