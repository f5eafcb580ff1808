"""FedAvg: the weighted mean of the updates."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate import FedAvg


def test_hand_case_of_three_by_three(aggregate):
    # .5 * [1, 2, 3] + .25 * [4, -4, 0] + .25 * [0, 8, 2] = [1.5, 2, 2]
    result = aggregate(FedAvg(), [[1.0, 2.0, 3.0], [4.0, -4.0, 0.0], [0.0, 8.0, 2.0]], weights=[0.5, 0.25, 0.25])
    assert result.tolist() == [1.5, 2.0, 2.0]


def test_every_client_counts_by_its_weight(new_round):
    context = new_round(3, weights=[0.5, 0.25, 0.25])
    FedAvg().aggregate(torch.ones(3, 2), context)
    assert context.shares.tolist() == [0.5, 0.25, 0.25]


def test_no_digits_are_lost_far_from_zero(aggregate):
    # Summing 1,000 float32 values near 10,000 in float32 is off by about 1e-2; float64 is off by its last rounding.
    rng = np.random.default_rng(0)
    rows = (1e4 + rng.normal(size=(1000, 20))).astype(np.float32)
    weights = rng.dirichlet(np.ones(1000)).astype(np.float32)
    expected = np.average(rows.astype(np.float64), axis=0, weights=weights.astype(np.float64))
    result = aggregate(FedAvg(), torch.from_numpy(rows), weights=weights.tolist())
    assert np.abs(result.numpy() - expected).max() <= np.spacing(np.float32(1e4)) / 2


def test_a_wide_update_is_averaged_to_its_last_column(aggregate):
    rows = torch.randn(3, 5000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = np.array([0.2, 0.3, 0.5], dtype=np.float32)
    expected = np.average(rows.numpy(), axis=0, weights=weights.astype(np.float64))
    result = aggregate(FedAvg(), rows, weights=weights.tolist())
    np.testing.assert_allclose(result.numpy(), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("weights", [[0.5, 0.25], [1.5, -0.5], [3.0, 5.0], [float("nan"), 1.0]])
def test_weights_that_are_no_weights_are_refused(aggregate, weights):
    with pytest.raises(ValueError, match="sum to 1"):
        aggregate(FedAvg(), [[1.0], [2.0]], weights=weights)
