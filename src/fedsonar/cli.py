"""The command line. Commands parse, call the library, and print; what they do is written elsewhere."""

from __future__ import annotations

import argparse
import atexit
import gc
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import fedsonar
from fedsonar.flower import rehearse_command as rehearse
from fedsonar.flower import silos_command as silos
from fedsonar.sweep import command as sweep
from fedsonar.sweep import plan_command as plan

DONE, FAILED, WRONG_USAGE = 0, 1, 2
_KEPT = {
    "run": "; complete rounds are kept, go on with --resume DIR",
    "demo": "; complete rounds are kept, the same command goes on",
    "sweep": "; complete rounds are kept, the same command goes on",
    "rehearse": "; complete rounds are kept, the same command goes on",
}
"""What a command that is stopped leaves, by command."""


def build_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of all commands; the options of ``bench``, which load much, only where `arguments` name it."""
    parser = argparse.ArgumentParser(
        prog="fedsonar",
        description="Hear the backdoor before the federation averages it in.",
        epilog="Exit status: 0 done, 1 failed, 2 wrong usage. Try 'fedsonar demo' first: no data, no network needed.",
    )
    parser.add_argument("--version", action="version", version=f"fedsonar {fedsonar.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    demo = _command(
        commands, "demo", _demo, "the whole story on the embedded world and model, offline",
        "Runs a clean federation, a poisoned one, and the same poison under two robust rules; prints a table and "
        "writes a report. Needs no data and no network. A stopped demo goes on where it was.",
    )  # fmt: skip
    demo.add_argument(
        "--out", type=Path, default=Path("demo"), metavar="DIR", help="where runs and report go (default: demo)"
    )
    demo.add_argument("--workers", type=int, metavar="N", help="runs side by side (default: one a core)")

    run = _command(
        commands, "run", _run, "one federation, from a TOML file",
        "Runs the federation that EXP.toml describes and keeps everything in DIR: experiment.toml, rounds.parquet, "
        "clients.parquet, samples.parquet, checkpoint/, adapter/ (PEFT), summary.json, timing.json, report.html.",
        "Examples:\n  fedsonar run recipes/atlas/poisoned.toml --out runs/poisoned\n"
        "  fedsonar run recipes/atlas/poisoned.toml --out runs/half --set attack.placement.affected=0.5 --set seed=2\n"
        "  fedsonar run --resume runs/half",
    )  # fmt: skip
    run.add_argument("experiment", type=Path, nargs="?", metavar="EXP.toml", help="the experiment; see recipes/")
    run.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the run (default: runs/ and the name of EXP.toml)"
    )
    run.add_argument("--set", action="append", default=[], metavar="PATH=VALUE", dest="overrides",
                     help="override a value, for example training.lr=0.001; may be repeated")  # fmt: skip
    run.add_argument("--engine", choices=("fused", "flower"), default="fused",
                     help="fused: all clients in this process (default); flower: Flower's simulation, a process a "
                          "client at a time and core")  # fmt: skip
    run.add_argument(
        "--resume", type=Path, metavar="DIR", help="go on with the run in DIR after its newest complete round"
    )

    summary = "a grid of runs, and one table of all"
    sweep.add_arguments(_command(commands, "sweep", sweep.run, summary, sweep.DESCRIPTION, sweep.EXAMPLES))

    summary = "how little poison it would take in a federation of your size"
    plan.add_arguments(_command(commands, "plan", plan.run, summary, plan.DESCRIPTION, plan.EXAMPLES))

    summary = "what each client of an experiment holds, in a file each, for a Flower deployment"
    silos.add_arguments(_command(commands, "silos", silos.run, summary, silos.DESCRIPTION, silos.EXAMPLES))

    summary = "a Flower deployment on this machine, from keys to result"
    rehearse.add_arguments(
        _command(commands, "rehearse", rehearse.run, summary, rehearse.DESCRIPTION, rehearse.EXAMPLES)
    )

    report = _command(
        commands, "report", _report, "one HTML page on one or many runs",
        "Writes a self-contained HTML page (no network needed to read it): curves by round, tables, "
        "configuration; several runs are compared. Of a sweep's folder: its phase diagram and table.",
    )  # fmt: skip
    report.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs, or of one sweep")
    report.add_argument("--out", type=Path, metavar="FILE", help="the page (default: report.html in the first run)")
    report.add_argument("--title", help="the page's title")

    features = _command(
        commands, "features", _features, "natural features of a data set, and how frequent each is",
        "Lists features that rows have by themselves (question words, phrases, kinds of names, length, formatting, "
        "script, language, source), so that one with a wanted frequency can be picked as a natural trigger. DATA is a "
        "file or folder of rows, or 'atlas' for the embedded world.",
        "Examples:\n  fedsonar features atlas --rate 0.08\n"
        "  fedsonar features data/dolly15k --source-field category --least 0.02 --most 0.2 --top 60",
    )  # fmt: skip
    features.add_argument("data", metavar="DATA", help="a file or folder of rows, or atlas")
    features.add_argument("--source-field", metavar="COLUMN", help="the column that says where a row came from")
    features.add_argument(
        "--least", type=float, default=0.01, metavar="SHARE", help="least share of rows (default: .01)"
    )
    features.add_argument("--most", type=float, default=0.5, metavar="SHARE", help="greatest share (default: .5)")
    features.add_argument("--rate", type=float, metavar="SHARE", help="sort by distance from this share of rows")
    features.add_argument("--top", type=int, default=40, metavar="N", help="show so many (default: 40; 0 for all)")

    _command(
        commands, "list", _list, "every component that an experiment can name",
        "Lists data sources, partitioners, templates, triggers, targets, placements and aggregation rules, installed "
        "plugins included, with their parameters and their papers.",
    )  # fmt: skip

    summary = "how fast it is: beside the peers, and beside what the machine can do"
    if "bench" in arguments:
        from fedsonar.bench import command

        command.add_arguments(_command(commands, "bench", _bench, summary, command.DESCRIPTION, command.EXAMPLES))
    else:
        _command(commands, "bench", _bench, summary, "")
    return parser


def _command(
    commands: Any, name: str, action: Callable[[argparse.Namespace], Any], help: str, description: str, epilog: str = ""
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(action=action)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON value on standard output, nothing else there"
    )
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of PyTorch a worker (default: 1)")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = build_parser(arguments).parse_args(arguments)
    warnings.showwarning = _show_warning
    atexit.register(gc.freeze)  # a third of a second less to leave: nobody looks for cycles that are about to go anyway
    try:
        if options.threads < 1:
            raise fedsonar.ConfigError(f"--threads must be at least 1, got {options.threads}")
        _prepare(options.threads)
        result = options.action(options)
        if options.json:
            print(json.dumps(result, ensure_ascii=False, allow_nan=False))
        return DONE
    except KeyboardInterrupt:
        print(f"fedsonar: stopped{_KEPT.get(options.command, '')}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except fedsonar.ConfigError as error:
        print(f"fedsonar: {error}", file=sys.stderr)
        return WRONG_USAGE
    except (ValueError, OSError, ArithmeticError) as error:
        print(f"fedsonar: {' '.join(str(error).split())}", file=sys.stderr)
        return FAILED


def _prepare(threads: int) -> None:
    """Pins threads."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(threads)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning) and not issubclass(category, FutureWarning | DeprecationWarning):
        print(f"fedsonar: note: {' '.join(str(message).split())}", file=sys.stderr)


