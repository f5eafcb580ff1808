"""Cosine similarities between all pairs of updates, and the clusters of updates that point the same way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedsonar.aggregate.columns import STRIP, as_matrix
from fedsonar.aggregate.inner_products import inner_products

# Sums over millions of float64 products err by about this much, so that parallel rows miss a cosine of 1 by it.
_ROUNDING = 1e-12


def gram_matrix(
    updates_ND: Float[Tensor, "clients dim"] | Sequence[Float[Tensor, "dim"]],
) -> Float[Tensor, "clients clients"]:
    """The inner product of every pair of updates, in float64 on the CPU; squared norms are on its diagonal.

    Args:
        updates_ND: Finite updates, one row a client; or rows that lie apart, which are never put together.
    """
    dim, rows_N = len(updates_ND[0]), np.arange(len(updates_ND))
    if isinstance(updates_ND, Tensor):
        gram_NN = inner_products(as_matrix(updates_ND), rows_N, np.zeros(dim))
    else:
        gram_NN = np.zeros((len(rows_N), len(rows_N)))
        for first in range(0, dim, STRIP):
            piece_NC = as_matrix(torch.stack([row_D[first : first + STRIP] for row_D in updates_ND]))
            gram_NN += inner_products(piece_NC, rows_N, np.zeros(piece_NC.shape[1]))
    return torch.from_numpy(gram_NN)


def cosine_similarities(gram_NN: Float[Tensor, "clients clients"]) -> Float[Tensor, "clients clients"]:
    """Cosine of the angle between every pair of updates, from -1 to 1.

    An update that is zero has no direction: its cosine is 0 with every other, and 1 with itself. Cosines of parallel
    updates are 1 or -1 without a rounding error.

    Args:
        gram_NN: Inner products, from `gram_matrix`.
    """
    norms_N = gram_NN.diagonal().sqrt()
    norms_N = torch.where(norms_N > 0, norms_N, 1.0)
    cosines_NN = gram_NN / (norms_N[:, None] * norms_N[None, :])  # a product, for a matrix symmetric to the last bit
    parallel_NN = cosines_NN.abs() > 1 - _ROUNDING
    return torch.where(parallel_NN, cosines_NN.sign(), cosines_NN).fill_diagonal_(1.0)


def cosine_clusters(cosines_NN: Float[Tensor, "clients clients"], *, majority: bool) -> Int[Tensor, "clients"]:
    """The number of each update's cluster, or -1 where HDBSCAN calls it noise, by the distance ``1 - cosine``.

    With one sample to a neighbourhood HDBSCAN joins the two nearest groups again and again. For the majority it then
    keeps the first group of more than half of the updates, and all else is noise: a majority always forms, at the
    latest of all updates. Libraries that do not count an update as its own neighbour give the same clusters.

    Args:
        cosines_NN: Cosine similarities, from `cosine_similarities`; of at least 2 updates.
        majority: One cluster of at least ``n // 2 + 1`` updates; otherwise any number of clusters of at least 2,
            never all updates in one.

    References:
        Campello et al., 2013, "Density-Based Clustering Based on Hierarchical Density Estimates".
    """
    from sklearn.cluster import HDBSCAN  # takes a second, which other rules save

    clustering = HDBSCAN(
        metric="precomputed",
        min_cluster_size=len(cosines_NN) // 2 + 1 if majority else 2,
        min_samples=1,
        allow_single_cluster=majority,
        copy=False,
    )
    return torch.from_numpy(clustering.fit_predict((1 - cosines_NN).numpy())).long()
