"""CenteredClipping: hand cases, a naive reference over rounds, and a centre that outlives its clients."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate.centered_clipping import CenteredClipping
from fedsonar.testing import check_aggregator


def naive(rows: np.ndarray, v: np.ndarray, steps: int, tau: float | None) -> np.ndarray:
    """The definition, one client at a time."""
    for _ in range(steps):
        limit = np.median([np.linalg.norm(row - v) for row in rows]) if tau is None else tau
        moves = []
        for row in rows:
            distance = np.linalg.norm(row - v)
            moves.append((row - v) * (1 if distance <= limit else limit / distance))
        v = v + np.mean(moves, axis=0)
    return v


@pytest.mark.parametrize("rule", [CenteredClipping(), CenteredClipping(L=1), CenteredClipping(tau=10.0)])
def test_keeps_the_contract(rule):
    check_aggregator(rule)


def test_hand_case_of_a_fixed_distance(aggregate):
    # v=0, differences 0, 1 and 9, clipped to 3: v = (0 + 1 + 3) / 3 = 4/3.
    rows = [[0.0], [1.0], [9.0]]
    assert aggregate(CenteredClipping(L=1, tau=3.0), rows).item() == pytest.approx(4 / 3)
    # Differences -4/3, -1/3 and 23/3, clipped to 3: v += (-4/3 - 1/3 + 3) / 3 = 4/9.
    assert aggregate(CenteredClipping(L=2, tau=3.0), rows).item() == pytest.approx(16 / 9)


def test_hand_case_of_the_median_distance(aggregate):
    # Distances to 0: 5, 1, 2 and 10; the median is (2 + 5) / 2 = 3.5, so [3, 4] becomes .7 [3, 4] and [0, 10]
    # becomes [0, 3.5]: the mean of [2.1, 2.8], [1, 0], [0, -2] and [0, 3.5].
    rows = [[3.0, 4.0], [1.0, 0.0], [0.0, -2.0], [0.0, 10.0]]
    torch.testing.assert_close(aggregate(CenteredClipping(L=1), rows), torch.tensor([3.1 / 4, 4.3 / 4]))


@pytest.mark.parametrize("tau", [None, 0.8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_a_naive_reference_round_after_round(new_round, tau, dtype):
    rng = np.random.default_rng(2)
    rule, state = CenteredClipping(tau=tau), {}
    v = np.zeros(4500)
    for n in (7, 4, 9, 1):  # other clients each round
        rows = torch.from_numpy(rng.normal(size=(n, 4500)) / 60).to(dtype)
        context = new_round(n)
        context.state = state
        result = rule.aggregate(rows, context)
        v = naive(rows.double().numpy(), v, 5, tau)
        assert result.dtype == dtype
        np.testing.assert_allclose(result, v, rtol=0, atol=1e-7 if dtype == torch.float32 else 1e-14)


def test_the_centre_is_kept_and_not_shared_with_the_result(new_round):
    rule, context = CenteredClipping(L=1, tau=1.0), new_round(2)
    result = rule.aggregate(torch.tensor([[5.0], [5.0]]), context)
    assert result.tolist() == [1.0]
    result.add_(100)
    assert context.state["centered_clipping.centre"].tolist() == [1.0]
    kept = context.state["centered_clipping.centre"]
    assert rule.aggregate(torch.tensor([[5.0], [5.0]]), context).tolist() == [2.0]
    assert kept.tolist() == [1.0]  # a checkpoint's tensor is replaced, not changed


def test_zero_updates_bring_the_centre_back_to_zero(new_round):
    context = new_round(3)
    CenteredClipping().aggregate(torch.full((3, 2), 4.0), context)
    assert CenteredClipping().aggregate(torch.zeros(3, 2), context).tolist() == [0.0, 0.0]


def test_a_centre_on_most_updates_stays_there(new_round):
    # The median distance is 0: the far one is dropped, and there is no 0 / 0.
    context = new_round(3)
    CenteredClipping().aggregate(torch.ones(3, 2), context)
    assert CenteredClipping().aggregate(torch.tensor([[1.0, 1.0], [1.0, 1.0], [9.0, 9.0]]), context).tolist() == [1, 1]
    assert context.shares[2] == 0


def test_a_far_update_pulls_by_tau_at_most_however_far(aggregate):
    near, far = (aggregate(CenteredClipping(L=3, tau=1.0), [[0.0]] * 9 + [[size]]).item() for size in (1e3, 1e30))
    assert 0 < near <= 3 / 10
    assert far == pytest.approx(near)


def test_the_recorded_numbers_make_the_result(new_round):
    rows = torch.from_numpy(np.random.default_rng(4).normal(size=(6, 3)) * [[1], [1], [1], [1], [1], [40]])
    context = new_round(6)
    start = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    context.state["centered_clipping.centre"] = start
    result = CenteredClipping().aggregate(rows, context)
    shares = context.shares.double()
    torch.testing.assert_close(result, shares @ rows + (1 - shares.sum()) * start, rtol=1e-5, atol=1e-5)
    assert shares[5] < shares[:5].min() / 5


def test_updates_of_another_length_are_refused(new_round):
    context = new_round(2)
    CenteredClipping().aggregate(torch.ones(2, 3), context)
    with pytest.raises(ValueError, match="a centre of 3 coordinates, got updates of 4"):
        CenteredClipping().aggregate(torch.ones(2, 4), context)


def test_inputs_are_left_alone(aggregate):
    rows = torch.tensor([[3.0, 4.0], [0.0, 1.0]], dtype=torch.float64)
    before = rows.clone()
    aggregate(CenteredClipping(), rows)
    assert torch.equal(rows, before)


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match="L >= 1 steps, got L=0"):
        CenteredClipping(L=0)
    for tau in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"tau > 0, got tau={tau}"):
            CenteredClipping(tau=tau)
