"""FLAME: hand cases, a naive reference, and how much noise there is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import connected_components

from fedsonar.aggregate.flame import FLAME
from fedsonar.aggregate.weak_dp import WeakDP
from fedsonar.testing import check_aggregator


def naive_flame(rows: np.ndarray) -> np.ndarray:
    """FLAME without noise; the majority is found by raising the distance that links two updates."""
    norms = np.linalg.norm(rows, axis=1)
    distances = 1 - (rows @ rows.T) / np.outer(norms, norms)
    for threshold in np.unique(distances):
        _, groups = connected_components(distances <= threshold, directed=False)
        kept = [k for k in range(len(rows)) if (groups == groups[k]).sum() > len(rows) / 2]
        if kept:
            return np.mean([rows[k] * min(1, np.median(norms) / norms[k]) for k in kept], axis=0)
    raise AssertionError


@pytest.mark.parametrize("lam", [0.0, 0.001, 0.5])
def test_keeps_the_contract(lam):
    check_aggregator(FLAME(lam=lam))


def test_hand_case_of_three_by_three(aggregate):
    # Rows 0 and 1 are parallel, so two of three hang together at distance 0. Norms 3, 6 and 2: S is 3, and row 1 is
    # halved to [1, 2, 2].
    rows = [[1.0, 2.0, 2.0], [2.0, 4.0, 4.0], [0.0, 0.0, -2.0]]
    assert aggregate(FLAME(lam=0), rows).tolist() == [1.0, 2.0, 2.0]


def test_norm_is_of_all_updates_and_the_mean_of_the_two_middle_ones(aggregate):
    # Four updates, three parallel. Norms 1, 8, 3, 4: S is 3.5, were it of the kept it would be 3, and torch.median
    # would give 3 of all. The kept are 1, 3.5 and 3: 2.5.
    rows = [[1.0, 0.0], [8.0, 0.0], [3.0, 0.0], [0.0, 4.0]]
    assert aggregate(FLAME(lam=0), rows).tolist() == [2.5, 0.0]


def test_equals_a_naive_reference_on_random_rounds(aggregate):
    rng = np.random.default_rng(5)
    for _ in range(150):
        rows = rng.normal(size=(rng.integers(2, 15), rng.integers(2, 6))) * rng.uniform(0.1, 10)
        result = aggregate(FLAME(lam=0), torch.from_numpy(rows)).numpy()
        np.testing.assert_allclose(result, naive_flame(rows), rtol=1e-9, atol=1e-12)


def test_the_paper_weighs_all_clients_alike(aggregate):
    rows = [[1.0, 0.0], [3.0, 0.0], [0.0, 3.0]]
    assert aggregate(FLAME(lam=0), rows, weights=[0.9, 0.05, 0.05]).tolist() == [2.0, 0.0]


def test_a_minority_that_points_elsewhere_is_dropped_whatever_its_size(aggregate):
    rng = np.random.default_rng(6)
    honest = torch.from_numpy(1 + 0.1 * rng.normal(size=(7, 50)))
    alone = aggregate(FLAME(lam=0), torch.cat([honest, -honest[:3]]))
    scaled = aggregate(FLAME(lam=0), torch.cat([honest, -1e6 * honest[:3]]))
    assert (alone > 0.5).all()
    # The median norm moves within the honest ones, no more.
    torch.testing.assert_close(scaled, alone, rtol=0.1, atol=0)


def test_the_result_is_never_longer_than_the_median_norm(aggregate):
    rng = np.random.default_rng(7)
    for _ in range(50):
        rows = torch.from_numpy(rng.normal(size=(11, 4)) * np.exp(3 * rng.normal(size=(11, 1))))
        assert aggregate(FLAME(lam=0), rows).norm() <= rows.norm(dim=1).median() * (1 + 1e-12)


def test_noise_has_the_deviation_lam_times_the_median_norm(new_round):
    # 100,000 coordinates of 5 equal updates of norm 2: the deviation is .1 * 2 within 1 % (3 errors of 1 / sqrt(2 D)).
    rows = torch.zeros(5, 100_000, dtype=torch.float64)
    rows[:, 0] = 2.0
    context = replace(new_round(5), generator=torch.Generator().manual_seed(1))
    noise = FLAME(lam=0.1).aggregate(rows, context) - rows[0]
    assert noise.std().item() == pytest.approx(0.2, rel=0.01)
    assert noise.mean().item() == pytest.approx(0, abs=3 * 0.2 / 100_000**0.5)
    other = replace(new_round(5), generator=torch.Generator().manual_seed(2))
    assert not torch.equal(FLAME(lam=0.1).aggregate(rows, other) - rows[0], noise)


def test_what_is_left_of_each_client_is_recorded(new_round):
    # S is 4: of the two kept the second is clipped from 8 to 4.
    context = new_round(3)
    FLAME().aggregate(torch.tensor([[2.0, 0.0], [8.0, 0.0], [0.0, 4.0]]), context)
    assert context.shares.tolist() == [0.5, 0.25, 0.0]


def test_where_most_updates_are_zero_the_step_is_zero(aggregate):
    # S is 0, so everything is clipped to 0, noise too.
    assert aggregate(FLAME(), [[0.0, 0.0], [0.0, 0.0], [5.0, 5.0]]).tolist() == [0.0, 0.0]


def test_unanimous_clients_are_followed(aggregate):
    rows = torch.randn(1, 3000, generator=torch.Generator().manual_seed(3)).expand(10, -1)
    torch.testing.assert_close(aggregate(FLAME(lam=0), rows), rows[0], rtol=1e-6, atol=0)


def test_one_client_is_refused(aggregate):
    with pytest.raises(ValueError, match="at least 2 clients to cluster, got n=1"):
        aggregate(FLAME(), [[1.0, 2.0]])


@pytest.mark.parametrize("lam", [-0.1, float("nan"), float("inf")])
def test_lam_out_of_range_is_refused(lam):
    with pytest.raises(ValueError, match=f"lam={lam}"):
        FLAME(lam=lam)


def test_updates_are_left_alone(aggregate):
    # Clipping in place is a known defect of public code.
    rows = torch.tensor([[1.0, 0.0], [9.0, 0.0], [0.0, 3.0]])
    before = rows.clone()
    aggregate(FLAME(), rows)
    assert torch.equal(rows, before)


@pytest.mark.parametrize("rule", [FLAME(), WeakDP(sigma=500.0, c=1e9)])
def test_noise_does_not_push_half_precision_out_of_its_range(rule, aggregate):
    result = aggregate(rule, torch.full((20, 37), 65_000.0, dtype=torch.float16))
    assert result.dtype == torch.float16
    assert result.isfinite().all()
