"""A malformed round is refused by every rule, in one line that names the client or the count."""

import pytest
import torch

from fedsonar.aggregate import FedAvg, Krum, Median, MultiKrum, TrimmedMean
from fedsonar.aggregate.check import check_updates, suspected

RULES = [FedAvg(), Krum(), MultiKrum(), Median(), TrimmedMean()]


@pytest.mark.parametrize("rule", RULES, ids=repr)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_update_that_is_not_finite_is_refused_by_its_clients_number(aggregate, rule, value):
    rows = torch.randn(7, 40, generator=torch.Generator().manual_seed(0))
    rows[3, 39] = value
    with pytest.raises(ValueError, match="client 13 is not finite"):  # clients are numbered from 10
        aggregate(rule, rows)


def test_infinities_that_cancel_are_seen(new_round):
    rows = torch.tensor([[1.0, 2.0], [float("inf"), -float("inf")]])
    with pytest.raises(ValueError, match="client 11 is not finite"):
        check_updates(rows, new_round(2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_large_values_are_not_taken_for_infinite(aggregate, dtype):
    # Their norm overflows in their own dtype.
    largest = torch.finfo(dtype).max
    rows = torch.full((5, 4), largest, dtype=dtype)
    for rule in RULES:
        assert torch.equal(aggregate(rule, rows, weights=[0.25, 0.25, 0.25, 0.125, 0.125]), rows[0])


def test_values_whose_squares_overflow_float64_are_refused(new_round):
    with pytest.raises(ValueError, match="client 10 is not finite"):
        check_updates(torch.tensor([[1e200]], dtype=torch.float64), new_round(1))


def test_other_shapes_and_dtypes_are_refused(new_round):
    with pytest.raises(ValueError, match=r"shape \(4,\)"):
        check_updates(torch.zeros(4), new_round(4))
    with pytest.raises(ValueError, match="int64"):
        check_updates(torch.zeros(2, 3, dtype=torch.int64), new_round(2))
    with pytest.raises(ValueError, match="3 updates, 2 clients and 2 weights"):
        check_updates(torch.zeros(3, 3), new_round(2))


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_an_empty_round_is_refused(aggregate, rule):
    with pytest.raises(ValueError, match="at least 1 update, got 0"):
        aggregate(rule, torch.zeros(0, 3), weights=[])


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_zero_updates_give_a_zero_step(aggregate, rule):
    assert not aggregate(rule, torch.zeros(6, 9)).any()


@pytest.mark.parametrize("margin", [0, 2])
@pytest.mark.parametrize("n", range(1, 12))
def test_whoever_suspects_too_many_hears_the_most_that_so_many_clients_bear(n, margin):
    with pytest.raises(ValueError, match=r"f=9 and n=\d+ clients: bring at least \d+") as caught:
        suspected("Rule", 9, n, margin)
    _, lower, most = str(caught.value).partition(" or lower f to ")
    if lower:
        assert suspected("Rule", int(most), n, margin) == int(most)
    with pytest.raises(ValueError, match="bring at least"):
        suspected("Rule", int(most or -1) + 1, n, margin)
