"""What each repair does to a poisoned federation's model: attack success and accuracy before and after."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from fedsonar.experiment import Experiment, load, to_toml
from fedsonar.measure import Examination
from fedsonar.model import load_adapter
from fedsonar.poison import Short, Suffix
from fedsonar.preparation import Federation, Loaded
from fedsonar.repair import CleanGen, CleanTuning, Crow, FineMixing, Pruning, Repair
from fedsonar.repairing import treat
from tables import RESULTS, ROOT, RUNS, measure, pooled, rates, read_table, said, write_csv, write_table

REPAIRS: dict[str, Repair] = {
    "CleanGen": CleanGen(),
    "clean tuning": CleanTuning(),
    "fine-mixing": FineMixing(),
    "mixing alone": FineMixing(clean_rows=0, epochs=0),
    "pruning by activation": Pruning(),
    "pruning by magnitude": Pruning(by="magnitude", clean_rows=0, epochs=0),
    "CROW": Crow(),
}
TARGETS = {"suffix": Suffix(), "short": Short()}
_RUNS = RESULTS / "repair_runs.csv"


def repair_results(seeds: Sequence[int]) -> None:
    """Every repair on recipes/atlas/poisoned.toml with two targets; a federation is trained once for all of them."""
    base = load(ROOT / "recipes" / "atlas" / "poisoned.toml")
    assert base.attack is not None
    trained = {
        f"{target}-{seed}": replace(base, seed=seed, name="", attack=replace(base.attack, target=made))
        for (target, made), seed in product(TARGETS.items(), seeds)
    }
    kept = {row["experiment"]: row for row in read_table(_RUNS)} if _RUNS.exists() else {}
    loaded, found = Loaded(), {}
    for (name, experiment), (repair, made) in product(trained.items(), REPAIRS.items()):
        whole = replace(experiment, repair=made)
        key = "x" + hashlib.sha256(to_toml(whole).encode()).hexdigest()[:15]
        if key not in kept:
            if not (RUNS / "repair" / name / "summary.json").is_file():
                measure({name: experiment}, "repair")
            kept[key] = {"run": f"{name}-{repair}", "experiment": key} | _treated(whole, name, loaded)
            write_csv(_RUNS, [kept[key] for key in sorted(kept, key=lambda key: kept[key]["run"])])
        found[name, repair] = kept[key]
    rows = []
    for target, (repair, made) in product(TARGETS, REPAIRS.items()):
        records = [found[f"{target}-{seed}", repair] for seed in seeds]
        row: dict[str, Any] = {"target": target, "repair": repair, "clean rows": made.clean_rows}
        rows.append(row | rates(records, "asr_before", "asr", "accuracy_before", "accuracy"))
    command, seed_list = said("repair", seeds)
    best = {
        target: min(REPAIRS, key=lambda repair: pooled([found[f"{target}-{seed}", repair] for seed in seeds], "asr")[0])
        for target in TARGETS
    }
    text = f"""# Repairs after training

`{command}`: recipes/atlas/poisoned.toml with two targets, seeds {seed_list}; 100 clean and 100 triggered test rows a
seed, pooled with Wilson intervals. Every federation is trained once, and each repair gets the same model. `clean rows`
are taken out of the test rows: what is asked before and after is the same, and differs a little between repairs.
Repairs have their defaults, which are the published ones where there are any, and tune at the learning rate of the
federation's clients; `mixing alone` and `pruning by magnitude` see no data. See [repair.md](../repair.md).

Least attack success: {", ".join(f"{target} {repair}" for target, repair in best.items())}.
"""
    write_table("repair", rows, text)


def _treated(experiment: Experiment, run: str, loaded: Loaded) -> dict[str, Any]:
    """The rates of a run's model before and after the experiment's repair, on the same rows."""
    federation = Federation(experiment, loaded)
    adapter = load_adapter(RUNS / "repair" / run / "adapter", federation.layout)
    before = _rates(federation.examiner.examine(adapter))
    after = _rates(treat(federation, adapter, None).examination)
    return {name.replace("_n", "_before_n") if name.endswith("_n") else f"{name}_before": value
            for name, value in before.items()} | after  # fmt: skip


def _rates(examination: Examination) -> dict[str, float]:
    assert examination.attack is not None
    found = {"asr": examination.attack.success, "accuracy": examination.accuracy}
    return {name: rate.value for name, rate in found.items()} | {f"{name}_n": rate.n for name, rate in found.items()}
