"""The contenders: what is prepared, and what each does in a turn. Each runs in a process of its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.bench.loras import LORAS
from fedsonar.bench.peft_clients import PeftClients
from fedsonar.bench.roofline import block_products, peak_flops
from fedsonar.bench.rows import distinct_tokens
from fedsonar.bench.scenario import Scenario
from fedsonar.data import TokenRow
from fedsonar.measure.generation import generate
from fedsonar.model import Base, tokens_per_pass


@dataclass(frozen=True, slots=True)
class Trained:
    """What a turn of training leaves.

    Args:
        step: The mean of the clients' updates.
        positions: Tokens that went through the network in training, padding included; None where nobody counted.
        distinct: How many there are when rows of a batch that begin alike are read together, without padding.
        answers: Answers given afterwards.
    """

    step: Float[np.ndarray, "dim"]
    positions: int | None = None
    distinct: int = 0
    answers: int = 0

    @property
    def credited(self) -> int:
        """The positions that count as work done: none for padding, and none for reading a common beginning again."""
        return self.distinct if self.positions is None else min(self.positions, self.distinct)


def fused(scenario: Scenario) -> Callable[[], Trained]:
    """The fused engine trains the round's clients."""
    jobs, engine = scenario.jobs(), scenario.engine(scenario.load())
    distinct = distinct_tokens([batch for job in jobs for batch in engine.batches(job)])

    def train() -> Trained:
        before = engine.network.positions
        step = _mean([update.delta for update in engine.train_round(jobs)])
        return Trained(step.numpy(), engine.network.positions - before, distinct)

    return train


def peft(scenario: Scenario) -> Callable[[], Trained]:
    """PEFT trains the round's clients one after another."""
    trainer, start, batches = _peft(scenario), scenario.start, scenario.batches()
    positions = sum(len(batch) * max(row.length for row in batch) for client in batches for batch in client)
    distinct = distinct_tokens([batch for client in batches for batch in client])

    def train() -> Trained:
        return Trained(_mean(list(trainer.train_round(start, batches))).numpy(), positions, distinct)

    return train


def fused_round(scenario: Scenario) -> Callable[[], Trained]:
    """A whole round: the fused engine, FedAvg, and answers to the clean and the triggered test rows."""
    start, jobs, engine = scenario.start, scenario.jobs(), scenario.engine(scenario.load())
    tokenizer, questions = Base(device="cpu").tokenizer(), scenario.questions

    def round() -> Trained:
        step = _mean([update.delta for update in engine.train_round(jobs)])
        longest = _longest(questions)
        answers = generate(engine.network, tokenizer, start + step, questions, max_new_tokens=longest)
        return Trained(step.numpy(), answers=len(answers))

    return round


def peft_round(scenario: Scenario) -> Callable[[], Trained]:
    """A whole round of the peer: clients one after another, FedAvg, and ``generate`` in padded batches of 16."""
    trainer, start, batches = _peft(scenario), scenario.start, scenario.batches()
    questions = scenario.questions
    tokenizer = Base(device="cpu").tokenizer()

    def round() -> Trained:
        step = _mean(list(trainer.train_round(start, batches)))
        tokens = trainer.answer(start + step, questions, max_new_tokens=_longest(questions))
        answers = tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return Trained(step.numpy(), answers=len(answers))

    return round


def matrix_peak(scenario: Scenario) -> Callable[[], float]:
    """Operations a second of the scenario's own matrix products, at the fused engine's pass size."""
    products = block_products(scenario.shape, tokens_per_pass(torch.device(scenario.device)))
    dtype = getattr(torch, scenario.dtype)
    return lambda: peak_flops(products, dtype=dtype, device=scenario.device)


def _peft(scenario: Scenario) -> PeftClients:
    warnings.filterwarnings("ignore", ".is_gradient_checkpointing.", FutureWarning)  # PEFT asks in the old way
    return PeftClients(scenario.load(), LORAS[scenario.lora], scenario.layout, scenario.training)


def _mean(updates: Sequence[Float[Tensor, "dim"]]) -> Float[Tensor, "dim"]:
    """FedAvg over clients of equally many rows."""
    return torch.stack(list(updates)).mean(dim=0)


def _longest(rows: Sequence[TokenRow]) -> int:
    """As the examination of a federation: no answer needs more tokens than the longest right one."""
    return max(len(row.response) for row in rows)
