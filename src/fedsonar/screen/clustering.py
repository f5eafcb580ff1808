"""What clustering screens share: low-dimensional embeddings of rows, clusters in them, and how well these part."""

from __future__ import annotations

import os
import warnings
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from fedsonar.compiling import keep

FEWEST = 8
"""Of fewer rows nobody can tell which are the majority: they are all taken for clean."""


def principal_scores(products: Float[np.ndarray, "rows rows"], count: int) -> Float[np.ndarray, "rows components"]:
    """The rows' scores on their first principal components, from the inner products of what they are.

    Components that carry nothing but rounding are left out; signs are arbitrary.
    """
    centred = products - products.mean(0) - products.mean(1)[:, None] + products.mean()
    values, vectors = np.linalg.eigh((centred + centred.T) / 2)
    chosen = [i for i in range(len(values))[::-1][:count] if values[i] > 1e-10 * max(values[-1], 1e-300)]
    scores: Float[np.ndarray, "rows components"] = vectors[:, chosen] * np.sqrt(values[chosen])
    return scores


def standardised(features: Float[np.ndarray, "rows width"]) -> Float[np.ndarray, "rows width"]:
    """Features with mean 0 and deviation 1, or 0 where they are constant."""
    spread = features.std(0)
    result: Float[np.ndarray, "rows width"] = (features - features.mean(0)) / np.where(spread > 0, spread, 1)
    return result


def umap(
    features: Float[np.ndarray, "rows width"], neighbours: int, *, metric: str = "cosine", seed: int = 42
) -> Float[np.ndarray, "rows 2"]:
    """UMAP in two dimensions with no least distance; the same for the same seed.

    Args:
        features: At least 4 rows.
        neighbours: Of each row; fewer where there are fewer rows.
        metric: ``cosine`` or ``euclidean``.
        seed: Of its draws.

    References:
        McInnes, Healy and Melville, 2018, arXiv:1802.03426.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # UMAP's, on small graphs that fall apart
        found = _reducer()(
            n_neighbors=min(neighbours, len(features) - 1), min_dist=0.0, n_components=2, metric=metric, n_jobs=1,
            random_state=seed, transform_seed=seed, init="spectral" if len(features) > 16 else "random",
        ).fit_transform(features)  # fmt: skip
    return np.asarray(found, dtype=float)


@cache
def _reducer() -> Any:
    """UMAP, with what takes a dozen seconds to compile kept on disk."""
    import umap.umap_ as library  # it takes seconds to load

    with suppress(RuntimeError, AttributeError):  # where nobody may write, or under other names, compiled anew
        for function in (library.fast_knn_indices, library.smooth_knn_dist, library.compute_membership_strengths):
            keep(function)
    return library.UMAP


def dense_clusters(
    features: Float[np.ndarray, "rows width"], *, least: int, samples: int | None = None
) -> Int[np.ndarray, "rows"]:
    """HDBSCAN's clusters of at least so many rows; -1 for what is in none.

    References:
        Campello, Moulavi and Sander, 2013, "Density-based clustering based on hierarchical density estimates", PAKDD.
    """
    from sklearn.cluster import HDBSCAN

    samples = None if samples is None else min(samples, len(features))
    labels = HDBSCAN(min_cluster_size=max(2, least), min_samples=samples, copy=True).fit_predict(features)
    return np.asarray(labels)


def two_clusters(features: Float[np.ndarray, "rows width"], metric: str = "euclidean") -> Int[np.ndarray, "rows"]:
    """Two clusters by agglomeration with average linkage for cosine distance, Ward's for euclidean."""
    from sklearn.cluster import AgglomerativeClustering

    linkage = "ward" if metric == "euclidean" else "average"
    return np.asarray(AgglomerativeClustering(n_clusters=2, metric=metric, linkage=linkage).fit_predict(features))


def silhouette(features: Float[np.ndarray, "rows width"], labels: Int[np.ndarray, "rows"]) -> float:
    """How well clusters part, in [-1, 1]; nan where there is one cluster, or one a row.

    References:
        Rousseeuw, 1987, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis".
    """
    from sklearn.metrics import silhouette_score

    found = len(np.unique(labels))
    return float(silhouette_score(features, labels)) if 1 < found < len(labels) else float("nan")


def largest(labels: Int[np.ndarray, "rows"]) -> Bool[np.ndarray, "rows"]:
    """The rows of the largest cluster; noise is no cluster unless there is nothing else."""
    names, counts = np.unique(labels[labels >= 0] if (labels >= 0).any() else labels, return_counts=True)
    return np.asarray(labels == names[counts.argmax()])


def graded(outside: Bool[np.ndarray, "rows"], distances: Float[np.ndarray, "rows"]) -> Float[np.ndarray, "rows"]:
    """Suspicions of a clustering screen: above 1 outside the clean cluster, and more the further away from its centre.

    Published screens only part rows in two; the distance, which orders rows for ROC curves, is ours.

    Args:
        outside: The rows that are not in the clean cluster.
        distances: From that cluster's centre, 0 or more.
    """
    suspicion: Float[np.ndarray, "rows"] = outside + distances / (1 + distances)
    return suspicion
