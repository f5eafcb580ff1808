"""FoolsGold: hand cases, a naive reference over rounds, histories by client, and no division by zero."""

import math

import numpy as np
import pytest
import torch

from fedsonar.aggregate.foolsgold import FoolsGold, foolsgold_weights
from fedsonar.testing import check_aggregator


def naive_weights(histories: np.ndarray) -> np.ndarray:
    """Algorithm 1 in loops; the last line is what public code leaves to NumPy's infinities."""
    n = len(histories)
    cosines = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            lengths = np.linalg.norm(histories[i]) * np.linalg.norm(histories[j])
            if i != j and lengths > 0:
                cosines[i, j] = histories[i] @ histories[j] / lengths
    largest = [max(row.max(), 0) for row in cosines]
    alphas = []
    for i in range(n):
        pardoned = [cosines[i, j] * (largest[i] / largest[j] if largest[j] > largest[i] else 1) for j in range(n)]
        alphas.append(1 - max(pardoned))
    alphas = [min(alpha / max(alphas), 0.99) for alpha in alphas]
    return np.array([0 if a <= 0 else min(max(math.log(a / (1 - a)) + 0.5, 0), 1) for a in alphas])


def test_keeps_the_contract():
    check_aggregator(FoolsGold())


def test_hand_case_of_two_sybils(aggregate):
    # Cosines 1, 0 and 0: alpha is 0, 0 and 1. The third is capped at .99, and ln(.99 / .01) + .5 = 5.1 clips to 1.
    assert aggregate(FoolsGold(), [[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 0.0]]).tolist() == [0.0, 1.0, 0.0]


