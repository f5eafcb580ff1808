"""Floating-point operations that LoRA training on a frozen base needs, counted by hand.

A multiplication and an addition are two operations, and only matrix products are counted: norms, activations,
rotations, the softmax, the optimiser and everything that is computed a second time are left out.

What is needed follows from the loss alone:

- The tokens that must be read are those of the rows without padding, all but the last of each row, which predicts
  nothing. The last block computes keys and values for them, and everything else only where a response token is
  predicted; so do the logits.
- A frozen linear layer of N weights takes 2 N a token forward, 2 N a token for the gradient of its input, and nothing
  for its own gradient. Where nothing below it is trained, the gradient of its input is not needed either.
- A LoRA factor of n weights takes 2 n forward, 2 n for its own gradient and 2 n for that of its input: 6 n a token, but
  4 n for the A factors whose input nothing below has changed.
- Attention takes two products forward and up to four backward, each over the pairs of a token and one it attends to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fedsonar.bench.rows import read_tokens
from fedsonar.bench.shapes import Shape
from fedsonar.data import TokenRow
from fedsonar.model import Layout

_STAGES = {
    "self_attn.q_proj": 0, "self_attn.k_proj": 0, "self_attn.v_proj": 0, "self_attn.o_proj": 1,
    "mlp.gate_proj": 2, "mlp.up_proj": 2, "mlp.down_proj": 3,
}  # fmt: skip
"""In which order a block's linear layers depend on each other."""


@dataclass(frozen=True, slots=True)
class Flops:
    """Operations by what they are for."""

    frozen: float
    adapters: float
    attention: float
    logits: float

    @property
    def total(self) -> float:
        """All of them."""
        return self.frozen + self.adapters + self.attention + self.logits


def needed_flops(shape: Shape, layout: Layout, rows: Sequence[TokenRow]) -> Flops:
    """What one pass of training over the rows needs, each row read on its own.

    Args:
        shape: The model.
        layout: Where its adapters are.
        rows: All rows of all clients, each trained on once.
    """
    return _count(shape, layout, rows, 1.0)


def executed_flops(shape: Shape, layout: Layout, rows: Sequence[TokenRow], positions: int) -> Flops:
    """The part of the needed operations that an engine executed which read a common beginning of rows only once.

    This is what a fraction of the machine's peak is computed from, so that neither sharing nor padding inflates it:
    every product over tokens is taken in proportion to the tokens read, never more than the rows hold. For attention
    that is a little too few, since what is shared are early tokens, which attend to few others.

    Args:
        shape: The model.
        layout: Where its adapters are.
        rows: All rows of all clients, each trained on once.
        positions: Distinct tokens that went through the network.
    """
    return _count(shape, layout, rows, min(1.0, positions / read_tokens(rows)))


def _count(shape: Shape, layout: Layout, rows: Sequence[TokenRow], share: float) -> Flops:
    adapted = {_place(site.name) for site in layout.sites}
    first = min(4 * block + _STAGES[name] for block, name in adapted)
    tokens = share * read_tokens(rows)
    predicted = sum(len(row.response) for row in rows)
    # Pairs of a token and one that it attends to, itself included: all of a row's, and those of its predicting tokens.
    pairs = share * sum(row.length * (row.length - 1) / 2 for row in rows)
    last_pairs = sum(
        len(row.response) * len(row.prompt) + len(row.response) * (len(row.response) - 1) / 2 for row in rows
    )
    frozen = adapters = attention = 0.0
    for block in range(shape.layers):
        last = block == shape.layers - 1
        for name, (width, out) in shape.linears().items():
            changed = 4 * block + _STAGES[name] > first  # by an adapter below
            places = predicted if last and name not in ("self_attn.k_proj", "self_attn.v_proj") else tokens
            frozen += places * 2 * width * out * (1 + changed)
            if (block, name) in adapted:
                adapters += places * layout.rank * ((6 if changed else 4) * width + 6 * out)
        trains = {part: 4 * block > first or (block, f"self_attn.{part}_proj") in adapted for part in "qkv"}
        backward = trains["v"] + (trains["q"] or trains["k"]) + trains["q"] + trains["k"]
        attention += (last_pairs if last else pairs) * 2 * shape.hidden * (2 + backward)
    return Flops(frozen, adapters, attention, predicted * 4 * shape.vocab * shape.hidden)


def _place(site: str) -> tuple[int, str]:
    match = re.search(r"layers\.(\d+)\.(.+)$", site)
    if match is None or match[2] not in _STAGES:
        raise ValueError(f"{site} is no linear layer of a block in Llama's layout, whose operations are counted here")
    return int(match[1]), match[2]
