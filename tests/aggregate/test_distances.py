"""Squared distances stay right where a Gram matrix loses its digits."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate.columns import NUM_COLUMNS
from fedsonar.aggregate.distances import squared_distances, squared_distances_from


def naive(rows: torch.Tensor) -> np.ndarray:
    exact = rows.double().numpy()
    return ((exact[:, None] - exact[None]) ** 2).sum(axis=2)


def test_hand_case_is_exact():
    rows = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 0.0]])
    assert squared_distances(rows).tolist() == [[0.0, 25.0, 36.0], [25.0, 0.0, 25.0], [36.0, 25.0, 0.0]]


@pytest.mark.parametrize("dim", [1, NUM_COLUMNS - 1, NUM_COLUMNS, NUM_COLUMNS + 1, 3 * NUM_COLUMNS + 5])
def test_equals_the_naive_sum_at_every_width(dim):
    rows = torch.randn(7, dim, generator=torch.Generator().manual_seed(dim))
    np.testing.assert_allclose(squared_distances(rows).numpy(), naive(rows), rtol=1e-10)


def test_nearly_equal_updates_far_from_zero():
    # Rows differ by about 1e-3 at 1,000: in float32 |x|^2 is 3e8 and its last digit 32, the distances 3e-4.
    rng = np.random.default_rng(0)
    rows = torch.from_numpy((1000 + 1e-3 * rng.normal(size=(12, 300))).astype(np.float32))
    np.testing.assert_allclose(squared_distances(rows).numpy(), naive(rows), rtol=1e-10)


def test_one_enormous_update_does_not_blur_the_others():
    rng = np.random.default_rng(1)
    rows = torch.from_numpy(rng.normal(size=(9, 50)))
    rows[4] = 1e12
    np.testing.assert_allclose(squared_distances(rows).numpy(), naive(rows), rtol=1e-10)


def test_clusters_within_clusters_keep_their_digits():
    # Each row's neighbours are a million times closer than the next cluster, three levels deep.
    rng = np.random.default_rng(2)
    levels = [scale * rng.normal(size=(count, 1, 4)) for scale, count in ((1e6, 2), (1.0, 4), (1e-6, 12))]
    rows = torch.from_numpy(sum(np.repeat(level, 12 // len(level), axis=0)[:, 0] for level in levels))
    np.testing.assert_allclose(squared_distances(rows).numpy(), naive(rows), rtol=1e-7)


def test_largest_float32_values_do_not_overflow():
    rows = torch.tensor([[3e38, 3e38], [-3e38, 3e38], [0.0, 1.0]])
    np.testing.assert_allclose(squared_distances(rows).numpy(), naive(rows), rtol=1e-10)


@pytest.mark.parametrize("n", [13, 14, 15, 46])
def test_identical_rows_have_identical_distances_to_the_last_bit(n):
    # The matrix product treats the last few rows apart and rounds them otherwise.
    for seed in range(10):
        rows = torch.randn(n, 525, generator=torch.Generator().manual_seed(seed))
        twins = [2, 7, n - 5, n - 3, n - 1]
        rows[twins] = rows[7].clone()
        squared = squared_distances(rows)
        assert not squared[twins][:, twins].any()
        assert torch.equal(squared[twins], squared[2].expand(len(twins), -1))


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_all_rows_equal_are_at_distance_zero(value):
    assert not squared_distances(torch.full((6, 2500), value, dtype=torch.float64)).any()


def test_half_precision_updates():
    rows = torch.randn(5, 40, generator=torch.Generator().manual_seed(4)).bfloat16()
    np.testing.assert_allclose(squared_distances(rows).numpy(), naive(rows), rtol=1e-10)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dim", [1, 255, 256, 70_001])
def test_distances_from_some_are_those_of_all(dim, threads):
    rows = 1000 + 1e-3 * torch.randn(24, dim, generator=torch.Generator().manual_seed(dim))
    rows[7] = rows[3]
    some = torch.tensor([23, 3, 0, 7])
    torch.set_num_threads(threads)
    try:
        found = squared_distances_from(rows, some)
    finally:
        torch.set_num_threads(1)
    np.testing.assert_allclose(found.numpy(), squared_distances(rows)[some].numpy(), rtol=1e-9)
    assert torch.equal(found[1], found[3])


def test_distances_from_nobody_are_none():
    assert squared_distances_from(torch.ones(3, 2), torch.tensor([], dtype=torch.int64)).shape == (0, 3)
