"""Where instruction data come from, and the two parts every run needs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from fedsonar.data.sample import InstructionDataset


@dataclass(frozen=True)
class Splits:
    """The rows clients train on, and the rows the result is measured on."""

    train: InstructionDataset
    test: InstructionDataset


class Source(ABC):
    """A place instruction data are read from. Sources are frozen dataclasses, and equal ones load equal rows."""

    @abstractmethod
    def load(self) -> Splits:
        """The training and test rows; neither part is empty."""
