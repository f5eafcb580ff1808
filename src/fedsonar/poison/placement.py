"""Where the poison lies: how many rows of which client."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


class Placement(ABC):
    """How many rows of each client are poisoned."""

    @abstractmethod
    def counts(self, sizes: Sequence[int], rng: np.random.Generator) -> Int[np.ndarray, "clients"]:
        """Poisoned rows for each client, given every client's number of rows."""


@dataclass(frozen=True, kw_only=True)
class ConstantRate(Placement):
    """A fraction of the clients is affected, and the same fraction of the rows is poisoned in each of those.

    The two dials are independent: poison concentrated in few clients and poison spread thin over all are equally many
    rows when ``affected * rate`` is equal.

    Args:
        affected: Fraction rho of the clients that hold poison, in [0, 1]; rounded to whole clients.
        rate: Fraction of an affected client's rows, in [0, 1]; rounded to whole rows.

    References:
        Zhao, Hu and Liu, 2026, arXiv:2602.15671.
    """

    affected: float = 1.0
    rate: float = 0.1

    def __post_init__(self) -> None:
        for name in ("affected", "rate"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"placement.{name} must lie in [0, 1], got {value}")

    def counts(self, sizes: Sequence[int], rng: np.random.Generator) -> Int[np.ndarray, "clients"]:
        """Poisoned rows for each client; warns where a rate above 0 rounds to none."""
        clients = math.floor(self.affected * len(sizes) + 0.5)
        chosen = rng.permutation(len(sizes))[:clients]
        counts = np.zeros(len(sizes), dtype=np.int64)
        for client in chosen:
            counts[client] = math.floor(self.rate * sizes[client] + 0.5)
        if self.affected > 0 and clients == 0:
            warnings.warn(
                f"affected {self.affected} of {len(sizes)} clients rounds to no client: nothing is poisoned",
                stacklevel=2,
            )
        empty = int((counts[chosen] == 0).sum())
        if self.rate > 0 and empty:
            least = 0.5 / max(sizes[client] for client in chosen if counts[client] == 0)
            warnings.warn(
                f"rate {self.rate} rounds to no poisoned row in {empty} of {clients} affected clients; "
                f"a rate of at least {least:.2g} is needed there",
                stacklevel=2,
            )
        return counts
