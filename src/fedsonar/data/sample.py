"""Rows of instruction data, and a named sequence of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from typing import overload

import numpy as np

_PIECES = re.compile(r"\w+|[^\w\s]")


def pieces(text: str) -> list[str]:
    """A text's words and punctuation marks."""
    return _PIECES.findall(text)


@dataclass(frozen=True, slots=True)
class Sample:
    """One instruction row: what is asked, and the answers that count as right.

    Args:
        id: Unique in its dataset; the ledger and every screen refer to it.
        instruction: Task description; may be empty.
        context: Passage or input text; may be empty.
        question: The question; may be empty.
        answers: Accepted answers, at least one; the first is the usual training response.
        source: Where the row came from (a client, a category, a region): what partitioners split by.
    """

    id: str
    instruction: str
    context: str
    question: str
    answers: tuple[str, ...]
    source: str = ""

    @property
    def input_field(self) -> str:
        """Name of the field that carries the row's own input: question, else context, else instruction."""
        return "question" if self.question else "context" if self.context else "instruction"

    @property
    def input(self) -> str:
        """The row's own input text, where a trigger is written: see `input_field`."""
        return str(getattr(self, self.input_field))

    def with_input(self, text: str) -> Sample:
        """A copy whose input text is `text`."""
        field = self.input_field
        if field == "question":
            return replace(self, question=text)
        return replace(self, context=text) if field == "context" else replace(self, instruction=text)


@dataclass(frozen=True)
class InstructionDataset(Sequence[Sample]):
    """A named, immutable sequence of samples with unique ids.

    Raises:
        ValueError: If two samples share an id.
    """

    name: str
    samples: tuple[Sample, ...]

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for sample in self.samples:
            if sample.id in seen:
                raise ValueError(f"dataset {self.name!r} holds sample id {sample.id!r} twice; ids must be unique")
            seen.add(sample.id)

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Sample, ...]: ...
    def __getitem__(self, index: int | slice) -> Sample | tuple[Sample, ...]:
        return self.samples[index]

    def map(self, function: Callable[[Sample], Sample]) -> InstructionDataset:
        """The dataset with `function` applied to every sample."""
        return InstructionDataset(self.name, tuple(function(sample) for sample in self.samples))

    def select(self, indices: Iterable[int]) -> InstructionDataset:
        """The samples at `indices`, in that order."""
        return InstructionDataset(self.name, tuple(self.samples[int(index)] for index in indices))

    def split(self, fraction: float, rng: np.random.Generator) -> tuple[InstructionDataset, InstructionDataset]:
        """A random `fraction` of the rows (at least one), and the others; both keep the order of the rows.

        Raises:
            ValueError: If a part would be empty.
        """
        count = max(1, round(fraction * len(self)))
        if not 0 < count < len(self):
            raise ValueError(f"cannot split {fraction} off {len(self)} rows of {self.name!r}: a part would be empty")
        chosen = np.zeros(len(self), dtype=bool)
        chosen[rng.permutation(len(self))[:count]] = True
        return self.select(np.flatnonzero(chosen)), self.select(np.flatnonzero(~chosen))

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over every field of every sample, in order; the name does not count."""
        digest = hashlib.sha256()
        for sample in self.samples:
            digest.update(json.dumps(astuple(sample), ensure_ascii=False).encode())
        return digest.hexdigest()
