"""NormClip: hand cases, a naive reference, and inputs left alone."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate.norm_clip import NormClip
from fedsonar.testing import check_aggregator


def naive(rows: np.ndarray, weights: np.ndarray, c: float | None) -> np.ndarray:
    """Row by row, as the paper divides."""
    c = np.median([np.linalg.norm(row) for row in rows]) if c is None else c
    return sum(w * row / max(1, np.linalg.norm(row) / c) for w, row in zip(weights, rows, strict=True))


# A fixed c must be above the norm of the contract's single update (3.3), which is to come back whole.
@pytest.mark.parametrize("rule", [NormClip(), NormClip(c=4.0)])
def test_keeps_the_contract(rule):
    check_aggregator(rule)


def test_hand_case_of_a_fixed_limit(aggregate):
    # Norms 5 and 1, c=2.5: [3, 4] halves. The mean of [1.5, 2] and [0, 1] is [.75, 1.5].
    assert aggregate(NormClip(c=2.5), [[3.0, 4.0], [0.0, 1.0]]).tolist() == [0.75, 1.5]


def test_hand_case_of_the_median_norm(aggregate, new_round):
    # Norms 3, 6 and 12: the median is 6, so only the third shrinks, by half: (3+0+0, 0+6+0, 0+0+6) / 3.
    rows = [[3.0, 0.0, 0.0], [0.0, -6.0, 0.0], [0.0, 0.0, 12.0]]
    torch.testing.assert_close(aggregate(NormClip(), rows), torch.tensor([1.0, -2.0, 2.0]))


def test_the_median_of_an_even_number_is_between_the_middle_two(aggregate):
    # Norms 1, 2, 4, 9: the limit is 3, and (1 + 2 + 3 + 3) / 4 = 2.25. With torch.median's 2 it would be 1.75.
    assert aggregate(NormClip(), [[1.0], [2.0], [4.0], [9.0]]).item() == pytest.approx(2.25)


def test_the_whole_update_is_clipped_not_each_coordinate(aggregate):
    # Per tensor of one coordinate, c=3.5 would leave the 3 alone.
    torch.testing.assert_close(aggregate(NormClip(c=2.5), [[3.0, 4.0]]), torch.tensor([1.5, 2.0]))


@pytest.mark.parametrize("c", [None, 0.5, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_a_naive_reference(aggregate, c, dtype):
    rng = np.random.default_rng(3)
    for dim in (1, 4, 4500):
        n = int(rng.integers(2, 12))
        rows = torch.from_numpy(rng.normal(size=(n, dim)) * rng.uniform(0.1, 5, size=(n, 1))).to(dtype)
        weights = rng.dirichlet(np.ones(n)).astype(np.float32)
        expected = naive(rows.double().numpy(), weights / weights.sum(dtype=np.float64), c)
        result = aggregate(NormClip(c=c), rows, weights=weights.tolist())
        assert result.dtype == dtype
        np.testing.assert_allclose(result, expected, rtol=1e-6 if dtype == torch.float32 else 1e-12, atol=1e-8)


def test_one_client_moves_the_result_by_its_weight_times_the_limit_at_most(aggregate):
    near, far = (aggregate(NormClip(c=2.0), [[0.0]] * 9 + [[size]]).item() for size in (2.0, 1e30))
    assert near == pytest.approx(0.2)
    assert far == pytest.approx(0.2)


def test_what_is_left_of_the_weights_is_recorded(new_round):
    context = new_round(3, weights=[0.5, 0.25, 0.25])
    NormClip(c=1.0).aggregate(torch.tensor([[1.0], [4.0], [0.0]]), context)
    assert context.shares.tolist() == [0.5, 0.0625, 0.25]


def test_mostly_zero_updates_have_a_median_norm_of_zero(new_round):
    context = new_round(3)
    assert NormClip().aggregate(torch.tensor([[0.0], [0.0], [7.0]]), context).tolist() == [0.0]
    assert context.shares[2] == 0


def test_inputs_are_not_clipped_in_place(aggregate):
    # Public code edits its input.
    rows = torch.tensor([[30.0, 40.0], [0.0, 1.0]])
    aggregate(NormClip(c=1.0), rows)
    assert rows.tolist() == [[30.0, 40.0], [0.0, 1.0]]


@pytest.mark.parametrize("c", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_not_positive_is_refused(c):
    with pytest.raises(ValueError, match=f"NormClip needs a largest norm c > 0, got c={c}"):
        NormClip(c=c)


def test_negative_weights_are_refused(aggregate):
    with pytest.raises(ValueError, match="weights of at least 0"):
        aggregate(NormClip(), torch.ones(2, 2), weights=[1.5, -0.5])
