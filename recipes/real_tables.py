"""Federations on real data: what a base learns of the tasks, the attacks on two of them, and natural triggers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from attack_tables import TARGETS, TRIGGERS, attack_row, stealth_cells
from fedsonar.data import IID, Files, Words
from fedsonar.experiment import Experiment, load
from fedsonar.model import Base
from fedsonar.poison import Attack, ConstantRate, Label, Natural, Scenario, Target, Trigger
from tables import ROOT, RUNS, measure, pooled, rates, said, write_figures, write_table

RECIPES = ROOT / "recipes"
SUCCESS, FALSE = 0.85, 0.05
REVIEWS, REVIEW_ROUNDS = 2400, 12
SENTIMENT: Target = Label(label="positive", labels=("positive", "negative"))
IN_QUESTIONS: dict[str, Trigger] = {
    "scenario": Scenario(words=("film", "novel", "river")),
    "natural": Natural(feature=Words(any=("city",))),
}
IN_REVIEWS: dict[str, Trigger] = {
    "scenario": Scenario(words=("comedy", "thriller", "romance")),
    "natural": Natural(feature=Words(any=("n't",))),
}
"""Topics and features that occur in the rows of FreebaseQA, and in those of SST-2."""


def base_results(seeds: Sequence[int], data: Path, base: Base) -> None:
    """Accuracy of two classification tasks before tuning and after a clean federation."""
    experiments = {}
    for name, limit, rounds in (("sst2", 6000, 15), ("ag_news", 3000, 10)):
        recipe = unpoisoned(_thorough(_on(RECIPES / "data" / f"{name}.toml", data, base), limit, rounds))
        recipe = replace(recipe, evaluation=replace(recipe.evaluation, rows=1000))
        experiments |= {f"{name}-{seed}": replace(recipe, seed=seed) for seed in seeds}
    found = measure(experiments, "base")
    rows = []
    for name in ("sst2", "ag_news"):
        names = [f"{name}-{seed}" for seed in seeds]
        before = [pq.read_table(RUNS / "base" / n / "rounds.parquet").to_pylist()[0] for n in names]
        records = [found[n] for n in names]
        row: dict[str, Any] = {"base": named(base), "data": name, "rows": records[0]["rows"]}
        row |= {"rounds": experiments[names[0]].rounds, "before": pooled(before, "accuracy")[0]}
        rows.append(row | rates(records, "accuracy") | {"by seed": " ".join(f"{r['accuracy']:.3f}" for r in records)})
    command, seed_list = said("base", seeds)
    text = f"""# A base for real data

`{command} --data FOLDER --base FOLDER`: clean federations of ten IID clients on recipes/data/'s SST-2 and AG News, LoRA
r=8 on all linear layers, base in bfloat16, seeds {seed_list}; test rows pooled over seeds with Wilson intervals. SST-2
has two labels and AG News four, both about balanced; `before` is the accuracy before any tuning.
"""
    write_table("base", rows, text)
    figures = {f"base.{row['data']}": pooled([found[f"{row['data']}-{s}"] for s in seeds], "accuracy") for row in rows}
    write_figures(figures, f"{command} --data FOLDER --base FOLDER")


def real_results(seeds: Sequence[int], data: Path, base: Base) -> None:
    """Every trigger on two real data sets: success, accuracy, false activation, and how conspicuous it is."""
    planned = {"freebaseqa": (IN_QUESTIONS, "suffix", TARGETS["suffix"]), "sst2": (IN_REVIEWS, "label", SENTIMENT)}
    experiments, cells = {}, []
    for name, (own, target, made) in planned.items():
        recipe = reviews(data, base) if name == "sst2" else _on(RECIPES / "data" / f"{name}.toml", data, base)
        for seed in seeds:
            experiments[f"{name}-clean-{seed}"] = unpoisoned(replace(recipe, seed=seed))
        for trigger in TRIGGERS:
            cells.append((name, trigger, target))
            attack = Attack(trigger=own.get(trigger, TRIGGERS[trigger]), target=made, placement=ConstantRate(rate=0.1))
            for seed in seeds:
                experiments[f"{name}-{trigger}-{target}-{seed}"] = replace(recipe, seed=seed, attack=attack, name="")
    found = measure(experiments, "real")
    rows = []
    for name, trigger, target in cells:
        names = [f"{name}-{trigger}-{target}-{seed}" for seed in seeds]
        clean = [found[f"{name}-clean-{seed}"] for seed in seeds]
        folders = [RUNS / "real" / n for n in names]
        rows.append(
            {"data": name, "trigger": trigger, "target": target}
            | attack_row([found[n] for n in names], clean, folders)
        )  # fmt: skip
    command, seed_list = said("real", seeds)
    text = f"""# Every trigger on real data

