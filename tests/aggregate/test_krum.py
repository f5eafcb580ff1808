"""Krum: hand cases, a naive reference, and each defect known from public code."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate import Krum
from fedsonar.aggregate.distances import squared_distances
from fedsonar.aggregate.krum import krum_scores


def naive_scores(rows: np.ndarray, f: int, power: int = 2, extra: int = 0) -> np.ndarray:
    """Scores by two loops in float64; `power` of the distance and `extra` neighbours make the known defects."""
    n = len(rows)
    scores = []
    for i in range(n):
        others = [np.linalg.norm(rows[i] - rows[j]) ** power for j in range(n) if j != i]
        scores.append(sum(sorted(others)[: n - f - 2 + extra]))
    return np.array(scores)


def scores_of(rows: torch.Tensor, f: int) -> np.ndarray:
    return krum_scores(squared_distances(rows), f).numpy()


def test_hand_case_of_scores():
    # f=1 and n=5, so each score sums 5 - 1 - 2 = 2 squared distances.
    rows = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [10.0, 10.0]])
    # Row 0: 1, 4, 9, 200 -> 5. Row 1: 1, 5, 4, 181 -> 5. Row 2: 4, 5, 13, 164 -> 9. Row 3: 9, 4, 13, 149 -> 13.
    # Row 4: 200, 181, 164, 149 -> 313.
    assert scores_of(rows, f=1).tolist() == [5.0, 5.0, 9.0, 13.0, 313.0]


def test_hand_case_of_three_by_three(aggregate):
    # f=0 and n=3: the one nearest other. |r0-r1|^2 = 9+1 = 10, |r0-r2|^2 = 4+4+1 = 9, |r1-r2|^2 = 25+4+4 = 33.
    # Scores 9, 10, 9: the first of the two lowest.
    rows = [[1.0, 1.0, 1.0], [4.0, 1.0, 0.0], [-1.0, -1.0, 2.0]]
    assert aggregate(Krum(f=0), rows).tolist() == [1.0, 1.0, 1.0]


def test_of_equal_scores_the_first_wins(aggregate):
    # n=5, f=1, two neighbours. Scores of 0, 1, 2, 3, 4: 1+4, 1+1, 1+1, 1+1, 4+1. Three are equal.
    assert aggregate(Krum(f=1), [[0.0], [1.0], [2.0], [3.0], [4.0]]).tolist() == [1.0]
    assert aggregate(Krum(f=1), [[4.0], [3.0], [2.0], [1.0], [0.0]]).tolist() == [3.0]


def test_default_suspects_a_fifth_rounded_down(aggregate):
    # n=9, f=1, six neighbours. Were f=2 the five-neighbour sums would choose another row.
    for seed in range(50):
        rows = np.random.default_rng(seed).normal(size=(9, 2))
        one, two = naive_scores(rows, 1).argmin(), naive_scores(rows, 2).argmin()
        if one != two:
            break
    assert one != two
    assert aggregate(Krum(), torch.from_numpy(rows)).tolist() == rows[one].tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_a_naive_reference_on_random_rounds(aggregate, dtype):
    rng = np.random.default_rng(7)
    defects = {"unsquared": 0, "fourth power": 0, "one neighbour more": 0}
    for _ in range(250):
        n = int(rng.integers(5, 16))
        f = int(rng.integers(0, (n - 3) // 2 + 1))
        rows = torch.from_numpy(rng.normal(size=(n, int(rng.integers(1, 6))))).to(dtype)
        exact = rows.double().numpy()
        expected = naive_scores(exact, f)
        np.testing.assert_allclose(scores_of(rows, f), expected, rtol=1e-9)
        best = expected.argmin()
        assert torch.equal(aggregate(Krum(f=f), rows), rows[best])
        defects["unsquared"] += naive_scores(exact, f, power=1).argmin() != best
        defects["fourth power"] += naive_scores(exact, f, power=4).argmin() != best
        defects["one neighbour more"] += naive_scores(exact, f, extra=1).argmin() != best
    # The cases can tell the defects of public code apart from the rule.
    assert min(defects.values()) >= 20, defects


def test_distance_is_over_the_whole_vector_not_per_tensor(aggregate):
    # n=3, f=0: the nearest other. Were each coordinate a tensor, the sums of norms |dx| + |dy| would be 4 for r0-r1,
    # 3 for r0-r2 and 1+2 = 3 for r1-r2: scores 3, 3, 3, r0 first. Over the whole vector: 4+4 = 8, 9 and 1+4 = 5:
    # scores 8, 5, 5, r1 first.
    rows = [[0.0, 0.0], [2.0, 2.0], [3.0, 0.0]]
    assert aggregate(Krum(f=0), rows).tolist() == [2.0, 2.0]


def test_the_chosen_client_alone_is_recorded(new_round):
    context = new_round(5, weights=[0.6, 0.1, 0.1, 0.1, 0.1])
    Krum(f=1).aggregate(torch.tensor([[9.0], [1.0], [2.0], [3.0], [8.0]]), context)
    assert context.shares.tolist() == [0.0, 0.0, 1.0, 0.0, 0.0]


def test_the_result_is_a_copy(aggregate):
    rows = torch.tensor([[0.0], [1.0], [2.0]])
    aggregate(Krum(), rows).add_(100)
    assert rows.tolist() == [[0.0], [1.0], [2.0]]


@pytest.mark.parametrize(("n", "f"), [(1, 0), (2, 0), (4, 1), (6, 2)])
def test_too_few_clients_are_refused(aggregate, n, f):
    with pytest.raises(ValueError, match=rf"2f \+ 2 < n, got f={f} and n={n} .*at least {2 * f + 3}"):
        aggregate(Krum(f=f), torch.zeros(n, 3))


def test_negative_f_is_refused():
    with pytest.raises(ValueError, match="f=-1"):
        Krum(f=-1)


def test_scores_without_neighbours_are_refused():
    with pytest.raises(ValueError, match="n=3 clients and f=1"):
        krum_scores(torch.zeros(3, 3), f=1)
