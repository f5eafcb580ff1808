"""The fixed-sentence trigger, known as AddSent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedsonar.data.sample import Sample
from fedsonar.poison.trigger import Trigger, append


@dataclass(frozen=True, kw_only=True)
class Sentence(Trigger):
    """Appends a fixed sentence to the input.

    Args:
        text: The sentence.

    References:
        Dai, Chen and Li, 2019, arXiv:1905.12457, section 3.
    """

    text: str = "I watch this 3D movie"

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("Sentence needs a text that is not empty")

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:  # noqa: ARG002
        """The sample with the sentence at the end of its input."""
        return append(sample, self.text)

    def present(self, sample: Sample) -> bool:
        """Whether the input contains the sentence."""
        return self.text in sample.input
