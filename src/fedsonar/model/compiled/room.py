"""Memory for a pass through the compiled network: taken once, and used again by the passes that follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.model.block import ATTENTION, MLP
from fedsonar.model.compiled.kernels.numbers import array
from fedsonar.model.compiled.kernels.products import FEW, padded
from fedsonar.model.pieces import wide

_SCORES = 2**24
"""About so many scores of the output layer are held at a time."""


class Rows:
    """Room for rows of one width: a tensor for products, and the same memory as an array for kernels."""

    __slots__ = ("array", "tensor")

    def __init__(self, count: int, width: int, dtype: torch.dtype) -> None:
        self.tensor = torch.zeros(count, width, dtype=dtype)
        self.array = array(self.tensor)


@dataclass(frozen=True, slots=True)
class Widths:
    """The widths of a model in Llama's layout, the adapters' rank, and the type of the frozen weights."""

    hidden: int
    queries: int
    keys: int
    inner: int
    heads: int
    groups: int
    vocabulary: int
    rank: int
    dtype: torch.dtype

    @property
    def exact(self) -> torch.dtype:
        """The type of sums, of the residual stream, and of everything trained."""
        return wide(self.dtype)


class BlockRoom:
    """What one block's forward pass leaves for its backward pass.

    Args:
        tokens: Most tokens of a pass.
        widths: The model's.
        adapted: The adapted layers of the block.
        last: Whether it may be the last block, which answers at some places only.
        spare: Another room, for what a backward pass reads of adapted layers alone, where those are not adapted.
    """

    def __init__(
        self, tokens: int, widths: Widths, adapted: Sequence[str], *, last: bool, spare: BlockRoom | None = None
    ) -> None:
        dtype, exact = widths.dtype, widths.exact
        self.x, self.x_middle = Rows(tokens, widths.hidden, exact), Rows(tokens, widths.hidden, exact)

        def rows(width: int, readers: Sequence[str], other: str) -> Rows:
            needed = spare is None or set(readers) & set(adapted)
            return Rows(tokens, width, dtype) if needed else getattr(spare, other)

        self.normed = rows(widths.hidden, ATTENTION[:3], "normed")
        self.normed_middle = rows(widths.hidden, MLP[:2], "normed_middle")
        self.active = rows(widths.inner, MLP[2:], "active")
        if last:
            self.x_asked, self.normed_asked = Rows(tokens, widths.hidden, exact), Rows(tokens, widths.hidden, dtype)
        self.query, self.mixed = Rows(tokens, widths.queries, dtype), Rows(tokens, widths.queries, dtype)
        self.key, self.value = Rows(tokens, widths.keys, dtype), Rows(tokens, widths.keys, dtype)
        self.gate, self.up = Rows(tokens, widths.inner, dtype), Rows(tokens, widths.inner, dtype)
        self.low = {name: Rows(tokens, padded(widths.rank, FEW), exact) for name in adapted}
        numbers = self.x.array.dtype
        self.inverse, self.inverse_middle = np.zeros(tokens, numbers), np.zeros(tokens, numbers)
        self.marks = np.zeros((tokens, 2 * widths.heads), numbers)


class Room:
    """Memory for passes of up to so many tokens, for one thread at a time.

    Args:
        tokens: Most tokens of a pass.
        widths: The model's.
        adapted: The adapted layers of each block that the backward pass goes through, the last block's last. All
            other blocks, and all blocks where there is no backward pass, share one more room.
    """

    def __init__(self, tokens: int, widths: Widths, adapted: Sequence[Sequence[str]]) -> None:
        dtype, exact = widths.dtype, widths.exact
        self.tokens = tokens
        self.scores_at_once = max(64, _SCORES // widths.vocabulary)
        self._scores = torch.zeros(0, widths.vocabulary, dtype=dtype)
        self.passing = BlockRoom(tokens, widths, sorted({name for names in adapted for name in names}), last=True)
        self.blocks = [
            BlockRoom(tokens, widths, names, last=number == len(adapted), spare=self.passing)
            for number, names in enumerate(adapted, 1)
        ]
        self.added, self.states, self.d_normed, self.d_asked = (Rows(tokens, widths.hidden, dtype) for _ in range(4))
        self.x, self.d_x = Rows(tokens, widths.hidden, exact), Rows(tokens, widths.hidden, exact)
        self.inverse = np.zeros(tokens, self.x.array.dtype)
        self.d_mixed, self.d_active = Rows(tokens, widths.queries, dtype), Rows(tokens, widths.inner, dtype)
        self.d_query, self.d_key, self.d_value = (
            Rows(tokens, width, exact) for width in (widths.queries, widths.keys, widths.keys)
        )
        # Products take gradients in the type of the frozen weights.
        self.stored_x, self.stored_query, self.stored_key, self.stored_value = (
            rows if dtype == exact else Rows(tokens, rows.tensor.shape[1], dtype)
            for rows in (self.d_x, self.d_query, self.d_key, self.d_value)
        )
        self.copied_x = None if dtype == exact else self.stored_x.array

    def scores(self, count: int) -> Float[Tensor, "count vocabulary"]:
        """Room for the output layer's scores of so many tokens."""
        if len(self._scores) < count:
            self._scores = self._scores.new_zeros(count, self._scores.shape[1])
        return self._scores[:count]
