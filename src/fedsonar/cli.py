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
from typing import Any, NoReturn

import fedsonar
from fedsonar.errors import SettingError

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


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_USAGE, f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help\n")


def build_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """The parser of all commands; each has its options only where `arguments` name it, for they may load much."""
    parser = _Parser(
        prog="fedsonar",
        description="Hear the backdoor before the federation averages it in.",
        epilog="Exit status: 0 done; 1 data, a file or the work failed, or it was stopped; 2 the command line or the "
        "experiment has to change; 3 something was found under --fail-on-findings. Try 'fedsonar demo' first: no "
        "data, no network needed.",
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
        left = command.leaves(options) if hasattr(command, "leaves") else ""
        print(f"fedsonar: stopped{left and '; '}{left}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except fedsonar.ConfigError as error:
        print(f"fedsonar: {error}", file=sys.stderr)
        return WRONG_USAGE
    except (ValueError, OSError, ArithmeticError) as error:
        said = _told(error) if isinstance(error, OSError) and error.filename else str(error)
        print(f"fedsonar: {' '.join(said.split())}", file=sys.stderr)
        return WRONG_USAGE if isinstance(error, SettingError) and not error.of_rows else FAILED


def _told(error: OSError) -> str:
    """What the system refused, of which file or folder, and what to do."""
    name = repr(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes | os.PathLike) else "a file"
    match error:
        case FileNotFoundError():
            return f"cannot find or make {name}; check the path"
        case FileExistsError() | NotADirectoryError():
            return f"{name} is a file where a folder is needed; choose another path"
        case IsADirectoryError():
            return f"{name} is a folder where a file is needed; choose another path"
        case PermissionError():
            return f"{name} may not be read or written by you; choose another path, or change who may"
    return f"{name}: {error.strerror}; choose another path, or mend that"


def _prepare(threads: int) -> None:
    """Pins threads, without loading PyTorch for it."""
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)  # which it reads when it is loaded
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, UserWarning) and not issubclass(category, FutureWarning | DeprecationWarning):
        print(f"fedsonar: note: {' '.join(str(message).split())}", file=sys.stderr)
