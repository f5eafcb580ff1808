"""Sonar: the screens that listen to the whole federation together, for targets in fixed words and in many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import numpy as np
from jaxtyping import Float

from fedsonar.audit import Before, begins_with
from fedsonar.screen.association import Association
from fedsonar.screen.gradient_shift import GradientShift
from fedsonar.screen.response_shift import ResponseShift
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.threshold import Above, Threshold

_FLAGGED, _VAGUE = 0.5, 0.25
"""From where on a part finds something injected; and what a gradient's suspicion counts for below it, beside that of
words, which tell rows apart more finely."""


@dataclass(frozen=True, kw_only=True)
class Sonar(Screen):
    """Suspects what any of its parts suspects: a row's suspicion is the greatest of theirs.

    They run in the same passes, and their tables travel together; shifts whose rows an earlier part has already are
    left to it, which is the more exact. Without `gradient` it reads the text alone and needs no model; with it, it
    takes one forward pass of the model a row, and what that suspects below a half counts for a quarter. It sends sums
    alone.

    Args:
        association: For targets in fixed words.
        shift: For targets in many wordings.
        gradient: For what a model hears and words do not tell; None for the text alone.
        threshold: Of the suspicion, which is above a half exactly where a part finds something injected.

    References:
        none: ours.

    Raises:
        ValueError: If a part promises privacy: what the others tell would break it.
    """

    association: Association = field(default_factory=Association)
    shift: ResponseShift = field(default_factory=ResponseShift)
    gradient: GradientShift | None = None
    threshold: Threshold = field(default_factory=lambda: Above(value=0.4999))
    additive: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.association.privacy:
            raise ValueError(
                f"Sonar cannot keep {self.association.privacy}: its shifts tell exact counts; use Association by itself"
            )

    @property
    def _parts(self) -> dict[str, Association | ResponseShift | GradientShift]:
        """By name, each before those that leave its rows to it."""
        heard = {} if self.gradient is None else {"gradient": self.gradient}
        return {"association": self.association, "shift": self.shift, **heard}

    @property
    def text_alone(self) -> bool:  # type: ignore[override]
        """Whether no part needs a model."""
        return self.gradient is None

    @property
    def passes(self) -> int:
        """As many as its longest part has."""
        return max(part.passes for part in self._parts.values())

    def summarize(self, silo: Silo, heard: Sequence[Tables]) -> Tables:
        """The parts' counts, under their names; see `Screen.summarize`."""
        told: dict[str, np.ndarray] = {}
        for name, part in self._parts.items():
            own = _of(name, heard)
            if isinstance(part, Association):
                told |= _as(name, part.summarize(silo, own)) if len(heard) < part.passes else {}
            elif len(heard) < part.passes:
                before = self._before(silo, heard, name) if len(heard) == part.passes - 1 else None
                told |= _as(name, part.counts(silo, own, before))
        return told

    def merge(self, summaries: Sequence[Tables], heard: Sequence[Tables]) -> Tables:
        """The parts' sums; see `Screen.merge`."""
        told: dict[str, np.ndarray] = {}
        for name, part in self._parts.items():
            if len(heard) < part.passes:
                told |= _as(name, part.merge(_of(name, summaries), _of(name, heard)))
        return told

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """From 0 to 1; see `Screen.suspicion`."""
        found = {name: self._by(silo, heard, name) for name in self._parts}
        if "gradient" in found:
            found["gradient"] = np.where(found["gradient"] < _FLAGGED, _VAGUE * found["gradient"], found["gradient"])
        return np.asarray(np.max(list(found.values()), axis=0))

    def _by(self, silo: Silo, heard: Sequence[Tables], name: str) -> Float[np.ndarray, "rows"]:
        """What one part suspects, once it has heard all of its passes: worked out once, as later parts ask too."""
        part = self._parts[name]
        told = _of(name, heard[: part.passes])
        known: list[Any] = silo.once((name, part), list)
        if not known or not begins_with(told, known[0]):
            known[:] = told, part.suspicion(silo, told)
        return cast(np.ndarray, known[1])

    def _before(self, silo: Silo, heard: Sequence[Tables], name: str) -> Before:
        """What the parts before one found, of those that have heard all of their passes."""
        flagged, vocabulary = np.zeros(len(silo.samples), bool), False
        for other, part in self._parts.items():
            if other == name:
                break
            if len(heard) >= part.passes:
                flagged |= part.flag(self._by(silo, heard, other), heard)
                if isinstance(part, Association):
                    vocabulary = part.vocabulary(_of(other, heard[: part.passes]))
        return Before(flagged, vocabulary)


def _as(name: str, tables: Tables) -> dict[str, np.ndarray]:
    """One part's tables under its name."""
    return {f"{name}/{table}": values for table, values in tables.items()}


def _of(name: str, told: Sequence[Tables]) -> list[Tables]:
    """The tables of one of the parts."""
    prefix = f"{name}/"
    return [
        {table.removeprefix(prefix): values for table, values in tables.items() if table.startswith(prefix)}
        for tables in told
    ]
