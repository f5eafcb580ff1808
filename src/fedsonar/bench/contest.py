"""Contenders side by side: each in a process of its own, taking turns, compared pair by pair."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import torch

from fedsonar.bench.memory import peak_resident
from fedsonar.processes import end_with_caller, forking

_NEEDED = ("torch", "transformers", "peft", "fedsonar.bench.contenders")
"""What most contenders import."""

_PAUSE = 0.25
"""Seconds between two turns. Idle threads of BLAS and OpenMP still spin for 25 to 200 ms after their last work, and a
turn that began then would share its cores with those of the turn before."""

T = TypeVar("T")
Prepare = Callable[[], Callable[[], T]]
"""Loads what a contender needs and returns what it does each turn; must be picklable, a `functools.partial` say.

What it returns may have a method ``ready``, which is called before every turn, off the clock.
"""


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one turn: on the clock, and of all cores."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True)
class Memory:
    """Megabytes: the most held before the first turn, the most ever held, and the most held on the accelerator."""

    start: float
    peak: float
    device: float | None = None


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as long one contender took as another, over the pairs of turns.

    Args:
        value: Median of the ratios of neighbouring turns.
        low: The least of them.
        high: The greatest of them.
        n: Number of pairs.
    """

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, slow: Sequence[float], fast: Sequence[float]) -> Ratio:
        """The ratio of two series of measurements that took turns."""
        ratios = [a / b for a, b in zip(slow, fast, strict=True)]
        return cls(statistics.median(ratios), min(ratios), max(ratios), len(ratios))


@dataclass(slots=True)
class Measured(Generic[T]):
    """A contender's turns."""

    timings: list[Timing] = field(default_factory=list)
    results: list[T] = field(default_factory=list)
    memory: Memory = Memory(0.0, 0.0)

    @property
    def walls(self) -> list[float]:
        """Seconds on the clock of each turn."""
        return [timing.wall for timing in self.timings]

    @property
    def seconds(self) -> float:
        """Median seconds of a turn."""
        return statistics.median(self.walls)

    @property
    def cpu_seconds(self) -> float:
        """Median seconds of a turn, of all cores together."""
        return statistics.median(timing.cpu for timing in self.timings)


def take_turns(
    contenders: Mapping[str, Prepare[Any]],
    *,
    repeats: int,
    threads: int,
    observe: Callable[[str], object] = lambda _: None,
) -> dict[str, Measured[Any]]:
    """What each contender measured, after one turn each that does not count: A B C, A B C, ...

    A process of its own for each keeps their memory apart; only one of them works at any time, and a short pause
    between turns lets the threads of the last one fall asleep.

    Args:
        contenders: Name -> how to prepare it.
        repeats: Turns of each that count.
        threads: Threads of PyTorch in each.
        observe: Told the name after every turn, the uncounted one included.

    Raises:
        ChildProcessError: If a contender's process was killed, most likely for memory.
    """
    measured: dict[str, Measured[Any]] = {name: Measured() for name in contenders}
    with _processes(contenders) as processes:
        for name, prepare in contenders.items():
            processes[name].do(_prepare, prepare, threads)
        for turn in range(repeats + 1):
            for name, process in processes.items():
                time.sleep(_PAUSE)
                timing, result = process.do(_turn)
                if turn:
                    measured[name].timings.append(timing)
                    measured[name].results.append(result)
                observe(name)
        for name, process in processes.items():
            measured[name].memory = process.do(_memory)
    return measured


class _Process:
    """One contender's process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pool = ProcessPoolExecutor(1, forking(_NEEDED), end_with_caller)
        self.id = self.do(os.getpid)

    def do(self, action: Callable[..., Any], *arguments: Any) -> Any:
        future: Future[Any] = self.pool.submit(action, *arguments)
        try:
            return future.result()
        except (BrokenProcessPool, torch.OutOfMemoryError) as error:
            reason = "was killed, most likely for" if isinstance(error, BrokenProcessPool) else "failed for"
            raise ChildProcessError(f"the process of {self.name} {reason} lack of memory") from error


@contextmanager
def _processes(names: Iterable[str]) -> Iterator[dict[str, _Process]]:
    """A process for each name; they end with the block, and at once when something fails in it."""
    started: dict[str, _Process] = {}
    try:
        for name in names:
            started[name] = _Process(name)
        yield started
    except BaseException:
        for process in started.values():
            with suppress(ProcessLookupError):
                os.kill(process.id, signal.SIGTERM)
        raise
    finally:
        for process in started.values():
            process.pool.shutdown(cancel_futures=True)


_prepared: dict[str, Any] = {}
"""In a contender's process: what it does, and what it held before."""


def _prepare(prepare: Prepare[Any], threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that waits for the turns ends them
    torch.set_num_threads(threads)
    _prepared["turn"] = prepare()
    _prepared["start"] = peak_resident()


def _turn() -> tuple[Timing, Any]:
    getattr(_prepared["turn"], "ready", lambda: None)()
    wall, cpu = time.perf_counter(), time.process_time()
    result = _prepared["turn"]()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
    return Timing(time.perf_counter() - wall, time.process_time() - cpu), result


def _memory() -> Memory:
    accelerated: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    device = torch.cuda.max_memory_allocated() / 2**20 if accelerated else None
    return Memory(_prepared["start"], peak_resident(), device)