def test_hand_case_of_the_logit():
    # Largest cosines .5, .5 and 0; nobody to pardon but the third, at 0. alpha = .5, .5 and 1: ln(1) + .5 = .5.
    cosines = torch.tensor([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    assert foolsgold_weights(cosines).tolist() == [0.5, 0.5, 1.0]


def test_hand_case_of_pardoning():
    # Largest cosines .9, .9 and .6. The third resembles the first, which resembles the second still more, so its
    # cosine is pardoned: .6 * .6 / .9 = .4, alpha .6; the others have alpha .1. Rescaled: 1/6, 1/6 and 1.
    # ln((1/6) / (5/6)) + .5 = -1.1 clips to 0. Without pardoning alpha .4 gives 1/4: ln(1/3) + .5 = -.6, 0 as well.
    cosines = torch.tensor([[1.0, 0.9, 0.6], [0.9, 1.0, 0.1], [0.6, 0.1, 1.0]], dtype=torch.float64)
    assert foolsgold_weights(cosines).tolist() == [0.0, 0.0, 1.0]
    # A fourth at cosine .2 to the third alone, pardoned to .2 * .2 / .6 = .0667: alpha .9333. Now the third's .6 is
    # .6429 of the most: ln(.6429 / .3571) + .5 = 1.09, 1. Without pardoning it would be .4 / .8 = .5: .5.
    cosines = torch.block_diag(cosines, torch.ones(1, 1, dtype=torch.float64))
    cosines[2, 3] = cosines[3, 2] = 0.2
    assert foolsgold_weights(cosines).tolist() == [0.0, 0.0, 1.0, 1.0]


def test_clients_that_point_apart_are_averaged(aggregate):
    # All cosines are negative, which counts as 0: all alphas are 1.
    rows = torch.tensor([[1.0, 0.0], [-0.5, 0.75], [-0.5, -0.75]])
    torch.testing.assert_close(aggregate(FoolsGold(), rows), rows.mean(dim=0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_a_naive_reference_with_other_clients_each_round(new_round, dtype):
    rng = np.random.default_rng(0)
    state, histories = {}, {}
    partial = 0
    for _ in range(30):
        clients = rng.permutation(12)[: rng.integers(2, 9)].tolist()
        directions = rng.normal(size=(3, 6))[rng.integers(0, 3, size=len(clients))]
        rows = torch.from_numpy(directions + rng.normal(size=(len(clients), 6))).to(dtype)
        context = new_round(len(clients))
        context.clients, context.state = clients, state
        result = FoolsGold().aggregate(rows, context)
        exact = rows.double().numpy()
        for client, row in zip(clients, exact, strict=True):
            histories[client] = histories.get(client, 0) + row
        weights = naive_weights(np.array([histories[client] for client in clients]))
        partial += ((weights > 0) & (weights < 1)).sum()
        tolerance = 1e-4 if dtype == torch.float32 else 1e-9
        np.testing.assert_allclose(context.shares, weights / weights.sum(), atol=max(tolerance, 1e-6))
        np.testing.assert_allclose(result, weights @ exact / weights.sum(), atol=tolerance)
    assert partial >= 10  # the cases are not all 0 or 1


def test_the_history_counts_not_the_round_alone(new_round):
    # In round 2 clients 10 and 11 point apart, but their sums [2, 1] and [2, -1] have cosine .6, which 12 has not.
    context = new_round(3)
    FoolsGold().aggregate(torch.tensor([[2.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), context)
    assert context.shares.tolist() == [0.0, 0.0, 1.0]
    FoolsGold().aggregate(torch.tensor([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]]), context)
    alone = math.log(0.4 / 0.6) + 0.5  # alpha .4 of at most 1
    assert context.shares.tolist() == pytest.approx([alone / (1 + 2 * alone)] * 2 + [1 / (1 + 2 * alone)])
    assert context.state["foolsgold.history.11"].tolist() == [2.0, -1.0, 0.0]


def test_a_checkpoints_history_is_replaced_not_changed(new_round):
    context, rows = new_round(2), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    FoolsGold().aggregate(rows, context)
    kept = context.state["foolsgold.history.10"]
    FoolsGold().aggregate(rows, context)
    assert kept.tolist() == [1.0, 0.0]
    assert context.state["foolsgold.history.10"].tolist() == [2.0, 0.0]
    assert rows.tolist() == [[1.0, 0.0], [0.0, 1.0]]


@pytest.mark.parametrize("dim", [3, 5000])
def test_when_all_point_the_same_way_the_step_is_zero(new_round, dim):
    # Public code divides by the largest alpha, 0 here, and gives NaN; or rounding, of 1e-16, gives weights at random.
    direction = torch.from_numpy(np.random.default_rng(1).normal(size=dim)).float()
    context = new_round(4)
    rows = torch.tensor([[1.0], [3.0], [0.7], [11.0]]) * direction
    assert not FoolsGold().aggregate(rows, context).any()
    assert context.shares.tolist() == [0.0] * 4


def test_zero_updates_resemble_nobody(new_round):
    context = new_round(3)
    result = FoolsGold().aggregate(torch.tensor([[0.0, 0.0], [0.0, 0.0], [3.0, 3.0]]), context)
    torch.testing.assert_close(result, torch.tensor([1.0, 1.0]))


def test_huge_updates_do_not_make_a_history_infinite(new_round):
    context, rows = new_round(3), torch.tensor([[3e38, 3e38], [-3e38, 3e38], [1.0, 1.0]])
    for _ in range(3):
        assert FoolsGold().aggregate(rows, context).isfinite().all()
    assert all(history.isfinite().all() for history in context.state.values())


def test_half_precision_histories_are_kept_in_single():
    # In float16, 2048 + 1 is 2048.
    from fedsonar.aggregate import RoundContext

    context = RoundContext(round=1, clients=[5], weights=torch.ones(1))
    FoolsGold().aggregate(torch.full((1, 2), 2048.0, dtype=torch.float16), context)
    assert FoolsGold().aggregate(torch.ones(1, 2, dtype=torch.float16), context).dtype == torch.float16
    assert context.state["foolsgold.history.5"].tolist() == [2049.0, 2049.0]


def test_updates_of_another_length_are_refused_and_nothing_is_remembered(new_round):
    context = new_round(2)
    FoolsGold().aggregate(torch.eye(2), context)
    before = {key: history.clone() for key, history in context.state.items()}
    with pytest.raises(ValueError, match="2 coordinates of client 10, got updates of 3"):
        FoolsGold().aggregate(torch.ones(2, 3), context)
    assert all(torch.equal(before[key], history) for key, history in context.state.items())
