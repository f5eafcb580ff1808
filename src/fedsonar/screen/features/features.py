"""Everything that screens ask of the base model about a client's rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from fedsonar.data import TokenRow
from fedsonar.model import Network


@dataclass(frozen=True)
class Features:
    """What the base model makes of rows; each kind is computed once, when it is first asked for.

    Args:
        network: The base model with its adapter sites.
        rows: A client's rows.
        adapter: The flat adapter in the model; None for the base model alone.
    """

    network: Network
    rows: Sequence[TokenRow]
    adapter: Float[Tensor, "dim"] | None = None
