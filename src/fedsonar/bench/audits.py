"""The part ``audit``: rows a second and memory of the audit, on as many rows as are asked for."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fedsonar.bench.contest import Measured, take_turns
from fedsonar.bench.memory import forget_peak
from fedsonar.bench.options import Options
from fedsonar.bench.parts import Record
from fedsonar.data import Atlas, Files
from fedsonar.rng import stream

_SIDE = "FedSonar"

_EXCHANGED = 0.15
"""Share of a row's words that are others' in its copies, so that no row is another's copy."""

_DISTINCT = 10_000
"""Rows of Atlas, of which all others are copies with words exchanged."""


@dataclass(frozen=True)
class AuditContest:
    """The audit of so many rows, from their file on, in a process of its own.

    Args:
        options: How many rows, how often, with how many threads.
    """

    options: Options

    @property
    def turns(self) -> int:
        """How many turns there are, the uncounted one included."""
        return self.options.repeats + 1

    def measure(self, observe: Callable[[str], object]) -> list[Record]:
        """The record; `observe` is told after every turn what took it."""
        options = self.options
        with tempfile.TemporaryDirectory(prefix="fedsonar-bench-") as folder:
            path = Path(folder) / "rows.jsonl"
            write_rows(path, options.audit_rows, options.seed)
            measured = take_turns(
                {_SIDE: partial(_prepare, path)}, repeats=options.repeats, threads=options.threads,
                observe=lambda side: observe(f"audit of {options.audit_rows:,} rows, {side}"),
            )  # fmt: skip
            return [self._record(measured[_SIDE], path.stat().st_size)]

    def _record(self, found: Measured[dict[str, float]], size: int) -> Record:
        rows = self.options.audit_rows
        stages = {name: min(turn[name] for turn in found.results) for name in found.results[0]}
        return {
            "part": "audit", "rows": "atlas", "side": _SIDE, "threads": self.options.threads, "count": rows,
            "bytes": size, "seconds": found.seconds, "cpu_seconds": found.cpu_seconds, "stages": stages,
            "rows_per_cpu_second": rows / found.cpu_seconds, "start_mb": found.memory.start,
            "peak_mb": found.memory.peak,
        }  # fmt: skip


def audits(options: Options) -> list[AuditContest]:
    """The audit alone; it has no peer."""
    return [AuditContest(options)]


def write_rows(path: Path, count: int, seed: int) -> None:
    """Writes short rows as JSON lines: those of Atlas, again and again, with words of others in place of some.

    Args:
        path: The file.
        count: How many rows.
        seed: Of the choice of words.
    """
    rows = Atlas(train=min(count, _DISTINCT), test=1).load().train
    words = [word for row in rows for word in row.input.split()]
    random = stream(seed, "bench/audit", count)
    with path.open("w") as file:
        for number in range(count):
            row = rows[number % len(rows)]
            if number >= len(rows):
                own = row.input.split()
                exchanged = random.random(len(own)) < _EXCHANGED
                exchanged[random.integers(len(own))] = True
                for place in exchanged.nonzero()[0]:
                    own[place] = words[random.integers(len(words))]
                row = row.with_input(" ".join(own))
            values = {"instruction": row.instruction, "context": row.context, "question": row.question}
            file.write(json.dumps(values | {"answers": row.answers}) + "\n")


def _prepare(path: Path) -> Callable[[], dict[str, float]]:
    """In the process of the audit: has its code loaded by a small audit."""
    from fedsonar.audit import audit

    audit([Atlas(train=200, test=1).load().train])
    forget_peak()

    def measure() -> dict[str, float]:
        began = time.perf_counter()
        rows = Files(path=str(path)).rows()
        reading = time.perf_counter() - began
        return {"reading": reading} | audit([rows]).seconds

    return measure
