"""What foretells attack success: readings of the signal, over a grid and in settings that no link has seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from fedsonar.data import IID, Atlas
from fedsonar.demo import POISONED
from fedsonar.experiment import Experiment
from fedsonar.measure import Link, Rate, fit_link, pooled, spearman
from fedsonar.model import Base
from fedsonar.poison import Attack, ConstantRate, Refusal, Sentence, Short, Suffix, Tokens
from fedsonar.rng import stream
from tables import measure_long, said, write_figures, write_table

READINGS = {
    "plain S/N": ("plain", "cumulative_ratio"),
    "crossfit S/N": ("crossfit", "cumulative_ratio"),
    "twin S/N": ("twin", "cumulative_ratio"),
    "summed S/N": ("summed", "ratio"),
    "crossfit S": ("crossfit", "cumulative_signal"),
    "twin S": ("twin", "cumulative_signal"),
    "summed S": ("summed", "signal"),
}
"""What might order attack success: column -> estimator and column of bsnr.parquet."""

AFFECTED, RATES = (0.2, 0.4, 0.6, 0.8, 1.0), (0.04, 0.08, 0.16, 0.32)
_ROUNDS = 12
BASE = replace(
    POISONED, base=Base(dtype="bfloat16"), partition=IID(clients=20), rounds=_ROUNDS,
    evaluation=replace(POISONED.evaluation, rows=200, every=_ROUNDS), bsnr=replace(POISONED.bsnr, twins=True),
)  # fmt: skip
FITTED = "fitted"
"""The setting whose runs the link is fitted to."""

SETTINGS: dict[str, Experiment] = {
    "other trigger": replace(BASE, attack=Attack(trigger=Sentence(), target=Suffix())),
    "other target": replace(BASE, attack=Attack(trigger=Tokens(), target=Short())),
    "both, refusal": replace(BASE, attack=Attack(trigger=Sentence(), target=Refusal())),
    "half the clients": replace(BASE, partition=IID(clients=10)),
    "twice the clients": replace(BASE, partition=IID(clients=40), data=Atlas(train=1200, test=300)),
    "other data": replace(
        BASE, data=Atlas(train=600, test=600, closed_book=0.2, contextual=0.2, review=0.4, listing=0.2)
    ),
}
"""Settings held out from the fit."""


def experiments(seeds: Sequence[int]) -> dict[str, tuple[str, Experiment]]:
    """Name -> setting and experiment: the grid for every seed, and the held-out settings for the first."""
    found = {}
    for affected, rate, seed in product(AFFECTED, RATES, seeds):
        found[f"rho{affected}-rate{rate}-{seed}"] = FITTED, _planted(BASE, affected, rate, seed)
    for seed in seeds:
        found[f"rho0-{seed}"] = "nothing", _planted(BASE, 0.0, 0.0, seed)
    for (setting, experiment), affected, rate in product(SETTINGS.items(), (0.2, 0.5, 1.0), RATES):
        name = f"{setting.replace(' ', '-').replace(',', '')}-rho{affected}-rate{rate}-{seeds[0]}"
        found[name] = setting, _planted(experiment, affected, rate, seeds[0])
    return found


def _planted(experiment: Experiment, affected: float, rate: float, seed: int) -> Experiment:
    assert experiment.attack is not None
    attack = replace(experiment.attack, placement=ConstantRate(affected=affected, rate=rate))
    return replace(experiment, seed=seed, attack=attack, name="")


def bsnr_results(seeds: Sequence[int]) -> None:
    """Every reading of the signal against attack success, on the grid and on held-out settings."""
    made = experiments(seeds)
    columns = ("asr", "asr_n", "accuracy", "accuracy_n", "bsnr_crossfit_cumulative_low")
    columns += ("bsnr_crossfit_cumulative_high",)
    found = measure_long({name: experiment for name, (_, experiment) in made.items()}, "bsnr", columns, _readings)
    runs = [{"setting": made[name][0]} | record for name, record in found.items()]
    attacked = [run for run in runs if run["setting"] != "nothing"]
    rows, figures = [], {}
    for name in READINGS:
        row, link = _judged(name, attacked)
        rows.append(row)
        figures[f"bsnr.spearman_{_key(name)}"] = row.pop("_spearman")
        figures[f"bsnr.link_held_out_{_key(name)}"] = row.pop("_held_out")
        row["slope"] = link.slope
    best = max(rows, key=lambda row: row["held out"])["reading"]
    for figure, source in (("bsnr.spearman", "spearman"), ("bsnr.link_held_out_accuracy", "link_held_out")):
        figures[figure] = figures[f"bsnr.{source}_{_key(best)}"]
    settings = "\n".join(_in_setting(best, setting, attacked) for setting in (FITTED, *SETTINGS))
    nothing = [run for run in runs if run["setting"] == "nothing"]
    covered = sum(
        run["bsnr_crossfit_cumulative_low"] <= 0 <= run["bsnr_crossfit_cumulative_high"] for run in nothing
    )  # fmt: skip
    silent = sum(run["asr"] == 0 for run in attacked)
    command, seed_list = said("bsnr", seeds)
    text = f"""# What foretells attack success

