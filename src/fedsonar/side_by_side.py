"""Several runs side by side, a process and a thread each."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.managers import SyncManager
from pathlib import Path
from threading import Thread
from traceback import format_exception_only
from typing import Protocol

from fedsonar.experiment import Experiment
from fedsonar.federation import Progress, run
from fedsonar.preparation import Loaded
from fedsonar.processes import cores, end_with_caller, forking
from fedsonar.writing import write_whole

_ERROR = "error.txt"
"""File in a run's folder that says why it failed."""

_NEEDED = ("fedsonar.side_by_side", "transformers")
"""What every worker imports."""

_IN_WORDS = (ValueError, OSError, ArithmeticError, RuntimeError, ImportError)
"""Errors whose message says by itself what is the matter."""

KILLED = "its process was killed, most likely for lack of memory"
"""Why a run failed whose process ended without a word."""


class Messages(Protocol):
    """Where a worker says how far a run is: (its name, its progress); None ends the listening."""

    def put(self, item: tuple[str, Progress] | None) -> object:
        """Adds a message."""

    def get(self) -> tuple[str, Progress] | None:
        """Waits for the next one, and takes it."""


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Args:
        folder: Where it lies.
        error: Why it failed; empty when it did not.
    """

    folder: Path
    error: str = ""


def run_all(
    experiments: Mapping[str, Experiment],
    out: Path,
    observe: Callable[[str, Progress], None],
    workers: int | None = None,
    *,
    retry: bool = True,
) -> dict[str, Outcome]:
    """Runs experiments side by side; finished ones stay, stopped ones go on, and one that fails stops no other.

    Args:
        experiments: Folder name -> experiment.
        out: Folder that holds the folders.
        observe: Told after every stage of every run, by folder name; from another thread.
        workers: Processes; by default one a core.
        retry: Try again what failed before; otherwise it keeps its error.

    Raises:
        Exception: What :mod:`pickle` raises for an experiment that no other process can be sent; then none has begun.
    """
    outcomes = {} if retry else failed_before(experiments, out)
    waiting = {name: pickle.dumps(experiment) for name, experiment in experiments.items() if name not in outcomes}
    workers = max(1, min(len(waiting), workers or cores()))
    begun: set[str] = set()

    def heard(name: str, progress: Progress) -> None:
        begun.add(name)
        observe(name, progress)

    manager = SyncManager(ctx=forking(_NEEDED))
    manager.start(end_with_caller)
    with manager, relayed(manager.Queue(), heard) as messages:

        def attempt(names: Iterable[str], workers: int) -> bool:
            """Whether all of them came to an end: not so when a process was killed."""
            return _attempt({name: waiting[name] for name in names}, out, messages, workers, outcomes)

        def left() -> list[str]:
            return [name for name in waiting if name not in outcomes]

        while left():
            if not attempt(left(), workers):
                # One at a time tells whose process it is that is killed; it may be before the first has begun.
                for name in [name for name in left() if name in begun] or left()[:1]:
                    if not attempt([name], 1):
                        outcomes[name] = failed(out / name, KILLED)
    return {name: outcomes[name] for name in experiments}


def failed_before(names: Iterable[str], out: Path) -> dict[str, Outcome]:
    """The outcomes of those runs that failed when they were last tried.

    Args:
        names: Folder names.
        out: Folder that holds the folders.
    """
    errors = {name: out / name / _ERROR for name in names}
    return {
        name: Outcome(path.parent, path.read_text(encoding="utf-8")) for name, path in errors.items() if path.is_file()
    }


def folders(outcomes: Mapping[str, Outcome]) -> list[Path]:
    """The folders of runs that all have to be there.

    Raises:
        ValueError: If one failed; names it and says why.
    """
    errors = {name: outcome.error for name, outcome in outcomes.items() if outcome.error}
    if errors:
        name, error = next(iter(errors.items()))
        others = f" ({len(errors) - 1} more of {len(outcomes)} failed)" if len(errors) > 1 else ""
        raise ValueError(f"{name}: {error}{others}")
    return [outcome.folder for outcome in outcomes.values()]


def _attempt(
    experiments: Mapping[str, bytes], out: Path, messages: Messages, workers: int, outcomes: dict[str, Outcome]
) -> bool:
    """Runs pickled experiments and notes what became of them, until the end or until a process is killed."""
    with ProcessPoolExecutor(workers, forking(_NEEDED), end_with_caller) as pool:
        try:
            futures = {
                pool.submit(_run_pickled, name, e, out / name, messages): name for name, e in experiments.items()
            }
            for future in as_completed(futures):
                outcomes[futures[future]] = future.result()
        except BrokenProcessPool:
            return False
        except BaseException:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return True


@contextmanager
def relayed(messages: Messages, observe: Callable[[str, Progress], None]) -> Iterator[Messages]:
    """Passes messages on to an observer, from a thread of its own, until the block ends.

    Args:
        messages: A queue that workers put their messages into.
        observe: Told of each.
    """

    def relay() -> None:
        while (message := messages.get()) is not None:
            observe(*message)

    listener = Thread(target=relay, daemon=True)
    listener.start()
    try:
        yield messages
    finally:
        messages.put(None)
        listener.join(timeout=5)


@cache
def _loaded() -> Loaded:
    """What the runs of this process share."""
    return Loaded()


def _run_pickled(name: str, experiment: bytes, folder: Path, messages: Messages) -> Outcome:
    """As `run_one`, of an experiment that may hold what this process does not find: a class of a notebook, say."""
    try:
        found = pickle.loads(experiment)
    except Exception as error:
        return failed(folder, _said(error))
    return run_one(name, found, folder, messages)


def run_one(name: str, experiment: Experiment, folder: Path, messages: Messages) -> Outcome:
    """In a worker's process: a run on one thread, from where it stopped; one that is finished stays.

    Args:
        name: The run's name, in messages.
        experiment: What to run.
        folder: Of the run.
        messages: Told after every stage.
    """
    import torch

    torch.set_num_threads(1)
    messages.put((name, Progress("begin")))
    if (folder / "summary.json").is_file():
        messages.put((name, Progress("round", experiment.rounds)))
        return Outcome(folder)
    resume = (folder / "experiment.toml").is_file()
    try:
        (folder / _ERROR).unlink(missing_ok=True)
        run(experiment, out=folder, resume=resume, observe=lambda p: messages.put((name, p)), loaded=_loaded())
    except Exception as error:
        return failed(folder, _said(error))
    return Outcome(folder)


def _said(error: Exception) -> str:
    """An error in one line, with its kind where the message alone would say little."""
    message = str(error) if isinstance(error, _IN_WORDS) else ""
    return " ".join((message or "".join(format_exception_only(error))).split())


def failed(folder: Path, error: str) -> Outcome:
    """The outcome of a run that failed, kept in its folder.

    Args:
        folder: Of the run.
        error: Why, in one line.
    """
    write_whole(folder / _ERROR, error.encode())
    return Outcome(folder, error)
