"""A screen's passes over a federation, whoever carries the summaries, and each client's verdict after them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from fedsonar.audit import summed
from fedsonar.errors import ConfigError
from fedsonar.screen.screen import Screen, Silo, Tables

Gather = Callable[[Sequence[Tables]], Sequence[Tables]]
"""Asks all clients for their summaries of the next pass, given what they heard so far; of an additive screen it may
give their sum alone, see `gathered`."""


@dataclass(frozen=True)
class Verdict:
    """What a screen says of one client's rows, in their order.

    Args:
        suspicion: More is worse, on the screen's own scale.
        flagged: Whether a row leaves training.
    """

    suspicion: Float[np.ndarray, "rows"]
    flagged: Bool[np.ndarray, "rows"]


def hear(screen: Screen, gather: Gather) -> list[Tables]:
    """What the server says after each of a screen's passes."""
    heard: list[Tables] = []
    for _ in range(screen.passes):
        heard.append(screen.merge(gather(heard), heard))
    return heard


def gathered(screen: Screen, summaries: Iterable[Tables]) -> list[Tables]:
    """All clients' summaries; of an additive screen their sum alone, so that one at a time needs room.

    Raises:
        ConfigError: If they are fewer than the screen needs.
    """
    count = 0

    def counted() -> Iterator[Tables]:
        nonlocal count
        for count, summary in enumerate(summaries, 1):  # noqa: B007
            yield summary

    found: list[Tables] = [summed(counted())] if screen.additive else list(counted())
    if count < screen.fewest:
        raise ConfigError(
            f"{type(screen).__name__} promises what the noise of {screen.fewest} clients keeps, and there are {count}: "
            f"set privacy.clients to {count} or fewer"
        )
    return found


def judge(screen: Screen, silo: Silo, heard: Sequence[Tables]) -> Verdict:
    """A client's verdict on its own rows; of a client without rows the screen is not asked.

    Raises:
        ValueError: If the screen gives another number of suspicions or flags than there are rows, a suspicion that is
            no number, or a flag that is neither true nor false.
    """
    if not silo.samples:
        return Verdict(np.zeros(0), np.zeros(0, bool))
    suspicion = np.asarray(screen.suspicion(silo, heard), np.float64)
    if suspicion.shape != (len(silo.samples),) or np.isnan(suspicion).any():
        raise ValueError(
            f"{type(screen).__name__} gives client {silo.client} suspicions of shape {suspicion.shape} with "
            f"{int(np.isnan(suspicion).sum())} nan for its {len(silo.samples)} rows"
        )
    flagged = np.asarray(screen.flag(suspicion, heard))
    if flagged.shape != suspicion.shape or flagged.dtype != bool:
        raise ValueError(
            f"{type(screen).__name__} gives client {silo.client} flags of shape {flagged.shape} and type "
            f"{flagged.dtype} for its {len(silo.samples)} rows; flag gives a bool a row"
        )
    return Verdict(suspicion, flagged)
