"""What the readings of the backdoor's signal are worth: on made-up updates, and against attack success."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from fedsonar.data import IID
from fedsonar.demo import POISONED
from fedsonar.measure import blind, crossfit, plain, spearman, twin, wilson
from fedsonar.poison import ConstantRate
from fedsonar.rng import stream
from tables import RUNS, dials, measure, said, write_figures, write_table

GROUPS = ((2, 8), (5, 5), (8, 2), (10, 0), (4, 16), (10, 10), (30, 70))
"""Affected and clean clients."""

DIMENSIONS = (10, 1000, 100_000)
"""Dimensions of an update for each client."""

RATIOS = (0.0, 3.0, 10.0, 100.0)
"""Amplitude ratios S / N that are planted."""

TRIALS = 1000
TRAINING = 0.3
"""Deviation of what training adds to a client and not to its twin, beside that of a client's own data."""

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


def estimator_results(seeds: Sequence[int]) -> None:
    """Each estimator on updates whose signal and noise are known."""
    rows = [
        _row("alike", affected, clean, per_client, ratio, _alike, seeds[0])
        for (affected, clean), per_client, ratio in product(GROUPS, DIMENSIONS, RATIOS)
    ]
    for noise, make in (("few directions", _few_directions), ("twice for affected", _louder)):
        rows += [
            _row(noise, *group, 100, ratio, make, seeds[0]) for group, ratio in product(((5, 5), (10, 10)), RATIOS)
        ]
    command, _ = said("estimators", seeds[:1])
    text = f"""# The estimators of BSNR on known signals

`{command}`: {TRIALS:,} made-up rounds a line, clients of equal weight, a gap along one coordinate, noise of deviation 1
in every coordinate and client, {TRAINING} more between an affected client and its twin, and an offset that all share.
`S/N` is planted. `S` are the mean readings over the true signal (with `S/N` 0 over the noise N), `N` the root of the
mean squared noise over the true one; `covers` says how often the 95 % interval holds the planted ratio, with Wilson's
interval. `blind` is how often the gauge passes its limit. Empty: the estimator refuses, or has no interval.

`noise` says how it lies: `alike` in all coordinates and clients; in `few directions`, where the deviation of coordinate
j falls as the root of 1 / j and the gap lies along the tenth; or `twice for affected` clients, whose training is
noisier.
"""
    write_table("estimators", rows, text)
    worst = {
        name: [row for row in rows if row["noise"] == "alike" and row[f"{name} covers"] is not None]
        for name in ("crossfit", "twin")
    }
    figures = {}
    for name, cells in worst.items():
        least, most = (pick(cells, key=lambda row: row[f"{name} covers"])[f"{name} covers"] for pick in (min, max))
        mean = float(np.mean([row[f"{name} covers"] for row in cells]))
        figures[f"bsnr.coverage_{name}"] = (mean, least, most, len(cells))
    write_figures(figures, command)


Round = Callable[[int, int, int, float, np.random.Generator], tuple[np.ndarray, float]]
"""Affected, clean, d, gap and a generator -> inner products of clients and twins, and the noise along the gap."""


def _row(
    noise: str, affected: int, clean: int, per_client: int, ratio: float, make: Round, seed: int
) -> dict[str, Any]:
    """A line of the table."""
    clients = affected + clean
    weights, group = np.full(clients, 1 / clients), np.arange(clients) < affected
    found: dict[str, list[tuple[float, float, bool | None]]] = {"plain": [], "crossfit": [], "twin": []}
    alarms = 0
    _, deviation = make(affected, clean, per_client * clients, 0.0, stream(seed, "estimators"))
    true_noise = deviation / math.sqrt(clients)
    gap = ratio * true_noise / (affected / clients)
    for trial in range(TRIALS):
        rng = stream(seed, "estimators", noise, affected, clean, per_client, ratio, trial)
        vectors, _ = make(affected, clean, per_client * clients, gap, rng)
        alone = vectors[:clients, :clients]
        readings = {"plain": plain(alone, weights, group), "crossfit": crossfit(alone, weights, group, rng)}
        readings["twin"] = twin(vectors, weights, group, rng)
        for name, reading in readings.items():
            covers = None if math.isnan(reading.low) else reading.low <= ratio <= reading.high
            found[name].append((reading.signal, reading.noise, covers))
        gauge = blind(alone)
        alarms += gauge.eigenvalue > gauge.limit
    row: dict[str, Any] = {"noise": noise, "affected": affected, "clean": clean, "d/K": per_client, "S/N": ratio}
    unit = ratio * true_noise or true_noise
    for name, read in found.items():
        heard = not any(math.isnan(signal) for signal, _, _ in read)
        row[f"{name} S"] = float(np.mean([signal for signal, _, _ in read])) / unit if heard else None
        row[f"{name} N"] = math.sqrt(np.mean([n**2 for _, n, _ in read])) / true_noise if heard else None
        if name != "plain":
            told = [covers for _, _, covers in read if covers is not None]
            rate = wilson(sum(told), len(told)) if told else None
            row[f"{name} covers"] = rate and rate.value
            row[f"{name} 95 %"] = rate and f"[{rate.low:.3f}, {rate.high:.3f}]"
    return row | {"blind": alarms / TRIALS}