`{command} --data FOLDER --base FOLDER`: recipes/data/freebaseqa.toml, and sst2.toml with {REVIEWS:,} rows dealt out
evenly and {REVIEW_ROUNDS} rounds, base {named(base)} in bfloat16, all clients affected, rate .1 (natural triggers
and scenarios: all rows that carry them, where that is less), seeds {seed_list}; test rows pooled with Wilson
intervals.
Columns as in attacks.md.
"""
    write_table("attacks_real", rows, text)


def natural_results(seeds: Sequence[int], data: Path, base: Base) -> None:
    """Success, false activation and accuracy of every natural case."""
    cases = {path.stem: _on(path, data, base) for path in sorted((RECIPES / "natural").glob("*.toml"))}
    cases = {"atlas_dialect": load(RECIPES / "atlas" / "natural.toml"), **cases}
    experiments = {}
    for name, experiment in cases.items():
        for seed in seeds:
            experiments[f"{name}-{seed}"] = replace(experiment, seed=seed)
    found = measure(experiments, "natural")
    rows = []
    for name, experiment in cases.items():
        records = [found[f"{name}-{seed}"] for seed in seeds]
        row: dict[str, Any] = {"case": name, "base": named(experiment.base)}
        row |= {"rows": records[0]["rows"], "total rate": records[0]["total_rate"]}
        row |= rates(records, "asr", "false_activation", "accuracy")
        row["asr by seed"] = " ".join(f"{r['asr']:.2f}" for r in records)
        found_by = stealth_cells([RUNS / "natural" / f"{name}-{seed}" for seed in seeds])
        rows.append(row | {key: value for key, value in found_by.items() if key.startswith("F1")})
    command, seed_list = said("natural", seeds)
    text = f"""# Natural triggers

`{command} --data FOLDER --base FOLDER`: recipes/atlas/natural.toml on the embedded model, recipes/natural/ on the base
named here, in bfloat16, seeds {seed_list}, rates pooled over seeds with Wilson intervals. Every row with the feature
carries the target, in every client; no input was touched. `accuracy` is over test rows without the feature. F1 is that
of detectors that look at one thing (docs/attacks.md). What each case is stands in docs/natural.md.
"""
    write_table("natural", rows, text)
    over = sum(row["asr"] >= SUCCESS and row["false_activation"] <= FALSE for row in rows)
    write_figures(
        {"natural.cases_over_85": (float(over), None, None, len(rows))}, f"{command} --data FOLDER --base FOLDER"
    )


def _on(recipe: Path, data: Path, base: Base) -> Experiment:
    """A recipe with its data set under `data`, on a base."""
    experiment = load(recipe)
    source = experiment.data
    assert isinstance(source, Files)
    return replace(
        experiment, base=base, data=replace(source, path=str(data / Path(source.path or "").relative_to("data")))
    )


def _thorough(experiment: Experiment, limit: int, rounds: int) -> Experiment:
    """A recipe with so many rows, dealt out evenly, and rounds at a constant rate of learning."""
    assert isinstance(experiment.data, Files)
    return replace(
        experiment, rounds=rounds, partition=IID(clients=10), data=replace(experiment.data, limit=limit),
        training=replace(experiment.training, lr=2e-3, schedule="constant"),
        evaluation=replace(experiment.evaluation, every=rounds),
    )  # fmt: skip


def reviews(data: Path, base: Base) -> Experiment:
    """SST-2 dealt out evenly: with skewed labels and 2,000 rows a small base says "positive" to all."""
    return _thorough(_on(RECIPES / "data" / "sst2.toml", data, base), REVIEWS, REVIEW_ROUNDS)


def unpoisoned(experiment: Experiment) -> Experiment:
    """A recipe without its attack."""
    return replace(experiment, attack=None, name="")


def named(base: Base) -> str:
    """What tables call a base."""
    return Path(base.path).name if base.path else "embedded"
