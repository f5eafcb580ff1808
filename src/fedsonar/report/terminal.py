"""The tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fedsonar.data import Candidate
from fedsonar.report.folder import RunFolder, printable
from fedsonar.report.reading import read_runs
from fedsonar.report.tables import NONE, comparison_row, repaired_row

# The page's columns, named so that a row fits 80 characters.
_HEADINGS = ("run", "rule", "ρ", "rate", "poison", "accuracy", "ASR", "false act.", "dB", "∑dB")
_WRAPPED = ("run", "rule")
_LONGEST_WORD = 16
"""A longer one is broken."""
_ENDLESS = 100_000
"""Characters of a line that nothing is too long for."""


def print_comparison(runs: Sequence[Path], console: Console) -> None:
    """Prints the `comparison_table` with all its columns: off a terminal as wide as it is, else with words broken.

    Args:
        runs: Run folders, at least one.
        console: Where to.

    Raises:
        ValueError: As `comparison_table` does.
    """
    table = comparison_table(runs)
    wanted = console.measure(table, options=console.options.update(max_width=_ENDLESS))
    if not console.is_terminal:
        console.width = max(console.width, wanted.maximum)
    elif wanted.minimum > console.width:
        for column in table.columns:
            column.min_width = None
    console.print(table)


def comparison_table(runs: Sequence[Path]) -> Table:
    """A compact table with one row a run: poison, clean accuracy, attack success and BSNR.

    Args:
        runs: Run folders, at least one.

    Raises:
        ValueError: If a folder is missing, incomplete or not a run's; names the folder and what is missing.
    """
    read = read_runs(runs)
    caption = "; ".join(["dB: BSNR of the last round", "∑dB: cumulative", *_unread(read)])
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False, caption=Text(caption))
    rows = [row for run in read for row in (comparison_row(run), repaired_row(run)) if row]
    for place, heading in enumerate(_HEADINGS):
        words = heading in _WRAPPED
        longest = max((len(word) for row in rows for word in row[place].split()), default=0)
        table.add_column(
            heading, justify="left" if words else "right", no_wrap=not words, overflow="fold",
            min_width=min(longest, _LONGEST_WORD) if words else None,
        )  # fmt: skip
    for label, rule, *cells in rows:
        compact = [cell.replace(" / ", "/").replace(", ", ",").removesuffix(" dB") for cell in cells]
        # Text, because a plain string would have its [brackets] taken for markup; intervals on a line of their own.
        table.add_row(Text(label), Text(rule), *(Text(cell.replace(" [", "\n[")) for cell in compact))
    return table


def _unread(runs: Sequence[RunFolder]) -> list[str]:
    """Why runs with poison have no BSNR in the last round, where that is known."""
    without = (run for run in runs if run.affected and run.bsnr("final") is None and run.bsnr_notes)
    return [f"{NONE}: {printable(note)}" for note in dict.fromkeys(run.bsnr_notes[-1] for run in without) if note]


def feature_table(candidates: Sequence[Candidate], title: str) -> Table:
    """A table with one row a feature that rows have by themselves: how many have it, and how it is written."""
    table = Table(box=None, title=title, title_justify="left")
    for column in ("kind", "the row", "rows", "share", "same answer", "feature"):
        number = column in ("rows", "share", "same answer")
        table.add_column(column, justify="right" if number else "left", no_wrap=number or column == "kind")
    for c in candidates:
        listed = ", ".join(
            f"{f.name}={getattr(c.feature, f.name)!r}"
            for f in fields(c.feature)  # type: ignore[arg-type]
            if getattr(c.feature, f.name) != f.default
        )
        counts = f"{c.count:,}", f"{c.share:.1%}", f"{c.commonest:.0%}"
        table.add_row(c.kind, escape(c.words), *counts, escape(f"{type(c.feature).__name__}({listed})"))
    return table
