"""Where each rule breaks: attack success and accuracy over the share of affected clients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from fedsonar.aggregate import (
    FLAME,
    NNM,
    RLR,
    Aggregator,
    AlignIns,
    Bulyan,
    CenteredClipping,
    Chain,
    DnC,
    FedAvg,
    FLDetector,
    FLTrust,
    FoolsGold,
    FoundationFL,
    FreqFed,
    GeometricMedian,
    Krum,
    Median,
    MultiKrum,
    MultiMetrics,
    NormClip,
    TrimmedMean,
    WeakDP,
)
from fedsonar.demo import POISONED
from fedsonar.measure import selection
from fedsonar.model import Base
from fedsonar.poison import ConstantRate
from tables import measure_long, pooled, rates, said, write_figures, write_table

RULES: dict[str, Aggregator] = {
    "FedAvg": FedAvg(),
    "Krum": Krum(),
    "MultiKrum": MultiKrum(),
    "Median": Median(),
    "TrimmedMean": TrimmedMean(),
    "GeometricMedian": GeometricMedian(),
    "Bulyan": Bulyan(),
    "NormClip": NormClip(),
    "WeakDP": WeakDP(),
    "CenteredClipping": CenteredClipping(),
    "FoolsGold": FoolsGold(),
    "FLTrust": FLTrust(),
    "FLAME": FLAME(),
    "FreqFed authors": FreqFed(),
    "FreqFed majority": FreqFed(variant="majority"),
    "FoundationFL": FoundationFL(),
    "DnC": DnC(),
    "RLR": RLR(),
    "MultiMetrics": MultiMetrics(),
    "AlignIns": AlignIns(),
    "FLDetector, window 3": FLDetector(window=3),
    "NNM + TrimmedMean": Chain(steps=(NNM(),), rule=TrimmedMean()),
}
AFFECTED = (0.1, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0)
TOTAL, LOCAL, BROKEN = 0.08, 0.1, 0.5


def robust_results(seeds: Sequence[int]) -> None:
    """Every rule over the share of affected clients, at a fixed total of poison and at a fixed local rate."""
    base = replace(
        POISONED, base=Base(dtype="bfloat16"), rounds=12, evaluation=replace(POISONED.evaluation, rows=100, every=12)
    )
    experiments = {}
    for (rule, made), affected, fixed, seed in product(RULES.items(), AFFECTED, ("total", "local"), seeds):
        rate = round(TOTAL / affected, 15) if fixed == "total" else LOCAL  # .8 gives LOCAL, so those run once
        assert base.attack is not None
        attack = replace(base.attack, placement=ConstantRate(affected=affected, rate=rate))
        experiments[_named(rule, fixed, affected, seed)] = replace(
            base, seed=seed, aggregator=made, attack=attack, name=""
        )
    found = measure_long(experiments, "robust", ("asr", "asr_n", "accuracy", "accuracy_n"), _selected)
    rows, figures, breaks = [], {}, []
    for fixed, rule in product(("total", "local"), RULES):
        broken: float | None = None
        for affected in AFFECTED:
            names = [_named(rule, fixed, affected, seed) for seed in seeds]
            records = [found[name] for name in names]
            row: dict[str, Any] = {"fixed": fixed, "rule": rule, "affected": affected}
            row |= {"local rate": TOTAL / affected if fixed == "total" else LOCAL}
            row |= {"total rate": float(np.mean([r["total_rate"] for r in records]))}
            row |= rates(records, "asr", "accuracy") | {"asr by seed": " ".join(f"{r['asr']:.2f}" for r in records)}
            rows.append(row | _pooled_selection(records))
            if broken is None and pooled(records, "asr")[1] > BROKEN:
                broken = affected
            if fixed == "total" and affected in (0.2, 1.0):
                end = "02" if affected < 1 else "1"
                name = rule.partition(",")[0].replace(" ", "_")
                figures[f"robust.{name}.asr_at_rho_{end}_total"] = pooled(records, "asr")
        breaks.append({"fixed": fixed, "rule": rule, "breaks at": broken})
    command, seed_list = said("robust", seeds)
    listed = {
        fixed: ", ".join(f"{b['rule']} {b['breaks at'] or 'never'}" for b in breaks if b["fixed"] == fixed)
        for fixed in ("total", "local")
    }
    text = f"""# Where each rule breaks

`{command}`: Atlas, 10 clients of 60 rows, BadNets tokens with the suffix, 12 rounds, LoRA factors, base in bfloat16,
seeds {seed_list}; 100 clean and 100 triggered test rows a seed, pooled with Wilson intervals. `fixed` says what stays
while more clients are affected: the `total`, {TOTAL:.0%} of all rows in ever thinner local rates, or the `local` rate,
{LOCAL:.0%} of every affected client's rows. `recall` is the share of affected clients' updates that the rule dropped,
`precision` that of affected clients among those dropped, `weight` what affected clients counted; empty where a rule
treats coordinates apart or nobody was dropped.

The least share of affected clients at which a rule is broken (the interval of attack success lies above {BROKEN}):

- fixed total: {listed["total"]}
- fixed local rate: {listed["local"]}
"""
    write_table("robust", rows, text)
    write_figures(figures, command)


def _named(rule: str, fixed: str, affected: float, seed: int) -> str:
    """The folder of a run."""
    return f"{rule}-{fixed}-{affected}-{seed}".replace(" ", "_").replace(",", "")


def _selected(run: Path) -> dict[str, Any]:
    """How the rule treated affected clients over a run's rounds; empty where it treats coordinates apart."""
    counted = [row for row in pq.read_table(run / "clients.parquet").to_pylist() if row["share"] is not None]
    if not counted:
        return dict.fromkeys(("recall", "recall_n", "precision", "precision_n", "weight"))
    scores = selection(
        [row["share"] for row in counted], [row["weight"] for row in counted],
        [row["poisoned_rows"] > 0 for row in counted],
    )  # fmt: skip
    cells: dict[str, Any] = {}
    for name, rate in (("recall", scores.recall), ("precision", scores.precision)):
        cells |= {name: rate.value if rate.n else None, f"{name}_n": rate.n}
    return cells | {"weight": scores.given}


def _pooled_selection(records: Sequence[dict[str, Any]]) -> dict[str, float | None]:
    """The same over several runs."""
    cells: dict[str, float | None] = {}
    for name in ("recall", "precision"):
        told = [record for record in records if record[name] is not None]
        cells[name] = pooled(told, name)[0] if told else None
    weights = [record["weight"] for record in records if record["weight"] is not None]
    return cells | {"weight": float(np.mean(weights)) if weights else None}
