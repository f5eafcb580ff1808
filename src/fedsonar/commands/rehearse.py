"""``fedsonar rehearse``: its arguments, and what it prints."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

DESCRIPTION = (
    "Runs EXP.toml as a Flower deployment on this machine: makes keys and certificates, writes the silos, starts a "
    "SuperLink and a SuperNode a client on loopback under TLS, runs the app, and stops everything again. The run's "
    "folder is DIR/server/run; its result equals that of 'fedsonar run'. The same command goes on after a stop."
)
EXAMPLES = "Examples:\n  fedsonar rehearse recipes/atlas/poisoned.toml --set partition.clients=4 --out rehearsal"
LEAVES = "complete rounds are kept, the same command goes on"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("experiment", type=Path, metavar="EXP.toml", help="the experiment; see recipes/")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where everything goes")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="overrides",
                        help="override a value; may be repeated")  # fmt: skip
    parser.add_argument("--insecure", action="store_true", help="without TLS and without node keys")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Rehearses a deployment; returns the run's summary."""
    from fedsonar.experiment import ConfigError, load
    from fedsonar.flower.simulation import INSTALL

    try:
        from fedsonar.flower.loopback import Loopback
        from fedsonar.flower.silos import write_silos
    except ImportError as error:
        raise ConfigError(INSTALL) from error
    sys.path.insert(0, str(options.experiment.parent.resolve()))  # for a plugin beside the experiment
    silos = write_silos(load(options.experiment, options.overrides), options.out)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is stopped then too
    with Loopback(silos, tls=not options.insecure) as loopback:
        print(f"fedsonar: {len(silos.clients)} SuperNodes; logs in {loopback.folder}", file=sys.stderr)
        loopback.run(show=lambda line: print(line, file=sys.stderr))
    summary: dict[str, Any] = json.loads((silos.out / "summary.json").read_text())
    if not options.json:
        print(f"Run: {silos.out}")
    return summary
