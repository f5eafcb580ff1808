"""``fedsonar plan``: its arguments, and what it prints."""

from __future__ import annotations

import argparse
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedsonar.measure import Rate
    from fedsonar.sweep.plan import Need

DESCRIPTION = (
    "Tells from the runs of a sweep how few poisoned rows would give the attack a success of one half in a federation "
    "of K clients with N rows each, for several numbers of affected clients, with 95 % intervals. The sweep shows how "
    "the signal grows with the share of affected clients and their poisoned rows, and what signal the attack needs; so "
    "it should vary both, and read signals against twins (--set bsnr.twins=true). What differs in more than size, as "
    "another trigger, target, model or number of rounds, needs a sweep of its own."
)
EXAMPLES = (
    "Examples:\n"
    "  fedsonar sweep recipes/atlas/poisoned.toml --set bsnr.twins=true --seeds 2 --out runs/grid \\\n"
    "      --grid attack.placement.affected=0.2,0.5,1 --grid attack.placement.rate=0.04,0.08,0.16\n"
    "  fedsonar plan runs/grid --clients 50 --rows 200\n"
    "  fedsonar plan runs/grid --clients 50 --rows 200 --norm 0.8 --success 0.85"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("sweep", type=Path, metavar="SWEEP", help="folder of a sweep")
    parser.add_argument("--clients", type=int, required=True, metavar="K", help="clients of the federation")
    parser.add_argument("--rows", type=int, required=True, metavar="N", help="rows of each client")
    parser.add_argument("--success", type=float, default=0.5, metavar="RATE",
                        help="attack success to be reached (default: .5)")  # fmt: skip
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--norm", type=float, metavar="X",
                      help="median norm of your clients' updates; signals are taken to grow with it (default: the "
                           "sweep's)")  # fmt: skip
    size.add_argument("--like", type=Path, metavar="RUN", help="take that norm from a run, of clean data say")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the intervals (default: 0)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Plans, prints a table, and returns the JSON value.

    Raises:
        ConfigError: If an option makes no sense.
        ValueError: If the sweep is too small.
    """
    import numpy as np

    from fedsonar.errors import ConfigError
    from fedsonar.rng import stream
    from fedsonar.sweep.plan import observations, plan, typical_norm
    from fedsonar.writing import plain

    for name in ("clients", "rows"):
        if getattr(options, name) < 1:
            raise ConfigError(f"--{name} must be at least 1, got {getattr(options, name)}")
    if not 0 < options.success < 1:
        raise ConfigError(f"--success must be above 0 and below 1, got {options.success:g}")
    if options.norm is not None and not 0 < options.norm < math.inf:
        raise ConfigError(f"--norm must be above 0, got {options.norm:g}")
    runs = observations(options.sweep)
    usual = float(np.median([observed.norm for observed in runs]))
    norm = typical_norm(options.like) if options.like else options.norm or usual
    needs = plan(
        runs, options.clients, options.rows, stream(options.seed, "plan"), success=options.success, scale=norm / usual
    )
    if not options.json:
        _print(needs, options, len(runs), norm)
    shown = [asdict(need) for need in needs]
    return {"runs": len(runs), "norm": norm, "sweep_norm": usual, "success": options.success, "needs": plain(shown)}


def _print(needs: list[Need], options: argparse.Namespace, runs: int, norm: float) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in ("affected", "poisoned rows of each", "95 %", "of all", "95 %", "of all rows"):
        table.add_column(heading, justify="right")
    for need in needs:
        enough = math.isfinite(need.rows.value)
        table.add_row(
            f"{need.affected:,} of {options.clients:,}",
            f"{need.each.value:.1f}" if enough else "more than all",
            _between(need.each, options.rows, ".1f"),
            f"{need.rows.value:,.0f}" if enough else "–",
            _between(need.rows, options.clients * options.rows, ",.0f"),
            f"{need.share:.1%}" if enough else "–",
        )
    Console(highlight=False).print(table)
    possible = [need for need in needs if math.isfinite(need.rows.value)]
    if possible:
        least = min(possible, key=lambda need: need.rows.value)
        print(
            f"Least: {least.rows.value:,.0f} of {options.clients * options.rows:,} rows ({least.share:.1%}), in "
            f"{least.affected:,} of {options.clients:,} clients, for an attack success of {options.success:g}."
        )
    else:
        print(f"No poison of these clients' rows gives an attack success of {options.success:g}.")
    print(
        f"From {runs} runs, for updates of norm {norm:.3g}. Another trigger, model or number of rounds needs a sweep."
    )


def _between(rate: Rate, most: int, form: str) -> str:
    """The interval in words, where more than there are may be needed."""
    if rate.low > most:
        return "–"
    return f"{rate.low:{form}} to {rate.high:{form}}" if rate.high <= most else f"{rate.low:{form}} or more"
