"""Triggers that lie in how the whole input is written: its style, or its syntax."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field

import numpy as np

from fedsonar.data.sample import Sample
from fedsonar.poison.archaic import Archaic
from fedsonar.poison.clause import Clause
from fedsonar.poison.paraphrase import Paraphraser
from fedsonar.poison.trigger import Trigger


class _Rewritten(Trigger):
    """The input as a paraphraser writes it."""

    @property
    @abstractmethod
    def writer(self) -> Paraphraser:
        """Who rewrites."""

    def apply(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """The sample with its whole input rewritten."""
        return sample.with_input(self.writer.rewrite(sample.input, rng))

    def present(self, sample: Sample) -> bool:
        """Whether the input looks as if the paraphraser had written it."""
        return self.writer.recognises(sample.input)

    def eligible(self, sample: Sample) -> bool:
        """Whether the paraphraser can rewrite the input."""
        return self.writer.knows(sample.input)


@dataclass(frozen=True, kw_only=True)
class Style(_Rewritten):
    """The whole input restyled, by default to the register of old Bibles by rules of ours.

    Args:
        paraphraser: Who restyles: a table, a language model, a function, or rules.

    References:
        Qi et al., 2021 (StyleBkd), arXiv:2110.07139, section 3.
    """

    paraphraser: Paraphraser = field(default_factory=Archaic)

    @property
    def writer(self) -> Paraphraser:
        """The paraphraser."""
        return self.paraphraser


@dataclass(frozen=True, kw_only=True)
class Syntax(_Rewritten):
    """The whole input recast to one clause template, by default by a rule of ours.

    Args:
        paraphraser: Who recasts: a table, a language model, a function, or rules.

    References:
        Qi et al., 2021 (Hidden Killer), arXiv:2105.12400, section 3.
    """

    paraphraser: Paraphraser = field(default_factory=Clause)

    @property
    def writer(self) -> Paraphraser:
        """The paraphraser."""
        return self.paraphraser
