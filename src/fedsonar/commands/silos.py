"""``fedsonar silos``: its arguments, and what it prints."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedsonar.flower.silos import Silos

DESCRIPTION = (
    "Writes what the clients of EXP.toml would hold, a file of JSON lines each, poisoned as it says, and a Flower app "
    "for the server: silos/client-N.jsonl, server/experiment.toml, app/pyproject.toml. Files are for one machine each; "
    "docs/flower.md says what each party runs. 'fedsonar rehearse' runs all of it on this machine."
)
EXAMPLES = "Examples:\n  fedsonar silos recipes/atlas/poisoned.toml --out silos/poisoned"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("experiment", type=Path, metavar="EXP.toml", help="the experiment; see recipes/")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where everything goes")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="overrides",
                        help="override a value; may be repeated")  # fmt: skip


def written(options: argparse.Namespace) -> Silos:
    """The silos that the arguments ask for.

    Raises:
        ConfigError: If Flower is not installed, or the experiment cannot be read.
    """
    import sys

    from fedsonar.errors import ConfigError
    from fedsonar.experiment import load
    from fedsonar.flower.simulation import INSTALL

    try:
        from fedsonar.flower.silos import write_silos
    except ImportError as error:
        raise ConfigError(INSTALL) from error
    sys.path.insert(0, str(options.experiment.parent.resolve()))  # for a plugin beside the experiment
    return write_silos(load(options.experiment, options.overrides), options.out)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Writes the silos; returns where they are."""
    silos = written(options)
    if not options.json:
        print(f"{len(silos.clients)} silos in {silos.clients[0].parent}, the server's app in {silos.app}")
    return {
        "clients": [str(path) for path in silos.clients], "app": str(silos.app), "experiment": str(silos.experiment),
        "out": str(silos.out),
    }  # fmt: skip
