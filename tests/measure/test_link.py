"""The link from readings to attack success finds what made the runs, and says how sure it is."""

import numpy as np
import pytest

from fedsonar.measure import fit_link


def runs(count, critical, slope, seed=0, trials=200):
    rng = np.random.default_rng(seed)
    readings = critical * np.exp(rng.normal(scale=1.2, size=count))
    rates = 1 / (1 + (critical / readings) ** slope)
    return readings, rng.binomial(trials, rates), np.full(count, trials)


def test_the_link_that_made_the_runs_is_found():
    link = fit_link(*runs(120, 30.0, 3.0), np.random.default_rng(1))
    assert link.critical.value == pytest.approx(30, rel=0.05)
    assert link.critical.low < 30 < link.critical.high
    assert link.slope == pytest.approx(3.0, rel=0.1)
    np.testing.assert_allclose(link.success(np.array([30.0, 300.0, 3.0])), [0.5, 1, 0], atol=0.04)


def test_runs_that_a_threshold_parts_give_a_steep_link():
    readings = np.array([1.0, 2, 3, 20, 30, 40])
    link = fit_link(readings, np.array([0, 0, 0, 50, 50, 50]), np.full(6, 50), np.random.default_rng(0))
    assert 3 < link.critical.value < 20
    assert link.tells(readings, np.array([0.0, 0, 0, 1, 1, 1])).value == 1
    assert link.slope > 2


def test_held_out_runs_are_judged():
    link = fit_link(*runs(60, 10.0, 4.0), np.random.default_rng(1))
    readings, hits, trials = runs(100, 10.0, 4.0, seed=7)
    told = link.tells(readings, hits / trials)
    assert told.n == 100
    assert told.value > 0.9
    assert told.low < told.value


def test_negative_readings_count_as_next_to_nothing():
    readings, hits, _ = runs(40, 10.0, 3.0)
    readings, hits = np.append(readings, -5.0), np.append(hits, 0)
    link = fit_link(readings, hits, np.full(41, 200), np.random.default_rng(1))
    assert link.critical.value == pytest.approx(10, rel=0.2)
    assert link.success(np.array([-5.0]))[0] < 0.01


def test_the_interval_covers_as_often_as_it_says():
    covered = []
    for seed in range(60):
        link = fit_link(*runs(40, 10.0, 2.0, seed=seed), np.random.default_rng(seed), resamples=100)
        covered.append(link.critical.low <= 10 <= link.critical.high)
    assert np.mean(covered) > 0.8


def test_too_few_runs_are_refused():
    with pytest.raises(ValueError, match="needs 4 runs and a positive reading, got 3 and 3"):
        fit_link(np.ones(3), np.ones(3, int), np.ones(3, int), np.random.default_rng(0))
    with pytest.raises(ValueError, match="got 5 and 0"):
        fit_link(-np.ones(5), np.ones(5, int), np.ones(5, int), np.random.default_rng(0))
