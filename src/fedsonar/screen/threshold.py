"""Thresholds: where suspicion becomes a verdict."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


class Threshold(ABC):
    """Cuts suspicions: which rows leave training. Thresholds are frozen dataclasses."""

    @abstractmethod
    def flag(self, suspicion: Float[np.ndarray, "rows"]) -> Bool[np.ndarray, "rows"]:
        """Which rows are suspects, of those that are judged together."""


@dataclass(frozen=True, kw_only=True)
class Above(Threshold):
    """Flags what is more suspect than a fixed value.

    Args:
        value: On the screen's own scale.
    """

    value: float

    def flag(self, suspicion: Float[np.ndarray, "rows"]) -> Bool[np.ndarray, "rows"]:
        """The rows above the value."""
        return suspicion > self.value


@dataclass(frozen=True, kw_only=True)
class Top(Threshold):
    """Flags a fixed share of the rows, the most suspect ones: for whoever knows how many are poisoned.

    Args:
        share: In (0, 1]; rounded to whole rows. Of rows that are equally suspect those that come first are flagged.
    """

    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, got {self.share}")

    def flag(self, suspicion: Float[np.ndarray, "rows"]) -> Bool[np.ndarray, "rows"]:
        """The most suspect rows."""
        flagged = np.zeros(len(suspicion), dtype=bool)
        flagged[np.argsort(-suspicion, kind="stable")[: math.floor(self.share * len(suspicion) + 0.5)]] = True
        return flagged
