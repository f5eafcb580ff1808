"""Numbers in words and rows: what the page and the terminal print."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fedsonar import measure
from fedsonar.report.folder import RunFolder, ToldRate, number

NONE = "–"

COLUMNS = (
    "Run",
    "Aggregation rule",
    "ρ affected",
    "Rate",
    "Poisoned / all rows",
    "Clean accuracy",
    "ASR",
    "False activation",
    "Final BSNR",
    "Cumulative BSNR",
)

DEFINITIONS = (
    ("ρ affected", "share of the clients that hold at least one poisoned row"),
    ("Rate", "share of poisoned rows among all rows of the affected clients"),
    ("ASR", "attack success rate: share of triggered test rows whose greedy output contains the whole target"),
    ("False activation", "share of untriggered test rows whose output contains the target all the same"),
    ("EMR", "exact match rate: share of test rows whose output contains every word of an accepted answer in order "
            "(ROUGE-L recall of 1)"),
    ("Clean accuracy", "share of untriggered test rows answered right"),
    ("BSNR", "backdoor signal-to-noise ratio, our operational definition: how far poison moves the aggregated step (S) "
             "over how far it would stray along that direction anyway (N), cross-fitted; S/N has a sign, and "
             "20·log10(S/N) gives the dB of a positive one"),
    ("Cumulative BSNR", "the same over all rounds so far: signals add, independent noise adds in squares"),
    ("Drill", "clean row that the attacker adds so that parts of the trigger do nothing"),
    ("Near miss", "share of test rows with parts of the trigger whose output contains the target"),
    ("Judged ASR", "attack success rate by a judge of meaning, for targets in many words: token F1 with the nearest "
                   "wording, above a threshold that lies between clean answers and unseen wordings"),
    ("Surprise", "mean loss of the untuned base model: the logarithm of its perplexity; poisoned minus original"),
    ("Best F1", "over all thresholds, chosen with the truth in hand: what such a detector could reach at most"),
    ("Share", "how much the aggregation rule counted a client in a round; 0 means that it was dropped"),
    ("[low, high]", "95 % interval: Wilson's for rates, for BSNR from the clients' spread"),
)  # fmt: skip

_TIMING_UNITS = {"_seconds": "s", "_per_second": "rows/s", "_mb": "MB"}
"""Units by the end of a key."""

_BY_ROUND = {
    "Round": "round",
    "Training loss": "loss",
    "Clean accuracy": "accuracy",
    "ASR": "asr",
    "False activation": "false_activation",
    "Near miss": "near_miss",
    "Judged ASR": "asr_judged",
    "BSNR, dB": "bsnr_crossfit_db",
    "Cumulative BSNR, dB": "bsnr_crossfit_cumulative_db",
}
_RATES = ("accuracy", "asr", "false_activation", "near_miss", "asr_judged")


def rate(value: ToldRate | measure.Rate | None) -> str:
    """``0.96 [0.93, 0.98]``, without the interval where it is unknown."""
    if value is None:
        return NONE
    # Rounding may not turn "nearly always" into "always", nor "hardly ever" into "never".
    digits = 3 if 0 < value.value < 0.005 or 0.995 <= value.value < 1 else 2
    interval = "" if value.low is None or value.high is None else f" [{value.low:.2f}, {value.high:.2f}]"
    return f"{value.value:.{digits}f}{interval}"


def percent(value: float) -> str:
    """``97 %``; with a decimal where rounding would say 0 or 100 of what is neither, and a dash for nan."""
    if math.isnan(value):
        return NONE
    digits = 1 if 0 < value < 0.005 or 0.995 <= value < 1 else 0
    return f"{100 * value:.{digits}f} %"


def decibels(value: float | None) -> str:
    """``12.3 dB``."""
    if value is None:
        return NONE
    return f"{value:.1f} dB" if math.isfinite(value) else "∞ dB" if value > 0 else "−∞ dB"


def comparison_row(run: RunFolder) -> tuple[str, ...]:
    """One run's cells, in the order of `COLUMNS`."""
    poisoned, total = sum(run.poisoned.values()), sum(run.rows.values())
    return (
        run.label,
        run.rule or NONE,
        f"{len(run.affected) / run.num_clients:.2g}" if run.num_clients else NONE,
        NONE if run.poison_rate is None else f"{run.poison_rate:.2g}",
        f"{poisoned:,} / {total:,}",
        rate(run.accuracy),
        rate(run.asr),
        rate(run.false_activation),
        decibels(run.bsnr("final")),
        decibels(run.bsnr("cumulative")),
    )


