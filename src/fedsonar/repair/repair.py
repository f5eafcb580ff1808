"""What a repair is: a tuned model goes in, and an adapter or a way of answering comes out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

from jaxtyping import Float
from torch import Tensor

from fedsonar.data import TokenRow
from fedsonar.engine import ROOT, ClientJob, FusedEngine, Training
from fedsonar.model import Base, Network


class Answers(Protocol):
    """A way of answering; see `Network.answers`."""

    def __call__(
        self, adapter: Float[Tensor, "dim"], prompts: Sequence[Sequence[int]], *, limit: int, stops: frozenset[int],
        together: int = 128,
    ) -> list[list[int]]:  # fmt: skip
        """Answers in tokens, without the stop token, in the order of the prompts."""


@dataclass(frozen=True)
class Tuned:
    """A tuned model as the server has it after the last round, and what it may use on it.

    Args:
        network: The frozen base model, ready for adapters.
        base: Where that model came from.
        adapter: The tuned adapter.
        rows: Clean rows of the server's own, as many as the repair asked for; the model is never examined on them.
        training: How the federation's clients trained.
        seed: The experiment's seed.
        pass_tokens: Most positions of a training pass; see `Network.add_gradients`.
        freeze_a: Whether the adapters' A stays as it was drawn.
    """

    network: Network
    base: Base
    adapter: Float[Tensor, "dim"]
    rows: Sequence[TokenRow]
    training: Training
    seed: int = 0
    pass_tokens: int = 0
    freeze_a: bool = False

    @cached_property
    def model(self) -> Any:
        """The base model with transformers' own forward pass, through which gradients reach every layer."""
        from transformers import PreTrainedModel

        model = self.network.model
        return model if isinstance(model, PreTrainedModel) else self.base.model()

    def job(self, adapter: Float[Tensor, "dim"]) -> ClientJob:
        """The work of training `adapter` on the clean rows."""
        return ClientJob(ROOT, 0, self.rows, adapter)

    def trained(self, adapter: Float[Tensor, "dim"], epochs: int) -> Float[Tensor, "dim"]:
        """The adapter after so many epochs on the clean rows, trained as clients train; without epochs, itself."""
        if epochs == 0:
            return adapter
        engine = FusedEngine(
            self.network, replace(self.training, epochs=epochs), seed=self.seed, pass_tokens=self.pass_tokens,
            freeze_a=self.freeze_a,
        )  # fmt: skip
        return adapter + engine.train_round([self.job(adapter)])[0].delta


@dataclass(frozen=True)
class Repaired:
    """What comes out of a repair.

    Args:
        adapter: The adapter to use from now on; the tuned one itself where weights stay.
        answers: How to answer from now on; None for greedy answers as before.
    """

    adapter: Float[Tensor, "dim"]
    answers: Answers | None = None


class Repair(ABC):
    """Acts at the server once the last round is over, knowing nothing of poison. Repairs are frozen dataclasses."""

    clean_rows: int = 0
    """Clean rows that the server takes for it out of the test rows; the model is then examined on the others."""

    @abstractmethod
    def apply(self, tuned: Tuned) -> Repaired:
        """The repaired model; `tuned` stays as it is."""


def check_share(repair: Repair, name: str, value: float) -> None:
    """Returns when a parameter is a share.

    Raises:
        ValueError: If it is not in [0, 1].
    """
    if not 0 <= value <= 1:
        raise ValueError(f"{type(repair).__name__} needs {name} in [0, 1], got {value}")


def check_rows(repair: Repair, epochs: int, *, least_epochs: int = 0) -> None:
    """Returns when there are clean rows for the epochs on them.

    Raises:
        ValueError: If there are none, or too few epochs.
    """
    kind = type(repair).__name__
    if epochs < least_epochs:
        raise ValueError(f"{kind} needs epochs >= {least_epochs}, got {epochs}")
    if repair.clean_rows < 0 or (epochs and not repair.clean_rows):
        raise ValueError(f"{kind} trains {epochs} epochs on clean rows of the server's: set clean_rows to 1 or more, "
                         f"got {repair.clean_rows}")  # fmt: skip
