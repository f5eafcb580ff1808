"""Training on what each screen leaves: attack success and accuracy beside runs without poison; Atlas and SST-2."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from fedsonar.data import Atlas
from fedsonar.demo import POISONED
from fedsonar.experiment import Experiment, to_toml
from fedsonar.model import Base
from fedsonar.poison import Attack, ConstantRate, Semantic, Sentence, Suffix, Tokens
from fedsonar.preparation import Federation, Loaded
from fedsonar.records import Run
from fedsonar.screen import Association, GraCeFul, GradSentry, Length, Oracle, ResponseNgrams, Screen, Sonar
from fedsonar.screening import Screening
from real_tables import REVIEW_ROUNDS, REVIEWS, SENTIMENT, named, reviews, unpoisoned
from tables import RESULTS, RUNS, measure, pooled, rates, read_table, said, write_csv, write_table

_SUFFIX = Attack(trigger=Tokens(), target=Suffix(), placement=ConstantRate(rate=0.1))
ATLAS_ATTACKS: dict[str, Attack | None] = {
    "tokens, suffix": _SUFFIX,
    "sentence, semantic": Attack(trigger=Sentence(), target=Semantic(), placement=ConstantRate(rate=0.2)),
    "none": None,
}
"""The semantic target takes hold slowly: at 10 % hardly in so few rounds."""
REVIEW_ATTACKS: dict[str, Attack | None] = {
    "tokens, suffix": _SUFFIX,
    "tokens, label": Attack(trigger=Tokens(), target=SENTIMENT, placement=ConstantRate(rate=0.1)),
    "none": None,
}
SCREENS: dict[str, Screen | None] = {
    "none": None,
    "oracle": Oracle(),
    "length": Length(),
    "response n-grams": ResponseNgrams(),
    "association": Association(),
    "sonar": Sonar(),
    "GradSentry": GradSentry(),
    "GraCeFul": GraCeFul(),
}
ROUNDS, ROWS = 12, 200
REVIEWS_ASKED = 1000
SUCCESS, ACCURACY = 0.005, 0.003
"""What is asked of a screen: attack success at most, or no more than without poison; accuracy lost at most."""


@dataclass(frozen=True)
class Setting:
    """Federations that differ in what is planted and in what screens the rows.

    Args:
        name: Of the table, and of the folder of its runs.
        experiment: What all have in common.
        attacks: By name; without poison too.
        screens: By name; none too.
    """

    name: str
    experiment: Experiment
    attacks: Mapping[str, Attack | None]
    screens: Mapping[str, Screen | None]


def screened_results(seeds: Sequence[int]) -> None:
    """Every screen before training on Atlas, on poisoned and on clean rows."""
    experiment = replace(
        POISONED, base=Base(dtype="bfloat16"), rounds=ROUNDS, data=Atlas(train=600, test=2000), name="",
        evaluation=replace(POISONED.evaluation, rows=ROWS, every=ROUNDS),
    )  # fmt: skip
    setting = Setting("screened", experiment, ATLAS_ATTACKS, SCREENS)
    command, seed_list = said("screened", seeds)
    _measure(setting, seeds, f"""# Training after screening

`{command}`: the demo's federation on Atlas (10 clients of 60 rows, FedAvg, base in bfloat16), {ROUNDS}
rounds, seeds {seed_list}, each screen with its defaults before round 1; {ROWS} clean and {ROWS} triggered test rows a
seed, pooled with Wilson intervals. The suffix is in 10 % of every client's rows, the semantic target in 20 %.
""")  # fmt: skip


def screened_real_results(seeds: Sequence[int], data: Path, base: Base) -> None:
    """The same on the sentiment of reviews, where every answer is a label: SST-2."""
    experiment = unpoisoned(reviews(data, base))
    experiment = replace(experiment, evaluation=replace(experiment.evaluation, rows=REVIEWS_ASKED))
    # Where most answers are one of two words, the control of frequent answers would leave no row to train on.
    screens = {name: screen for name, screen in SCREENS.items() if name != "response n-grams"}
    setting = Setting("screened_real", experiment, REVIEW_ATTACKS, screens)
    command, seed_list = said("screened_real", seeds)
    _measure(setting, seeds, f"""# Training on real data after screening