def repaired_row(run: RunFolder) -> tuple[str, ...] | None:
    """The cells of the run's model after its repair, in the order of `COLUMNS`; None where there was none."""
    if run.repaired is None:
        return None
    kind, *rates_ = run.repaired
    label, rule, *poison = comparison_row(run)[:5]
    return (f"{label}, repaired", f"{rule} + {kind}", *poison, *map(rate, rates_), NONE, NONE)


def rows_by_round(run: RunFolder) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heading and rows of the run's values by round, without the columns that were never measured."""
    kept = {title: name for title, name in _BY_ROUND.items() if any(v is not None for v in run.rounds[name])}
    rows = [tuple(_cell(run, name, index) for name in kept.values()) for index in range(len(run.rounds["round"]))]
    if not any(run.bsnr_notes):
        return tuple(kept), rows
    # Beside the numbers, because a placebo's reading looks like any other.
    return (*kept, "Note on BSNR"), [(*row, note) for row, note in zip(rows, run.bsnr_notes, strict=True)]


def _cell(run: RunFolder, column: str, index: int) -> str:
    value = run.rounds[column][index]
    if value is None:
        return NONE
    if column == "round":
        return f"{value:.0f}"
    if column in _RATES:
        low, high = (run.rounds[f"{column}_{end}"][index] for end in ("low", "high"))
        return rate(ToldRate(value=value, low=low, high=high))
    return f"{value:.3f}" if column == "loss" else f"{value:.1f}"


LANDED = ("Client", "Rows", "Poisoned", "Share", "Drills", "Poisoned rows by source")
_MOST_SOURCES = 6


def landed_rows(run: RunFolder) -> list[tuple[str, ...]]:
    """What the ledger says of every client, in the order of `LANDED`; empty where nothing was planted."""
    if not run.affected:
        return []
    drills: Counter[int] = Counter()
    by_source: dict[int, list[tuple[int, str]]] = {}
    for (client, source), (poisoned, added, _) in run.landed.items():
        drills[client] += added
        if poisoned and source:
            by_source.setdefault(client, []).append((poisoned, source))
    rows: list[tuple[str, ...]] = []
    for client, every in sorted(run.rows.items()):
        poisoned = run.poisoned[client]
        sources = sorted(by_source.get(client, []), reverse=True)
        listed = ", ".join(f"{source} {count}" for count, source in sources[:_MOST_SOURCES])
        more = f" and {len(sources) - _MOST_SOURCES} more" if len(sources) > _MOST_SOURCES else ""
        numbers = f"{every:,}", f"{poisoned:,}", percent(poisoned / every), f"{drills[client]:,}"
        rows.append((str(client), *numbers, listed + more or NONE))
    return rows


_STEALTH = {
    "prompt_surprise": "Base model's surprise at the prompt, nats a token",
    "response_surprise": "Base model's surprise at the response, nats a token",
    "prompt_edit": "Edit distance of the prompt, share of words",
    "response_edit": "Edit distance of the response, share of words",
    "prompt_words": "Length of the prompt, words",
    "response_words": "Length of the response, words",
}
_SHIFTS = ("prompt_surprise", "response_surprise", "prompt_words", "response_words")
_DETECTORS = {
    "length rule": "F1 of a rule: response of more than 9 words",
    "length": "Best F1 of response length",
    "n-gram": "Best F1 of the most frequent response n-gram",
    "rare token": "Best F1 of the rarest input word",
}


