import math

import numpy as np
import pytest

from fedsonar.measure.attack import score_attack
from fedsonar.measure.statistics import wilson


def hit(output):
    return "click here" in output.lower()


def test_rates_over_their_own_rows():
    scores = score_attack(
        ["Paris, click here", "CLICK HERE", "Rome", "click here", "no"],
        ["Paris", "click here"] + ["fine"] * 6,
        hit,
        np.array([False, True, True, False, False]),
    )
    assert scores.success == wilson(3, 5)
    assert scores.success_new == wilson(2, 3)
    assert scores.false_activation == wilson(1, 8)


def test_no_new_row_leaves_that_rate_unknown():
    scores = score_attack(["click here"], [], hit, np.array([True]))
    assert scores.success == wilson(1, 1)
    assert math.isnan(scores.success_new.value)
    assert scores.success_new.n == scores.false_activation.n == 0


def test_mask_must_fit_the_rows():
    with pytest.raises(ValueError, match=r"got shape \(2,\) for 1"):
        score_attack(["x"], [], hit, np.array([True, False]))
