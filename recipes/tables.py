"""What all measurements of docs/results/ share: running what is missing, pooling over seeds, writing tables."""

from __future__ import annotations

import argparse
import csv
import datetime
import hashlib
import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from fedsonar.experiment import Experiment, to_toml
from fedsonar.measure import pooled as measure_pooled
from fedsonar.poison import ConstantRate
from fedsonar.progress import Bars, Total
from fedsonar.side_by_side import folders, run_all
from fedsonar.writing import write_whole

ROOT = Path(__file__).resolve().parent.parent
RESULTS, RUNS = ROOT / "docs" / "results", ROOT / "runs" / "results"
_MOST_BARS = 12


def measure(experiments: Mapping[str, Experiment], folder: str) -> dict[str, dict[str, Any]]:
    """Runs what is missing and returns name -> the last round's record, with the rows poisoned and their share."""
    rounds = {name: e.rounds for name, e in experiments.items()}
    with Bars(rounds) if len(rounds) <= _MOST_BARS else Total(rounds) as bars:
        outcomes = run_all(experiments, RUNS / folder, bars.update)
    return {name: _last_record(path) for name, path in zip(experiments, folders(outcomes), strict=True)}


def measure_long(
    experiments: Mapping[str, Experiment], folder: str, columns: Sequence[str], more: Callable[[Path], dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """As `measure`, for runs that take hours together: a row of each stays in docs/results/FOLDER_runs.csv.

    What has its row there is not run again, on any machine, as long as its experiment stays the same; equal experiments
    run once. Remove the file and the runs' folders to measure afresh, after a change of the training, say.

    Args:
        experiments: Name -> experiment.
        folder: Of the runs, and the table's name.
        columns: What to keep of the last round's record.
        more: Further cells, from a run's folder.
    """
    path = RESULTS / f"{folder}_runs.csv"
    kept = {row["experiment"]: row for row in read_table(path)} if path.exists() else {}
    # The x keeps digits from being read as a number.
    keys = {name: "x" + hashlib.sha256(to_toml(e).encode()).hexdigest()[:15] for name, e in experiments.items()}
    names = {keys[name]: name for name in reversed(experiments)}
    missing = {name: experiments[name] for key, name in reversed(names.items()) if key not in kept}
    try:
        if missing:
            measure(missing, folder)
    finally:
        for name in missing:
            run = RUNS / folder / name
            if (run / "summary.json").is_file():
                record = _last_record(run)
                row = {"run": name, "experiment": keys[name], "rows": record["rows"]}
                row |= {column: record[column] for column in ("poisoned_rows", "total_rate", *columns)}
                kept[keys[name]] = row | more(run)
        if kept:
            write_csv(path, [kept[key] for key in sorted(kept, key=lambda key: kept[key]["run"])])
    return {name: kept[keys[name]] for name in experiments}


def _last_record(run: Path) -> dict[str, Any]:
    record: dict[str, Any] = pq.read_table(run / "rounds.parquet").to_pylist()[-1]
    poisoned = np.array(pq.read_table(run / "samples.parquet")["poisoned"].to_pylist())
    record |= {"rows": len(poisoned), "poisoned_rows": int(poisoned.sum()), "total_rate": float(poisoned.mean())}
    return record


def read_table(path: Path) -> list[dict[str, Any]]:
    """The rows of a CSV file, numbers as numbers and empty cells as None."""

    def value(cell: str) -> Any:
        for kind in (int, float):
            with suppress(ValueError):
                return kind(cell)
        return cell or None

    with path.open(newline="") as file:
        return [{name: value(cell) for name, cell in row.items()} for row in csv.DictReader(file)]


def resumed(
    about: str, name: str, cell: Sequence[str],
    measurements: Callable[..., Iterator[dict[str, Any]]],
    write: Callable[[Sequence[Mapping[str, Any]], Sequence[int]], None], *, data: bool = True,
) -> None:  # fmt: skip
    """The command line of a table whose measurements stay in a CSV file, so that a stopped command goes on.

    Args:
        about: What `--help` says.
        name: Of the table.
        cell: Columns that say which measurement a row is.
        measurements: Yields those that are not known: the data's folder if there is any, seeds, known cells.
        write: Writes the table of all of them, for these seeds.
        data: Whether a folder of data is asked for.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    if data:
        parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--only-table", action="store_true", help="write the table of what is measured, and stop")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of triggers that fit few rows
    path = RESULTS / f"{name}.csv"
    kept = read_table(path) if path.exists() else []
    known = {cell_of(row, cell) for row in kept}
    folder = (options.data,) if data else ()
    for row in () if options.only_table else measurements(*folder, options.seeds, known):
        kept.append(row)
        write_csv(path, kept)
        print(row, flush=True)
    write(kept, options.seeds)


def cell_of(row: Mapping[str, Any], cell: Sequence[str]) -> tuple[Any, ...]:
    """Which measurement a row is, by the columns that say so."""
    return tuple(row[column] for column in cell)


def write_measured(name: str, rows: Sequence[dict[str, Any]], text: str) -> None:
    """Writes a table whose CSV file holds the measurements themselves and stays as it is."""
    measurements = (RESULTS / f"{name}.csv").read_bytes()
    write_table(name, rows, text)
    (RESULTS / f"{name}.csv").write_bytes(measurements)


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
    write_csv(RESULTS / f"{name}.csv", rows)
    (RESULTS / f"{name}.md").write_text(text.rstrip() + "\n\n" + markdown(rows))


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """A table in Markdown."""

    def cell(value: Any) -> str:
        return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)

    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
    lines += [" | ".join(cell(value) for value in row.values()) for row in rows]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Writes rows with the same columns as a CSV file, which appears whole or not at all."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())


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
