"""How a reading of the signal becomes attack success: a fitted link, its critical reading, and what it foretells."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from fedsonar.measure.statistics import Rate, wilson

_FAINT = 1e-3
"""Readings below this share of the median positive one, negative ones too, count as it: then they have a logarithm."""

_PENALTY = 1e-4
_STEPS, _STILL = 100, 1e-8
"""At most so many steps, and how small the last is."""


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
    middle, slope = (float(part[0]) for part in _fits(logarithms[None], rates[None]))
    drawn = rng.integers(len(readings), size=(resamples, len(readings)))
    drawn = drawn[np.ptp(logarithms[drawn], axis=1) > 0]
    others = _fits(logarithms[drawn], rates[drawn])[0]
    low, high = np.exp(np.quantile(others, [0.025, 0.975])) if len(others) else (math.nan, math.nan)
    return Link(Rate(math.exp(middle), len(readings), float(low), float(high)), slope, least)


def _fits(
    logarithms_FN: Float[np.ndarray, "fits runs"], rates_FN: Float[np.ndarray, "fits runs"]
) -> tuple[Float[np.ndarray, "fits"], Float[np.ndarray, "fits"]]:
    """Middles and slopes of the logistic curves with the least cross-entropy to the rates, by Newton's method."""
    centre_F, scale_F = logarithms_FN.mean(axis=1), logarithms_FN.std(axis=1)
    scale_F[scale_F == 0] = 1.0
    dials_F2N = np.stack([np.ones_like(rates_FN), (logarithms_FN - centre_F[:, None]) / scale_F[:, None]], axis=1)

    def curves(found_F2: Float[np.ndarray, "fits 2"]) -> Float[np.ndarray, "fits runs"]:
        logits_FN: Float[np.ndarray, "fits runs"] = (found_F2[:, :, None] * dials_F2N).sum(axis=1)
        return logits_FN.clip(-500, 500)

    def losses(found_F2: Float[np.ndarray, "fits 2"]) -> Float[np.ndarray, "fits"]:
        z_FN = curves(found_F2)
        # log(1 + e^z) - rate z, and a whisper of a penalty where the rates do not depend on the reading.
        penalized_F: Float[np.ndarray, "fits"] = (np.logaddexp(0, z_FN) - rates_FN * z_FN).mean(axis=1)
        penalized_F += _PENALTY / 2 * (found_F2**2).sum(axis=1)
        return penalized_F

    found_F2 = np.tile([0.0, 1.0], (len(rates_FN), 1))
    for _ in range(_STEPS):
        shares_FN = 1 / (1 + np.exp(-curves(found_F2)))
        gradients_F2 = (dials_F2N * (shares_FN - rates_FN)[:, None]).mean(axis=2) + _PENALTY * found_F2
        weighed_F2N = dials_F2N * (shares_FN * (1 - shares_FN))[:, None] / rates_FN.shape[1]
        bends_F22 = weighed_F2N @ dials_F2N.transpose(0, 2, 1) + _PENALTY * np.eye(2)
        steps_F2 = np.linalg.solve(bends_F22, gradients_F2[:, :, None])[:, :, 0]
        if np.abs(steps_F2).max(initial=0) < _STILL:
            break
        # A whole step may go too far where all success is next to 0 or 1: half of it, and so on, until it helps.
        before_F = losses(found_F2)
        while (worse_F := losses(found_F2 - steps_F2) > before_F + _STILL**2).any():
            steps_F2[worse_F] /= 2
        found_F2 = found_F2 - steps_F2
    offset_F, slope_F = found_F2.T
    slope_F = np.where(np.abs(slope_F) > 1e-6, slope_F, 1e-6)
    # Beyond the readings by far there is nothing to say: the middle is somewhere out there.
    return centre_F + scale_F * np.clip(-offset_F / slope_F, -20, 20), slope_F / scale_F
