import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsonar.measure.bsnr import crossfit, placebo, plain


def equal(clients):
    return np.full(clients, 1 / clients)


def first(affected, clients):
    return np.arange(clients) < affected


def rng(seed=0):
    return np.random.default_rng(seed)


def test_plain_in_one_dimension_by_hand():
    updates = np.array([[5.0], [1.0], [0.0], [2.0]])
    reading = plain(updates @ updates.T, np.array([0.4, 0.2, 0.2, 0.2]), first(1, 4))
    assert reading.signal == pytest.approx(0.4 * (5 - 1))
    assert reading.noise == pytest.approx(math.sqrt(1.0 * (0.16 + 3 * 0.04)))
    assert reading.power == pytest.approx(1.6**2 / 0.28)
    assert math.isnan(reading.low)
    assert reading.reason == ""


def test_plain_in_two_dimensions_by_hand():
    # Means (3, 4) and (0, 0), so u = (.6, .8); the clean projections are .6, -.6, .8, -.8 with variance 2/3.
    updates = np.array([[3.0, 4], [3, 4], [2, 5], [4, 3], [1, 0], [-1, 0], [0, 1], [0, -1]])
    reading = plain(updates @ updates.T, equal(8), first(4, 8))
    assert reading.signal == pytest.approx(0.5 * 5)
    assert reading.noise == pytest.approx(math.sqrt(2 / 3 / 8))


def test_plain_weighs_the_group_means():
    # Weighted means 0.75 * 4 + 0.25 * 0 = 3 and (2 * 1 + 1 * 4) / 3 = 2; the variance of 1 and 4 is 4.5.
    updates = np.array([[4.0], [0.0], [1.0], [4.0]])
    weights = np.array([0.3, 0.1, 0.4, 0.2])
    reading = plain(updates @ updates.T, weights, first(2, 4))
    assert reading.signal == pytest.approx(0.3 * (4 - 2) + 0.1 * (0 - 2))
    assert reading.noise == pytest.approx(math.sqrt(4.5 * (weights**2).sum()))


def test_crossfit_in_one_dimension_by_hand():
    # u is +1 whatever the split and the halves' gaps average 3; halves of the clean have variance 0 or 2, on average
    # that of all four, 4/3.
    updates = np.array([3.0, 3, 3, 3, 1, 1, -1, -1])[:, None]
    reading = crossfit(updates @ updates.T, equal(8), first(4, 8), rng(), splits=4000, resamples=200)
    assert reading.signal == pytest.approx(0.5 * 3)
    assert reading.noise**2 == pytest.approx(4 / 3 / 8, rel=0.05)
    assert 0 < reading.low < reading.ratio < reading.high


def test_crossfit_approaches_the_average_over_all_splits():
    """Against the definition in coordinates, over every way to halve."""
    updates = rng(5).normal(size=(9, 2)) + np.outer(first(4, 9), [1.0, 0.5])
    weights = rng(6).uniform(0.5, 1.5, size=9)
    weights /= weights.sum()

    def measure(a1, c1, a2, c2):
        mean = lambda group: np.average(updates[list(group)], axis=0, weights=weights[list(group)])  # noqa: E731
        u = (mean(a1) - mean(c1)) / np.linalg.norm(mean(a1) - mean(c1))
        signal = weights[:4].sum() * (mean(a2) - mean(c2)) @ u
        return signal, (updates[list(c2)] @ u).var(ddof=1) * (weights**2).sum()

    poisoned, clean = range(4), range(4, 9)
    every = []
    for a1 in combinations(poisoned, 2):
        for c1 in combinations(clean, 2):
            halves = a1, c1, set(poisoned) - set(a1), set(clean) - set(c1)
            every += [measure(*halves), measure(*halves[2:], *halves[:2])]
    signal, squared_noise = np.mean(every, axis=0)
    reading = crossfit(updates @ updates.T, weights, first(4, 9), rng(), splits=20_000, resamples=10)
    assert reading.signal == pytest.approx(signal, rel=0.02)
    assert reading.noise**2 == pytest.approx(squared_noise, rel=0.02)


