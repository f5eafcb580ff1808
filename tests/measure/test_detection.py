"""What a screen found, by hand and beside scikit-learn."""

import math
from statistics import NormalDist

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


@pytest.mark.usefixtures("shapes_unchecked")  # hundreds of areas
@pytest.mark.parametrize("truth", [0.7602499, 0.9, 0.98])
@pytest.mark.parametrize(("bad", "good"), [(40, 80), (50, 50), (500, 3), (500, 10), (10, 500), (10, 10)])
def test_the_interval_covers(bad, good, truth):
    # Normal scores d deviations apart have an area of Phi(d / sqrt 2).
    rng, apart = np.random.default_rng(0), math.sqrt(2) * NormalDist().inv_cdf(truth)
    poisoned = np.arange(bad + good) < bad
    covered = 0
    for _ in range(400):
        found = roc_auc(rng.standard_normal(bad + good) + apart * poisoned, poisoned)
        covered += found.low <= truth <= found.high
    assert covered / 400 >= 0.92
    if min(bad, good) >= 40 and truth < 0.8:
        assert covered / 400 <= 0.98


@pytest.mark.parametrize(
    ("bad", "good", "low"), [(1000, 1, 0.34), (1, 1000, 0.34), (50, 50, 0.93), (1000, 1000, 0.996)]
)
def test_an_area_of_1_is_as_sure_as_the_fewer_rows_make_it(bad, good, low):
    poisoned = np.arange(bad + good) < bad
    found = roc_auc(poisoned.astype(float), poisoned)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(low, abs=0.005)


def test_without_poison_only_false_removal_is_known():
    found = detection(np.zeros(10), np.arange(10) < 1, np.zeros(10, dtype=bool))
    assert found.false_removal.value == pytest.approx(0.1)
    assert math.isnan(found.recall.value)
    assert math.isnan(found.f1)
    assert math.isnan(found.auc.value)
