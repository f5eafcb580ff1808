"""Every screen on cells of the benchmark: what it finds, what it drops by mistake, and what it sends."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from fedsonar.data import Sample, TokenRow, template_for, tokenize
from fedsonar.measure import detection
from fedsonar.model import Base, Lora, open_network
from fedsonar.screen import (
    ActivationClustering,
    Association,
    Cube,
    Features,
    GraCeFul,
    GradSentry,
    Length,
    Onion,
    Outliers,
    ProtegoFed,
    ResponseNgrams,
    ResponseShift,
    Screen,
    Silo,
    Sonar,
    SpectralSignatures,
    Strip,
    Tables,
    Tuning,
    hear,
    judge,
)
from screen_cells import ATLAS, Cell, rows_of
from tables import read_table, write_csv

CHEAP: dict[str, Screen] = {
    "length": Length(),
    "response n-grams, alone": ResponseNgrams(pooled=False),
    "response n-grams": ResponseNgrams(),
    "association": Association(),
    "response shift": ResponseShift(),
    "sonar": Sonar(),
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
    "Cube": Cube(),
    "Cube, 100 samples": Cube(min_samples=100),
    "Strip": Strip(),
    "Onion": Onion(),
    "Onion, outliers": Onion(threshold=Outliers()),
    "ProtegoFed": ProtegoFed(),
}
"""Those that tune, cluster by UMAP or read a row many times: seconds a client."""
MAX_LENGTH = 256
TOGETHER = 24
"""Cells whose rows go through the model together."""


@dataclass
class Pool:
    """The rows of several federations on one data set, each in tokens once, with the features that all share."""

    base: Base
    max_length: int = MAX_LENGTH

    def __post_init__(self) -> None:
        self.tokenizer = self.base.tokenizer()
        self.network = open_network(self.base, Lora())
        self.template = template_for(self.tokenizer)

    def tokenize(self, samples: Sequence[Sample]) -> list[TokenRow]:
        """Rows in tokens, without those that do not fit into the model."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return tokenize(samples, self.template, self.tokenizer, self.max_length)

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
        rows = self.tokenize(
            [Sample(str(i), s.instruction, s.context, s.question, s.answers) for i, s in enumerate(samples)]
        )
        at = {int(row.id): place for place, row in enumerate(rows)}
        every = Features(self.network, rows)

        def silo(client: int, own: Sequence[tuple[int, Sample]]) -> Silo:
            fitting = [(at[text], sample) for text, sample in own if text in at]
            chosen = [place for place, _ in fitting]
            tokens = [TokenRow(sample.id, rows[place].prompt, rows[place].response) for place, sample in fitting]
            return Silo(client, [sample for _, sample in fitting], tokens, every.some(chosen), self.tokenize)

        return {name: [silo(c, own) for c, own in enumerate(shards)] for name, shards in places.items()}


def kept_in(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What is kept so far: a row of every cell and screen, by the names of both."""
    return {(row["cell"], row["screen"]): row for row in read_table(path)} if path.exists() else {}


def measure_cells(
    cells: Sequence[Cell], screens: Mapping[str, Screen], kept: dict[tuple[str, str], dict[str, Any]], path: Path,
    data: Path, base: Base | None, max_length: int = MAX_LENGTH,
) -> None:  # fmt: skip
    """Adds what is not yet kept, cell by cell; cells on the same data share their features.

    Args:
        cells: What to measure, in this order but for data: cells on the same data go together.
        screens: By name.
        kept: A row of every cell and screen; added to in place.
        path: Where they are kept.
        data: A folder a real data set.
        base: What real data are looked at through; without it, screens that need a model are left out there.
        max_length: Most tokens of a row that a model looks at; longer rows are left out.
    """

    def due(cell: Cell) -> list[str]:
        seen = base is not None or cell.data == ATLAS
        return [name for name, s in screens.items() if (cell.name, name) not in kept and (seen or s.text_alone)]

    missing = [cell for cell in cells if due(cell)]
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
        shards = {cell.name: shards for cell, (shards, _) in planted.items()}
        looked: dict[str, list[Silo]] = {}
        if not all(screens[name].text_alone for cell in group for name in due(cell)):
            looked = Pool(seen_through(group[0], base), max_length).silos(shards)
        for cell in group:
            read = [Silo(client, list(own)) for client, own in enumerate(shards[cell.name])]
            for name in due(cell):
                alone = screens[name].text_alone
                silos = read if alone else looked[cell.name]
                row = _row(cell, name, screens[name], silos, planted[cell][1])
                kept[cell.name, name] = row | {"base": "" if alone else Path(seen_through(group[0], base).path).name}
            write_csv(path, [kept[key] for key in sorted(kept)])


def seen_through(cell: Cell, base: Base | None) -> Base:
    """The model that a cell's rows are looked at through: Atlas has its own."""
    return Base() if base is None or cell.data == ATLAS else base


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
