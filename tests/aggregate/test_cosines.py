"""Cosines of all pairs, and HDBSCAN's clusters against a search over thresholds that knows no library's tree."""

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import connected_components

from fedsonar.aggregate.cosines import cosine_clusters, cosine_similarities, gram_matrix


def cosines_of(rows):
    return cosine_similarities(gram_matrix(torch.as_tensor(rows)))


def first_majority(distances: np.ndarray) -> np.ndarray:
    """Who is in the first group of more than half, as the distance that links two updates grows."""
    for threshold in np.unique(distances):
        _, groups = connected_components(distances <= threshold, directed=False)
        sizes = np.bincount(groups)
        if sizes.max() > len(distances) / 2:
            return groups == sizes.argmax()
    raise AssertionError


def at_angles(*degrees: float) -> torch.Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_hand_case():
    # Norms 5, 2, 0: [3, 4] . [0, -2] = -8, over 5 * 2 is -.8; a zero row has cosine 0 with all but itself.
    cosines = cosines_of([[3.0, 4.0], [0.0, -2.0], [0.0, 0.0]])
    assert cosines.tolist() == [[1.0, -0.8, 0.0], [-0.8, 1.0, 0.0], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("dim", [1, 7, 5000])
def test_equals_a_naive_reference(dtype, dim):
    rows = torch.randn(9, dim, generator=torch.Generator().manual_seed(dim)).to(dtype)
    exact = rows.double().numpy()
    expected = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in exact] for a in exact]
    np.testing.assert_allclose(cosines_of(rows).numpy(), expected, atol=1e-13)
    np.testing.assert_allclose(gram_matrix(rows).numpy(), exact @ exact.T, atol=1e-9)


def test_parallel_rows_have_cosines_of_exactly_one():
    row = torch.randn(5000, generator=torch.Generator().manual_seed(1))
    cosines = cosines_of(torch.stack([row, 3 * row, -row, 1e-30 * row.double()]))
    assert cosines.tolist() == [[1, 1, -1, 1], [1, 1, -1, 1], [-1, -1, 1, -1], [1, 1, -1, 1]]


def test_cosines_are_symmetric_to_the_last_bit():
    # Otherwise HDBSCAN breaks ties by which of two values it meets first.
    cosines = cosines_of(torch.randn(40, 3, generator=torch.Generator().manual_seed(2)))
    assert torch.equal(cosines, cosines.T)


@pytest.mark.parametrize("size", [1e-30, 1e149])
def test_sizes_do_not_matter(size):
    rows = torch.randn(5, 8, generator=torch.Generator().manual_seed(3)).double()
    torch.testing.assert_close(cosines_of(size * rows), cosines_of(rows), rtol=1e-12, atol=1e-12)


def test_majority_is_the_first_group_of_more_than_half():
    rng = np.random.default_rng(4)
    for case in range(600):
        shape = rng.integers(2, 14), rng.integers(1, 5)
        # Whole numbers make ties, parallel and zero rows.
        rows = rng.integers(-2, 3, size=shape).astype(float) if case % 2 else rng.normal(size=shape)
        cosines = cosines_of(rows)
        labels = cosine_clusters(cosines, majority=True).numpy()
        assert ((labels == 0) == first_majority(1 - cosines.numpy())).all()
        assert set(labels.tolist()) <= {0, -1}
        assert (labels == 0).sum() >= len(rows) // 2 + 1


def test_clusters_of_two_and_noise():
    # Pairs at 0 and 1 degrees and at 20 and 21 join into one group at a gap of 19; what joins one by one, at wider
    # gaps, is noise.
    labels = cosine_clusters(cosines_of(at_angles(0, 1, 20, 21, 60, 110, 170)), majority=False).tolist()
    assert labels[0] == labels[1] >= 0
    assert labels[2] == labels[3] >= 0
    assert labels[0] != labels[2]
    assert labels[4:] == [-1, -1, -1]


def test_all_updates_in_one_cluster_are_noise_unless_for_the_majority():
    assert cosine_clusters(cosines_of(at_angles(0, 1, 3, 6)), majority=False).tolist() == [-1] * 4
    # The gaps are 1, 2 and 3: three of four hang together at 2.
    assert cosine_clusters(cosines_of(at_angles(0, 1, 3, 6)), majority=True).tolist() == [0, 0, 0, -1]


def test_the_cosines_are_left_alone():
    cosines = cosines_of(at_angles(0, 1, 20, 21, 60))
    before = cosines.clone()
    cosine_clusters(cosines, majority=True)
    assert torch.equal(cosines, before)
