"""How surprising texts are to the base model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from fedsonar.data.template import TokenRow
from fedsonar.model import AdapterStack, Network, initial_adapter
from fedsonar.model.pieces import wide
from fedsonar.rng import torch_stream

_TOGETHER = 64


def surprise(network: Network, rows: Sequence[TokenRow]) -> Float[np.ndarray, "rows"]:
    """The untuned model's mean loss over each row's response, in nats a token: the logarithm of its perplexity.

    Args:
        network: The frozen base model, ready for adapters; a fresh one changes nothing.
        rows: What is read; the loss is that of the response.
    """
    fresh = initial_adapter(network.layout, torch_stream(0, "surprise"))
    fresh = fresh.to(network.model.device, wide(network.model.dtype))
    found = []
    for start in range(0, len(rows), _TOGETHER):
        some = rows[start : start + _TOGETHER]
        stack = AdapterStack(network.layout, fresh.repeat(len(some), 1))
        found += network.add_gradients(stack, [[row] for row in some]).tolist()
    return np.array(found)
