"""The comparison table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from fedsonar.report.folder import read_runs
from fedsonar.report.tables import comparison_row

# The page's columns, named so that a row fits a terminal.
_HEADINGS = ("run", "rule", "ρ", "rate", "poisoned", "accuracy", "ASR", "false act.", "BSNR", "cum. BSNR")


def comparison_table(runs: Sequence[Path]) -> Table:
    """A compact table with one row a run: poison, clean accuracy, attack success and BSNR.

    Args:
        runs: Run folders, at least one.

    Raises:
        ValueError: If a folder is missing, incomplete or not a run's; names the folder and what is missing.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="left" if index < 2 else "right", overflow="fold")
    for run in read_runs(runs):
        # Text, because a plain string would have its [brackets] taken for markup.
        table.add_row(*map(Text, comparison_row(run)))
    return table
