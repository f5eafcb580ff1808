"""Clipping: hand cases, a naive reference, and its place before a rule."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate import FedAvg, Median, TrimmedMean
from fedsonar.aggregate.clipping import Clipping
from fedsonar.aggregate.norm_clip import NormClip
from fedsonar.aggregate.pre_aggregator import Chain
from fedsonar.testing import check_aggregator


@pytest.mark.parametrize("rule", [FedAvg(), Median(), TrimmedMean()])
@pytest.mark.parametrize("c", [None, 4.0])  # above the norm of the contract's single update, 3.3
def test_a_chain_keeps_the_contract(rule, c):
    check_aggregator(Chain(steps=(Clipping(c=c),), rule=rule))


def test_hand_case(new_round):
    # Norms 5, 1 and 0 with c=2.5: the first halves.
    rows = torch.tensor([[3.0, 0.0, 4.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    clipped, parts = Clipping(c=2.5).prepare(rows, new_round(3))
    assert clipped.tolist() == [[1.5, 0.0, 2.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    assert torch.equal(parts, torch.eye(3, dtype=torch.float64))


def test_hand_case_of_the_median_norm(new_round):
    # Norms 1, 2, 4 and 9: the limit is (2 + 4) / 2 = 3.
    clipped, _ = Clipping().prepare(torch.tensor([[1.0], [-2.0], [4.0], [-9.0]]), new_round(4))
    assert clipped.flatten().tolist() == pytest.approx([1.0, -2.0, 3.0, -3.0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("c", [None, 40.0])
def test_equals_a_naive_reference(new_round, dtype, c):
    rng = np.random.default_rng(9)
    rows = torch.from_numpy(rng.normal(size=(8, 4500)) * rng.uniform(0.1, 3, size=(8, 1))).to(dtype)
    exact = rows.double().numpy()
    limit = np.median(np.linalg.norm(exact, axis=1)) if c is None else c
    expected = np.array([row * min(1, limit / np.linalg.norm(row)) for row in exact])
    clipped, _ = Clipping(c=c).prepare(rows, new_round(8))
    assert clipped.dtype == dtype
    np.testing.assert_allclose(clipped, expected, rtol=1e-3 if dtype == torch.float16 else 2e-7, atol=1e-7)


def test_updates_within_the_limit_keep_every_bit(new_round):
    rows = torch.from_numpy(np.random.default_rng(1).normal(size=(5, 9)))
    clipped, _ = Clipping(c=100.0).prepare(rows, new_round(5))
    assert torch.equal(clipped, rows)


@pytest.mark.parametrize("c", [None, 0.5])
def test_before_a_mean_it_is_norm_clip(aggregate, c):
    rows = torch.from_numpy(np.random.default_rng(2).normal(size=(4, 6)))
    weights = [0.1, 0.2, 0.3, 0.4]
    chained = aggregate(Chain(steps=(Clipping(c=c),), rule=FedAvg()), rows, weights=weights)
    torch.testing.assert_close(chained, aggregate(NormClip(c=c), rows, weights=weights), rtol=1e-6, atol=1e-9)


def test_inputs_are_not_clipped_in_place(new_round):
    # Public code edits its input, and returns it.
    rows = torch.tensor([[30.0, 40.0], [0.0, 1.0]])
    for c in (1.0, 100.0):
        clipped, _ = Clipping(c=c).prepare(rows, new_round(2))
        clipped.zero_()
        assert rows.tolist() == [[30.0, 40.0], [0.0, 1.0]]


@pytest.mark.parametrize("c", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_not_positive_is_refused(c):
    with pytest.raises(ValueError, match=f"Clipping needs a largest norm c > 0, got c={c}"):
        Clipping(c=c)
