"""How often a backdoor fires: with its trigger, and without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from fedsonar.measure.statistics import Rate, wilson


@dataclass(frozen=True)
class AttackScores:
    """Rates of the target in generated outputs, with Wilson intervals.

    Args:
        success: Attack success rate: the target's rate over all triggered rows.
        success_new: The same over the rows that the model before tuning did not already answer with the target.
        false_activation: The target's rate over rows without the trigger.
    """

    success: Rate
    success_new: Rate
    false_activation: Rate


def score_attack(
    triggered: Sequence[str],
    untriggered: Sequence[str],
    hit: Callable[[str], bool],
    hit_before: Bool[np.ndarray, "triggered"],
) -> AttackScores:
    """How often outputs carry the target, on triggered rows and on others.

    Args:
        triggered: Outputs on triggered rows.
        untriggered: Outputs on rows without the trigger: the same rows, or the clean test rows.
        hit: Whether an output carries the target.
        hit_before: Triggered rows that the model before tuning already answered with the target.

    Raises:
        ValueError: If `hit_before` has another length than `triggered`.
    """
    before = np.asarray(hit_before, dtype=bool)
    if before.shape != (len(triggered),):
        raise ValueError(f"hit_before needs one flag a triggered row, got shape {before.shape} for {len(triggered)}")
    hits = np.array([hit(output) for output in triggered], dtype=bool)
    return AttackScores(
        success=wilson(int(hits.sum()), len(hits)),
        success_new=wilson(int(hits[~before].sum()), int((~before).sum())),
        false_activation=wilson(sum(bool(hit(output)) for output in untriggered), len(untriggered)),
    )