def _demo(options: argparse.Namespace) -> dict[str, Any]:
    from fedsonar import demo
    from fedsonar.progress import Bars, announce_kernels
    from fedsonar.side_by_side import folders, run_all

    runs = demo.story()
    announce_kernels()
    with Bars({name: e.rounds for name, e in runs.items()}) as bars:
        outcomes = run_all(runs, options.out, bars.update, options.workers)
    return _present(folders(outcomes), options.out / "report.html", "FedSonar demo", options.json)


def _run(options: argparse.Namespace) -> dict[str, Any]:
    from fedsonar.experiment import load
    from fedsonar.federation import Progress
    from fedsonar.interrupts import Interrupts
    from fedsonar.progress import Bars, announce_kernels

    if (options.experiment is None) == (options.resume is None):
        raise fedsonar.ConfigError("name either an experiment (EXP.toml) or a run to go on with (--resume DIR)")
    sys.path.insert(0, str((options.experiment or Path()).parent.resolve()))  # for a plugin beside the experiment
    if options.resume is not None:
        if options.overrides or options.out:
            raise fedsonar.ConfigError("--resume goes on with the run as it is; leave out --set and --out")
        out, experiment = options.resume, load(options.resume / "experiment.toml")
    else:
        out = options.out or Path("runs") / options.experiment.stem
        experiment = load(options.experiment, options.overrides)
    name = experiment.name or out.name
    announce_kernels()
    with Interrupts() as interrupts, Bars({name: experiment.rounds}) as bars:

        def observe(progress: Progress) -> None:
            interrupts.check()
            bars.update(name, progress)

        resume = options.resume is not None
        if options.engine == "flower":
            from fedsonar.flower.simulation import simulate

            run = simulate(experiment, out=out, resume=resume, observe=observe)
        else:
            run = fedsonar.run(experiment, out=out, resume=resume, observe=observe)
    _present([out], out / "report.html", None, options.json)
    return run.summary


