import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fedsonar.measure.statistics import Rate, mean_interval, paired_bootstrap, pooled, spearman, wilson


def rng(seed=0):
    return np.random.default_rng(seed)


# Newcombe, 1998, Statistics in Medicine 17, table I, method 3.
@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_known_intervals(successes, n, low, high):
    rate = wilson(successes, n)
    assert rate.value == successes / n
    assert (rate.low, rate.high) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


def test_wilson_of_nothing_is_unknown():
    rate = wilson(0, 0)
    assert math.isnan(rate.value)
    assert (rate.n, rate.low, rate.high) == (0, 0.0, 1.0)


@pytest.mark.parametrize(("successes", "n"), [(3, 2), (-1, 2), (0, -1)])
def test_wilson_rejects_impossible_counts(successes, n):
    with pytest.raises(ValueError, match="between 0 and n"):
        wilson(successes, n)


@given(n=st.integers(1, 2000), share=st.floats(0, 1), confidence=st.floats(0.5, 0.99))
def test_wilson_follows_the_formula(n, share, confidence):
    from statistics import NormalDist

    successes = round(share * n)
    p, z = successes / n, NormalDist().inv_cdf((1 + confidence) / 2)
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    rate = wilson(successes, n, confidence)
    assert rate.low == pytest.approx(middle - half, abs=1e-9)
    assert rate.high == pytest.approx(middle + half, abs=1e-9)


def test_mean_interval_has_the_width_of_the_normal_one():
    values = rng().uniform(size=400)
    rate = mean_interval(values, rng(1))
    half = 1.96 * values.std() / 20
    assert (rate.value, rate.n) == (pytest.approx(values.mean()), 400)
    assert rate.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert rate.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_mean_interval_of_hits_and_misses_is_wilsons():
    assert mean_interval(np.array([1.0, 0, 1, 1]), rng()) == wilson(3, 4)
    assert mean_interval(np.ones(20), rng()).low == pytest.approx(0.8389, abs=1e-4)
    assert mean_interval(np.array([]), rng()).n == 0


@pytest.mark.parametrize("bad", [-0.1, 1.5, math.nan])
def test_mean_interval_rejects_what_is_no_score(bad):
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        mean_interval(np.array([0.5, bad]), rng())


def test_spearman_by_hand():
    # Ranks 1 2 3 4 5 against 2 1 4 3 5: 1 - 6 * (1+1+1+1+0) / (5 * 24) = 0.8
    rate = spearman(np.array([1.0, 2, 3, 4, 5]), np.array([20.0, 10, 40, 30, 50]), rng())
    assert rate.value == pytest.approx(0.8)
    assert -1 <= rate.low < 0.8 < rate.high <= 1


def test_spearman_of_a_monotone_curve_is_certain():
    x = np.arange(1.0, 9.0)
    assert spearman(x, np.exp(x), rng()) == Rate(pytest.approx(1), 8, pytest.approx(1), pytest.approx(1))


def test_spearman_interval_narrows_around_the_truth():
    x = rng(3).normal(size=500)
    y = x + rng(4).normal(size=500)
    rate = spearman(x, y, rng(), resamples=300)
    truth = 6 / math.pi * math.asin(math.sqrt(0.5) / 2)
    assert rate.low < truth < rate.high
    assert rate.high - rate.low < 0.12


def test_spearman_resamples_rank_ties_alike():
    x, y = rng(5).integers(4, size=(2, 30)).astype(float)
    draws = np.random.default_rng(6).integers(30, size=(500, 30))
    expected = np.quantile([stats.spearmanr(x[rows], y[rows]).statistic for rows in draws], [0.025, 0.975])
    rate = spearman(x, y, np.random.default_rng(6), resamples=500)
    assert (rate.low, rate.high) == pytest.approx(tuple(expected))


def test_many_rows_are_resampled_in_batches():
    values = rng().uniform(size=20_000)
    rate = mean_interval(values, rng(1), resamples=120)
    assert rate.high - rate.low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(20_000), rel=0.25)


@pytest.mark.parametrize(("x", "y"), [([1.0, 1, 1, 1], [1.0, 2, 3, 4]), ([1.0, 2], [1.0, 2]), ([], [])])
def test_spearman_without_an_order_is_unknown(x, y):
    rate = spearman(np.array(x), np.array(y), rng())
    assert math.isnan(rate.value)
    assert (rate.n, rate.low, rate.high) == (len(x), -1, 1)


@pytest.mark.usefixtures("shapes_unchecked")
def test_pairs_must_match():
    with pytest.raises(ValueError, match=r"got shapes \(2,\) and \(3,\)"):
        spearman(np.zeros(2), np.zeros(3), rng())
    with pytest.raises(ValueError, match=r"nan at \[1\]"):
        paired_bootstrap(np.array([1.0, math.nan]), np.zeros(2), rng())


def test_paired_bootstrap_sees_through_what_pairs_share():
    seeds = rng().normal(scale=100, size=30)
    noise = rng(1).normal(scale=0.1, size=30)
    rate = paired_bootstrap(seeds + 1 + noise, seeds, rng(2))
    assert rate.value == pytest.approx(1 + noise.mean())
    assert 0.9 < rate.low < rate.value < rate.high < 1.1


def test_paired_bootstrap_of_three_pairs_by_hand():
    # The least mean of a resample, three times the least difference, has chance 1/27 > 2.5 %; so has the greatest.
    rate = paired_bootstrap(np.array([1.0, 2.0, 6.0]), np.zeros(3), rng())
    assert rate == Rate(3.0, 3, 1.0, 6.0)


def test_paired_bootstrap_of_one_pair_has_no_bounds():
    assert paired_bootstrap(np.array([2.0]), np.array([0.5]), rng()) == Rate(1.5, 1, -math.inf, math.inf)
    assert math.isnan(paired_bootstrap(np.array([]), np.array([]), rng()).value)


def test_pooled_rates_count_their_cases():
    together = pooled([0.5, 1.0], [10, 30])
    assert together == wilson(35, 40)
