"""GradSentry: how many directions a row pulls the output layer in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float

from fedsonar.audit import summed
from fedsonar.screen.features import Part
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.valley import Valley


@dataclass(frozen=True, kw_only=True)
class GradSentry(Screen):
    """Suspects rows whose gradient by the output layer has a spectrum of high entropy.

    A row's entropy is that of the 16 largest singular values of a corner of its gradient, over its greatest possible.
    With T response tokens the gradient has rank T at most, so the entropy is at most log T / log 16: a target that is
    short escapes by construction, and a long clean answer is suspect.

    Pooled, which is ours, clients send a histogram of their entropies, and the sum decides where all of them cut.

    Args:
        fraction: One over the share of rows and columns in the corner.
        top: How many of the largest singular values count.
        threshold: Of the entropy.
        pooled: Whether to cut where the whole federation's entropies say, or each client's own.
        bins: Of the histogram.

    References:
        GradSentry, arXiv:2605.26574.
    """

    fraction: int = 8
    top: int = 16
    threshold: Valley = field(default_factory=Valley)
    pooled: bool = False
    bins: int = 256

    def __post_init__(self) -> None:
        for name, least in (("fraction", 1), ("top", 2), ("bins", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")

    @property
    def passes(self) -> int:
        """One, where the cut is pooled."""
        return int(self.pooled)

    @property
    def additive(self) -> bool:
        """Histograms add up."""
        return True

    def summarize(self, silo: Silo, heard: Sequence[Tables]) -> Tables:
        """How many rows have an entropy in each bin; see `Screen.summarize`."""
        counts, _ = np.histogram(self.suspicion(silo, heard), self.bins, (0.0, 1.0))
        return {"histogram": counts.astype(np.int64)}

    def merge(self, summaries: Sequence[Tables], heard: Sequence[Tables]) -> Tables:
        """Where to cut; see `Screen.merge`."""
        del heard
        counts = summed(summaries)["histogram"]
        middles = (np.arange(self.bins) + 0.5) / self.bins
        return {"cut": np.array([self.threshold.cut(middles, counts.astype(float))])}

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """Entropies, in [0, 1]; see `Screen.suspicion`."""
        del heard
        assert silo.features is not None
        spectra = silo.features.head_spectra(Part("corner", self.fraction), self.top)
        totals = spectra.sum(1, keepdims=True)
        shares = spectra / np.where(totals > 0, totals, 1)
        logs = np.log(shares, where=shares > 0, out=np.zeros_like(shares))
        entropy: Float[np.ndarray, "rows"] = -(shares * logs).sum(1) / math.log(self.top)
        return entropy.clip(0, 1)

    def flag(self, suspicion: Float[np.ndarray, "rows"], heard: Sequence[Tables]) -> Bool[np.ndarray, "rows"]:
        """The rows above the federation's cut, or the client's own; see `Screen.flag`."""
        return suspicion > float(heard[0]["cut"][0]) if heard else self.threshold.flag(suspicion)
