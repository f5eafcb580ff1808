"""RLR: the weighted mean, its sign flipped where too few clients agree."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate.rlr import RLR
from fedsonar.testing import check_aggregator


def naive(rows, weights, theta):
    """One coordinate after the other, one client after the other."""
    result = []
    for column in rows.T:
        votes = sum(1 if x > 0 else -1 if x < 0 else 0 for x in column)
        rate = 1 if abs(votes) >= theta * len(column) else -1
        result.append(rate * sum(w * x for w, x in zip(weights, column, strict=True)))
    return np.array(result)


def test_it_keeps_the_contract():
    check_aggregator(RLR())


def test_hand_case_of_three_by_three(aggregate):
    # n=3, theta=.4: at least 1.2 votes. Sums of signs 3, 1 and -2 (a zero does not vote); means 2, 1 and -2.
    rows = [[1.0, 6.0, -4.0], [2.0, -5.0, -2.0], [3.0, 2.0, 0.0]]
    assert aggregate(RLR(), rows).tolist() == [2.0, -1.0, -2.0]


def test_weights_count_in_the_mean_and_not_in_the_votes(aggregate):
    # Votes 1 - 1 - 1 = -1, below 1.2, though .8 of the weight agrees. Mean .8 * 5 - .1 * 10 - .1 * 10 = 2.
    assert aggregate(RLR(), [[5.0], [-10.0], [-10.0]], weights=[0.8, 0.1, 0.1]).item() == pytest.approx(-2, rel=1e-6)


def test_a_sum_at_the_threshold_is_enough(aggregate):
    # Five clients, theta=.2: 1 vote needed; 3 against 2 is 1. With theta=.21 it is not enough.
    rows = [[1.0], [1.0], [1.0], [-1.0], [-1.0]]
    assert aggregate(RLR(theta=0.2), rows).item() == pytest.approx(0.2)
    assert aggregate(RLR(theta=0.21), rows).item() == pytest.approx(-0.2)


def test_a_decimal_theta_needs_what_it_says(aggregate):
    # .07 * 100 is 7.000000000000001 in binary; 7 votes are meant: 7 ones among zeros.
    rows = torch.zeros(100, 1)
    rows[:7] = 1
    assert aggregate(RLR(theta=0.07), rows).item() == pytest.approx(0.07)


@pytest.mark.parametrize("n", [1, 2, 7, 40])
@pytest.mark.parametrize("dim", [1, 5, 4500])
def test_equals_a_naive_reference(aggregate, n, dim):
    rng = np.random.default_rng(n)
    rows = rng.normal(size=(n, dim)) * (rng.random((n, dim)) > 0.2)
    weights = rng.dirichlet(np.ones(n)).astype(np.float32)
    exact = weights.astype(np.float64) / weights.astype(np.float64).sum()
    for theta in (0.1, 0.4, 1.0):
        result = aggregate(RLR(theta=theta), torch.from_numpy(rows), weights=weights.tolist())
        np.testing.assert_allclose(result.numpy(), naive(rows, exact, theta), rtol=1e-9, atol=1e-12)


def test_unanimous_clients_are_followed(aggregate):
    assert aggregate(RLR(theta=1.0), [[1.0, -2.0, 0.0]] * 6).tolist() == pytest.approx([1.0, -2.0, 0.0])


def test_half_precision_counts_every_vote(aggregate):
    rows = torch.ones(1001, 1, dtype=torch.bfloat16)
    rows[:372] = -1  # 629 - 372 = 257 votes; bfloat16 has no 257, it has 256 and 258
    assert aggregate(RLR(theta=257.5 / 1001), rows).item() < 0
    assert aggregate(RLR(theta=256.5 / 1001), rows).item() > 0


def test_no_shares_are_recorded_and_inputs_stay(new_round):
    rows = torch.tensor([[1.0, -1.0], [2.0, 3.0]])
    context = new_round(2)
    RLR().aggregate(rows, context)
    assert context.shares is None
    assert rows.tolist() == [[1.0, -1.0], [2.0, 3.0]]


@pytest.mark.parametrize("theta", [0.0, -0.1, 1.1, 4, float("nan")])
def test_theta_out_of_range_is_refused(theta):
    with pytest.raises(ValueError, match=r"0 < theta <= 1.*got theta="):
        RLR(theta=theta)


def test_weights_that_are_no_weights_are_refused(aggregate):
    with pytest.raises(ValueError, match="sum to 1"):
        aggregate(RLR(), [[1.0], [2.0]], weights=[0.5, 0.25])
