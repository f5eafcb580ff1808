"""Whom a rule dropped, against the ledger, by hand."""

import math

import pytest

from fedsonar.measure import selection


def test_hand_case():
    # Two rounds of four clients, of whom the first two are affected. Dropped: 0, 2; then 0, 1.
    shares = [0, 0.5, 0, 0.5, 0, 0, 0.75, 0.25]
    found = selection(shares, [0.25] * 8, [True, True, False, False] * 2)
    assert (found.dropped.value, found.dropped.n) == (0.5, 8)
    assert (found.recall.value, found.recall.n) == (0.75, 4)
    assert (found.precision.value, found.precision.n) == (0.75, 4)
    assert found.offered == pytest.approx(0.5)
    assert found.given == pytest.approx(0.25)


def test_where_nobody_is_affected_or_dropped_there_is_no_score():
    found = selection([0.5, 0.5], [0.5, 0.5], [False, False])
    assert math.isnan(found.recall.value)
    assert math.isnan(found.precision.value)
    assert found.given == 0


def test_where_everybody_is_affected_whoever_is_kept_is():
    found = selection([0, 0, 1], [0.2, 0.3, 0.5], [True] * 3)
    assert found.precision.value == 1
    assert found.recall.value == pytest.approx(2 / 3)
    assert found.given == 1
