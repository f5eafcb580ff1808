"""CUBE: what training sets apart from most rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from fedsonar.screen.clustering import dense_clusters, umap
from fedsonar.screen.representation import State, representations
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.threshold import Above, Threshold
from fedsonar.screen.tuning import Tuning

_LEAST = 5
"""Rows of a cluster, HDBSCAN's own default."""


@dataclass(frozen=True, kw_only=True)
class Cube(Screen):
    """Suspects rows outside the largest density cluster of what a shortly tuned model makes of them.

    After a short tuning of the client's own, hidden states are reduced by PCA and UMAP and clustered by HDBSCAN, whose
    noise counts as a cluster. The largest cluster is kept and gets suspicion 0; other rows get the share of
    rows that are not in their cluster. The published filter drops clusters smaller than half of a label's rows: those
    with a suspicion above .5. Responses have no labels, so all rows are one class (ours).

    The published HDBSCAN wants 100 rows close by before it calls a place dense, which is for data sets of thousands: of
    200 rows all are noise, one cluster, and nothing is dropped. By default it is a share of the client's rows (ours).

    Args:
        tuning: The short training; ours, by LoRA, where the paper trains the whole encoder for 10 epochs.
        components: Of the PCA: 32 as later work on language models has it, 20 in the authors' code.
        reduce: ``umap`` to two dimensions as published, or ``pca`` alone.
        neighbours: UMAP's; fewer where there are not as many rows.
        min_samples: HDBSCAN's; 100 as published, 0 for `dense_share` of the rows.
        dense_share: See `min_samples`; at least 2 rows.
        state: Which hidden state stands for a row.
        threshold: Of the share of rows outside a row's cluster.
        seed: Of UMAP.

    References:
        Cui et al., 2022, "A unified evaluation of textual backdoor learning", arXiv:2206.08514, section 5.
    """

    tuning: Tuning = field(default_factory=Tuning)
    components: int = 32
    reduce: Literal["umap", "pca"] = "umap"
    neighbours: int = 100
    min_samples: int = 0
    dense_share: float = 0.02
    state: State = "last"
    threshold: Threshold = field(default_factory=lambda: Above(value=0.5))
    seed: int = 42

    def __post_init__(self) -> None:
        for name, least in (("components", 1), ("neighbours", 2), ("min_samples", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not 0 < self.dense_share < 1:
            raise ValueError(f"dense_share must be between 0 and 1, got {self.dense_share}")

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """Shares of rows outside each row's cluster; see `Screen.suspicion`."""
        del heard
        labels = self._clusters(representations(silo, self.state, self.tuning))
        _, places, counts = np.unique(labels, return_inverse=True, return_counts=True)
        found = 1 - counts[places] / len(labels)
        found[places == int(counts.argmax())] = 0.0
        return found

    def _clusters(self, x: Float[np.ndarray, "rows width"]) -> Int[np.ndarray, "rows"]:
        """Each row's cluster; -1 is noise."""
        from sklearn.decomposition import PCA

        rows = len(x)
        least = self.min_samples or max(2, round(self.dense_share * rows))
        if rows <= max(least, _LEAST) or not np.ptp(x, axis=0).any():
            return np.full(rows, -1)
        flat = PCA(min(self.components, *x.shape), svd_solver="full").fit_transform(x)
        if self.reduce == "umap":
            flat = umap(flat, self.neighbours, metric="euclidean", seed=self.seed)
        return dense_clusters(flat, least=_LEAST, samples=least)
