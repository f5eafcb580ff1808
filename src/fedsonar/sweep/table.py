"""One table of all runs of a grid, a row a round."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fedsonar.errors import ConfigError
from fedsonar.experiment import load
from fedsonar.sweep.grid import Cell
from fedsonar.writing import write_whole

FILE = "sweep.parquet"


def check_cells(cells: Sequence[Cell], out: Path) -> None:
    """Returns when the folder is no single run's, and every run that lies in it is the one that belongs there.

    Raises:
        ConfigError: If one is of another experiment, or the folder is a run's.
    """
    if (out / "experiment.toml").is_file():
        raise ConfigError(f"{str(out)!r} holds a run; choose another --out")
    for cell in cells:
        config = out / cell.name / "experiment.toml"
        if config.is_file() and load(config) != cell.experiment:
            raise ConfigError(
                f"{str(out / cell.name)!r} holds a run of another experiment; choose another --out, or remove it"
            )


def write_sweep(cells: Sequence[Cell], out: Path) -> Path:
    """Writes the rounds of all finished runs into one Parquet file and returns its path.

    Beside the columns of ``rounds.parquet`` there are the cell's name, the value of every path of the grid, the seed,
    the clients' rows, and how many of them are poisoned; and of the last round what a repair made of it.

    Args:
        cells: The grid.
        out: Folder of the sweep, which holds the runs by the cells' names.
    """
    rows: list[dict[str, Any]] = []
    for cell in cells:
        folder = out / cell.name
        if not (folder / "summary.json").is_file():
            continue
        poisoned = pq.read_table(folder / "samples.parquet", columns=["poisoned"])["poisoned"].to_pylist()
        own = {"cell": cell.name, "seed": cell.experiment.seed} | dict(cell.values)
        own |= {"rows": len(poisoned), "poisoned_rows": sum(poisoned)}
        records = pq.read_table(folder / "rounds.parquet").to_pylist()
        rows += [own | record | _repaired({}) for record in records[:-1]]
        rows.append(own | records[-1] | _repaired(json.loads((folder / "summary.json").read_text())))
    path = out / FILE
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: _column([row[name] for row in rows]) for name in (rows[0] if rows else {})}), sink)
    write_whole(path, sink.getvalue().to_pybytes())
    return path


def _repaired(summary: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a run's repair fills."""
    part = summary.get("repair") or {}
    clean, attack = part.get("clean") or {}, part.get("attack") or {}
    return {
        "repaired_accuracy": clean.get("accuracy"), "repaired_accuracy_n": clean.get("n"),
        "repaired_asr": attack.get("success_rate"), "repaired_asr_n": attack.get("n"),
    }  # fmt: skip


def read_sweep(path: Path) -> list[dict[str, Any]]:
    """The rows of a sweep's table.

    Args:
        path: The file, or the folder of the sweep.
    """
    rows: list[dict[str, Any]] = pq.read_table(path / FILE if path.is_dir() else path).to_pylist()
    return rows


def _column(values: list[Any]) -> pa.Array:
    """A column; as text where a path took values of several kinds."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        values = [None if value is None else float(value) for value in values]
    elif len(kinds) > 1 or kinds & {list, dict}:
        values = [None if value is None else str(value) for value in values]
    return pa.array(values, pa.float64() if not kinds else None)
