"""FLDetector: L-BFGS against the plain recursion, the split against scikit-learn, and whole runs."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from fedsonar.aggregate import FedAvg
from fedsonar.aggregate.fldetector import FLDetector, _spreads, hessian_product, suspects
from fedsonar.testing import check_aggregator


def bfgs_matrix(steps: np.ndarray) -> np.ndarray:
    """The BFGS recursion on full matrices, from sigma times the identity."""
    pairs = [(steps[k], steps[k + 1] - steps[k]) for k in range(len(steps) - 1)]
    s, y = pairs[-1]
    matrix = (s @ y) / (s @ s) * np.eye(len(s))
    for s, y in pairs:
        matrix = matrix - np.outer(matrix @ s, matrix @ s) / (s @ matrix @ s) + np.outer(y, y) / (y @ s)
    return matrix


def descent(rng: np.random.Generator, num_steps: int, dim: int) -> np.ndarray:
    """Steps of gradient descent on a quadratic."""
    square = rng.normal(size=(dim, dim))
    hessian = square @ square.T / dim + 0.1 * np.eye(dim)
    w, steps = rng.normal(size=dim), []
    for _ in range(num_steps):
        steps.append(-0.2 * hessian @ w)
        w = w + steps[-1]
    return np.array(steps)


def run(rule, rounds, new_round, clients=None):
    """All rounds in one state; the last context and every result."""
    state, results = {}, []
    for number, rows in enumerate(rounds):
        context = new_round(len(rows))
        context.round, context.state = number + 1, state
        context.generator = torch.Generator().manual_seed(number)
        if clients is not None:
            context.clients = clients[number]
        results.append(rule.aggregate(rows, context))
    return context, results


def federation(num_rounds: int, attackers: int, dim: int = 40, n: int = 12) -> list[torch.Tensor]:
    """Honest clients descend one quadratic to optima of their own; attackers send noise of the honest size."""
    rng = np.random.default_rng(5)
    square = rng.normal(size=(dim, dim))
    hessian = square @ square.T / dim + 0.1 * np.eye(dim)
    optima, w, rounds = rng.normal(size=(n, dim)), 5 * rng.normal(size=dim), []
    for _ in range(num_rounds):
        rows = -0.1 * (w - optima) @ hessian
        w = w + rows[attackers:].mean(axis=0)
        noise = rng.normal(size=(attackers, dim))
        rows[:attackers] = noise / np.linalg.norm(noise, axis=1)[:, None] * np.linalg.norm(rows[attackers])
        rounds.append(torch.from_numpy(rows))
    return rounds


def test_contract():
    check_aggregator(FLDetector())


@pytest.mark.parametrize(("num_steps", "dim"), [(2, 1), (2, 30), (4, 30), (11, 30), (11, 3000)])
def test_the_product_equals_the_recursion(num_steps, dim):
    steps = descent(np.random.default_rng(dim), num_steps, min(dim, 30))
    expected = bfgs_matrix(steps) @ steps[-1]
    spread = np.kron(steps, np.ones((1, dim // 30 if dim > 30 else 1)))  # each coordinate many times
    product = hessian_product(torch.from_numpy(spread)).numpy() @ spread
    np.testing.assert_allclose(product[:: max(1, dim // 30)], expected, rtol=1e-4, atol=1e-6 * np.abs(expected).max())


def test_hand_case_of_one_pair():
    # s = 2, y = 3 - 2 = 1, so B = 1/2; v = 3 gives 3/2, which is half the last step.
    product = hessian_product(torch.tensor([[2.0], [3.0]]))
    assert (product @ torch.tensor([2.0, 3.0]).double()).item() == pytest.approx(1.5)


def test_the_newest_pair_is_fitted():
    # B s = y for the newest pair: with the last step equal to the one before, B v = B s = y = 0.
    steps = descent(np.random.default_rng(0), 5, 8)
    steps = np.concatenate([steps, 2 * steps[-1:]])  # s = last, y = last, v = 2 last, so B v = 2 last
    product = hessian_product(torch.from_numpy(steps)).numpy() @ steps
    np.testing.assert_allclose(product, 2 * steps[-2], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("steps", [[[0.0], [0.0], [0.0]], [[1.0], [1.0], [1.0]], [[0.0], [1.0], [0.0]]])
def test_degenerate_steps_give_finite_products(steps):
    assert hessian_product(torch.tensor(steps)).isfinite().all()


@pytest.mark.parametrize("n", [2, 3, 10, 100])
def test_the_best_split_is_that_of_two_means(n):
    values = np.random.default_rng(n).gamma(2, size=n)
    one, two, cut = _spreads(values[None])
    means = KMeans(n_clusters=2, n_init=50, random_state=0).fit(values[:, None])
    assert two[0] == pytest.approx(np.log(max(means.inertia_, 1e-12)), abs=1e-6)
    assert one[0] == pytest.approx(np.log(values.var() * n))
    assert (values >= cut[0]).tolist() == (means.labels_ == means.labels_[values.argmax()]).tolist()


def test_hand_case_of_a_split():
    # 0, 1, 10: alone (0, 1) and 10 leave .5; (0) and (1, 10) leave 40.5. Of one group: mean 11/3, 101 - 121/3.
    one, two, cut = _spreads(np.array([[10.0, 0.0, 1.0]]))
    assert np.exp([one[0], two[0]]).tolist() == pytest.approx([101 - 121 / 3, 0.5])
    assert cut.tolist() == [10.0]


def test_the_gap_statistic_sees_two_groups_and_not_one():
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    groups = np.concatenate([rng.normal(1, 0.1, 16), rng.normal(2, 0.1, 4)])
    assert suspects(groups, generator).tolist() == [False] * 16 + [True] * 4
    assert sum(suspects(rng.normal(1, 0.1, 20), generator).any() for _ in range(100)) < 10


@pytest.mark.parametrize("scores", [[], [1.0], [0.0, 0.0], [1.0] * 9, [1.0, 1.0 + 1e-12, 1.0]])
def test_equal_scores_are_one_group(scores):
    assert not suspects(np.array(scores), torch.Generator()).any()


def test_attackers_are_dropped_when_the_window_is_full(new_round):
    rounds = federation(num_rounds=14, attackers=3)
    for num_rounds, dropped in ((6, False), (7, True), (14, True)):  # window + 1 = 6 steps are needed
        context, _ = run(FLDetector(window=5), rounds[:num_rounds], new_round)
        assert (context.shares[:3] == 0).all() == dropped
        torch.testing.assert_close(context.shares[3:], torch.full((9,), 1 / 9 if dropped else 1 / 12))


def test_without_attackers_hardly_anyone_is_dropped(new_round):
    context, _ = run(FLDetector(window=5), federation(num_rounds=9, attackers=0), new_round)
    assert (context.shares > 0).sum() >= 9


def test_example_of_the_docstring(new_round):
    rounds = [torch.tensor([[1.0]] * 4 + [[(-1.0) ** number]]) for number in range(30)]
    _, results = run(FLDetector(window=3), rounds, new_round)
    assert [result.item() for result in results[:4]] == pytest.approx([1.0, 0.6, 1.0, 0.6])
    assert [result.item() for result in results[4:]] == pytest.approx([1.0] * 26)


def test_before_the_window_is_full_it_is_the_weighted_mean(new_round):
    rounds = [torch.randn(4, 6, generator=torch.Generator().manual_seed(number)) for number in range(4)]
    state = {}
    for rows in rounds:
        context = new_round(4, weights=[0.1, 0.2, 0.3, 0.4])
        context.state = state
        result = FLDetector(window=3).aggregate(rows, context)
        torch.testing.assert_close(result, FedAvg().aggregate(rows, context))


def test_errors_are_distances_from_the_prediction_over_their_mean(new_round):
    rounds = [torch.from_numpy(np.random.default_rng(number).normal(size=(5, 7))) for number in range(4)]
    context, _ = run(FLDetector(window=2), rounds, new_round)
    steps = np.array([rows.numpy().mean(axis=0) for rows in rounds[:3]])  # float32 weights, hence the tolerance
    drift = bfgs_matrix(steps) @ steps[-1]
    errors = np.linalg.norm(rounds[3].numpy() - rounds[2].numpy() - drift, axis=1)
    found = [context.state[f"fldetector.errors.{client}"].item() for client in context.clients]
    assert found == pytest.approx((errors / errors.mean()).tolist(), rel=1e-4)


def test_a_client_that_was_away_is_not_judged_anew(new_round):
    rounds = federation(num_rounds=12, attackers=3)
    everyone = list(range(12))
    # In the last round client 20 is new, and client 0, an attacker, was away the round before.
    clients = [everyone] * 10 + [[30, *everyone[1:]], [*everyone[:11], 20]]
    context, _ = run(FLDetector(window=5), rounds, new_round, clients)
    assert "fldetector.errors.20" not in context.state
    assert context.shares[11] > 0
    assert context.shares[0] == 0  # for its earlier errors
    assert len(context.state["fldetector.errors.0"]) == 4  # rounds 7 to 10; none for the last
    assert len(context.state["fldetector.errors.5"]) == 5


def test_another_number_of_clients_each_round(new_round):
    rng = np.random.default_rng(0)
    rounds = [torch.from_numpy(rng.normal(size=(n, 6)).astype(np.float32)) for n in (5, 3, 8, 1, 6, 2, 9, 9, 4)]
    clients = [rng.choice(20, size=len(rows), replace=False).tolist() for rows in rounds]
    _, results = run(FLDetector(window=2), rounds, new_round, clients)
    assert all(result.isfinite().all() and result.dtype == torch.float32 for result in results)


@pytest.mark.parametrize("size", [0.0, 1.0, 1e149])
def test_constant_updates_are_followed(new_round, size):
    rows = torch.full((6, 3), size, dtype=torch.float64)
    _, results = run(FLDetector(window=2), [rows] * 7, new_round)
    torch.testing.assert_close(results[-1], rows[0])


def test_extreme_updates_give_finite_results(new_round):
    rng = np.random.default_rng(0)
    rounds = [torch.from_numpy(rng.normal(size=(6, 3)) * 10.0 ** rng.integers(-149, 149)) for _ in range(12)]
    _, results = run(FLDetector(window=3), rounds, new_round)
    assert all(result.isfinite().all() for result in results)


def test_the_state_holds_no_more_than_it_says(new_round):
    rounds = federation(num_rounds=20, attackers=2, dim=9)
    context, _ = run(FLDetector(window=4), rounds, new_round)
    sizes = {key: tuple(value.shape) for key, value in context.state.items() if "errors" not in key}
    assert sizes == {"fldetector.steps": (5, 9), "fldetector.previous": (12, 9), "fldetector.clients": (12,)}
    # A view would save its whole storage with the checkpoint.
    assert all(value.untyped_storage().nbytes() == value.nbytes for value in context.state.values())
    assert len(context.state["fldetector.errors.13"]) == 4


def test_the_state_is_a_copy_and_inputs_are_left_alone(new_round):
    rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    before = rows.clone()
    context = new_round(5)
    result = FLDetector().aggregate(rows, context)
    assert torch.equal(rows, before)
    kept = context.state["fldetector.steps"].clone()
    rows.zero_()
    result.zero_()
    assert torch.equal(context.state["fldetector.previous"], before)
    assert torch.equal(context.state["fldetector.steps"], kept)


def test_updates_of_another_length_are_refused(new_round):
    with pytest.raises(ValueError, match="steps of 3 coordinates, got updates of 4"):
        run(FLDetector(), [torch.ones(2, 3), torch.ones(2, 4)], new_round)


def test_a_window_of_zero_is_refused():
    with pytest.raises(ValueError, match="window >= 1 steps, got window=0"):
        FLDetector(window=0)
