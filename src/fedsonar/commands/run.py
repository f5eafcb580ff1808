"""``fedsonar run``: its arguments, and what it runs."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

DESCRIPTION = (
    "Runs the federation that EXP.toml describes and keeps everything in DIR: experiment.toml, rounds.parquet, "
    "clients.parquet, samples.parquet, checkpoint/, adapter/ (PEFT), summary.json, timing.json, report.html."
)
EXAMPLES = (
    "Examples:\n  fedsonar run recipes/atlas/poisoned.toml --out runs/poisoned\n"
    "  fedsonar run recipes/atlas/poisoned.toml --out runs/half --set attack.placement.affected=0.5 --set seed=2\n"
    "  fedsonar run recipes/atlas/poisoned.toml --out runs/screened --screen sonar\n"
    "  fedsonar run --resume runs/half"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument("experiment", type=Path, nargs="?", metavar="EXP.toml", help="the experiment; see recipes/")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the run (default: runs/ and the name of EXP.toml)"
    )
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="overrides",
                        help="override a value, for example training.lr=0.001; may be repeated")  # fmt: skip
    parser.add_argument("--screen", metavar="NAME", help="judge every row before anybody trains on it, for example by "
                        "sonar; see fedsonar list")  # fmt: skip
    parser.add_argument("--engine", choices=("fused", "flower"), default="fused",
                        help="fused: all clients in this process (default); flower: Flower's simulation, a process a "
                             "client at a time and core")  # fmt: skip
    parser.add_argument(
        "--resume", type=Path, metavar="DIR", help="go on with the run in DIR after its newest complete round"
    )


def leaves(options: argparse.Namespace) -> str:
    """What a stopped command leaves."""
    return f"complete rounds are kept, go on with --resume {shlex.quote(str(_folder(options)))}"


def _folder(options: argparse.Namespace) -> Path:
    """Folder of the run."""
    out: Path | None = options.resume or options.out
    return out or Path("runs") / options.experiment.stem


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the federation.

    Raises:
        ConfigError: If the arguments do not say what to run.
    """
    import fedsonar
    from fedsonar.commands.present import present
    from fedsonar.commands.screen_names import screen_settings
    from fedsonar.errors import ConfigError
    from fedsonar.experiment import load
    from fedsonar.federation import Progress
    from fedsonar.interrupts import Interrupts
    from fedsonar.progress import MODEL, Bars, announce_kernels

    if (options.experiment is None) == (options.resume is None):
        raise ConfigError("name either an experiment (EXP.toml) or a run to go on with (--resume DIR)")
    sys.path.insert(0, str((options.experiment or Path()).parent.resolve()))  # for a plugin beside the experiment
    if options.resume is not None:
        if options.overrides or options.out or options.screen:
            raise ConfigError("--resume goes on with the run as it is; leave out --set, --screen and --out")
        experiment = load(options.resume / "experiment.toml")
    else:
        screen = screen_settings(options.screen, model=True) if options.screen else []
        experiment = load(options.experiment, [*screen, *options.overrides])
    out = _folder(options)
    name = experiment.name or out.name
    announce_kernels(MODEL)
    with Interrupts() as interrupts, Bars({name: experiment.rounds}, quiet=options.json) as bars:

        def observe(progress: Progress) -> None:
            interrupts.check()
            bars.update(name, progress)

        resume = options.resume is not None
        if options.engine == "flower":
            from fedsonar.flower.simulation import simulate

            done = simulate(experiment, out=out, resume=resume, observe=observe)
        else:
            done = fedsonar.run(experiment, out=out, resume=resume, observe=observe)
    present([out], out / "report.html", None, options.json)
    return done.summary
