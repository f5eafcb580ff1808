"""FreqFed: its low frequencies against cosines summed by hand, and both ways to choose a cluster."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.fft import idct

from fedsonar.aggregate import Matrix
from fedsonar.aggregate.freqfed import FreqFed, largest_label, low_frequencies
from fedsonar.testing import check_aggregator


def naive_low(matrix: np.ndarray) -> list[float]:
    """Low frequencies of one matrix by the definition of the orthonormal DCT-II, with sums written out."""
    num_rows, num_columns = matrix.shape
    kept = []
    for i in range(num_rows):
        for j in range(num_columns):
            if i < num_rows / 2 and j < num_columns / 2 and i + j <= (num_rows + num_columns) / 4:
                total = 0.0
                for y in range(num_rows):
                    for x in range(num_columns):
                        wave = np.cos(np.pi * (2 * y + 1) * i / (2 * num_rows))
                        total += matrix[y, x] * wave * np.cos(np.pi * (2 * x + 1) * j / (2 * num_columns))
                scale = np.sqrt((1 if i == 0 else 2) / num_rows) * np.sqrt((1 if j == 0 else 2) / num_columns)
                kept.append(scale * total)
    return kept


def waves(*degrees: float, high: float = 0.0) -> torch.Tensor:
    """One-row updates of 4 coordinates whose two low frequencies point at these angles."""
    angles = np.deg2rad(degrees)
    spectra = np.stack(
        [np.cos(angles), np.sin(angles), np.full(len(angles), high), np.full(len(angles), -high)], axis=1
    )
    return torch.from_numpy(idct(spectra, norm="ortho"))


@pytest.mark.parametrize("variant", ["authors", "majority"])
@pytest.mark.parametrize("matrices", ["all", "last"])
def test_keeps_the_contract(variant, matrices):
    check_aggregator(FreqFed(variant=variant, matrices=matrices))


def test_hand_case_of_low_frequencies():
    # 2 x 4: i < 1, j < 2 and i + j <= 1.5 keep (0, 0) and (0, 1). The first is the sum over sqrt(8). Along the columns'
    # sums 2, 0, 0, -2 the second is sqrt(1/2) sqrt(2/4) (2 cos(pi/8) - 2 cos(7 pi/8)) = 2 cos(pi/8).
    update = torch.tensor([[1.0, 0.0, 0.0, -1.0, 1.0, 0.0, 0.0, -1.0]])
    low = low_frequencies(update, [Matrix(0, 2, 4)])
    np.testing.assert_allclose(low.numpy(), [[0, 2 * np.cos(np.pi / 8)]], atol=1e-12)
    # As one row of 8: j < 4 and j <= 2.25 keep 3.
    assert low_frequencies(update, [Matrix(0, 1, 8)]).shape == (1, 3)


def test_equals_a_naive_reference_over_several_matrices():
    shapes = [(3, 5), (1, 7), (6, 1), (4, 4), (1, 1), (2, 9)]
    matrices, offset = [], 0
    for rows, columns in shapes:
        matrices.append(Matrix(offset, rows, columns))
        offset += rows * columns
    updates = np.random.default_rng(1).normal(size=(4, offset)).astype(np.float32)
    expected = [
        np.concatenate([naive_low(update[o : o + h * w].reshape(h, w).astype(float)) for o, h, w in matrices])
        for update in updates
    ]
    np.testing.assert_allclose(low_frequencies(torch.from_numpy(updates), matrices).numpy(), expected, atol=1e-12)


def test_batches_of_clients_change_nothing(monkeypatch):
    updates, matrices = torch.randn(7, 60, generator=torch.Generator().manual_seed(1)), [Matrix(0, 5, 12)]
    whole = low_frequencies(updates, matrices)
    monkeypatch.setattr("fedsonar.aggregate.freqfed._BATCH", 130)  # two clients at once
    assert torch.equal(low_frequencies(updates, matrices), whole)


def test_hand_case_of_three_by_three(aggregate):
    # One row of 3: j < 1.5 and j <= 1 keep 2. Rows 0 and 1 are parallel, two of three: their mean.
    rows = [[1.0, 2.0, 4.0], [3.0, 6.0, 12.0], [5.0, -1.0, -9.0]]
    assert aggregate(FreqFed(variant="majority"), rows).tolist() == [2.0, 4.0, 8.0]


def test_the_authors_keep_the_largest_cluster(aggregate):
    # Gaps of 1, 2, and 1 degree make groups of three and two, with a gap of 90 between.
    rows = waves(0, 1, 3, 93, 94)
    torch.testing.assert_close(aggregate(FreqFed(), rows), rows[:3].mean(0))


def test_the_authors_noise_counts_as_a_label_and_benign_pairs_are_dropped(aggregate):
    # Two pairs, and five that join one by one at wider gaps (39, 50, 60, 60 and 50 degrees): five are noise.
    rows = waves(0, 1, 20, 21, 60, 110, 170, 250, 310)
    torch.testing.assert_close(aggregate(FreqFed(), rows), rows[4:].mean(0))
    # The majority does not: five of nine hang together first, at a gap of 39.
    torch.testing.assert_close(aggregate(FreqFed(variant="majority"), rows), rows[:5].mean(0))


def test_one_group_is_noise_for_the_authors_so_all_are_kept(aggregate):
    rows = waves(0, 1, 3, 6)
    torch.testing.assert_close(aggregate(FreqFed(), rows), rows.mean(0))


@pytest.mark.parametrize(
    ("labels", "expected"), [([0, 0, 1, 1, 1], 1), ([-1, -1, 0, 0, 1], 0), ([-1] * 5, -1), ([-1, -1, -1, 0, 0], -1)]
)
def test_the_largest_label(labels, expected):
    assert largest_label(torch.tensor(labels), torch.eye(5)) == expected


def test_of_equally_large_clusters_the_one_nearer_to_all_wins_in_any_order(aggregate):
    # Two pairs; the fifth update, noise, is 79 degrees from one of them and 139 from the other.
    rows = waves(0, 1, 60, 61, 140)
    for order in ([0, 1, 2, 3, 4], [3, 2, 4, 1, 0], [2, 4, 0, 3, 1]):
        torch.testing.assert_close(aggregate(FreqFed(), rows[order]), rows[2:4].mean(0))


def test_high_frequencies_do_not_count(aggregate):
    rows = torch.cat([waves(0, 1, 3, high=50), waves(0.5, 1.5, high=-50), waves(90, 94)])
    torch.testing.assert_close(aggregate(FreqFed(variant="majority"), rows[[0, 1, 3, 5, 6]]), rows[[0, 1, 3]].mean(0))


def test_which_matrices_are_looked_at(new_round):
    # Two matrices of one row each; clients 0 to 2 agree in the first, 2 to 4 in the last.
    rows = torch.cat([waves(0, 1, 3, 93, 140), waves(220, 90, 0, 1, 3)], dim=1)
    matrices = (Matrix(0, 1, 4), Matrix(4, 1, 4))
    rule = FreqFed(variant="majority", matrices="last")
    last = rule.aggregate(rows, replace(new_round(5), matrices=matrices))
    torch.testing.assert_close(last, rows[2:].mean(0))
    both = replace(rule, matrices="all")
    # Cosines of both add: 0 and 1 share .5 - .32, 2 and 3 0 + .5; that is less than what each shares in its half.
    context = replace(new_round(5), matrices=matrices)
    both.aggregate(rows, context)
    halves = [rows[:, :4].numpy(), rows[:, 4:].numpy()]
    low = np.array([np.concatenate([naive_low(half[k][None]) for half in halves]) for k in range(5)])
    cosines = low @ low.T / 2
    # Three hang together at the second edge of a spanning tree, which are its two nearest pairs here.
    nearest = sorted(((cosines[a, b], {a, b}) for a in range(5) for b in range(a)), key=lambda pair: -pair[0])[:2]
    assert set(context.shares.nonzero().flatten().tolist()) == nearest[0][1] | nearest[1][1]


def test_kept_clients_are_recorded(new_round):
    context = new_round(5, weights=[0.6, 0.1, 0.1, 0.1, 0.1])
    FreqFed(variant="majority").aggregate(waves(0, 90, 1, 93, 3), context)
    torch.testing.assert_close(context.shares, torch.tensor([1.0, 0.0, 1.0, 0.0, 1.0]) / 3)


def test_unanimous_clients_are_followed(aggregate):
    rows = torch.randn(1, 500, generator=torch.Generator().manual_seed(3)).expand(10, -1)
    for variant in ("authors", "majority"):
        torch.testing.assert_close(aggregate(FreqFed(variant=variant), rows), rows[0], rtol=1e-6, atol=0)


def test_one_client_is_refused(aggregate):
    with pytest.raises(ValueError, match="at least 2 clients to cluster, got n=1"):
        aggregate(FreqFed(), [[1.0, 2.0]])


def test_unknown_parameters_are_refused():
    with pytest.raises(ValueError, match="variant authors and majority, got variant='mine'"):
        FreqFed(variant="mine")
    with pytest.raises(ValueError, match="matrices all and last, got matrices='first'"):
        FreqFed(matrices="first")


def test_updates_are_left_alone(aggregate):
    for rows in (waves(0, 1, 20, 21, 60), waves(0, 1, 20).float()):
        before = rows.clone()
        aggregate(FreqFed(), rows)
        assert torch.equal(rows, before)
