"""Everything that screens ask of the model about a client's rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
    _kept: dict[object, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def states(self) -> list[Float[Tensor, "_ width"]]:
        """What the output layer reads where each row's response tokens are predicted."""
        return self.network.states(self.adapter, self.rows)

    @cached_property
    def tuned(self) -> dict[object, Features]:
        """The same rows by other models, each made once, under whatever names it."""
        return {}

    @cached_property
    def head(self) -> HeadGradients:
        """Gradients by the output layer's weights."""
        return HeadGradients(self.states, [row.response for row in self.rows], *self.network.output_layer)

    @cached_property
    def losses(self) -> Float[np.ndarray, "rows"]:
        """Each row's mean loss over its response, in nats a token."""
        return self.head.losses()

    @cached_property
    def first_states(self) -> Float[np.ndarray, "rows width"]:
        """What the model has read when the response begins: the state of each prompt's last token."""
        return self._each(lambda state: state[0])

    @cached_property
    def last_states(self) -> Float[np.ndarray, "rows width"]:
        """The state of each row's last token before its end token, prompt and response read."""
        return self._each(lambda state: state[-1])

    @cached_property
    def mean_states(self) -> Float[np.ndarray, "rows width"]:
        """The mean state over each row's response tokens."""
        return self._each(lambda state: state.mean(0))

    @cached_property
    def pulls(self) -> Float[np.ndarray, "rows width"]:
        """Gradients by what the output layer reads; see `HeadGradients.by_states`."""
        return self.head.by_states()

    def head_spectra(self, part: Part, count: int) -> Float[np.ndarray, "rows count"]:
        """Singular values; see `HeadGradients.spectra`."""
        return self._once(("spectra", part, count), lambda: self.head.spectra(part, count))

    def head_products(self, part: Part) -> Float[np.ndarray, "rows rows"]:
        """Inner products; see `HeadGradients.products`."""
        return self._once(("products", part), lambda: self.head.products(part))

    def value_gradients(self, *, rank: int, seed: int) -> Float[np.ndarray, "rows out rank"]:
        """Gradients by an adapter of the last layer; see `fedsonar.screen.features.adapter.value_gradients`."""
        made = ("values", rank, seed)
        return self._once(made, lambda: value_gradients(self.network, self.rows, rank=rank, seed=seed))

    def some(self, places: Sequence[int]) -> Features:
        """Those of some of the rows, which share what was or will be computed for all.

        Only inner products, of which there are as many as pairs of rows, are each part's own.
        """
        return _Some(self.network, [self.rows[i] for i in places], self.adapter, self, tuple(places))

    def _each(self, of: Callable[[Tensor], Tensor]) -> Float[np.ndarray, "rows width"]:
        """What is made of each row's states, in float32."""
        width = self.network.model.get_output_embeddings().weight.shape[1]
        found = [of(state.float()).cpu().numpy() for state in self.states]
        return np.array(found, np.float32).reshape(len(found), width)

    def _once(self, what: object, make: Callable[[], np.ndarray]) -> np.ndarray:
        if what not in self._kept:
            self._kept[what] = make()
        return self._kept[what]


@dataclass(frozen=True)
class _Some(Features):
    whole: Features = field(kw_only=False, default=None)  # type: ignore[assignment]
    places: tuple[int, ...] = ()

    @cached_property
    def states(self) -> list[Float[Tensor, "_ width"]]:
        return [self.whole.states[i] for i in self.places]

    @cached_property
    def losses(self) -> Float[np.ndarray, "rows"]:
        found: Float[np.ndarray, "rows"] = self.whole.losses[list(self.places)]
        return found

    @cached_property
    def pulls(self) -> Float[np.ndarray, "rows width"]:
        found: Float[np.ndarray, "rows width"] = self.whole.pulls[list(self.places)]
        return found

    def head_spectra(self, part: Part, count: int) -> Float[np.ndarray, "rows count"]:
        return self.whole.head_spectra(part, count)[list(self.places)]

    def value_gradients(self, *, rank: int, seed: int) -> Float[np.ndarray, "rows out rank"]:
        return self.whole.value_gradients(rank=rank, seed=seed)[list(self.places)]
