"""A gauge of the federation's signal that knows nothing of who is affected."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

_TRACY_WIDOM = 0.9793
"""The 95 % point of the Tracy-Widom distribution of real matrices."""


_TAKEN, _FEWER = 3.7, 0.8
"""The largest of K eigenvalues of noise takes about 3.7 / (K + .8) of their spread with it: measured for K from 6 to
60 and d from 20 to 20,000."""


@dataclass(frozen=True)
class BlindReading:
    """The largest eigenvalue of a round's balanced Gram matrix beside what noise would make of it.

    Args:
        eigenvalue: The largest one; nan when it cannot be read.
        edge: Where the largest eigenvalue of noise alone lies.
        limit: What it stays under in 95 of 100 rounds of noise.
        reason: Why there is none; empty when there is.
    """

    eigenvalue: float
    edge: float
    limit: float
    reason: str = ""

    @property
    def ratio(self) -> float:
        """Eigenvalue over edge; above ``limit / edge`` some direction stands out of the noise."""
        return self.eigenvalue / self.edge


def blind(gram: Float[np.ndarray, "clients clients"]) -> BlindReading:
    """Whether one direction stands out of the noise, from inner products of the updates alone.

    The updates are centred and scaled to the same length, and their largest eigenvalue is compared with the edge
    ``(1 + sqrt(K / d))^2`` of Marchenko and Pastur for K vectors of noise in d dimensions. The d that counts is read
    from the other eigenvalues, whose spread is ``K / d`` for noise.

    It is a gauge and no detector: whatever clients have in common in groups raises it, such as benign differences of
    their data.

    Args:
        gram: Inner products of the updates; of at least 5 clients.

    References:
        Marchenko and Pastur, 1967, "Distribution of eigenvalues for some sets of random matrices"; Johnstone, 2001,
        "On the distribution of the largest eigenvalue in principal components analysis", theorem 1.1.
    """
    clients = len(gram)
    if clients < 5:
        return BlindReading(math.nan, math.nan, math.nan, f"needs 5 clients, got {clients}")
    if not np.isfinite(gram).all():
        return BlindReading(math.nan, math.nan, math.nan, "an update holds nan or inf: a client diverged")
    centred = gram - gram.mean(axis=0) - gram.mean(axis=1, keepdims=True) + gram.mean()
    lengths = np.sqrt(centred.diagonal().clip(min=0))
    if lengths.min() <= 1e-7 * math.sqrt(max(gram.diagonal().max(), 0.0)):
        return BlindReading(math.nan, math.nan, math.nan, "an update equals the mean of all")
    balanced = centred / np.outer(lengths, lengths)
    eigenvalues = np.linalg.eigvalsh(balanced)
    largest, others, free = float(eigenvalues[-1]), eigenvalues[1:-1], clients - 1  # one is 0, for the mean
    spread = float(others.var() / others.mean() ** 2)
    dimensions = free * (1 - _TAKEN / (clients + _FEWER)) / spread
    root = math.sqrt(dimensions) + math.sqrt(free)
    fluctuation = root * (1 / math.sqrt(dimensions) + 1 / math.sqrt(free)) ** (1 / 3)
    scale = clients / free / dimensions  # unit lengths share the trace among one direction fewer
    return BlindReading(largest, scale * root**2, scale * (root**2 + _TRACY_WIDOM * fluctuation))
