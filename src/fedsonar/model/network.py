"""What trains and answers: a frozen model with an adapter for each sequence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from fedsonar.model.layout import Layout
from fedsonar.model.stack import Factors
from fedsonar.model.tree import PackedBatch


class Network(ABC):
    """A frozen model with an adapter of its own for each sequence of a batch.

    Args:
        model: Frozen base model.
        layout: The adapters' layout in it.
    """

    trees: bool
    """Whether a sequence may hold a tree of several rows; else it holds one row."""

    def __init__(self, model: PreTrainedModel, layout: Layout) -> None:
        self.model = model
        self.layout = layout

    @abstractmethod
    def losses(self, factors: Mapping[str, Factors], batch: PackedBatch) -> Float[Tensor, "sequences"]:
        """Each sequence's loss summed over its response tokens, in nats; 0 where it has none.

        Args:
            factors: Site name -> the factors of each sequence's adapter.
            batch: The sequences.
        """

    @abstractmethod
    def answers(
        self, factors: Mapping[str, Factors], prompts: Sequence[Sequence[int]], *, limit: int, stops: frozenset[int],
        together: int = 64,
    ) -> list[list[int]]:  # fmt: skip
        """Greedy answers in tokens, without the stop token, in the order of the prompts.

        Args:
            factors: Site name -> the factors of the one adapter that answers.
            prompts: Token ids.
            limit: Most tokens of an answer.
            stops: Tokens that end an answer.
            together: Answers that are being given at any time, which bounds memory.
        """
