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

    Both run in the same passes, and their tables travel together. It reads the text alone, needs no model, and sends
    sums alone.

    Args:
        association: For targets in fixed words.
        shift: For targets in many wordings.
        threshold: Of the suspicion, which is above a half exactly where one of the two finds something injected.

    References:
        none: ours.
    """

    association: Association = field(default_factory=Association)
    shift: ResponseShift = field(default_factory=ResponseShift)
    threshold: Threshold = field(default_factory=lambda: Above(value=0.4999))
    text_alone: ClassVar[bool] = True
    passes: ClassVar[int] = max(Association.passes, ResponseShift.passes)
    additive: ClassVar[bool] = True

    @property
    def _parts(self) -> dict[str, Association | ResponseShift]:
        return {"association": self.association, "shift": self.shift}

    def summarize(self, silo: Silo, heard: Sequence[Tables]) -> Tables:
        """Both screens' counts, under their names; see `Screen.summarize`."""
        return {
            f"{name}/{table}": values
            for name, part in self._parts.items()
            if len(heard) < part.passes
            for table, values in part.summarize(silo, _of(name, heard)).items()
        }

    def merge(self, summaries: Sequence[Tables], heard: Sequence[Tables]) -> Tables:
        """Both screens' sums; see `Screen.merge`."""
        return {
            f"{name}/{table}": values
            for name, part in self._parts.items()
            if len(heard) < part.passes
            for table, values in part.merge(_of(name, summaries), _of(name, heard[: part.passes])).items()
        }

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """From 0 to 1; see `Screen.suspicion`."""
        found = [part.suspicion(silo, _of(name, heard[: part.passes])) for name, part in self._parts.items()]
        return np.asarray(np.max(found, axis=0))


def _of(name: str, told: Sequence[Tables]) -> list[Tables]:
    """The tables of one of the screens."""
    prefix = f"{name}/"
    return [
        {table.removeprefix(prefix): values for table, values in tables.items() if table.startswith(prefix)}
        for tables in told
    ]
