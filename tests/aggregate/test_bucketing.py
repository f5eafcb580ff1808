"""Bucketing: hand cases, a naive reference, and its place before a rule."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate import FedAvg, Krum, Median
from fedsonar.aggregate.bucketing import Bucketing
from fedsonar.aggregate.pre_aggregator import Chain
from fedsonar.testing import check_aggregator


def seeded(context, seed):
    context.generator.manual_seed(seed)
    return context


@pytest.mark.parametrize("rule", [FedAvg(), Krum(), Median()])
@pytest.mark.parametrize("s", [2, 3])
def test_a_chain_keeps_the_contract(rule, s):
    check_aggregator(Chain(steps=(Bucketing(s=s),), rule=rule))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "s", "dim"), [(6, 2, 3), (7, 3, 4500), (5, 5, 2), (9, 4, 1), (5, 3, 2)])
def test_equals_a_naive_reference(new_round, n, s, dim, dtype):
    rows = torch.from_numpy(np.random.default_rng(n).normal(size=(n, dim))).to(dtype)
    mixed, parts = Bucketing(s=s).prepare(rows, seeded(new_round(n), 8))
    # The permutation is the generator's next draw; the last bucket is the mean of what is left.
    order = torch.randperm(n, generator=torch.Generator().manual_seed(8)).tolist()
    buckets = [order[start : start + s] for start in range(0, n, s)]
    assert mixed.shape == (len(buckets), dim)
    assert mixed.dtype == dtype
    for bucket, row, part in zip(buckets, mixed, parts, strict=True):
        np.testing.assert_allclose(row, rows.double().numpy()[bucket].mean(axis=0), rtol=1e-6, atol=1e-7)
        assert part.tolist() == [pytest.approx(1 / len(bucket)) if i in bucket else 0 for i in range(n)]


def test_a_short_last_bucket_is_a_mean_not_a_part_of_one(new_round):
    # 5 updates of 1 in buckets of 3 and 2: the sum of the last two over s would be 2/3.
    mixed, _ = Bucketing(s=3).prepare(torch.ones(5, 2), new_round(5))
    assert mixed.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_every_update_is_in_one_bucket(new_round):
    _, parts = Bucketing(s=2).prepare(torch.zeros(7, 1), new_round(7))
    assert ((parts > 0).sum(dim=0) == 1).all()
    torch.testing.assert_close(parts.sum(dim=1), torch.ones(4, dtype=torch.float64))


def test_buckets_differ_from_draw_to_draw_but_not_from_the_global_generator(new_round):
    context, rows = new_round(20), torch.arange(20.0)[:, None]
    before = torch.get_rng_state()
    first, second = (Bucketing().prepare(rows, context)[0] for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)
    assert rows.flatten().tolist() == list(range(20))


def test_the_order_of_the_clients_decides_nothing_on_average(new_round):
    # Each pair of 6 clients meets in a bucket of 2 with probability 1/5.
    met = torch.zeros(6, 6, dtype=torch.float64)
    context = new_round(6)
    for _ in range(2000):
        _, parts = Bucketing().prepare(torch.zeros(6, 1), context)
        met += (2 * parts).T @ (2 * parts)
    pairs = (met / 2000)[~torch.eye(6, dtype=torch.bool)]
    assert (pairs - 0.2).abs().max() < 0.045  # 5 standard errors


def test_large_halves_do_not_overflow(new_round):
    mixed, _ = Bucketing(s=2).prepare(torch.full((2, 1), 6e4, dtype=torch.float16), new_round(2))
    assert mixed.item() == torch.tensor(6e4, dtype=torch.float16).item()


@pytest.mark.parametrize(("n", "s"), [(1, 2), (3, 4)])
def test_too_few_clients_are_refused(new_round, n, s):
    with pytest.raises(ValueError, match=f"s <= n, got s={s} and n={n} clients"):
        Bucketing(s=s).prepare(torch.zeros(n, 2), new_round(n))


@pytest.mark.parametrize("s", [1, 0, -2])
def test_a_bucket_for_less_than_two_is_refused(s):
    with pytest.raises(ValueError, match=f"s >= 2 updates in a bucket, got s={s}"):
        Bucketing(s=s)
