"""What one measurement is about: a model, an adapter, and clients with rows; small enough to send to a process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.bench.loras import LORAS
from fedsonar.bench.rows import rows_from, rows_like, triggered
from fedsonar.bench.shapes import SHAPES, Shape, load
from fedsonar.data import TokenRow
from fedsonar.engine import ClientJob, FusedEngine, Training
from fedsonar.model import Layout, initial_adapter, network_for
from fedsonar.model.foreign import PreTrainedModel
from fedsonar.rng import torch_stream


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A model, an adapter, and clients with rows.

    Args:
        model: A key of `SHAPES`.
        lora: A key of `LORAS`.
        rows: Whose lengths the rows have (a key of `LIKE`), or a folder of rows.
        clients: How many clients take part in the round.
        rows_each: Training rows of each client.
        batch_size: Rows a step.
        test_rows: Test rows asked after a round, each once clean and once triggered.
        dtype: Type of the frozen weights.
        device: Where the model lives.
        seed: Seed of weights, rows and orders.
    """

    model: str = "embedded"
    lora: str = "qv"
    rows: str | Path = "freebaseqa"
    clients: int = 25
    rows_each: int = 8
    batch_size: int = 4
    test_rows: int = 200
    dtype: str = "float32"
    device: str = "cpu"
    seed: int = 0

    @property
    def shape(self) -> Shape:
        """The model's shape."""
        return SHAPES[self.model]

    @property
    def training(self) -> Training:
        """How every client trains."""
        return Training(batch_size=self.batch_size)

    def load(self) -> PreTrainedModel:
        """The model."""
        return load(self.model, dtype=self.dtype, device=self.device, seed=self.seed)

    @cached_property
    def layout(self) -> Layout:
        """The adapter's layout in the model."""
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):  # the shape is enough
            bare = AutoModelForCausalLM.from_config(self.shape.config())  # type: ignore[no-untyped-call]
        return LORAS[self.lora].layout(bare)

    @property
    def start(self) -> Float[Tensor, "dim"]:
        """The global adapter that the clients start from."""
        return initial_adapter(self.layout, torch_stream(self.seed, "bench/adapter"))

    @cached_property
    def train_rows(self) -> list[TokenRow]:
        """The rows of all clients, client after client."""
        return self._draw(self.clients * self.rows_each, self.seed)

    @cached_property
    def questions(self) -> list[TokenRow]:
        """The rows asked after a round: clean ones, then the same with a trigger."""
        clean = self._draw(self.test_rows, self.seed + 1)
        return clean + triggered(clean, vocab=self.shape.vocab, seed=self.seed)

    def _draw(self, count: int, seed: int) -> list[TokenRow]:
        if isinstance(self.rows, Path):
            return rows_from(self.rows, count, vocab=self.shape.vocab, seed=seed)
        return rows_like(self.rows, count, vocab=self.shape.vocab, seed=seed)

    def jobs(self, round: int = 1) -> list[ClientJob]:
        """What each client is to do."""
        each, start = self.rows_each, self.start
        shards = [self.train_rows[client * each : (client + 1) * each] for client in range(self.clients)]
        return [ClientJob(client, round, rows, start) for client, rows in enumerate(shards)]

    def engine(self, model: PreTrainedModel) -> FusedEngine:
        """The fused engine for these clients."""
        return FusedEngine(network_for(model, self.layout), self.training, seed=self.seed)

    def batches(self, round: int = 1) -> list[list[list[TokenRow]]]:
        """Each client's batches of a round, in the order that the fused engine takes them."""
        return [job.batches(self.training, self.seed) for job in self.jobs(round)]
