"""The gauge: which rounds are summed."""

import numpy as np
import pytest
import torch

from fedsonar.experiment import Bsnr
from fedsonar.gauge import PLACEBO, Gauge
from fedsonar.model.layout import Layout, Site
from fedsonar.records import Run, Update

CLIENTS = 10
LAYOUT = Layout((Site("model.layers.0.q_proj", 64, 64, 0),), 4, 1.0)
NOBODY = np.zeros(CLIENTS, dtype=bool)
SOME = np.arange(CLIENTS) < 4


def read(*rounds: np.ndarray) -> Run:
    """A run whose affected clients of each round push the same way."""
    generator = torch.Generator().manual_seed(0)
    start = 0.1 * torch.randn(LAYOUT.dim, generator=generator)
    state = Run(start)
    gauge = Gauge(Bsnr(space="factors"), LAYOUT, 0, state)
    for number, affected in enumerate(rounds, 1):
        deltas = 0.01 * torch.randn(CLIENTS, LAYOUT.dim, generator=generator)
        deltas[torch.from_numpy(affected), :20] += 0.02
        updates = [Update(client, 10, 1, 1.0, delta) for client, delta in enumerate(deltas)]
        columns = gauge.read(number, start, updates, np.full(CLIENTS, 0.1), affected)
        assert (columns["bsnr_note"] == PLACEBO) == (not affected.any())
    return state


@pytest.mark.parametrize("estimator", ["plain", "crossfit"])
def test_rounds_without_affected_clients_are_no_part_of_the_sum(estimator):
    state = read(NOBODY, SOME, NOBODY, SOME)
    signals = [one for one in state.signals if one.estimator == estimator]
    assert signals[1].cumulative_signal == pytest.approx(signals[1].signal)
    for name in ("cumulative_signal", "cumulative_noise", "cumulative_low", "cumulative_high"):
        assert getattr(signals[2], name) == pytest.approx(getattr(signals[1], name))
    assert signals[3].cumulative_signal == pytest.approx(signals[1].signal + signals[3].signal)
    assert signals[3].cumulative_noise == pytest.approx(np.hypot(signals[1].noise, signals[3].noise))


def test_placebos_are_summed_by_themselves():
    plain = [one for one in read(NOBODY, NOBODY).signals if one.estimator == "plain"]
    assert plain[1].cumulative_signal == pytest.approx(plain[0].signal + plain[1].signal)
