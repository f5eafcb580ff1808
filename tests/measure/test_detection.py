"""What a screen found, by hand and beside scikit-learn."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fedsonar.measure import detection, roc_auc


def test_hand_case():
    suspicion = np.array([3.0, 1.0, 2.0, 0.0, 5.0])
    poisoned = np.array([True, True, False, False, False])
    found = detection(suspicion, suspicion > 1.5, poisoned)
    assert (found.recall.value, found.recall.n) == (0.5, 2)
    assert (found.precision.value, found.precision.n) == (pytest.approx(1 / 3), 3)
    assert (found.false_removal.value, found.false_removal.n) == (pytest.approx(2 / 3), 3)
    assert found.f1 == pytest.approx(2 * 1 / (3 + 2))
    assert found.rows == 3
    assert found.auc.value == pytest.approx(3 / 6)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_area_with_ties_is_scikit_learns(rows):
    values, poisoned = np.array([float(v) for v, _ in rows]), np.array([p for _, p in rows])
    found = roc_auc(values, poisoned)
    if poisoned.all() or not poisoned.any():
        assert math.isnan(found.value)
        return
    assert found.value == pytest.approx(roc_auc_score(poisoned, values))
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1


def test_the_interval_covers():
    # Normal scores a deviation apart have an area of Phi(1 / sqrt 2).
    rng, truth = np.random.default_rng(0), 0.7602499
    poisoned = np.arange(120) < 40
    covered = 0
    for _ in range(400):
        found = roc_auc(rng.standard_normal(120) + poisoned, poisoned)
        covered += found.low <= truth <= found.high
    assert 0.92 <= covered / 400 <= 0.98


def test_without_poison_only_false_removal_is_known():
    found = detection(np.zeros(10), np.arange(10) < 1, np.zeros(10, dtype=bool))
    assert found.false_removal.value == pytest.approx(0.1)
    assert math.isnan(found.recall.value)
    assert math.isnan(found.f1)
    assert math.isnan(found.auc.value)
