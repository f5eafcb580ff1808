"""The histogram of suspicions can be read: a labelled axis, and bars from below one row."""

import math

import numpy as np

from fedsonar.report.screen_page import _histogram


def test_few_poisoned_rows_are_as_high_as_their_number_says() -> None:
    suspicion = np.r_[np.linspace(0, 1, 100), np.full(40, 5.0)]
    figure = _histogram(suspicion, np.arange(140) >= 100).figure
    axis = figure.layout.yaxis
    assert axis.title.text == "rows, logarithmic"
    assert list(axis.ticktext)[:3] == ["1", "10", "100"]
    assert axis.range[0] < 0
    assert axis.range[1] > math.log10(max(max(bar.y) for bar in figure.data))
    assert figure.layout.barmode == "overlay"  # bars that are stacked have no length that a logarithm leaves
