"""What trains and answers: a frozen model with an adapter for each client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from fedsonar.data.template import TokenRow
from fedsonar.model.foreign import PreTrainedModel
from fedsonar.model.layout import Layout
from fedsonar.model.pieces import wide
from fedsonar.model.stack import AdapterStack, Factors, alone
from fedsonar.model.tree import (
    TREE_TOKENS,
    PackedBatch,
    TokenTree,
    lay_out,
    rows_together,
    side_by_side,
    tokens_per_pass,
)

if TYPE_CHECKING:
    from fedsonar.model.skeleton import Skeleton

_MULTIPLE = 8
"""Sequences are padded to a multiple of this: few different shapes, which libraries of products prepare once each."""


class Network(ABC):
    """A frozen model with an adapter of its own for each client.

    Args:
        model: Frozen base model.
        layout: The adapters' layout in it.
    """

    def __init__(self, model: PreTrainedModel | Skeleton, layout: Layout) -> None:
        self.model: Any = model
        self.layout = layout
        self.positions = 0
        """Positions that went through in training so far, padding included."""

    @abstractmethod
    def add_gradients(
        self, stack: AdapterStack, batches: Sequence[Sequence[TokenRow]], *, pass_tokens: int = 0
    ) -> Float[Tensor, "clients"]:
        """Adds the gradient of each client's loss to the stack, and returns the losses.

        A client's loss is the mean over the response tokens of its batch, in nats.

        Args:
            stack: Adapters; the first of them belong to the batches, in their order.
            batches: Each client's rows.
            pass_tokens: Most positions that go through the model at a time, which bounds memory; 0 takes what is fast.
        """

    @abstractmethod
    def states(self, adapter: Float[Tensor, "dim"] | None, rows: Sequence[TokenRow]) -> list[Float[Tensor, "_ width"]]:
        """What the output layer reads where each row's response tokens are predicted, in the order of the rows.

        Args:
            adapter: The one in the model; None for the base model alone.
            rows: One at least of each has a response.
        """

    @cached_property
    def output_layer(self) -> tuple[Float[Tensor, "vocabulary width"], Float[Tensor, "vocabulary"] | None]:
        """Its weight and bias in the type in which sums are made: of a model in a narrower one a single copy."""
        layer = self.model.get_output_embeddings()
        exact, bias = wide(layer.weight.dtype), getattr(layer, "bias", None)
        return layer.weight.to(exact), None if bias is None else bias.to(exact)

    @abstractmethod
    def on(self, layout: Layout) -> Network:
        """A network of the same kind on the same weights, for adapters of another layout."""

    @abstractmethod
    def answers(
        self, adapter: Float[Tensor, "dim"], prompts: Sequence[Sequence[int]], *, limit: int, stops: frozenset[int],
        together: int = 128,
    ) -> list[list[int]]:  # fmt: skip
        """Greedy answers in tokens, without the stop token, in the order of the prompts.

        Args:
            adapter: The one that answers.
            prompts: Token ids.
            limit: Most tokens of an answer.
            stops: Tokens that end an answer.
            together: Answers that are being given at any time, which bounds memory.
        """


class PaddedNetwork(Network):
    """A network on padded batches whose gradients PyTorch finds: works on every device, with every architecture."""

    trees: bool
    """Whether a sequence may hold a tree of several rows; else it holds one row."""

    @abstractmethod
    def losses(self, factors: Mapping[str, Factors], batch: PackedBatch) -> Float[Tensor, "sequences"]:
        """Each sequence's loss summed over its response tokens, in nats; 0 where it has none.

        Args:
            factors: Site name -> the factors of each sequence's adapter.
            batch: The sequences.
        """

    @abstractmethod
    def read(self, factors: Mapping[str, Factors], batch: PackedBatch) -> Float[Tensor, "sequences predictions width"]:
        """What the output layer reads where each sequence's response tokens are predicted.

        Args:
            factors: Site name -> the factors of the one adapter that is in the model.
            batch: The sequences.
        """

    @torch.no_grad()
    def states(self, adapter: Float[Tensor, "dim"] | None, rows: Sequence[TokenRow]) -> list[Float[Tensor, "_ width"]]:
        """Each row's states; see `Network.states`."""
        device = self.model.device
        values = torch.zeros(self.layout.dim) if adapter is None else adapter
        factors = alone(self.layout, values.to(device), self.model.dtype)
        trees = [
            TokenTree.of(group)
            for group in (
                rows_together(numbered(rows), TREE_TOKENS) if self.trees else [[row] for row in numbered(rows)]
            )
        ]
        found: dict[int, Tensor] = {}
        for chosen in side_by_side([len(tree.ids) for tree in trees], tokens_per_pass(device)):
            some = [trees[i] for i in chosen]
            states = self.read(factors, lay_out(some, 0, multiple=_MULTIPLE).to(device))
            for tree, read in zip(some, states, strict=True):
                found |= apart(tree, read[: len(tree.labels)], rows)
        return [found[place] for place in range(len(rows))]

    def add_gradients(
        self, stack: AdapterStack, batches: Sequence[Sequence[TokenRow]], *, pass_tokens: int = 0
    ) -> Float[Tensor, "clients"]:
        """Each client's loss, its gradient added to the stack; see `Network.add_gradients`.

        A client's rows, merged where they begin alike, lie beside those of other clients of similar length.
        """
        device, dtype = self.model.device, self.model.dtype
        counts = [sum(len(row.response) for row in rows) for rows in batches]
        parts = [
            (client, TokenTree.of(group))
            for client, rows in enumerate(batches)
            for group in (rows_together(rows, TREE_TOKENS) if self.trees else [[row] for row in rows])
        ]
        totals = stack.adapters.new_zeros(len(batches))
        for chosen in side_by_side([len(tree.ids) for _, tree in parts], pass_tokens or tokens_per_pass(device)):
            batch = lay_out([parts[i][1] for i in chosen], 0, multiple=_MULTIPLE).to(device)
            self.positions += batch.ids.numel()
            clients = torch.tensor([parts[i][0] for i in chosen], device=device)
            responses = torch.tensor([counts[parts[i][0]] for i in chosen], device=device)
            adapters = stack.take(clients, dtype)
            losses = self.losses(adapters.factors, batch) / responses
            adapters.backward(losses.sum())
            totals.index_add_(0, clients, losses.detach().to(totals.dtype))
        return totals


def numbered(rows: Sequence[TokenRow]) -> list[TokenRow]:
    """The rows with their places as ids."""
    return [TokenRow(str(place), row.prompt, row.response) for place, row in enumerate(rows)]


def apart(tree: TokenTree, states: Float[Tensor, "responses width"], rows: Sequence[TokenRow]) -> dict[int, Tensor]:
    """Place -> its row's part of what was found for a tree of `numbered` rows."""
    places = [int(name) for name in tree.names]
    parts = torch.split(states, [len(rows[place].response) for place in places])
    return {place: part.clone() for place, part in zip(places, parts, strict=True)}
