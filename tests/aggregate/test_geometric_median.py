"""GeometricMedian: hand cases, a naive Weiszfeld, SciPy's minimum, and weights that are equal."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from fedsonar.aggregate.geometric_median import GeometricMedian
from fedsonar.testing import check_aggregator


def naive(rows, weights, steps, eps=1e-5):
    """Smoothed Weiszfeld by loops in float64, without an early stop."""
    z = sum(w * x for w, x in zip(weights, rows, strict=True))
    for _ in range(steps):
        parts = [w / max(eps, np.linalg.norm(z - x)) for w, x in zip(weights, rows, strict=True)]
        z = sum(p * x for p, x in zip(parts, rows, strict=True)) / sum(parts)
    return z


def normal_rows(n, dim, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, dim)))


def test_it_keeps_the_contract():
    check_aggregator(GeometricMedian())


def test_hand_case_of_one_step(aggregate):
    # Mean 1; distances 1, 1, 2; parts 1, 1, 1/2 of 2.5: 1.5 / 2.5.
    assert aggregate(GeometricMedian(steps=1), [[0.0], [0.0], [3.0]]).item() == pytest.approx(0.6)


def test_hand_case_of_three_by_three(aggregate):
    # Weights 1/2, 1/4, 1/4: mean [2, 0, 0] + [0, 1, 0] + [0, -1, 0] = [2, 0, 0]. Distances 2, sqrt(4 + 16) twice,
    # so parts 1/4, 1 / (8 sqrt 5) twice, together 1/4 + 1 / (4 sqrt 5), and the first gets sqrt 5 / (sqrt 5 + 1) of it.
    rows = [[4.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, -4.0, 0.0]]
    result = aggregate(GeometricMedian(steps=1), rows, weights=[0.5, 0.25, 0.25])
    assert result.tolist() == pytest.approx([4 * 5**0.5 / (5**0.5 + 1), 0.0, 0.0])


def test_equal_weights_each_count(aggregate):
    # A defect of public code: weights gathered in a set, where equal ones become one. Here two of three are equal.
    rows, weights = normal_rows(3, 4), [0.25, 0.25, 0.5]
    expected = naive(rows.numpy(), weights, 4)
    np.testing.assert_allclose(aggregate(GeometricMedian(), rows, weights=weights).numpy(), expected, rtol=1e-9)
    as_a_set = naive(rows[:2].numpy(), [1 / 3, 2 / 3], 4)  # what such code makes of them
    assert np.abs(expected - as_a_set).max() > 0.1


@pytest.mark.parametrize("n", [2, 3, 8, 40])
@pytest.mark.parametrize("dim", [1, 3, 9001])
def test_equals_a_naive_reference(aggregate, n, dim):
    rng = np.random.default_rng(n)
    rows = normal_rows(n, dim, seed=n)
    weights = rng.dirichlet(np.ones(n)).astype(np.float32)
    exact = weights.astype(np.float64) / weights.astype(np.float64).sum()
    for steps in (1, 4):
        result = aggregate(GeometricMedian(steps=steps, ftol=0), rows, weights=weights.tolist())
        np.testing.assert_allclose(result.numpy(), naive(rows.numpy(), exact, steps), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("rows", [3, 200_000])
def test_a_wide_round_walks_its_last_column(aggregate, rows):
    # More clients than values in a piece: a piece is one column.
    updates = torch.zeros(rows, 2)
    updates[:, 1] = 1
    updates[0, 1] = 2
    assert aggregate(GeometricMedian(steps=200), updates)[1].item() == pytest.approx(1, abs=1e-4)


def test_many_steps_reach_the_minimum(aggregate):
    rows, weights = normal_rows(9, 3), [0.2, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05]
    best = minimize(lambda z: np.average(np.linalg.norm(rows.numpy() - z, axis=1), weights=weights), np.zeros(3))
    result = aggregate(GeometricMedian(steps=500, ftol=0), rows, weights=weights)
    np.testing.assert_allclose(result.numpy(), best.x, atol=1e-5)


def test_ftol_stops_early(aggregate):
    rows = normal_rows(7, 5)
    once = aggregate(GeometricMedian(steps=1), rows)
    assert torch.equal(aggregate(GeometricMedian(steps=50, ftol=1.0), rows), once)
    assert not torch.equal(aggregate(GeometricMedian(steps=50, ftol=1e-6), rows), once)


def test_updates_within_eps_are_averaged(aggregate):
    result = aggregate(GeometricMedian(eps=10.0), [[0.0], [0.0], [3.0]], weights=[0.25, 0.25, 0.5])
    assert result.tolist() == [1.5]


def test_each_step_takes_its_part_off_far_rows(aggregate):
    # One of five at 1e6: each step leaves .2 / .8 of the pull 2e5 on the mean.
    rows = torch.zeros(5, 2, dtype=torch.float64)
    rows[0, 0] = 1e6
    for steps in (1, 2, 4):
        pull = aggregate(GeometricMedian(steps=steps, ftol=0), rows)[0].item()
        assert pull == pytest.approx(2e5 * 0.25**steps, rel=0.5)
    assert aggregate(GeometricMedian(steps=100, ftol=0), rows)[0].item() < 1e-3


def test_the_parts_of_the_last_step_are_recorded(new_round):
    context = new_round(3)
    GeometricMedian(steps=1).aggregate(torch.tensor([[0.0], [0.0], [3.0]]), context)
    assert context.shares.tolist() == pytest.approx([0.4, 0.4, 0.2])


@pytest.mark.parametrize("value", [0.0, 1.5, 1e30])
def test_identical_updates_come_back(aggregate, value):
    assert aggregate(GeometricMedian(), torch.full((6, 3), value)).tolist() == torch.full((3,), value).tolist()


def test_a_client_of_no_weight_does_not_count(aggregate):
    rows = normal_rows(4, 3)
    with_it = aggregate(GeometricMedian(), rows, weights=[0.5, 0.25, 0.25, 0.0])
    torch.testing.assert_close(with_it, aggregate(GeometricMedian(), rows[:3], weights=[0.5, 0.25, 0.25]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_the_largest_values_do_not_overflow(aggregate, dtype):
    assert aggregate(GeometricMedian(), torch.tensor([[3e38], [-3e38], [3e38]], dtype=dtype)).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_are_left_alone(aggregate, dtype):
    rows = normal_rows(4, 3).to(dtype)
    before = rows.clone()
    aggregate(GeometricMedian(), rows)
    assert torch.equal(rows, before)


@pytest.mark.parametrize("parameters", [{"steps": 0}, {"eps": 0.0}, {"eps": float("nan")}, {"ftol": -1e-9}])
def test_parameters_out_of_range_are_refused(parameters):
    ((name, value),) = parameters.items()
    with pytest.raises(ValueError, match=f"GeometricMedian needs .*got {name}={value}"):
        GeometricMedian(**parameters)


@pytest.mark.parametrize("weights", [[0.5, 0.25], [1.5, -0.5], [float("nan"), 1.0]])
def test_weights_that_are_no_weights_are_refused(aggregate, weights):
    with pytest.raises(ValueError, match="sum to 1"):
        aggregate(GeometricMedian(), [[1.0], [2.0]], weights=weights)