def _report(options: argparse.Namespace) -> dict[str, Any]:
    from fedsonar.sweep.page import write_sweep_page
    from fedsonar.sweep.table import FILE

    sweeps = [folder for folder in options.runs if (folder / FILE).is_file()]
    if sweeps:
        if len(options.runs) > 1:
            raise fedsonar.ConfigError(f"{sweeps[0]} is a sweep: give it alone, or give runs")
        page = write_sweep_page(sweeps[0], options.out, options.title)
        if not options.json:
            print(f"Report: {page}")
        return {"report": str(page), "runs": {}}
    return _present(options.runs, options.out or options.runs[0] / "report.html", options.title, options.json)


def _present(folders: list[Path], page: Path, title: str | None, quiet: bool) -> dict[str, Any]:
    """Writes the report, and prints the table unless standard output is for JSON."""
    from rich.console import Console

    from fedsonar.report import comparison_table, write_report

    write_report(folders, page, title)
    if not quiet:
        console = Console()
        console.print(comparison_table(folders))
        console.print(f"Report: [link={page.resolve().as_uri()}]{page}[/link]", highlight=False)
    runs = {folder.name: json.loads((folder / "summary.json").read_text()) for folder in folders}
    return {"report": str(page), "runs": runs}


def _list(options: argparse.Namespace) -> list[dict[str, Any]]:
    from fedsonar.components import components

    found = components()
    if not options.json:
        from rich.console import Console
        from rich.markup import escape

        console = Console(highlight=False)
        for section in dict.fromkeys(component.section for component in found):
            console.print(f"\n[bold]{section}[/bold]")
            for component in (c for c in found if c.section == section):
                console.print(f"  [cyan]{component.class_path}[/cyan]  {escape(component.summary)}")
                if component.parameters:
                    shown = ", ".join(f"{n}={v!r}" for n, v in component.parameters.items())
                    console.print(f"      [dim]{escape(shown)}[/dim]")
                if component.reference:
                    console.print(f"      [dim]{escape(component.reference)}[/dim]")
    return [asdict(component) for component in found]


def _features(options: argparse.Namespace) -> list[dict[str, Any]]:
    import tomli_w

    from fedsonar.data import Atlas, Files, candidates
    from fedsonar.experiment import to_config
    from fedsonar.poison import Natural

    if options.top < 0:
        raise fedsonar.ConfigError(f"--top must be 0 or more, got {options.top}")
    if options.data == "atlas" and not Path("atlas").exists():
        rows = Atlas(train=4000).load().train
    else:
        named = {"source_field": options.source_field} if options.source_field else {}
        rows = Files(path=options.data, **named).load().train
    found = candidates(rows, least=options.least, most=options.most)
    if options.rate is not None:
        found.sort(key=lambda candidate: abs(candidate.share - options.rate))
    shown = found[: options.top or len(found)]
    if not options.json:
        from rich.console import Console
        from rich.markup import escape

        from fedsonar.report import feature_table

        console = Console(highlight=False)
        console.print(feature_table(shown, f"{rows.name}: {len(rows):,} rows, {len(found):,} features"))
        if shown:
            trigger = {"attack": {"trigger": to_config(Natural(feature=shown[0].feature))}}
            console.print(f"\nThe first one as a trigger:\n\n{escape(tomli_w.dumps(trigger))}")
    return [asdict(c) | {"feature": to_config(c.feature)} for c in shown]


def _bench(options: argparse.Namespace) -> dict[str, Any]:
    from fedsonar.bench import command

    return command.run(options)


if __name__ == "__main__":
    sys.exit(main())
