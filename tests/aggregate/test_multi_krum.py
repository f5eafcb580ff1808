"""MultiKrum: the mean of the lowest Krum scores, and nothing but the scores decides."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate import Krum, MultiKrum

ROWS = [[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [10.0, 10.0]]  # scores with f=1: 5, 5, 9, 13, 313


@pytest.mark.parametrize(
    ("m", "expected"),
    [
        (1, [0.0, 0.0]),  # of the equal scores the first
        (2, [0.5, 0.0]),  # (r0 + r1) / 2
        (3, [1 / 3, 2 / 3]),  # (r0 + r1 + r2) / 3
        (None, [1.0, 0.5]),  # m = n - f = 4: (r0 + r1 + r2 + r3) / 4
        (5, [2.8, 2.4]),  # the plain mean
    ],
)
def test_hand_case(aggregate, m, expected):
    assert aggregate(MultiKrum(f=1, m=m), ROWS).tolist() == pytest.approx(expected)


def test_shares_are_equal_and_sum_to_one(new_round):
    context = new_round(5, weights=[0.2, 0.2, 0.2, 0.3, 0.1])
    MultiKrum(f=1).aggregate(torch.tensor(ROWS), context)
    assert context.shares.tolist() == [0.25, 0.25, 0.25, 0.25, 0.0]


def test_with_m_of_one_it_is_krum(aggregate):
    rng = np.random.default_rng(0)
    for _ in range(30):
        rows = torch.from_numpy(rng.normal(size=(11, 4)))
        assert torch.equal(aggregate(MultiKrum(m=1), rows), aggregate(Krum(), rows))


def test_default_keeps_all_but_a_fifth(new_round):
    context = new_round(12)
    MultiKrum().aggregate(torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), context)
    assert (context.shares > 0).sum() == 10  # n - floor(12 / 5)


def test_knowing_who_attacks_plays_no_part(aggregate, new_round):
    # A defect of public code: the number or names of the true attackers as a default. The only inputs here are
    # updates, so renaming the clients changes nothing.
    rows = torch.randn(9, 4, generator=torch.Generator().manual_seed(1))
    renamed = new_round(9)
    renamed.clients = [90 - client for client in renamed.clients]
    assert torch.equal(MultiKrum().aggregate(rows, renamed), aggregate(MultiKrum(), rows))


def test_too_few_clients_are_refused(aggregate):
    with pytest.raises(ValueError, match=r"f=2 and n=6 .*at least 7"):
        aggregate(MultiKrum(f=2), torch.zeros(6, 3))


def test_more_to_average_than_there_are_is_refused(aggregate):
    with pytest.raises(ValueError, match="m=6 and n=5"):
        aggregate(MultiKrum(m=6), ROWS)


@pytest.mark.parametrize("parameters", [{"f": -1}, {"m": 0}])
def test_parameters_out_of_range_are_refused(parameters):
    with pytest.raises(ValueError, match="MultiKrum needs"):
        MultiKrum(**parameters)
