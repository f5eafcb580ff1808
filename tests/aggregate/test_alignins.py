"""AlignIns: hand cases, a naive reference over rounds, and the direction that is carried along."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate.alignins import AlignIns
from fedsonar.testing import check_aggregator


def naive_step(rows: np.ndarray, direction: np.ndarray, sparsity: float = 0.3) -> np.ndarray:
    """One client and one coordinate at a time, with full sorts."""
    n, dim = rows.shape
    principal = [np.sign(sum(np.sign(rows[i, j]) for i in range(n))) for j in range(dim)]
    cosines, shares = [], []
    for row in rows:
        length = np.linalg.norm(direction) * np.linalg.norm(row)
        cosines.append(row @ direction / length if length else 0.0)
        largest = sorted(range(dim), key=lambda j: -abs(row[j]))[: int(sparsity * dim)]
        shares.append(np.mean([np.sign(row[j]) == principal[j] for j in largest]))
    kept = set(range(n))
    for values in (cosines, shares):
        if np.std(values) > 1e-12:
            kept &= {i for i in range(n) if abs(values[i] - np.median(values)) / np.std(values) < 1}
    if not kept:
        return np.zeros(dim)
    limit = np.median([np.linalg.norm(rows[i]) for i in kept])
    return np.mean([rows[i] * min(1, limit / np.linalg.norm(rows[i])) for i in kept], axis=0)


def test_contract():
    check_aggregator(AlignIns())


def test_hand_case_of_the_first_round(new_round):
    # Signs sum to [1, 1]: principal [+, +]. The larger coordinates 4, 6, -9: shares 1, 1, 0, deviation (2/9)^.5 =
    # .47, so the last is 1 / .47 = 2.1 off. Norms 4 and 6 are left, the median is 5: [6, 0] becomes [5, 0].
    context = new_round(3)
    result = AlignIns(sparsity=0.5).aggregate(torch.tensor([[4.0, 0.0], [6.0, 0.0], [-9.0, 1.0]]), context)
    assert result.tolist() == [4.5, 0.0]
    assert context.shares.tolist() == pytest.approx([1 / 2, 5 / 12, 0])


def test_hand_case_of_three_by_three(aggregate):
    # Signs sum to [3, 1, -1], principal [+, +, -]. One largest coordinate of three: 3 agrees, 4 agrees, 5 does not.
    # r2 is dropped. Norms of r0 and r1: (9+4+1)^.5 and (4+16+16)^.5 = 6; the median m shrinks r1 to m / 6 of itself.
    rows = [[3.0, 2.0, -1.0], [2.0, 4.0, -4.0], [1.0, -5.0, 2.0]]
    m = (14**0.5 + 6) / 2
    expected = [(3 + 2 * m / 6) / 2, (2 + 4 * m / 6) / 2, (-1 - 4 * m / 6) / 2]
    # The signs of r1's two largest (4, -4) are both principal, so the tie between them changes nothing.
    assert aggregate(AlignIns(sparsity=0.34), rows).tolist() == pytest.approx(expected)


def test_direction_decides_once_there_is_a_step(new_round):
    # The first round goes [2, 0] on. Then the cosines to [1, 0] are 1, 1 and 0 (deviation .47, so the last is 2.1
    # off), while all signs agree: [0, 3] is dropped for its direction alone.
    first, second = new_round(3), new_round(3)
    AlignIns(sparsity=0.5).aggregate(torch.tensor([[2.0, 0.0]] * 3), first)
    assert first.state["alignins.travelled"].tolist() == [2.0, 0.0]
    second.state = first.state
    result = AlignIns(sparsity=0.5).aggregate(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 3.0]]), second)
    assert result.tolist() == [1.0, 0.0]
    assert second.state["alignins.travelled"].tolist() == [3.0, 0.0]


@pytest.mark.parametrize("seed", range(15))
def test_equals_a_naive_reference_over_rounds(new_round, seed):
    rng = np.random.default_rng(seed)
    direction, state = np.zeros(50), {}
    for n in (9, 12, 5, 30):  # clients come and go
        rows = rng.normal(size=50) + 2 * rng.normal(size=(n, 50)) * rng.uniform(0.5, 2, size=(n, 1))
        context = new_round(n)
        context.state = state
        expected = naive_step(rows, direction)
        np.testing.assert_allclose(AlignIns().aggregate(torch.from_numpy(rows), context).numpy(), expected, rtol=1e-9)
        direction = direction + expected


def test_attackers_with_turned_signs_are_dropped(new_round):
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.normal(size=300) + 0.5 * rng.normal(size=(20, 300)))
    rows[:4] *= -1
    context = new_round(20)
    AlignIns().aggregate(rows, context)
    assert context.shares[:4].tolist() == [0.0] * 4
    assert (context.shares[4:] > 0).sum() > 8


def test_a_large_update_counts_less(new_round):
    rows = torch.ones(5, 4)
    rows[0] = 100
    context = new_round(5)
    result = AlignIns().aggregate(rows, context)
    assert result.tolist() == pytest.approx([1.0] * 4)
    assert context.shares.tolist() == pytest.approx([0.002, 0.2, 0.2, 0.2, 0.2])


def test_unanimous_clients_are_followed_though_cosines_round(new_round):
    rng = np.random.default_rng(0)
    state = {}
    for _ in range(3):
        row = torch.from_numpy(rng.normal(size=301).astype(np.float32))
        context = new_round(11)
        context.state = state
        result = AlignIns().aggregate(row.expand(11, -1), context)
        torch.testing.assert_close(result, row)
        assert (context.shares > 0).all()


def test_when_nobody_passes_the_step_is_zero(new_round):
    # Sign shares 1, 1, 0, 0: the median .5 is one deviation, .5, from each.
    context = new_round(4)
    rows = torch.tensor([[3.0, 1.0], [2.0, 1.0], [1.0, -2.0], [-9.0, 1.0]])
    assert AlignIns(sparsity=0.5).aggregate(rows, context).tolist() == [0.0, 0.0]
    assert context.shares.tolist() == [0.0] * 4
    assert AlignIns(sparsity=0.5, sign_threshold=1.5).aggregate(rows, new_round(4)).norm() > 0


def test_half_precision(aggregate):
    rows = torch.tensor([[4.0, 0.0], [6.0, 0.0], [-9.0, 1.0]], dtype=torch.bfloat16)
    result = aggregate(AlignIns(sparsity=0.5), rows)
    assert result.dtype == torch.bfloat16
    assert result.tolist() == [4.5, 0.0]


def test_updates_of_the_largest_norms_do_not_overflow(new_round):
    rows = torch.full((5, 3), 1e149, dtype=torch.float64)
    context = new_round(5)
    for _ in range(2):
        torch.testing.assert_close(AlignIns().aggregate(rows, context), rows[0])


def test_updates_of_another_length_are_refused(new_round):
    context = new_round(3)
    AlignIns().aggregate(torch.ones(3, 5), context)
    with pytest.raises(ValueError, match="direction of 5 coordinates, got updates of 4"):
        AlignIns().aggregate(torch.ones(3, 4), context)


def test_two_clients_are_refused(aggregate):
    with pytest.raises(ValueError, match=r"n >= 3 clients .* got n=2"):
        aggregate(AlignIns(), [[1.0], [2.0]])


def test_one_client_is_followed(aggregate):
    assert aggregate(AlignIns(), [[1.0, -2.0]]).tolist() == [1.0, -2.0]


@pytest.mark.parametrize("parameters", [{"sparsity": 0.0}, {"sparsity": 1.5}, {"sparsity": float("nan")}])
def test_sparsity_out_of_range_is_refused(parameters):
    with pytest.raises(ValueError, match="0 < sparsity <= 1"):
        AlignIns(**parameters)


@pytest.mark.parametrize("parameters", [{"sign_threshold": 0.0}, {"direction_threshold": -1.0}])
def test_thresholds_out_of_range_are_refused(parameters):
    with pytest.raises(ValueError, match="thresholds above 0"):
        AlignIns(**parameters)


def test_inputs_and_the_state_before_are_left_alone(new_round):
    rows = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
    context = new_round(6)
    travelled = torch.arange(9.0, dtype=torch.float64)
    context.state["alignins.travelled"] = travelled
    before = rows.clone()
    AlignIns().aggregate(rows, context)
    assert torch.equal(rows, before)
    assert torch.equal(travelled, torch.arange(9.0, dtype=torch.float64))
