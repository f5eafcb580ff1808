"""What a trigger is: a feature of the input that the attacker's answer comes to depend on."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from fedsonar.data.sample import Sample


class Trigger(ABC):
    """Writes itself into a sample, or, when it is natural, is found there."""

    @abstractmethod
    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with the trigger in its input; the identity for natural triggers."""

    @abstractmethod
    def present(self, sample: Sample) -> bool:
        """Whether the sample's input carries the trigger."""


def append(sample: Sample, text: str) -> Sample:
    """The sample with `text` after its input, a space between."""
    return sample.with_input(f"{sample.input} {text}".strip())
