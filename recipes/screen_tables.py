"""The screens' benchmark: a line a screen and group of cells, and published figures beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from attack_tables import TRIGGERS
from drawing import heat
from fedsonar.model import Base
from fedsonar.screen import Screen
from published_figures import Kept, beside
from screen_bench import CHEAP, DEAR, kept_in, measure_cells
from screen_cells import (
    ATLAS,
    EVERYWHERE,
    PLACEMENTS,
    PUBLISHED,
    QUESTION_SETS,
    RATE,
    RATES,
    REAL,
    Cell,
    every_combination,
    one_factor,
    published,
)
from tables import RESULTS, pooled, said, write_figures, write_table

READING = [name for name, screen in CHEAP.items() if screen.text_alone]
"""Screens that read the text alone."""
FACTORS: dict[str, tuple[Any, ...]] = {
    "target": EVERYWHERE, "trigger": tuple(TRIGGERS), "placement": PLACEMENTS, "rate": RATES,
}  # fmt: skip


def screens_results(seeds: Sequence[int], data: Path, base: Base | None) -> None:
    """Every screen on every cell: real data with `base`, or by text alone without; Atlas with the embedded model."""
    base = None if base is None else replace(base, dtype="float32")
    real = [*published(seeds), *(cell for name in REAL for cell in one_factor(name, seeds))]
    cells = list(dict.fromkeys([*real, *every_combination(seeds)]))
    path = RESULTS / "screens_runs.csv"
    kept = kept_in(path)
    try:
        for some, screens in ((cells, CHEAP), (list(dear(seeds)), DEAR)):
            measure_cells(some, screens, kept, path, data, base)
    finally:
        _write(kept, cells, seeds)


def groups_of(seeds: Sequence[int]) -> dict[str, Callable[[Cell], bool]]:
    """Name of a group of cells -> whether a cell is in it."""
    those, costly = set(published(seeds)), set(dear(seeds))
    groups: dict[str, Callable[[Cell], bool]] = {"published": lambda c: c in those}
    groups["published, NIID-1"] = lambda c: c in those & costly
    for name in QUESTION_SETS:
        groups[f"published, {name}"] = lambda c, name=name: c in those and c.data == name
    for factor, values in FACTORS.items():
        for value in values:
            groups[f"{factor} {value}"] = lambda c, factor=factor, value=value: (
                c.data in REAL and replace(Cell(c.data, seed=c.seed), **{factor: value}) == c
            )
    groups["nothing planted"] = lambda c: not c.trigger and c.data in REAL
    for factor, values in FACTORS.items():
        for value in values:
            groups[f"Atlas, {factor} {value}"] = lambda c, factor=factor, value=value: (
                c.data == ATLAS and bool(c.trigger) and getattr(c, factor) == value
                and (factor == "placement" or c.placement == "IID") and (factor == "rate" or c.rate == RATE)
            )  # fmt: skip
    groups["Atlas, every combination"] = lambda c: c.data == ATLAS and bool(c.trigger)
    groups["Atlas, published, NIID-1"] = lambda c: c in costly and c.data == ATLAS
    return groups | {"Atlas, nothing planted": lambda c: not c.trigger and c.data == ATLAS}


def dear(seeds: Sequence[int]) -> Iterator[Cell]:
    """The cells of screens that take seconds a client: NIID-1, as ProtegoFed was published, on Atlas too, and clean."""
    yield from (cell for cell in published(seeds) if cell.placement == "NIID-1")
    yield from (Cell(name, "", "", rate=0.0, seed=seed) for name in QUESTION_SETS for seed in seeds)
    yield from (Cell(ATLAS, trigger, placement="NIID-1", seed=seed) for trigger in PUBLISHED for seed in seeds)


def _write(kept: Kept, cells: Sequence[Cell], seeds: Sequence[int]) -> None:
    """The summary, its figure, the published figures beside ours, and headline figures."""
    seen = [c for c in cells if all((c.name, name) in kept for name in CHEAP)]
    read = [c for c in cells if c not in seen and all((c.name, name) in kept for name in READING)]
    lines = []
    for group, chosen in groups_of(seeds).items():
        for some in (seen, read):
            for name in [*CHEAP, *DEAR]:
                found = [kept[c.name, name] for c in some if chosen(c) and (c.name, name) in kept]
                if found:
                    data = " ".join(dict.fromkeys(row["data"] for row in found))
                    lines.append({"cells": group, "data": data, "screen": name, **_line(found)})
    command, seed_list = said("screens", seeds)
    command += " --data FOLDER --base FOLDER"
    alone = f", and {len(read)} by those that read the text alone ({_sets(read)})" if read else ""
    text = f"""# Screens

