"""Our rules against ByzFL 0.0.11, where the conventions agree or can be made to."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate import FedAvg, Krum, Median, MultiKrum, TrimmedMean
from fedsonar.aggregate.bucketing import Bucketing
from fedsonar.aggregate.centered_clipping import CenteredClipping
from fedsonar.aggregate.clipping import Clipping
from fedsonar.aggregate.geometric_median import GeometricMedian
from fedsonar.aggregate.nnm import NNM
from fedsonar.bench.aggregation_peers import INSTALL, import_byzfl, missing

if "ByzFL" in missing():
    pytest.skip(f"ByzFL is not installed: {INSTALL['ByzFL']}", allow_module_level=True)
byzfl = import_byzfl()

SIZES = [(5, 1, 3), (9, 2, 1), (11, 2, 40), (20, 4, 300), (31, 6, 7)]  # clients, suspected, coordinates


@pytest.fixture(params=SIZES, ids=lambda size: "n{}-f{}-d{}".format(*size))
def case(request):
    """Ten random rounds of one size, and f; the first f updates are far away."""
    n, f, dim = request.param
    rng = np.random.default_rng(n)
    rounds = rng.normal(size=(10, n, dim)) + rng.normal(size=dim)
    rounds[:, :f] *= 10
    return rounds, f


def assert_equal(aggregate, ours, theirs, rounds, **tolerance):
    for rows in rounds:
        result = aggregate(ours, torch.from_numpy(rows))
        # They may edit their input (Clipping does).
        np.testing.assert_allclose(result.numpy(), theirs(rows.copy()), **({"rtol": 1e-9, "atol": 1e-12} | tolerance))


def prepared(step, rows, context):
    mixed, parts = step.prepare(torch.from_numpy(rows), context)
    # The mixing matrix must say what was done.
    np.testing.assert_allclose(parts.sum(dim=1).numpy(), 1, rtol=1e-12)
    return mixed.numpy(), parts.numpy()


def test_mean(aggregate, case):
    rounds, _ = case
    assert_equal(aggregate, FedAvg(), byzfl.Average(), rounds, rtol=1e-6, atol=1e-6)  # the weights are float32


def test_median(aggregate, case):
    rounds, _ = case
    assert_equal(aggregate, Median(), byzfl.Median(), rounds)


def test_trimmed_mean(aggregate, case):
    # They count the values dropped at each end, we take their part of the clients.
    rounds, f = case
    assert_equal(aggregate, TrimmedMean(beta=f / rounds.shape[1]), byzfl.TrMean(f=f), rounds)


def test_krum_with_one_suspect_less(aggregate, case):
    # They sum over the n - f - 1 nearest others, one more than the paper's n - f - 2.
    rounds, f = case
    assert_equal(aggregate, Krum(f=f - 1), byzfl.Krum(f=f), rounds)


def test_krum_with_as_many_suspects_differs(aggregate):
    # What the test above makes up for is not void: with the same f some rounds have another winner.
    rounds = np.random.default_rng(0).normal(size=(50, 9, 3))
    theirs = byzfl.Krum(f=2)
    different = [not np.allclose(aggregate(Krum(f=2), torch.from_numpy(rows)), theirs(rows)) for rows in rounds]
    assert 0 < sum(different) < 50


def test_multi_krum_with_one_suspect_less(aggregate, case):
    rounds, f = case
    n = rounds.shape[1]
    assert_equal(aggregate, MultiKrum(f=f - 1, m=n - f), byzfl.MultiKrum(f=f), rounds)


def test_geometric_median(aggregate, case):
    # They start from zero and we from the mean; both meet at the minimum of the same smoothed sum of distances.
    rounds, _ = case
    ours = GeometricMedian(steps=3000, eps=0.1, ftol=0)
    assert_equal(aggregate, ours, byzfl.GeometricMedian(nu=0.1, T=3000), rounds[:2], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("steps", "tau"), [(1, 100.0), (1, 0.5), (5, 3.0)])
def test_centered_clipping_in_the_first_round(aggregate, case, steps, tau):
    rounds, _ = case
    for rows in rounds:
        # Anew each time: they keep the centre in the object.
        assert_equal(aggregate, CenteredClipping(L=steps, tau=tau), byzfl.CenteredClipping(L=steps, tau=tau), [rows])


def test_centered_clipping_over_rounds(new_round, case):
    rounds, _ = case
    theirs, state = byzfl.CenteredClipping(L=2, tau=2.0), {}
    for rows in rounds:
        context = new_round(len(rows))
        context.state = state
        result = CenteredClipping(L=2, tau=2.0).aggregate(torch.from_numpy(rows), context)
        np.testing.assert_allclose(result.numpy(), theirs(rows), rtol=1e-9, atol=1e-12)


def test_nearest_neighbour_mixing(new_round, case):
    rounds, f = case
    for rows in rounds:
        mixed, parts = prepared(NNM(f=f), rows, new_round(len(rows)))
        np.testing.assert_allclose(mixed, byzfl.NNM(f=f)(rows), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(mixed, parts @ rows, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("s", [2, 3, 5])
def test_bucketing_in_the_same_order(monkeypatch, new_round, case, s):
    # They shuffle by NumPy's global state: here it deals in our order, the generator's first permutation.
    rounds, _ = case
    for seed, rows in enumerate(rounds):
        context = new_round(len(rows))
        context.generator.manual_seed(seed)
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed)).numpy()
        with monkeypatch.context() as patch:
            patch.setattr(np.random, "permutation", lambda vectors, order=order: vectors[order])
            expected = byzfl.Bucketing(s=s)(rows)
        mixed, parts = prepared(Bucketing(s=s), rows, context)
        np.testing.assert_allclose(mixed, expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(parts @ rows, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("c", [0.1, 2.0, 1e6])
def test_clipping(new_round, case, c):
    rounds, _ = case
    for rows in rounds:
        clipped, _ = prepared(Clipping(c=c), rows, new_round(len(rows)))
        np.testing.assert_allclose(clipped, byzfl.Clipping(c=c)(rows.copy()), rtol=1e-9, atol=1e-12)


def test_a_chain(new_round, case):
    # Mixing, then a rule, as their papers recommend.
    rounds, f = case
    for rows in rounds:
        mixed, _ = prepared(NNM(f=f), rows, new_round(len(rows)))
        result = TrimmedMean(beta=f / len(rows)).aggregate(torch.from_numpy(mixed), new_round(len(rows)))
        np.testing.assert_allclose(result.numpy(), byzfl.TrMean(f=f)(byzfl.NNM(f=f)(rows)), rtol=1e-9, atol=1e-12)
