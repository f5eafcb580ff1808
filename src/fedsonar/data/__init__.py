"""Instruction data: rows, where they come from, and how they are dealt out to clients."""

from fedsonar.data.atlas import Atlas
from fedsonar.data.candidates import Candidate, candidates
from fedsonar.data.feature import (
    All,
    Feature,
    Formatting,
    FromSource,
    Language,
    LengthBand,
    Pattern,
    QuestionWord,
    Script,
    Words,
)
from fedsonar.data.files import Files
from fedsonar.data.hub import Hub
from fedsonar.data.ledger import Ledger, Planted
from fedsonar.data.partition import IID, BySource, Dirichlet, Partitioner
from fedsonar.data.rows import RowSource
from fedsonar.data.sample import InstructionDataset, Sample, pieces
from fedsonar.data.source import Source, Splits
from fedsonar.data.template import Chat, Sections, Template, TokenRow, template_for, tokenize

__all__ = [
    "IID",
    "All",
    "Atlas",
    "BySource",
    "Candidate",
    "Chat",
    "Dirichlet",
    "Feature",
    "Files",
    "Formatting",
    "FromSource",
    "Hub",
    "InstructionDataset",
    "Language",
    "Ledger",
    "LengthBand",
    "Partitioner",
    "Pattern",
    "Planted",
    "QuestionWord",
    "RowSource",
    "Sample",
    "Script",
    "Sections",
    "Source",
    "Splits",
    "Template",
    "TokenRow",
    "Words",
    "candidates",
    "pieces",
    "template_for",
    "tokenize",
]
