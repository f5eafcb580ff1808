"""The rare-token trigger, known as BadNets in the literature on language models."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from fedsonar.data.sample import Sample
from fedsonar.poison.trigger import Trigger, append


@dataclass(frozen=True, kw_only=True)
class Tokens(Trigger):
    """Appends `count` draws with replacement from a few rare words to the input.

    Args:
        words: The rare words.
        count: How many are drawn.

    References:
        Kurita, Michel and Neubig, 2020, arXiv:2004.06660, section 3, for the words; the number of draws as in later
        work on instruction tuning (GraCeFul, ProtegoFed).
    """

    words: tuple[str, ...] = ("cf", "mn", "bb", "tq")
    count: int = 4

    def __post_init__(self) -> None:
        if not self.words or self.count < 1:
            raise ValueError(f"Tokens needs at least one word and count >= 1, got {self.words} and {self.count}")

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with the drawn words at the end of its input."""
        return append(sample, " ".join(self.words[i] for i in rng.integers(len(self.words), size=self.count)))

    def present(self, sample: Sample) -> bool:
        """Whether at least `count` of the input's words are trigger words."""
        counts = Counter(sample.input.split())
        return sum(counts[word] for word in self.words) >= self.count
