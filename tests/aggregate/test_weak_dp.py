"""WeakDP: NormClip's mean, and noise of the right size from the round's generator alone."""

import pytest
import torch

from fedsonar.aggregate.norm_clip import NormClip
from fedsonar.aggregate.weak_dp import WeakDP
from fedsonar.testing import check_aggregator


def test_keeps_the_contract_without_noise():
    # With noise the contract cannot hold: sigma is absolute, so zero updates or a single one do not come back as they
    # are. The rest of the contract is tested below.
    check_aggregator(WeakDP(c=4.0, sigma=0.0))
    check_aggregator(WeakDP(c="median", sigma=0.0))


def test_defaults_are_the_papers():
    assert WeakDP() == WeakDP(c=3.0, sigma=0.002)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_result_is_the_clipped_mean_and_the_generators_noise(new_round, dtype):
    rows = torch.tensor([[3.0, 4.0, 0.0], [0.0, 1.0, 0.0]], dtype=dtype)
    context = new_round(2)
    context.generator.manual_seed(5)
    before = torch.get_rng_state()
    result = WeakDP(c=2.5, sigma=0.1).aggregate(rows, context)
    noise = torch.randn(3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    # [3, 4] halves: the mean is [.75, 1.5], as for NormClip.
    expected = torch.tensor([0.75, 1.5, 0.0], dtype=torch.float64) + 0.1 * noise
    torch.testing.assert_close(result, expected.to(dtype))
    assert result.dtype == dtype
    assert torch.equal(torch.get_rng_state(), before)
    assert rows.tolist() == [[3.0, 4.0, 0.0], [0.0, 1.0, 0.0]]


def test_zero_updates_give_noise_of_sigma(aggregate):
    # On the mean: its size does not fall with the number of clients, nor with their norms.
    for n in (1, 50):
        noise = aggregate(WeakDP(), torch.zeros(n, 100_000))
        assert noise.std().item() == pytest.approx(0.002, rel=0.02)
        assert abs(noise.mean().item()) < 5 * 0.002 / 100_000**0.5


def test_the_next_draw_differs(new_round):
    context, rows = new_round(2), torch.zeros(2, 8)
    assert not torch.equal(WeakDP().aggregate(rows, context), WeakDP().aggregate(rows, context))


def test_shares_are_those_of_norm_clip(new_round):
    rows = torch.tensor([[1.0], [6.0], [0.0]])
    noisy, clear = new_round(3, weights=[0.5, 0.25, 0.25]), new_round(3, weights=[0.5, 0.25, 0.25])
    WeakDP().aggregate(rows, noisy)
    NormClip(c=3.0).aggregate(rows, clear)
    assert noisy.shares.tolist() == clear.shares.tolist() == [0.5, 0.125, 0.25]


@pytest.mark.parametrize("c", [0.0, -1.0, float("nan"), float("inf")])
def test_a_limit_that_is_not_positive_is_refused(c):
    with pytest.raises(ValueError, match=f"WeakDP needs a largest norm c > 0, got c={c}"):
        WeakDP(c=c)


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf")])
def test_a_sigma_that_is_no_deviation_is_refused(sigma):
    with pytest.raises(ValueError, match=f"sigma >= 0, got sigma={sigma}"):
        WeakDP(sigma=sigma)
