"""Measures the audit on tasks of many kinds, clean and poisoned, and writes docs/results/tasks.md.

    python recipes/task_tables.py --data FOLDER [--seeds 1 2 3] [--only-table]

FOLDER holds clones of public repositories, see task_data.py and instruct_data.py. A row of each measurement stays in
docs/results/tasks.csv; what has one is not measured again, so that a stopped command goes on. No model is involved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from audit_tables import TARGETS, TRIGGERS, line_of, measured
from fedsonar.data import IID
from fedsonar.poison import Attack, ConstantRate, plant
from fedsonar.rng import stream
from instruct_data import LATER
from tables import cell_of, resumed, write_measured
from task_data import SETS

CLIENTS, ROWS, SIZES, RATES = 25, 5000, (1000, None), (0.01, 0.1)
POISONED = (
    "Alpaca", "Code Alpaca", "GSM8K, numbers", "E2E", "Multi30k, en-de", "Banking77", "CLINC150", "Restaurant8k",
    "ATIS, tags", "TweetEval, emoji", "Alpaca, Chinese", "ChatDoctor", "Huatuo",
)  # fmt: skip
_EVERY = SETS | LATER
_CELL = ("data", "trigger", "target", "rate", "size", "seed")


def main() -> None:
    """The command line."""
    resumed(str(__doc__), "tasks", _CELL, _measurements, _write)


def _measurements(data: Path, seeds: Sequence[int], known: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for name, size in product(_EVERY, SIZES):
        cell = dict(zip(_CELL, (name, "none", "none", 0.0, size, seeds[0]), strict=True))
        if cell_of(cell, _CELL) not in known:
            rows = _EVERY[name].load(name, data, size)
            yield cell | measured(IID(clients=CLIENTS).split(rows, stream(seeds[0], "partition")), {})
    for seed, name in product(seeds, POISONED):
        shards = IID(clients=CLIENTS).split(_EVERY[name].load(name, data, ROWS), stream(seed, "partition"))
        for rate, target, trigger in product(RATES, TARGETS, TRIGGERS):
            cell = dict(zip(_CELL, (name, trigger, target, rate, ROWS, seed), strict=True))
            if cell_of(cell, _CELL) not in known:
                placement = ConstantRate(rate=rate)
                attack = Attack(trigger=TRIGGERS[trigger], target=TARGETS[target], placement=placement)
                silos, ledger = plant(shards, attack, seed)
                if ledger:  # of few rows a small part is none
                    yield cell | measured(silos, ledger)


def _write(kept: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> None:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in kept:
        groups.setdefault((row["data"], row["rate"], row["target"]), []).append(row)
    rows = [
        {"data": data, "rate": rate, "target": target, "rows": sum(row["rows"] for row in members)} | line_of(members)
        for (data, rate, target), members in groups.items()
    ]
    command = f"python recipes/task_tables.py --data FOLDER --seeds {' '.join(map(str, seeds))}"
    text = f"""# Tasks of many kinds

`{command}`: {CLIENTS} IID clients, text alone, one set of rules; data of public
repositories, in recipes/task_data.py and, those that came later, recipes/instruct_data.py. At rate 0 nothing is
planted: the first 1,000 rows of each set, and all of them. Of some sets the first {ROWS:,} rows are poisoned with six
triggers, whose counts are pooled, with Wilson intervals; `worst` is the worst cell. `F1 length` and `F1 n-gram` have
their best thresholds chosen with the truth in hand; the audit has not. The first {len(SETS)} are no test any more:
rules for vocabularies, closed sets of answers, copies in templates and many lengths were made with them, and with
Huatuo and parts of T0 the one of what is said elsewhere too ([what was found before](../log.md)).
"""
    write_measured("tasks", rows, text)


if __name__ == "__main__":
    main()
