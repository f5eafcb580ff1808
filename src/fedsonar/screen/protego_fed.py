"""ProtegoFed: clients cluster gradients, and the federation tells them which cluster is clean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from fedsonar.screen.clustering import (
    FEWEST,
    dense_clusters,
    graded,
    largest,
    silhouette,
    standardised,
    two_clusters,
    umap,
)
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.threshold import Above, Threshold


@dataclass(frozen=True, kw_only=True)
class ProtegoFed(Screen):
    """Clusters each client's gradients in the frequency domain; the federation's centre says which cluster is clean.

    A row's feature is the gradient by B of an adapter of the last layer's value projection, with B zero, after a
    two-dimensional cosine transform. A client sends the mean feature of its largest cluster; the server clusters those
    means and tells all clients the mean of the largest cluster; a client clusters its rows anew with that mean among
    them, and keeps the cluster that it falls into. Clusters that hardly part are taken for one.

    What is sent is a mean of gradients of rows, from which rows may be guessed (arXiv:2606.27511).

    A of the adapter is one of the screen's own, drawn alike by all clients (ours): so it works whatever is trained.

    Args:
        rank: Of the adapter.
        neighbours: UMAP's.
        share: Least rows of a cluster, over all of the client's; in (0, 1).
        apart: A clustering is one cluster where the worse silhouette of two ways is below the first value and the
            better one below the second; both in [-1, 1].
        seed: Of A.
        threshold: Of suspicions, which are above 1 outside the clean cluster.

    References:
        ProtegoFed, arXiv:2603.00516.
    """

    rank: int = 8
    neighbours: int = 100
    share: float = 0.04
    apart: tuple[float, float] = (0.2, 0.4)
    seed: int = 0
    threshold: Threshold = field(default_factory=lambda: Above(value=1))

    def __post_init__(self) -> None:
        for name, least in (("rank", 1), ("neighbours", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.share < 1:
            raise ValueError(f"share must be between 0 and 1, got {self.share}")
        if not all(-1 <= silhouette <= 1 for silhouette in self.apart):
            raise ValueError(f"apart must be two values in [-1, 1], got {self.apart}")

    @property
    def passes(self) -> int:
        """One."""
        return 1

    def summarize(self, silo: Silo, heard: Sequence[Tables]) -> Tables:
        """The mean feature of the client's largest cluster; see `Screen.summarize`."""
        del heard
        features = self._features(silo)
        return {"centre": features[largest(self._dense(features))].mean(0)}

    def merge(self, summaries: Sequence[Tables], heard: Sequence[Tables]) -> Tables:
        """The mean of the largest cluster of the clients' means; see `Screen.merge`."""
        del heard
        centres = np.stack([summary["centre"] for summary in summaries])
        return {"centre": centres[largest(self._dense(centres))].mean(0)}

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """Distance from the federation's centre, and 1 more outside its cluster; see `Screen.suspicion`."""
        features, centre = self._features(silo), heard[0]["centre"]
        if len(features) < FEWEST:
            return np.zeros(len(features))
        flat = standardised(umap(np.vstack([features, centre]), self.neighbours))
        ways = [self._clusters(flat), two_clusters(flat)]
        scores = [silhouette(flat, labels) for labels in ways]
        known = [score for score in scores if not np.isnan(score)]
        best = ways[int(np.nanargmax(scores))] if known else np.zeros(len(flat), dtype=int)
        if known and min(known) < self.apart[0] and max(known) < self.apart[1]:
            best = np.zeros(len(flat), dtype=int)
        return graded(best[:-1] != best[-1], np.linalg.norm(flat[:-1] - flat[-1], axis=1))

    def _features(self, silo: Silo) -> Float[np.ndarray, "rows width"]:
        from scipy.fft import dctn  # it takes a tenth of a second to load

        assert silo.features is not None
        gradients = silo.features.value_gradients(rank=self.rank, seed=self.seed)
        return np.asarray(dctn(gradients, axes=(1, 2), norm="ortho")).reshape(len(gradients), -1)

    def _dense(self, features: Float[np.ndarray, "rows width"]) -> Int[np.ndarray, "rows"]:
        if len(features) < FEWEST:
            return np.zeros(len(features), dtype=int)
        return self._clusters(standardised(umap(features, self.neighbours)))

    def _clusters(self, flat: Float[np.ndarray, "rows 2"]) -> Int[np.ndarray, "rows"]:
        return dense_clusters(flat, least=int(self.share * len(flat)))