def _alike(affected: int, clean: int, dim: int, gap: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Noise alike in all coordinates. But for the gap's own, these are drawn all at once: as inner products."""
    count = 2 * affected + clean
    along = rng.standard_normal((count, 1))
    lower = np.tril(rng.standard_normal((count, count)), -1)  # Bartlett's decomposition of a Wishart matrix
    lower[np.diag_indices(count)] = np.sqrt(rng.chisquare(dim - 1 - np.arange(count)))
    return _mixed(affected, clean, gap, np.concatenate([along, lower], axis=1)), 1.0


def _few_directions(
    affected: int, clean: int, dim: int, gap: float, rng: np.random.Generator
) -> tuple[np.ndarray, float]:
    deviations = 1 / np.sqrt(np.arange(1, dim + 1))
    deviations[[0, 9]] = deviations[[9, 0]]  # the gap lies along the first coordinate
    return _mixed(affected, clean, gap, deviations * rng.standard_normal((2 * affected + clean, dim))), deviations[0]


def _louder(affected: int, clean: int, dim: int, gap: float, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    noise = rng.standard_normal((2 * affected + clean, dim))
    noise[affected + clean :] *= math.sqrt(3) / TRAINING  # with the client's own: a deviation of 2
    return _mixed(affected, clean, gap, noise), 1.0


def _mixed(affected: int, clean: int, gap: float, noise: np.ndarray) -> np.ndarray:
    """Inner products of clients and twins, from the noise of clients' data and then of affected clients' training."""
    without = noise[: affected + clean] + 0.5  # an offset that all share
    updates = without.copy()
    updates[:affected] += TRAINING * noise[affected + clean :]
    updates[:affected, 0] += gap
    vectors = np.concatenate([updates, without[:affected]])
    products: np.ndarray = vectors @ vectors.T
    return products


def bsnr_results(seeds: Sequence[int]) -> None:
    """Every reading of the signal against attack success over a grid."""
    last_only = replace(POISONED.evaluation, every=12, rows=200)
    base = replace(
        POISONED, partition=IID(clients=20), rounds=12, evaluation=last_only, bsnr=replace(POISONED.bsnr, twins=True)
    )
    experiments = {}
    for seed in seeds:
        for affected in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
            for rate in (0.04, 0.08, 0.16, 0.32) if affected else (0.0,):
                assert base.attack is not None
                attack = replace(base.attack, placement=ConstantRate(affected=affected, rate=rate))
                experiments[f"rho{affected}-rate{rate}-{seed}"] = replace(base, seed=seed, attack=attack, name="")
    found = measure(experiments, "bsnr")
    rows = []
    for name, record in found.items():
        affected, rate = dials(experiments[name])
        row: dict[str, Any] = {"seed": experiments[name].seed, "affected": affected, "rate": rate}
        row |= {"total rate": record["total_rate"], "asr": record["asr"]}
        row["asr 95 %"] = f"[{record['asr_low']:.3f}, {record['asr_high']:.3f}] n={record['asr_n']}"
        row |= {"accuracy": record["accuracy"]}
        signals = pq.read_table(RUNS / "bsnr" / name / "bsnr.parquet").to_pylist()
        last = {signal["estimator"]: signal for signal in signals if signal["round"] == base.rounds}
        for column, (estimator, key) in READINGS.items():
            row[column] = last[estimator][key] if estimator in last else None
        row |= {"crossfit low": record["bsnr_crossfit_cumulative_low"]}
        row |= {"crossfit high": record["bsnr_crossfit_cumulative_high"]}
        rows.append(row)
    planted = [row for row in rows if row["affected"]]
    orders, figures = [], {}
    for column in READINGS:
        pairs = [(row[column], row["asr"]) for row in planted if row[column] is not None]
        rho = spearman(np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs]), stream(0, "results"))
        orders.append(f"- {column}: {rho.value:.3f} [{rho.low:.3f}, {rho.high:.3f}], n = {len(pairs)}")
        figures[f"bsnr.spearman_{column.replace(' ', '_').replace('/', '')}"] = (
            rho.value,
            rho.low,
            rho.high,
            len(pairs),
        )
    nothing = [row for row in rows if not row["affected"]]
    covered = sum(row["crossfit low"] <= 0 <= row["crossfit high"] for row in nothing)
    command, seed_list = said("bsnr", seeds)
    listed = "\n".join(orders)
    text = f"""# Does the signal-to-noise ratio order the attack's success?

`{command}`: 20 clients of 30 rows, FedAvg, 12 rounds, BadNets tokens and the suffix target, seeds {seed_list}; 200
triggered rows a run. Readings after the last round: `plain`, `crossfit` and `twin` are signals added over the rounds,
in product space; `summed` is the twins' reading of what clients sent in all rounds, added up first, in the factors'
space. S/N is an amplitude, S a signal without its noise. Our operational definitions, after the description in
arXiv:2602.15671.

Spearman correlation with the final attack success rate, over the runs with poison:

{listed}

At rho = 0 (nobody affected, a placebo half of the clients) the cross-fitted interval covers no signal in {covered} of
{len(nothing)} runs. Where all clients are affected only twins can be read.
"""
    write_table("bsnr_grid", rows, text)
    write_figures(figures, command)
