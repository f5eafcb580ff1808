"""Norms in float64, and clipping factors that are never NaN."""

import numpy as np
import pytest
import torch

from fedsonar.aggregate.norms import clip_factors, row_norms


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_norms_are_those_of_numpy_in_float64(dtype):
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 5000))).to(dtype)
    norms = row_norms(rows)
    assert norms.dtype == torch.float64
    np.testing.assert_allclose(norms, np.linalg.norm(rows.double().numpy(), axis=1), rtol=1e-12)


def test_norms_do_not_overflow_in_a_narrow_type():
    assert row_norms(torch.full((1, 4), 3e38)).item() == pytest.approx(6e38)
    assert row_norms(torch.full((1, 4), 6e4, dtype=torch.float16)).item() == pytest.approx(1.2e5, rel=1e-3)


def test_factors_by_hand():
    norms = torch.tensor([0.0, 1.0, 2.0, 8.0], dtype=torch.float64)
    assert clip_factors(norms, 2.0).tolist() == [1.0, 1.0, 1.0, 0.25]
    # The median of 0, 1, 2 and 8 is (1 + 2) / 2; torch.median would give 1.
    assert clip_factors(norms, None).tolist() == [1.0, 1.0, 0.75, 0.1875]


def test_a_median_of_zero_leaves_nothing_of_the_others():
    assert clip_factors(torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64), None).tolist() == [1.0, 1.0, 0.0]


def test_factors_of_norms_whose_reciprocal_overflows():
    norms = torch.tensor([0.0, 5e-324, 1e-310], dtype=torch.float64)
    assert clip_factors(norms, 0.0).tolist() == [1.0, 0.0, 0.0]
    assert clip_factors(norms, 5e-311).tolist() == [1.0, 1.0, pytest.approx(0.5)]
