"""The comparison table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from fedsonar.report.folder import read_runs
from fedsonar.report.tables import comparison_row

# The page's columns with their narrowest widths: a row fits 80 characters, and breaks before an interval, not in it.
_COLUMNS = {
    "run": 4,
    "rule": 6,
    "ρ": 3,
    "rate": 4,
    "poison": 6,
    "accuracy": 11,
    "ASR": 11,
    "false act.": 11,
    "dB": 4,
    "∑ dB": 4,
}


def comparison_table(runs: Sequence[Path]) -> Table:
    """A compact table with one row a run: poison, clean accuracy, attack success and BSNR.

    Args:
        runs: Run folders, at least one.

    Raises:
        ValueError: If a folder is missing, incomplete or not a run's; names the folder and what is missing.
    """
    table = Table(
        box=box.SIMPLE_HEAD, padding=0, show_edge=False, caption="dB: BSNR of the last round; ∑ dB: cumulative"
    )
    for index, (heading, width) in enumerate(_COLUMNS.items()):
        table.add_column(heading, justify="left" if index < 2 else "right", min_width=width, overflow="fold")
    for run in read_runs(runs):
        label, rule, *cells = comparison_row(run)
        compact = [cell.replace(" / ", "/").replace(", ", ",").removesuffix(" dB") for cell in cells]
        # Text, because a plain string would have its [brackets] taken for markup.
        table.add_row(*map(Text, (label, rule, *compact)))
    return table
