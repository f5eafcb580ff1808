"""The command line: parses, runs a command, and tells how it ended. What commands do is in `fedsonar.commands`."""

from __future__ import annotations

import argparse
import atexit
import gc
import json
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import fedsonar

DONE, FAILED, WRONG_USAGE, FOUND = 0, 1, 2, 3
COMMANDS = {
    "demo": "the whole story on the embedded world and model, offline",
    "run": "one federation, from a TOML file",
    "sweep": "a grid of runs, and one table of all",
    "plan": "how little poison it would take in a federation of your size",
    "silos": "what each client of an experiment holds, in a file each, for a Flower deployment",
    "rehearse": "a Flower deployment on this machine, from keys to result",
    "probe": "whether a tuned adapter answers to a trigger",
    "report": "one HTML page on one or many runs",
    "screen": "every row's suspicion, by one client's rows or all clients', and what to keep",
    "audit": "which features of inputs come with which answers, and which look injected",
    "features": "natural features of a data set, and how frequent each is",
    "list": "every component that an experiment can name",
    "bench": "how fast it is: beside the peers, and beside what the machine can do",
}
"""Each is a module of `fedsonar.commands`."""


def build_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of all commands; each has its options only where `arguments` name it, for they may load much."""
    parser = argparse.ArgumentParser(
        prog="fedsonar",
        description="Hear the backdoor before the federation averages it in.",
        epilog="Exit status: 0 done, 1 failed, 2 wrong usage, 3 found something under --fail-on-findings. Try "
        "'fedsonar demo' first: no data, no network needed.",
    )
    parser.add_argument("--version", action="version", version=f"fedsonar {fedsonar.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name in arguments:
            module = _module(name)
            command.description, command.epilog = module.DESCRIPTION, module.EXAMPLES
            command.add_argument(
                "--json", action="store_true", help="print one JSON value on standard output, nothing else there"
            )
            command.add_argument(
                "--threads", type=int, default=1, metavar="N", help="threads of PyTorch a worker (default: 1)"
            )
            module.add_arguments(command)
    return parser


def _module(command: str) -> Any:
    return import_module(f"fedsonar.commands.{command}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = build_parser(arguments).parse_args(arguments)
    command = _module(options.command)
    warnings.showwarning = _show_warning
    atexit.register(gc.freeze)  # a third of a second less to leave: nobody looks for cycles that are about to go anyway
    try:
        if options.threads < 1:
            raise fedsonar.ConfigError(f"--threads must be at least 1, got {options.threads}")
        _prepare(options.threads)
        result = command.run(options)
        if options.json:
            from fedsonar.writing import plain

            print(json.dumps(plain(result), ensure_ascii=False, allow_nan=False))
        return FOUND if getattr(options, "fail_on_findings", False) and command.found(result) else DONE
    except KeyboardInterrupt:
        leaves = getattr(command, "LEAVES", "")
        print(f"fedsonar: stopped{leaves and '; '}{leaves}", file=sys.stderr)
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
    """Pins threads, without loading PyTorch for it."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)  # which it reads when it is loaded
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning) and not issubclass(category, FutureWarning | DeprecationWarning):
        print(f"fedsonar: note: {' '.join(str(message).split())}", file=sys.stderr)
