"""The part beside Flower: the same federation from start to end, each side in processes of its own."""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from fedsonar.bench.contest import Ratio
from fedsonar.bench.loras import LORAS
from fedsonar.bench.memory import watch
from fedsonar.bench.options import Options
from fedsonar.bench.parts import Record, rows_name
from fedsonar.bench.scenario import Scenario
from fedsonar.model import Base, save_adapter
from fedsonar.model.loading import without_bars

INSTALL = "Flower is not installed, so the part beside it is left out: pip install 'fedsonar[flower]'"
_PEER = "Flower float32"


def installed() -> bool:
    """Whether Flower and its simulation can be imported."""
    return all(importlib.util.find_spec(name) for name in ("flwr", "ray"))


@dataclass(frozen=True)
class FlowerContest:
    """One federation, run by Flower's simulation and by FedSonar in turn; starting, loading and stopping included.

    Flower may run as many clients at a time as there are threads, with one thread each; FedSonar has all threads in one
    process. Both sides train the same batches from the same adapter and evaluate nothing.

    Args:
        scenario: Model, adapter, clients and rows.
        options: Rounds, repeats and threads.
    """

    scenario: Scenario
    options: Options

    @property
    def sides(self) -> list[str]:
        """Who takes turns."""
        return [_PEER] * self.options.peers + [f"FedSonar {dtype}" for dtype in self.options.dtypes]

    @property
    def turns(self) -> int:
        """How many turns the contest takes; none is for warming up."""
        return len(self.sides) * self.options.repeats

    def measure(self, observe: Callable[[str], object]) -> list[Record]:
        """The contest's records; `observe` is told after every turn what took it."""
        seconds: dict[str, list[float]] = {side: [] for side in self.sides}
        memory: dict[str, list[float]] = {side: [] for side in self.sides}
        with tempfile.TemporaryDirectory(prefix="fedsonar-bench-") as name:
            folder = Path(name)
            write(folder, self.scenario, self.options)
            for _ in range(self.options.repeats):
                for side in self.sides:
                    wall, peak = run(_command(side, folder))
                    seconds[side].append(wall)
                    memory[side] += [peak] if peak is not None else []
                    observe(f"{self.scenario.model}, {rows_name(self.scenario.rows)}, {side}")
            adapters = {side: _result(side, folder) for side in self.sides}
        return [self._record(side, seconds, memory, adapters) for side in self.sides]

    def _record(
        self, side: str, seconds: dict[str, list[float]], memory: dict[str, list[float]], adapters: dict[str, Any]
    ) -> Record:
        scenario = self.scenario
        record: Record = {"part": "flower", "model": scenario.model, "lora": scenario.lora}
        record |= {"rows": rows_name(scenario.rows), "clients": scenario.clients, "rows_each": scenario.rows_each}
        record |= {"side": side, "rounds": self.options.rounds, "seconds": statistics.median(seconds[side])}
        record |= {"peak_mb": statistics.median(memory[side]) if memory[side] else None}
        if _PEER not in seconds or side == _PEER:
            return record
        ratio = Ratio.of(seconds[_PEER], seconds[side])
        record |= {"times_peer": ratio.value, "low": ratio.low, "high": ratio.high, "n": ratio.n}
        if memory[side]:
            part = Ratio.of(memory[side], memory[_PEER])
            record |= {"memory_of_peer": part.value, "memory_low": part.low, "memory_high": part.high}
        return record | {"adapter_difference": _difference(adapters[side], adapters[_PEER])}


def flower(options: Options) -> Iterator[FlowerContest]:
    """The federations to run: ten clients unless told otherwise."""
    for scenario in options.scenarios((10,)):
        yield FlowerContest(scenario, options)


def write(folder: Path, scenario: Scenario, options: Options) -> None:
    """Leaves in a folder what both sides read: the model, the first adapter, the options, and each client's rows.

    A client's file holds its rows as (prompt, response), and for each round its batches as lists of row numbers.
    """
    with without_bars():
        scenario.load().save_pretrained(folder / "model")
        Base(device="cpu").load()[1].save_pretrained(folder / "model")
    save_adapter(folder / "start", scenario.start, scenario.layout, LORAS[scenario.lora], str(folder / "model"))
    training = scenario.training
    named: Record = {"lr": training.lr, "max_grad_norm": training.max_grad_norm, "batch_size": scenario.batch_size}
    named |= {"clients": scenario.clients, "rounds": options.rounds, "lora": scenario.lora, "seed": scenario.seed}
    named |= {"threads": options.threads, "device": scenario.device}
    (folder / "federation.json").write_text(json.dumps(named))
    rounds = [scenario.batches(round) for round in range(1, options.rounds + 1)]
    for client in range(scenario.clients):
        rows = scenario.train_rows[client * scenario.rows_each : (client + 1) * scenario.rows_each]
        place = {row.id: i for i, row in enumerate(rows)}
        batches = [[[place[row.id] for row in batch] for batch in clients[client]] for clients in rounds]
        data = {"rows": [(row.prompt, row.response) for row in rows], "rounds": batches}
        (folder / f"client-{client}.json").write_text(json.dumps(data))


def _command(side: str, folder: Path) -> list[str]:
    if side == _PEER:  # -P: names of our files must not hide modules that Flower imports
        return [sys.executable, "-P", str(Path(__file__).with_name("flower_peer.py")), str(folder)]
    return [sys.executable, "-m", "fedsonar.bench.fused_federation", str(folder), side.split()[1]]


def run(command: list[str]) -> tuple[float, float | None]:
    """Seconds that a command took, and the most memory in MB that its processes held at once (None off Linux).

    Raises:
        ChildProcessError: If it failed; ends with what it said last.
    """
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    quiet |= {"RAY_worker_niceness": "0"}  # Ray's workers would wait for whatever else the machine does
    with tempfile.TemporaryFile("w+") as said:
        began = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=os.environ | quiet)
        with ThreadPoolExecutor(1) as beside:
            peak = beside.submit(watch, process.pid, lambda: process.returncode is None)
            try:
                process.wait()
            finally:
                seconds = time.perf_counter() - began
                process.terminate()
                process.wait()
        if process.returncode:
            said.seek(0)
            raise ChildProcessError(f"{' '.join(command[1:])} failed: {said.read().strip()[-500:]}")
    return seconds, peak.result()


def _result(side: str, folder: Path) -> dict[str, Tensor]:
    """The adapter that a side's last run left."""
    place = "flower.safetensors" if side == _PEER else f"fused-{side.split()[1]}/adapter_model.safetensors"
    return load_file(folder / place)


def _difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The distance of two adapters over the norm of the second."""
    squares = [((one[name] - other[name]).square().sum(), other[name].square().sum()) for name in other]
    return float((sum(a for a, _ in squares) / sum(b for _, b in squares)) ** 0.5)
