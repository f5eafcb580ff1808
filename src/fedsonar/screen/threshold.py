"""Thresholds: where suspicion becomes a verdict."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

_NORMAL_MAD = 0.6745
"""Median absolute deviation of a standard normal distribution."""


class Threshold(ABC):
    """Cuts suspicions: which rows leave training. Thresholds are frozen dataclasses."""

    @abstractmethod
    def flag(self, suspicion: Float[np.ndarray, "rows"]) -> Bool[np.ndarray, "rows"]:
        """Which rows are suspects, of those that are judged together."""


@dataclass(frozen=True, kw_only=True)
class Above(Threshold):
    """Flags what is more suspect than a fixed value.

    Args:
        value: On the screen's own scale; finite.
    """

    value: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"value must be a finite number, got {self.value}: it would flag every row or none")

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


@dataclass(frozen=True, kw_only=True)
class Outliers(Threshold):
    """Flags what lies far above the middle of the rows, for whoever knows neither scale nor share.

    Far is `deviations` times the median absolute deviation, in units of a normal distribution's standard deviation.
    Where more than half of the rows are equally suspect that is 0, and all rows above them are flagged.

    Args:
        deviations: Above 0, and finite.

    References:
        Hampel, 1974, "The influence curve and its role in robust estimation", section 5, for the deviation.
    """

    deviations: float = 3.0

    def __post_init__(self) -> None:
        if not 0 < self.deviations < math.inf:
            raise ValueError(f"deviations must be above 0 and finite, got {self.deviations}")

    def flag(self, suspicion: Float[np.ndarray, "rows"]) -> Bool[np.ndarray, "rows"]:
        """The rows far above the median."""
        middle = np.median(suspicion)
        spread = np.median(np.abs(suspicion - middle)) / _NORMAL_MAD
        flagged: Bool[np.ndarray, "rows"] = suspicion > middle + self.deviations * spread
        return flagged
