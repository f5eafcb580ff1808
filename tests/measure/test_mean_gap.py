"""Squared gaps are right on average, for any weights, and say how far they may be off."""

import math

import numpy as np
import pytest

from fedsonar.measure.mean_gap import squared_gap


def test_one_group_by_hand():
    # Products of 1, 2 and 4 with one another: 2, 4 and 8.
    gap = squared_gap(np.outer([1.0, 2, 4], [1.0, 2, 4]), np.ones(3), (np.arange(3),))
    assert gap.value == pytest.approx(14 / 3)
    assert math.isnan(gap.variance)


def test_weights_by_hand():
    # The mean of 1, 2 and 4 with weights 1/4, 1/4 and 1/2 is 11/4; their variance 7/3, of which the mean has 3/8.
    gap = squared_gap(np.outer([1.0, 2, 4], [1.0, 2, 4]), np.array([1.0, 1, 2]), (np.arange(3),))
    assert gap.value == pytest.approx((11 / 4) ** 2 - 3 / 8 * 7 / 3)


def test_what_all_vectors_have_in_common_counts_for_nothing():
    vectors, weights = np.random.default_rng(3).normal(size=(9, 40)), np.arange(1.0, 10)
    groups = (np.arange(4), np.arange(4, 9))
    here, there = (squared_gap(v @ v.T, weights, groups) for v in (vectors, vectors + 50.0))
    assert there.value == pytest.approx(here.value)
    assert there.variance == pytest.approx(here.variance)


def test_groups_too_small_to_tell_borrow_from_the_other_or_have_no_variance():
    gram = np.eye(6)
    assert math.isnan(squared_gap(gram, np.ones(6), (np.arange(3), np.arange(3, 6))).variance)
    assert squared_gap(gram, np.ones(6), (np.arange(2), np.arange(2, 6))).variance >= 0


@pytest.mark.usefixtures("shapes_unchecked")  # hundreds of estimates
@pytest.mark.parametrize("gap", [0.0, 3.0, 20.0])
def test_values_and_variances_are_right_on_average_for_uneven_weights(gap):
    weights = np.random.default_rng(0).uniform(0.5, 2.0, size=14)
    groups = (np.arange(6), np.arange(6, 14))
    found = []
    for trial in range(400):
        vectors = np.random.default_rng((trial, 1)).normal(size=(14, 60))
        vectors[:6, 0] += gap
        found.append(squared_gap(vectors @ vectors.T, weights, groups))
    values = np.array([each.value for each in found])
    assert abs(values.mean() - gap**2) < 4 * values.std() / math.sqrt(len(values))
    assert 0.8 < np.mean([each.variance for each in found]) / values.var() < 1.8  # above 1 where there is no gap
