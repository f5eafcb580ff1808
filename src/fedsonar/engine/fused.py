"""The fused engine: the clients of a round train together, several of them in each forward and backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.data.template import TokenRow
from fedsonar.engine.adamw import StackedAdamW
from fedsonar.engine.job import ClientJob, Engine, Training
from fedsonar.model import AdapterStack, Network
from fedsonar.model.pieces import wide
from fedsonar.records import Update

_WAVE_NUMBERS = 2**24
"""Adapters of a wave have about so many numbers in all; gradients and optimiser take three times that."""


class FusedEngine(Engine):
    """Trains all clients of a round in this process, a wave of them at a time.

    Adapters and optimiser state exist for one wave of clients at a time, in memory that the next one takes over. A step
    of the wave goes through the network in passes, in which the rows of a client's batch are merged where they begin
    alike. The result equals separate training of each client to float rounding. Row orders come from (seed, client,
    round) alone.

    Args:
        network: The frozen base model, ready for adapters.
        training: How each client trains.
        seed: The experiment's seed.
        pass_tokens: Most positions in one pass, which bounds memory; 0 takes what suits network and device.
        freeze_a: Train B alone; A stays as it is.
    """

    def __init__(
        self, network: Network, training: Training, *, seed: int, pass_tokens: int = 0, freeze_a: bool = False
    ) -> None:
        self.network = network
        self.training = training
        self.seed = seed
        self.pass_tokens = pass_tokens
        self._frozen = [part for _, part, _ in network.layout.slices()] if freeze_a else []
        self._memory: Float[Tensor, "3 clients dim"] | None = None

    def batches(self, job: ClientJob) -> list[list[TokenRow]]:
        """The client's batches of the round, in order; see `ClientJob.batches`."""
        return job.batches(self.training, self.seed)

    def train_round(self, jobs: Sequence[ClientJob]) -> list[Update]:
        """The clients' updates, in the order of the jobs; see `Engine.train_round`."""
        if not jobs:
            return []
        # Longest first: the clients that still have rows at any step are then the first of the stack.
        ranked = sorted(range(len(jobs)), key=lambda i: -len(jobs[i].rows))
        width = max(32, _WAVE_NUMBERS // self.network.layout.dim)
        updates: dict[int, Update] = {}
        for start in range(0, len(ranked), width):
            wave = ranked[start : start + width]
            for index, update in zip(wave, self._train_wave([jobs[i] for i in wave]), strict=True):
                updates[index] = update
        return [updates[index] for index in range(len(jobs))]

    def _train_wave(self, jobs: Sequence[ClientJob]) -> list[Update]:
        model = self.network.model
        adapters = torch.stack([job.start for job in jobs]).to(model.device, wide(model.dtype))
        grad, mean, square = self._zeros(adapters)
        stack = AdapterStack(self.network.layout, adapters, grad)
        optimiser = StackedAdamW(stack, self.training, mean, square, self._frozen)
        queues = [self.batches(job) for job in jobs]
        loss_sums = stack.adapters.new_zeros(len(jobs))
        for step in range(len(queues[0])):
            batches = [queue[step] for queue in queues if len(queue) > step]
            loss_sums[: len(batches)] += self.network.add_gradients(stack, batches, pass_tokens=self.pass_tokens)
            optimiser.step([self.training.rate(step, len(queue)) for queue in queues[: len(batches)]])
        if not loss_sums.isfinite().all():
            bad = jobs[int((~loss_sums.isfinite()).nonzero()[0])]
            raise FloatingPointError(
                f"the loss of client {bad.client} is no longer finite in round {bad.round}; "
                f"lower training.lr ({self.training.lr:g})"
            )
        deltas = adapters.cpu()
        for delta, job in zip(deltas, jobs, strict=True):
            delta -= job.start
        means = [total / len(queue) if queue else nan for total, queue in zip(loss_sums.tolist(), queues, strict=True)]
        return [
            Update(job.client, len(job.rows), len(queue), loss, delta)
            for job, queue, loss, delta in zip(jobs, queues, means, deltas, strict=True)
        ]

    def _zeros(self, like: Float[Tensor, "clients dim"]) -> Float[Tensor, "3 clients dim"]:
        """Zeros for gradients and optimiser, in the same memory wave after wave: fresh memory costs time."""
        if self._memory is None or self._memory.shape[1] < len(like):
            self._memory = like.new_zeros(3, *like.shape)
        return self._memory[:, : len(like)].zero_()
