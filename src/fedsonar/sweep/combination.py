"""The combinations of a grid: each one's runs together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from fedsonar.measure import Rate, pooled

READINGS = {
    "bsnr_summed_signal": "signal of the summed updates against twins",
    "bsnr_twin_cumulative_signal": "signal against twins, added up over the rounds",
    "bsnr_crossfit_cumulative_signal": "cross-fitted signal, added up over the rounds",
}
"""Columns that say how loud the backdoor is, the one to prefer first; and their names.

Signals, not ratios to the noise: poison makes noise too, so a ratio rises and falls again where success only rises
(docs/results/bsnr_link.md).
"""


@dataclass(frozen=True, kw_only=True)
class Combination:
    """The runs that differ in the seed alone, after their last round.

    Args:
        values: Path -> value.
        runs: How many there are.
        poisoned: Share of the clients' rows that are poisoned.
        accuracy: Clean accuracy, pooled over the runs.
        asr: Attack success, pooled; None where there is no attack.
        repaired_accuracy: Clean accuracy after the repair, pooled; None where there is none.
        repaired_asr: Attack success after it.
        last: The runs' last rows of the sweep's table.
    """

    values: Mapping[str, Any]
    runs: int
    poisoned: float
    accuracy: Rate | None
    asr: Rate | None
    repaired_accuracy: Rate | None
    repaired_asr: Rate | None
    last: Sequence[Mapping[str, Any]]

    def reading(self, column: str) -> float | None:
        """The mean of a column over the runs; None where one has no value there."""
        values = [row.get(column) for row in self.last]
        return None if None in values else float(np.mean(np.array(values, dtype=float)))


def axes_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The paths of a sweep's grid, from its table: they stand between the seed and the numbers of rows."""
    names = list(rows[0]) if rows else []
    return [name for name in names[names.index("cell") + 1 : names.index("rows")] if name != "seed"] if names else []


def combinations(rows: Sequence[Mapping[str, Any]]) -> list[Combination]:
    """The combinations of a sweep's table, in its order.

    Args:
        rows: From `read_sweep`.
    """
    axes = axes_of(rows)
    last = {row["cell"]: row for row in rows if row["accuracy"] is not None}
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in last.values():
        groups.setdefault(tuple(row[axis] for axis in axes), []).append(row)
    return [
        Combination(
            values=dict(zip(axes, values, strict=True)), runs=len(members), accuracy=_pooled(members, "accuracy"),
            poisoned=sum(row["poisoned_rows"] for row in members) / sum(row["rows"] for row in members),
            asr=_pooled(members, "asr"), repaired_accuracy=_pooled(members, "repaired_accuracy"),
            repaired_asr=_pooled(members, "repaired_asr"), last=members,
        )
        for values, members in groups.items()
    ]  # fmt: skip


def heard(rows: Sequence[Mapping[str, Any]]) -> tuple[str, Float[np.ndarray, "runs"], list[Mapping[str, Any]]]:
    """The best reading of the backdoor that the runs have: its column, its values, and the runs with one.

    Args:
        rows: Runs' last rows, those with an attack.
    """
    for column in READINGS:
        known = [row for row in rows if row.get(column) is not None]
        if 2 * len(known) > len(rows):  # one that is missing where many clients are affected says little of them
            return column, np.array([row[column] for row in known], dtype=float), known
    return "", np.empty(0), []


def _pooled(rows: Sequence[Mapping[str, Any]], rate: str) -> Rate | None:
    """A rate over all rows together; None where nobody has it."""
    counted = [row for row in rows if row.get(rate) is not None]
    return pooled([row[rate] for row in counted], [int(row[f"{rate}_n"]) for row in counted]) if counted else None
