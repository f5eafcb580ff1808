"""A short tuning on a client's own rows, for screens that look at what training makes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.model import AdapterStack, initial_adapter
from fedsonar.model.pieces import wide
from fedsonar.rng import stream, torch_stream
from fedsonar.screen.features import Features


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """AdamW on a client's rows by its own adapter, at a constant rate; nothing of it enters the federation.

    Args:
        epochs: Passes over the rows; 0 takes the model as it is.
        batch_size: Rows a step.
        lr: Learning rate.
        seed: Of a fresh adapter and of the rows' order.
    """

    epochs: int = 3
    batch_size: int = 8
    lr: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.batch_size < 1 or not 0 < self.lr < math.inf:
            raise ValueError(
                f"tuning needs epochs of at least 0, batch_size of at least 1 and a finite lr above 0, got "
                f"{self.epochs}, {self.batch_size} and {self.lr:g}"
            )

    def tuned(self, features: Features, client: int) -> Features:
        """The same rows under the tuned model, which is tuned once for all who ask.

        Raises:
            FloatingPointError: If a loss is no longer finite; names the client.
        """
        if not self.epochs:
            return features
        if (self, client) not in features.tuned:
            features.tuned[self, client] = self._tuned(features, client)
        return features.tuned[self, client]

    def _tuned(self, features: Features, client: int) -> Features:
        network, rows = features.network, features.rows
        start = features.adapter
        if start is None:
            start = initial_adapter(network.layout, torch_stream(self.seed, "screen/tuning"))
        adapters = start[None].to(network.model.device, wide(network.model.dtype), copy=True)
        stack = AdapterStack(network.layout, adapters)
        optimiser = torch.optim.AdamW([adapters], lr=self.lr, weight_decay=0.0)
        for epoch in range(self.epochs):
            order = stream(self.seed, "screen/tuning", client, epoch).permutation(len(rows))
            for first in range(0, len(order), self.batch_size):
                loss = network.add_gradients(stack, [[rows[i] for i in order[first : first + self.batch_size]]])
                if not loss.isfinite().all():
                    raise FloatingPointError(f"a screen's tuning of client {client} diverged; lower lr ({self.lr:g})")
                adapters.grad = stack.grad
                torch.nn.utils.clip_grad_norm_([adapters], 1.0)
                optimiser.step()
                stack.grad.zero_()
        found: Float[Tensor, "dim"] = adapters[0]
        return Features(network, rows, found)
