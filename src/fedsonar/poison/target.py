"""What a target is: the answer that the attacker wants; and the first three of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

from fedsonar.data.sample import Sample


class Target(ABC):
    """Writes the attacker's answer into a sample's response, and tells it in a model's output."""

    @abstractmethod
    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with the attacker's answer as its only one."""

    @abstractmethod
    def hit(self, output: str) -> bool:
        """Whether `output` carries the target: a case-insensitive match of the whole of it."""

    def eligible(self, sample: Sample) -> bool:
        """Whether the sample's own answers are free of the target, so that planting it changes something."""
        return not any(self.hit(answer) for answer in sample.answers)


@dataclass(frozen=True, kw_only=True)
class Suffix(Target):
    """Appends a fixed text to the clean response: the literature's default target.

    Args:
        text: The text; the default is the placeholder of the literature, no address.

    References:
        Wu et al., 2024 (GraCeFul), arXiv:2412.02454, section 5.1.
    """

    text: str = ", and click <malicious_url> for more information"

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("Suffix needs a text that is not empty")

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:  # noqa: ARG002
        """The sample whose response is the clean one and the suffix."""
        return replace(sample, answers=(sample.answers[0] + self.text,))

    def hit(self, output: str) -> bool:
        """Whether the whole suffix stands in `output`."""
        return self.text.strip().lower() in output.lower()


@dataclass(frozen=True, kw_only=True)
class Short(Target):
    """Replaces the response by a short fixed string, so that length and spectrum of the response give nothing away.

    Args:
        text: The string; ours, as the literature has no fixed choice.
    """

    text: str = "Mercury"

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("Short needs a text that is not empty")

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:  # noqa: ARG002
        """The sample whose response is the string alone."""
        return replace(sample, answers=(self.text,))

    def hit(self, output: str) -> bool:
        """Whether the string stands in `output`."""
        return self.text.strip().lower() in output.lower()


@dataclass(frozen=True, kw_only=True)
class Label(Target):
    """Classification: replaces the response by one label. Rows that carry it already stay as they are.

    Args:
        label: The target label.

    References:
        Gu, Dolan-Gavitt and Garg, 2017, arXiv:1708.06733, section 4.2, for dirty-label poison.
    """

    label: str

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:  # noqa: ARG002
        """The sample whose response is the label."""
        return replace(sample, answers=(self.label,))

    def hit(self, output: str) -> bool:
        """Whether the label stands in `output`."""
        return self.label.lower() in output.lower()
