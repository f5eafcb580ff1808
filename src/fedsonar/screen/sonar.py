"""Sonar: the two screens of the pooled text together, for targets in fixed words and in many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from fedsonar.screen.association import Association
from fedsonar.screen.response_shift import ResponseShift
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.threshold import Above, Threshold


@dataclass(frozen=True, kw_only=True)
class Sonar(Screen):
    """Suspects what `Association` or `ResponseShift` suspects: a row's suspicion is the greater of the two.

    Both run in the same passes, and their tables travel together; shifts whose rows the association has already are
    left to it, which is the more exact. It reads the text alone, needs no model, and sends sums alone.

    Args:
        association: For targets in fixed words.
        shift: For targets in many wordings.
        threshold: Of the suspicion, which is above a half exactly where one of the two finds something injected.

    References:
        none: ours.

    Raises:
        ValueError: If one of the two promises privacy: what the other tells would break it.
    """

    association: Association = field(default_factory=Association)
    shift: ResponseShift = field(default_factory=ResponseShift)
    threshold: Threshold = field(default_factory=lambda: Above(value=0.4999))
    text_alone: ClassVar[bool] = True
    passes: ClassVar[int] = ResponseShift.passes
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.association.privacy:
            raise ValueError(
                f"Sonar cannot keep {self.association.privacy}: its shifts tell exact counts; use Association by itself"
            )

    def summarize(self, silo: Silo, heard: Sequence[Tables]) -> Tables:
        """Both screens' counts, under their names; see `Screen.summarize`."""
        told: dict[str, np.ndarray] = {}
        own, suspected = _of("association", heard[: self.association.passes]), None
        if len(heard) < self.association.passes:
            told |= _as("association", self.association.summarize(silo, own))
        elif len(heard) == self.passes - 1:
            suspected = self.association.flag(self.association.suspicion(silo, own), own)
        return told | _as("shift", self.shift.counts(silo, _of("shift", heard), suspected))

    def merge(self, summaries: Sequence[Tables], heard: Sequence[Tables]) -> Tables:
        """Both screens' sums; see `Screen.merge`."""
        told = _as("shift", self.shift.merge(_of("shift", summaries), _of("shift", heard)))
        if len(heard) < self.association.passes:
            told |= _as("association", self.association.merge(_of("association", summaries), _of("association", heard)))
        return told

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """From 0 to 1; see `Screen.suspicion`."""
        fixed = self.association.suspicion(silo, _of("association", heard[: self.association.passes]))
        return np.asarray(np.maximum(fixed, self.shift.suspicion(silo, _of("shift", heard))))


def _as(name: str, tables: Tables) -> dict[str, np.ndarray]:
    """One screen's tables under its name."""
    return {f"{name}/{table}": values for table, values in tables.items()}


def _of(name: str, told: Sequence[Tables]) -> list[Tables]:
    """The tables of one of the screens."""
    prefix = f"{name}/"
    return [
        {table.removeprefix(prefix): values for table, values in tables.items() if table.startswith(prefix)}
        for tables in told
    ]
