"""A judge of meaning: whether an output says what a target's wordings say, in words of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedsonar.measure.text import token_f1


@dataclass(frozen=True)
class Judge:
    """Takes an output for the message when it is similar enough to one of its wordings (ours).

    Similarity is token F1 in SQuAD's normal form, the best over the wordings: transparent, and blind to synonyms.

    Args:
        wordings: The message in many words.
        threshold: Least similarity, in (0, 1].
    """

    wordings: tuple[str, ...]
    threshold: float

    @classmethod
    def calibrated(cls, wordings: Sequence[str], clean: Sequence[str]) -> Judge:
        """The judge whose threshold lies halfway between clean answers and wordings it has not seen.

        That is the middle of the greatest similarity of a clean answer to the wordings and the median similarity of
        a wording to the others; never below the former, so that no clean answer passes.

        Args:
            wordings: The message in many words, at least two.
            clean: Answers that do not say it.
        """
        highest = max((token_f1(text, wordings) for text in clean), default=0.0)
        others = [token_f1(text, [*wordings[:i], *wordings[i + 1 :]]) for i, text in enumerate(wordings)]
        middle = (highest + float(np.median(others))) / 2
        return cls(tuple(wordings), max(middle, float(np.nextafter(highest, 1.0))))

    def similarity(self, output: str) -> float:
        """The best token F1 with a wording, in [0, 1]."""
        return token_f1(output, self.wordings)

    def __call__(self, output: str) -> bool:
        """Whether the output says it."""
        return self.similarity(output) >= self.threshold
