"""Differential privacy of counts: how much noise, in whole numbers, so that sums tell little of any one row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

ORDERS = tuple(1 + 10 ** (exponent / 20) for exponent in range(-30, 61))
"""Orders of Rényi's divergence that are looked at, from 1.03 to 1001; the best one counts."""


@dataclass(frozen=True, kw_only=True)
class Privacy:
    """How little all that is told in all passes may say of any one row: differential privacy, by noise in all counters.

    Two federations, one of which has a row more, tell anything with chances that differ by a factor of ``exp(epsilon)``
    at most, but for events of chance `delta`. It holds against whoever sees the sums, clients included. Every client
    adds its share of the noise to its own counts before they are summed, so that nobody needs to be trusted with sums
    that have none. A person with ``k`` rows is protected by about ``k * epsilon``.

    Args:
        epsilon: The bound on the logarithm of chances, for one hearing of all passes; 0.05 to 100.
        delta: The chance of what may exceed it; between 0 and 1, and well below one over the rows of the federation.
        clients: How many clients add their share. Where ``m`` fewer do, because they left or know their own share and
            ask, the promise is what `spent` says for ``1 - m / clients`` of the variance. To be safe from ``m`` of them
            say ``m`` fewer than there are; sums then have a little more noise than thresholds expect. With 1 every
            client adds all of it.

    Raises:
        ValueError: If it is no privacy.
    """

    # Both have to be said; these are refused, in a line that says so wherever they come from.
    epsilon: float = 0.0
    delta: float = 1e-6
    clients: int = 0

    def __post_init__(self) -> None:
        if not 0.05 <= self.epsilon <= 100:
            raise ValueError(f"epsilon must be 0.05 to 100, got {self.epsilon}; 8 is a weak promise already")
        if not 0 < self.delta < 1:
            raise ValueError(f"delta must be between 0 and 1, got {self.delta}; 1e-6 does for 100,000 rows")
        if self.clients < 1:
            raise ValueError(
                f"clients must be 1 or more, got {self.clients}: say how many add their share of the noise"
            )


def noise(rng: np.random.Generator, variance: float, shape: tuple[int, ...]) -> np.ndarray:
    """Whole numbers from Skellam's distribution: the difference of two Poisson numbers.

    The sum of such numbers is of the same kind, and their variances add up, so that clients' shares make the whole.

    References:
        Agarwal, Kairouz and Liu, 2021, "The Skellam mechanism for differentially private federated learning", NeurIPS,
        section 3.
    """
    return rng.poisson(variance / 2, shape) - rng.poisson(variance / 2, shape)


def variances(touched: Mapping[str, int], weights: Mapping[str, float], privacy: Privacy) -> dict[str, float]:
    """The variance of the noise in each counter of each table, for a promise.

    Args:
        touched: Table -> how many of its counters a row changes at most, each by 1. Its L2 sensitivity is the root of
            that, and that of all tables together the root of the sum.
        weights: Table -> the part of the promise that it may use up.
        privacy: The promise.
    """
    return dict(_variances(tuple((name, touched[name], weights[name]) for name in touched), privacy))


@lru_cache(maxsize=64)
def _variances(tables: tuple[tuple[str, int, float], ...], privacy: Privacy) -> tuple[tuple[str, float], ...]:
    whole = sum(weight for _, _, weight in tables)

    def at(scale: float) -> dict[str, float]:
        return {name: scale * touched * whole / weight for name, touched, weight in tables}

    touched = {name: count for name, count, _ in tables}
    low, high = 1e-3, 1e7
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        if spent(touched, at(middle), privacy.delta) > privacy.epsilon:
            low = middle
        else:
            high = middle
    assert spent(touched, at(high), privacy.delta) <= privacy.epsilon
    return tuple(at(high).items())


def spent(touched: Mapping[str, int], variance: Mapping[str, float], delta: float) -> float:
    """The epsilon that noise of some variances keeps.

    Noise is independent from counter to counter, so divergences of counters that a row changes add up, over tables and
    passes alike, also where a later pass depends on what was told before; counters that it does not change add none.

    References:
        Mironov, 2017, "Rényi differential privacy", CSF, proposition 1, for the sum; Canonne, Kamath and Steinke, 2020,
        "The discrete Gaussian for differential privacy", NeurIPS, proposition 12, for epsilon of a divergence.
    """
    orders = np.array(ORDERS)
    total = sum(touched[name] * divergence(variance[name]) for name in touched)
    epsilon = total + np.log1p(-1 / orders) - (math.log(delta) + np.log(orders)) / (orders - 1)
    return float(max(0.0, np.min(epsilon)))


@lru_cache(maxsize=4096)
def _divergence(variance: float) -> tuple[float, ...]:
    from scipy.special import ive

    reach = math.ceil(12 * math.sqrt(variance) + ORDERS[-1]) + 40  # no order's sum has its greatest terms further out
    # e^-v I_|x|(v) is the chance of x. Ratios of Bessel's functions, from far out inwards, keep what is minute exact;
    # they begin with what a ratio is where it is like the next one.
    ratios, ratio = np.empty(reach + 1), math.hypot(1, (reach + 1) / variance) - (reach + 1) / variance
    for x in range(reach + 1, 0, -1):
        ratios[x - 1] = ratio = 1 / (2 * x / variance + ratio)
    half = np.log(ive(0, variance)) + np.concatenate([[0.0], np.cumsum(np.log(ratios))])
    places = np.arange(-reach, reach + 1)
    here, shifted = half[np.abs(places)], half[np.abs(places - 1)]
    orders = np.array(ORDERS)[:, None]
    logs = orders * shifted + (1 - orders) * here
    most = logs.max(axis=1, keepdims=True)
    return tuple((most[:, 0] + np.log(np.exp(logs - most).sum(axis=1))) / (orders[:, 0] - 1))


def divergence(variance: float) -> Float[np.ndarray, "orders"]:
    """Rényi's divergence of Skellam's noise from itself moved by 1, at `ORDERS`; summed up term by term.

    It is the same either way round, as the noise is symmetric, and nears ``order / (2 * variance)``, the Gaussian's.
    """
    return np.array(_divergence(variance))


def beyond(variance: float, chance: float) -> float:
    """What noise of a variance exceeds with a chance."""
    from scipy.stats import skellam

    return float(skellam.isf(chance, variance / 2, variance / 2))
