"""``fedsonar sweep``: its arguments, and what it prints."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

DESCRIPTION = (
    "Runs EXP.toml for every combination of the grid's values and for several seeds, side by side. All rounds of all "
    "runs go to DIR/sweep.parquet, and what they show to DIR/report.html: a phase diagram where the grid has two axes, "
    "and how attack success follows the backdoor's signal. Each run lies in DIR under its values. The same command "
    "goes on after a stop, and with more values or seeds it runs what is new. A run that fails stops no other; it is "
    "named at the end, and tried again with --retry."
)
EXAMPLES = (
    "Examples:\n"
    "  fedsonar sweep recipes/atlas/poisoned.toml --grid attack.placement.affected=0.2,0.5,1 \\\n"
    "      --grid attack.placement.rate=0.04,0.08,0.16 --seeds 3 --out runs/grid\n"
    "  fedsonar sweep recipes/atlas/poisoned.toml --grid aggregator.class_path=fedsonar.aggregate.FedAvg,"
    "fedsonar.aggregate.Krum\n"
    "  fedsonar sweep recipes/atlas/poisoned.toml --grid attack.placement.rate=0.04,0.08 --ray auto --out /shared/grid"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("experiment", type=Path, metavar="EXP.toml", help="the experiment; see recipes/")
    parser.add_argument("--grid", action="append", default=[], metavar="PATH=A,B,C",
                        help="values of a path of the experiment; may be repeated")  # fmt: skip
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="seeds, from EXP.toml's own on (default: 1)")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="overrides",
                        help="override a value in all runs; may be repeated")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="where runs and table go (default: runs/, the name of EXP.toml, and -sweep)")  # fmt: skip
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, metavar="N", help="runs side by side (default: one a core)")
    where.add_argument("--ray", metavar="ADDRESS",
                       help="run on the Ray cluster at ADDRESS, or auto for the one that this machine belongs to; "
                            "DIR has to be on storage that all its nodes share")  # fmt: skip
    parser.add_argument("--retry", action="store_true", help="try again what failed before")


def leaves(_: argparse.Namespace) -> str:
    """What a stopped command leaves."""
    return "complete rounds are kept, the same command goes on"


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the sweep.

    Raises:
        ConfigError: If the grid is no grid.
        ValueError: If a run failed; names the first ones and says how to try again.
    """
    from fedsonar.errors import ConfigError
    from fedsonar.progress import MODEL, Total, announce_kernels
    from fedsonar.side_by_side import run_all
    from fedsonar.sweep.grid import Axis, cells
    from fedsonar.sweep.on_ray import run_all_on_ray
    from fedsonar.sweep.page import write_sweep_page
    from fedsonar.sweep.table import check_cells, write_sweep

    if options.workers is not None and options.workers < 1:
        raise ConfigError(f"--workers must be at least 1, got {options.workers}")
    sys.path.insert(0, str(options.experiment.parent.resolve()))  # for a plugin beside the experiment
    grid = cells(options.experiment, [Axis.parse(text) for text in options.grid], options.seeds, options.overrides)
    out = options.out or Path("runs") / f"{options.experiment.stem}-sweep"
    check_cells(grid, out)
    announce_kernels(MODEL)
    with Total({cell.name: cell.experiment.rounds for cell in grid}, quiet=options.json) as bar:
        experiments = {cell.name: cell.experiment for cell in grid}
        try:
            if options.ray is None:
                outcomes = run_all(experiments, out, bar.update, options.workers, retry=options.retry)
            else:
                outcomes = run_all_on_ray(experiments, out, bar.update, options.ray, retry=options.retry)
        finally:
            table = write_sweep(grid, out)
    failed = {name: outcome.error for name, outcome in outcomes.items() if outcome.error}
    page = write_sweep_page(out) if any(not outcome.error for outcome in outcomes.values()) else None
    if not options.json:
        _print(table)
        print(f"Table of all rounds: {table}")
        print(f"Report: {page}" if page else "No report: no run is finished")
    if failed:
        named = "; ".join(f"{name}: {error}" for name, error in list(failed.items())[:3])
        more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise ValueError(f"{len(failed)} of {len(grid)} runs failed, try them again with --retry: {named}{more}")
    return {"table": str(table), "report": str(page) if page else None, "cells": len(grid)}


def _print(path: Path) -> None:
    """A table of the grid, a row a combination, rates pooled over its seeds."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from fedsonar.report.tables import rate
    from fedsonar.sweep.combination import axes_of, combinations
    from fedsonar.sweep.grid import short_names, short_value
    from fedsonar.sweep.table import read_sweep

    rows = read_sweep(path)
    names = short_names(axes_of(rows))
    table = Table(box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    for heading in (*names.values(), "runs", "poisoned"):
        table.add_column(heading, justify="right", overflow="fold")
    all_found = combinations(rows)
    repaired = ("repaired accuracy", "repaired ASR") if any(c.repaired_accuracy for c in all_found) else ()
    for heading in ("accuracy", "ASR", *repaired):
        table.add_column(heading, justify="right")
    for found in all_found:
        values = (short_value(found.values[axis]) for axis in names)
        rates = found.accuracy, found.asr, found.repaired_accuracy, found.repaired_asr
        table.add_row(*values, str(found.runs), f"{found.poisoned:.1%}", *map(rate, rates[: 2 + len(repaired)]))
    Console().print(table)
