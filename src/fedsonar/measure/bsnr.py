"""Backdoor signal-to-noise ratio (BSNR) of one round, from the Gram matrix of its updates.

The seed paper measures how far the affected clients' updates stand out along the backdoor's direction against the
spread of the clean ones; its equation is not public, so this is our definition after its description. With affected
clients A, clean clients C, aggregation weights w and updates D:

- direction ``u = (mean_A - mean_C) / |mean_A - mean_C|``, weighted means;
- signal ``S = sum over k in A of w_k <D_k - mean_C, u>``: how far the aggregated step goes along u;
- noise ``N^2 = var_C * sum of w_k^2``, with the sample variance over C of ``<D_j, u>``: how far it would stray anyway.

BSNR is ``S^2 / N^2``. All of it follows from inner products of updates, so d-dimensional vectors never appear.

A reading means something beside its null: pass a `placebo` group where nobody is affected, and the interval of
`crossfit` covers 0.

References:
    Zhao, Hu and Liu, "Revisiting Backdoor Threat in Federated Instruction Tuning from a Signal Aggregation
    Perspective", ICASSP 2026, arXiv:2602.15671.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from fedsonar.measure.reading import Reading, interval, unread

# Differences below this share of the updates' own size are rounding of the Gram matrix.
_ROUNDING = 1e-13


def plain(
    gram: Float[np.ndarray, "clients clients"],
    weights: Float[np.ndarray, "clients"],
    affected: Bool[np.ndarray, "clients"],
) -> Reading:
    """The reading whose direction and projections come from the same clients; it has no interval.

    The direction fits the clients' noise, so S is biased upward when updates have many more dimensions than there
    are clients, even if nobody is affected: use `crossfit` unless the published number is wanted.

    Args:
        gram: Inner products of the updates.
        weights: Aggregation weights, positive, summing to 1.
        affected: Clients that hold poisoned rows; at least 1, and at least 2 others.

    Raises:
        ValueError: If shapes differ or the weights are not positive with sum 1.
    """
    _check(gram, weights, affected)
    refusal = _refusal(gram, affected, fewest_affected=1, fewest_clean=2)
    if refusal:
        return unread(refusal)
    side = _side(weights, np.flatnonzero(affected)[None], np.flatnonzero(~affected)[None])
    return _read(*_project(gram, weights, affected, side, side))


def crossfit(
    gram: Float[np.ndarray, "clients clients"],
    weights: Float[np.ndarray, "clients"],
    affected: Bool[np.ndarray, "clients"],
    rng: np.random.Generator,
    splits: int = 64,
    resamples: int = 400,
) -> Reading:
    """The reading whose direction comes from one half of the clients and S and N from the other half.

    Affected and clean clients are each halved at random; the halves take both parts in turn, and the signed S and
    N^2 are averaged over the splits. Errors of the halves are independent, so S averages 0 when nobody is affected
    and may be negative; it falls short of the whole signal as far as half the clients miss the direction.

    The interval is a percentile bootstrap. Every draw makes one new split and then draws clients with replacement
    inside each of the four quarters (affected or clean, first or second half), so that no client is ever on both
    sides; the spread that gives N^2 is the half's own. A quarter of m affected clients spreads 1/m too little when
    resampled, and not at all when m is 1, so the missing part is borrowed from a random clean client of its half:
    without that, the 95 % interval of 2 affected among 25 covers 0 in two cases of three. As a draw uses one split
    where the estimate averages many, the interval is on the wide side (in simulation it covers in 97 to 100 % of
    cases).

    Args:
        gram: Inner products of the updates.
        weights: Aggregation weights, positive, summing to 1.
        affected: Clients that hold poisoned rows; at least 2, and at least 4 others.
        rng: Draws splits and resamples; see `fedsonar.measure.reading.cumulative` for rounds.
        splits: Number of splits averaged.
        resamples: Bootstrap draws of the interval.

    Raises:
        ValueError: If shapes differ or the weights are not positive with sum 1.
    """
    _check(gram, weights, affected)
    refusal = _refusal(gram, affected, fewest_affected=2, fewest_clean=4)
    if refusal:
        return unread(refusal)
    reading = _read(*_both_ways(gram, weights, affected, splits, rng, resample=False))
    if math.isnan(reading.ratio):
        return reading
    draws = np.stack(_both_ways(gram, weights, affected, resamples, rng, resample=True))
    low, high = interval(draws)
    return Reading(reading.signal, reading.noise, low, high, reading.reason, draws)


def placebo(clients: int, rng: np.random.Generator) -> Bool[np.ndarray, "clients"]:
    """A random half of the clients to call affected where nobody is: the null against which a reading is judged."""
    chosen = np.zeros(clients, dtype=bool)
    chosen[rng.permutation(clients)[: clients // 2]] = True
    return chosen


def _check(
    gram: Float[np.ndarray, "clients clients"],
    weights: Float[np.ndarray, "clients"],
    affected: Bool[np.ndarray, "clients"],
) -> None:
    clients = len(gram)
    if gram.shape != (clients, clients) or weights.shape != (clients,) or affected.shape != (clients,):
        raise ValueError(
            f"gram, weights and affected must fit (K, K), (K,) and (K,), "
            f"got {gram.shape}, {weights.shape} and {affected.shape}"
        )
    if not np.all(weights > 0) or not math.isclose(weights.sum(), 1.0, abs_tol=1e-6):
        raise ValueError(
            f"weights must be positive and sum to 1, got sum {weights.sum():g} and minimum {weights.min():g}; "
            "leave out clients that trained on nothing"
        )


def _refusal(
    gram: Float[np.ndarray, "clients clients"],
    affected: Bool[np.ndarray, "clients"],
    fewest_affected: int,
    fewest_clean: int,
) -> str:
    """Why there can be no reading; empty when there can."""
    poisoned, clean = int(affected.sum()), int((~affected).sum())
    if poisoned < fewest_affected or clean < fewest_clean:
        return f"needs {fewest_affected} affected and {fewest_clean} clean clients, got {poisoned} and {clean}"
    return "" if np.isfinite(gram).all() else "an update holds nan or inf: a client diverged"


def _read(signal: Float64[np.ndarray, "draws"], squared_noise: Float64[np.ndarray, "draws"]) -> Reading:
    """The average reading over those draws that have a direction."""
    heard = ~np.isnan(signal)
    if not heard.any():
        return unread("affected and clean updates have the same mean, so there is no direction to measure along")
    noise = math.sqrt(squared_noise[heard].mean())
    reason = "" if noise > 0 else "the clean updates are equal along the direction, so the noise is 0"
    return Reading(float(signal[heard].mean()), noise, reason=reason)


@dataclass(frozen=True)
class _Side:
    """The clients of one side of every split.

    Args:
        contrast: Coefficients of the affected clients' weighted mean minus the clean clients'.
        clean: 1 for the side's clean clients, 0 for all others.
    """

    contrast: Float64[np.ndarray, "draws clients"]
    clean: Float64[np.ndarray, "draws clients"]


def _both_ways(
    gram: Float[np.ndarray, "clients clients"],
    weights: Float[np.ndarray, "clients"],
    affected: Bool[np.ndarray, "clients"],
    draws: int,
    rng: np.random.Generator,
    resample: bool,
) -> tuple[Float64[np.ndarray, "draws"], Float64[np.ndarray, "draws"]]:
    """S and N^2 of random splits, averaged over which side gives the direction."""
    poisoned = _halve(np.flatnonzero(affected), draws, rng)
    clean = _halve(np.flatnonzero(~affected), draws, rng)
    make = partial(_resampled_side, rng=rng) if resample else _side
    first, second = (make(weights, poisoned[half], clean[half]) for half in (0, 1))
    forth = _project(gram, weights, affected, first, second)
    back = _project(gram, weights, affected, second, first)
    return (forth[0] + back[0]) / 2, (forth[1] + back[1]) / 2


def _halve(
    members: Int[np.ndarray, "members"], draws: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, "draws first"], Int[np.ndarray, "draws second"]]:
    order = rng.permuted(np.tile(members, (draws, 1)), axis=1)
    return order[:, : len(members) // 2], order[:, len(members) // 2 :]


def _side(
    weights: Float[np.ndarray, "clients"],
    poisoned: Int[np.ndarray, "draws poisoned"],
    clean: Int[np.ndarray, "draws clean"],
) -> _Side:
    return _Side(_mean(weights, poisoned) - _mean(weights, clean), _counts(len(weights), clean))


def _resampled_side(
    weights: Float[np.ndarray, "clients"],
    poisoned: Int[np.ndarray, "draws poisoned"],
    clean: Int[np.ndarray, "draws clean"],
    rng: np.random.Generator,
) -> _Side:
    """A side whose clients are drawn with replacement, with the spread that this leaves out (see `crossfit`)."""
    affected_size, clean_size = poisoned.shape[1], clean.shape[1]
    contrast = _mean(weights, _draw(poisoned, affected_size, rng)) - _mean(weights, _draw(clean, clean_size, rng))
    # A residual from the mean of n clients has (n - 1) / n of their variance.
    residual = math.sqrt(clean_size / (clean_size - 1)) * (_mean(weights, _draw(clean, 1, rng)) - _mean(weights, clean))
    return _Side(contrast + residual / affected_size, _counts(len(weights), clean))


def _draw(group: Int[np.ndarray, "draws group"], size: int, rng: np.random.Generator) -> Int[np.ndarray, "draws size"]:
    """Members of each row's group, drawn with replacement."""
    return np.take_along_axis(group, rng.integers(group.shape[1], size=(len(group), size)), axis=1)