`{command}`: Atlas, 600 rows, 20 clients, FedAvg, {_ROUNDS} rounds, base in bfloat16, BadNets tokens and the suffix,
affected clients {_listed(AFFECTED)}, rates {_listed(RATES)}, seeds {seed_list}: the runs that each link is fitted to.
Held out are, with seed {seeds[0]}, another trigger (a sentence), another target (a short one), both (a sentence and a
refusal), 10 clients, 40 clients, and another mixture of tasks; affected .2, .5 and 1. 200 triggered rows a run. All
runs: [bsnr_runs.csv](bsnr_runs.csv).

Readings after the last round: `plain`, `crossfit` and `twin` are signals added over the rounds, in product space;
`summed` is the twins' reading of what clients sent in all rounds, added up first, in the factors' space. S/N is an
amplitude, S a signal without its noise. Our operational definitions, after the description in arXiv:2602.15671.

`spearman` is the rank correlation with attack success over all runs that have the reading (n), with a bootstrap
interval; no reading can pass {_ceiling(attacked):.3f}, as {silent} of {len(attacked)} runs are
tied at a success of 0. `critical` is the reading at which the link is at one half. `fit` and `held out` are how often
it is right on which side of one half a run
ends, with Wilson intervals; the settings' columns are the parts of `held out`.

{best} by itself in each setting, with a link of its own:

{settings}

At rho = 0 (nobody affected, a placebo half of the clients) the cross-fitted interval covers no signal in {covered} of
{len(nothing)} runs. Where all clients are affected only twins can be read.
"""
    write_table("bsnr_link", rows, text)
    write_figures(figures, command)


def _readings(run: Path) -> dict[str, Any]:
    """All readings after the last round; None where one cannot be made."""
    signals = pq.read_table(run / "bsnr.parquet").to_pylist()
    last = {signal["estimator"]: signal for signal in signals if signal["round"] == _ROUNDS}
    found = {name: last[kind][key] if kind in last else None for name, (kind, key) in READINGS.items()}
    return found | {"twin N": last["twin"]["cumulative_noise"] if "twin" in last else None}


def _judged(name: str, runs: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], Link]:
    """The table's line of a reading, and its link."""
    known = [run for run in runs if run[name] is not None]
    readings, success = (np.array([run[key] for run in known], dtype=float) for key in (name, "asr"))
    order = spearman(readings, success, stream(0, "results"))
    fitted = np.array([run["setting"] == FITTED for run in known])
    trials = np.array([run["asr_n"] for run in known], dtype=int)
    hits = np.rint(success * trials).astype(int)
    link = fit_link(readings[fitted], hits[fitted], trials[fitted], stream(0, "results"))
    right = {
        setting: link.tells(readings[chosen], success[chosen])
        for setting in (FITTED, *SETTINGS)
        if (chosen := np.array([run["setting"] == setting for run in known])).any()
    }
    held_out = pooled(
        [rate.value for setting, rate in right.items() if setting != FITTED],
        [rate.n for setting, rate in right.items() if setting != FITTED],
    )
    row: dict[str, Any] = {"reading": name, "spearman": order.value, "spearman 95 %": _interval(order)}
    row |= {"critical": link.critical.value}
    row["critical 95 %"] = f"[{link.critical.low:.3f}, {link.critical.high:.3f}] n={int(fitted.sum())}"
    row |= {"fit": right[FITTED].value, "held out": held_out.value, "held out 95 %": _interval(held_out)}
    row |= {setting: right[setting].value if setting in right else None for setting in SETTINGS}
    for figure, rate in (("_spearman", order), ("_held_out", held_out)):
        row[figure] = (rate.value, rate.low, rate.high, rate.n)
    return row, link


def _in_setting(name: str, setting: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """How a reading orders one setting's runs, and where its own link is at one half."""
    known = [run for run in runs if run["setting"] == setting and run[name] is not None]
    readings, success = (np.array([run[key] for run in known], dtype=float) for key in (name, "asr"))
    trials = np.array([run["asr_n"] for run in known], dtype=int)
    order = spearman(readings, success, stream(0, "results"))
    critical = fit_link(readings, np.rint(success * trials).astype(int), trials, stream(0, "results")).critical
    return (
        f"- {setting}: spearman {order.value:.3f} [{order.low:.3f}, {order.high:.3f}] (at most {_ceiling(known):.3f}), "
        f"critical {critical.value:.2f} [{critical.low:.2f}, {critical.high:.2f}], n = {len(known)}"
    )


def _ceiling(runs: Sequence[Mapping[str, Any]]) -> float:
    """The greatest rank correlation that anything without ties can have with the runs' success, which has some."""
    _, ties = np.unique([run["asr"] for run in runs], return_counts=True)
    n = len(runs)
    return math.sqrt(1 - float((ties**3 - ties).sum()) / (n**3 - n))


def _interval(rate: Rate) -> str:
    return f"[{rate.low:.3f}, {rate.high:.3f}] n={rate.n}"


def _key(name: str) -> str:
    return name.replace(" ", "_").replace("/", "")


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
