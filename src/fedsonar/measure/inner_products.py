"""Inner products of clients' updates: all that the signal-to-noise measures need to know of them."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float64
from torch import Tensor

from fedsonar.model.layout import Layout, Site

ReadingSpace = Literal["product", "factors"]

# Float64 entries of one block of pairwise r x r products: 128 MiB.
_BLOCK_ENTRIES = 2**24


def gram(
    layout: Layout, start: Float[Tensor, "dim"], deltas: Float[Tensor, "clients dim"], space: ReadingSpace = "product"
) -> Float64[np.ndarray, "clients clients"]:
    """Inner products of the updates of all pairs of clients, in double precision; see `gram_by_site`."""
    total = np.zeros((len(deltas), len(deltas)))
    for products in gram_by_site(layout, start, deltas, space).values():
        total += products
    return total


def gram_by_site(
    layout: Layout, start: Float[Tensor, "dim"], deltas: Float[Tensor, "clients dim"], space: ReadingSpace = "product"
) -> dict[Site, Float64[np.ndarray, "clients clients"]]:
    """What each site adds to the inner products of the updates of all pairs of clients, in double precision.

    In the `factors` space an update is the flat delta of A and B. In the `product` space it is the change of the
    effective weight, ``scale * ((B + dB) (A + dA) - B A)`` at every site: averaging A and B is not averaging BA, and
    only the product acts on the model. The change is never built and never found by subtraction, which would lose a
    small update under a large BA; it is the sum ``B dA + dB (A + dA)`` of products of rank r, whose inner products
    are traces of r x r matrices: ``<B1 A1, B2 A2> = tr((B1' B2) (A2 A1'))``.

    Args:
        layout: How the flat adapter divides into factors.
        start: Flat adapter that the round started from.
        deltas: The clients' flat adapters after training minus `start`.
        space: What counts as an update.

    Raises:
        ValueError: If the space is unknown or a shape does not fit the layout.
    """
    if space not in get_args(ReadingSpace):
        raise ValueError(f"space must be one of {', '.join(get_args(ReadingSpace))}, got {space!r}")
    if start.shape != (layout.dim,) or deltas.ndim != 2 or deltas.shape[1] != layout.dim:
        raise ValueError(
            f"the layout needs start ({layout.dim},) and deltas (clients, {layout.dim}), "
            f"got {tuple(start.shape)} and {tuple(deltas.shape)}"
        )
    found = {}
    for (site, a, b), (_, da, db) in zip(layout.factors(start), layout.factors(deltas), strict=True):
        if space == "factors":
            products = _inner(da.double(), da.double()) + _inner(db.double(), db.double())
        else:
            products = layout.scale**2 * _product_gram(a.double(), b.double(), da.double(), db.double())
        found[site] = ((products + products.T) / 2).cpu().numpy()
    return found


def _product_gram(
    a: Float[Tensor, "rank in"],
    b: Float[Tensor, "out rank"],
    da: Float[Tensor, "clients rank in"],
    db: Float[Tensor, "clients out rank"],
) -> Float[Tensor, "clients clients"]:
    """Inner products of ``b da_k + db_k (a + da_k)`` for all pairs k."""
    after = a + da
    mixed = _inner(da, (b.T @ db) @ after)
    return _inner(da, (b.T @ b) @ da) + mixed + mixed.T + _pair_traces(db, after)


def _inner(left: Float[Tensor, "clients *shape"], right: Float[Tensor, "clients *shape"]) -> Float[Tensor, "clients c"]:
    return left.flatten(1) @ right.flatten(1).T


def _pair_traces(
    b: Float[Tensor, "clients out rank"], a: Float[Tensor, "clients rank in"]
) -> Float[Tensor, "clients clients"]:
    """``tr((b_i' b_j) (a_j a_i'))`` for all pairs, a block of clients against those from it on at a time."""
    clients, rank = a.shape[:2]
    columns, rows = b.transpose(1, 2).flatten(0, 1), a.flatten(0, 1)
    traces = a.new_empty(clients, clients)
    step = max(1, _BLOCK_ENTRIES // (clients * rank**2))
    for first in range(0, clients, step):
        last = min(first + step, clients)
        block, rest = slice(first * rank, last * rank), slice(first * rank, None)
        products = (columns[block] @ columns[rest].T).mul_(rows[block] @ rows[rest].T)
        traces[first:last, first:] = products.view(last - first, rank, clients - first, rank).sum(dim=(1, 3))
        traces[first:, first:last] = traces[first:last, first:].T.clone()
    return traces