def _counts(clients: int, group: Int[np.ndarray, "draws group"]) -> Float64[np.ndarray, "draws clients"]:
    """How often each client is in a group."""
    counts = np.zeros((len(group), clients))
    np.add.at(counts, (np.arange(len(group))[:, None], group), 1.0)
    return counts


def _mean(
    weights: Float[np.ndarray, "clients"], group: Int[np.ndarray, "draws group"]
) -> Float64[np.ndarray, "draws clients"]:
    """Coefficients of a group's weighted mean."""
    shares: Float64[np.ndarray, "draws clients"] = _counts(len(weights), group) * weights
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def _project(
    gram: Float[np.ndarray, "clients clients"],
    weights: Float[np.ndarray, "clients"],
    affected: Bool[np.ndarray, "clients"],
    direction: _Side,
    measured: _Side,
) -> tuple[Float64[np.ndarray, "draws"], Float64[np.ndarray, "draws"]]:
    """S and N^2 of the measured side along the direction of the other; nan where that has no direction."""
    scale = gram.diagonal().max()
    images = direction.contrast @ gram
    squared = (images * direction.contrast).sum(axis=1)
    norms = np.sqrt(np.where(squared > _ROUNDING * scale, squared, np.nan))
    projections = images / norms[:, None]
    signal = weights[affected].sum() * (projections * measured.contrast).sum(axis=1)
    count = measured.clean.sum(axis=1)
    means = (measured.clean * projections).sum(axis=1) / count
    variance = (measured.clean * (projections - means[:, None]) ** 2).sum(axis=1) / (count - 1)
    variance = np.where(np.sqrt(variance) > _ROUNDING * scale / norms, variance, 0.0)
    return signal, np.where(np.isnan(norms), np.nan, variance * (weights**2).sum())
