"""Reading run folders, checked, so that tables and figures can rely on what they get."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fedsonar.report.folder import Column, RunFolder, number, printable

NEEDED = ("experiment.toml", "summary.json", "rounds.parquet", "clients.parquet", "samples.parquet")
_BSNR = ("bsnr_crossfit", "bsnr_crossfit_cumulative")
_RATES = ("accuracy", "asr", "false_activation")
_RARE = tuple(f"{name}{end}" for name in ("near_miss", "asr_judged") for end in ("", "_low", "_high"))
"""Columns that runs before they were measured do not have."""
ROUND_NUMBERS = (
    *("round", "loss", *_RATES),
    *(f"{name}_{part}" for name in _BSNR for part in ("db", "ratio")),
    *(f"{name}_{end}" for name in (*_RATES, *_BSNR) for end in ("low", "high")),
)


def read_runs(paths: Sequence[Path]) -> tuple[RunFolder, ...]:
    """The runs at `paths`; where there is more than one, labels are numbered so that they are unique.

    Raises:
        ValueError: If `paths` is empty, or a folder is missing, incomplete or not a run's; names folder and reason.
    """
    if not paths:
        raise ValueError("no run to report on; name at least one run folder")
    runs = [read_run(Path(path)) for path in paths]
    if len(runs) == 1:
        return tuple(runs)
    return tuple(replace(run, label=f"{index} · {run.name}") for index, run in enumerate(runs, 1))


def read_run(path: Path) -> RunFolder:
    """The run that `path` holds.

    Raises:
        ValueError: If the folder is missing, incomplete or not a run's; names the folder and what is wrong.
    """
    if not path.is_dir():
        raise ValueError(f"no run folder at {path}: give the folder that a run wrote")
    missing = [name for name in NEEDED if not (path / name).is_file()]
    if missing:
        raise ValueError(f"{path} is not a complete run folder: it lacks {', '.join(missing)}; finish the run first")
    summary = _json(path / "summary.json", dict)
    wrong = [key for key in ("rounds", "clients") if number(summary.get(key)) is None]
    wrong += [key for key in ("clean", "attack", "screen", "bsnr") if not isinstance(summary.get(key), dict | None)]
    if wrong or not isinstance(summary.get("experiment"), str):
        named = ", ".join(wrong or ["experiment"])
        raise ValueError(f"{path} is not a run folder: summary.json lacks a usable {named}")
    rounds = _table(path / "rounds.parquet", (*ROUND_NUMBERS, "bsnr_note"), _RARE).sort_by("round")
    unknown: Column = [None] * rounds.num_rows
    clients = _table(path / "clients.parquet", ("round", "client", "share", "weight"), ("refused",)).to_pydict()
    landed = _landed(_table(path / "samples.parquet", ("client", "poisoned"), ("source", "drill")))
    rows: Counter[int] = Counter()
    poisoned: Counter[int] = Counter()
    for (client, _), (bad, _, every) in landed.items():
        rows[client] += every
        poisoned[client] += bad
    config_text = (path / "experiment.toml").read_text(encoding="utf-8")
    try:
        config = tomllib.loads(config_text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path / 'experiment.toml'} is not TOML: {error}") from None
    examples = _json(path / "examples.json", list) if (path / "examples.json").is_file() else []
    run = RunFolder(
        path=path,
        label="",
        summary=summary,
        config=config,
        config_text=config_text,
        environment=_json(path / "environment.json", dict) if (path / "environment.json").is_file() else {},
        timing=_json(path / "timing.json", dict) if (path / "timing.json").is_file() else {},
        rounds={
            name: [number(v) for v in rounds[name].to_pylist()] if name in rounds.column_names else unknown
            for name in (*ROUND_NUMBERS, *_RARE)
        },
        bsnr_notes=[str(note or "") for note in rounds["bsnr_note"].to_pylist()],
        shares={
            (int(round_), int(client)): float(share)
            for round_, client, share in zip(clients["round"], clients["client"], clients["share"], strict=True)
            if number(share) is not None
        },
        weights={
            (int(round_), int(client)): float(weight)
            for round_, client, weight in zip(clients["round"], clients["client"], clients["weight"], strict=True)
        },
        refused=[
            (int(round_), int(client), printable(reason))
            for round_, client, reason in zip(
                clients["round"], clients["client"], clients.get("refused", [""] * len(clients["round"])), strict=True
            )
            if reason
        ],
        rows=rows,
        poisoned=poisoned,
        landed=landed,
        sent=_sent(path / "screen.parquet"),
        stealth=_json(path / "stealth.json", dict) if (path / "stealth.json").is_file() else {},
        examples=[example for example in examples if isinstance(example, dict)],
    )
    return replace(run, label=run.name)


def _landed(samples: Any) -> dict[tuple[int, str], tuple[int, int, int]]:
    for name, kind in (("source", pa.string()), ("drill", pa.bool_())):
        if name not in samples.column_names:
            samples = samples.append_column(name, pa.nulls(samples.num_rows, kind))
    # Sources that differ in what cannot be printed alone are one.
    sums = [("poisoned", "sum"), ("drill", "sum"), ([], "count_all")]
    found: dict[tuple[int, str], tuple[int, int, int]] = {}
    for row in samples.group_by(["client", "source"]).aggregate(sums).to_pylist():
        place = row["client"], printable(row["source"] or "")
        poisoned, drills, every = found.get(place, (0, 0, 0))
        found[place] = poisoned + row["poisoned_sum"], drills + (row["drill_sum"] or 0), every + row["count_all"]
    return found


def _sent(path: Path) -> dict[int, int]:
    if not path.is_file():
        return {}
    table = pq.read_table(path, columns=["client", "bytes"]).group_by("client").aggregate([("bytes", "sum")])
    return {row["client"]: row["bytes_sum"] for row in table.to_pylist()}


def _json(path: Path, kind: type) -> Any:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, kind):
        raise ValueError(f"{path} should hold a JSON {'object' if kind is dict else 'list'}, not {value!r:.40}")
    return value


def _table(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> Any:
    try:
        found = pq.read_schema(path).names
        missing = [name for name in columns if name not in found]
        if not missing:
            return pq.read_table(path, columns=[*columns, *(name for name in optional if name in found)])
    except pa.ArrowException as error:
        raise ValueError(f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}") from None
    raise ValueError(f"{path} is not a run's: it lacks the column {', '.join(missing)}")
