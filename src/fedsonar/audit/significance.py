"""How unlikely it is that a pair comes together by chance as often as it does, among all pairs that were looked at."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from fedsonar.audit.kernels.telling import BOTH, TARGET_ROWS, TRIGGER_ROWS


def adjusted(
    both: Float[np.ndarray, "pairs"],
    trigger: Float[np.ndarray, "pairs"],
    target: Float[np.ndarray, "pairs"],
    total: int,
    tests: float,
) -> Float[np.ndarray, "pairs"]:
    """Adjusted p-values of pairs: Bonferroni's, which holds whatever hangs on what, and needs no other pair's value.

    Args:
        both: Rows that have trigger and target.
        trigger: Rows that have the trigger.
        target: Rows that have the target.
        total: All rows.
        tests: How many pairs were looked at.
    """
    from scipy import stats

    if not len(both):
        return np.ones(0)
    share = target / total
    with np.errstate(divide="ignore", invalid="ignore"):
        hit = np.where(both > 0, both * np.log(both / (trigger * share)), 0.0)
        miss = np.where(trigger > both, (trigger - both) * np.log((trigger - both) / (trigger * (1 - share))), 0.0)
    # Chernoff's bound, which hypergeometric tails keep too
    log_p = np.where(both > trigger * share, -(hit + miss), 0.0)
    few = np.flatnonzero((trigger * share < 5) & (log_p > -600))
    first, which = _distinct(both[few], target[few], trigger[few])  # SciPy takes them one by one
    tables = both[few[first]], target[few[first]], trigger[few[first]]
    exact = stats.hypergeom.sf(tables[0] - 1, total, tables[1], tables[2])[which]
    log_p[few] = np.where(exact > 0, np.log(np.maximum(exact, 1e-300)), log_p[few])
    return np.asarray(np.exp(np.minimum(0.0, log_p + np.log(max(1.0, tests)))))


def surplus(share: Float[np.ndarray, "_"], base: Float[np.ndarray, "_"]) -> Float[np.ndarray, "_"]:
    """Nats a row by which shares above 0 are unlikely where the base is usual: Chernoff's bound is exp(-rows nats).

    Args:
        share: What was counted, as a share of some rows.
        base: The same of any rows; between 0 and 1.
    """
    lacks = (1 - share) * np.log(np.where(share < 1, 1 - share, 1.0) / (1 - base))
    return np.asarray(share * np.log(share / base) + np.where(share < 1, lacks, 0.0))


def adjusted_of(table: Int[np.ndarray, "records columns"], total: int, tests: float) -> Float[np.ndarray, "records"]:
    """Adjusted p-values of records; see `kernels.telling` for the columns."""
    both, trigger, target = (table[:, column].astype(np.float64) for column in (BOTH, TRIGGER_ROWS, TARGET_ROWS))
    return adjusted(both, np.maximum(trigger, 1), target, total, tests)


def _distinct(*columns: Float[np.ndarray, "lines"]) -> tuple[Int[np.ndarray, "_"], Int[np.ndarray, "lines"]]:
    """A line of each kind that there is in some columns of whole numbers, and the kind of each line."""
    which = np.zeros(len(columns[0]), np.int64)
    first = np.zeros(min(1, len(which)), np.int64)
    for column in columns:
        _, numbers = np.unique(column, return_inverse=True)
        _, first, which = np.unique(which * (len(which) + 1) + numbers, return_index=True, return_inverse=True)
    return first, which
