"""How far apart the means of two groups of vectors are, without the bias of noise, from inner products alone.

The squared length of a mean, or of a difference of means, is too large by the noise of the means: in many dimensions
by far. Less that noise, which the vectors' spread tells, it is right on average however few vectors there are. For
equal weights it is the average product of different vectors (a U-statistic); it can be negative.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float64, Int

_FEWEST = 4
"""Vectors of a group from which on its own noise can be told."""


@dataclass(frozen=True)
class SquaredGap:
    """An estimate of a squared length.

    Args:
        value: The estimate, negative where noise outweighs it.
        variance: The estimate's own variance; nan where there are too few vectors to tell.
        freedom: Degrees of freedom of that variance.
    """

    value: float
    variance: float
    freedom: float


def squared_gap(
    gram: Float[np.ndarray, "vectors vectors"],
    weights: Float[np.ndarray, "vectors"],
    groups: Sequence[Int[np.ndarray, "_group"]],
) -> SquaredGap:
    """The squared length of the first group's mean, less the second's where there is one; noise left out.

    The vectors of a group are taken to scatter alike. The estimate's variance has two parts: a vector scatters along
    the gap, which moves all its products, and each product has noise of its own, which is all there is without a gap.
    The first is read from how far pairs of vectors lie apart along the gap without the two, the second from what is
    left of the products of pairs when each vector's part is taken out of them. A group of fewer than 4 is taken to
    scatter as the other.

    Args:
        gram: Inner products of the vectors.
        weights: How much each counts in its group's mean.
        groups: Numbers of the vectors of one group or of two, each of at least 2.
    """
    shares = [weights[group] / weights[group].sum() for group in groups]
    blocks = [[gram[np.ix_(one, other)] for other in groups] for one in groups]
    gap = sum(sign * coefficients(weights, group) for sign, group in zip((1, -1), groups, strict=False))
    noises = [(share**2).sum() * _total_variance(blocks[g][g]) for g, share in enumerate(shares)]
    value = float(gap @ gram @ gap - sum(noises))
    told = [g for g in range(len(groups)) if len(groups[g]) >= _FEWEST]
    if not told:
        return SquaredGap(value, math.nan, math.nan)
    noise, freedom = _pair_noise(blocks, told)
    parts: list[tuple[float, float]] = []
    for g, share in enumerate(shares):
        # A group of too few vectors is taken to scatter as the other.
        own = g if g in told else told[0]
        scatter = max(_scatter(gram, weights, groups, own, noise), 0.0)
        parts.append((4 * (share**2).sum() * scatter, len(groups[own]) - 1))
    thinning = sum(_own_thinning(share) for share in shares)
    for one, other in pairwise(shares):
        thinning += 4 * (one**2).sum() * (other**2).sum()
    parts.append((thinning * noise, freedom))
    variance = sum(part for part, _ in parts)
    squares = sum(part**2 / freedom for part, freedom in parts)
    return SquaredGap(value, variance, variance**2 / squares if squares > 0 else math.inf)


def spread_along(
    gram: Float[np.ndarray, "vectors vectors"],
    measured: Int[np.ndarray, "measured"],
    tied: Int[np.ndarray, "measured"],
    shares: Float[np.ndarray, "vectors"],
    fixed: Float[np.ndarray, "vectors"],
) -> tuple[Float64[np.ndarray, "pairs"], Float64[np.ndarray, "pairs"]]:
    """How far each pair of vectors lies apart along a gap that is found without the two, and that gap's length.

    The gap is from a mean to a fixed point. What comes is half the squared distance along the gap, times the gap's
    squared length; and that squared length. The first over the second averages the vectors' variance along the gap.

    Args:
        gram: Inner products of all vectors.
        measured: Numbers of the vectors whose spread is asked for.
        tied: For each of them, which vector of the mean is left out with it; itself where it belongs there.
        shares: The mean's coefficients, summing to 1; 0 for those that are not in it.
        fixed: The fixed point's coefficients.
    """
    one, other = np.triu_indices(len(measured), 1)
    kept = 1 - shares[tied[one]] - shares[tied[other]]
    one, other, kept = (each[kept > 1e-9] for each in (one, other, kept))
    a, b, without_a, without_b = measured[one], measured[other], tied[one], tied[other]
    p, q = shares[without_a], shares[without_b]
    to_mean, to_fixed = gram @ shares, gram @ fixed

    apart_mean = to_mean[a] - to_mean[b]
    apart_mean -= p * (gram[a, without_a] - gram[b, without_a]) + q * (gram[a, without_b] - gram[b, without_b])
    along = apart_mean / kept - (to_fixed[a] - to_fixed[b])

    mean_square = shares @ to_mean - 2 * (p * to_mean[without_a] + q * to_mean[without_b])
    mean_square += p**2 * gram[without_a, without_a] + q**2 * gram[without_b, without_b]
    mean_square += 2 * p * q * gram[without_a, without_b]
    mean_fixed = fixed @ to_mean - p * to_fixed[without_a] - q * to_fixed[without_b]
    length = mean_square / kept**2 - 2 * mean_fixed / kept + fixed @ to_fixed
    return along**2 / 2, length


def coefficients(
    weights: Float[np.ndarray, "vectors"], group: Int[np.ndarray, "group"]
) -> Float64[np.ndarray, "vectors"]:
    """Coefficients of a group's weighted mean."""
    shares = np.zeros(len(weights))
    shares[group] = weights[group] / weights[group].sum()
    return shares


