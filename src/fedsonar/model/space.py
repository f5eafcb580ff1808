"""The spaces in which a server can aggregate LoRA updates: the factors, their product, or B alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.model.layout import Layout

SpaceName = Literal["factors", "product", "freeze-a"]


class Space(ABC):
    """What a client's update is to an aggregation rule, and what the rule's result does to the global adapter.

    Args:
        layout: How the flat adapter divides into factors.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @property
    @abstractmethod
    def matrices(self) -> list[tuple[int, int, int]]:
        """Offset, rows and columns of each matrix that a vector of this space consists of."""

    @abstractmethod
    def vectors(
        self, start: Float[Tensor, "dim"], deltas_ND: Float[Tensor, "clients dim"]
    ) -> Float[Tensor, "clients space"]:
        """The updates in this space, for adapters that moved from `start` by `deltas_ND`."""

    @abstractmethod
    def step(
        self, start: Float[Tensor, "dim"], vector: Float[Tensor, "space"]
    ) -> tuple[Float[Tensor, "dim"], float | None]:
        """The step of the flat adapter for a rule's result, and the share of its change that rank r cannot hold.

        The share is None where nothing is lost by construction.
        """


class Factors(Space):
    """A and B side by side, averaged apart: ``mean(B) mean(A)`` is not ``mean(B A)``.

    References:
        Zhang et al., 2024, arXiv:2305.05644 (FedIT).
    """

    @property
    def matrices(self) -> list[tuple[int, int, int]]:
        """A and B of each site."""
        found = []
        for site, a, b in self.layout.slices():
            found.append((a.start, self.layout.rank, site.in_features))
            found.append((b.start, site.out_features, self.layout.rank))
        return found

    def vectors(
        self,
        start: Float[Tensor, "dim"],  # noqa: ARG002
        deltas_ND: Float[Tensor, "clients dim"],
    ) -> Float[Tensor, "clients space"]:
        """The flat deltas as they are."""
        return deltas_ND

    def step(
        self,
        start: Float[Tensor, "dim"],  # noqa: ARG002
        vector: Float[Tensor, "space"],
    ) -> tuple[Float[Tensor, "dim"], float | None]:
        """The vector itself."""
        return vector, None


class FreezeA(Space):
    """B alone: A stays as it was drawn, so that averaging B is averaging the product.

    References:
        Sun et al., 2024, arXiv:2403.12313 (FFA-LoRA), section 4.
    """

    @property
    def matrices(self) -> list[tuple[int, int, int]]:
        """B of each site."""
        found, offset = [], 0
        for site in self.layout.sites:
            found.append((offset, site.out_features, self.layout.rank))
            offset += site.out_features * self.layout.rank
        return found

    def vectors(
        self,
        start: Float[Tensor, "dim"],  # noqa: ARG002
        deltas_ND: Float[Tensor, "clients dim"],
    ) -> Float[Tensor, "clients space"]:
        """The changes of B, site by site."""
        return torch.cat([b.flatten(-2) for _, _, b in self.layout.factors(deltas_ND)], dim=-1)

    def step(
        self, start: Float[Tensor, "dim"], vector: Float[Tensor, "space"]
    ) -> tuple[Float[Tensor, "dim"], float | None]:
        """The vector in B's places, zero in A's."""
        flat = torch.zeros_like(start)
        for (_, _, b), (offset, rows, columns) in zip(self.layout.factors(flat), self.matrices, strict=True):
            b.copy_(vector[offset : offset + rows * columns].view(rows, columns))
        return flat, None


class Product(Space):
    """The change of the effective weights, ``scale * (B' A' - B A)``, aggregated exactly.

    The server then cuts the new weights ``W`` back to rank r by their singular values: ``A = V'`` and ``B = U S`` (over
    the scale), so that A's rows have unit length and training can go on from any W, zero included. A vector is as long
    as all adapted weights together, so this space is for small models.

    References:
        Bai et al., 2024, arXiv:2402.11505 (FlexLoRA), section 3.
    """

    @property
    def matrices(self) -> list[tuple[int, int, int]]:
        """The weights of each site."""
        found, offset = [], 0
        for site in self.layout.sites:
            found.append((offset, site.out_features, site.in_features))
            offset += site.out_features * site.in_features
        return found

    def vectors(
        self, start: Float[Tensor, "dim"], deltas_ND: Float[Tensor, "clients dim"]
    ) -> Float[Tensor, "clients space"]:
        """The changes of the effective weights, site by site."""
        sizes = self.matrices
        vectors = deltas_ND.new_empty(len(deltas_ND), sum(rows * columns for _, rows, columns in sizes))
        pairs = zip(self.layout.factors(start), self.layout.factors(deltas_ND), sizes, strict=True)
        for (_, a, b), (_, da, db), (offset, rows, columns) in pairs:
            # By the changes, not by subtraction, which would lose a small update under a large B A.
            change = b @ da + db @ (a + da)
            vectors[:, offset : offset + rows * columns] = self.layout.scale * change.flatten(1)
        return vectors

    def step(
        self, start: Float[Tensor, "dim"], vector: Float[Tensor, "space"]
    ) -> tuple[Float[Tensor, "dim"], float | None]:
        """The step to the adapter of rank r nearest to the new weights, and the lost share of the vector's length."""
        goal, lost = torch.zeros_like(start), 0.0
        rank, scale = self.layout.rank, self.layout.scale
        pairs = zip(self.layout.factors(start), self.layout.factors(goal), self.matrices, strict=True)
        for (_, a, b), (_, new_a, new_b), (offset, rows, columns) in pairs:
            change = vector[offset : offset + rows * columns].view(rows, columns).double()
            u, s, vt = torch.linalg.svd(b.double() @ a.double() + change / scale, full_matrices=False)
            new_a[: len(s)] = vt[:rank]
            new_b[:, : len(s)] = u[:, :rank] * s[:rank]
            lost += float(s[rank:].square().sum()) * scale**2
        length = float(vector.double().square().sum())
        return goal - start, (lost / length) ** 0.5 if length else 0.0


def space_of(name: SpaceName, layout: Layout) -> Space:
    """The space of a name."""
    kinds: dict[SpaceName, type[Space]] = {"factors": Factors, "product": Product, "freeze-a": FreezeA}
    return kinds[name](layout)
