"""What the readings of the backdoor's signal are worth on made-up updates, whose signal is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np

from fedsonar.measure import blind, crossfit, plain, twin, wilson
from fedsonar.rng import stream
from tables import said, write_figures, write_table

GROUPS = ((2, 8), (5, 5), (8, 2), (10, 0), (4, 16), (10, 10), (30, 70))
"""Affected and clean clients."""

DIMENSIONS = (10, 1000, 100_000)
"""Dimensions of an update for each client."""

RATIOS = (0.0, 3.0, 10.0, 100.0)
"""Amplitude ratios S / N that are planted."""

TRIALS = 1000
TRAINING = 0.3
"""Deviation of what training adds to a client and not to its twin, beside that of a client's own data."""


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
