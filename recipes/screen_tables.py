"""The published screens and ours on the same rows: what each finds, what it drops by mistake, and what it sends."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from attack_tables import TRIGGERS
from drawing import heat
from fedsonar.data import Sample, TokenRow, template_for, tokenize
from fedsonar.measure import detection
from fedsonar.model import Base, Lora, open_network
from fedsonar.screen import (
    ActivationClustering,
    Association,
    Features,
    GraCeFul,
    GradSentry,
    Length,
    ProtegoFed,
    ResponseNgrams,
    ResponseShift,
    Screen,
    Silo,
    Sonar,
    SpectralSignatures,
    Tables,
    Tuning,
    hear,
    judge,
)
from screen_cells import ATLAS, PLACEMENTS, RATES, REAL, Cell, every_combination, one_factor, published, rows_of
from tables import RESULTS, pooled, read_table, said, write_csv, write_figures, write_table

BITS = 23
"""Of the tables of features: enough for 5,000 rows with a passage each."""
CHEAP: dict[str, Screen] = {
    "length": Length(),
    "response n-grams, alone": ResponseNgrams(pooled=False),
    "response n-grams": ResponseNgrams(),
    "association": Association(bits=BITS, pair_bits=BITS, slot_bits=14),
    "response shift": ResponseShift(bits=BITS),
    "sonar": Sonar(association=Association(bits=BITS, pair_bits=BITS, slot_bits=14), shift=ResponseShift(bits=BITS)),
    "SpectralSignatures, untuned": SpectralSignatures(tuning=Tuning(epochs=0)),
    "SpectralSignatures, untuned, pooled": SpectralSignatures(tuning=Tuning(epochs=0), pooled=True),
    "ActivationClustering, untuned": ActivationClustering(tuning=Tuning(epochs=0)),
    "GradSentry": GradSentry(),
    "GradSentry, pooled": GradSentry(pooled=True),
    "GraCeFul": GraCeFul(),
}
DEAR: dict[str, Screen] = {
    "SpectralSignatures": SpectralSignatures(),
    "ActivationClustering": ActivationClustering(),
    "ProtegoFed": ProtegoFed(),
}
"""Those that tune or cluster by UMAP, seconds a client."""
MAX_LENGTH = 256
TOGETHER = 24
"""Cells whose rows go through the model together."""


@dataclass
class Pool:
    """The rows of several federations on one data set, each in tokens once, with the features that all share."""

    base: Base

    def __post_init__(self) -> None:
        self.tokenizer = self.base.tokenizer()
        self.network = open_network(self.base, Lora())
        self.template = template_for(self.tokenizer)

    def silos(self, federations: Mapping[str, Sequence[Iterable[Sample]]]) -> dict[str, list[Silo]]:
        """Name of a federation -> its clients' silos; rows that do not fit into the model are left out."""
        texts: dict[Any, int] = {}
        samples: list[Sample] = []
        places: dict[str, list[list[tuple[int, Sample]]]] = {}
        for name, shards in federations.items():
            places[name] = []
            for shard in shards:
                own = []
                for sample in shard:
                    text = (sample.instruction, sample.context, sample.question, sample.answers)
                    if text not in texts:
                        texts[text] = len(samples)
                        samples.append(sample)
                    own.append((texts[text], sample))
                places[name].append(own)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            numbered = [Sample(str(i), s.instruction, s.context, s.question, s.answers) for i, s in enumerate(samples)]
            rows = tokenize(numbered, self.template, self.tokenizer, MAX_LENGTH)
        at = {int(row.id): place for place, row in enumerate(rows)}
        every = Features(self.network, rows)

        def silo(client: int, own: Sequence[tuple[int, Sample]]) -> Silo:
            fitting = [(at[text], sample) for text, sample in own if text in at]
            chosen = [place for place, _ in fitting]
            tokens = [TokenRow(sample.id, rows[place].prompt, rows[place].response) for place, sample in fitting]
            return Silo(client, [sample for _, sample in fitting], tokens, every.some(chosen))

        return {name: [silo(c, own) for c, own in enumerate(shards)] for name, shards in places.items()}


def screens_results(seeds: Sequence[int], data: Path, base: Base) -> None:
    """Every screen on every cell: real data with `base`, Atlas with the embedded model."""
    base = replace(base, dtype="float32")
    real = [*published(seeds), *(cell for name in REAL for cell in one_factor(name, seeds))]
    cells = list(dict.fromkeys([*real, *every_combination(seeds)]))
    dear = [cell for cell in published(seeds) if cell.placement == "NIID-1"]  # as ProtegoFed was published
    path = RESULTS / "screens_runs.csv"
    kept = {(row["cell"], row["screen"]): row for row in read_table(path)} if path.exists() else {}
    try:
        for some, screens in ((cells, CHEAP), (dear, DEAR)):
            _measure(some, screens, kept, path, data, base)
    finally:
        _write(kept, cells, seeds)


