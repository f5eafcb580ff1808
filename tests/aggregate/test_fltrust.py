"""FLTrust: hand cases, a naive reference, and what happens without trust or root."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate.fltrust import FLTrust
from fedsonar.testing import check_aggregator


def naive(rows: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Client by client."""
    total, step = 0.0, np.zeros_like(root)
    for row in rows:
        trust = max(0.0, row @ root / np.linalg.norm(row) / np.linalg.norm(root))
        total += trust
        step += trust * np.linalg.norm(root) / np.linalg.norm(row) * row
    return step / total


def with_root(context, root):
    context.root = torch.tensor(root) if isinstance(root, list) else root
    return context


def test_keeps_the_contract_with_a_root():
    check_aggregator(FLTrust())


def test_hand_case(new_round):
    # Trusts 1, .8 and 0 (cosine -.7); at the root's norm 2: [0, 2] and [1.2, 1.6].
    context = with_root(new_round(3), [0.0, 2.0])
    result = FLTrust().aggregate(torch.tensor([[0.0, 5.0], [3.0, 4.0], [1.0, -1.0]]), context)
    torch.testing.assert_close(result, torch.tensor([0.96 / 1.8, 3.28 / 1.8]))
    assert context.shares.tolist() == pytest.approx([1 / 1.8, 0.8 / 1.8, 0.0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [2, 4500])
def test_equals_a_naive_reference(new_round, dtype, dim):
    rng = np.random.default_rng(6)
    root = torch.from_numpy(rng.normal(size=dim)).to(dtype)
    rows = torch.from_numpy(rng.normal(size=(9, dim)) * rng.uniform(0.01, 100, size=(9, 1))).to(dtype)
    result = FLTrust().aggregate(rows, with_root(new_round(9), root))
    assert result.dtype == dtype
    expected = naive(rows.double().numpy(), root.double().numpy())
    np.testing.assert_allclose(result, expected, rtol=1e-5 if dtype == torch.float32 else 1e-9, atol=1e-9)


def test_the_norms_of_updates_do_not_count(new_round):
    rows, root = torch.tensor([[0.0, 5.0], [3.0, 4.0]]), [1.0, 2.0]
    scaled = rows * torch.tensor([[1e-20], [1e20]])
    expected = FLTrust().aggregate(rows, with_root(new_round(2), root))
    torch.testing.assert_close(FLTrust().aggregate(scaled, with_root(new_round(2), root)), expected)
    assert expected.norm() <= 5**0.5


@pytest.mark.parametrize("rows", [[[-1.0, 0.0], [0.0, -3.0]], [[0.0, 0.0], [0.0, 0.0]], [[2.0, -2.0], [-5.0, 5.0]]])
def test_without_any_trust_the_step_is_zero(new_round, rows):
    context = with_root(new_round(2), [1.0, 1.0])
    assert FLTrust().aggregate(torch.tensor(rows), context).tolist() == [0.0, 0.0]
    assert context.shares.tolist() == [0.0, 0.0]


def test_a_zero_root_trusts_nobody(new_round):
    assert FLTrust().aggregate(torch.eye(2), with_root(new_round(2), [0.0, 0.0])).tolist() == [0.0, 0.0]


def test_a_zero_update_among_others_is_left_out(new_round):
    context = with_root(new_round(2), [2.0, 0.0])
    assert FLTrust().aggregate(torch.tensor([[0.0, 0.0], [7.0, 0.0]]), context).tolist() == [2.0, 0.0]
    assert context.shares.tolist() == [0.0, 1.0]


def test_vanishing_updates_make_nothing_infinite(new_round):
    rows = torch.tensor([[1e-160, 0.0], [1e-140, 0.0]], dtype=torch.float64)
    root = torch.tensor([1e149, 0.0], dtype=torch.float64)
    assert FLTrust().aggregate(rows, with_root(new_round(2), root)).tolist() == [pytest.approx(1e149), 0.0]


def test_a_missing_root_is_refused_with_the_remedy(new_round):
    with pytest.raises(
        ValueError, match=r"trained on root_rows=50 clean rows, got none: give it as the context's root"
    ):
        FLTrust(root_rows=50).aggregate(torch.eye(2), new_round(2))


@pytest.mark.usefixtures("shapes_unchecked")
def test_a_root_of_another_length_is_refused(new_round):
    with pytest.raises(ValueError, match=r"a root of 2 coordinates, as the updates have, got shape \(3,\)"):
        FLTrust().aggregate(torch.eye(2), with_root(new_round(2), [1.0, 2.0, 3.0]))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_root_that_is_not_finite_is_refused(new_round, bad):
    with pytest.raises(ValueError, match="finite root"):
        FLTrust().aggregate(torch.eye(2), with_root(new_round(2), [1.0, bad]))


def test_inputs_are_left_alone(new_round):
    rows, root = torch.tensor([[1.0, 2.0], [3.0, 4.0]], dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    FLTrust().aggregate(rows, with_root(new_round(2), root))
    assert rows.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert root.tolist() == [1.0, 1.0]


def test_root_rows_are_a_parameter():
    assert FLTrust().root_rows == 100
    with pytest.raises(ValueError, match="root_rows >= 1 clean rows at the server, got root_rows=0"):
        FLTrust(root_rows=0)