`{command}`: 25 clients, up to 5,000 rows, seeds {seed_list}.
Of {len(cells)} cells {len(seen)} are measured with all screens but the costly ones ({_sets(seen)}){alone}.
A base is what screens that need a model look through:
{_bases(kept, CHEAP)};
the costly ones: {_bases(kept, DEAR)}.
`text-model` is what `recipes/text_model.py` made of nine million tokens of Wikipedia and books
(`--tokens 9000000`, 80 minutes on a core): 7 million weights, 1.09 nats a character of pages that it did not read. It
knows some English and hardly an answer. `stories260k-llama` has 260 thousand that have read children's stories: what it
makes of a screen says nothing of that screen. Rows of more than 256 tokens do not enter; Atlas has the embedded model.

`published` are four question sets, triggers and placements at 10 % with the suffix; the groups below them change one
thing at a time about rare tokens, the suffix, IID and 10 %, over all real data. Atlas has every combination, of which
`Atlas, target`, `trigger` and `rate` are all cells with IID and 10 % but for what is named, `Atlas, placement` all
with 10 %, and `Atlas, every combination` all cells with poison. Cells of a group that text-only screens alone have
seen are lines of their own, so that lines with the same cells and data are of the same rows. Rates are pooled over the
cells with Wilson intervals; `worst` is that of the worst cell. `kB a client` is what leaves a client. Screens that take
seconds a client ({", ".join(DEAR)})
are for cells with NIID-1, published triggers, the suffix and 10 %, and for clean question sets. Onion reads Atlas
through a model that knows nothing but Atlas, to which every other word is a surprise: its lines there say little of
Onion. CoQA's clients have 19 rows, of which 2 % are less than one: the n-gram control flags what two rows share there.
Every cell is a row of [screens_runs.csv](screens_runs.csv).

![F1 of every screen by target and by rate](screens.svg)

{beside(kept, seeds)}
## By group of cells
"""
    write_table("screens", lines, text)
    sets = {cell.data for cell in seen}
    shown = [line for line in lines if line["cells"].startswith(("target ", "rate ")) and line["screen"] in CHEAP]
    shown = [line for line in shown if line["data"].split()[0] in sets]
    columns = list(dict.fromkeys(line["cells"] for line in shown))
    values = {(line["screen"], line["cells"]): line["F1"] for line in shown}
    heat("screens", list(CHEAP), columns, values, "", "F1, mean over cells")
    figures: dict[str, tuple[float, float | None, float | None, int]] = {}
    those = set(published(seeds))
    for name in CHEAP:
        worst = [kept[c.name, name]["f1"] for c in those if (c.name, name) in kept]
        if worst:
            key = f"screens.{name.replace(', ', '_').replace(' ', '_')}.worst_f1"
            figures[key] = (min(worst), None, None, len(worst))
    write_figures(figures, command)


def _bases(kept: Kept, screens: Mapping[str, Screen]) -> str:
    """Which base screens have looked through on which data; with their names where not all did that need one."""
    needing = {name for name, screen in screens.items() if not screen.text_alone}
    data: dict[str, dict[str, None]] = {}
    seen: dict[str, set[str]] = {}
    for row in kept.values():
        if row["base"] and row["screen"] in needing:
            data.setdefault(row["base"], {})[row["data"]] = None
            seen.setdefault(row["base"], set()).add(row["screen"])
    which = {base: "" if some == needing else f" ({'; '.join(sorted(some))})" for base, some in seen.items()}
    return "; ".join(f"`{base}` for {', '.join(names)}{which[base]}" for base, names in data.items())


def _sets(cells: Sequence[Cell]) -> str:
    """How many cells of which data."""
    counts = Counter(cell.data for cell in cells)
    return ", ".join(f"{count} of {name}" for name, count in counts.items()) or "none"


def _line(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One line of the summary, of the cells of a group."""
    poisoned = [row for row in found if row["recall_n"]]
    line: dict[str, Any] = {"n": len(found)}
    line |= {"F1": float(np.mean([row["f1"] for row in poisoned])) if poisoned else None}
    line |= {"worst F1": min((row["f1"] for row in poisoned), default=None)}
    line |= {"recall": None, "recall 95 %": None, "worst recall": None, "AUC": None, "worst AUC": None}
    if poisoned:
        value, low, high, n = pooled(poisoned, "recall")
        line |= {"recall": value, "recall 95 %": f"[{low:.3f}, {high:.3f}] n={n}"}
        line |= {"worst recall": min(row["recall"] for row in poisoned)}
        line |= {
            "AUC": float(np.mean([row["auc"] for row in poisoned])),
            "worst AUC": min(row["auc"] for row in poisoned),
        }
    value, low, high, n = pooled(found, "false_removal")
    line |= {"false removal": value, "false removal 95 %": f"[{low:.4f}, {high:.4f}] n={n}"}
    return line | {"kB a client": max(row["bytes_a_client"] for row in found) / 1000}
