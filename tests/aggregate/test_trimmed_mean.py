"""TrimmedMean: against SciPy, and never a silent plain mean or zero."""

import numpy as np
import pytest
import torch
from scipy.stats import trim_mean

from fedsonar.aggregate import TrimmedMean


def test_hand_case(aggregate):
    # n=5, beta=.2: one dropped at each end. Columns sorted: 0 1 2 6 90 | -9 -1 1 3 4 -> (1+2+6)/3, (-1+1+3)/3
    rows = [[90.0, 1.0], [0.0, -9.0], [6.0, 4.0], [1.0, 3.0], [2.0, -1.0]]
    assert aggregate(TrimmedMean(), rows).tolist() == [3.0, 1.0]


def test_hand_case_of_three_by_three(aggregate):
    # floor(.4 * 3) = 1 dropped at each end leaves the middle value.
    rows = [[2.0, 5.0, 3.0], [9.0, 0.0, 7.0], [1.0, -4.0, 3.0]]
    assert aggregate(TrimmedMean(beta=0.4), rows).tolist() == [2.0, 0.0, 3.0]


@pytest.mark.parametrize(("n", "beta"), [(5, 0.2), (9, 0.2), (10, 0.3), (31, 0.1), (100, 0.45), (20, 0.49)])
@pytest.mark.parametrize("dim", [1, 3, 4500])
def test_equals_scipy(aggregate, n, beta, dim):
    rows = np.random.default_rng(n).normal(size=(n, dim)).astype(np.float32)
    expected = trim_mean(rows.astype(np.float64), beta, axis=0).astype(np.float32)
    result = aggregate(TrimmedMean(beta=beta), torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(result, expected, rtol=2e-7, atol=1e-12)


def test_a_decimal_beta_drops_what_it_says(aggregate):
    # .29 * 100 is 28.999999999999996 in binary; 29 of each end are meant. Zeros but for 29 ones: none is kept.
    rows = torch.zeros(100, 1)
    rows[:29] = 1
    assert aggregate(TrimmedMean(beta=0.29), rows).item() == 0


@pytest.mark.parametrize(("n", "beta", "needed"), [(1, 0.2, 5), (4, 0.2, 5), (9, 0.1, 10), (3, 0.3, 4)])
def test_a_beta_that_drops_nobody_is_refused(aggregate, n, beta, needed):
    # Public code returns 0 here: it slices [k:-k] with k=0.
    with pytest.raises(ValueError, match=rf"floor\(beta n\) >= 1, got beta={beta} and n={n} .*at least {needed} "):
        aggregate(TrimmedMean(beta=beta), torch.ones(n, 3))


@pytest.mark.parametrize("beta", [0.0, 0.5, -0.1, 1.0, float("nan")])
def test_beta_out_of_range_is_refused(beta):
    with pytest.raises(ValueError, match=r"0 < beta < 0\.5"):
        TrimmedMean(beta=beta)


def test_no_digits_are_lost_far_from_zero(aggregate):
    rng = np.random.default_rng(0)
    rows = (1e4 + rng.normal(size=(500, 20))).astype(np.float32)
    expected = trim_mean(rows.astype(np.float64), 0.2, axis=0)
    result = aggregate(TrimmedMean(), torch.from_numpy(rows)).numpy()
    assert np.abs(result - expected).max() <= np.spacing(np.float32(1e4)) / 2


def test_rounding_does_not_leave_the_range_of_the_values(aggregate):
    # The float64 sum of equal numbers rounds, so their mean can be an ulp off.
    for value in np.random.default_rng(1).uniform(size=200):
        rows = torch.full((7, 1), value, dtype=torch.float64)
        assert aggregate(TrimmedMean(), rows).item() == value


@pytest.mark.parametrize("dim", [1, 2])
def test_updates_are_not_sorted_in_place(aggregate, dim):
    rows = torch.tensor([[3.0], [1.0], [2.0], [5.0], [4.0]]).repeat(1, dim)
    before = rows.clone()
    aggregate(TrimmedMean(), rows)
    assert torch.equal(rows, before)
