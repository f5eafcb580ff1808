"""Distances in float32 are within their bounds, and whoever uses them gets what exact ones would give."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate import krum, rough_distances
from fedsonar.aggregate.distances import squared_distances, squared_distances_from
from fedsonar.aggregate.krum import krum_scores, lowest_scores
from fedsonar.aggregate.rough_distances import worth_a_rough_look


def normal(n, dim, seed=0):
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))


def cases():
    rows = normal(12, 3000)
    far = rows.clone()
    far[3] = 1e9
    return {
        "normal": rows,
        "one strip": normal(5, 7),
        "half": rows.to(torch.float16),
        "bfloat16": rows.to(torch.bfloat16),
        "far from zero": 1000 + 1e-3 * rows,
        "one far away": far,
        "all of one sign": rows.abs(),
        "constant": torch.full((6, 2000), 0.1) * torch.arange(1, 7)[:, None],
        "tiny": 1e-22 * rows,
        "next to nothing": 1e-40 * rows,
        "twins": rows[torch.tensor([0, 0, 1, 1, 2, 2, 3])],
        "zero": torch.zeros(5, 2000),
    }


@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("threads", [1, 3])
def test_bounds_hold(name, threads):
    rows = cases()[name]
    torch.set_num_threads(threads)
    try:
        squared, error = rough_distances.rough_distances(rows)
    finally:
        torch.set_num_threads(1)
    wide = rows.double()
    exact = (wide[:, None] - wide[None]).square().sum(dim=2)
    assert ((squared - exact).abs() <= error).all()
    assert torch.equal(squared, squared.T)


def test_bounds_are_narrow_where_nothing_is_special():
    rows = normal(12, 3000)
    squared, error = rough_distances.rough_distances(rows)
    apart = ~torch.eye(12, dtype=torch.bool)
    assert (error[apart] < 2e-4 * squared[apart]).all()


@pytest.mark.parametrize("threads", [1, 3])
def test_an_overflow_is_not_finite(threads):
    rows = 3e38 * normal(5, 3000).sign()
    torch.set_num_threads(threads)
    try:
        squared, _ = rough_distances.rough_distances(rows)
    finally:
        torch.set_num_threads(1)
    assert not squared.isfinite().all()


def test_small_and_exact_rounds_are_not_worth_it():
    assert not worth_a_rough_look(torch.zeros(10, 1000))
    assert not worth_a_rough_look(torch.zeros(1000, 3000, dtype=torch.float64))
    assert worth_a_rough_look(torch.zeros(1000, 3000))
    assert worth_a_rough_look(torch.zeros(1000, 3000, dtype=torch.bfloat16))


@pytest.mark.parametrize("few", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("name", [*cases(), "overflow", "random ties"])
def test_the_lowest_scores_are_those_of_exact_distances(monkeypatch, new_round, name, few):
    monkeypatch.setattr(rough_distances, "_LEAST", 0)
    monkeypatch.setattr(krum, "_FEW", few)
    made = cases() | {"overflow": 3e38 * normal(9, 300).sign(), "random ties": normal(12, 2).round()}
    rows = made[name]
    f = (len(rows) - 3) // 2
    exact = krum_scores(squared_distances(rows), f).sort(stable=True).indices
    for count in range(1, len(rows) + 1):
        found = lowest_scores(rows, new_round(len(rows)), f, count)
        assert set(found.tolist()) == set(exact[:count].tolist())


def test_a_rough_look_alone_decides_clear_cases(monkeypatch, new_round):
    monkeypatch.setattr(rough_distances, "_LEAST", 0)
    monkeypatch.setattr(krum, "squared_distances", None)  # would fail if it were called
    rows = normal(20, 5000) * torch.linspace(1, 3, 20)[torch.randperm(20)][:, None]
    for count in (1, 5, 19):
        scores = np.array([sorted((rows - row).double().square().sum(dim=1).tolist())[1:15] for row in rows]).sum(
            axis=1
        )
        found = lowest_scores(rows, new_round(20), 4, count)
        assert set(found.tolist()) == set(scores.argsort()[:count].tolist())


@pytest.mark.parametrize("seed", range(3))
def test_where_clients_are_all_alike_exact_distances_of_the_undecided_are_enough(monkeypatch, new_round, seed):
    monkeypatch.setattr(krum, "squared_distances", None)  # would fail if it were called
    rows = normal(300, 8000, seed)
    expected = krum_scores(squared_distances(rows), 60).sort(stable=True).indices
    asked = []

    def count_and_measure(updates, some):
        asked.append(len(some))
        return squared_distances_from(updates, some)

    monkeypatch.setattr(krum, "squared_distances_from", count_and_measure)
    counts = range(1, 300, 2)
    for count in counts:
        assert set(lowest_scores(rows, new_round(300), 60, count).tolist()) == set(expected[:count].tolist())
    assert len(asked) == len(counts)
    assert 0 < max(asked) <= 30


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("client", range(9))
def test_updates_that_are_not_finite_are_refused(monkeypatch, new_round, value, client):
    monkeypatch.setattr(rough_distances, "_LEAST", 0)
    rows = normal(9, 700)
    rows[client, 600] = value
    for count in (1, 5, 8):
        with pytest.raises(ValueError, match=f"client {10 + client} is not finite"):
            lowest_scores(rows, new_round(9), 2, count)
