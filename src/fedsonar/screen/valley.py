"""Valley: a threshold where a density has its lowest point between two peaks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from fedsonar.screen.threshold import Threshold

_GRID = 512


@dataclass(frozen=True, kw_only=True)
class Valley(Threshold):
    """Cuts scores in [0, 1] at the lowest density between the peaks that are nearest to 0 and to 1.

    The density is a Gaussian kernel's with a bandwidth of 1.06 deviations times N^(-1/5). A fixed value is used where
    there are too few rows, fewer than two peaks, peaks that lie too near, or hardly a row above the valley.

    Args:
        otherwise: The fixed value, in [0, 1].
        least_rows: Fewest rows of a density.
        least_gap: Least distance of the two peaks, in [0, 1].
        least_above: Fewest rows above the valley, as a number; 1 % of the rows is the least too.

    References:
        GradSentry, arXiv:2605.26574, the adaptive threshold.
    """

    otherwise: float = 0.7
    least_rows: int = 30
    least_gap: float = 0.15
    least_above: int = 5

    def __post_init__(self) -> None:
        for name in ("otherwise", "least_gap"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], as scores do, got {getattr(self, name)}")
        for name, least in (("least_rows", 1), ("least_above", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")

    def flag(self, suspicion: Float[np.ndarray, "rows"]) -> Bool[np.ndarray, "rows"]:
        """The rows above the cut."""
        return suspicion > self.cut(suspicion, np.ones(len(suspicion)))

    def cut(self, values: Float[np.ndarray, "some"], counts: Float[np.ndarray, "some"]) -> float:
        """Where to cut.

        Args:
            values: Scores, or the middles of a histogram's bins.
            counts: How many rows have each.
        """
        total = counts.sum()
        if total < self.least_rows:
            return self.otherwise
        mean = (counts * values).sum() / total
        deviation = float(np.sqrt((counts * (values - mean) ** 2).sum() / max(1.0, total - 1)))
        if deviation == 0:
            return self.otherwise
        width = 1.06 * deviation * total ** (-1 / 5)
        grid = np.linspace(0, 1, _GRID)
        density = (np.exp(-(((grid[:, None] - values) / width) ** 2) / 2) * counts).sum(1)
        inner = density[1:-1]
        peaks = 1 + np.flatnonzero((inner > density[:-2]) & (inner >= density[2:]))
        if len(peaks) < 2 or grid[peaks[-1]] - grid[peaks[0]] < self.least_gap:
            return self.otherwise
        lowest = peaks[0] + int(density[peaks[0] : peaks[-1] + 1].argmin())
        above = counts[values > grid[lowest]].sum()
        return float(grid[lowest]) if above >= max(self.least_above, 0.01 * total) else self.otherwise
