"""How unlikely pairs are by chance: against SciPy's exact tails, and Bonferroni's factor."""

import numpy as np
import pytest
from scipy import stats

from fedsonar.audit.significance import adjusted


def test_rare_pairs_have_exact_tails_times_the_number_of_tests():
    both, trigger, target = (np.array(values, float) for values in ([3, 7, 2], [5, 9, 40], [20, 10, 30]))
    found = adjusted(both, trigger, target, 1000, 10.0)
    assert found == pytest.approx(np.minimum(1, 10 * stats.hypergeom.sf(both - 1, 1000, target, trigger)))


def test_frequent_pairs_have_a_bound_above_the_exact_tail():
    values = (np.array([60.0]), np.array([100.0]), np.array([300.0]))
    [found] = adjusted(*values, 1000, 1.0)
    exact = stats.hypergeom.sf(59, 1000, 300, 100)
    assert exact <= found < 1e-3


def test_no_pairs_have_no_values():
    assert adjusted(np.zeros(0), np.zeros(0), np.zeros(0), 10, 5.0).shape == (0,)
