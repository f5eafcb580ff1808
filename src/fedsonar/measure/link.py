"""How a reading of the signal becomes attack success: a fitted link, its critical reading, and what it foretells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from fedsonar.measure.statistics import Rate, wilson

_FAINT = 1e-3
"""Readings below this share of the median positive one, negative ones too, count as it: then they have a logarithm."""


@dataclass(frozen=True)
class Link:
    """``ASR = 1 / (1 + (critical / reading)^slope)``: a logistic curve over the reading's logarithm.

    Args:
        critical: The reading at which half of the triggered rows get the target, with the 95 % interval over runs.
        slope: How steeply success rises there: by ``slope / 4`` where the reading grows by the factor e.
        least: Readings below it count as it.
    """

    critical: Rate
    slope: float
    least: float

    def success(self, readings: Float[np.ndarray, "runs"]) -> Float[np.ndarray, "runs"]:
        """The success rate that the link foretells for each reading."""
        logarithms = np.log(np.maximum(readings, self.least) / self.critical.value)
        rates: Float[np.ndarray, "runs"] = 1 / (1 + np.exp(-np.clip(self.slope * logarithms, -500, 500)))
        return rates

    def tells(self, readings: Float[np.ndarray, "runs"], rates: Float[np.ndarray, "runs"]) -> Rate:
        """How often a reading above the critical one comes with a success rate above one half, and the converse."""
        right = (readings > self.critical.value) == (rates > 0.5)
        return wilson(int(right.sum()), len(right))


def fit_link(
    readings: Float[np.ndarray, "runs"],
    hits: Int[np.ndarray, "runs"],
    trials: Int[np.ndarray, "runs"],
    rng: np.random.Generator,
    resamples: int = 400,
) -> Link:
    """The likeliest link of some runs' readings with their attack success, every run counting the same.

    Each run has half a hit and half a miss more than it has, so that runs which a threshold parts do not make the
    slope infinite. The interval of the critical reading is a percentile bootstrap over the runs.

    Args:
        readings: One reading a run; at least 4, of which some are positive.
        hits: Triggered test rows that got the target.
        trials: Triggered test rows.
        rng: Draws the resamples.
        resamples: Their number; 0 for no interval.

    Raises:
        ValueError: If there are too few runs or readings.
    """
    positive = readings[readings > 0]
    if len(readings) < 4 or not len(positive):
        raise ValueError(f"a link needs 4 runs and a positive reading, got {len(readings)} and {len(positive)}")
    least = _FAINT * float(np.median(positive))
    logarithms = np.log(np.maximum(readings, least))
    rates = (hits + 0.5) / (trials + 1)
    middle, slope = _fit(logarithms, rates)
    drawn = []
    for _ in range(resamples):
        rows = rng.integers(len(readings), size=len(readings))
        if np.ptp(logarithms[rows]) > 0:
            drawn.append(_fit(logarithms[rows], rates[rows])[0])
    low, high = np.exp(np.quantile(drawn, [0.025, 0.975])) if drawn else (math.nan, math.nan)
    return Link(Rate(math.exp(middle), len(readings), float(low), float(high)), slope, least)


def _fit(logarithms: Float[np.ndarray, "runs"], rates: Float[np.ndarray, "runs"]) -> tuple[float, float]:
    """Middle and slope of the logistic curve with the least cross-entropy to the rates."""
    from scipy.optimize import minimize  # it takes half a second to load

    centre, scale = logarithms.mean(), logarithms.std() or 1.0
    x = (logarithms - centre) / scale

    def loss(parameters: Float[np.ndarray, "2"]) -> tuple[float, Float[np.ndarray, "2"]]:
        offset, slope = parameters
        z = offset + slope * x
        # log(1 + e^z) - rate z, and a whisper of a penalty where the rates do not depend on the reading.
        value = np.logaddexp(0, z) - rates * z
        excess = 1 / (1 + np.exp(-np.clip(z, -500, 500))) - rates
        gradient = np.array([excess.mean(), (excess * x).mean()]) + 1e-4 * parameters
        return float(value.mean() + 5e-5 * (parameters**2).sum()), gradient

    offset, slope = map(float, minimize(loss, np.array([0.0, 1.0]), jac=True).x)
    slope = slope if abs(slope) > 1e-6 else 1e-6
    # Beyond the readings by far there is nothing to say: the middle is somewhere out there.
    return float(centre + scale * np.clip(-offset / slope, -20, 20)), slope / float(scale)
