"""What a client is asked to do in a round, and who does it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from fedsonar.data.template import TokenRow
from fedsonar.records import Update
from fedsonar.rng import stream


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a client trains in a round: AdamW from a fresh state, as federated instruction tuning does.

    Args:
        lr: Learning rate at the first step.
        batch_size: Rows a step; the last batch of an epoch may be smaller.
        epochs: Passes over the client's rows.
        schedule: ``constant``, or ``linear`` to zero over the client's steps of the round.
        weight_decay: Decoupled weight decay.
        beta1: Decay of the gradient's mean.
        beta2: Decay of the gradient's square.
        eps: Added to the denominator.
        max_grad_norm: Each client's gradient is clipped to this L2 norm.
        checkpointing: Compute each block again in the backward pass: about a third slower, far less memory. Needs a
            model of Llama's layout.
    """

    lr: float = 3e-4
    batch_size: int = 4
    epochs: int = 1
    schedule: Literal["constant", "linear"] = "linear"
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    max_grad_norm: float = 1.0
    checkpointing: bool = False

    def __post_init__(self) -> None:
        for name in ("lr", "batch_size", "epochs", "max_grad_norm"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                bound = "finite" if value == math.inf else "above 0"
                raise ValueError(f"training.{name} must be {bound}, got {value}")

    def rate(self, step: int, steps: int) -> float:
        """The learning rate at a step, from 0, of a client that takes so many."""
        return self.lr * (1 - step / steps) if self.schedule == "linear" else self.lr

    def steps(self, rows: int) -> int:
        """How many steps a client with so many rows takes in a round."""
        return self.epochs * math.ceil(rows / self.batch_size)

    def reach(self, steps: int, largest: float) -> float:
        """The most that any coordinate can change in so many steps, whatever the gradients.

        By Cauchy and Schwarz the mean over the root of the square is at most
        (1 - beta1) / sqrt((1 - beta2) (1 - beta1^2 / beta2)), and bias correction never adds to that where
        (1 - beta1)^2 >= 1 - beta2; without such betas there is no bound.

        Args:
            steps: Optimiser steps.
            largest: Greatest size of a coordinate before the first, which decays.
        """
        if self.beta1**2 >= self.beta2 or (1 - self.beta1) ** 2 < 1 - self.beta2:
            return math.inf
        ratio = (1 - self.beta1) / math.sqrt((1 - self.beta2) * (1 - self.beta1**2 / self.beta2))
        moved = steps * self.lr * max(1.0, ratio)
        return moved + steps * self.lr * self.weight_decay * (largest + moved)


ROOT = -1
"""Stands for the server where it trains on clean rows of its own."""


@dataclass(frozen=True, slots=True)
class ClientJob:
    """One client's work in one round.

    Args:
        client: The client's number.
        round: The round's number, from 1.
        rows: The client's rows in tokens.
        start: Flat adapter to start from.
    """

    client: int
    round: int
    rows: Sequence[TokenRow]
    start: Float[Tensor, "dim"]

    def batches(self, training: Training, seed: int) -> list[list[TokenRow]]:
        """The rows in batches, in order: a fresh shuffle each epoch, from (seed, client, round, epoch) alone."""
        size, made = training.batch_size, []
        for epoch in range(training.epochs):
            order = stream(seed, "order", self.client, self.round, epoch).permutation(len(self.rows))
            rows = [self.rows[i] for i in order]
            made += [rows[start : start + size] for start in range(0, len(rows), size)]
        return made


class Engine(ABC):
    """Whatever trains the clients of a round."""

    @abstractmethod
    def train_round(self, jobs: Sequence[ClientJob]) -> list[Update]:
        """The clients' updates, in the order of the jobs; one without rows changes nothing, and its loss is nan.

        Raises:
            FloatingPointError: If a client's loss is no longer finite; names the client and the round.
        """
