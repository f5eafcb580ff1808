"""``fedsonar demo``: its arguments, and what it runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

DESCRIPTION = (
    "Runs a clean federation, a poisoned one, the same poison under two robust rules, and the same again with the "
    "association screen before it; prints a table and writes a report. Needs no data and no network. A stopped demo "
    "goes on where it was."
)
EXAMPLES = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="where runs and report go (default: demo)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="runs side by side (default: one a core)")


def leaves(_: argparse.Namespace) -> str:
    """What a stopped command leaves."""
    return "complete rounds are kept, the same command goes on"


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the story."""
    from fedsonar import demo
    from fedsonar.commands.present import present
    from fedsonar.progress import MODEL, Bars, announce_kernels
    from fedsonar.side_by_side import folders, run_all

    runs = demo.story()
    announce_kernels(MODEL)
    with Bars({name: e.rounds for name, e in runs.items()}, quiet=options.json) as bars:
        outcomes = run_all(runs, options.out, bars.update, options.workers)
    return present(folders(outcomes), options.out / "report.html", "FedSonar demo", options.json)