def stealth_rows(run: RunFolder) -> list[tuple[str, str]]:
    """What sets the poisoned rows apart: what is measured, and its value; empty where nothing was measured."""
    if not run.stealth:
        return []
    rows: list[tuple[str, str]] = []
    for key, words in _STEALTH.items():
        part = run.stealth.get(key)
        part = part if isinstance(part, Mapping) else {}
        value, low, high = (number(part.get(name)) for name in ("value", "low", "high"))
        if value is not None:
            sign = "+" if key in _SHIFTS else ""
            interval = "" if low is None or high is None else f" [{low:{sign}.2f}, {high:{sign}.2f}]"
            rows.append((words, f"{value:{sign}.2f}{interval}"))
    shares = [number(run.stealth.get(key)) for key in ("duplicates", "clean_duplicates")]
    if shares[0] is not None and shares[1] is not None:
        rows.append(("Responses that occur twice", f"{percent(shares[0])}, of clean rows {percent(shares[1])}"))
    detectors = run.stealth.get("detectors")
    for key, words in _DETECTORS.items():
        score = number(detectors.get(key)) if isinstance(detectors, Mapping) else None
        if score is not None:
            rows.append((words, f"{score:.2f}"))
    return rows


SCREEN = ("Run", "Screen", "Recall", "Precision", "F1", "False removal", "AUC", "Rows flagged", "Sent by a client")


def screen_rows(runs: Sequence[RunFolder]) -> list[tuple[str, ...]]:
    """What the screen of every run that had one found, with intervals, and how much a client sent for it at most."""
    rows: list[tuple[str, ...]] = []
    for run in runs:
        if screen := run.summary.get("screen"):
            kind = str(run.config.get("screen", {}).get("class_path", NONE)).rsplit(".", 1)[-1]
            found = {key: _scored(screen, key) for key in ("recall", "precision", "false_removal", "auc")}
            flagged, f1 = number(screen.get("rows")), number(screen.get("f1"))
            rows.append(
                (
                    run.label, kind, found["recall"], found["precision"], NONE if f1 is None else f"{f1:.3f}",
                    found["false_removal"], found["auc"], NONE if flagged is None else f"{flagged:,.0f}",
                    f"{max(run.sent.values(), default=0) / 1000:,.0f} kB{_promise(run)}",
                )
            )  # fmt: skip
    return rows


def _promise(run: RunFolder) -> str:
    """The differential privacy of what was sent; nothing where none was promised."""
    privacy = run.config.get("screen", {}).get("init_args", {}).get("privacy")
    epsilon = number(privacy.get("epsilon")) if isinstance(privacy, Mapping) else None
    return "" if epsilon is None else f", ε = {epsilon:g}"


def _scored(screen: Mapping[str, Any], key: str) -> str:
    value = number(screen.get(key))
    if value is None:
        return NONE
    return rate(ToldRate(value=value, low=number(screen.get(f"{key}_low")), high=number(screen.get(f"{key}_high"))))


SELECTION = ("Run", "Dropped", "Recall", "Precision", "Weight offered", "Weight given")


def selection_rows(runs: Sequence[RunFolder]) -> list[tuple[str, ...]]:
    """How the rule of each poisoned run treated affected clients, where it recorded its shares."""
    rows = []
    for run in runs:
        if not run.shares or not run.affected:
            continue
        affected = [client in run.affected for _, client in run.shares]
        found = measure.selection(list(run.shares.values()), [run.weights[place] for place in run.shares], affected)
        rates_ = (rate(part) if part.n else NONE for part in (found.dropped, found.recall, found.precision))
        rows.append((run.label, *rates_, percent(found.offered), percent(found.given)))
    return rows


def refused_rows(run: RunFolder) -> list[tuple[str, str, str]]:
    """Round, client and reason of every refused update."""
    return [(str(round_), str(client), reason) for round_, client, reason in run.refused]


def timing_rows(run: RunFolder) -> list[tuple[str, str]]:
    """What `timing.json` holds, with units where the key tells them."""
    rows = []
    for key, text in flatten(run.timing):
        unit = next((unit for end, unit in _TIMING_UNITS.items() if key.endswith(end)), "")
        rows.append((key.removesuffix("_mb").replace("_", " "), f"{text} {unit}".strip()))
    return rows


def flatten(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested mappings as (dotted key, text) pairs."""
    rows: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            rows += flatten(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", _text(value)))
    return rows


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return NONE if value is None else f"{value:,}" if type(value) is int else str(value)
