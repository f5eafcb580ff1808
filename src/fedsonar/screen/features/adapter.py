"""Gradients by an adapter of the last layer's value projection, by the last layer's backward pass alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from fedsonar.data import TokenRow
from fedsonar.model import AdapterStack, Layout, Lora, Network, initial_adapter
from fedsonar.model.pieces import wide
from fedsonar.rng import torch_stream

_TOGETHER = 256
VALUE_NAMES = ("v_proj", "value", "qkv_proj", "c_attn", "query_key_value", "Wqkv")
"""What value projections are called; where queries, keys and values are one layer, that."""


def value_gradients(
    network: Network, rows: Sequence[TokenRow], *, rank: int, seed: int
) -> Float[np.ndarray, "rows out rank"]:
    """Each row's gradient of its mean loss by B, with B zero and an A that all clients draw alike.

    Only what lies above the last layer's value projection is gone through backward: nothing else has a gradient.

    Args:
        network: The base model; adapters that it trains play no part.
        rows: What the loss is of.
        rank: Of the adapter.
        seed: Of A, PEFT's own draw, in the scale of ``alpha = 2 r``.

    Raises:
        ValueError: If the model has no value projection by a name that is known.
    """
    layout = last_value(network, rank)
    alone = network.on(layout)
    fresh = initial_adapter(layout, torch_stream(seed, "screen/value-gradients"))
    fresh = fresh.to(network.model.device, wide(network.model.dtype))
    found = [np.zeros((0, layout.sites[0].out_features, rank), np.float32)]
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        stack = AdapterStack(layout, fresh.repeat(len(some), 1))
        alone.add_gradients(stack, [[row] for row in some])
        [(_, _, gradient)] = layout.factors(stack.grad)
        found.append(gradient.detach().float().cpu().numpy())
    return np.concatenate(found)


def last_value(network: Network, rank: int) -> Layout:
    """The layout of an adapter of the last layer's value projection alone.

    Raises:
        ValueError: If the model has no value projection by a name that is known.
    """
    modules = {name.rsplit(".", 1)[-1] for name, _ in network.model.named_modules()}
    kind = next((name for name in VALUE_NAMES if name in modules), None)
    if kind is None:
        raise ValueError(f"the model has no value projection among {', '.join(VALUE_NAMES)}; choose another screen")
    layout = Lora(r=rank, alpha=2 * rank, target_modules=[kind]).layout(network.model)
    last = max(layout.sites, key=lambda site: site.layer if site.layer is not None else -1)
    return replace(layout, sites=(replace(last, offset=0),))