def _scatter(
    gram: Float[np.ndarray, "vectors vectors"],
    weights: Float[np.ndarray, "vectors"],
    groups: Sequence[Int[np.ndarray, "_group"]],
    which: int,
    noise: float,
) -> float:
    """Variance of a group's vectors along the gap, times its squared length, without the noise of products."""
    group, shares, fixed = groups[which], coefficients(weights, groups[which]), np.zeros(len(weights))
    for other in (other for g, other in enumerate(groups) if g != which):
        fixed += coefficients(weights, other)
    squares, _ = spread_along(gram, group, group, shares, fixed)
    one, other_one = np.triu_indices(len(group), 1)
    p, q = shares[group][one], shares[group][other_one]
    thinning = ((shares**2).sum() - p**2 - q**2) / (1 - p - q) ** 2 + (fixed**2).sum()
    return float((squares - noise * thinning).mean())


def _total_variance(block: Float[np.ndarray, "group group"]) -> float:
    """Variance of a group's vectors in all directions together."""
    return float((block.trace() - block.mean() * len(block)) / (len(block) - 1))


def _own_thinning(shares: Float[np.ndarray, "group"]) -> float:
    """By what a pair's noise counts in the variance of the squared length of a group's mean, less the mean's noise."""
    n, squares = len(shares), (shares**2).sum()
    counted = np.outer(shares, shares) + squares / (n * (n - 1))
    np.fill_diagonal(counted, shares**2 - squares / n)
    return float(2 * (counted**2).sum())


def _pair_noise(
    blocks: Sequence[Sequence[Float[np.ndarray, "_one _other"]]], told: Sequence[int]
) -> tuple[float, float]:
    """Variance of a product beyond its two vectors' own parts, over all blocks, and its degrees of freedom."""
    left = [_left_within(blocks[g][g]) for g in told]
    if len(told) == 2:
        left.append(_left_between(blocks[0][1]))
    freedom = sum(freedom for _, freedom in left)
    return sum(squares for squares, _ in left) / freedom, freedom


def _left_within(block: Float[np.ndarray, "group group"]) -> tuple[float, float]:
    """Squares that are left of a group's products when each vector's part is taken out; and degrees of freedom."""
    n = len(block)
    means = (block.sum(axis=1) - block.diagonal()) / (n - 1)
    own = (n - 1) / (n - 2) * (means - means.mean())
    left = block - means.mean() - own[:, None] - own[None, :]
    np.fill_diagonal(left, 0)
    return float((left**2).sum() / 2), n * (n - 3) / 2


def _left_between(block: Float[np.ndarray, "one other"]) -> tuple[float, float]:
    """As `_left_within`, of the products of two groups' vectors."""
    left = block - block.mean(axis=0) - block.mean(axis=1, keepdims=True) + block.mean()
    return float((left**2).sum()), (block.shape[0] - 1) * (block.shape[1] - 1)
