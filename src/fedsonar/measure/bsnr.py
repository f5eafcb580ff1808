"""Backdoor signal-to-noise ratio (BSNR) of one round, from the Gram matrix of its updates.

The seed paper measures how far the affected clients' updates stand out along the backdoor's direction against the
spread of the clean ones; its equation is not public, so this is our definition after its description. With affected
clients A, clean clients C, aggregation weights w, updates D and the gap ``M = mean_A - mean_C`` of weighted means:

- signal ``S = (sum over A of w_k) |M|``: how far poison moves the aggregated step, along ``u = M / |M|``;
- noise ``N^2 = var_C * sum of w_k^2``, with the variance over C of ``<D_j, u>``: how far the step would stray anyway.

BSNR is ``S^2 / N^2``. All of it follows from inner products of updates, so d-dimensional vectors never appear. There
are four ways to read it: `plain`, `crossfit`, `twin` and, without the ground truth, `blind.blind`.

A reading means something beside its null: pass a `placebo` group where nobody is affected, and the interval of
`crossfit` covers 0.

References:
    Zhao, Hu and Liu, "Revisiting Backdoor Threat in Federated Instruction Tuning from a Signal Aggregation
    Perspective", ICASSP 2026, arXiv:2602.15671.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from fedsonar.measure.mean_gap import SquaredGap, coefficients, spread_along, squared_gap
from fedsonar.measure.reading import Reading, interval, unread

_ROUNDING = 1e-13
"""Differences below this share of the updates' own size are rounding of the Gram matrix."""


