"""DnC: hand cases, singular vectors of a library, and what several draws leave."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedsonar.aggregate.dnc import DnC, outlier_scores
from fedsonar.testing import check_aggregator


def naive_scores(rows: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(axis=0)
    return (centred @ np.linalg.svd(centred)[2][0]) ** 2


@pytest.mark.parametrize("rule", [DnC(), DnC(f=3), DnC(f=2, c=1.5), DnC(coordinates=4), DnC(coordinates=1, draws=100)])
def test_keeps_the_contract(rule):
    check_aggregator(rule)


def test_hand_case_of_three_by_three(aggregate):
    # Mean [1, 1, 2]; centred [-1, -1, -2], [-1, -1, -2] and [2, 2, 4], all along [1, 1, 2] / sqrt(6): 6, 6 and 24.
    rows = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [3.0, 3.0, 6.0]]
    np.testing.assert_allclose(outlier_scores(np.array(rows)), [6, 6, 24])
    assert aggregate(DnC(f=1), rows).tolist() == [0.0, 0.0, 0.0]


def test_updates_are_centred_first(aggregate):
    # Without centring the direction would be [1, 0], where row 0 sticks out; the spread is along [0, 1].
    rows = [[101.0, 0.0], [100.0, 1.0], [100.0, -1.0], [100.0, 9.0]]
    torch.testing.assert_close(aggregate(DnC(f=1), rows), torch.tensor([301 / 3, 0.0]))


@pytest.mark.parametrize("dim", [1, 4, 300])
def test_scores_equal_those_of_singular_vectors(dim):
    rng = np.random.default_rng(dim)
    for n in (2, 3, 11, 40):
        rows = rng.normal(size=(n, dim))
        np.testing.assert_allclose(outlier_scores(rows), naive_scores(rows), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("f", "c", "dropped"), [(None, 1.0, 4), (3, 1.0, 3), (3, 1.5, 4), (3, 0.5, 1), (9, 2.0, 18)])
def test_drops_c_times_f(aggregate, new_round, f, c, dropped):
    rows = np.random.default_rng(2).normal(size=(20, 6))
    kept = np.argsort(naive_scores(rows))[: 20 - dropped]
    context = new_round(20)
    result = DnC(f=f, c=c).aggregate(torch.from_numpy(rows), context)
    np.testing.assert_allclose(result.numpy(), rows[kept].mean(axis=0), rtol=1e-9, atol=1e-12)
    assert (context.shares > 0).nonzero().flatten().tolist() == sorted(kept.tolist())
    assert context.shares.sum().item() == pytest.approx(1)


def test_a_decimal_c_drops_what_it_says(new_round):
    # .29 * 100 is 28.999999999999996 in binary.
    context = new_round(201)
    DnC(f=100, c=0.29).aggregate(torch.arange(201.0)[:, None], context)
    assert (context.shares == 0).sum() == 29


def test_a_client_that_sticks_out_in_any_draw_is_dropped(new_round):
    # Client 0 sticks out in coordinate 0, client 1 in coordinate 1; a draw sees one of them and drops one.
    rows = torch.tensor([[50.0, 0.0], [0.0, 70.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    context = new_round(6)
    DnC(f=1, coordinates=1, draws=30).aggregate(rows, context)
    assert context.shares.tolist() == [0.0, 0.0, 0.25, 0.25, 0.25, 0.25]
    # All coordinates at once show the larger one only.
    DnC(f=1).aggregate(rows, context)
    assert (context.shares == 0).tolist() == [False, True, False, False, False, False]


def test_where_each_client_was_dropped_once_the_least_often_dropped_are_kept(new_round):
    # Client k sticks out in coordinate k alone, so it is dropped as often as k is drawn.
    rows = 10 * torch.eye(5)
    context = replace(new_round(5), generator=torch.Generator().manual_seed(1))
    result = DnC(coordinates=1, draws=40).aggregate(rows, context)
    generator = torch.Generator().manual_seed(1)
    drawn = np.bincount([int(torch.randperm(5, generator=generator)[0]) for _ in range(40)], minlength=5)
    assert drawn.min() > 0
    kept = torch.from_numpy(drawn == drawn.min())
    assert torch.equal(context.shares > 0, kept)
    torch.testing.assert_close(result, rows[kept].mean(0))


def test_draws_follow_the_generator(new_round):
    rows = torch.randn(15, 400, generator=torch.Generator().manual_seed(1))
    results = [
        DnC(coordinates=10).aggregate(rows, replace(new_round(15), generator=torch.Generator().manual_seed(seed)))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_equal_updates_keep_the_first_clients(new_round):
    context, row = new_round(10), torch.randn(30, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(DnC().aggregate(row.expand(10, -1), context), row)
    DnC().aggregate(torch.zeros(10, 3), context)
    assert context.shares.tolist() == [0.125] * 8 + [0.0] * 2


@pytest.mark.parametrize(("n", "f"), [(1, 1), (2, 1), (4, 2), (6, 3)])
def test_too_few_clients_are_refused(aggregate, n, f):
    with pytest.raises(ValueError, match=rf"2f < n, got f={f} and n={n} .*at least {2 * f + 1} "):
        aggregate(DnC(f=f), torch.zeros(n, 3))


@pytest.mark.parametrize(("n", "f", "c"), [(1, None, 1.0), (4, None, 1.0), (10, 0, 1.0), (10, 1, 0.5), (5, 2, 2.5)])
def test_a_rule_that_drops_nobody_or_all_is_refused(aggregate, n, f, c):
    with pytest.raises(
        ValueError, match=rf"1 <= floor\(c f\) < n, got c={c}, f={n // 5 if f is None else f} and n={n} "
    ):
        aggregate(DnC(f=f, c=c), torch.ones(n, 3))


@pytest.mark.parametrize(
    "parameters", [{"f": -1}, {"c": 0.0}, {"c": float("nan")}, {"c": float("inf")}, {"draws": 0}, {"coordinates": 0}]
)
def test_parameters_out_of_range_are_refused(parameters):
    (name, value), *_ = parameters.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        DnC(**parameters)


def test_updates_are_left_alone(aggregate):
    rows = torch.randn(10, 50, generator=torch.Generator().manual_seed(1)).double()
    before = rows.clone()
    aggregate(DnC(), rows)
    aggregate(DnC(coordinates=50), rows)
    assert torch.equal(rows, before)
