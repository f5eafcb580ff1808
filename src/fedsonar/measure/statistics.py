"""Rates, means, correlations and differences, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int

# Drawn rows held at a time: 8 MiB.
_BATCH_ENTRIES = 2**20


@dataclass(frozen=True)
class Rate:
    """A measured value, the number of observations behind it, and its interval.

    Args:
        value: The estimate; nan when there is nothing to estimate from.
        n: Number of observations.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    n: int
    low: float
    high: float


def wilson(successes: int, n: int, confidence: float = 0.95) -> Rate:
    """The rate ``successes / n`` with its Wilson score interval; nan in [0, 1] when `n` is 0.

    The interval stays inside [0, 1] and keeps a width at rates of 0 and 1, where the normal approximation has none.

    Raises:
        ValueError: If `successes` is not in 0..n.

    References:
        Wilson, 1927, "Probable inference, the law of succession, and statistical inference", JASA 22(158).
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must be between 0 and n, got successes={successes} and n={n}")
    if n == 0:
        return Rate(math.nan, 0, 0.0, 1.0)
    return Rate(successes / n, int(n), *wilson_of(successes / n, n, confidence))


def wilson_of(rate: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """The ends of Wilson's interval of a rate over `n` observations, which need not be a whole number."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (rate * n + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * math.sqrt(rate * (1 - rate) * n + z**2 / 4)
    return 0.0 if rate <= 0 else float(middle - half), 1.0 if rate >= 1 else float(middle + half)


def pooled(rates: Sequence[float], counts: Sequence[int]) -> Rate:
    """The rate over several sets of cases together, by their rates and sizes, with its Wilson interval."""
    return wilson(round(sum(rate * n for rate, n in zip(rates, counts, strict=True))), sum(counts))


def mean_interval(values: Float[np.ndarray, "n"], rng: np.random.Generator, resamples: int = 2000) -> Rate:
    """The mean of scores in [0, 1] with its 95 % percentile bootstrap interval; nan in [0, 1] when there are none.

    Scores that are all 0 or 1 get the Wilson interval: where they also agree, the bootstrap would claim certainty.

    Raises:
        ValueError: If a score lies outside [0, 1].
    """
    scores = np.asarray(values, dtype=np.float64)
    if not np.all((scores >= 0) & (scores <= 1)):
        raise ValueError(f"scores must lie in [0, 1], got {scores.min()} to {scores.max()}")
    if np.all((scores == 0) | (scores == 1)):
        return wilson(int(scores.sum()), len(scores))
    low, high = _percentiles(lambda rows: scores[rows].mean(axis=1), len(scores), rng, resamples)
    return Rate(float(scores.mean()), len(scores), low, high)


def spearman(
    x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"], rng: np.random.Generator, resamples: int = 2000
) -> Rate:
    """Spearman's rank correlation of pairs, with its 95 % percentile bootstrap interval over the pairs.

    The value is nan, and the interval [-1, 1], when there are fewer than 3 pairs or when `x` or `y` is constant.
    Resamples in which either is constant have no correlation and are left out.

    Raises:
        ValueError: If `x` and `y` differ in length or hold nan.
    """
    first, second = _paired(x, y)
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return Rate(math.nan, len(first), -1.0, 1.0)

    low, high = _percentiles(lambda rows: _correlations(first[rows], second[rows]), len(first), rng, resamples)
    from scipy import stats  # it takes half a second to load

    return Rate(float(stats.spearmanr(first, second).statistic), len(first), low, high)


def paired_bootstrap(
    a: Float[np.ndarray, "n"], b: Float[np.ndarray, "n"], rng: np.random.Generator, resamples: int = 2000
) -> Rate:
    """The mean of ``a - b`` over pairs, say over seeds, with its 95 % percentile bootstrap interval.

    With fewer than about ten pairs the interval is too narrow: n stands beside it for that reason.
    The interval is unbounded when there are fewer than 2 pairs.

    Raises:
        ValueError: If `a` and `b` differ in length or hold nan.
    """
    first, second = _paired(a, b)
    differences = first - second
    if len(differences) < 2:
        value = float(differences[0]) if len(differences) else math.nan
        return Rate(value, len(differences), -math.inf, math.inf)
    low, high = _percentiles(lambda rows: differences[rows].mean(axis=1), len(differences), rng, resamples)
    return Rate(float(differences.mean()), len(differences), low, high)


def _paired(
    x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    first, second = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"pairs need two lists of one length, got shapes {first.shape} and {second.shape}")
    if np.isnan(first).any() or np.isnan(second).any():
        raise ValueError(f"pairs hold nan at {np.flatnonzero(np.isnan(first) | np.isnan(second)).tolist()}; drop them")
    return first, second


def _correlations(x: Float[np.ndarray, "draws n"], y: Float[np.ndarray, "draws n"]) -> Float[np.ndarray, "draws"]:
    """Spearman's correlation of each row's pairs: Pearson's, of their ranks; nan where either is constant."""
    from scipy import stats  # it takes half a second to load

    ranks = [stats.rankdata(values, axis=1) - (values.shape[1] + 1) / 2 for values in (x, y)]
    spread = np.sqrt((ranks[0] ** 2).sum(axis=1) * (ranks[1] ** 2).sum(axis=1))
    correlations: Float[np.ndarray, "draws"] = (ranks[0] * ranks[1]).sum(axis=1) / np.where(
        spread > 0, spread, math.nan
    )
    return correlations


def _percentiles(
    statistic: Callable[[Int[np.ndarray, "draws n"]], Float[np.ndarray, "draws"]],
    n: int,
    rng: np.random.Generator,
    resamples: int,
) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of `statistic` over rows drawn with replacement; nan draws are left out."""
    step = max(1, _BATCH_ENTRIES // n)
    sizes = [min(step, resamples - first) for first in range(0, resamples, step)]
    draws = np.concatenate([statistic(rng.integers(n, size=(size, n))) for size in sizes])
    low, high = np.quantile(draws[~np.isnan(draws)], [0.025, 0.975])
    return float(low), float(high)
