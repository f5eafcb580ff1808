"""What updates are in each space, and what comes back from it."""

import pytest
import torch

from fedsonar.model import Layout, Site, random_adapter, space_of

LAYOUT = Layout((Site("first", 5, 4, 0), Site("second", 3, 6, 2 * 9)), 2, 1.5)
START = random_adapter(LAYOUT, torch.Generator().manual_seed(0))


def effective(flat):
    return torch.cat([(LAYOUT.scale * b @ a).flatten() for _, a, b in LAYOUT.factors(flat)])


def deltas(count, size=0.1):
    return size * torch.randn(count, LAYOUT.dim, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["factors", "product", "freeze-a"])
def test_matrices_fill_a_vector_in_their_order(name):
    space = space_of(name, LAYOUT)
    vector = space.vectors(START, deltas(1))[0]
    ends = [offset + rows * columns for offset, rows, columns in space.matrices]
    assert [offset for offset, _, _ in space.matrices] == [0, *ends[:-1]]
    assert ends[-1] == len(vector)


def test_factors_are_the_flat_adapter():
    space = space_of("factors", LAYOUT)
    moved = deltas(3)
    assert torch.equal(space.vectors(START, moved), moved)
    step, lost = space.step(START, moved[1])
    assert torch.equal(step, moved[1])
    assert lost is None


def test_freeze_a_sees_and_moves_b_alone():
    space = space_of("freeze-a", LAYOUT)
    moved = deltas(3)
    step, lost = space.step(START, space.vectors(START, moved)[2])
    assert lost is None
    for (_, a, b), (_, _, given) in zip(LAYOUT.factors(step), LAYOUT.factors(moved[2]), strict=True):
        assert (a == 0).all()
        assert torch.equal(b, given)


def test_with_a_frozen_the_mean_of_b_is_the_mean_of_products():
    space = space_of("freeze-a", LAYOUT)
    moved = deltas(3)
    for _, a, _ in LAYOUT.factors(moved):
        a.zero_()
    step, _ = space.step(START, space.vectors(START, moved).mean(0))
    expected = torch.stack([effective(START + delta) for delta in moved]).mean(0)
    torch.testing.assert_close(effective(START + step), expected)


def test_products_are_changes_of_the_effective_weights():
    moved = deltas(3)
    vectors = space_of("product", LAYOUT).vectors(START, moved)
    expected = torch.stack([effective(START + delta) - effective(START) for delta in moved])
    torch.testing.assert_close(vectors, expected, rtol=1e-4, atol=1e-5)


def test_a_product_of_rank_r_comes_back_whole():
    space = space_of("product", LAYOUT)
    moved = deltas(1)
    step, lost = space.step(START, space.vectors(START, moved)[0])
    assert lost == pytest.approx(0, abs=1e-5)
    torch.testing.assert_close(effective(START + step), effective(START + moved[0]))


def test_the_mean_of_products_comes_back_as_near_as_rank_r_can():
    space = space_of("product", LAYOUT)
    mean = space.vectors(START, deltas(6, size=1.0)).mean(0)
    step, lost = space.step(START, mean)
    goal = effective(START) + mean
    missed, length = 0.0, float(mean.norm())
    for offset, rows, columns in space.matrices:
        weight = goal[offset : offset + rows * columns].view(rows, columns)
        missed += float(torch.linalg.svdvals(weight)[LAYOUT.rank :].square().sum())  # Eckart and Young
    assert lost == pytest.approx(missed**0.5 / length, rel=1e-4)
    assert float((effective(START + step) - goal).norm()) == pytest.approx(missed**0.5, rel=1e-4)
    assert lost > 0.1  # the case is not trivial


def test_a_rank_above_a_layer_s_smaller_side_loses_nothing():
    layout = Layout((Site("x", 6, 3, 0), Site("y", 2, 5, 4 * 9)), 4, 1.5)
    start, goal = (random_adapter(layout, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    space = space_of("product", layout)
    step, lost = space.step(start, space.vectors(start, (goal - start)[None])[0])
    assert lost == 0
    for (_, a, b), (_, wanted_a, wanted_b) in zip(layout.factors(start + step), layout.factors(goal), strict=True):
        torch.testing.assert_close(b @ a, wanted_b @ wanted_a)


def test_training_can_go_on_from_a_product_of_zero():
    space = space_of("product", LAYOUT)
    fresh = START.clone()
    for _, _, b in LAYOUT.factors(fresh):
        b.zero_()
    step, lost = space.step(fresh, torch.zeros(4 * 5 + 6 * 3))
    assert lost == 0
    for _, a, b in LAYOUT.factors(fresh + step):
        assert (b == 0).all()
        torch.testing.assert_close(a.norm(dim=1), torch.ones(2))