def _measure(
    cells: Sequence[Cell], screens: Mapping[str, Screen], kept: dict[tuple[str, str], dict[str, Any]], path: Path,
    data: Path, base: Base,
) -> None:  # fmt: skip
    """Adds what is not yet kept, cell by cell; cells on the same data share their features."""
    missing = [cell for cell in cells if any((cell.name, name) not in kept for name in screens)]
    groups = [
        some[start : start + TOGETHER]
        for some in ([cell for cell in missing if cell.data == name] for name in dict.fromkeys(c.data for c in missing))
        for start in range(0, len(some), TOGETHER)
    ]
    for group in track(groups, "cells", console=Console(stderr=True)):
        rows = rows_of(group[0].data, data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of triggers that fit few rows
            planted = {cell: cell.shards(rows) for cell in group}
        pool = Pool(Base() if group[0].data == ATLAS else base)
        silos = pool.silos({cell.name: shards for cell, (shards, _) in planted.items()})
        for cell in group:
            for name, screen in screens.items():
                if (cell.name, name) not in kept:
                    kept[cell.name, name] = _row(cell, name, screen, silos[cell.name], planted[cell][1])
            write_csv(path, [kept[key] for key in sorted(kept)])


def _row(cell: Cell, name: str, screen: Screen, silos: Sequence[Silo], ledger: Mapping[str, object]) -> dict[str, Any]:
    """What a screen does on a cell."""
    sent = 0

    def gather(heard: Sequence[Tables]) -> list[Tables]:
        nonlocal sent
        summaries: list[Tables] = []
        for silo in silos:
            summary = screen.summarize(silo, heard)
            sent += sum(table.nbytes for table in summary.values())
            if screen.additive and summaries:
                summaries = [{name: table + summary[name] for name, table in summaries[0].items()}]
            else:
                summaries.append(summary)
        return summaries

    heard = hear(screen, gather)
    verdicts = [judge(screen, silo, heard) for silo in silos]
    suspicion, flagged = (np.concatenate([getattr(v, part) for v in verdicts]) for part in ("suspicion", "flagged"))
    found = detection(suspicion, flagged, np.array([s.id in ledger for silo in silos for s in silo.samples]))
    row: dict[str, Any] = {"cell": cell.name, "screen": name, "data": cell.data, "trigger": cell.trigger}
    row |= {"target": cell.target, "placement": cell.placement, "rate": cell.rate, "seed": cell.seed}
    row |= {"rows": len(flagged), "flagged": found.rows, "f1": found.f1}
    for rate in ("recall", "precision", "false_removal", "auc"):
        scored = getattr(found, rate)
        row |= {rate: scored.value, f"{rate}_n": scored.n}
    row |= {"auc_low": found.auc.low, "auc_high": found.auc.high, "bytes_a_client": sent // len(silos)}
    return {key: None if value != value else value for key, value in row.items()}


def _write(kept: Mapping[tuple[str, str], dict[str, Any]], cells: Sequence[Cell], seeds: Sequence[int]) -> None:
    """The summary: a line a screen and group of cells."""
    groups: dict[str, Callable[[Cell], bool]] = {"published": lambda c: c in dear}
    dear = set(published(seeds))
    base = Cell("", "tokens", "suffix", "IID", 0.1)
    for factor, values in (
        ("target", ("suffix", "short", "matched", "semantic")),
        ("trigger", tuple(TRIGGERS)), ("placement", PLACEMENTS), ("rate", RATES),
    ):  # fmt: skip
        for value in values:
            groups[f"{factor} {value}"] = lambda c, factor=factor, value=value: (
                c.data in REAL and (replace(base, data=c.data, seed=c.seed, **{factor: value}) == c)
            )
    groups["nothing planted"] = lambda c: not c.trigger
    groups["Atlas, all"] = lambda c: c.data == ATLAS and bool(c.trigger)
    lines = []
    for group, chosen in groups.items():
        for name in CHEAP | DEAR:
            found = [kept[c.name, name] for c in cells if chosen(c) and (c.name, name) in kept]
            if found:
                lines.append({"cells": group, "screen": name, **_line(found)})
    command, seed_list = said("screens", seeds)
    whole = [c for c in cells if all((c.name, name) in kept for name in CHEAP)]
    names = ", ".join(dict.fromkeys(cell.data for cell in whole))
    text = f"""# Screens

`{command} --data FOLDER --base FOLDER`: 25 clients, up to 5,000 rows, seeds {seed_list}.
{len(whole)} of {len(cells)} cells are measured so far, on {names}: real data with a base of 7 million
weights (recipes/text_model.py), Atlas with the embedded model.

`published` are four question sets, triggers and placements at 10 % with the suffix; the groups below them change one
thing at a time about rare tokens, the suffix, IID and 10 %, over all real data; every combination belongs to Atlas
alone. Rates are pooled over the cells of a group with Wilson intervals; `worst` is that of the worst cell.
`kB a client` is what leaves a client. Screens that take seconds a client ({", ".join(DEAR)})
are for the published cells with NIID-1. Every cell is a row of [screens_runs.csv](screens_runs.csv).
"""
    write_table("screens", lines, text)
    shown = [line for line in lines if line["cells"].partition(" ")[0] in ("target", "rate")]
    columns = list(dict.fromkeys(line["cells"] for line in shown))
    values = {(line["screen"], line["cells"]): line["F1"] for line in shown}
    heat("screens", list(CHEAP), columns, values, "", "F1, mean over cells")
    figures: dict[str, tuple[float, float | None, float | None, int]] = {}
    for line in lines:
        if line["cells"] == "published":
            name = line["screen"].replace(", ", "_").replace(" ", "_")
            figures[f"screens.{name}.worst_f1"] = (line["worst F1"], None, None, line["n"])
    write_figures(figures, f"{command} --data FOLDER --base FOLDER")


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
