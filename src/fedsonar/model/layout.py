"""How a LoRA adapter lies in one flat vector: which slice belongs to which factor of which module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Site:
    """One adapted linear module.

    Args:
        name: Dotted module name in the base model, for example ``model.layers.0.self_attn.q_proj``.
        in_features: Input width.
        out_features: Output width.
        offset: Where the site's A starts in the flat adapter; its B follows.
    """

    name: str
    in_features: int
    out_features: int
    offset: int

    @property
    def kind(self) -> str:
        """Last part of the name: the module kind, for example ``q_proj``."""
        return self.name.rsplit(".", 1)[-1]

    @property
    def layer(self) -> int | None:
        """The first number in the name: that of the layer; None where there is none."""
        return next((int(part) for part in self.name.split(".") if part.isdigit()), None)


@dataclass(frozen=True)
class Layout:
    """The adapted sites of a model, the rank and the scale; a flat adapter is all A and B in site order.

    Args:
        sites: Adapted modules.
        rank: Rank r of every site.
        scale: Factor alpha / r on the product, ``W + scale * B @ A``.
    """

    sites: tuple[Site, ...]
    rank: int
    scale: float

    @property
    def dim(self) -> int:
        """Length of the flat adapter."""
        return sum(self.rank * (site.in_features + site.out_features) for site in self.sites)

    def factors(
        self, flat: Float[Tensor, "*batch dim"]
    ) -> Iterator[tuple[Site, Float[Tensor, "*batch rank in"], Float[Tensor, "*batch out rank"]]]:
        """Each site with views of its factors A and B in `flat`."""
        batch = flat.shape[:-1]
        for site, first, second in self.slices():
            a = flat[..., first].view(*batch, self.rank, site.in_features)
            b = flat[..., second].view(*batch, site.out_features, self.rank)
            yield site, a, b

    def slices(self) -> Iterator[tuple[Site, slice, slice]]:
        """Each site with the places of its factors A and B in a flat adapter."""
        for site in self.sites:
            middle = site.offset + self.rank * site.in_features
            yield site, slice(site.offset, middle), slice(middle, middle + self.rank * site.out_features)
