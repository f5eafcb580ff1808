"""What a model's gradients add to words: the pooled screens on targets that are a meaning, and on clean data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fedsonar.model import Base
from fedsonar.screen import GradientShift, ResponseShift, Screen, Sonar
from screen_bench import kept_in, measure_cells
from screen_cells import ATLAS, Cell
from tables import RESULTS, pooled, said, write_table

SCREENS: dict[str, Screen] = {
    "response shift": ResponseShift(),
    "gradient shift": GradientShift(),
    "sonar with gradient": Sonar(gradient=GradientShift()),
}
DATA = (ATLAS, "webqa", "freebaseqa", "nq", "triviaqa", "dolly15k")
CLEAN = (*DATA, "coqa", "nq_open", "natural_instructions", "sst2", "ag_news")
TRIGGERS = ("tokens", "composite", "style", "syntax")
RATES = (0.01, 0.02, 0.1, 0.5)
MAX_LENGTH = 500


def cells(seeds: Sequence[int]) -> list[Cell]:
    """Clean federations first, then semantic targets by data, trigger and rate."""
    clean = [Cell(data, "", "", rate=0.0, seed=seed) for seed in seeds for data in CLEAN]
    return clean + [
        Cell(data, trigger, "semantic", rate=rate, seed=seed)
        for seed in seeds for data in DATA for trigger in TRIGGERS for rate in RATES
    ]  # fmt: skip


def gradient_results(seeds: Sequence[int], data: Path, base: Base | None) -> None:
    """Both shifts alone, and all parts of `Sonar` together: real data with `base`, Atlas with the embedded model."""
    base = None if base is None else replace(base, dtype="float32")
    path = RESULTS / "gradient_runs.csv"
    kept = kept_in(path)
    due = [cell for cell in cells(seeds) if cell.data == ATLAS or base is not None]
    try:
        measure_cells(due, SCREENS, kept, path, data, base, MAX_LENGTH)
    finally:
        _write(kept, cells(seeds), seeds)


def _write(kept: dict[tuple[str, str], dict[str, Any]], every: Sequence[Cell], seeds: Sequence[int]) -> None:
    seen = [cell for cell in every if all((cell.name, name) in kept for name in SCREENS)]
    lines = []
    groups: dict[str, Callable[[Cell], bool]] = {"nothing planted": lambda c: not c.trigger}
    for rate in RATES:
        for trigger in TRIGGERS:
            groups[f"{trigger}, {rate:.0%}"] = lambda c, t=trigger, r=rate: (c.trigger, c.rate) == (t, r)
    for data in DATA:
        groups[data] = lambda c, d=data: bool(c.trigger) and c.data == d
    for group, chosen in groups.items():
        some = [cell for cell in seen if chosen(cell)]
        if some:
            rows = sum(kept[cell.name, "gradient shift"]["recall_n"] for cell in some)
            line: dict[str, Any] = {"cells": group, "n": len(some), "poisoned rows": rows}
            lines.append(line | {name: _found(kept[cell.name, name] for cell in some) for name in SCREENS})
    command, seed_list = said("gradient", seeds)
    missing = [cell.name for cell in every if cell not in seen]
    text = f"""# What gradients add to words

`{command} --data FOLDER --base FOLDER`: 25 clients, up to 5,000 rows, seeds {seed_list},
IID; the target is a meaning in 24 wordings. The base of real data is `stories260k-llama`, 260 thousand weights that
have read children's stories: it knows no facts, and what it makes of answers is little more than which letters it did
not expect. Atlas has the embedded model. Rows of more than {MAX_LENGTH} tokens are left out of what gradients are
heard of.
{len(seen)} of {len(every)} cells are measured.

A cell of the table says how many poisoned rows leave, with the recall and its Wilson interval, and how many clean rows
leave with them. `response shift` hears words, `gradient shift` the gradient by what the output layer reads, and `sonar
with gradient` both, and fixed words too. Every federation is a row of [gradient_runs.csv](gradient_runs.csv).
"""
    if missing:
        text += f"\nNot measured yet: {', '.join(missing[:6])}{', ...' if len(missing) > 6 else ''}.\n"
    write_table("gradient", lines, text)


def _found(rows: Iterable[dict[str, Any]]) -> str:
    """Poisoned rows that leave, with the recall's interval, and clean ones."""
    rows = list(rows)
    clean = sum(round(row["false_removal"] * row["false_removal_n"]) for row in rows)
    poisoned = [row for row in rows if row["recall_n"]]
    if not poisoned:
        return f"{clean} of {sum(row['false_removal_n'] for row in rows):,} clean"
    value, low, high, n = pooled(poisoned, "recall")
    return f"{round(value * n)}: {value:.3f} [{low:.3f}, {high:.3f}], {clean} clean"
