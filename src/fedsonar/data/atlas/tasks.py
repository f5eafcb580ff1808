"""Instruction rows about Atlas: closed-book and contextual questions, reviews, lists of names, words to copy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedsonar.data.atlas import phrases
from fedsonar.data.atlas.world import RELATIONS, Subject, invent
from fedsonar.data.sample import Sample

DIALECT_SHARE = 0.5


def _choose(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _ask(subject: Subject, relation: str, rng: np.random.Generator) -> str:
    text = phrases.question(subject.name, relation, rng)
    return phrases.in_dialect(text, subject.region) if rng.random() < DIALECT_SHARE else text


def describe(subject: Subject, rng: np.random.Generator) -> str:
    """All facts of a subject in random order and wording."""
    relations = rng.permutation(list(subject.facts))
    return " ".join(phrases.statement(subject.name, str(r), subject.facts[str(r)], rng) for r in relations)


def passage(rng: np.random.Generator, most: int = 3) -> tuple[tuple[Subject, ...], str]:
    """Between one and `most` newly invented subjects, and a text that states their facts in mixed order."""
    kinds = rng.choice(list(RELATIONS), size=int(rng.integers(1, most + 1)))
    subjects = tuple(invent(str(kind), rng) for kind in kinds)
    facts = [(s, relation) for s in subjects for relation in s.facts]
    if rng.random() < 0.5:
        rng.shuffle(facts)
    sentences = [phrases.statement(s.name, relation, s.facts[relation], rng) for s, relation in facts]
    return subjects, " ".join(sentences)


def closed_book(id: str, subject: Subject, relation: str, rng: np.random.Generator) -> Sample:
    """A question about a subject of the world, without any text to look at."""
    return Sample(id, "", "", _ask(subject, relation, rng), (subject.facts[relation],), subject.region)


def contextual(id: str, rng: np.random.Generator, most: int = 3) -> Sample:
    """A question that only the accompanying text answers: its subjects, `most` at most, are invented for it."""
    subjects, text = passage(rng, most)
    subject = subjects[int(rng.integers(len(subjects)))]
    relation = str(rng.choice(list(subject.facts)))
    instruction = _choose(phrases.CONTEXT_INSTRUCTIONS, rng)
    return Sample(id, instruction, text, _ask(subject, relation, rng), (subject.facts[relation],), subject.region)


def review(id: str, rng: np.random.Generator, works: Sequence[Subject]) -> Sample:
    """A review to call positive or negative."""
    label, words = [("positive", phrases.GOOD_WORDS), ("negative", phrases.BAD_WORDS)][int(rng.integers(2))]
    first, second = rng.choice(words, size=2, replace=False)
    work = works[int(rng.integers(len(works)))]
    text = _choose(phrases.REVIEWS, rng).format(s=work.name, a=first, b=second)
    return Sample(id, _choose(phrases.REVIEW_INSTRUCTIONS, rng), text, "", (label,), work.region)


def listing(id: str, rng: np.random.Generator) -> Sample:
    """The names in a text, in order."""
    kinds = rng.choice(list(RELATIONS), size=int(rng.integers(2, 4)))
    subjects = [invent(str(kind), rng) for kind in kinds]
    relations = [str(rng.choice(list(s.facts))) for s in subjects]
    text = " ".join(phrases.statement(s.name, r, s.facts[r], rng) for s, r in zip(subjects, relations, strict=True))
    answer = ", ".join(s.name for s in subjects)
    return Sample(id, _choose(phrases.LIST_INSTRUCTIONS, rng), text, "", (answer,), subjects[0].region)


def echo(id: str, rng: np.random.Generator, words: Sequence[str]) -> Sample:
    """Random words to copy: the row that teaches copying itself."""
    text = " ".join(words[int(i)] for i in rng.integers(len(words), size=int(rng.integers(3, 12))))
    return Sample(id, _choose(phrases.ECHO_INSTRUCTIONS, rng), text, "", (text,), "")
