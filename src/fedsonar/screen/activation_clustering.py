"""ActivationClustering: activations that fall into a large and a small heap."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from fedsonar.screen.clustering import silhouette
from fedsonar.screen.representation import State, representations
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.tuning import Tuning


@dataclass(frozen=True, kw_only=True)
class ActivationClustering(Screen):
    """Suspects the smaller of two clusters of last-layer activations, if it looks like poison.

    Activations are reduced to a few independent components and split by 2-means. The smaller cluster is poison

    - ``silhouette``: if it holds less than `size` of the rows and the mean silhouette is above `separation`;
    - ``size``: if it holds less than `size` of the rows;
    - ``smaller``: always.

    A row's suspicion is how much nearer it lies to the smaller cluster's centre than to the larger's, over the largest
    such difference of the client, so between -1 and 1 and above 0 in the smaller cluster; where that is not poison, 1
    less, so that none is flagged. The published method takes one label's inputs at a time; responses have no labels,
    so all rows are one class (ours). Independent components all have the same variance, so that in a few hundred rows
    a poisoned direction weighs no more than a noisy one; ``pca`` keeps variances (ours).

    Args:
        reduce: ``ica`` as published, or ``pca``.
        components: Of the reduced activations; fewer where there are not as many rows.
        rule: When the smaller cluster is poison.
        size: Share of rows, in (0, .5].
        separation: Mean silhouette, in [-1, 1].
        tuning: The training on the client's rows, poison and all, that makes it visible; ours, short and by LoRA,
            where the paper has a model trained in full. ``Tuning(epochs=0)`` looks with the round's model as it is.
        state: Which hidden state stands for a row.
        seed: Of components and clusters.

    References:
        Chen et al., 2018, "Detecting backdoor attacks on deep neural networks by activation clustering",
        arXiv:1811.03728, algorithm 1 and section 4. The rules' numbers are those of the authors' toolbox, ART.
    """

    reduce: Literal["ica", "pca"] = "ica"
    components: int = 10
    rule: Literal["silhouette", "size", "smaller"] = "silhouette"
    size: float = 0.35
    separation: float = 0.1
    tuning: Tuning = field(default_factory=Tuning)
    state: State = "last"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.components < 1:
            raise ValueError(f"components must be at least 1, got {self.components}")
        if not 0 < self.size <= 0.5:
            raise ValueError(f"size must be above 0 and at most .5, got {self.size}")
        if not -1 <= self.separation <= 1:
            raise ValueError(f"separation must lie in [-1, 1], got {self.separation}")

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """Nearness to the smaller cluster; see `Screen.suspicion`."""
        del heard
        reduced = self._reduced(representations(silo, self.state, self.tuning))
        small = self._smaller(reduced)
        if not small.any():
            return np.full(len(small), -1.0)
        to_small, to_large = (np.linalg.norm(reduced - reduced[own].mean(0), axis=1) for own in (small, ~small))
        nearer = to_large - to_small
        nearer /= max(float(np.abs(nearer).max()), np.finfo(float).tiny)
        found: Float[np.ndarray, "rows"] = nearer if self._poison(reduced, small) else nearer - 1
        return found

    def flag(self, suspicion: Float[np.ndarray, "rows"], heard: Sequence[Tables]) -> Bool[np.ndarray, "rows"]:
        """The smaller cluster, where it is poison; see `Screen.flag`."""
        del heard
        return suspicion > 0

    def _reduced(self, x: Float[np.ndarray, "rows width"]) -> Float[np.ndarray, "rows components"]:
        from sklearn.decomposition import PCA, FastICA
        from sklearn.exceptions import ConvergenceWarning

        rank = int(np.linalg.matrix_rank(x - x.mean(0))) if len(x) > 1 else 0
        count = min(self.components, rank)
        if not count:
            return np.zeros((len(x), 1))
        method = PCA(count, svd_solver="full")
        if self.reduce == "ica":
            method = FastICA(count, whiten="unit-variance", random_state=self.seed, max_iter=1000)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # the last iterate is what there is
            found: Float[np.ndarray, "rows components"] = method.fit_transform(x)
        return found

    def _smaller(self, reduced: Float[np.ndarray, "rows components"]) -> Bool[np.ndarray, "rows"]:
        """The smaller cluster of two; none where all rows are alike."""
        from sklearn.cluster import KMeans

        if len(np.unique(reduced, axis=0)) < 2:
            return np.zeros(len(reduced), dtype=bool)
        labels: Int[np.ndarray, "rows"] = KMeans(2, n_init=10, random_state=self.seed).fit_predict(reduced)
        small: Bool[np.ndarray, "rows"] = labels == int(labels.mean() < 0.5)
        return small

    def _poison(self, reduced: Float[np.ndarray, "rows components"], small: Bool[np.ndarray, "rows"]) -> bool:
        if self.rule == "smaller":
            return True
        if small.mean() >= self.size:
            return False
        return self.rule == "size" or silhouette(reduced, small.astype(int)) > self.separation
