"""The valley between two peaks, and when there is none."""

import numpy as np
import pytest
from scipy.stats import gaussian_kde

from fedsonar.screen import Valley


def two_heaps(rng, low=200, high=40):
    return np.concatenate([rng.normal(0.3, 0.05, low), rng.normal(0.85, 0.04, high)]).clip(0, 1)


def test_the_cut_lies_where_scipys_density_is_lowest_between_its_peaks():
    values = two_heaps(np.random.default_rng(0))
    cut = Valley().cut(values, np.ones(len(values)))
    width = 1.06 * values.std(ddof=1) * len(values) ** -0.2
    density = gaussian_kde(values, width / values.std(ddof=1))
    grid = np.linspace(0.3, 0.85, 400)
    assert cut == pytest.approx(grid[density(grid).argmin()], abs=0.005)
    assert Valley().flag(values).sum() == 40


def test_a_histogram_gives_nearly_the_same_cut():
    values = two_heaps(np.random.default_rng(1))
    counts, edges = np.histogram(values, 256, (0, 1))
    exact = Valley().cut(values, np.ones(len(values)))
    assert Valley().cut((edges[1:] + edges[:-1]) / 2, counts.astype(float)) == pytest.approx(exact, abs=0.01)


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(0, 1, 29),  # too few
        np.full(100, 0.4),  # all alike
        np.random.default_rng(0).normal(0.5, 0.05, 300),  # one peak
        two_heaps(np.random.default_rng(0), 500, 4),  # hardly a row above
    ],
    ids=["few", "alike", "one-peak", "nobody-above"],
)
def test_the_fixed_value_stands_in(values):
    assert Valley().cut(values, np.ones(len(values))) == 0.7
    assert Valley(otherwise=0.4).cut(values, np.ones(len(values))) == 0.4


def test_peaks_that_lie_near_are_one():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0.5, 0.01, 200), rng.normal(0.6, 0.01, 200)])
    assert Valley().cut(values, np.ones(400)) == 0.7
    assert 0.5 < Valley(least_gap=0.05).cut(values, np.ones(400)) < 0.6
