"""One reading of the backdoor signal-to-noise ratio (BSNR), and readings summed over rounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True)
class Reading:
    """Signal and noise along the backdoor's direction, in the units of an update's norm.

    Args:
        signal: Signed signal S; nan when it cannot be read.
        noise: Standard deviation N of the aggregated step along that direction; nan when it cannot be read.
        low: Lower end of the 95 % interval of the signed amplitude ratio S / N; nan when there is none.
        high: Upper end of that interval.
        reason: Why something is nan or left out; empty when nothing is.
        draws: Draws of S (first row) and of N^2 (second), from which `cumulative` makes its interval.
    """

    signal: float
    noise: float
    low: float = math.nan
    high: float = math.nan
    reason: str = ""
    draws: Float64[np.ndarray, "2 draws"] | None = field(default=None, compare=False, repr=False)

    @property
    def ratio(self) -> float:
        """Signed amplitude ratio S / N; nan where the noise is 0."""
        return self.signal / self.noise if self.noise > 0 else math.nan

    @property
    def power(self) -> float:
        """Power ratio S^2 / N^2 with the sign of S."""
        return math.copysign(self.ratio**2, self.ratio)

    @property
    def db(self) -> float:
        """The power ratio in decibels; nan unless the signal is positive."""
        return 10 * math.log10(self.power) if self.power > 0 else math.nan


def unread(reason: str) -> Reading:
    """A reading that says why there is none."""
    return Reading(math.nan, math.nan, reason=reason)


def interval(draws: Float64[np.ndarray, "2 draws"]) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of S / N over draws of S and N^2.

    Draws without noise or without a direction (nan) are left out; nan when none is left.
    """
    signal, squared_noise = draws
    heard = squared_noise > 0
    if not heard.any():
        return math.nan, math.nan
    low, high = np.quantile(signal[heard] / np.sqrt(squared_noise[heard]), [0.025, 0.975])
    return float(low), float(high)


def cumulative(readings: Sequence[Reading]) -> Reading:
    """The reading of several rounds together: signals add, and independent noise adds in squares.

    ``BSNR_1..T = (sum of S_t)^2 / (sum of N_t^2)``. Readings that are nan are left out and counted in the reason.

    The interval comes from the rounds' draws, summed draw by draw. What repeats between rounds is the client, whose
    data push its update the same way every round, so a draw should err the same way in every round: give `crossfit`
    an equal generator in each (leave the round out of its keys). A lasting error is then counted in full; generators
    of their own would average it out and give too narrow an interval. Where the clients differ from round to round
    the interval is on the wide side. Without draws in every reading the interval is nan.
    """
    read = [reading for reading in readings if not (math.isnan(reading.signal) or math.isnan(reading.noise))]
    skipped = [reading for reading in readings if math.isnan(reading.signal) or math.isnan(reading.noise)]
    reason = f"{len(skipped)} of {len(readings)} rounds left out: {skipped[0].reason}" if skipped else ""
    if not read:
        return unread(reason or "no rounds to sum")
    signal = math.fsum(reading.signal for reading in read)
    noise = math.sqrt(math.fsum(reading.noise**2 for reading in read))
    draws = [reading.draws for reading in read if reading.draws is not None]
    if len(draws) < len(read) or len({each.shape for each in draws}) > 1:
        return Reading(signal, noise, reason=reason)
    total = np.sum(draws, axis=0)
    low, high = interval(total)
    return Reading(signal, noise, low, high, reason, total)
