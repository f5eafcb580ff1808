"""MultiMetrics: three distance sums against plain loops, their whitening against SciPy, and who is kept."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, mahalanobis

from fedsonar.aggregate.multi_metrics import MultiMetrics, _features, mahalanobis_scores, manhattan_sums
from fedsonar.aggregate.norms import row_norms
from fedsonar.testing import check_aggregator

HAND = [[0.0], [1.0], [2.0], [9.0]]


def naive_scores(rows: np.ndarray) -> np.ndarray:
    """Distances of every pair, the plain inverse of the covariance, and one client at a time."""
    metrics = ("cosine", "cityblock", "euclidean")
    features = np.stack([cdist(rows, rows, metric).sum(1) for metric in metrics], axis=1)
    inverse = np.linalg.inv(np.cov(features.T))
    return np.array([mahalanobis(row, np.zeros(3), inverse) ** 2 for row in features])


def test_contract():
    check_aggregator(MultiMetrics())


def test_hand_case_of_features():
    # One coordinate: L1 and L2 are both |x - y|. From 0: 1+2+9. From 1: 1+1+8. From 2: 2+1+7. From 9: 9+8+7.
    # Cosines: 0 has none, so it is 1 from each of three; the positive ones are 1 from 0 alone.
    assert _features(torch.tensor(HAND), np.array([0.0, 1, 2, 9])).tolist() == [
        [3, 12, 12],
        [1, 10, 10],
        [1, 10, 10],
        [1, 24, 24],
    ]


def test_hand_case(aggregate):
    # 1 and 2 have the same lowest features. floor(.5 * 4) = 2 are kept; of one, the first.
    assert aggregate(MultiMetrics(keep=0.5), HAND).tolist() == [1.5]
    assert aggregate(MultiMetrics(keep=0.3), HAND).tolist() == [1.0]


def test_hand_case_of_three_by_three():
    # L1: r0-r1 1, r0-r2 8, r1-r2 9. L2: 1, 32^.5 and (16+16+1)^.5. Norms 8^.5, 3 and 8^.5, products 8, -8 and -8:
    # cosines 8/(3 8^.5) = c, -1 and -c, so cosine distances 1-c, 2 and 1+c.
    rows = torch.tensor([[2.0, 2.0, 0.0], [2.0, 2.0, 1.0], [-2.0, -2.0, 0.0]])
    c, a, b = 8 / (3 * 8**0.5), 32**0.5, 33**0.5
    np.testing.assert_allclose(
        _features(rows, row_norms(rows).numpy()), [[3 - c, 9, 1 + a], [2, 10, 1 + b], [3 + c, 17, a + b]], rtol=1e-12
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "dim"), [(1, 3), (2, 1), (7, 5), (40, 300), (130, 2100)])
def test_manhattan_sums_equal_all_pairs(dtype, n, dim):
    rows = torch.from_numpy(np.random.default_rng(n).normal(size=(n, dim))).to(dtype)
    exact = rows.double().numpy()
    np.testing.assert_allclose(manhattan_sums(rows), cdist(exact, exact, "cityblock").sum(1), rtol=1e-11)


def test_manhattan_sums_with_ties_signs_zeros_and_half_precision():
    rows = torch.tensor([[0.0, -1.0], [-0.0, -1.0], [5.0, 2.0], [5.0, -1.0], [1e-40, 3e38]])
    exact = rows.double().numpy()
    np.testing.assert_allclose(manhattan_sums(rows), cdist(exact, exact, "cityblock").sum(1), rtol=1e-12)
    # 1, 3, 2: 2 + 1, 2 + 1, 1 + 1
    assert manhattan_sums(torch.tensor([[1.0], [3.0], [2.0]], dtype=torch.bfloat16)).tolist() == [3.0, 3.0, 2.0]


def test_manhattan_sums_keep_their_digits_far_from_zero():
    rows = torch.from_numpy((1e6 + np.random.default_rng(0).normal(size=(50, 20))).astype(np.float32))
    exact = rows.double().numpy()
    np.testing.assert_allclose(manhattan_sums(rows), cdist(exact, exact, "cityblock").sum(1), rtol=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_equals_a_naive_reference(aggregate, seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(13, 40)) + rng.normal(size=40)
    weights = rng.dirichlet(np.ones(13))
    kept = naive_scores(rows).argsort()[:3]  # floor(.3 * 13)
    expected = np.average(rows[kept], axis=0, weights=weights[kept])
    result = aggregate(MultiMetrics(), torch.from_numpy(rows), weights=weights.tolist())
    np.testing.assert_allclose(result.numpy(), expected, atol=1e-6)  # the context's weights are float32


def test_scores_do_not_depend_on_units():
    # The L1 sums of a million coordinates dwarf the cosines; the pseudo-inverse must not lose the small feature.
    features = np.random.default_rng(0).uniform(1, 2, size=(20, 3))
    np.testing.assert_allclose(mahalanobis_scores(features * [1e-6, 1e9, 1.0]), mahalanobis_scores(features), rtol=1e-6)


def test_a_singular_covariance_is_no_trouble():
    # Of equal second and third features one counts; a constant one counts for nothing.
    features = np.random.default_rng(0).uniform(1, 2, size=(9, 2))
    twice = features[:, [0, 1, 1]]
    np.testing.assert_allclose(mahalanobis_scores(twice), mahalanobis_scores(features), rtol=1e-6)
    constant = np.concatenate([features, np.full((9, 1), 0.1)], axis=1)
    np.testing.assert_allclose(mahalanobis_scores(constant), mahalanobis_scores(features), rtol=1e-6)
    assert mahalanobis_scores(np.ones((4, 3))).tolist() == [0.0] * 4


@pytest.mark.parametrize(("n", "kept"), [(1, 1), (2, 1), (3, 1), (6, 1), (7, 2), (10, 3), (100, 30)])
def test_the_number_kept_is_rounded_down_but_never_zero(new_round, n, kept):
    context = new_round(n)
    MultiMetrics().aggregate(torch.randn(n, 8, generator=torch.Generator().manual_seed(n)), context)
    assert (context.shares > 0).sum() == kept


def test_a_decimal_part_keeps_what_it_says(new_round):
    # .29 * 100 is 28.999999999999996 in binary.
    context = new_round(100)
    MultiMetrics(keep=0.29).aggregate(torch.randn(100, 8, generator=torch.Generator().manual_seed(0)), context)
    assert (context.shares > 0).sum() == 29


def test_shares_are_the_weights_of_the_kept(new_round):
    context = new_round(4, weights=[0.4, 0.3, 0.1, 0.2])
    MultiMetrics(keep=0.5).aggregate(torch.tensor(HAND), context)
    assert context.shares.tolist() == pytest.approx([0.0, 0.75, 0.25, 0.0])


def test_a_backdoor_far_from_the_others_is_dropped(new_round):
    rng = np.random.default_rng(3)
    rows = torch.from_numpy(rng.normal(size=20) + 0.3 * rng.normal(size=(20, 20)))
    rows[:3] = -5 * rows[:3]
    context = new_round(20)
    MultiMetrics().aggregate(rows, context)
    assert context.shares[:3].tolist() == [0.0] * 3


def test_keeping_all_is_the_weighted_mean(aggregate):
    assert aggregate(MultiMetrics(keep=1.0), HAND, weights=[0.1, 0.2, 0.3, 0.4]).item() == pytest.approx(4.4)


@pytest.mark.parametrize("keep", [0.0, 1.1, -0.3, float("nan")])
def test_keep_out_of_range_is_refused(keep):
    with pytest.raises(ValueError, match=r"0 < keep <= 1, got keep="):
        MultiMetrics(keep=keep)


def test_kept_clients_without_weight_are_refused(aggregate):
    with pytest.raises(ValueError, match="kept clients"):
        aggregate(MultiMetrics(), HAND, weights=[0.5, 0.0, 0.0, 0.5])


@pytest.mark.parametrize("dim", [1, 2])
def test_updates_are_not_sorted_in_place(aggregate, dim):
    # One column is contiguous either way up, so an in-place sort of a transposed view would write through.
    rows = torch.tensor([[3.0], [1.0], [2.0]], dtype=torch.float64).repeat(1, dim)
    before = rows.clone()
    aggregate(MultiMetrics(), rows)
    assert torch.equal(rows, before)
