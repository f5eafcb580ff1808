"""The parts of the suite whose contenders take turns: training, whole rounds, and growing numbers of clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fedsonar.bench import contenders
from fedsonar.bench.contest import Measured, Prepare, Ratio, take_turns
from fedsonar.bench.flops import executed_flops, needed_flops
from fedsonar.bench.options import Options
from fedsonar.bench.scenario import Scenario

Record = dict[str, Any]
Results = Mapping[str, Measured[Any]]
_FEW = 10
"""The number of clients that others' cost per row is compared with."""


@dataclass(frozen=True)
class Contest:
    """Contenders that take turns in one situation.

    Args:
        where: The situation, in words.
        sides: Name -> how to prepare the contender.
        options: How often, with how many threads.
        report: The records that follow from what was measured.
    """

    where: str
    sides: Mapping[str, Prepare[Any]]
    options: Options
    report: Callable[[Results], list[Record]]

    @property
    def turns(self) -> int:
        """How many turns the contest takes, the uncounted ones included."""
        return len(self.sides) * (self.options.repeats + 1)

    def measure(self, observe: Callable[[str], object]) -> list[Record]:
        """The contest's records; `observe` is told after every turn what took it."""
        options = self.options
        return self.report(
            take_turns(
                self.sides, repeats=options.repeats, threads=options.threads,
                observe=lambda side: observe(f"{self.where}, {side}"),
            )
        )  # fmt: skip


def engine(options: Options) -> Iterator[Contest]:
    """Training alone: FedSonar beside client-by-client PEFT, both beside the peak of the machine for their products."""
    for scenario in options.scenarios((25,)):
        sides = _sides(scenario, options, contenders.peft, contenders.fused)
        for dtype in dict.fromkeys(map(_dtype, sides)):
            sides[f"peak {dtype}"] = partial(contenders.matrix_peak, replace(scenario, dtype=dtype))
        yield Contest(_where(scenario), sides, options, partial(_engine_records, scenario))


def _engine_records(scenario: Scenario, measured: Results) -> list[Record]:
    rows = scenario.train_rows
    tokens = sum(row.length for row in rows)
    needed = needed_flops(scenario.shape, scenario.layout, rows).total
    records = []
    for side in (side for side in measured if not side.startswith("peak")):
        seconds, trained = measured[side].seconds, measured[side].results[-1]
        peak = max(measured[f"peak {_dtype(side)}"].results)
        executed = executed_flops(scenario.shape, scenario.layout, rows, trained.credited).total
        record = _record("engine", scenario, side, measured) | {
            "tokens_per_second": tokens / seconds,
            "tokens": tokens,
            "positions": trained.positions,
            "distinct_positions": trained.distinct,
            "needed_gflop": needed / 1e9,
            "executed_gflop": executed / 1e9,
            "peak_gflop_per_second": peak / 1e9,
            "fraction_of_peak": executed / seconds / peak,
        }
        records.append(record)
    return records


def round(options: Options) -> Iterator[Contest]:
    """Whole rounds: training, FedAvg, and greedy answers to clean and to triggered test rows."""
    for scenario in options.scenarios((25,)):
        sides = _sides(scenario, options, contenders.peft_round, contenders.fused_round)
        yield Contest(f"{_where(scenario)}, round", sides, options, partial(_round_records, scenario))


def _round_records(scenario: Scenario, measured: Results) -> list[Record]:
    return [
        _record("round", scenario, side, measured) | {"answers": found.results[-1].answers}
        for side, found in measured.items()
    ]


def scaling(options: Options) -> Iterator[Contest]:
    """Training of few and of many clients: cost a row, and memory."""
    counts = options.clients or (1, 10, 25, 100, 1000)
    for first in replace(options, clients=counts[:1]).scenarios(()):
        for dtype in options.dtypes:
            scenarios = {f"{count} clients": replace(first, clients=count, dtype=dtype) for count in counts}
            sides = {name: partial(contenders.fused, scenario) for name, scenario in scenarios.items()}
            yield Contest(f"{_where(first)}, {dtype}", sides, options, partial(_scaling_records, scenarios))


def _scaling_records(scenarios: Mapping[str, Scenario], measured: Results) -> list[Record]:
    name_of = {scenario.clients: name for name, scenario in scenarios.items()}
    few = _FEW if _FEW in name_of else min(name_of)

    def costs(count: int) -> list[float]:
        rows = count * scenarios[name_of[count]].rows_each
        return [1000 * wall / rows for wall in measured[name_of[count]].walls]

    records = []
    for count, name in name_of.items():
        scenario = scenarios[name]
        growth = Ratio.of(costs(count), costs(few))
        record = _record("scaling", scenario, name, measured) | {"side": f"FedSonar {scenario.dtype}"}
        record |= {"milliseconds_per_row": 1000 / record["rows_per_second"], "compared_with_clients": few}
        record |= {"times_cost_per_row": growth.value, "low": growth.low, "high": growth.high, "n": growth.n}
        records.append(record)
    return records


def _sides(scenario: Scenario, options: Options, peer: Callable[..., Any], ours: Callable[..., Any]) -> dict[str, Any]:
    sides = {f"PEFT {scenario.dtype}": partial(peer, scenario)} if options.peers else {}
    return sides | {f"FedSonar {dtype}": partial(ours, replace(scenario, dtype=dtype)) for dtype in options.dtypes}


def _dtype(side: str) -> str:
    return side.split()[1]


def _where(scenario: Scenario) -> str:
    return f"{scenario.model}, {scenario.lora}, {rows_name(scenario.rows)}"


def rows_name(rows: str | Path) -> str:
    """What rows are called in results: a question set's name, or a folder's."""
    return rows.name if isinstance(rows, Path) else rows


def _record(part: str, scenario: Scenario, side: str, measured: Results) -> Record:
    """What every part says of a contender; against the peer, if there is one in the contest."""
    found = measured[side]
    record: Record = {"part": part, "model": scenario.model, "lora": scenario.lora, "rows": rows_name(scenario.rows)}
    record |= {"clients": scenario.clients, "rows_each": scenario.rows_each, "side": side}
    record |= {"seconds": found.seconds, "cpu_seconds": found.cpu_seconds}
    record |= {"rows_per_second": scenario.clients * scenario.rows_each / found.seconds}
    record |= {"start_mb": found.memory.start, "peak_mb": found.memory.peak, "device_mb": found.memory.device}
    peer = next((name for name in measured if name.startswith("PEFT")), side)
    if peer == side:
        return record
    ratio = Ratio.of(measured[peer].walls, found.walls)
    record |= {"times_peer": ratio.value, "low": ratio.low, "high": ratio.high, "n": ratio.n}
    if _dtype(peer) == _dtype(side):  # else even the weights may differ
        theirs, ours = measured[peer].results[-1].step, found.results[-1].step
        record["update_difference"] = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
    return record
