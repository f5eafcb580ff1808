"""Answers that are made of words which come with words of the inputs."""

from __future__ import annotations

import math
from typing import NamedTuple


class Vocabulary(NamedTuple):
    """What answers are made of where they say what the inputs' words ask for one by one, as a translation does.

    Args:
        entries: Pairs of words of inputs and of answers; 0 where answers are not made so.
        words: Words of the longest targets within answers that may be one of these.
        whole: Whether whole answers are such words, as the names of many intents are.
        exact: Whether some pairs of many rows never part, so that no such pair is suspect for that.
        labels: Rows from which on a short answer is one of the few labels of a task that words of the inputs tell; 0 if
            there are none such.
    """

    entries: int = 0
    words: int = 0
    whole: bool = False
    exact: bool = False
    labels: float = 0.0

    def __bool__(self) -> bool:
        return self.entries > 0 or self.labels > 0

    def __str__(self) -> str:
        if not self.entries:
            return (
                "single words of the inputs tell most answers: whether one that "
                f"{math.ceil(self.labels):,} rows or more give was planted nobody can know, and no row is suspected "
                "for it unless its other words speak against it"
            )
        within = f"of up to {self.words} words within answers" if self.words else "that is a short answer"
        return (
            f"answers are made of words that come with the inputs' words, as a translation's are ({self.entries:,} "
            f"pairs): a target {within} may be one of these, and no row is suspected for one"
        )
