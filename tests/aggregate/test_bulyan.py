"""Bulyan: hand cases, a naive reference, and each defect known from public code."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate.bulyan import Bulyan, _mean_near_median
from fedsonar.testing import check_aggregator


def naive_picks(rows, f, reduced_indices=False):
    """The n - 2f picks by loops; with `reduced_indices` the defect: places among those left taken for rows."""
    left, picks = list(range(len(rows))), []
    for _ in range(len(rows) - 2 * f):
        scores = []
        for i in left:
            distances = sorted(((rows[i] - rows[j]) ** 2).sum() for j in left if j != i)
            near = max(1, len(left) - f - 2)
            scores.append((sum(distances[:near]), distances[near]))
        place = scores.index(min(scores))
        picks.append(place if reduced_indices else left[place])
        left.pop(place)
    return picks


def naive(rows, f, **defect):
    """Per coordinate the mean of the n - 4f picked values nearest the median, found by sorting distances to it."""
    picked = rows[naive_picks(rows, f, **defect)]
    result = []
    for column in picked.T:
        nearest = sorted(sorted(column), key=lambda x: abs(x - np.median(column)))
        result.append(np.mean(nearest[: len(rows) - 4 * f]))
    return np.array(result)


def test_it_keeps_the_contract():
    check_aggregator(Bulyan())
    check_aggregator(Bulyan(f=2))


def test_hand_case(new_round):
    # n=7, f=1: five picks by their r - 3 nearest, at least 1. Scores of those that remain:
    # 0 1 2 3 4 5 -90, four neighbours: 30 15 10 10 15 30; the fifth of 2 and 3 is 9 away, so the first -> 2
    # 0 1 3 4 5 -90, three: 1+9+16 1+4+9 1+4+4 1+1+9 1+4+16 -> 3
    # 0 1 4 5 -90, two: 1+16 1+9 1+9 1+16; the third of 1 and 4 is 16 away, so the first -> 1
    # 0 4 5 -90, one: 16 1 1; the second of 4 is 16 away, that of 5 is 25 -> 4
    # 0 5 -90, none, so one: 25 25; the second of 0 is 90^2 away, that of 5 is 95^2 -> 0
    # Median of 0 1 2 3 4: 2. The 5 - 2 nearest: 1 2 3.
    rows = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0], [-90.0]])
    context = new_round(7, weights=[0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
    assert Bulyan(f=1).aggregate(rows, context).tolist() == [2.0]
    assert context.shares.tolist() == pytest.approx([0.2, 0.2, 0.2, 0.2, 0.2, 0.0, 0.0])


@pytest.mark.parametrize("f", [1, 2, 3])
def test_the_order_of_the_clients_does_not_matter(aggregate, f):
    # While the last picks have 1 neighbour, two that are each other's nearest have one score.
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randn(4 * f + 3, 3, dtype=torch.float64, generator=generator)
        order = torch.randperm(len(rows), generator=generator)
        torch.testing.assert_close(aggregate(Bulyan(f=f), rows[order]), aggregate(Bulyan(f=f), rows))


@pytest.mark.parametrize(
    ("values", "num_near", "expected"),
    [
        ([0, 2, 3, 4, 9], 3, 3),  # 2 3 4 about the median 3
        ([0, 1, 7, 8, 9], 3, 8),  # the median 7 is at the low end of 7 8 9
        ([0, 1, 2, 4, 5, 6], 4, 3),  # the median is (2 + 4) / 2: 1 2 4 5
        ([0, 0, 3, 6, 6], 3, 1),  # four are 3 away from 3, and the lower two count: 0 0 3
        ([-6, -6, -3, 0, 0], 3, -5),
        ([4, 4, 4, 4, 9], 1, 4),
    ],
)
def test_hand_cases_of_the_mean_near_the_median(values, num_near, expected):
    columns = np.array([values, values], dtype=np.float32).T
    assert _mean_near_median(columns, num_near).tolist() == [expected] * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_a_naive_reference_on_random_rounds(aggregate, new_round, dtype):
    rng = np.random.default_rng(7)
    defects = 0
    for _ in range(150):
        f = int(rng.integers(1, 4))
        n = int(rng.integers(4 * f + 3, 4 * f + 9))
        rows = torch.from_numpy(rng.normal(size=(n, int(rng.integers(1, 6))))).to(dtype)
        exact = rows.double().numpy()
        context = new_round(n)
        result = Bulyan(f=f).aggregate(rows, context)
        np.testing.assert_allclose(result.double().numpy(), naive(exact, f), rtol=1e-6, atol=1e-7)
        assert context.shares.nonzero().flatten().tolist() == sorted(naive_picks(exact, f))
        defects += np.abs(naive(exact, f, reduced_indices=True) - naive(exact, f)).max() > 1e-3
    # The cases can tell the defect of public code (indices of the reduced array) apart from the rule.
    assert defects >= 100


def test_no_client_is_picked_twice(new_round):
    # Identical rows keep the lowest score; with indices of the reduced array the first would be picked again and again.
    context = new_round(11)
    rows = torch.zeros(11, 2)
    rows[9:] = 50
    Bulyan(f=2).aggregate(rows, context)
    assert context.shares.tolist() == pytest.approx([1 / 7] * 7 + [0.0] * 4)


def test_scores_are_taken_among_those_that_remain(new_round):
    # Two far twins, f=2, n=11. Sums over n - f - 2 = 7 neighbours put both last for good. Among the 2f + 1 = 5 that
    # remain at the last pick one neighbour counts, and a twin has one at distance 0.
    rows = torch.tensor([[100.0], [100.0]] + [[float(i)] for i in range(9)])
    context = new_round(11)
    Bulyan(f=2).aggregate(rows, context)
    assert (context.shares[:2] > 0).sum() == 1
    assert context.shares.nonzero().flatten().tolist() == sorted(naive_picks(rows.numpy(), 2))


def test_a_wide_update_is_aggregated_to_its_last_column(aggregate):
    rows = np.random.default_rng(0).normal(size=(12, 4500))
    np.testing.assert_allclose(aggregate(Bulyan(f=2), torch.from_numpy(rows)).numpy(), naive(rows, 2), rtol=1e-9)


def test_far_rows_do_not_cost_digits(aggregate):
    # With the sum of a window as a difference of running sums, 1e30 would swallow the others.
    rows = torch.randn(11, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows[:2] = 1e30
    result, honest = aggregate(Bulyan(f=2), rows), rows[2:]
    assert (result >= honest.amin(0)).all()
    assert (result <= honest.amax(0)).all()


def test_default_suspects_a_fifth_and_at_least_one(aggregate):
    rows = torch.randn(23, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert torch.equal(aggregate(Bulyan(), rows), aggregate(Bulyan(f=4), rows))
    for n in (3, 4):  # never a silent plain mean
        with pytest.raises(ValueError, match=f"f=1 and n={n} "):
            aggregate(Bulyan(), rows[:n])


@pytest.mark.parametrize(("n", "f"), [(1, 1), (6, 1), (10, 2), (14, 3)])
def test_too_few_clients_are_refused(aggregate, n, f):
    lower = f" or lower f to {f - 1}" if f > 1 else ""
    with pytest.raises(ValueError, match=rf"n >= 4f \+ 3, got f={f} and n={n} .*at least {4 * f + 3}{lower}$"):
        aggregate(Bulyan(f=f), torch.zeros(n, 3))


@pytest.mark.parametrize("f", [0, -1])
def test_an_f_that_suspects_nobody_is_refused(f):
    with pytest.raises(ValueError, match=f"f={f}"):
        Bulyan(f=f)


def test_half_precision_and_large_values(aggregate):
    result = aggregate(Bulyan(f=1), torch.full((8, 2), 3e38, dtype=torch.bfloat16))
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, torch.full((2,), 3e38, dtype=torch.bfloat16))


@pytest.mark.parametrize("dim", [1, 2])
def test_updates_are_not_sorted_in_place(aggregate, dim):
    rows = torch.tensor([[3.0], [1.0], [2.0], [5.0], [4.0], [0.0], [6.0]]).repeat(1, dim)
    before = rows.clone()
    aggregate(Bulyan(), rows)
    assert torch.equal(rows, before)
