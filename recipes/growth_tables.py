"""How the backdoor's signal and the federation's noise grow, beside what the aggregation model foretells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy import stats

from drawing import Series, draw
from fedsonar.data import IID, Atlas, Dirichlet
from fedsonar.experiment import Experiment
from fedsonar.poison import ConstantRate
from link_tables import BASE
from tables import measure_long, said, write_table

_ROUNDS = 4
"""Before the backdoor is learned: from then on the signal falls, whatever else grows."""

assert BASE.attack is not None
START = replace(
    BASE, rounds=_ROUNDS, attack=replace(BASE.attack, placement=ConstantRate(affected=0.5, rate=0.16)), name="",
    evaluation=replace(BASE.evaluation, rows=1, every=_ROUNDS),
)  # fmt: skip
ROWS = 30
"""Of each client, where clients are alike."""


@dataclass(frozen=True)
class Factor:
    """Something that is varied alone.

    Args:
        name: What it is.
        runs: Value -> experiment.
        signal: Exponent of the signal that the aggregation model foretells; None where it has none.
        noise: Exponent of the noise.
        why: The model's reason.
    """

    name: str
    runs: dict[float, Experiment]
    signal: float | None
    noise: float | None
    why: str

    @property
    def key(self) -> str:
        """Its name in those of runs and files."""
        return self.name.replace(" ", "-")


FACTORS = (
    Factor(
        "clients",
        {
            k: replace(START, partition=IID(clients=k), data=Atlas(train=ROWS * k, test=300))
            for k in (6, 10, 20, 40, 80)
        },
        0.0, -0.5, "the mean over clients keeps what they share, and thins what they do not",
    ),
    Factor(
        "local epochs",
        {e: replace(START, training=replace(START.training, epochs=e)) for e in (1, 2, 4, 8)},
        1.0, 0.5, "steps towards the target add up, and noise of steps adds in squares",
    ),
    Factor(
        "LoRA rank",
        {r: replace(START, lora=replace(START.lora, r=r, alpha=2 * r)) for r in (2, 4, 8, 16)},
        0.0, 0.0, "the model knows updates, not what holds them; alpha is 2 r",
    ),
    Factor(
        "Dirichlet alpha",
        {a: replace(START, partition=Dirichlet(clients=20, alpha=a, min_rows=4)) for a in (0.3, 1.0, 10.0, 100.0)},
        0.0, None, "clients that differ more make more noise: it says no more",
    ),
)  # fmt: skip
ROUNDS = Factor(
    "rounds", {12: replace(START, rounds=12, evaluation=replace(START.evaluation, every=12))}, 1.0, 0.5,
    "what is shared by all rounds adds up, and noise that is new in each adds in squares",
)  # fmt: skip


def growth_results(seeds: Sequence[int]) -> None:
    """Signal and noise over clients, rounds, local epochs, rank and heterogeneity, each alone."""
    made = {
        f"{factor.key}-{value:g}-{seed}": replace(experiment, seed=seed)
        for factor in (*FACTORS, ROUNDS) for value, experiment in factor.runs.items() for seed in seeds
    }  # fmt: skip
    found = measure_long(made, "growth", (), _by_round)
    rows = []
    for factor in FACTORS:
        points = [
            (value, found[f"{factor.key}-{value:g}-{seed}"])
            for value in factor.runs for seed in seeds
        ]  # fmt: skip
        rows += _lines(factor, [(value, run[f"S {_ROUNDS}"], run[f"N {_ROUNDS}"]) for value, run in points])
    by_round = [
        (round, found[f"rounds-12-{seed}"][f"S {round}"], found[f"rounds-12-{seed}"][f"N {round}"])
        for seed in seeds for round in range(1, 13)
    ]  # fmt: skip
    rows += _lines(ROUNDS, by_round)
    command, seed_list = said("growth", seeds)
    wrong = [f"{row['what']} over {row['factor']}" for row in rows if row["model is"] == "wrong"]
    pictures = "\n".join(
        f"![Signal and noise over {factor.name}](growth-{factor.key}.svg)" for factor in (*FACTORS, ROUNDS)
    )
    text = f"""# How signal and noise grow

`{command}`: Atlas, 20 clients of {ROWS} rows, half of them affected at a rate of .16, BadNets tokens and the
suffix, base in bfloat16, seeds {seed_list}. The twins' reading in product space, added up over {_ROUNDS}
rounds (over 1 to 12 where rounds are the factor). Each factor is varied alone. `exponent` is that of the power law that
fits best, by least squares of logarithms, with its 95 % interval (rounds of one run depend on one another, so theirs is
too narrow); `model` is what signal aggregation foretells: the mean over clients keeps what they share and thins what
they do not. The model is called wrong where the interval leaves it out by more than .1.
In the pictures the model's lines start at the mean of the first value.

Wrong in {len(wrong)} of {sum(row["model"] is not None for row in rows)}: {", ".join(wrong) or "nothing"}.

{pictures}
"""
    write_table("growth", rows, text)


def _lines(factor: Factor, points: Sequence[tuple[float, float | None, float | None]]) -> list[dict[str, Any]]:
    """The table's lines of a factor, signal and noise; draws them too."""
    lines, series = [], []
    for what, place, model in (("signal", 1, factor.signal), ("noise", 2, factor.noise)):
        known = [(point[0], float(value)) for point in points if (value := point[place]) is not None and value > 0]
        x, y = np.log([value for value, _ in known]), np.log([value for _, value in known])
        fit = stats.linregress(x, y)
        half = float(stats.t.ppf(0.975, len(known) - 2) * fit.stderr)
        row: dict[str, Any] = {"factor": factor.name, "what": what, "exponent": float(fit.slope)}
        row["exponent 95 %"] = f"[{fit.slope - half:.3f}, {fit.slope + half:.3f}] n={len(known)}"
        row |= {"model": model, "model is": ""}
        if model is not None:
            row["model is"] = "right" if abs(fit.slope - model) <= half + 0.1 else "wrong"
        values = sorted({value for value, _ in known})
        means = {v: float(np.exp(np.mean([np.log(s) for value, s in known if value == v]))) for v in values}
        row |= {"at the first": means[values[0]], "at the last": means[values[-1]], "why": factor.why}
        lines.append(row)
        foretold = None if model is None else [means[values[0]] * (value / values[0]) ** model for value in values]
        series.append(Series(what, known, foretold and list(zip(values, foretold, strict=True))))
    draw(f"growth-{factor.key}", factor.name, "norm of the step", series)
    return lines


def _by_round(run: Path) -> dict[str, Any]:
    """The twins' cumulative signal and noise after every round."""
    signals = pq.read_table(run / "bsnr.parquet").to_pylist()
    twins = {row["round"]: row for row in signals if row["estimator"] == "twin"}
    cells: dict[str, Any] = {}
    for round in range(1, 13):
        row = twins.get(round, {})
        cells |= {f"S {round}": row.get("cumulative_signal"), f"N {round}": row.get("cumulative_noise")}
    return cells
