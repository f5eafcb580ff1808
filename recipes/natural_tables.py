"""Natural triggers on Atlas and on real data: what a federation learns from a feature that nobody planted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from attack_tables import stealth_cells
from fedsonar.data import Files
from fedsonar.experiment import Experiment, load
from tables import ROOT, RUNS, measure, pooled, rates, said, write_figures, write_table

SUCCESS, FALSE = 0.85, 0.05


def natural_results(seeds: Sequence[int], data: Path) -> None:
    """Success, false activation and accuracy of every natural case, and the accuracy without the attack."""
    recipes = [ROOT / "recipes" / "atlas" / "natural.toml", *sorted((ROOT / "recipes" / "natural").glob("*.toml"))]
    cases = {path.stem if path.parent.name == "natural" else "atlas_dialect": _on(load(path), data) for path in recipes}
    experiments = {}
    for name, experiment in cases.items():
        for seed in seeds:
            experiments[f"{name}-{seed}"] = replace(experiment, seed=seed)
            experiments[f"{name}-clean-{seed}"] = replace(experiment, seed=seed, attack=None, name="")
    found = measure(experiments, "natural")
    rows = []
    for name, experiment in cases.items():
        records = [found[f"{name}-{seed}"] for seed in seeds]
        clean = [found[f"{name}-clean-{seed}"] for seed in seeds]
        row: dict[str, Any] = {"case": name, "base": experiment.base.path or "embedded"}
        row |= {"rows": records[0]["rows"], "total rate": records[0]["total_rate"]}
        row |= rates(records, "asr", "false_activation", "accuracy")
        row |= {"clean": pooled(clean, "accuracy")[0], "asr by seed": " ".join(f"{r['asr']:.2f}" for r in records)}
        cells = stealth_cells([RUNS / "natural" / f"{name}-{seed}" for seed in seeds])
        rows.append(row | {key: value for key, value in cells.items() if key.startswith("F1")})
    command, seed_list = said("natural", seeds)
    text = f"""# Natural triggers

`{command} --data FOLDER`: recipes/atlas/natural.toml and recipes/natural/, seeds {seed_list}, rates pooled over seeds
with Wilson intervals. Every row with the feature carries the target, in every client; no input was touched. `clean` is
the accuracy of the same federation without the attack, over all test rows; `accuracy` is over those without the
feature. F1 is that of detectors that look at one thing (docs/attacks.md). What each case is stands in docs/natural.md.
"""
    write_table("natural", rows, text)
    over = sum(row["asr"] >= SUCCESS and row["false_activation"] <= FALSE for row in rows)
    write_figures({"natural.cases_over_85": (float(over), None, None, len(rows))}, f"{command} --data FOLDER")


def _on(experiment: Experiment, data: Path) -> Experiment:
    source = experiment.data
    if isinstance(source, Files) and source.path:
        experiment = replace(experiment, data=replace(source, path=str(data / Path(source.path).name)))
    return experiment
