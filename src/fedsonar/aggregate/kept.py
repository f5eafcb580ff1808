"""Weights of the clients that a rule keeps."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from fedsonar.aggregate.rule import RoundContext


def kept_weights(context: RoundContext, kept_N: Bool[Tensor, "clients"]) -> Float[Tensor, "clients"]:
    """The context's weights of the kept clients, scaled to sum to 1, in float64; 0 for the others.

    Raises:
        ValueError: If the kept clients weigh nothing together, or one of them less than nothing.
    """
    weights_N = torch.where(kept_N.cpu(), context.weights.double().cpu(), 0.0)
    total = weights_N.sum().item()
    if not (total > 0 and (weights_N >= 0).all()):
        names = [client for client, kept in zip(context.clients, kept_N.tolist(), strict=True) if kept]
        raise ValueError(
            f"the kept clients {names} need weights of at least 0 with a sum above 0, got a sum of {total:g} and a "
            f"least weight of {weights_N.min().item():g}: divide the clients' row counts by their total"
        )
    return weights_N / total
