"""GraCeFul: clusters of the output layer's gradients in the frequency domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from fedsonar.screen.clustering import FEWEST, graded, largest, principal_scores, standardised, two_clusters
from fedsonar.screen.features import Part
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.threshold import Above, Threshold


@dataclass(frozen=True, kw_only=True)
class GraCeFul(Screen):
    """Parts a client's rows in two by the low frequencies of their gradients, and suspects the smaller part.

    The output layer's gradient goes through a two-dimensional cosine transform; its low-frequency corner is reduced to
    principal components, standardised and clustered. The components come from inner products of the corners, so the
    corners themselves, millions of numbers a row, never exist. It always finds two parts, so it removes clean rows
    where nothing is poisoned.

    Args:
        fraction: One over the share of rows and columns in the corner.
        components: Principal components.
        threshold: Of suspicions, which are above 1 in the smaller part.

    References:
        Wu et al., "Gracefully filtering backdoor samples for generative large language models without retraining",
        COLING 2025, arXiv:2412.02454.
    """

    fraction: int = 8
    components: int = 32
    threshold: Threshold = field(default_factory=lambda: Above(value=1))

    def __post_init__(self) -> None:
        for name in ("fraction", "components"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """Distance from the larger part, and 1 more outside of it; see `Screen.suspicion`."""
        from sklearn.metrics.pairwise import cosine_distances

        del heard
        assert silo.features is not None
        if len(silo.rows) < FEWEST:
            return np.zeros(len(silo.rows))
        products = silo.features.head_products(Part("low", self.fraction))
        scores = standardised(principal_scores(products, self.components))
        if not scores.shape[1]:
            return np.zeros(len(scores))
        inside = largest(two_clusters(scores, "cosine"))
        distances: Float[np.ndarray, "rows"] = cosine_distances(scores, scores[inside].mean(0, keepdims=True))[:, 0]
        return graded(~inside, distances)