def plain(
    gram: Float[np.ndarray, "clients clients"],
    weights: Float[np.ndarray, "clients"],
    affected: Bool[np.ndarray, "clients"],
) -> Reading:
    """The reading that takes lengths as they are, noise included; it has no interval.

    The gap of two means is longer than what poison made by the noise of both, so S is biased upward when updates have
    many more dimensions than there are clients, even if nobody is affected: use `crossfit` unless the published number
    is wanted.

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
    poisoned, clean = np.flatnonzero(affected), np.flatnonzero(~affected)
    gap = coefficients(weights, poisoned) - coefficients(weights, clean)
    length = math.sqrt(max(gap @ gram @ gap, 0.0))
    if length <= _ROUNDING**0.5 * math.sqrt(gram.diagonal().max()):
        return unread(_NO_GAP)
    variance = float((gap @ gram / length)[clean].var(ddof=1))
    return _reading(float(weights[affected].sum()) * length, weights, _above_rounding(variance, gram, length))


def crossfit(
    gram: Float[np.ndarray, "clients clients"],
    weights: Float[np.ndarray, "clients"],
    affected: Bool[np.ndarray, "clients"],
    rng: np.random.Generator,
    resamples: int = 400,
) -> Reading:
    """The reading whose parts never look at the same client twice, so that noise does not pass for signal.

    The gap's squared length is taken without the noise of the means (see `mean_gap.squared_gap`); it is right on
    average, may be negative, and S then is negative too: when nobody is affected, S averages about 0. The spread that
    gives N^2 is every clean client's along the gap that is found without it. Where the gap is found badly, that is the
    spread along noise, which is the same if noise is alike in all directions.

    The interval has the gap's error, by Student's t, and the spread's, by chi-squared.

    Args:
        gram: Inner products of the updates.
        weights: Aggregation weights, positive, summing to 1.
        affected: Clients that hold poisoned rows; at least 2, and at least 4 others.
        rng: Makes the draws of the interval; see `fedsonar.measure.reading.cumulative` for rounds.
        resamples: Draws of the interval.

    Raises:
        ValueError: If shapes differ or the weights are not positive with sum 1.
    """
    _check(gram, weights, affected)
    refusal = _refusal(gram, affected, fewest_affected=2, fewest_clean=4)
    if refusal:
        return unread(refusal)
    poisoned, clean = np.flatnonzero(affected), np.flatnonzero(~affected)
    spread = spread_along(gram, clean, clean, coefficients(weights, clean), coefficients(weights, poisoned))
    return _drawn(
        squared_gap(gram, weights, (poisoned, clean)), float(weights[affected].sum()), weights,
        _variance(gram, *spread), len(clean) - 1, rng, resamples,
    )  # fmt: skip


def twin(
    gram: Float[np.ndarray, "vectors vectors"],
    weights: Float[np.ndarray, "clients"],
    affected: Bool[np.ndarray, "clients"],
    rng: np.random.Generator,
    resamples: int = 400,
) -> Reading:
    """The reading against counterfactual twins: what each affected client would have sent without its poisoned rows.

    A client's own data, which its twin shares, drop out of the difference of the two, so the signal needs no clean
    clients, and is read at any share of affected ones. S is the length of the mean difference, from products of
    different clients; the noise is the spread of what all clients would have sent, each along the mean difference
    without it.

    Args:
        gram: Inner products of the clients' updates and, after them, those of the affected clients' twins, in the
            clients' order.
        weights: Aggregation weights, positive, summing to 1.
        affected: Clients that hold poisoned rows; at least 2. From 4 on there is an interval.
        rng: Makes the draws of the interval.
        resamples: Draws of the interval.

    Raises:
        ValueError: If shapes differ or the weights are not positive with sum 1.
    """
    clients, poisoned = len(weights), np.flatnonzero(affected)
    if gram.shape != (clients + len(poisoned),) * 2:
        raise ValueError(f"gram must hold {clients} clients and {len(poisoned)} twins, got shape {gram.shape}")
    _check(gram[:clients, :clients], weights, affected)
    refusal = _refusal(gram[:clients, :clients], affected, fewest_affected=2, fewest_clean=0)
    if not refusal and not np.isfinite(gram).all():
        refusal = "a twin's update holds nan or inf: it diverged"
    if refusal:
        return unread(refusal)
    # The first rows become what poison changed in each affected client, the others what every client sends without it.
    sent = np.arange(clients)
    sent[poisoned] = np.arange(clients, len(gram))
    changes = np.zeros((len(poisoned), len(gram)))
    changes[np.arange(len(poisoned)), poisoned] = 1
    changes[np.arange(len(poisoned)), sent[poisoned]] = -1
    basis = np.concatenate([changes, np.eye(len(gram))[sent]])
    products = basis @ gram @ basis.T
    both = np.concatenate([weights[poisoned], weights])
    changed, clean = np.arange(len(poisoned)), np.arange(len(poisoned), len(basis))
    tied = clean.copy()
    tied[poisoned] = changed
    shares = coefficients(both, changed)
    spread = spread_along(products, clean, tied, shares, np.zeros_like(shares))
    return _drawn(
        squared_gap(products, both, (changed,)), float(weights[affected].sum()), weights,
        _variance(products, *spread), clients - 1, rng, resamples,
    )  # fmt: skip


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


_NO_GAP = "affected and clean updates have the same mean, so there is no direction to measure along"


def _variance(
    gram: Float[np.ndarray, "vectors vectors"],
    squares: Float[np.ndarray, "pairs"],
    lengths: Float[np.ndarray, "pairs"],
) -> float:
    """The variance along the gap, from `spread_along`; nan where there is no gap."""
    if len(lengths) == 0 or lengths.min() <= _ROUNDING * gram.diagonal().max():
        return math.nan
    return _above_rounding(float((squares / lengths).mean()), gram, math.sqrt(lengths.min()))


def _above_rounding(variance: float, gram: Float[np.ndarray, "vectors vectors"], length: float) -> float:
    """The variance, or 0 where it is no more than rounding of products with a gap of that length."""
    return variance if math.sqrt(variance) > _ROUNDING * gram.diagonal().max() / length else 0.0


def _reading(signal: float, weights: Float[np.ndarray, "clients"], variance: float) -> Reading:
    if math.isnan(variance):
        return unread(_NO_GAP)
    reason = "" if variance > 0 else "the clean updates are equal along the direction, so the noise is 0"
    return Reading(signal, math.sqrt(variance * (weights**2).sum()), reason=reason)


def _drawn(
    gap: SquaredGap,
    affected: float,
    weights: Float[np.ndarray, "clients"],
    variance: float,
    freedom: int,
    rng: np.random.Generator,
    resamples: int,
) -> Reading:
    """The reading of a gap and a spread, with draws of both.

    Args:
        gap: Of the means.
        affected: The affected clients' part of the weights.
        weights: Aggregation weights.
        variance: The clean updates' along the gap.
        freedom: Degrees of freedom of that variance.
        rng: Makes the draws.
        resamples: Their number.
    """
    reading = _reading(affected * _root(gap.value), weights, variance)
    if math.isnan(reading.signal) or math.isnan(gap.variance):
        why = "an interval needs 4 affected clients" if math.isnan(gap.variance) and not reading.reason else ""
        return Reading(reading.signal, reading.noise, reason=reading.reason or why)
    from scipy import stats  # it takes half a second to load

    levels = rng.random((2, resamples))
    gaps = gap.value + math.sqrt(gap.variance) * stats.t.ppf(levels[0], gap.freedom)
    squared_noise = reading.noise**2 * freedom / stats.chi2.ppf(levels[1], freedom)
    draws = np.stack([affected * _root(gaps), squared_noise])
    low, high = interval(draws)
    return Reading(reading.signal, reading.noise, low, high, reading.reason, draws)


def _root(squares: Any) -> Any:
    """Square roots with the sign of what they are of."""
    return np.sign(squares) * np.sqrt(np.abs(squares))
