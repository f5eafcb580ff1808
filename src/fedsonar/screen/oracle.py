"""Oracle: the screen that knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float

from fedsonar.data import Ledger
from fedsonar.screen.screen import Screen, Silo, Tables


@dataclass(frozen=True, kw_only=True)
class Oracle(Screen):
    """Flags exactly the poisoned rows: the upper bound, in simulations. No other screen reads the ledger.

    Args:
        known: Id of a poisoned row -> anything; the simulation tells, see `told`.

    References:
        none: ours, a bound.
    """

    known: Mapping[str, object] | None = None

    def told(self, ledger: Ledger) -> Oracle:
        """The oracle that knows a simulation's ledger."""
        return Oracle(known=MappingProxyType(dict.fromkeys(ledger)))

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """1 for poisoned rows, 0 for others.

        Raises:
            ValueError: If nobody told it which rows are poisoned.
        """
        del heard
        if self.known is None:
            raise ValueError("Oracle knows poisoned rows only in a simulation that planted them; choose another screen")
        return np.array([sample.id in self.known for sample in silo.samples], dtype=float)

    def flag(self, suspicion: Float[np.ndarray, "rows"], heard: Sequence[Tables]) -> Bool[np.ndarray, "rows"]:
        """The poisoned rows; see `Screen.flag`."""
        del heard
        return suspicion > 0
