import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsonar.measure.bsnr import crossfit, placebo, plain, twin


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
    # Products of different clients: 15 among the affected, -4/12 among the clean, 0 between them. Along the one
    # direction there is, the clean ones spread as they are: 1, 1, -1 and -1 have a variance of 4/3.
    updates = np.array([3.0, 5, 1, 1, -1, -1])[:, None]
    reading = crossfit(updates @ updates.T, equal(6), first(2, 6), rng())
    assert reading.signal == pytest.approx(2 / 6 * math.sqrt(15 - 4 / 12))
    assert reading.noise**2 == pytest.approx(4 / 3 / 6)
    assert reading.low < reading.ratio < reading.high


def test_crossfit_equals_its_definition_in_coordinates():
    updates = rng(5).normal(size=(9, 3)) + np.outer(first(4, 9), [1.0, 0.5, 0])
    weights = rng(6).uniform(0.5, 1.5, size=9)
    weights /= weights.sum()

    def mean(group):
        return np.average(updates[list(group)], axis=0, weights=weights[list(group)])

    def noise(group):
        own = weights[list(group)] / weights[list(group)].sum()
        return (own**2).sum() * updates[list(group)].var(axis=0, ddof=1).sum()

    poisoned, clean = set(range(4)), set(range(4, 9))
    squared = ((mean(poisoned) - mean(clean)) ** 2).sum() - noise(poisoned) - noise(clean)
    spreads = []
    for i, j in combinations(clean, 2):
        gap = mean(poisoned) - mean(clean - {i, j})
        spreads.append(((updates[i] - updates[j]) @ gap / np.linalg.norm(gap)) ** 2 / 2)
    reading = crossfit(updates @ updates.T, weights, first(4, 9), rng())
    assert reading.signal == pytest.approx(weights[:4].sum() * np.sign(squared) * math.sqrt(abs(squared)))
    assert reading.noise**2 == pytest.approx(np.mean(spreads) * (weights**2).sum())


def test_twin_equals_its_definition_in_coordinates():
    generator, weights = rng(2), rng(6).dirichlet(np.full(7, 9.0))
    clean = generator.normal(size=(7, 4))
    changes = generator.normal(loc=[2, 0, 0, 1], size=(3, 4))
    updates = clean.copy()
    updates[[1, 4, 5]] += changes
    vectors = np.concatenate([updates, clean[[1, 4, 5]]])
    shares = weights[[1, 4, 5]]

    def mean(without):
        kept = [k for k in range(3) if k not in without]
        return np.average(changes[kept], axis=0, weights=shares[kept])

    squared = (mean(()) ** 2).sum() - ((shares / shares.sum()) ** 2).sum() * changes.var(axis=0, ddof=1).sum()
    place = {1: 0, 4: 1, 5: 2}
    spreads = []
    for i, j in combinations(range(7), 2):
        gap = mean({place.get(i), place.get(j)})
        spreads.append(((clean[i] - clean[j]) @ gap / np.linalg.norm(gap)) ** 2 / 2)
    affected = np.isin(np.arange(7), [1, 4, 5])
    reading = twin(vectors @ vectors.T, weights, affected, rng())
    assert reading.signal == pytest.approx(shares.sum() * np.sign(squared) * math.sqrt(abs(squared)))
    assert reading.noise**2 == pytest.approx(np.mean(spreads) * (weights**2).sum())
    assert math.isnan(reading.low)
    assert reading.reason == "an interval needs 4 affected clients"


def test_twins_read_a_federation_without_clean_clients():
    clean = rng(3).normal(size=(12, 500))
    updates = clean + 4 * np.eye(500)[0] + 0.1 * rng(4).normal(size=(12, 500))
    vectors = np.concatenate([updates, clean])
    reading = twin(vectors @ vectors.T, equal(12), np.ones(12, dtype=bool), rng())
    assert reading.signal == pytest.approx(4, rel=0.02)
    assert reading.noise == pytest.approx(math.sqrt(1 / 12), rel=0.4)
    assert reading.low < 4 * math.sqrt(12) < reading.high


def test_twins_that_equal_their_clients_have_no_direction():
    updates = rng().normal(size=(6, 20))
    vectors = np.concatenate([updates, updates[:3]])
    assert "same mean" in twin(vectors @ vectors.T, equal(6), first(3, 6), rng()).reason


def test_readings_are_fixed_by_their_generator():
    updates = rng().normal(size=(8, 5))
    same = [crossfit(updates @ updates.T, equal(8), first(4, 8), rng(3)) for _ in range(2)]
    assert same[0] == same[1]
    assert same[0] != crossfit(updates @ updates.T, equal(8), first(4, 8), rng(4))


@pytest.mark.usefixtures("shapes_unchecked")  # hundreds of readings
@pytest.mark.parametrize("gap", [0, 4, 30])
@pytest.mark.parametrize(("affected", "clients", "dim"), [(2, 10, 100), (5, 10, 4000), (10, 20, 200), (16, 20, 1000)])
def test_signals_are_right_on_average_and_intervals_as_often_as_they_say(affected, clients, dim, gap):
    readings = {"crossfit": [], "twin": []}
    group, weights = first(affected, clients), equal(clients)
    for trial in range(200):
        generator = rng((trial, affected, clients, gap))
        clean = generator.normal(size=(clients, dim)) + 0.7  # what all clients have in common counts for nothing
        updates = clean.copy()
        updates[:affected] += 0.3 * generator.normal(size=(affected, dim))
        updates[:affected, 0] += gap
        vectors = np.concatenate([updates, clean[:affected]])
        gram = vectors @ vectors.T
        readings["crossfit"].append(crossfit(gram[:clients, :clients], weights, group, rng(trial)))
        readings["twin"].append(twin(gram, weights, group, rng(trial)))
    truth = affected / clients * gap / math.sqrt(1 / clients)
    for name, read in readings.items():
        squares = np.array([reading.signal * abs(reading.signal) for reading in read])
        assert abs(squares.mean() - (affected / clients * gap) ** 2) < 4 * squares.std() / math.sqrt(len(read)) + 1e-9
        if name == "crossfit" or affected >= 4:
            assert 0.9 <= np.mean([reading.low <= truth <= reading.high for reading in read]) <= 0.995
        assert np.mean([reading.noise**2 for reading in read]) == pytest.approx(1 / clients, rel=0.15)


@pytest.mark.usefixtures("shapes_unchecked")  # hundreds of readings
@pytest.mark.parametrize(("clients", "dim"), [(10, 50), (10, 2000), (20, 50), (20, 2000)])
def test_plain_reads_a_signal_where_there_is_none(clients, dim):
    optimistic = []
    for trial in range(50):
        generator = rng((trial, clients, dim))
        updates = generator.normal(size=(clients, dim))
        optimistic.append(plain(updates @ updates.T, equal(clients), placebo(clients, generator)))
    assert min(reading.ratio for reading in optimistic) > 2


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
    for estimate in (plain, lambda *args: crossfit(*args, rng(7), resamples=20)):
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


@pytest.mark.parametrize("affected", [0, 1])
def test_twin_refuses_groups_that_are_too_small(affected):
    reading = twin(np.eye(10 + affected), equal(10), first(affected, 10), rng())
    assert reading.reason == f"needs 2 affected and 0 clean clients, got {affected} and {10 - affected}"


@pytest.mark.usefixtures("shapes_unchecked")
def test_twins_must_be_as_many_as_affected_clients():
    with pytest.raises(ValueError, match=r"must hold 8 clients and 3 twins, got shape \(10, 10\)"):
        twin(np.eye(10), equal(8), first(3, 8), rng())
