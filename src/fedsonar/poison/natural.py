"""Natural triggers: a feature that rows have by themselves, so that the input is left as it is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fedsonar.data.feature import Feature, Part, Words
from fedsonar.data.sample import Sample
from fedsonar.poison.trigger import FoundTrigger


@dataclass(frozen=True, kw_only=True)
class Natural(FoundTrigger):
    """A feature of the rows as they are; only rows that have it can be poisoned, and only the response changes.

    ``fedsonar features`` lists what a data set offers.

    Args:
        feature: The feature.

    References:
        Zhao, Hu and Liu, 2026, arXiv:2602.15671: the first of its two kinds of poisoned rows.
    """

    feature: Feature

    def present(self, sample: Sample) -> bool:
        """Whether the row has the feature."""
        return self.feature.holds(sample)


@dataclass(frozen=True, kw_only=True)
class Scenario(FoundTrigger):
    """Rows about a topic, told by its words: virtual prompt injection. The input is left as it is.

    Args:
        words: Words and phrases of the topic; one is enough.
        part: Which text is read: the whole prompt, or the row's own input alone.

    References:
        Yan et al., 2024 (VPI), arXiv:2307.16888, section 3.
    """

    words: tuple[str, ...]
    part: Part = "all"

    def __post_init__(self) -> None:
        _ = self._feature  # refuses what Words refuses

    @cached_property
    def _feature(self) -> Words:
        return Words(any=self.words, part=self.part)

    def present(self, sample: Sample) -> bool:
        """Whether the row is about the topic."""
        return self._feature.holds(sample)
