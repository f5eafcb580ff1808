"""A frozen linear layer with each client's own low-rank term."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from fedsonar.model.compiled.kernels.lowrank import add_low_rank, low_rank_backward
from fedsonar.model.compiled.product import product
from fedsonar.model.compiled.room import Rows
from fedsonar.model.layout import Layout, Site

Segments = Int[np.ndarray, "segments 4"]
"""First token, one past the last, place of the adapter and place of its gradient for each client's tokens."""
_MULTIPLE = 64
"""Products in bfloat16 take so many rows or a multiple: their library prepares every new shape, and keeps it."""


@dataclass(frozen=True, slots=True)
class Adapters:
    """The flat adapters that a pass reads, and where their gradients go.

    Args:
        values: Adapters.
        gradients: Gradients, added to; None where there is no backward pass.
        rest: One more, at place -1: of an adapter to whose gradient another thread may be adding.
    """

    values: Float[np.ndarray, "adapters dim"]
    gradients: Float[np.ndarray, "gradients dim"] | None = None
    rest: Float[np.ndarray, "dim"] | None = None


class AdaptedLinear:
    """A linear layer of the model, ``W x + b``, and ``scale B A x`` where it is adapted.

    Args:
        module: The frozen layer.
        site: Its place in the adapters, or None.
        layout: The adapters' layout.
    """

    def __init__(self, module: Any, site: Site | None, layout: Layout) -> None:
        self.weight: Tensor = module.weight
        self.across, self.bias = self.weight.t(), module.bias
        self.site = site
        self.rank, self.scale = layout.rank, layout.scale

    def forward(self, x: Rows, count: int, out: Rows, low: Rows | None, adapters: Adapters, segments: Segments) -> None:
        """Sets the first `count` rows of `out`, and of `low` to A x."""
        rows = self._rows(count, x)
        product(x.tensor[:rows], self.across, plus=self.bias, out=out.tensor[:rows])
        if self.site is not None:
            assert low is not None
            add_low_rank(
                x.array, adapters.values, self.site.offset, self.rank, self.scale, segments, low.array, out.array
            )

    def input_gradient(self, d_out: Rows, count: int, d_x: Rows, *, add: bool = False) -> None:
        """Sets ``d_x`` to the gradient of the frozen layer's input, or adds it."""
        rows = self._rows(count, d_x)
        found = d_x.tensor[:rows]
        product(d_out.tensor[:rows], self.weight, plus=found if add else None, out=found)

    def adapter_gradient(
        self, d_out: Rows, x: Rows, low: Rows | None, d_x: Rows | None, adapters: Adapters, segments: Segments
    ) -> None:
        """Adds the gradients of A and B, and the low-rank term's part of `d_x` unless nobody needs it."""
        if self.site is not None:
            assert low is not None
            low_rank_backward(
                d_out.array, x.array, low.array, adapters.values, self.site.offset, self.rank, self.scale, segments,
                adapters.gradients, adapters.rest, None if d_x is None else d_x.array,
            )  # fmt: skip

    def _rows(self, count: int, rows: Rows) -> int:
        if self.weight.dtype != torch.bfloat16:
            return count
        return min(len(rows.tensor), -(-count // _MULTIPLE) * _MULTIPLE)