def test_crossfit_is_fixed_by_its_generator():
    updates = rng().normal(size=(8, 5))
    same = [crossfit(updates @ updates.T, equal(8), first(4, 8), rng(3)) for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] != crossfit(updates @ updates.T, equal(8), first(4, 8), rng(4))


@pytest.mark.usefixtures("shapes_unchecked")  # hundreds of readings
@pytest.mark.parametrize(("affected", "clients"), [(2, 10), (5, 10), (10, 20)])
def test_crossfit_approaches_the_planted_signal_as_dimensions_shrink(affected, clients):
    share, gap = affected / clients, 6.0
    signals = []
    for dim in (2, 4000):
        readings = []
        for trial in range(30):
            updates = rng((trial, dim)).normal(size=(clients, dim))
            updates[:affected, 0] += gap
            gram, weights = updates @ updates.T, equal(clients)
            readings.append(crossfit(gram, weights, first(affected, clients), rng(trial), splits=16, resamples=2))
        signals.append(np.mean([reading.signal for reading in readings]))
    assert signals[0] == pytest.approx(share * gap, rel=0.1)
    assert 0 < signals[1] < 0.6 * share * gap


@pytest.mark.usefixtures("shapes_unchecked")  # hundreds of readings
@pytest.mark.parametrize(("clients", "dim"), [(10, 50), (10, 2000), (20, 50), (20, 2000)])
def test_null_is_covered_by_crossfit_and_overshot_by_plain(clients, dim):
    crossed, optimistic = [], []
    for trial in range(200):
        generator = rng((trial, clients, dim))
        updates = generator.normal(size=(clients, dim))
        gram, weights, group = updates @ updates.T, equal(clients), placebo(clients, generator)
        crossed.append(crossfit(gram, weights, group, generator, splits=16, resamples=100))
        optimistic.append(plain(gram, weights, group))
    signals = np.array([reading.signal for reading in crossed])
    standard_error = signals.std() / math.sqrt(len(signals))
    assert np.mean([reading.low <= 0 <= reading.high for reading in crossed]) >= 0.9
    assert abs(signals.mean()) < 3.5 * standard_error
    assert min(reading.ratio for reading in optimistic) > 2
    assert np.mean([reading.signal for reading in optimistic]) > 30 * standard_error


@pytest.mark.usefixtures("shapes_unchecked")  # hundreds of readings
@pytest.mark.parametrize(("affected", "clients"), [(2, 6), (2, 25), (3, 10), (16, 20)])
def test_null_is_covered_for_small_groups(affected, clients):
    covered = []
    for trial in range(200):
        updates = rng((trial, affected, clients)).normal(size=(clients, 200))
        gram, weights = updates @ updates.T, equal(clients)
        reading = crossfit(gram, weights, first(affected, clients), rng(trial), splits=16, resamples=100)
        covered.append(reading.low <= 0 <= reading.high)
    assert np.mean(covered) >= 0.9


def test_a_strong_signal_is_told_from_none():
    updates = rng(1).normal(size=(20, 200))
    updates[:10, 0] += 15
    reading = crossfit(updates @ updates.T, equal(20), first(10, 20), rng())
    assert 5 < reading.low < reading.ratio < reading.high


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1000),
    affected=st.integers(2, 5),
    clean=st.integers(4, 7),
    shift=st.floats(-3, 3),
    scale=st.floats(0.01, 100),
)
def test_common_shift_rotation_and_scale_change_nothing(seed, affected, clean, shift, scale):
    clients, generator = affected + clean, rng(seed)
    updates = generator.normal(size=(clients, 6))
    weights = generator.dirichlet(np.full(clients, 5.0))
    rotation = np.linalg.qr(generator.normal(size=(6, 6))).Q
    moved = scale * (updates + shift * generator.normal(size=6)) @ rotation
    for estimate in (plain, lambda *args: crossfit(*args, rng(7), splits=8, resamples=20)):
        before = estimate(updates @ updates.T, weights, first(affected, clients))
        after = estimate(moved @ moved.T, weights, first(affected, clients))
        assert after.signal == pytest.approx(scale * before.signal, rel=1e-6, abs=1e-8)
        assert after.noise == pytest.approx(scale * before.noise, rel=1e-6)
        assert after.low == pytest.approx(before.low, rel=1e-6, abs=1e-8, nan_ok=True)
        assert after.high == pytest.approx(before.high, rel=1e-6, abs=1e-8, nan_ok=True)


