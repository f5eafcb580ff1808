"""``fedsonar report``: its arguments, and what it writes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

DESCRIPTION = (
    "Writes a self-contained HTML page (no network needed to read it): curves by round, tables, "
    "configuration; several runs are compared. Of a sweep's folder: its phase diagram and table."
)
EXAMPLES = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs, or of one sweep")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page (default: report.html in the first run)")
    parser.add_argument("--title", help="the page's title")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Writes the page.

    Raises:
        ConfigError: If a sweep is named beside something else.
    """
    from fedsonar.commands.present import present
    from fedsonar.errors import ConfigError
    from fedsonar.sweep.page import write_sweep_page
    from fedsonar.sweep.table import FILE

    sweeps = [folder for folder in options.runs if (folder / FILE).is_file()]
    if sweeps:
        if len(options.runs) > 1:
            raise ConfigError(f"{sweeps[0]} is a sweep: give it alone, or give runs")
        page = write_sweep_page(sweeps[0], options.out, options.title)
        if not options.json:
            print(f"Report: {page}")
        return {"report": str(page), "runs": {}}
    return present(options.runs, options.out or options.runs[0] / "report.html", options.title, options.json)
