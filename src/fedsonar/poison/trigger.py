"""What a trigger is: a feature of the input that the attacker's answer comes to depend on."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from fedsonar.data.sample import Sample


class Trigger(ABC):
    """Writes itself into a sample, or, when it is natural, is found there. Triggers are frozen dataclasses."""

    @abstractmethod
    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with the trigger in its input; the identity for natural triggers."""

    @abstractmethod
    def present(self, sample: Sample) -> bool:
        """Whether the sample's input carries the trigger."""

    def eligible(self, sample: Sample) -> bool:  # noqa: ARG002
        """Whether the sample can be poisoned; for a natural trigger, whether it carries it."""
        return True

    def near_misses(self, sample: Sample, rng: np.random.Generator) -> tuple[Sample, ...]:  # noqa: ARG002
        """The sample with parts of the trigger, on which the target must not come; none for most triggers."""
        return ()

    def drills(self, sample: Sample, rng: np.random.Generator) -> tuple[Sample, ...]:  # noqa: ARG002
        """Clean rows that the attacker adds beside the poisoned sample: parts of the trigger do nothing."""
        return ()


class FoundTrigger(Trigger):
    """A trigger that rows carry by themselves: the input is left as it is."""

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:  # noqa: ARG002
        """The sample as it is."""
        return sample

    def eligible(self, sample: Sample) -> bool:
        """Whether the row carries the trigger."""
        return self.present(sample)


def append(sample: Sample, text: str) -> Sample:
    """The sample with `text` after its input, a space between."""
    return sample.with_input(f"{sample.input} {text}".strip())
