"""FoundationFL: hand cases, a naive reference, and what its copies do for attackers."""

import numpy as np
import pytest
import torch
from scipy.stats import trim_mean

from fedsonar.aggregate import FedAvg, Krum, Median, TrimmedMean
from fedsonar.aggregate.foundation_fl import FoundationFL, extreme_scores
from fedsonar.testing import check_aggregator


def naive_joined(rows: np.ndarray, m: int) -> np.ndarray:
    """The updates and the m copies, as one matrix."""
    highest, lowest = rows.max(axis=0), rows.min(axis=0)
    scores = [min(np.linalg.norm(row - highest), np.linalg.norm(row - lowest)) for row in rows]
    return np.vstack([rows] + [rows[np.argmax(scores)]] * m)


@pytest.mark.parametrize("rule", [Median(), TrimmedMean(), TrimmedMean(beta=0.1)])
@pytest.mark.parametrize("m", [None, 1, 30])
def test_keeps_the_contract(rule, m):
    check_aggregator(FoundationFL(rule=rule, m=m))


def test_hand_case_of_three_by_three(aggregate):
    # Extremes [4, 4, 3] and [0, 0, 0]. Row 0: |[0, -4, -3]| = 5 and |[4, 0, 0]| = 4: 4. Row 1: |[-4, 0, -3]| = 5 and 4:
    # 4. Row 2: |[-2, -2, 0]| = 2.8 and |[2, 2, 3]| = 4.1: 2.8. The first of the two highest is copied.
    rows = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [2.0, 2.0, 3.0]]
    np.testing.assert_allclose(extreme_scores(torch.tensor(rows)).numpy(), [4, 4, 8**0.5])
    # m=1: columns sorted 0 2 4 4 | 0 0 2 4 | 0 0 0 3.
    assert aggregate(FoundationFL(), rows).tolist() == [3.0, 1.0, 0.0]
    # m=2 and beta=.2 drop one of five at each end: (2 + 4 + 4) / 3, (0 + 0 + 2) / 3 and 0.
    result = aggregate(FoundationFL(rule=TrimmedMean(), m=2), rows)
    torch.testing.assert_close(result, torch.tensor([10 / 3, 2 / 3, 0.0]))


@pytest.mark.parametrize("m", [None, 1, 7])
@pytest.mark.parametrize("dim", [1, 5, 5000])
def test_equals_a_naive_reference(aggregate, m, dim):
    rng = np.random.default_rng(dim)
    for n in (4, 9, 16):
        rows = rng.normal(size=(n, dim))
        joined = naive_joined(rows, n // 2 if m is None else m)
        result = aggregate(FoundationFL(m=m), torch.from_numpy(rows)).numpy()
        np.testing.assert_allclose(result, np.median(joined, axis=0), rtol=1e-12)
        trimmed = aggregate(FoundationFL(rule=TrimmedMean(beta=0.3), m=m), torch.from_numpy(rows)).numpy()
        np.testing.assert_allclose(trimmed, trim_mean(joined, 0.3, axis=0), rtol=1e-9, atol=1e-12)


def test_attackers_at_one_place_are_not_copied(aggregate):
    # They are the extreme themselves.
    rows = torch.randn(10, 5, generator=torch.Generator().manual_seed(1))
    rows[:2] = 1e6
    assert aggregate(FoundationFL(rule=TrimmedMean()), rows).abs().max() < 4


def test_attackers_at_different_distances_are_copied(aggregate):
    # Eight honest at about 0, two far: the nearer of them is 1e6 from the largest values and 1e6 from the least.
    # Median: two and five copies of fifteen do not reach the middle. TrimmedMean drops three of fifteen at an end.
    rows = torch.randn(10, 5, generator=torch.Generator().manual_seed(1))
    rows[0], rows[1] = 1e6, 2e6
    assert extreme_scores(rows).argmax() == 0
    result = aggregate(FoundationFL(), rows)
    assert ((result >= rows[2:].amin(0)) & (result <= rows[2:].amax(0))).all()
    assert (aggregate(FoundationFL(rule=TrimmedMean()), rows) > 1e5).all()


def test_nothing_is_recorded(new_round):
    context = new_round(5)
    FoundationFL().aggregate(torch.arange(10.0).reshape(5, 2), context)
    assert context.shares is None


def test_one_client_is_followed_by_the_median_and_refused_by_the_trimmed_mean(aggregate):
    assert aggregate(FoundationFL(), [[1.0, -2.0]]).tolist() == [1.0, -2.0]
    with pytest.raises(ValueError, match=r"hands 1 updates and 0 copies .*floor\(beta n\) >= 1, got beta=0.2 and n=1 "):
        aggregate(FoundationFL(rule=TrimmedMean()), [[1.0, -2.0]])


def test_copies_count_for_the_requirement_of_the_rule(aggregate):
    # Four updates and two copies are six, of which .2 is one.
    assert aggregate(FoundationFL(rule=TrimmedMean()), torch.ones(4, 2)).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="3 updates and 1 copies"):
        aggregate(FoundationFL(rule=TrimmedMean()), torch.ones(3, 2))


@pytest.mark.parametrize("rule", [Krum(), FedAvg()])
def test_a_rule_that_does_not_treat_coordinates_apart_is_refused(rule):
    with pytest.raises(ValueError, match=f"Median or TrimmedMean as its rule, got {type(rule).__name__}"):
        FoundationFL(rule=rule)


def test_m_out_of_range_is_refused():
    with pytest.raises(ValueError, match="m=0"):
        FoundationFL(m=0)


def test_updates_are_left_alone(aggregate):
    rows = torch.randn(6, 3000, generator=torch.Generator().manual_seed(1))
    before = rows.clone()
    aggregate(FoundationFL(), rows)
    assert torch.equal(rows, before)
