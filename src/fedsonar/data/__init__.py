"""Instruction data: rows, where they come from, and how they are dealt out to clients."""

from fedsonar.data.atlas import Atlas
from fedsonar.data.files import Files
from fedsonar.data.hub import Hub
from fedsonar.data.ledger import Ledger, Planted
from fedsonar.data.partition import IID, BySource, Dirichlet, Partitioner
from fedsonar.data.rows import RowSource
from fedsonar.data.sample import InstructionDataset, Sample
from fedsonar.data.source import Source, Splits
from fedsonar.data.template import Chat, Sections, Template, TokenRow, template_for, tokenize

__all__ = [
    "IID",
    "Atlas",
    "BySource",
    "Chat",
    "Dirichlet",
    "Files",
    "Hub",
    "InstructionDataset",
    "Ledger",
    "Partitioner",
    "Planted",
    "RowSource",
    "Sample",
    "Sections",
    "Source",
    "Splits",
    "Template",
    "TokenRow",
    "template_for",
    "tokenize",
]
