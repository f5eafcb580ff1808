"""What a screen found, against the ledger."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from fedsonar.measure.statistics import Rate, wilson


@dataclass(frozen=True, kw_only=True)
class Detection:
    """How well rows were told apart; rates are nan, in [0, 1], where there is nothing to rate.

    Args:
        recall: Share of the poisoned rows that were flagged.
        precision: Share of the flagged rows that are poisoned.
        false_removal: Share of the clean rows that were flagged.
        auc: How often a poisoned row is more suspect than a clean one, ties half: the area under the ROC curve.
        f1: Harmonic mean of precision and recall; 0 where nothing poisoned was flagged, nan where nothing is poisoned.
        rows: How many rows were flagged.
    """

    recall: Rate
    precision: Rate
    false_removal: Rate
    auc: Rate
    f1: float
    rows: int


def detection(
    suspicion: Float[np.ndarray, "rows"], flagged: Bool[np.ndarray, "rows"], poisoned: Bool[np.ndarray, "rows"]
) -> Detection:
    """The scores of a screen over rows that were judged, of one client or of all.

    Args:
        suspicion: More is worse.
        flagged: Whether a row left training.
        poisoned: The truth.
    """
    hits, out, bad = int((flagged & poisoned).sum()), int(flagged.sum()), int(poisoned.sum())
    return Detection(
        recall=wilson(hits, bad), precision=wilson(hits, out), false_removal=wilson(out - hits, len(poisoned) - bad),
        auc=roc_auc(suspicion, poisoned), f1=2 * hits / (out + bad) if bad else math.nan, rows=out,
    )  # fmt: skip


def roc_auc(suspicion: Float[np.ndarray, "rows"], poisoned: Bool[np.ndarray, "rows"]) -> Rate:
    """The area under the ROC curve with its 95 % interval, on the scale of its logit so that it stays in [0, 1].

    n is the number of poisoned rows. At an area of 0 or 1 the variance is 0, and the interval is that of as many
    poisoned rows that were all told right, by Wilson. nan, in [0, 1], unless there are both kinds of rows.

    References:
        DeLong, DeLong and Clarke-Pearson, 1988, "Comparing the areas under two or more correlated receiver operating
        characteristic curves", Biometrics 44(3).
    """
    bad, good = suspicion[poisoned], suspicion[~poisoned]
    if not len(bad) or not len(good):
        return Rate(math.nan, len(bad), 0.0, 1.0)
    below = _placement(bad, good)
    above = 1 - _placement(good, bad)
    area = float(below.mean())
    variance = sum(float(v.var(ddof=1)) / len(v) if len(v) > 1 else 0.25 for v in (below, above))
    if variance == 0 or area in (0.0, 1.0):
        few = wilson(round(area * len(bad)), len(bad))
        return Rate(area, len(bad), few.low, few.high)
    logit, error = math.log(area / (1 - area)), 1.959964 * math.sqrt(variance) / (area * (1 - area))
    low, high = (1 / (1 + math.exp(-max(-700.0, min(700.0, logit + side * error)))) for side in (-1, 1))
    return Rate(area, len(bad), low, high)


def _placement(values: Float[np.ndarray, "some"], among: Float[np.ndarray, "others"]) -> Float[np.ndarray, "some"]:
    """Each value's share of the others below it, those equal to it half."""
    ranked = np.sort(among)
    below = np.searchsorted(ranked, values, "left") + np.searchsorted(ranked, values, "right")
    return below / (2 * len(ranked))
