"""Reading run folders, checked, so that tables and figures can rely on what they get."""

from __future__ import annotations

import json
import math
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Column = list[float | None]

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


@dataclass(frozen=True, kw_only=True)
class Rate:
    """A share of cases in [0, 1] with its 95 % interval and the number of cases, where those are known."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """One run as its folder tells it; None stands for whatever was not measured or is undefined.

    Args:
        path: The folder.
        label: What tables and figures call the run; unique among the runs of one report.
        summary: Parsed `summary.json`.
        config: Parsed `experiment.toml`; `config_text` is the file itself.
        environment: Parsed `environment.json`, empty where there is none.
        timing: Parsed `timing.json`, empty where there is none.
        rounds: Columns of `rounds.parquet` in the order of the rounds, NaN as None.
        bsnr_notes: Why the BSNR of a round is undefined, '' where it is not.
        shares: (round, client) -> how much the rule counted the client; empty if no share was recorded.
        weights: (round, client) -> the weight that the rule was offered.
        refused: Round, client and reason of every update that was kept from the rule.
        rows: Client -> rows it trains on.
        poisoned: Client -> poisoned rows among them, for every client in `rows`.
        landed: (client, source) -> poisoned rows, drills, and all rows; sources are '' where runs did not record them.
        sent: Client -> bytes that left it for the screen; empty where nothing did.
        stealth: Parsed `stealth.json`, empty where there is none.
        examples: Parsed `examples.json`, empty where there is none.
    """

    path: Path
    label: str
    summary: Mapping[str, Any]
    config: Mapping[str, Any]
    config_text: str
    environment: Mapping[str, Any]
    timing: Mapping[str, Any]
    rounds: Mapping[str, Column]
    bsnr_notes: Sequence[str]
    shares: Mapping[tuple[int, int], float]
    weights: Mapping[tuple[int, int], float]
    refused: Sequence[tuple[int, int, str]]
    rows: Mapping[int, int]
    poisoned: Mapping[int, int]
    landed: Mapping[tuple[int, str], tuple[int, int, int]]
    sent: Mapping[int, int]
    stealth: Mapping[str, Any]
    examples: Sequence[Mapping[str, Any]]

    @property
    def name(self) -> str:
        """The experiment's name, unprintable characters replaced so that no terminal obeys them."""
        return printable(str(self.summary["experiment"])) or self.path.resolve().name

    @property
    def rule(self) -> str | None:
        """The aggregation rule and its arguments, say ``Krum (f=2)``."""
        return _component(self.config.get("aggregator"))

    @property
    def num_clients(self) -> int:
        """Clients of the federation: those that took part, or all that hold rows where those are more."""
        return max(int(self.summary["clients"]), len(self.rows))

    @property
    def affected(self) -> tuple[int, ...]:
        """The clients that hold a poisoned row, in order."""
        return tuple(sorted(client for client, count in self.poisoned.items() if count))

    @property
    def poison_rate(self) -> float | None:
        """Poisoned rows over all rows of the affected clients; None if no client is affected."""
        rows = sum(self.rows[client] for client in self.affected)
        return sum(self.poisoned.values()) / rows if rows else None

    @property
    def accuracy(self) -> Rate | None:
        """Clean accuracy at the end."""
        return _rate(self.summary.get("clean"), "accuracy")

    @property
    def asr(self) -> Rate | None:
        """Attack success rate at the end, over all triggered rows."""
        return _rate(self.summary.get("attack"), "success_rate")

    @property
    def repaired(self) -> tuple[str, Rate | None, Rate | None, Rate | None] | None:
        """The repair after the last round, then accuracy, attack success and false activation; None without one."""
        part = self.summary.get("repair")
        if not part:
            return None
        attack = part.get("attack") or {}
        elsewhere = {end: attack.get(f"false_activation_{end}") for end in ("n", "low", "high")}
        elsewhere["value"] = attack.get("false_activation")
        found = _rate(part.get("clean"), "accuracy"), _rate(attack, "success_rate"), _rate(elsewhere, "value")
        return (_component(self.config.get("repair")) or printable(str(part.get("kind"))), *found)

    @property
    def false_activation(self) -> Rate | None:
        """Rate of the target on untriggered rows at the end, with the interval of the last round that has it."""
        value = number((self.summary.get("attack") or {}).get("false_activation"))
        if value is None:
            return None
        measured = [i for i, rate in enumerate(self.rounds["false_activation"]) if rate is not None]
        if not measured or self.rounds["false_activation"][measured[-1]] != value:
            return Rate(value=value)
        low, high = (self.rounds[f"false_activation_{end}"][measured[-1]] for end in ("low", "high"))
        return Rate(value=value, low=low, high=high)

    def bsnr(self, which: str) -> float | None:
        """The summary's BSNR in dB; `which` is 'final' or 'cumulative'."""
        return number((self.summary.get("bsnr") or {}).get(f"{which}_db"))

    def before(self, column: str) -> float | None:
        """The value of a `rounds` column in round 0, before tuning."""
        return dict(zip(self.rounds["round"], self.rounds[column], strict=True)).get(0)


def _component(section: object) -> str | None:
    """A component of the configuration in words, components inside it too; None where there is none."""
    if isinstance(section, str):
        return printable(section.rpartition(".")[2])
    if not isinstance(section, Mapping) or "class_path" not in section:
        return None
    name = printable(str(section["class_path"]).rpartition(".")[2])
    arguments = section.get("init_args")
    if not isinstance(arguments, Mapping) or not arguments:
        return name
    listed = ", ".join(printable(f"{key}={_argument(value)}") for key, value in arguments.items())
    return f"{name} ({listed})"


def _argument(value: object) -> str:
    if isinstance(value, list):
        return " + ".join(map(_argument, value))
    return (_component(value) if isinstance(value, Mapping) else None) or str(value)


def number(value: object) -> float | None:
    """`value` as a float, None for null, NaN and anything that is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None
    return float(value)


def printable(text: str) -> str:
    """`text` on one line, each run of white space as one space and each unprintable character as U+FFFD."""
    return "".join(char if char.isprintable() else "\ufffd" for char in " ".join(text.split()))


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


def _rate(part: Mapping[str, Any] | None, key: str) -> Rate | None:
    part = part or {}
    value, n = number(part.get(key)), number(part.get("n"))
    if value is None:
        return None
    return Rate(
        value=value, low=number(part.get("low")), high=number(part.get("high")), n=None if n is None else int(n)
    )


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
