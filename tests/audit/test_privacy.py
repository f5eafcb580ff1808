"""Noise and its accounting: against distributions summed by hand and published bounds."""

import numpy as np
import pytest
from scipy import stats

from fedsonar.audit.privacy import ORDERS, Privacy, beyond, divergence, noise, spent, variances

ORDER = ORDERS.index(2.0)


@pytest.mark.parametrize("variance", [0.5, 4.0, 25.0])
def test_the_divergence_is_that_of_the_distribution_and_its_shift(variance):
    poisson = stats.poisson.pmf(np.arange(400), variance / 2)
    chances = np.convolve(poisson, poisson[::-1])  # of the differences from -399 to 399
    seen = chances > 1e-250
    ratio = chances[:-1][seen[1:]] ** 2 / chances[1:][seen[1:]]
    assert divergence(variance)[ORDER] == pytest.approx(np.log(ratio.sum()), rel=1e-6)


@pytest.mark.parametrize("variance", [0.3, 2.0, 40.0, 3000.0, 1e6])
def test_the_divergence_is_within_the_published_bound_and_nears_the_gaussian(variance):
    """Agarwal, Kairouz and Liu 2021, theorem 3.5, for a shift of 1; whole orders."""
    whole = [2.0, 11.0, 101.0]
    for order in whole:
        found = divergence(variance)[ORDERS.index(order)]
        excess = min((2 * order - 1 + 6) / (4 * variance**2), 3 / (2 * variance))
        assert found <= order / (2 * variance) + excess
        if variance > 30 * order:
            assert found == pytest.approx(order / (2 * variance), rel=0.01)


def test_much_noise_spends_what_the_gaussian_with_zero_concentration_does():
    """Bun and Steinke 2016: rho is the squared sensitivity over twice the variance, and it adds up over tables."""
    touched, variance = {"a": 9, "b": 16}, {"a": 2e4, "b": 1e4}
    rho = 9 / 4e4 + 16 / 2e4
    found = spent(touched, variance, 1e-6)
    assert found < rho + 2 * np.sqrt(rho * np.log(1e6))  # their conversion, which is never the tighter one
    orders = np.linspace(1.01, 2000, 200_000)
    best = np.min(rho * orders + np.log1p(-1 / orders) - (np.log(1e-6) + np.log(orders)) / (orders - 1))
    assert found == pytest.approx(best, rel=0.01)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 8.0, 50.0])
def test_variances_keep_a_promise_and_not_much_more(epsilon):
    touched, weights = {"a": 24, "b": 4}, {"a": 0.75, "b": 0.25}
    found = variances(touched, weights, Privacy(epsilon=epsilon, delta=1e-5, clients=3))
    assert 0.99 * epsilon < spent(touched, found, 1e-5) <= epsilon
    assert found["a"] / found["b"] == pytest.approx(24 / 4 / 3)
    assert spent(touched, {name: 0.8 * value for name, value in found.items()}, 1e-5) > epsilon  # a fifth left


def test_shares_of_clients_add_up_to_the_noise():
    rng = np.random.default_rng(0)
    total = sum(noise(rng, 6.0 / 25, (200_000,)) for _ in range(25))
    assert np.issubdtype(total.dtype, np.integer)
    places = np.arange(-6, 7)
    seen = np.array([(total == place).sum() for place in places])
    expected = stats.skellam.pmf(places, 3.0, 3.0) * len(total)
    assert stats.chi2.sf(((seen - expected) ** 2 / expected).sum(), len(places)) > 1e-3
    assert (total > beyond(6.0, 1e-3)).mean() < 1.3e-3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epsilon": 0.04}, "epsilon must be 0.05 to 100, got 0.04"),
        ({"epsilon": float("inf")}, "epsilon must be 0.05 to 100"),
        ({"delta": 1.0}, "delta must be between"),
        ({"clients": 0}, "say how many add their share"),
    ],
)
def test_what_is_no_privacy_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Privacy(**({"epsilon": 1.0, "clients": 3} | wrong))
