"""Everything that screens ask of the model about a client's rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from torch import Tensor

from fedsonar.data import TokenRow
from fedsonar.model import Network
from fedsonar.screen.features.adapter import value_gradients
from fedsonar.screen.features.head import HeadGradients, Part


@dataclass(frozen=True)
class Features:
    """What the model makes of rows: one forward pass for all, made when the first of them is asked for.

    Kept are what the output layer reads where response tokens are predicted, and what was asked for; nothing else
    grows with the number of rows.

    Args:
        network: The base model with its adapter sites.
        rows: A client's rows.
        adapter: The flat adapter in the model; None for the base model alone.
    """

    network: Network
    rows: Sequence[TokenRow]
    adapter: Float[Tensor, "dim"] | None = None

    @cached_property
    def states(self) -> list[Float[Tensor, "_ width"]]:
        """What the output layer reads where each row's response tokens are predicted."""
        return self.network.states(self.adapter, self.rows)

    @cached_property
    def head(self) -> HeadGradients:
        """Gradients by the output layer's weights."""
        layer = self.network.model.get_output_embeddings()
        responses = [row.response for row in self.rows]
        return HeadGradients(self.states, responses, layer.weight, getattr(layer, "bias", None))

    @cached_property
    def losses(self) -> Float[np.ndarray, "rows"]:
        """Each row's mean loss over its response, in nats a token."""
        return self.head.losses()

    @cached_property
    def first_states(self) -> Float[np.ndarray, "rows width"]:
        """What the model has read when the response begins: the state of each prompt's last token."""
        return np.stack([state[0].float().cpu().numpy() for state in self.states])

    @cached_property
    def last_states(self) -> Float[np.ndarray, "rows width"]:
        """The state of each row's last token before its end token, prompt and response read."""
        return np.stack([state[-1].float().cpu().numpy() for state in self.states])

    @cached_property
    def mean_states(self) -> Float[np.ndarray, "rows width"]:
        """The mean state over each row's response tokens."""
        return np.stack([state.float().mean(0).cpu().numpy() for state in self.states])

    def head_spectra(self, part: Part, count: int) -> Float[np.ndarray, "rows count"]:
        """Singular values; see `HeadGradients.spectra`."""
        return self.head.spectra(part, count)

    def head_products(self, part: Part) -> Float[np.ndarray, "rows rows"]:
        """Inner products; see `HeadGradients.products`."""
        return self.head.products(part)

    def value_gradients(self, *, rank: int, seed: int) -> Float[np.ndarray, "rows out rank"]:
        """Gradients by an adapter of the last layer; see `fedsonar.screen.features.adapter.value_gradients`."""
        return value_gradients(self.network, self.rows, rank=rank, seed=seed)
