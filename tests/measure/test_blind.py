"""The blind gauge stays at the edge for noise, and rises with what some clients share."""

import math

import numpy as np
import pytest

from fedsonar.measure import blind


def round_of(seed, clients, dim, shared=0, gap=0.0):
    updates = np.random.default_rng(seed).normal(size=(clients, dim)) + 2.0
    updates[:shared, 0] += gap
    return updates @ updates.T


@pytest.mark.usefixtures("shapes_unchecked")  # hundreds of readings
@pytest.mark.parametrize(("clients", "dim"), [(8, 200), (20, 400), (20, 20_000), (60, 1000)])
def test_noise_rarely_passes_the_limit_and_lies_about_the_edge(clients, dim):
    readings = [blind(round_of(seed, clients, dim)) for seed in range(100)]
    assert np.mean([reading.eigenvalue > reading.limit for reading in readings]) <= 0.1
    assert 0.85 < np.mean([reading.ratio for reading in readings]) < 1.02


@pytest.mark.usefixtures("shapes_unchecked")
@pytest.mark.parametrize(
    ("clients", "dim"), [(5, 50), (5, 5000), (6, 20), (10, 20), (10, 1000), (10, 5000), (25, 200), (60, 300)]
)
def test_noise_passes_the_limit_in_5_of_100_rounds(clients, dim):
    readings = [blind(round_of(seed, clients, dim)) for seed in range(400)]
    assert 0.025 <= np.mean([reading.eigenvalue > reading.limit for reading in readings]) <= 0.08


def test_what_some_clients_share_is_heard():
    heard = blind(round_of(0, 20, 400, shared=8, gap=15.0))
    assert heard.eigenvalue > heard.limit
    assert heard.ratio > 1.5


def test_lengths_and_a_common_part_count_for_nothing():
    updates = np.random.default_rng(1).normal(size=(10, 300))
    plain = blind(updates @ updates.T)
    moved = updates + 5.0
    assert blind(moved @ moved.T).eigenvalue == pytest.approx(plain.eigenvalue)
    assert blind(9 * updates @ updates.T).ratio == pytest.approx(plain.ratio)


def test_why_there_is_no_reading():
    assert blind(np.eye(4)).reason == "needs 5 clients, got 4"
    assert math.isnan(blind(np.eye(4)).ratio)
    assert "diverged" in blind(np.diag([1.0, 1, 1, 1, math.nan])).reason
    assert "equals the mean" in blind(np.ones((6, 6))).reason
    assert "all alike" in blind(np.eye(6)).reason  # it divided by zero
    assert "one direction" in blind(np.outer([1.0, 2, 3, 4, 5, 7], [1.0, 2, 3, 4, 5, 7])).reason
