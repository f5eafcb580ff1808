"""One run as its folder tells it, and what follows from that."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Column = list[float | None]


@dataclass(frozen=True, kw_only=True)
class ToldRate:
    """A share of cases in [0, 1] as files tell it, with its 95 % interval where they do."""

    value: float
    low: float | None = None
    high: float | None = None


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
    def accuracy(self) -> ToldRate | None:
        """Clean accuracy at the end."""
        return _rate(self.summary.get("clean"), "accuracy")

    @property
    def asr(self) -> ToldRate | None:
        """Attack success rate at the end, over all triggered rows."""
        return _rate(self.summary.get("attack"), "success_rate")

    @property
    def repaired(self) -> tuple[str, ToldRate | None, ToldRate | None, ToldRate | None] | None:
        """The repair after the last round, then accuracy, attack success and false activation; None without one."""
        part = self.summary.get("repair")
        if not part:
            return None
        attack = part.get("attack") or {}
        elsewhere = {end: attack.get(f"false_activation_{end}") for end in ("low", "high")}
        elsewhere["value"] = attack.get("false_activation")
        found = _rate(part.get("clean"), "accuracy"), _rate(attack, "success_rate"), _rate(elsewhere, "value")
        return (_component(self.config.get("repair")) or printable(str(part.get("kind"))), *found)

    @property
    def false_activation(self) -> ToldRate | None:
        """Rate of the target on untriggered rows at the end, with the interval of the last round that has it."""
        value = number((self.summary.get("attack") or {}).get("false_activation"))
        if value is None:
            return None
        measured = [i for i, rate in enumerate(self.rounds["false_activation"]) if rate is not None]
        if not measured or self.rounds["false_activation"][measured[-1]] != value:
            return ToldRate(value=value)
        low, high = (self.rounds[f"false_activation_{end}"][measured[-1]] for end in ("low", "high"))
        return ToldRate(value=value, low=low, high=high)

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


def _rate(part: Mapping[str, Any] | None, key: str) -> ToldRate | None:
    part = part or {}
    value = number(part.get(key))
    return None if value is None else ToldRate(value=value, low=number(part.get("low")), high=number(part.get("high")))
