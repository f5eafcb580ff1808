"""What all measurements of docs/results/ share: running what is missing, pooling over seeds, writing tables."""

from __future__ import annotations

import csv
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from fedsonar.experiment import Experiment
from fedsonar.measure import pooled as measure_pooled
from fedsonar.poison import ConstantRate
from fedsonar.progress import Bars
from fedsonar.side_by_side import folders, run_all

ROOT = Path(__file__).resolve().parent.parent
RESULTS, RUNS = ROOT / "docs" / "results", ROOT / "runs" / "results"


def measure(experiments: dict[str, Experiment], folder: str) -> dict[str, dict[str, Any]]:
    """Runs what is missing and returns name -> the last round's record, with the rows poisoned and their share."""
    with Bars({name: e.rounds for name, e in experiments.items()}) as bars:
        outcomes = run_all(experiments, RUNS / folder, bars.update)
    found = {}
    for name, path in zip(experiments, folders(outcomes), strict=True):
        record = pq.read_table(path / "rounds.parquet").to_pylist()[-1]
        poisoned = np.array(pq.read_table(path / "samples.parquet")["poisoned"].to_pylist())
        found[name] = record | {"rows": len(poisoned), "poisoned_rows": int(poisoned.sum())}
        found[name]["total_rate"] = float(poisoned.mean())
    return found


def pooled(records: Sequence[dict[str, Any]], rate: str) -> tuple[float, float, float, int]:
    """A rate over all seeds together: value, Wilson interval, number of answers."""
    result = measure_pooled([record[rate] for record in records], [record[f"{rate}_n"] for record in records])
    return result.value, result.low, result.high, result.n


def write_figures(figures: Mapping[str, tuple[float, float | None, float | None, int]], command: str) -> None:
    """Adds headline figures to figures.json."""
    path = RESULTS / "figures.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    date = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    for name, (value, low, high, n) in figures.items():
        known[name] = {"value": value, "low": low, "high": high, "n": n, "command": command, "date": date}
    path.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")


def write_table(name: str, rows: Sequence[dict[str, Any]], text: str) -> None:
    """Writes a table as CSV, and as Markdown under a text that says what it shows."""
    with (RESULTS / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)

    def cell(value: Any) -> str:
        return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)

    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
    lines += [" | ".join(cell(value) for value in row.values()) for row in rows]
    (RESULTS / f"{name}.md").write_text(text.rstrip() + "\n\n" + "\n".join(f"| {line} |" for line in lines) + "\n")


def rates(records: Sequence[dict[str, Any]], *names: str) -> dict[str, Any]:
    """Table cells of pooled rates: the value, and its interval with n."""
    cells: dict[str, Any] = {}
    for name in names:
        value, low, high, n = pooled(records, name)
        cells |= {name: value, f"{name} 95 %": f"[{low:.3f}, {high:.3f}] n={n}"}
    return cells


def said(what: str, seeds: Sequence[int]) -> tuple[str, str]:
    """The command that measures this, and its seeds in words."""
    return f"python recipes/results.py {what} --seeds {' '.join(map(str, seeds))}", ", ".join(map(str, seeds))


def dials(experiment: Experiment) -> tuple[float, float]:
    """The affected fraction and the rate of an experiment."""
    assert experiment.attack is not None
    placement = experiment.attack.placement
    assert isinstance(placement, ConstantRate)
    return placement.affected, placement.rate
