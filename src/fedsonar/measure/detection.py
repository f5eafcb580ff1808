"""What a screen found, against the ledger."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from fedsonar.measure.statistics import Rate, wilson, wilson_of

_MORE, _HALF = 3, 0.5
"""So many more rows are counted in an area's variance, whose placements have so much of the greatest variance."""


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
    """The area under the ROC curve with its 95 % interval, that of Wilson for as many rows as tell as much.

    How many tell as much is read from DeLong's variance. Of few rows, or where the area is near 0 or 1, that is known
    badly, and often 0; so in either kind three more rows are counted, whose placements have half of the greatest
    variance, as nearly where scores are exponential. At an area of 0 or 1 that leaves at most twice as many rows as the
    smaller kind has. The interval holds the true area of normal scores, from .76 to .98, in at least 93 cases of 100,
    for 500 rows and 3 as for 50 and 50; that of exponential ones in 84 at worst. n is the number of poisoned rows. nan,
    in [0, 1], unless there are both kinds of rows.

    References:
        DeLong, DeLong and Clarke-Pearson, 1988, "Comparing the areas under two or more correlated receiver operating
        characteristic curves", Biometrics 44(3), for the variance; Newcombe, 2006, "Confidence intervals for an effect
        size measure based on the Mann-Whitney statistic", part 2, Statistics in Medicine 25(4), for its dependence on
        the area. The added rows are ours.
    """
    bad, good = suspicion[poisoned], suspicion[~poisoned]
    if not len(bad) or not len(good):
        return Rate(math.nan, len(bad), 0.0, 1.0)
    below = _placement(bad, good)
    area = float(below.mean())
    interval = wilson_of(area, 1 / (_share(below, area) + _share(_placement(good, bad), 1 - area)))
    return Rate(area, len(bad), *interval)


def _share(placements: Float[np.ndarray, "some"], mean: float) -> float:
    """What one kind of rows adds to the area's variance, as a share of ``area (1 - area)``."""
    greatest, count = mean * (1 - mean), len(placements)
    found = float(((placements - mean) ** 2).sum()) / greatest if greatest > 0 else (count - 1) * _HALF
    return (found + _MORE * _HALF) / (count - 1 + _MORE) / count


def _placement(values: Float[np.ndarray, "some"], among: Float[np.ndarray, "others"]) -> Float[np.ndarray, "some"]:
    """Each value's share of the others below it, those equal to it half."""
    ranked = np.sort(among)
    below = np.searchsorted(ranked, values, "left") + np.searchsorted(ranked, values, "right")
    return below / (2 * len(ranked))