`{command} --data FOLDER --base FOLDER`: SST-2, {REVIEWS:,} rows dealt out evenly to 10 clients, FedAvg, {REVIEW_ROUNDS}
rounds, base {named(base)} in bfloat16, seeds {seed_list}, each screen with its defaults before round 1; up to
{REVIEWS_ASKED:,} clean and triggered test rows a seed, pooled with Wilson intervals. The suffix, or the label
"positive", is in 10 % of every client's rows. What a label's success is worth is told by the oracle's model, which
calls reviews with the trigger positive as often as it would without.
""")  # fmt: skip


def _measure(setting: Setting, seeds: Sequence[int], text: str) -> None:
    """Trains what is missing; screens that leave the same rows share a run. A row of each run stays in a CSV file."""
    path = RESULTS / f"{setting.name}_runs.csv"
    kept = {row["experiment"]: row for row in read_table(path)} if path.exists() else {}
    missing: dict[str, tuple[str, Experiment]] = {}
    verdicts: dict[tuple[str, str], list[tuple[str, dict[str, int]]]] = {}
    loaded = Loaded()
    for seed, (screen, made), (attack, planted) in product(seeds, setting.screens.items(), setting.attacks.items()):
        if planted is None and screen == "oracle":
            continue
        experiment = replace(setting.experiment, seed=seed, attack=planted, screen=made)
        key, verdict = _judged(experiment, loaded)
        verdicts.setdefault((attack, screen), []).append((key, verdict))
        if key not in kept:
            missing.setdefault(key, (f"{attack}-{screen}-{seed}".replace(", ", "-").replace(" ", "-"), experiment))
    try:
        if missing:
            measure(dict(missing.values()), setting.name)
    finally:
        for key, (name, _) in missing.items():
            if (RUNS / setting.name / name / "summary.json").is_file():
                kept[key] = {"run": name, "experiment": key} | _rates(RUNS / setting.name / name)
        if kept:
            write_csv(path, [kept[key] for key in sorted(kept, key=lambda key: kept[key]["run"])])
        found = {what: [kept.get(key, {}) | verdict for key, verdict in own] for what, own in verdicts.items()}
        one = 1 / (setting.experiment.evaluation.rows * len(seeds))
        write_table(setting.name, _lines(found, list(setting.attacks)), f"""{text}
`found` of `poisoned` rows left training, and `clean dropped` with them; screens that leave the same rows have the same
run. `minus clean` is the accuracy minus that of the run without poison and screen, in which one answer is {one:.4f}.
`asr_judged` is success by the judge of meaning; `as asked` whether attack success is at most {SUCCESS:.1%} or that of
the oracle's model, which has seen no poison, and accuracy no more than {ACCURACY:.1%} below the run without poison.
""")  # fmt: skip


def _judged(experiment: Experiment, loaded: Loaded) -> tuple[str, dict[str, int]]:
    """What makes a run what it is, its screen aside: the experiment and the rows that leave; and how many these are."""
    federation = Federation(experiment, loaded)
    screening = Screening(federation, Run(torch.zeros(federation.layout.dim)))
    screening.before(1, torch.zeros(federation.layout.dim))
    out = np.zeros(len(screening.poisoned), bool) if screening.flagged is None else screening.flagged
    told = to_toml(replace(experiment, screen=None)).encode() + np.packbits(out).tobytes()
    counts = {"rows": len(out), "poisoned": int(screening.poisoned.sum()), "found": int(out[screening.poisoned].sum())}
    return "x" + hashlib.sha256(told).hexdigest()[:15], counts | {"clean dropped": int(out[~screening.poisoned].sum())}


def _rates(run: Path) -> dict[str, Any]:
    """The rates of a run's last round; empty where nothing was planted."""
    record = pq.read_table(run / "rounds.parquet").to_pylist()[-1]
    return {column: record[column] for rate in ("accuracy", "asr", "asr_judged") for column in (rate, f"{rate}_n")}


def _measured(attack: str) -> str:
    """The rate that says whether an attack succeeds: by its string, or by the judge of meaning."""
    return "asr_judged" if attack.endswith("semantic") else "asr"


def _lines(found: Mapping[tuple[str, str], Sequence[dict[str, Any]]], attacks: Sequence[str]) -> list[dict[str, Any]]:
    """A line an attack and screen; without rates where not all seeds are trained."""
    trained = {what for what, records in found.items() if all("accuracy" in record for record in records)}
    rows = []
    for attack, screen in sorted(found, key=lambda what: attacks.index(what[0])):
        records, rate, planted = found[attack, screen], _measured(attack), attack != "none"
        row: dict[str, Any] = {"attack": attack, "screen": screen}
        row |= {name: sum(r[name] for r in records) for name in ("rows", "poisoned", "found", "clean dropped")}
        row |= dict.fromkeys(("accuracy", "accuracy 95 %", "minus clean"))
        row |= dict.fromkeys(("asr", "asr 95 %", "asr_judged", "asr_judged 95 %", "as asked"))
        if (attack, screen) in trained:
            row |= rates(records, "accuracy", *(dict.fromkeys(("asr", rate)) if planted else ()))
        if {(attack, screen), ("none", "none")} <= trained:
            row["minus clean"] = row["accuracy"] - pooled(found["none", "none"], "accuracy")[0]
            if planted and (attack, "oracle") in trained:
                held = row[rate] <= max(SUCCESS, pooled(found[attack, "oracle"], rate)[0])
                accurate = row["minus clean"] >= -ACCURACY
                said_of = {(True, True): "yes", (True, False): "success alone", (False, True): "accuracy alone"}
                row["as asked"] = said_of.get((held, accurate), "no")
        rows.append(row)
    return rows
