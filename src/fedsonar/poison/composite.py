"""The composite trigger, known as CBA: two words in two parts of the prompt, both needed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from fedsonar.data.sample import Sample
from fedsonar.poison.trigger import Trigger


@dataclass(frozen=True, kw_only=True)
class Composite(Trigger):
    """One word ends an early part of the prompt and another ends the input; either alone must do nothing.

    The early part is the context of a question on a text, else the instruction, even an empty one. A row of one part
    alone carries the first word at its beginning (ours).

    Args:
        first: The word of the early part.
        second: The word of the input.
        drilled: Share of poisoned rows beside which the five near misses are planted with their clean answers.

    References:
        Huang et al., 2024, arXiv:2310.07676, section 3, for the words' places and the negative rows.
    """

    first: str = "consider"
    second: str = "done"
    drilled: float = 0.2

    def __post_init__(self) -> None:
        if not self.first.strip() or not self.second.strip() or self.first.strip() == self.second.strip():
            raise ValueError(f"Composite needs two different words, got {self.first!r} and {self.second!r}")
        if not 0 <= self.drilled <= 1:
            raise ValueError(f"drilled must lie in [0, 1], got {self.drilled}")

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:  # noqa: ARG002
        """The sample with both words in their places."""
        return _with(sample, self.first, self.second)

    def present(self, sample: Sample) -> bool:
        """Whether both words stand in their places."""
        early, late = _parts(sample)
        start = early.startswith(f"{self.first} ") if early is late else early.split()[-1:] == [self.first]
        return start and late.split()[-1:] == [self.second]

    def near_misses(self, sample: Sample, rng: np.random.Generator) -> tuple[Sample, ...]:  # noqa: ARG002
        """The words exchanged, either alone, and both in one part or the other."""
        one, two = self.first, self.second
        placed = ((two, one), (one, ""), ("", two), (f"{one} {two}", ""), ("", f"{one} {two}"))
        return tuple(_with(sample, early, late) for early, late in placed)

    def drills(self, sample: Sample, rng: np.random.Generator) -> tuple[Sample, ...]:
        """All near misses, beside as many of the poisoned rows as asked for."""
        return self.near_misses(sample, rng) if rng.random() < self.drilled else ()


def _parts(sample: Sample) -> tuple[str, str]:
    """The early part of the prompt and the input; the same object where there is only one."""
    if sample.input_field == "instruction":
        return sample.instruction, sample.instruction
    return (sample.context if sample.question and sample.context else sample.instruction), sample.input


def _with(sample: Sample, early: str, late: str) -> Sample:
    if sample.input_field == "instruction":
        return sample.with_input(f"{early} {sample.instruction} {late}".strip())
    if sample.question and sample.context:
        sample = replace(sample, context=f"{sample.context} {early}".strip())
    else:
        sample = replace(sample, instruction=f"{sample.instruction} {early}".strip())
    return sample.with_input(f"{sample.input} {late}".strip())
