"""Progress for people, on standard error: a bar a run with the latest scores and the time left.

Off a terminal there is a line now and then in their place.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as RichProgress

import fedsonar

if TYPE_CHECKING:
    from fedsonar.federation import Progress

MODEL, TEXT = "model/compiled", "audit"
"""Packages with kernels: those that models run by, and those that texts are counted by."""
EVERY = 10.0
"""Seconds between two lines where there is no terminal."""


def announce_kernels(package: str) -> None:
    """Says on a terminal why the first use of a package's kernels on a machine starts later than all others."""
    from fedsonar.compiling import compiled_before

    if sys.stderr.isatty() and not compiled_before(Path(fedsonar.__file__).parent / package / "kernels"):
        note = "compiling kernels for this processor, which takes up to a minute and happens once"
        print(f"fedsonar: note: {note}", file=sys.stderr)


class _Shown:
    """Bars on a terminal, or lines elsewhere, while a block runs; a context manager.

    Args:
        columns: Of the bars.
        transient: Whether bars go when the block ends.
        disable: Whether there are no bars on a terminal either.
        quiet: Whether there are no lines.
    """

    def __init__(
        self, *columns: ProgressColumn, transient: bool = False, disable: bool = False, quiet: bool = False
    ) -> None:
        console = Console(stderr=True)
        off = disable or not console.is_terminal  # a file would keep empty lines
        self._bars = RichProgress(*columns, console=console, transient=transient, disable=off)
        self._told: float | None = None if quiet or console.is_terminal else -math.inf

    def _tell(self, line: str, *, always: bool = False) -> None:
        """Says a line where there are no bars: not too often, but for what is always told."""
        if self._told is not None and (always or time.monotonic() - self._told >= EVERY):
            print(line, file=sys.stderr, flush=True)
            self._told = time.monotonic()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()


class Bars(_Shown):
    """A bar for each run; a context manager.

    Args:
        rounds: Run -> its number of rounds.
        quiet: Whether nothing is said where there is no terminal.
    """

    def __init__(self, rounds: Mapping[str, int], *, quiet: bool = False) -> None:
        super().__init__(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[scores]}"),
            TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), quiet=quiet,
        )  # fmt: skip
        self._rounds = rounds
        self._tasks = {name: self._bars.add_task(name, total=total, scores="waiting") for name, total in rounds.items()}

    def __enter__(self) -> Self:
        for name in self._rounds:
            self._tell(f"{name}: reads its rows and its model", always=True)
        return super().__enter__()

    def update(self, name: str, progress: Progress) -> None:
        """Moves a run's bar."""
        task, record, total = self._tasks[name], progress.record, self._rounds[name]
        match progress.stage:
            case "load":
                self._bars.update(task, scores="before tuning")
                self._tell(f"{name}: is examined before tuning", always=True)
            case "screen":
                self._tell(f"{name}: has its rows judged for round {progress.round}")
            case "round":
                scores = []
                if record is not None and record.accuracy is not None:
                    scores.append(f"accuracy {record.accuracy:.2f}")
                if record is not None and record.asr is not None:
                    scores.append(f"ASR {record.asr:.2f}")
                self._bars.update(task, completed=progress.round, scores=", ".join(scores))
                said = ", ".join([f"{name}: round {progress.round} of {total}", *scores])
                self._tell(said, always=progress.round == total)


class Total(_Shown):
    """One bar for many runs, with the newest scores and how many runs are done; a context manager.

    Args:
        rounds: Run -> its number of rounds.
        quiet: Whether nothing is said where there is no terminal.
    """

    def __init__(self, rounds: Mapping[str, int], *, quiet: bool = False) -> None:
        super().__init__(
            TextColumn("{task.fields[done]}/{task.fields[runs]} runs"), BarColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.description}"), quiet=quiet,
        )  # fmt: skip
        self._rounds = rounds
        self._reached = dict.fromkeys(rounds, 0)
        self._task = self._bars.add_task("", total=sum(rounds.values()), done=0, runs=len(rounds))

    def update(self, name: str, progress: Progress) -> None:
        """Moves the bar."""
        if progress.stage != "round":
            return
        self._reached[name] = progress.round
        done = sum(reached == self._rounds[run] for run, reached in self._reached.items())
        record, said = progress.record, name
        if record is not None and record.asr is not None:
            said = f"{name}: ASR {record.asr:.2f}"
        self._bars.update(self._task, completed=sum(self._reached.values()), done=done, description=said)
        self._tell(f"{done} of {len(self._rounds)} runs, {said}, round {progress.round} of {self._rounds[name]}")


class Steps(_Shown):
    """One bar for the steps of a work, each of which goes from nothing to all; a context manager.

    Args:
        quiet: Whether nothing is shown; nor is it where standard error is a file, which would keep empty lines.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
        super().__init__(*columns, disable=quiet, transient=True, quiet=True)
        self._task = self._bars.add_task("")

    def update(self, what: str, done: int, total: int) -> None:
        """Moves the bar."""
        self._bars.update(self._task, description=what, completed=done, total=total)
