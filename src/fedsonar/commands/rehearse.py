"""``fedsonar rehearse``: its arguments, and what it prints."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from typing import Any

from fedsonar.commands import silos

DESCRIPTION = (
    "Runs EXP.toml as a Flower deployment on this machine: makes keys and certificates, writes the silos, starts a "
    "SuperLink and a SuperNode a client on loopback under TLS, runs the app, and stops everything again. The run's "
    "folder is DIR/server/run; its result equals that of 'fedsonar run'. The same command goes on after a stop."
)
EXAMPLES = "Examples:\n  fedsonar rehearse recipes/atlas/poisoned.toml --set partition.clients=4 --out rehearsal"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    silos.add_arguments(parser)
    parser.add_argument("--insecure", action="store_true", help="without TLS and without node keys")


def leaves(_: argparse.Namespace) -> str:
    """What a stopped command leaves."""
    return "complete rounds are kept, the same command goes on"


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Rehearses a deployment; returns the run's summary."""

    def show(line: str) -> None:
        if not options.json:
            print(line, file=sys.stderr, flush=True)

    show(f"silos: reads rows and model, and writes to {options.out}")
    made = silos.written(options)
    from fedsonar.flower.loopback import Loopback

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped then too
    with Loopback(made, tls=not options.insecure, show=show) as loopback:
        loopback.run()
    summary: dict[str, Any] = json.loads((made.out / "summary.json").read_text())
    if not options.json:
        print(f"Run: {made.out}")
    return summary
