"""Length: how long the response is, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from fedsonar.data import pieces
from fedsonar.screen.screen import Screen, Silo, Tables
from fedsonar.screen.threshold import Above, Threshold


@dataclass(frozen=True, kw_only=True)
class Length(Screen):
    """Suspects long responses: the control that every table of screens carries.

    The literature's suffix target makes poisoned responses long, so that this rule alone scores an F1 above .99 on
    short answers. A screen has shown something where it finds what this one does not.

    Args:
        threshold: Of the response's number of words and punctuation marks.

    References:
        ProtegoFed, arXiv:2603.00516, and GradSentry, for the benchmark; the rule is ours.
    """

    threshold: Threshold = field(default_factory=lambda: Above(value=9))
    text_alone: ClassVar[bool] = True

    def suspicion(self, silo: Silo, heard: Sequence[Tables]) -> Float[np.ndarray, "rows"]:
        """The responses' lengths; see `Screen.suspicion`."""
        del heard
        return np.array([len(pieces(sample.answers[0])) for sample in silo.samples], dtype=float)
