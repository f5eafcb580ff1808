"""NNM: hand cases, a naive reference, and its place before a rule."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate import FedAvg, Krum, TrimmedMean
from fedsonar.aggregate.nnm import NNM
from fedsonar.aggregate.pre_aggregator import Chain
from fedsonar.testing import check_aggregator


def naive(rows: np.ndarray, f: int) -> np.ndarray:
    mixed = []
    for row in rows:
        order = np.argsort([np.linalg.norm(row - other) for other in rows], kind="stable")
        mixed.append(np.mean([rows[i] for i in order[: len(rows) - f]], axis=0))
    return np.array(mixed)


@pytest.mark.parametrize("rule", [FedAvg(), Krum(), TrimmedMean()])
@pytest.mark.parametrize("f", [None, 3])
def test_a_chain_keeps_the_contract(rule, f):
    check_aggregator(Chain(steps=(NNM(f=f),), rule=rule))


def test_hand_case(new_round):
    # n - f = 3 nearest. 0: 0 1 3. 1: 1 0 3. 3: 3 1 0. 9: 9 3 1.
    mixed, parts = NNM(f=1).prepare(torch.tensor([[0.0], [1.0], [3.0], [9.0]]), new_round(4))
    torch.testing.assert_close(mixed.flatten(), torch.tensor([4.0, 4.0, 4.0, 13.0]) / 3)
    expected = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 0], [1, 1, 1, 0], [0, 1, 1, 1]], dtype=torch.float64) / 3
    torch.testing.assert_close(parts, expected)


def test_hand_case_of_three_by_three(new_round):
    # f=1: the nearest other. Squared distances: r0-r1 10, r0-r2 9, r1-r2 33.
    rows = torch.tensor([[1.0, 1.0, 1.0], [4.0, 1.0, 0.0], [-1.0, -1.0, 2.0]])
    mixed, _ = NNM(f=1).prepare(rows, new_round(3))
    assert mixed.tolist() == [[0.0, 0.0, 1.5], [2.5, 1.0, 0.5], [0.0, 0.0, 1.5]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [2, 4500])
def test_equals_a_naive_reference(new_round, dtype, dim):
    rng = np.random.default_rng(5)
    for _ in range(10):
        n = int(rng.integers(3, 14))
        f = int(rng.integers(0, (n - 1) // 2 + 1))
        rows = torch.from_numpy(rng.normal(size=(n, dim))).to(dtype)
        mixed, parts = NNM(f=f).prepare(rows, new_round(n))
        assert mixed.dtype == dtype
        np.testing.assert_allclose(mixed, naive(rows.double().numpy(), f), rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(parts.sum(dim=1), torch.ones(n, dtype=torch.float64))
        torch.testing.assert_close((parts @ rows.double()).to(dtype), mixed)


def test_an_update_is_always_its_own_neighbour(new_round):
    # Five duplicates and three neighbours: the last ones have themselves and the first two.
    _, parts = NNM(f=2).prepare(torch.ones(5, 2), new_round(5))
    assert (parts.diagonal() > 0).all()
    assert parts[4].tolist() == pytest.approx([1 / 3, 1 / 3, 0, 0, 1 / 3])


def test_far_updates_are_mixed_into_no_honest_one(new_round):
    rows = torch.cat([torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.full((2, 3), 1e30)])
    mixed, parts = NNM().prepare(rows, new_round(10))
    assert (parts[:8, 8:] == 0).all()
    torch.testing.assert_close(mixed[:8], rows[:8].mean(dim=0).expand(8, -1))


def test_default_suspects_a_fifth_rounded_down(new_round):
    _, parts = NNM().prepare(torch.randn(9, 2, generator=torch.Generator().manual_seed(1)), new_round(9))
    assert ((parts > 0).sum(dim=1) == 8).all()


def test_one_update_stays(new_round):
    mixed, parts = NNM().prepare(torch.tensor([[2.0, 3.0]]), new_round(1))
    assert (mixed.tolist(), parts.tolist()) == ([[2.0, 3.0]], [[1.0]])


@pytest.mark.parametrize(("n", "f"), [(1, 1), (2, 1), (6, 3)])
def test_too_few_clients_are_refused(new_round, n, f):
    with pytest.raises(ValueError, match=f"2f < n, got f={f} and n={n} clients: bring at least {2 * f + 1}"):
        NNM(f=f).prepare(torch.zeros(n, 2), new_round(n))


def test_negative_f_is_refused():
    with pytest.raises(ValueError, match="f=-1"):
        NNM(f=-1)


def test_nan_is_refused_and_inputs_are_left_alone(new_round):
    rows = torch.tensor([[1.0], [2.0], [4.0]])
    NNM(f=1).prepare(rows, new_round(3))
    assert rows.tolist() == [[1.0], [2.0], [4.0]]
    with pytest.raises(ValueError, match="client 11 is not finite"):
        NNM().prepare(torch.tensor([[1.0], [float("nan")]]), new_round(2))
