import math

import numpy as np
import pytest

from fedsonar.measure.bsnr import crossfit
from fedsonar.measure.reading import Reading, cumulative


def test_ratio_power_and_decibels():
    reading = Reading(signal=6.0, noise=2.0)
    assert (reading.ratio, reading.power) == (3.0, 9.0)
    assert reading.db == pytest.approx(9.5424, abs=1e-4)


def test_a_negative_signal_has_negative_power_and_no_decibels():
    reading = Reading(signal=-2.0, noise=4.0)
    assert (reading.ratio, reading.power) == (-0.5, -0.25)
    assert math.isnan(reading.db)


def test_no_noise_means_no_ratio():
    reading = Reading(signal=1.0, noise=0.0)
    assert math.isnan(reading.ratio)
    assert math.isnan(reading.power)
    assert math.isnan(reading.db)


def test_draws_are_left_out_of_equality_and_repr():
    assert Reading(1.0, 2.0, draws=np.zeros((2, 3))) == Reading(1.0, 2.0)
    assert "draws" not in repr(Reading(1.0, 2.0, draws=np.zeros((2, 3))))


def test_signals_add_and_noise_adds_in_squares():
    total = cumulative([Reading(4.0, 1.0), Reading(-1.0, 2.0), Reading(6.0, 2.0)])
    assert (total.signal, total.noise, total.power) == (9.0, 3.0, pytest.approx(9.0))
    assert math.isnan(total.low)
    assert total.reason == ""


def test_unread_rounds_are_left_out_and_counted():
    missing = Reading(math.nan, math.nan, reason="needs more clients")
    total = cumulative([missing, Reading(3.0, 4.0), missing])
    assert (total.signal, total.noise) == (3.0, 4.0)
    assert total.reason == "2 of 3 rounds left out: needs more clients"
    assert math.isnan(cumulative([missing]).signal)
    assert cumulative([missing]).reason == "1 of 1 rounds left out: needs more clients"
    assert cumulative([]).reason == "no rounds to sum"


def round_of(seed, clients=12, dim=30, lasting=None):
    rng = np.random.default_rng(seed)
    updates = rng.normal(size=(clients, dim)) + (0 if lasting is None else lasting)
    return updates @ updates.T


def read(gram, seed):
    weights = np.full(len(gram), 1 / len(gram))
    return crossfit(gram, weights, np.arange(len(gram)) < 6, np.random.default_rng(seed), resamples=400)


def test_a_repeated_round_scales_the_interval_by_the_root_of_two():
    reading = read(round_of(0), seed=1)
    total = cumulative([reading, read(round_of(0), seed=1)])
    assert total.ratio == pytest.approx(math.sqrt(2) * reading.ratio)
    assert total.low == pytest.approx(math.sqrt(2) * reading.low)
    assert total.high == pytest.approx(math.sqrt(2) * reading.high)


def test_equal_generators_keep_the_lasting_error_of_clients():
    lasting = 3 * np.random.default_rng(9).normal(size=(12, 30))
    rounds = [round_of(seed, lasting=lasting) for seed in range(12)]
    together = cumulative([read(gram, seed=1) for gram in rounds])
    apart = cumulative([read(gram, seed=seed) for seed, gram in enumerate(rounds)])
    assert together.high - together.low > 1.5 * (apart.high - apart.low)


def test_rounds_with_other_draws_have_no_common_interval():
    one, two = Reading(1.0, 1.0, draws=np.ones((2, 3))), Reading(1.0, 1.0, draws=np.ones((2, 4)))
    total = cumulative([one, two])
    assert total.signal == 2.0
    assert math.isnan(total.low)
    assert math.isnan(cumulative([one, Reading(1.0, 1.0)]).high)