@pytest.mark.parametrize(("affected", "clients"), [(1, 10), (0, 10), (7, 10), (10, 10)])
def test_crossfit_refuses_groups_that_are_too_small(affected, clients):
    reading = crossfit(np.eye(clients), equal(clients), first(affected, clients), rng())
    assert math.isnan(reading.signal)
    assert math.isnan(reading.noise)
    assert reading.reason == f"needs 2 affected and 4 clean clients, got {affected} and {clients - affected}"


@pytest.mark.parametrize(("affected", "clients"), [(0, 4), (3, 4)])
def test_plain_refuses_groups_that_are_too_small(affected, clients):
    reading = plain(np.eye(clients), equal(clients), first(affected, clients))
    assert math.isnan(reading.ratio)
    assert reading.reason.startswith("needs 1 affected and 2 clean clients")


def test_smallest_groups_are_read():
    updates = rng().normal(size=(6, 3))
    assert math.isfinite(plain(updates[:3] @ updates[:3].T, equal(3), first(1, 3)).ratio)
    reading = crossfit(updates @ updates.T, equal(6), first(2, 6), rng())
    assert reading.low < reading.high


@pytest.mark.parametrize("updates", [np.zeros((8, 3)), np.full((8, 3), 0.1), np.tile([[1e6, 3.3, 1e-3]], (8, 1))])
def test_equal_updates_have_no_direction(updates):
    for estimate in (plain, lambda *args: crossfit(*args, rng())):
        reading = estimate(updates @ updates.T, equal(8), first(4, 8))
        assert math.isnan(reading.signal)
        assert "same mean" in reading.reason


def test_equal_clean_updates_have_no_noise():
    updates = np.repeat([[0.3, 0.7, 0.1], [0.1, 0.1, 0.1]], 4, axis=0)
    for estimate in (plain, lambda *args: crossfit(*args, rng())):
        reading = estimate(updates @ updates.T, equal(8), first(4, 8))
        assert reading.signal == pytest.approx(0.5 * math.sqrt(0.4))
        assert reading.noise == 0
        assert math.isnan(reading.ratio)
        assert "noise is 0" in reading.reason


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_diverged_client_is_named_as_the_reason(bad):
    gram = np.eye(8)
    gram[2, 2] = bad
    assert "diverged" in plain(gram, equal(8), first(4, 8)).reason
    assert "diverged" in crossfit(gram, equal(8), first(4, 8), rng()).reason


@pytest.mark.usefixtures("shapes_unchecked")
def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"got \(4, 4\), \(3,\) and \(4,\)"):
        plain(np.eye(4), equal(3), first(1, 4))
    with pytest.raises(ValueError, match="sum to 1, got sum 2"):
        plain(np.eye(4), np.full(4, 0.5), first(1, 4))
    with pytest.raises(ValueError, match="leave out clients that trained on nothing"):
        crossfit(np.eye(6), np.array([0.5, 0.5, 0, 0, 0, 0]), first(2, 6), rng())


def test_placebo_is_a_random_half():
    groups = [placebo(9, rng(seed)) for seed in range(40)]
    assert {int(group.sum()) for group in groups} == {4}
    assert (np.sum(groups, axis=0) > 0).all()
    np.testing.assert_array_equal(placebo(9, rng(1)), placebo(9, rng(1)))
